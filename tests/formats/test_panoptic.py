"""COCO panoptic: every pixel has one segment, and every segment a record."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from PIL import Image

from anymask.base import DataError
from anymask.formats import AnnotatedImage, LossReport, panoptic
from anymask.masks import Mask, mask_to_rle
from tests.formats.annotated import annotated_images, rings, written
from tests.masks.strategies import quickly


def test_numbers_are_red_then_green_then_blue(tmp_path: Path) -> None:
    values = np.arange(1, 301).reshape(20, 15)
    found = tuple(Mask(mask_to_rle(values == value), "x") for value in range(1, 301))
    image = AnnotatedImage(file_name="a.jpg", hw=(20, 15), masks=found)
    written(tmp_path / "p.json", [image], "coco-panoptic")
    with Image.open(tmp_path / "p" / "a.png") as source_image:
        assert source_image.getpixel((14, 19)) == (300 - 256, 1, 0)
        assert source_image.getpixel((0, 0)) == (1, 0, 0)


@quickly
@given(annotated_images())
def test_records_tell_what_can_be_seen(
    tmp_path_factory: pytest.TempPathFactory, image: AnnotatedImage
) -> None:
    path = tmp_path_factory.mktemp("set") / "p.json"
    report = written(path, [image], "coco-panoptic")
    (row,) = json.loads(path.read_text())["annotations"]
    with Image.open(path.with_suffix("") / row["file_name"]) as source_image:
        values = np.asarray(source_image.convert("RGB")).astype(int) @ [1, 256, 65536]
    for segment in row["segments_info"]:
        y, x = np.nonzero(values == segment["id"])
        assert segment["area"] == len(x)
        x0, y0 = x.min(), y.min()
        assert segment["bbox"] == [x0, y0, x.max() - x0 + 1, y.max() - y0 + 1]
    hidden = sum(int(loss.reason.split()[0]) for loss in report.losses if loss.kind == "overlaps")
    areas = sum(mask.area for mask in image.masks)
    assert (values > 0).sum() == areas - hidden


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image_id": 9}, "The image with the id 9"),
        ({"file_name": "b.png"}, "b.png: cannot be read"),
        ({"file_name": "../../etc/b.png"}, "b.png: cannot be read"),
        ({"segments_info": []}, r"rings.png: The panoptic PNG has pixels of the segments \[1,"),
        (
            {"segments_info": [{"id": 77, "category_id": 1}]},
            "rings.png: The segments .77. have no pixel",
        ),
        ({"segments_info": [{"id": 1, "category_id": 9}]}, "The category with the id "),
        ({"segments_info": [{"category_id": 9}]}, "the key 'id' is missing"),
    ],
)
def test_a_broken_record_is_named(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    path = tmp_path / "p.json"
    written(path, [rings()], "coco-panoptic")
    document = json.loads(path.read_text())
    document["annotations"][0] |= change
    path.write_text(json.dumps(document))
    with pytest.raises(DataError, match=f"p.json: annotation 0: .*{message}"):
        panoptic.read(path, LossReport())


def test_a_picture_of_another_size_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "p.json"
    written(path, [rings()], "coco-panoptic")
    Image.new("RGB", (3, 4)).save(tmp_path / "p" / "rings.png")
    with pytest.raises(DataError, match=r"rings.png: The panoptic PNG has the size"):
        panoptic.read(path, LossReport())
