"""A data set with every trait that a format can hold, in the syntax of the tools that write it.

Each `write_...` returns the source and its traits: what a report calls a trait that is lost, and
the text by which an output shows that it arrived. Values are unlike anything that writers add.
"""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from anymask.formats import mask_to_brush

Traits = dict[str, str]  # what a report names -> a regular expression of what shows it
HW = (60, 100)
SQUARE = [[5, 5], [15, 5], [15, 15], [5, 15]]
FAR = [[40, 30], [60, 30], [60, 50], [40, 50]]
FLAT = [[float(side) for corner in SQUARE for side in corner]]
FLAT_FAR = [[float(side) for corner in FAR for side in corner]]
COLOR = "(?i)#01ab21|\\b1, ?171, ?33"
OCCLUDED = r"occluded[\"']?\s*[:=]\s*[\"']?(1|[tT]rue)"


def photo(folder: Path, name: str = "a.jpg") -> None:
    """The image of the set."""
    folder.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", HW[::-1], (9, 90, 200)).save(folder / name)


def write_json(path: Path, document: Any) -> Path:
    """One JSON file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document))
    return path


def coco_document(*annotations: dict[str, Any]) -> dict[str, Any]:
    """The document around COCO's records."""
    image = {
        "id": 1, "file_name": "a.jpg", "width": 100, "height": 60, "license": 3,
        "flickr_url": "http://f.test/9177", "date_captured": "2013-11-14 17:02:52",
    }  # fmt: skip
    other = {"id": 2, "file_name": "b.jpg", "width": 100, "height": 60, "license": 4}
    return {
        "info": {"description": "Quays of Bergen", "year": 2091, "contributor": "Ada Lund"},
        "licenses": [
            {"id": 3, "name": "CC BY-SA 9.0", "url": "http://l.test/bysa"},
            {"id": 4, "name": "Open Quay Licence", "url": "http://l.test/quay"},
        ],
        "images": [image, other],
        "annotations": list(annotations),
        "categories": [
            {"id": 5, "name": "boat", "supercategory": "vessel", "keypoints": ["bow", "stern"]},
            {"id": 8, "name": "gangway", "supercategory": "shoreside"},
        ],
    }


OF_COCO = {
    "description": "Quays of Bergen", "year": "2091", "contributor": "Ada Lund",
    "licences": "CC BY-SA 9.0", "license": r'"license": 4', "flickr_url": "f.test/9177",
    "date_captured": "17:02:52", "supercategory of classes": "vessel",
    "keypoints of classes": "stern", "unused classes": "gangway",
}  # fmt: skip


def write_coco(folder: Path) -> tuple[Path, Traits]:
    """COCO as CVAT and Datumaro write it, with keypoints, attributes and tracks."""
    full = {
        "id": 1, "image_id": 1, "category_id": 5, "iscrowd": 0, "segmentation": FLAT,
        "keypoints": [7, 8, 2, 13, 9, 2], "num_keypoints": 2, "score": 0.62517,
        "attributes": {"occluded": True, "rotation": 31.25, "hull": "clinker"},
        "track_id": 7713, "group_id": 4711,
    }  # fmt: skip
    crowd = {"segmentation": FLAT_FAR, "id": 2, "image_id": 1, "category_id": 5, "iscrowd": 1}
    again = {"segmentation": FLAT_FAR, "id": 3, "image_id": 2, "category_id": 5, "iscrowd": 0}
    traits = OF_COCO | {
        "keypoints": r"13, 9, 2", "num_keypoints": r"num_keypoints", "scores": "0.62517",
        "occluded": OCCLUDED, "rotation": "31.25", "attributes": "clinker", "track_id": "7713",
        "ids": "4711", "crowds": r'"?crowd"?[:=] ?"?(1|true)',
    }  # fmt: skip
    return write_json(folder / "c.json", coco_document(full, crowd, again)), traits


def write_panoptic(folder: Path) -> tuple[Path, Traits]:
    """COCO panoptic with a colour and a key of a segment."""
    values = np.zeros((*HW, 3), np.uint8)
    values[5:15, 5:15, 0] = 7
    (folder / "p").mkdir()
    Image.fromarray(values).save(folder / "p" / "a.png")
    segment = {"id": 7, "category_id": 5, "iscrowd": 0, "area": 100, "depth_order": 7713}
    row = {"image_id": 1, "file_name": "a.png", "segments_info": [segment]}
    document = coco_document() | {"annotations": [row]}
    document["categories"][0] |= {"isthing": 0, "color": [1, 171, 33]}
    traits = {name: OF_COCO[name] for name in OF_COCO if name != "license"}
    traits |= {"isthing of classes": r'"isthing": 0', "color of classes": COLOR}
    return write_json(folder / "p.json", document), traits | {"depth_order": "7713"}


def write_sa1b(folder: Path) -> tuple[Path, Traits]:
    """SA-1B with the keys of ours."""
    record = {
        "id": 1, "segmentation": {"size": list(HW), "counts": [305, 10, 5685]}, "label": "boat",
        "predicted_iou": 0.62517, "stability_score": 0.73519, "point_coords": [[7.125, 8.5]],
        "crop_box": [3, 2, 51, 42], "objectness": 0.81237, "label_probability": 0.91357,
        "runner_up": ["dinghy", 0.3], "group_id": 4711, "depth": 0, "hull": "clinker",
        "annotator": 7719,
    }  # fmt: skip
    about = {"image_id": 1, "width": 100, "height": 60, "file_name": "a.jpg", "camera": "Leica 9"}
    traits = {
        "scores": "0.62517", "stability": "0.73519", "clicks": "7.125", "crops": "51.0",
        "objectness": "0.81237", "label_probability": "0.91357", "runner_up": "dinghy",
        "ids": "4711", "trees": '"depth": 0', "hull": "clinker", "camera": "Leica 9",
        "annotator": "7719", "labels": "boat",
    }  # fmt: skip
    return write_json(folder / "a.json", {"image": about, "annotations": [record]}), traits


def write_labelme(folder: Path) -> tuple[Path, Traits]:
    """labelme and X-AnyLabeling."""
    shape = {
        "label": "boat", "points": SQUARE, "group_id": 4711, "shape_type": "polygon",
        "flags": {"rusty": True}, "description": "moored at noon", "difficult": True,
        "score": 0.62517, "attributes": {"hull": "clinker"}, "kie_linking": [[7713, 2]],
    }  # fmt: skip
    document = {
        "version": "5.5.0", "flags": {"night": True}, "shapes": [shape], "imagePath": "a.jpg",
        "imageData": None, "imageHeight": 60, "imageWidth": 100, "text": "Pier Nine",
    }  # fmt: skip
    traits = {
        "labels": "boat", "ids": "4711", "flags": "rusty", "description": "moored at noon",
        "difficult": r'"difficult": true', "scores": "0.62517", "attributes": "clinker",
        "kie_linking": "7713", "text": "Pier Nine",
    }  # fmt: skip
    return write_json(folder / "a.json", document), traits


def write_label_studio(folder: Path) -> tuple[Path, Traits]:
    """An export of Label Studio with the labelling interface beside it."""
    size = {"original_width": 100, "original_height": 60}
    mask = np.zeros(HW, bool)
    mask[5:15, 5:15] = True
    brush = {"format": "rle", "rle": mask_to_brush(mask), "brushlabels": ["boat", "vessel"]}
    first = {
        "id": "x1", "type": "brushlabels", "value": brush, "score": 0.62517, "from_name": "tag",
        "to_name": "image", "meta": {"text": ["moored at noon"]}, "parentID": "p7713",
        "hidden": True, "origin": "prediction-changed",
    } | size  # fmt: skip
    box = {"x": 40, "y": 40, "width": 20, "height": 20, "rotation": 31.25}
    turned = {"id": "x2", "type": "rectanglelabels", "value": box | {"rectanglelabels": ["boat"]}}
    done = {"result": [first, turned | size], "completed_by": 7719, "lead_time": 42.5}
    task = {
        "id": 1, "data": {"image": "a.jpg", "pier": "Pier Nine"}, "meta": {"shift": "night watch"},
        "annotations": [done],
    }  # fmt: skip
    config = '<View><BrushLabels><Label value="boat" background="#01AB21"/>'
    config += '<Label value="gangway"/></BrushLabels></View>'
    (folder / "t.label_config.xml").write_text(config)
    traits = {
        "labels": "boat", "all_labels": "vessel", "scores": "0.62517",
        "meta": "moored at noon|night watch", "parentID": "p7713", "hidden": r'"hidden": true',
        "origin": "prediction-changed", "rotation": "31.25", "data": "Pier Nine",
        "annotation": "7719", "unused classes": "gangway", "color of classes": COLOR,
    }  # fmt: skip
    return write_json(folder / "t.json", [task]), traits


def write_cvat(folder: Path) -> tuple[Path, Traits]:
    """CVAT for images 1.1 with attributes, a z order, a turned box and the facts of its task."""
    text = """<annotations><version>1.1</version><meta><task><name>Quays of Bergen</name>
    <owner>ada</owner><bugtracker>http://b.test/9177</bugtracker><labels>
    <label><name>boat</name><color>#01ab21</color><attributes><attribute><name>hull</name>
    <input_type>select</input_type><values>clinker&#10;carvel</values></attribute></attributes>
    </label><label><name>gangway</name></label></labels></task></meta>
    <image id="0" name="a.jpg" width="100" height="60" subset="Harbour">
    <box label="boat" source="semi-auto" occluded="1" z_order="7713" group_id="4711" xtl="40"
     ytl="20" xbr="60" ybr="40" rotation="31.25"><attribute name="hull">clinker wood</attribute>
    </box>
    </image></annotations>"""
    (folder / "a.xml").write_text(text)
    return folder / "a.xml", {
        "labels": "boat", "name": "Quays of Bergen", "owner": "ada", "bugtracker": "b.test/9177",
        "color of classes": COLOR, "attributes of classes": "carvel",
        "unused classes": "gangway", "subset": "Harbour", "source": "semi-auto",
        "occluded": OCCLUDED, "z_order": "7713", "ids": "4711", "rotation": "31.25",
        "attributes": "clinker wood",
    }  # fmt: skip


def write_yolo(folder: Path) -> tuple[Path, Traits]:
    """YOLO with what Roboflow and Ultralytics put into data.yaml."""
    photo(folder / "y" / "images")
    (folder / "y" / "labels").mkdir()
    ring = " ".join(f"{x / 100} {y / 60}" for x, y in SQUARE)
    (folder / "y" / "labels" / "a.txt").write_text(f"0 {ring}\n")
    (folder / "y" / "data.yaml").write_text(
        "names: [boat, gangway]\nlicense: CC BY-SA 9.0\nroboflow: {workspace: quays-9177}\n"
        "author: Ada Lund\n"
    )
    return folder / "y", {
        "labels": "boat", "unused classes": "gangway", "licences": "CC BY-SA 9.0",
        "roboflow": "quays-9177", "author": "Ada Lund",
    }  # fmt: skip


def write_geojson(folder: Path) -> tuple[Path, Traits]:
    """GeoJSON with properties of other programs."""
    about = {"label": "boat", "score": 0.62517, "group": 4711, "hull": "clinker"}
    about |= {"annotator": 7719}
    geometry = {"type": "Polygon", "coordinates": [[*SQUARE, SQUARE[0]]]}
    feature = {"type": "Feature", "properties": about, "geometry": geometry}
    far = {"type": "Polygon", "coordinates": [[*FAR, FAR[0]]]}
    crowd = feature | {"properties": {"label": "boat", "crowd": True}, "geometry": far}
    image = {"file_name": "a.jpg", "height": 60, "width": 100}
    document = {"type": "FeatureCollection", "features": [feature, crowd], "anymask": image}
    traits = {
        "labels": "boat", "scores": "0.62517", "ids": "4711", "hull": "clinker",
        "crowds": r'"?crowd"?[:=] ?"?(1|true)', "annotator": "7719", "pier": "Pier Nine",
    }  # fmt: skip
    return write_json(folder / "a.geojson", document | {"pier": "Pier Nine"}), traits


def write_svg(folder: Path) -> tuple[Path, Traits]:
    """SVG with data- attributes."""
    path = '<path d="M5,5L15,5L15,15L5,15Z" data-label="boat" data-group="4711" '
    path += 'data-quality="0.62517" data-hull="clinker"/>'
    path += '<path d="M40,30L60,30L60,50Z" data-label="boat" data-crowd="true"/>'
    (folder / "a.svg").write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 100 60">{path}</svg>'
    )
    return folder / "a.svg", {
        "labels": "boat", "scores": "0.62517", "ids": "4711", "hull": "clinker",
        "crowds": r'"?crowd"?[:=] ?"?(1|true)',
    }  # fmt: skip


def write_voc_xml(folder: Path) -> tuple[Path, Traits]:
    """PASCAL VOC's XML with CVAT's attributes."""
    corners = "".join(f"<x{n}>{x}.5</x{n}><y{n}>{y}.5</y{n}>" for n, (x, y) in enumerate(SQUARE, 1))
    (folder / "a.xml").write_text(
        "<annotation><filename>a.jpg</filename><source><database>Quays of Bergen</database>"
        "</source><owner><name>Ada Lund</name></owner><size><width>100</width><height>60</height>"
        "<depth>3</depth></size><object><name>boat</name><pose>Port side</pose>"
        "<truncated>1</truncated><difficult>1</difficult><occluded>1</occluded><attributes>"
        "<attribute><name>hull</name><value>clinker</value></attribute></attributes>"
        f"<polygon>{corners}</polygon></object></annotation>"
    )
    return folder / "a.xml", {
        "labels": "boat", "source": "Quays of Bergen", "owner": "Ada Lund", "pose": "Port side",
        "truncated": r"truncated\W+(1|true)", "difficult": r"difficult\W+(1|true)",
        "occluded": OCCLUDED, "attributes": "clinker",
    }  # fmt: skip


def write_voc(folder: Path) -> tuple[Path, Traits]:
    """PASCAL VOC's pictures with a labelmap.txt."""
    values = np.zeros(HW, np.uint8)
    values[5:15, 5:15] = 1
    for name in ("SegmentationClass", "SegmentationObject"):
        (folder / "v" / name).mkdir(parents=True)
        Image.fromarray(values).save(folder / "v" / name / "a.png")
    rows = "background:0,0,0::\nboat:1,171,33:bow:sail-away\ngangway:9,9,9::\n"
    (folder / "v" / "labelmap.txt").write_text(rows)
    return folder / "v", {
        "labels": "boat", "unused classes": "gangway", "parts of classes": "bow",
        "actions of classes": "sail-away", "color of classes": COLOR,
    }  # fmt: skip


def write_set(folder: Path) -> tuple[Path, Traits]:
    """A set of ours: the licence, what the masks are, keys of other programs."""
    mask = {"rle": _counts(), "label": "boat", "annotator": 7719, "hull": "clinker"}
    row = {"image": "images/a.jpg", "hw": list(HW), "masks": [mask], "weather": "sleet"}
    write_json(folder / "o" / "masks.jsonl", row)
    about = {
        "name": "quays-9177", "licence": "CC BY-SA 9.0", "source": "Harbour archive",
        "domain": "boats at piers", "mask_kind": "whole hulls", "ships": False,
        "classes": ["boat", "gangway"],
    }  # fmt: skip
    write_json(folder / "o" / "set.json", about)
    return folder / "o", {
        "labels": "boat", "annotator": "7719", "hull": "clinker", "weather": "sleet",
        "licences": "CC BY-SA 9.0", "source": "Harbour archive", "domain": "boats at piers",
        "mask_kind": "whole hulls", "ships": r"ships\W+false", "unused classes": "gangway",
        "name": "quays-9177",
    }  # fmt: skip


def _counts() -> str:
    from anymask.masks import mask_to_rle, rle_to_string

    mask = np.zeros(HW, bool)
    mask[5:15, 5:15] = True
    return rle_to_string(mask_to_rle(mask))


def write_sav(folder: Path) -> tuple[Path, Traits]:
    """SA-V with the place of a video."""
    frame = [{"size": list(HW), "counts": _counts()}]
    return write_json(
        folder / "v.json",
        {
            "video_id": "v", "video_height": 60, "video_width": 100, "masklet_id": [4711],
            "masklet": [frame], "video_environment": "Harbour at dusk",
        },
    ), {"ids": "4711", "video_environment": "Harbour at dusk"}  # fmt: skip


def write_qupath(folder: Path) -> tuple[Path, Traits]:
    """An export of QuPath: a detection of a plane of a stack, with measurements."""
    about = {
        "objectType": "detection", "name": "Hull nine", "isLocked": True,
        "classification": {"name": "boat", "color": [1, 171, 33]},
        "measurements": {"score": 0.62517, "Hull area": 91.77}, "metadata": {"ANNO": "night watch"},
        "hull": "clinker",
    }  # fmt: skip
    geometry = {"type": "Polygon", "coordinates": [[*SQUARE, SQUARE[0]]]}
    geometry |= {"plane": {"c": -1, "z": 7713, "t": 0}}
    nucleus = {"type": "Polygon", "coordinates": [[*SQUARE, SQUARE[0]]]}
    feature = {"type": "Feature", "id": "u1", "geometry": geometry, "properties": about}
    features = [feature | {"nucleusGeometry": nucleus}]
    document = {"type": "FeatureCollection", "features": features}
    return write_json(folder / "a.geojson", document), {
        "labels": "boat", "scores": "0.62517", "name": "Hull nine", "objectType": "detection",
        "isLocked": r'isLocked"?\W+(1|true)', "color": COLOR, "measurements": "91.77",
        "metadata": "night watch", "plane": "7713", "shapes": "nucleusGeometry", "hull": "clinker",
    }  # fmt: skip


def write_imagej(folder: Path) -> tuple[Path, Traits]:
    """A ROI set of ImageJ with properties, a group and colours."""
    roifile = pytest.importorskip("roifile")
    roi = roifile.ImagejRoi.frompoints(np.array(SQUARE))
    roi.name, roi.group, roi.props = "boat", 77, "hull: clinker\nscore: 0.62517\nid: 4711\n"
    roi.stroke_color, roi.fill_color = bytes.fromhex("ff01ab21"), bytes.fromhex("80214365")
    with zipfile.ZipFile(folder / "a.zip", "w") as archive:
        archive.writestr("boat.roi", roi.tobytes())
    return folder / "a.zip", {
        "labels": "boat", "scores": "0.62517", "ids": "4711", "attributes": "clinker",
        "roi_group": r"roi_group\W+77", "stroke_color": "ff01ab21", "fill_color": "80214365",
    }  # fmt: skip


def write_results(folder: Path) -> tuple[Path, Traits]:
    """COCO results with keys of a detector's own."""
    held = {"size": list(HW), "counts": _counts()}
    row = {"image_id": "a", "category_id": 7713, "segmentation": held, "score": 0.62517}
    return write_json(folder / "r.json", [row | {"hull": "clinker", "track_id": 7719}]), {
        "labels": "7713", "scores": "0.62517", "hull": "clinker", "track_id": "7719",
    }  # fmt: skip


def write_amg(folder: Path) -> tuple[Path, Traits]:
    """A list of records of segment-anything's generator."""
    record = {
        "segmentation": {"size": list(HW), "counts": _counts()}, "area": 100,
        "bbox": [5, 5, 10, 10], "predicted_iou": 0.62517, "stability_score": 0.73519,
        "point_coords": [[7.125, 8.5]], "crop_box": [3, 2, 51, 42], "hull": "clinker",
    }  # fmt: skip
    return write_json(folder / "a.json", [record]), {
        "scores": "0.62517", "stability": "0.73519", "clicks": "7.125", "crops": "51",
        "hull": "clinker",
    }  # fmt: skip


def write_cvat_video(folder: Path) -> tuple[Path, Traits]:
    """CVAT for video 1.1: a track of two frames in a group, occluded in the second one."""
    boxes = "".join(
        f"""<box frame="{frame}" keyframe="1" outside="0" occluded="1" z_order="7713" xtl="40"
     ytl="20" xbr="60" ybr="40" rotation="31.25"><attribute name="hull">clinker wood</attribute>
    </box>"""
        for frame in (0, 2)
    )
    (folder / "t.xml").write_text(
        f"""<annotations><version>1.1</version><meta><task><name>Quays of Bergen</name>
    <size>3</size><owner>ada</owner><original_size><width>100</width><height>60</height>
    </original_size><labels><label><name>boat</name><color>#01ab21</color></label>
    <label><name>gangway</name></label></labels></task></meta>
    <track id="0" label="boat" source="semi-auto" group_id="4711">{boxes}</track></annotations>"""
    )
    return folder / "t.xml", {
        "labels": "boat", "name": "Quays of Bergen", "owner": "ada", "color of classes": COLOR,
        "unused classes": "gangway", "source": "semi-auto", "occluded": OCCLUDED,
        "z_order": "7713", "rotation": "31.25", "attributes": "clinker wood",
        "track_group": "4711", "keyframe": r"keyframe\W+true",
    }  # fmt: skip


SOURCES: dict[str, Callable[[Path], tuple[Path, Traits]]] = {
    name.removeprefix("write_").replace("_", "-"): make
    for name, make in list(globals().items())
    if name.startswith("write_") and name != "write_json"
}


def _look(data: bytes) -> str:
    """The group and the colours of a ROI."""
    roi = pytest.importorskip("roifile").ImagejRoi.frombytes(data)
    return f"roi_group {roi.group} {roi.stroke_color.hex()} {roi.fill_color.hex()}"


def text_of(target: Path) -> str:
    """The text of an output, of all its files."""
    paths = [target] if target.is_file() else sorted(target.rglob("*"))
    paths += sorted(target.parent.glob(f"{target.stem}.*"))
    parts = []
    for path in filter(Path.is_file, paths):
        parts.append(path.read_bytes().decode("utf-8", "replace"))
        if path.suffix == ".npy":
            parts.append(repr(np.load(path, allow_pickle=True)))
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                parts += [
                    archive.read(name).decode("utf-8", "replace") for name in archive.namelist()
                ]
                parts += [_look(archive.read(n)) for n in archive.namelist() if n.endswith(".roi")]
    parts = [part.replace("\0", "") for part in parts]  # ImageJ writes two bytes a letter
    return re.sub(r"\\u([0-9a-f]{4})", lambda sign: chr(int(sign[1], 16)), "\n".join(parts))
