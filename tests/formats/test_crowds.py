"""Crowds of COCO, which CVAT writes for brush masks, and boxes that were given as corners."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import anymask
from anymask.formats.registry import FORMATS

RLE = {"size": [60, 100], "counts": [0, 10, 5990]}


def write(path: Path, *crowds: int, **row: Any) -> Path:
    rows = [
        {"id": n, "image_id": 1, "category_id": 1, "segmentation": RLE, "iscrowd": crowd} | row
        for n, crowd in enumerate(crowds, start=1)
    ]
    images = [{"id": 1, "file_name": "a.jpg", "width": 100, "height": 60}]
    categories = [{"id": 1, "name": "cat"}]
    document = {"images": images, "annotations": rows, "categories": categories}
    path.write_text(json.dumps(document))
    return path


def crowds(dataset: anymask.formats.Dataset) -> list[bool]:
    return [mask.crowd for image in dataset for mask in image.masks]


@pytest.mark.parametrize(
    ("flags", "crowd", "expected"),
    [
        ((1, 1), "auto", [False, False]),
        ((1, 1), "ignore", [True, True]),
        ((1, 0), "auto", [True, False]),
        ((1, 0), "keep", [False, False]),
        ((0, 0), "auto", [False, False]),
    ],
)
def test_a_file_of_crowds_alone_counts_them(
    flags: tuple[int, ...], crowd: Any, expected: list[bool], tmp_path: Path
) -> None:
    dataset = anymask.read(write(tmp_path / "a.json", *flags), crowd=crowd)
    assert crowds(dataset) == expected
    told = [line for line in dataset.unread_lines() if "masks are marked as crowds" in line]
    assert bool(told) == (all(flags) and crowd == "auto")


def test_each_file_of_a_folder_is_looked_at_for_itself(tmp_path: Path) -> None:
    write(tmp_path / "a.json", 1)
    write(tmp_path / "b.json", 1, 0)
    assert crowds(anymask.read(tmp_path, "coco")) == [False, True, False]


def test_a_published_layout_counts_them_too(tmp_path: Path) -> None:
    (tmp_path / "annotations").mkdir()
    (tmp_path / "val2017").mkdir()
    Image.new("L", (100, 60)).save(tmp_path / "val2017" / "a.jpg")
    write(tmp_path / "annotations" / "instances_val2017.json", 1, 1, bbox=[0, 0, 1, 10])
    assert crowds(anymask.read(tmp_path, split="val")) == [False, False]
    assert crowds(anymask.read(tmp_path, split="val", crowd="ignore")) == [True, True]


def test_panoptic_segments_count_too(tmp_path: Path) -> None:
    values = np.zeros((60, 100, 3), np.uint8)
    values[:9, :9, 0] = 1
    (tmp_path / "p").mkdir()
    Image.fromarray(values).save(tmp_path / "p" / "a.png")
    segments = [{"id": 1, "category_id": 1, "iscrowd": 1}]
    document = json.loads(write(tmp_path / "p.json").read_text())
    document["annotations"] = [{"image_id": 1, "file_name": "a.png", "segments_info": segments}]
    (tmp_path / "p.json").write_text(json.dumps(document))
    assert crowds(anymask.read(tmp_path / "p.json")) == [False]
    assert crowds(anymask.read(tmp_path / "p.json", crowd="ignore")) == [True]


@pytest.mark.parametrize("boxes", [True, False])
def test_boxes_given_as_corners_are_told(boxes: bool, tmp_path: Path) -> None:
    def told(*given: list[float]) -> list[str]:
        path = write(tmp_path / "a.json", 0)
        document = json.loads(path.read_text())
        rows = [{"id": 9, "image_id": 1, "category_id": 1, "bbox": box} for box in given]
        document["annotations"] += rows
        path.write_text(json.dumps(document))
        dataset = anymask.read(path, boxes=boxes)
        list(dataset)
        return [line for line in dataset.unread_lines() if "x0 y0 x1 y1" in line]

    corners = [[40.0, 30.0, 95.0, 55.0], [50.0, 10.0, 90.0, 20.0], [1.0, 1.0, 9.0, 9.0]]
    assert told(*corners) == [
        "2 boxes extend beyond their image. The numbers may be x0 y0 x1 y1, "
        "but the format requires x y width height."
    ]
    assert not told(*corners, [60.0, 10.0, 20.0, 30.0])  # no corners: 20 lies left of 60
    assert not told([1.0, 1.0, 9.0, 9.0])


def test_boxes_of_yolo_given_as_corners_are_told(tmp_path: Path) -> None:
    for name in ("labels", "images"):
        (tmp_path / name).mkdir()
    Image.new("L", (100, 60)).save(tmp_path / "images" / "a.png")
    (tmp_path / "labels" / "a.txt").write_text("0 0.5 0.2 0.9 0.8\n0 0.6 0.1 0.95 0.4\n")
    (tmp_path / "data.yaml").write_text("names: [cat]")
    assert "yolo" in FORMATS
    dataset = anymask.read(tmp_path, boxes=True)
    list(dataset)
    assert dataset.unread_lines()[0].startswith(
        "2 boxes extend beyond their image. The numbers may be x0"
    )
