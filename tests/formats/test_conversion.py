"""The Python door: any format read as a data set, or turned into another."""

import json
from pathlib import Path

import pytest

import anymask
from anymask.formats import LossError, Policy, write_annotations
from tests.formats import published
from tests.formats.annotated import pixels, rings


@pytest.fixture
def source(tmp_path: Path) -> Path:
    write_annotations([rings()], tmp_path / "in", "sa1b")
    return tmp_path / "in"


def test_a_published_data_set_is_read_by_its_split(tmp_path: Path) -> None:
    truths = published.write_cityscapes(tmp_path)
    (image,) = anymask.read(tmp_path, "Cityscapes", split="val")
    assert image.image().shape == (*image.hw, 3)
    assert len(image.objects) == len(truths[0].masks)


def test_a_conversion_tells_what_was_lost(source: Path, tmp_path: Path) -> None:
    kept = anymask.convert(source, tmp_path / "coco.json")
    assert (kept.format, kept.target_format, kept.images, kept.masks, kept.files) == (
        "sa1b",
        "coco",
        1,
        4,
        1,
    )
    assert not kept
    (image,) = anymask.read(tmp_path / "coco.json")
    assert pixels(image) == pixels(rings())
    lost = anymask.convert(source, tmp_path / "labels", "YOLOv8", policy=Policy(holes="drop"))
    assert lost.counts() == {"holes": 1, "pixels": 1, "parts": 1, "empty": 1}
    assert lost.lines()[0].startswith("Not kept: holes (1 time), first: rings.png, mask 0: ")
    assert json.loads(json.dumps(lost.to_json()))["to"] == "yolo"


def test_a_strict_conversion_hands_its_report_over(source: Path, tmp_path: Path) -> None:
    with pytest.raises(LossError, match="3 items would be lost") as error:
        anymask.convert(source, tmp_path / "yolo", strict=True)
    assert sum(error.value.report.counts().values()) == 3
    assert not (tmp_path / "yolo").exists()
