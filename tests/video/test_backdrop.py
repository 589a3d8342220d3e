"""Backdrops: what is the object's stays, what is not comes from elsewhere."""

import numpy as np
import pytest

from anymask.primitives.errors import InputError
from anymask.video.backdrop import Backdrop, cover, parse_backdrop

SHOWN = np.zeros((60, 80), np.bool_)
SHOWN[20:40, 30:50] = True
RED_ON_GREY = np.where(SHOWN[..., None], (250, 0, 0), (90, 100, 110)).astype(np.uint8)
BEYOND = np.zeros_like(SHOWN)
BEYOND[:] = True
BEYOND[16:44, 26:54] = False


def test_an_objects_colour_does_not_bleed_into_a_blurred_frame() -> None:
    found = Backdrop(sigma=12.0).put_behind(RED_ON_GREY, SHOWN)
    np.testing.assert_array_equal(found[BEYOND], RED_ON_GREY[BEYOND])
    np.testing.assert_array_equal(found[23:37, 33:47], RED_ON_GREY[23:37, 33:47])


def test_blur_is_that_of_its_sigma() -> None:
    """The variance of a bright column that is blurred grows by sigma squared."""
    image = np.zeros((41, 81, 3), np.uint8)
    image[:, 40] = 255
    found = Backdrop(sigma=3.0).put_behind(image, np.zeros((41, 81), np.bool_))[20, :, 0]
    places = np.arange(81) - 40
    variance = (found * places.astype(float) ** 2).sum() / found.sum()
    assert variance == pytest.approx(9, rel=0.1)


def test_a_frame_without_objects_is_all_backdrop() -> None:
    found = parse_backdrop("white").put_behind(RED_ON_GREY, np.zeros_like(SHOWN))
    np.testing.assert_array_equal(found, np.full_like(RED_ON_GREY, 255))


@pytest.mark.parametrize("hw", [(30, 40), (17, 90), (200, 31), (1, 1)])
def test_a_picture_covers_the_frame_around_its_middle(hw: tuple[int, int]) -> None:
    picture = np.zeros((50, 70, 3), np.uint8)
    picture[:25, :, 0] = picture[:, :35, 1] = 200
    found = cover(picture, hw)
    assert found.shape == (*hw, 3)
    if min(hw) > 10:
        for plane, axis in ((found[..., 0], 0), (found[..., 1], 1)):
            assert abs((plane > 100).sum(axis=axis).mean() - hw[axis] / 2) <= 1


def test_no_backdrop_is_one_error() -> None:
    for text in ("blur:0", "blur:501", "blur:nan", "blau", ""):
        with pytest.raises(InputError):
            parse_backdrop(text)
