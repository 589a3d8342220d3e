"""The pictures of a job."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from anymask.jobs import records as outputs
from anymask.masks import Mask, mask_to_rle, overlay


@pytest.mark.parametrize("limit", [17, 40, 200])
def test_an_overlay_of_many_masks_shows_each_one_in_the_small(
    tmp_path: Path, limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outputs, "OVERLAY_SIDE", limit)
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (90, 70, 3), np.uint8)
    masks = np.zeros((4, 90, 70), bool)
    masks[0, 10:80, 5:60] = True
    masks[0, 30:40, 20:30] = False
    masks[1, 89, 69] = masks[2, 0, 0] = True  # masks[3] is empty
    size = (round(70 * min(1, limit / 90)), min(limit, 90))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    truth = [cv2.resize(m.view(np.uint8), size, interpolation=cv2.INTER_NEAREST) for m in masks]
    found = [Mask(mask_to_rle(mask)) for mask in masks]
    outputs.write_overlay(tmp_path / "all.png", image, found)
    drawn = np.asarray(Image.open(tmp_path / "all.png"))
    np.testing.assert_array_equal(drawn, overlay(small, np.array(truth) != 0))
