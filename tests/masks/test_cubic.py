"""MedSAM's resizing against scikit-image, which MedSAM itself calls."""

from dataclasses import replace

import numpy as np
import pytest
from skimage.transform import resize

from anymask import models
from anymask.masks import image_to_model
from anymask.masks.resize import cubic_resized


@pytest.mark.parametrize("hw", [(7, 5), (1, 9), (60, 40), (33, 200)])
def test_it_is_scikit_images_cubic_spline(hw: tuple[int, int]) -> None:
    image = np.random.default_rng(hw[0]).integers(0, 256, (*hw, 3), np.uint8)
    expected = resize(image, (48, 37), order=3, preserve_range=True, anti_aliasing=True)
    np.testing.assert_allclose(cubic_resized(image, (48, 37)), expected, atol=1e-9)


def test_medsam_sees_each_picture_from_its_least_to_its_largest_value() -> None:
    """As its published inference does it, step by step."""
    spec = replace(models.spec("medsam"), image_side=64)
    image = np.random.default_rng(3).integers(60, 90, (80, 50, 3), np.uint8)
    whole = resize(image, (64, 64), order=3, preserve_range=True, anti_aliasing=True)
    eight = whole.astype(np.uint8).astype(np.float64)
    expected = (eight - eight.min()) / np.clip(eight.max() - eight.min(), 1e-8, None)
    seen = image_to_model(image, spec)
    assert (seen.min(), seen.max()) == (0, 1)
    np.testing.assert_allclose(seen, expected.transpose(2, 0, 1), atol=1e-6)


def test_a_picture_of_one_grey_is_black() -> None:
    image = np.full((30, 40, 3), 100, np.uint8)
    assert not image_to_model(image, replace(models.spec("medsam"), image_side=32)).any()
