"""SA-1B: everything comes back; what is broken is named."""

import json
from pathlib import Path

from tests.formats.annotated import rings, written


def test_the_keys_are_the_data_set_s(tmp_path: Path) -> None:
    written(tmp_path, [rings()], "sa1b")
    document = json.loads((tmp_path / "rings.json").read_text())
    assert document["image"] == {"image_id": 1, "width": 12, "height": 9, "file_name": "rings.png"}
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
