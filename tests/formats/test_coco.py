"""COCO: the same pixels as pycocotools, and every broken record named."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from PIL import Image
from pycocotools import mask as peer
from pycocotools.coco import COCO

from anymask.base import DataError
from anymask.formats import AnnotatedImage, LossReport, coco, read
from anymask.masks import Mask, mask_to_polygons, mask_to_rle, rle_to_string
from tests.formats.annotated import rings, written
from tests.masks.strategies import Pixels, masks, quickly


@pytest.mark.parametrize("polygons", [False, True])
def test_pycocotools_reads_the_same_pixels(
    polygons: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "coco.json"
    plain = AnnotatedImage(
        file_name="rings.png", hw=(9, 12), masks=tuple(rings().masks[n] for n in (1, 3))
    )
    image = plain if polygons else rings()
    written(path, [image], "coco-polygon" if polygons else "coco")
    data = COCO(str(path))
    capsys.readouterr()
    for row, mask in zip(data.loadAnns(data.getAnnIds()), image.masks, strict=True):
        counts = data.annToRLE(row)["counts"]
        text = counts if isinstance(counts, str) else counts.decode()
        assert text == rle_to_string(mask.rle)
        assert row["area"] == mask.area
        assert row["bbox"] == list(peer.toBbox(data.annToRLE(row)))
        assert data.loadCats(row["category_id"])[0]["name"] == mask.label


@quickly
@given(masks(largest=12))
def test_polygons_on_pixel_borders_mean_the_same_to_pycocotools(mask: Pixels) -> None:
    flat = [p.exterior.ravel().tolist() for p in mask_to_polygons(mask)]
    if not flat:
        return
    ours = coco.segmentation_to_rle(flat, mask.shape)
    theirs = peer.merge(peer.frPyObjects(flat, *mask.shape))["counts"].decode()
    assert rle_to_string(ours) == theirs


def test_crowds_stay_run_lengths_among_polygons(tmp_path: Path) -> None:
    crowd = Mask(rings().masks[0].rle, "people", crowd=True)
    image = AnnotatedImage(file_name="a.jpg", hw=(9, 12), masks=(crowd,))
    path = tmp_path / "coco.json"
    assert not written(path, [image], "coco-polygon")
    (row,) = json.loads(path.read_text())["annotations"]
    assert row["iscrowd"] == 1
    assert row["segmentation"]["size"] == [9, 12]
    assert coco.read(path, LossReport()) == [image]


def test_masks_without_a_label_are_called_object(tmp_path: Path) -> None:
    mask = Mask(mask_to_rle(np.eye(3, dtype=np.bool_)))
    image = AnnotatedImage(file_name="a.jpg", hw=(3, 3), masks=(mask,))
    report = written(tmp_path / "a.json", [image], "coco")
    assert [str(loss) for loss in report.losses] == [
        "a.jpg, mask 0: has no label; its label was set to 'object'"
    ]
    (found,) = coco.read(tmp_path / "a.json", LossReport())
    assert found.masks[0].label == "object"


def document(**annotation: Any) -> dict[str, Any]:
    row = {"id": 5, "image_id": 1, "category_id": 3, "segmentation": [[0, 0, 2, 0, 2, 2]]}
    return {
        "images": [{"id": 1, "file_name": "a.jpg", "height": 4, "width": 4}],
        "categories": [{"id": 3, "name": "cat"}],
        "annotations": [row | annotation],
    }


def test_files_put_together_without_new_numbers_are_refused(tmp_path: Path) -> None:
    """Images of one id: `test_bad_records.py`."""
    same = [{"id": 3, "name": "cat", "supercategory": "x"}, {"id": 3, "name": "dog"}]
    made = document() | {"categories": document()["categories"] + same}
    (tmp_path / "c.json").write_text(json.dumps(made))
    with pytest.raises(DataError, match="category 2: Duplicate id 3 of another category"):
        coco.read(tmp_path / "c.json", LossReport())


def test_a_size_that_is_missing_is_read_from_the_image(tmp_path: Path) -> None:
    row = {"image_id": 1, "category_id": 1, "segmentation": [[5, 5, 20, 5, 20, 20, 5, 20]]}
    document = {
        "images": [{"id": 1, "file_name": "a.png"}],
        "annotations": [{"id": 1, **row}],
        "categories": [{"id": 1, "name": "x"}],
    }
    (tmp_path / "a.json").write_text(json.dumps(document))
    (tmp_path / "pictures").mkdir()
    Image.new("RGB", (60, 40)).save(tmp_path / "pictures/a.png")
    (image,) = coco.read(tmp_path / "a.json", LossReport(), tmp_path / "pictures")
    assert (image.hw, image.masks[0].area) == ((40, 60), 225)
    with pytest.raises(DataError, match="no `height` and `width`. Pass the folder of the images"):
        coco.read(tmp_path / "a.json", LossReport())


def test_categories_beside_an_image_are_no_fault_of_sa1b(tmp_path: Path) -> None:
    image = {"image_id": 1, "file_name": "a.jpg", "height": 4, "width": 4}
    document = {"image": image, "annotations": [], "categories": []}
    (tmp_path / "a.json").write_text(json.dumps(document))
    assert [one.hw for one in read(tmp_path / "a.json")] == [(4, 4)]
