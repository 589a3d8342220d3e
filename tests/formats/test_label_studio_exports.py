"""Label Studio's short exports: JSON-MIN, CSV, TSV, and shapes whose labels are in another tag.

The files are as Label Studio writes them; masks are worked out by hand, in a picture of 20 x 10.
"""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from anymask.formats import mask_to_brush, read_annotations
from anymask.masks import rle_to_mask

SIZE = {"original_width": 20, "original_height": 10}


def box(x: int, y: int, width: int, height: int, **more: Any) -> dict[str, Any]:
    """A rectangle in percent, of pixels."""
    return {
        "x": 5 * x,
        "y": 10 * y,
        "width": 5 * width,
        "height": 10 * height,
        "rotation": 0,
    } | more


def pixels(x: int, y: int, width: int, height: int) -> np.ndarray:
    """The mask of a rectangle."""
    mask = np.zeros((10, 20), np.bool_)
    mask[y : y + height, x : x + width] = True
    return mask


BRUSH = pixels(0, 8, 5, 2)
FEATURES = {
    "annotator": 1, "annotation_id": 7, "created_at": "2026-01-05T10:00:00.000000Z",
    "updated_at": "2026-01-05T10:01:00.000000Z", "lead_time": 12.5,
}  # fmt: skip
ROW = {
    "image": "/data/upload/1/0a1b2c3d-a.jpg",
    "id": 3,
    "label": [
        box(2, 1, 4, 3, rectanglelabels=["cat"]) | SIZE,
        {
            "points": [[50, 0], [100, 0], [100, 50], [50, 50]], "closed": True,
            "polygonlabels": ["dog"],
        } | SIZE,
    ],
    "tag": [
        {"format": "rle", "rle": mask_to_brush(BRUSH), "brushlabels": ["grass"]} | SIZE,
    ],
    "quality": "good",
} | FEATURES  # fmt: skip
EXPECTED = [("cat", pixels(2, 1, 4, 3)), ("dog", pixels(10, 0, 10, 5)), ("grass", BRUSH)]


def check(path: Path, expected: list[tuple[str | None, np.ndarray]]) -> None:
    """A file holds one picture of these masks, whatever their order."""
    (image,), _ = read_annotations(path)
    assert image.hw == (10, 20)
    found = {mask.label: rle_to_mask(mask.rle) for mask in image.masks}
    assert len(image.masks) == len(expected)
    for label, mask in expected:
        assert np.array_equal(found[label], mask)


def test_json_min_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps([ROW]))
    check(tmp_path / "a.json", EXPECTED)
    (image,), _ = read_annotations(tmp_path / "a.json")
    assert image.file_name == "0a1b2c3d-a.jpg"


@pytest.mark.parametrize(("ending", "sign"), [(".csv", ","), (".tsv", "\t")])
def test_tables_are_read(tmp_path: Path, ending: str, sign: str) -> None:
    path = tmp_path / f"a{ending}"
    with path.open("w", newline="") as file:  # as pandas writes lists: JSON in a cell
        writer = csv.writer(file, delimiter=sign)
        writer.writerow(ROW)
        writer.writerow(
            json.dumps(value) if isinstance(value, list) else value for value in ROW.values()
        )
    check(path, EXPECTED)


def test_a_row_without_regions_keeps_its_picture(tmp_path: Path) -> None:
    empty = {"image": "b.jpg", "id": 4} | FEATURES
    (tmp_path / "a.json").write_text(json.dumps([ROW, empty]))
    (image,), report = read_annotations(tmp_path / "a.json")
    assert "b.jpg: No region contains the image size; the image was skipped" in map(
        str, report.losses
    )


def region(kind: str, value: dict[str, Any], name: str, control: str) -> dict[str, Any]:
    """A region as in the JSON export."""
    about = {"id": name, "from_name": control, "to_name": "image", "type": kind, "value": value}
    return about | SIZE | {"image_rotation": 0}


def task(*regions: dict[str, Any]) -> str:
    """An export of one task."""
    return json.dumps([{"data": {"image": "a.jpg"}, "annotations": [{"result": [*regions]}]}])


def test_shapes_take_their_name_from_labels(tmp_path: Path) -> None:
    """The OCR template: <Rectangle>, <Polygon>, <Labels> and a text for each region."""
    corners = {"points": [[50, 0], [100, 0], [100, 50], [50, 50]]}
    oval = {"x": 25, "y": 50, "radiusX": 12.5, "radiusY": 25, "rotation": 0}
    rows = [
        region("rectangle", box(2, 1, 4, 3), "a", "bbox"),
        region("labels", box(2, 1, 4, 3, labels=["Text"]), "a", "label"),
        region("textarea", box(2, 1, 4, 3, text=["hello"]), "a", "transcription"),
        region("polygon", corners, "b", "poly"),
        region("labels", corners | {"labels": ["Block"]}, "b", "label"),
        region("rectangle", box(0, 8, 5, 2), "c", "bbox"),  # without a label
        region("labels", oval | {"labels": ["Seal"]}, "d", "label"),
        region("labels", {"start": 0, "end": 4, "labels": ["Word"]}, "e", "label"),
    ]
    (tmp_path / "a.json").write_text(task(*rows))
    (image,), report = read_annotations(tmp_path / "a.json")
    found = {mask.label: rle_to_mask(mask.rle) for mask in image.masks}
    assert [mask.label for mask in image.masks] == ["Text", "Block", None, "Seal"]
    assert np.array_equal(found["Text"], pixels(2, 1, 4, 3))
    assert np.array_equal(found["Block"], pixels(10, 0, 10, 5))
    assert np.array_equal(found[None], pixels(0, 8, 5, 2))
    y, x = np.mgrid[:10, :20] + 0.5  # the ellipse around (5, 5) with radii of 2.5 pixels
    assert np.array_equal(found["Seal"], (x - 5) ** 2 + (y - 5) ** 2 < 2.5**2)
    assert [loss.reason for loss in report.losses if loss.kind == "shapes"] == [
        "regions of type 'textarea' have no mask",
        "regions of type 'labels' have no mask",
    ]


def test_shapes_and_labels_are_one_in_json_min_too(tmp_path: Path) -> None:
    row = {
        "image": "a.jpg",
        "id": 1,
        "bbox": [box(2, 1, 4, 3) | SIZE, box(8, 1, 4, 3) | SIZE],
        "label": [box(2, 1, 4, 3, labels=["Text"]) | SIZE, box(8, 1, 4, 3, labels=["Seal"]) | SIZE],
        "transcription": ["hello", "seal"],
    } | FEATURES
    (tmp_path / "a.json").write_text(json.dumps([row]))
    check(tmp_path / "a.json", [("Text", pixels(2, 1, 4, 3)), ("Seal", pixels(8, 1, 4, 3))])


def test_boxes_that_are_corners_get_one_line(tmp_path: Path) -> None:
    """Two corners in percent, as scripts write them that mistake the keys."""
    corners = {"x": 50, "y": 40, "width": 90, "height": 95, "rectanglelabels": ["cat"]}
    (tmp_path / "a.json").write_text(task(region("rectanglelabels", corners, "a", "label")))
    _, report = read_annotations(tmp_path / "a.json")
    assert report.notes == [
        "1 box extends beyond its image. The numbers may be x0 y0 x1 y1, "
        "but the format requires x y width height in percent."
    ]
