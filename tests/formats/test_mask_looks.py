"""Pictures that are given for masks: one object is one, labels of several are told."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from anymask.base import ImageError
from anymask.formats.label_pictures import voc_palette
from anymask.images import load_mask
from anymask.masks import iou


def labels(*values: int) -> np.ndarray:
    picture = np.zeros((24, 30), np.uint8)
    for place, value in enumerate(values):
        picture[2:20, 3 + 6 * place : 8 + 6 * place] = value
    return picture


@pytest.mark.parametrize("kind", ["davis", "numbers"])
@pytest.mark.parametrize("values", [(1, 2), (1, 3, 4), (2, 7, 9)])
def test_a_picture_of_several_objects_is_no_mask(
    kind: str, values: tuple[int, ...], tmp_path: Path
) -> None:
    picture = Image.fromarray(labels(*values), "P" if kind == "davis" else "L")
    if kind == "davis":
        picture.putpalette(voc_palette().tobytes())
    picture.save(tmp_path / "labels.png")
    with pytest.raises(
        ImageError,
        match=f"contains {len(values)} objects, which differ in color or value.*one object",
    ):
        load_mask(tmp_path / "labels.png")


@pytest.mark.parametrize("value", [1, 2, 4, 7])
def test_a_picture_of_one_object_is_a_mask_whatever_its_number(value: int, tmp_path: Path) -> None:
    picture = Image.fromarray(labels(value), "P")
    picture.putpalette(voc_palette().tobytes())
    picture.save(tmp_path / "one.png")
    np.testing.assert_array_equal(load_mask(tmp_path / "one.png"), labels(value) > 0)


def test_soft_edges_and_lossy_files_are_masks_of_one_object(tmp_path: Path) -> None:
    truth = labels(255) > 0
    soft = cv2.GaussianBlur(labels(255), (0, 0), 1.5)
    for name, picture in (
        ("grey.png", soft), ("grey.jpg", soft), ("red.png", np.dstack([soft, 0 * soft, 0 * soft])),
        ("red.jpg", cv2.resize(np.dstack([soft, 0 * soft, 0 * soft]), (600, 480))),
    ):  # fmt: skip
        Image.fromarray(picture).save(tmp_path / name)
        found = load_mask(tmp_path / name)
        assert iou(cv2.resize(found.view(np.uint8), truth.shape[::-1]) > 0, truth) > 0.8
