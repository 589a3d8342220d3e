"""A close-up is the square around a mask: by hand, at borders, of smaller copies, of nothing."""

import numpy as np
import pytest

from anymask.base import BoolArray, UintImage
from anymask.masks import empty_rle, mask_to_rle
from anymask.models.rules import BEYOND, close_up
from anymask.models.rules.crops import CROP_SIDE, MIN_CROP_SIDE
from tests.evaluation.small_sets import rectangle

HW = (60, 80)


def some_image() -> UintImage:
    return np.random.default_rng(3).integers(0, 256, (*HW, 3), dtype=np.uint8)


def square(x: int, y: int, side: int) -> BoolArray:
    return rectangle(HW, (x, y, x + side, y + side))


def test_at_the_photos_own_scale_it_is_a_slice() -> None:
    """A mask of 20 with a context of 1.6 is seen in 32 pixels, 6 on each side."""
    image, mask = some_image(), square(30, 20, 20)
    seen = close_up(image, mask_to_rle(mask), 32, 1.6)
    assert np.array_equal(seen.image, image[14:46, 24:56])
    assert np.array_equal(seen.mask, mask[14:46, 24:56] * np.uint8(255))


def test_what_lies_beyond_the_photo_is_gray_and_no_object() -> None:
    image, mask = some_image(), square(0, 0, 20)
    seen = close_up(image, mask_to_rle(mask), 32, 1.6)
    assert np.array_equal(seen.image[6:, 6:], image[:26, :26])
    assert (seen.image[:6] == BEYOND).all()
    assert (seen.image[:, :6] == BEYOND).all()
    assert not seen.mask[:6].any()
    assert not seen.mask[:, :6].any()


def test_shrunk_it_holds_means() -> None:
    """Two pixels become one: the mean of four."""
    image, mask = some_image(), square(20, 10, 20)
    seen = close_up(image, mask_to_rle(mask), 16, 1.6)
    four = image[4:36, 14:46].reshape(16, 2, 16, 2, 3).astype(float).mean((1, 3))
    assert np.abs(seen.image - four).max() <= 1


def test_of_a_smaller_copy_it_shows_the_same_place() -> None:
    large = np.zeros((*HW, 3), np.uint8)
    large[20:40, 30:50] = 200
    small = large[::2, ::2]
    rle = mask_to_rle(square(30, 20, 20))
    seen, again = close_up(large, rle, 32, 1.6), close_up(small, rle, 32, 1.6)
    assert np.array_equal(seen.mask, again.mask)
    middle = slice(8, 24)
    assert (again.image[middle, middle] == 200).all()
    assert (again.image[:4] == 0).all()


@pytest.mark.parametrize("place", [(0, 0), (79, 59), (40, 30)])
def test_one_pixel_and_none_have_a_close_up(place: tuple[int, int]) -> None:
    image, mask = some_image(), square(*place, 1)
    seen = close_up(image, mask_to_rle(mask))
    assert seen.image.shape == (CROP_SIDE, CROP_SIDE, 3)
    assert seen.mask.any()
    assert np.count_nonzero(seen.mask) <= (2 * CROP_SIDE / MIN_CROP_SIDE + 1) ** 2
    assert not close_up(image, empty_rle(HW)).mask.any()
