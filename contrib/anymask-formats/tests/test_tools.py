"""V7, Encord and Supervisely: files as documented, and what is told of others."""

import base64
import io
import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import anymask
from anymask.base import DataError
from anymask.formats import LossReport, Policy, read_annotations, write_annotations
from anymask.masks import rle_to_mask
from tests.formats.annotated import pixels, rings

# A picture of 6 x 4 pixels with the same thing in each tool's file: a frame of 3 x 3 at (1, 0) with
# a hole in its middle, and a box of 2 x 1 at (4, 3).
FRAME = np.zeros((4, 6), np.bool_)
FRAME[0:3, 1:4] = True
FRAME[1, 2] = False
BOX = np.zeros((4, 6), np.bool_)
BOX[3, 4:6] = True


def corners(*pairs: tuple[float, float]) -> list[dict[str, float]]:
    return [{"x": x, "y": y} for x, y in pairs]


OUTER, INNER = [(1, 0), (4, 0), (4, 3), (1, 3)], [(2, 1), (3, 1), (3, 2), (2, 2)]
V7 = {
    "version": "2.0",
    "item": {
        "name": "a.png",
        "path": "/street",
        "slots": [
            {
                "type": "image",
                "slot_name": "0",
                "width": 6,
                "height": 4,
                "source_files": [{"file_name": "a.png", "url": "https://example.org/a.png"}],
            }
        ],
    },
    "annotations": [
        {
            "id": "one",
            "name": "frame",
            "polygon": {"paths": [corners(*OUTER), corners(*INNER)]},
            "bounding_box": {"x": 1, "y": 0, "w": 3, "h": 3},
            "instance_id": {"value": 7},
            "slot_names": ["0"],
        },
        {"id": "two", "name": "box", "bounding_box": {"x": 4, "y": 3, "w": 2, "h": 1}},
        {"id": "three", "name": "night", "tag": {}},
    ],
}
V7_LAYER = {
    **V7,
    "annotations": [
        {"id": "one", "name": "frame", "mask": {"sparse_rle": None}},
        {"id": "two", "name": "box", "mask": {"sparse_rle": None}},
        {"id": "none", "name": "box", "mask": {"sparse_rle": None}},
        {
            "id": "layer",
            "name": "__raster_layer__",
            "raster_layer": {
                "dense_rle": [0, 1, 3, 3, 0, 3, 3, 1, 0, 1, 3, 1, 0, 3, 3, 3, 0, 6, 9, 2],
                "mask_annotation_ids_mapping": {"one": 3, "two": 9},
                "total_pixels": 24,
            },
        },
    ],
}
ENCORD_OBJECTS = [
    {
        "name": "frame",
        "shape": "bitmask",
        "bitmask": {"top": 0, "left": 1, "width": 3, "height": 3, "rleString": "0410"},
        "objectHash": "a1b2c3d4",
        "featureHash": "d4c3b2a1",
        "manualAnnotation": False,
        "confidence": 0.75,
    },
    {
        "name": "box",
        "shape": "bounding_box",
        "boundingBox": {"x": 4 / 6, "y": 3 / 4, "w": 2 / 6, "h": 1 / 4},
    },
    {"name": "nose", "shape": "point", "point": {"0": {"x": 0.5, "y": 0.5}}},
]
ENCORD = [
    {
        "label_hash": "l",
        "data_title": "a.png",
        "data_type": "image",
        "data_units": {
            "d": {
                "data_hash": "d",
                "data_title": "a.png",
                "data_type": "image/png",
                "data_sequence": 0,
                "width": 6,
                "height": 4,
                "labels": {"objects": ENCORD_OBJECTS, "classifications": []},
            }
        },
    }
]


def supervisely_bitmap(mask: list[list[bool]]) -> str:
    """As their SDK packs it: a palette PNG whose first colour is transparent, zlib, base64."""
    image, file = Image.fromarray(np.array(mask, np.uint8), "P"), io.BytesIO()
    image.putpalette([0, 0, 0, 255, 255, 255])
    image.save(file, "PNG", transparency=0)
    return base64.b64encode(zlib.compress(file.getvalue())).decode()


BITMAP = supervisely_bitmap([[True] * 3, [True, False, False], [True] * 3])
SUPERVISELY = {
    "description": "",
    "tags": [],
    "size": {"height": 4, "width": 6},
    "objects": [
        {
            "geometryType": "polygon",
            "classTitle": "frame",
            "points": {"exterior": OUTER, "interior": [INNER]},
        },
        {
            "geometryType": "rectangle",
            "classTitle": "box",
            "points": {"exterior": [[4, 3], [5, 3]], "interior": []},
        },
        {"geometryType": "point", "classTitle": "x", "points": {"exterior": [[1, 1]]}},
    ],
}


@pytest.mark.parametrize(
    ("form", "document"),
    [("v7", V7), ("v7", V7_LAYER), ("encord", ENCORD), ("supervisely", SUPERVISELY)],
    ids=["v7", "v7-layer", "encord", "supervisely"],
)
def test_a_file_as_documented_is_recognised_and_read(
    form: str, document: Any, tmp_path: Path
) -> None:
    path = tmp_path / "a.png.json"
    path.write_text(json.dumps(document))
    assert anymask.read(path).format == form
    (image,), report = read_annotations(path, form)
    assert image.name == "a.png"
    assert [mask.label for mask in image.masks] == ["frame", "box"]
    np.testing.assert_array_equal(rle_to_mask(image.masks[0].rle), FRAME)
    np.testing.assert_array_equal(rle_to_mask(image.masks[1].rle), BOX)
    assert report.counts() == {"shapes": 1}


def test_v7_keeps_folders_and_numbers_and_encord_scores(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps(V7))
    (image,), _ = read_annotations(tmp_path / "a.json", "v7")
    assert (image.file_name, image.masks[0].id) == ("street/a.png", 7)
    write_annotations([image], tmp_path / "again", "v7", Policy(tolerance=0))
    (again,), _ = read_annotations(tmp_path / "again", "v7")
    assert again == image
    (tmp_path / "b.json").write_text(json.dumps(ENCORD))
    (scored,), _ = read_annotations(tmp_path / "b.json", "encord")
    assert [mask.score for mask in scored.masks] == [0.75, 0]
    assert not write_annotations([scored], tmp_path / "c.json", "encord")
    assert read_annotations(tmp_path / "c.json", "encord")[0] == [scored]


def test_encords_polygons_have_parts_and_holes_and_bitmasks_run_along_rows(tmp_path: Path) -> None:
    flat = [
        [[value / size for pair in ring for value, size in zip(pair, (6, 4), strict=True)]]
        for ring in (OUTER, [(4, 3), (6, 3), (6, 4), (4, 4)])
    ]
    flat[0].append([v / s for pair in INNER for v, s in zip(pair, (6, 4), strict=True)])
    whole = {"name": "both", "shape": "polygon", "polygon": {}, "polygons": flat}
    legacy = {str(n): {"x": x / 6, "y": y / 4} for n, (x, y) in enumerate(OUTER)}
    document = json.loads(json.dumps(ENCORD))
    document[0]["data_units"]["d"]["labels"]["objects"] = [
        whole,
        {"name": "plain", "shape": "polygon", "polygon": legacy},
        {
            "name": "box",
            "shape": "bitmask",  # two pixels without, two with, along the rows
            "bitmask": {"top": 2, "left": 4, "width": 2, "height": 2, "rleString": "22"},
        },
    ]
    (tmp_path / "a.json").write_text(json.dumps(document))
    (image,), _ = read_annotations(tmp_path / "a.json", "encord")
    np.testing.assert_array_equal(rle_to_mask(image.masks[0].rle), FRAME | BOX)
    assert rle_to_mask(image.masks[1].rle).sum() == 9
    np.testing.assert_array_equal(rle_to_mask(image.masks[2].rle), BOX)


def test_superviselys_own_bitmap_and_project(tmp_path: Path) -> None:
    bitmap = {"data": BITMAP, "origin": [2, 1]}
    one = {"geometryType": "bitmap", "classTitle": "a", "bitmap": bitmap}
    place = tmp_path / "ds0" / "ann" / "p.jpg.json"
    place.parent.mkdir(parents=True)
    place.write_text(json.dumps({"size": {"height": 4, "width": 6}, "objects": [one]}))
    (tmp_path / "meta.json").write_text('{"classes": [], "tags": []}')
    assert anymask.read(tmp_path).format == "supervisely"
    (image,), _ = read_annotations(tmp_path, "supervisely")
    assert image.file_name == "p.jpg"
    expected = np.zeros((4, 6), np.bool_)
    expected[1:4, 2:5] = [[1, 1, 1], [1, 0, 0], [1, 1, 1]]
    np.testing.assert_array_equal(rle_to_mask(image.masks[0].rle), expected)
    pixels = tmp_path / "ds0" / "img" / "p.jpg"
    pixels.parent.mkdir()
    pixels.touch()
    (image,), _ = read_annotations(tmp_path, "supervisely")
    assert image.file_name == "ds0/img/p.jpg"


@pytest.mark.parametrize("name", ["a.png", "x/a.png", "x/y/a.png"])
def test_names_of_photos_come_back(name: str, tmp_path: Path) -> None:
    image = type(rings())(file_name=name, hw=rings().hw, masks=rings().masks)
    for form, target in (("v7", "v"), ("encord", "e.json"), ("supervisely", "s")):
        write_annotations([image], tmp_path / target, form)
        (again,), _ = read_annotations(tmp_path / target, form)
        assert again.file_name == name
        if form != "v7":  # follows the edge with a tolerance
            assert pixels(again) == [row for row in pixels(image) if row[0] != "none"]


@pytest.mark.parametrize(
    ("form", "document", "message"),
    [
        (
            "v7",
            {**V7, "annotations": [{"name": "a", "cube": {}}]},
            "annotation 0: Unknown shape type",
        ),
        (
            "supervisely",
            {**SUPERVISELY, "objects": [{"geometryType": "x"}]},
            "Unknown shape type. Given: 'x'",
        ),
        (
            "supervisely",
            {
                **SUPERVISELY,
                "objects": [
                    {"geometryType": "bitmap", "bitmap": {"data": "AAAA", "origin": [0, 0]}}
                ],
            },
            "not a compressed PNG",
        ),
        ("encord", {"data_units": {"d": {"data_title": "a", "height": 4}}}, "'width' is missing"),
    ],
)
def test_broken_records_are_named(form: str, document: Any, message: str, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps(document))
    with pytest.raises(DataError, match=message):
        read_annotations(tmp_path / "a.json", form)


def test_frames_of_a_video_are_told(tmp_path: Path) -> None:
    unit = {"data_title": "a.mp4", "height": 4, "width": 6, "labels": {"0": {"objects": []}}}
    (tmp_path / "a.json").write_text(json.dumps({"data_units": {"d": unit}}))
    (image,), report = read_annotations(tmp_path / "a.json", "encord")
    assert not image.masks
    assert isinstance(report, LossReport)
    assert report.counts() == {"frames": 1}
