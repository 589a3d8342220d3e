"""SA-1B: everything comes back; what is broken is named."""

import json
from pathlib import Path

import pytest
from hypothesis import given

from anymask.formats import AnnotatedImage, LossReport, Policy, sa1b, write_files
from anymask.masks import Mask
from tests.formats.annotated import annotated_images, rings
from tests.masks.strategies import quickly


def written(target: Path, images: list[AnnotatedImage]) -> LossReport:
    report = LossReport()
    write_files(sa1b.encode(images, target, report, Policy()), target)
    return report


@quickly
@given(annotated_images())
def test_everything_comes_back(
    tmp_path_factory: pytest.TempPathFactory, image: AnnotatedImage
) -> None:
    folder = tmp_path_factory.mktemp("set")
    assert not written(folder, [image])
    assert sa1b.read(folder, LossReport()) == [image]
    assert (folder / "photos" / "a b.json").is_file()


def test_numbers_clicks_and_crowds_come_back(tmp_path: Path) -> None:
    mask = Mask(
        rle=rings().masks[0].rle,
        score=0.91,
        stability=0.8,
        points=((3.5, 2.0),),
        crop_box=(0, 0, 6, 5),
        label="ring",
        parent=0,
        depth=1,
        id=7,
        crowd=True,
    )
    image = AnnotatedImage(file_name="a.jpg", hw=(9, 12), masks=(mask,))
    assert not written(tmp_path / "a.json", [image])
    assert sa1b.read(tmp_path / "a.json", LossReport()) == [image]


def test_the_keys_are_the_data_set_s(tmp_path: Path) -> None:
    written(tmp_path, [rings()])
    document = json.loads((tmp_path / "rings.json").read_text())
    assert document["image"] == {
        "image_id": 1,
        "width": 12,
        "height": 9,
        "file_name": "rings.png",
    }
    assert set(document["annotations"][0]) == {
        "id",
        "segmentation",
        "area",
        "bbox",
        "point_coords",
        "crop_box",
        "label",
    }  # a mask that nobody estimated has no predicted_iou and no stability_score
    assert [row["id"] for row in document["annotations"]] == [1, 2, 3, 4]


def document() -> dict[str, object]:
    return {
        "image": {"width": 2, "height": 3, "file_name": "a.jpg"},
        "annotations": [{"segmentation": {"size": [3, 2], "counts": [6]}}],
    }
