"""Files as the tools write them: with every trait of a format, and with broken records."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tests.formats.test_bad_records import ABSENT, BOX, CORNERS, HW, change, dumped, spread
from tests.formats.traits import COLOR, SQUARE, Traits, write_json
from tests.formats.traits import HW as SIZE


def write_v7(folder: Path) -> tuple[Path, Traits]:
    """An export of V7 with its metadata."""
    annotation = {
        "id": "x1", "name": "boat", "polygon": {"paths": [[{"x": x, "y": y} for x, y in SQUARE]]},
        "instance_id": {"value": 4711}, "attributes": ["clinker wood"],
        "properties": [{"frame_index": 0, "name": "colour", "value": "teal"}],
        "text": {"text": "moored at noon"}, "inference": {"confidence": 0.62517},
        "annotators": [{"full_name": "Ada Lund"}], "reviewers": [{"full_name": "Ole Nygaard"}],
    }  # fmt: skip
    item = {"name": "a.jpg", "path": "/", "slots": [{"width": 100, "height": 60}]}
    item |= {"source_info": {"dataset": {"name": "Quays of Bergen"}}}
    color = {"name": "boat", "type": "polygon", "color": "rgba(1,171,33,1.0)"}
    classes = [color, {"name": "gangway", "type": "polygon", "description": "shoreside"}]
    write_json(folder / "v" / ".v7" / "metadata.json", {"version": "1.0", "classes": classes})
    document = {"version": "2.0", "item": item, "annotations": [annotation]}
    write_json(folder / "v" / "a.json", document)
    return folder / "v", {
        "labels": "boat", "ids": "4711", "attributes": "clinker wood.*teal|teal.*clinker wood",
        "description": "moored at noon", "scores": "0.62517", "annotators": "Ada Lund",
        "reviewers": "Ole Nygaard", "source_info": "Quays of Bergen",
        "color of classes": COLOR, "unused classes": "gangway",
        "description of classes": "shoreside",
    }  # fmt: skip


def write_encord(folder: Path) -> tuple[Path, Traits]:
    """An export of Encord with its ontology and answers."""
    corners = {str(n): {"x": x / 100, "y": y / 60} for n, (x, y) in enumerate(SQUARE)}
    one = {
        "name": "boat", "shape": "polygon", "polygon": corners, "objectHash": "h1",
        "confidence": 0.62517, "manualAnnotation": False, "createdBy": "ada@l.test",
        "createdAt": "2091-05-06", "trackHash": "t7713",
    }  # fmt: skip
    answer = {"name": "hull", "answers": "clinker"}
    unit = {
        "data_title": "a.jpg", "width": 100, "height": 60,
        "labels": {"objects": [one], "classifications": [{"name": "weather", "value": "sleet"}]},
    }  # fmt: skip
    row = {
        "data_units": {"1": unit}, "dataset_title": "Quays of Bergen", "branch_name": "night-watch",
        "object_answers": {"h1": {"objectHash": "h1", "classifications": [answer]}},
    }  # fmt: skip
    classes = [{"name": "boat", "color": "#01ab21"}, {"name": "gangway", "required": "always"}]
    write_json(folder / "e.ontology.json", {"objects": classes, "classifications": []})
    return write_json(folder / "e.json", [row]), {
        "labels": "boat", "scores": "0.62517", "createdBy": "ada@l.test", "createdAt": "2091-05-06",
        "trackHash": "t7713", "attributes": "clinker", "classifications": "sleet",
        "dataset_title": "Quays of Bergen", "branch_name": "night-watch",
        "color of classes": COLOR, "unused classes": "gangway",
        "required of classes": "always",
    }  # fmt: skip


def write_supervisely(folder: Path) -> tuple[Path, Traits]:
    """A project of Supervisely with tags."""
    points = {"exterior": SQUARE, "interior": []}
    one = {
        "classTitle": "boat", "geometryType": "polygon", "points": points, "labelerLogin": "ada",
        "description": "moored at noon", "tags": [{"name": "hull", "value": "clinker"}],
        "createdAt": "2091-05-06", "instance": "i7713",
    }  # fmt: skip
    about = {"size": {"height": 60, "width": 100}, "objects": [one], "description": "Pier Nine"}
    about |= {"tags": [{"name": "weather", "value": "sleet"}]}
    color = {"title": "boat", "shape": "polygon", "color": "#01AB21", "hotkey": "Ctrl-9"}
    meta = {"classes": [color, {"title": "gangway"}], "tags": [], "projectType": "images"}
    write_json(folder / "s" / "meta.json", meta | {"projectSettings": {"multiView": "quay-view"}})
    write_json(folder / "s" / "ds" / "ann" / "a.jpg.json", about)
    return folder / "s", {
        "labels": "boat", "labelerLogin": '"ada"', "description": "moored at noon",
        "attributes": "clinker", "createdAt": "2091-05-06", "instance": "i7713",
        "color of classes": COLOR, "hotkey of classes": "Ctrl-9",
        "unused classes": "gangway", "projectSettings": "quay-view",
    }  # fmt: skip


def write_cellpose(folder: Path) -> tuple[Path, Traits]:
    """What the page of Cellpose 3 saves."""
    values = np.zeros(SIZE, np.uint16)
    values[5:15, 5:15] = 41
    document = {
        "masks": values, "outlines": values, "filename": "a.jpg", "chan_choose": [7713, 1],
        "ismanual": np.ones(1, bool), "flows": [np.ones((1, *SIZE), np.uint8), None],
        "colors": np.full((1, 3), 9), "diameter": np.float32(31.25), "est_diam": None,
        "model_path": "/m/quays-9177", "flow_threshold": 0.62517, "cellprob_threshold": -0.73519,
        "normalize_params": {"lowhigh": None, "percentile": [1.0, 99.0]}, "restore": None,
    }  # fmt: skip
    np.save(folder / "a_seg.npy", np.array(document, dtype=object), allow_pickle=True)
    return folder / "a_seg.npy", {
        "ids": r"\b41\b", "chan_choose": "7713", "ismanual": "ismanual.*true",
        "flows": "flows.*111",
        "colors": r"colors\W+9", "diameter": "31.25", "model_path": "quays-9177",
        "flow_threshold": "0.62517", "cellprob_threshold": "0.73519",
        "normalize_params": "percentile",
    }  # fmt: skip


def write_via(folder: Path) -> tuple[Path, Traits]:
    """A project of VIA 2 with attributes of the file and of a region, and a list of classes."""
    across, down = zip(*SQUARE, strict=True)
    shape = {"name": "polygon", "all_points_x": across, "all_points_y": down}
    about = {"class": "boat", "hull": "clinker", "seen": {"bow": True, "stern": False}}
    region = {"shape_attributes": shape, "region_attributes": about}
    row = {"filename": "a.jpg", "size": 9, "regions": [region]}
    row |= {"file_attributes": {"weather": "sleet"}}
    listed = {"type": "dropdown", "options": {"boat": "", "gangway": ""}}
    document = {
        "_via_settings": {"project": {"name": "Quays of Bergen"}},
        "_via_img_metadata": {"a.jpg9": row},
        "_via_attributes": {"region": {"class": listed}, "file": {}},
    }
    return write_json(folder / "a.json", document), {
        "labels": "boat", "name": "Quays of Bergen", "unused classes": "gangway",
        "attributes": "clinker", "file_attributes": "sleet",
    }  # fmt: skip


SOURCES: dict[str, Callable[[Path], tuple[Path, Traits]]] = {
    "v7": write_v7, "encord": write_encord, "supervisely": write_supervisely,
    "cellpose": write_cellpose, "via": write_via,
}  # fmt: skip


def broken_v7(folder: Path) -> Path:
    def shape(points: Any) -> dict[str, Any]:
        paired = isinstance(points, list) and all(
            isinstance(one, list) and len(one) == 2 for one in points
        )
        corners = [{"x": x, "y": y} for x, y in points] if paired else points
        return {"name": "cat", "polygon": {"paths": [corners]}}

    base = shape(BOX)
    box = {"x": 5, "y": 5, "w": 0, "h": 9}
    broken: list[Any] = [shape(one) for one in CORNERS[:14]]
    broken += [
        change(base, "name", ABSENT), {"name": "cat"}, base | {"instance_id": {"value": "x"}}, 7,
        {"name": "cat", "bounding_box": box}, {"name": "cat", "polygon": {}},
    ]  # fmt: skip
    item = {"name": "a.jpg", "path": "/", "slots": [HW]}
    document = {"version": "2.0", "item": item, "annotations": spread(lambda _: base, broken)}
    return dumped(folder / "a.json", document)


def broken_supervisely(folder: Path) -> Path:
    def shape(points: Any) -> dict[str, Any]:
        outline = {"exterior": points, "interior": []}
        return {"classTitle": "cat", "geometryType": "polygon", "points": outline}

    base = shape(BOX)
    broken: list[Any] = [shape(one) for one in CORNERS[:14]]
    bitmap = {"classTitle": "cat", "geometryType": "bitmap"}
    broken += [
        change(base, "classTitle", ABSENT), change(base, "points", ABSENT), "object",
        base | {"geometryType": "blob"}, bitmap | {"bitmap": {"data": "AAAA", "origin": [0, 0]}},
        bitmap,
    ]  # fmt: skip
    document = {"size": HW, "objects": spread(lambda _: base, broken), "tags": []}
    return dumped(folder / "a.jpg.json", document)


def broken_encord(folder: Path) -> Path:
    def shape(points: Any) -> dict[str, Any]:
        paired = isinstance(points, list) and all(
            isinstance(one, list) and len(one) == 2 for one in points
        )
        corners = points
        if paired and all(isinstance(n, int | float) for one in points for n in one):
            corners = {str(n): {"x": x / 100, "y": y / 60} for n, (x, y) in enumerate(points)}
        return {"name": "cat", "shape": "polygon", "polygon": corners}

    base = shape(BOX)
    broken: list[Any] = [shape(one) for one in CORNERS[:14]]
    bitmask = {"name": "cat", "shape": "bitmask"}
    window = {"top": 0, "left": 0, "width": 100, "height": 60}
    broken += [
        change(base, "name", ABSENT), base | {"shape": "blob"}, "object", bitmask,
        bitmask | {"bitmask": window | {"rleString": "zzz"}},
        {"name": "cat", "shape": "bounding_box", "boundingBox": {"x": 0, "y": 0, "w": 0, "h": 1}},
    ]  # fmt: skip
    unit = HW | {"data_title": "a.jpg", "labels": {"objects": spread(lambda _: base, broken)}}
    return dumped(folder / "a.json", [{"data_units": {"1": unit}}])


BROKEN: dict[str, Callable[[Path], Path]] = {
    "v7": broken_v7, "supervisely": broken_supervisely, "encord": broken_encord,
}  # fmt: skip
