"""SA-1B: everything comes back; what is broken is named."""

import json
from pathlib import Path

from anymask.formats import AnnotatedImage, LossReport, Policy, sa1b, write_files
from tests.formats.annotated import rings


def written(target: Path, images: list[AnnotatedImage]) -> LossReport:
    report = LossReport()
    write_files(sa1b.encode(images, target, report, Policy()), target)
    return report


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
