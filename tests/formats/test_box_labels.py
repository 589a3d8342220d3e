"""Boxes of labels for detection as rectangles, against pixels that are counted by hand."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from anymask.base import DataError
from anymask.formats import box_of, read
from anymask.formats.outlines import box_to_mask
from anymask.masks import Mask, mask_to_rle, rle_to_mask

HW = (20, 30)
NUMBERS = st.floats(-10, 40, allow_nan=False)
BOXES = ["cat 2 3 9 8", "dog 0 0 30 20"]  # label, x0, y0, x1, y1 of the two objects of a photo


def pixels(mask: Mask) -> np.ndarray:
    return rle_to_mask(mask.rle)


@given(st.tuples(NUMBERS, NUMBERS, NUMBERS, NUMBERS))
def test_a_box_is_every_pixel_that_it_touches(box: tuple[float, float, float, float]) -> None:
    x0, y0, x1, y1 = box
    if x1 <= x0 or y1 <= y0:
        with pytest.raises(DataError, match="The box has no area. Its width and"):
            box_to_mask(box, HW)
        return
    y, x = np.mgrid[: HW[0], : HW[1]]
    touched = (x < x1) & (x + 1 > x0) & (y < y1) & (y + 1 > y0)
    found = box_to_mask(box, HW, "cat")
    if found is None:
        assert not touched.any()
        return
    np.testing.assert_array_equal(pixels(found), touched)
    assert found.label == "cat"
    assert found.drawn_box == (max(0, x0), max(0, y0), min(30, x1), min(20, y1))
    assert box_of(found) == found.drawn_box


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_a_box_of_no_numbers_is_refused(number: float) -> None:
    with pytest.raises(DataError, match="The box has no area. Its width and"):
        box_to_mask((0, 0, number, 5), HW)


def test_only_what_fills_its_box_is_one() -> None:
    mask = np.zeros(HW, bool)
    assert box_of(Mask(mask_to_rle(mask))) is None
    mask[3:8, 2:9] = True
    assert box_of(Mask(mask_to_rle(mask))) == (2, 3, 9, 8)
    mask[3, 2] = False
    assert box_of(Mask(mask_to_rle(mask))) is None


# The formats.


def photo(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", HW[::-1]).save(folder / "a.png")
    return folder


def corners(row: str) -> tuple[str, list[float]]:
    label, *numbers = row.split()
    return label, [float(number) for number in numbers]


def coco(folder: Path) -> Path:
    photo(folder)
    rows = [{"id": 1, "file_name": "a.png", "height": HW[0], "width": HW[1]}]
    found = []
    for number, row in enumerate(BOXES):
        x0, y0, x1, y1 = corners(row)[1]
        box = {
            "id": number,
            "image_id": 1,
            "category_id": number,
            "bbox": [x0, y0, x1 - x0, y1 - y0],
        }
        found.append(box | ({"segmentation": []} if number else {}))
    classes = [{"id": number, "name": corners(row)[0]} for number, row in enumerate(BOXES)]
    document = {"images": rows, "annotations": found, "categories": classes}
    (folder / "boxes.json").write_text(json.dumps(document), encoding="utf-8")
    return folder / "boxes.json"


def yolo(folder: Path, more: str = "") -> Path:
    photo(folder / "images")
    (folder / "labels").mkdir()
    lines = []
    for number, row in enumerate(BOXES):
        x0, y0, x1, y1 = corners(row)[1]
        middle = (x0 + x1) / 2 / HW[1], (y0 + y1) / 2 / HW[0]
        lines.append(
            f"{number} {middle[0]} {middle[1]} {(x1 - x0) / HW[1]} {(y1 - y0) / HW[0]}{more}"
        )
    (folder / "labels" / "a.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (folder / "data.yaml").write_text("names: [cat, dog]\n", encoding="utf-8")
    return folder


def predicted(folder: Path) -> Path:
    """As a detector writes them with its confidence."""
    return yolo(folder, " 0.87")


def voc(folder: Path) -> Path:
    """VOC names the first and the last pixel, from 1 on."""
    photo(folder)
    objects = ""
    for row in BOXES:
        label, (x0, y0, x1, y1) = corners(row)
        box = f"<xmin>{x0 + 1}</xmin><ymin>{y0 + 1}</ymin><xmax>{x1}</xmax><ymax>{y1}</ymax>"
        objects += f"<object><name>{label}</name><bndbox>{box}</bndbox></object>"
    text = f"<annotation><filename>a.png</filename>{objects}</annotation>"
    (folder / "a.xml").write_text(text, encoding="utf-8")
    return folder


@pytest.mark.parametrize("write", [coco, yolo, predicted, voc])
def test_boxes_of_every_format_are_the_same_rectangles(tmp_path: Path, write) -> None:
    stream = read(write(tmp_path / "set"), boxes=True)
    (image,) = stream
    assert [mask.label for mask in image.objects] == ["cat", "dog"]
    for mask, row in zip(image.objects, BOXES, strict=True):
        x0, y0, x1, y1 = (int(value) for value in corners(row)[1])
        expected = np.zeros(HW, bool)
        expected[y0:y1, x0:x1] = True
        assert box_of(mask) == pytest.approx((x0, y0, x1, y1))
        # the last digit of a share may take in one pixel more
        assert (pixels(mask) ^ expected).sum() <= (
            expected.sum() / 5 if write in (yolo, predicted) else 0
        )
    assert stream.unread == {}
    assert stream.image_path(image).name == "a.png"


@pytest.mark.parametrize("write", [coco, yolo, voc])
def test_boxes_that_nobody_asked_for_are_told_and_no_set_of_masks(tmp_path: Path, write) -> None:
    source = write(tmp_path / "set")
    with pytest.raises(DataError, match="To convert the boxes to masks: `anymask boxes"):
        list(read(source))


def test_a_box_off_the_picture_is_told(tmp_path: Path) -> None:
    folder = yolo(tmp_path / "set")
    with (folder / "labels" / "a.txt").open("a", encoding="utf-8") as file:
        file.write("0 1.4 0.5 0.1 0.1\n")
    stream = read(folder, boxes=True)
    (image,) = stream
    assert len(image.masks) == 2
    assert stream.unread_lines() == [
        "Skipped 1 record (the box is outside the image): labels/a.txt: line 3"
    ]
