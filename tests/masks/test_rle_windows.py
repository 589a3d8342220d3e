"""Windows of run-lengths against windows of pixels."""

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anymask.base import InputError
from anymask.masks import (
    clean_mask,
    clean_rle,
    enlarged_rle,
    mask_to_rle,
    rle_crop,
    rle_in_window,
    rle_on_image,
    rle_to_mask,
)
from tests.masks.strategies import Pixels, masks, quickly, thoroughly


@st.composite
def windows(draw: Any, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Also without a pixel."""
    height, width = size
    x0, x1 = sorted((draw(st.integers(0, width)), draw(st.integers(0, width))))
    y0, y1 = sorted((draw(st.integers(0, height)), draw(st.integers(0, height))))
    return (x0, y0, x1, y1)


@thoroughly
@given(st.data(), masks())
def test_a_window_of_run_lengths_is_that_of_the_pixels(data: Any, mask: Pixels) -> None:
    x0, y0, x1, y1 = window = data.draw(windows(mask.shape))
    assert rle_in_window(mask_to_rle(mask), window) == mask_to_rle(mask[y0:y1, x0:x1])


@thoroughly
@given(masks(), *[st.integers(0, 6)] * 4)
def test_a_window_is_laid_into_the_photo(
    mask: Pixels, left: int, right: int, top: int, bottom: int
) -> None:
    image = np.pad(mask, ((top, bottom), (left, right)))
    assert rle_on_image(mask_to_rle(mask), (left, top), image.shape) == mask_to_rle(image)


@thoroughly
@given(masks(), st.integers(0, 4))
def test_a_crop_holds_the_whole_mask(mask: Pixels, margin: int) -> None:
    crop, (x0, y0, x1, y1) = rle_crop(mask_to_rle(mask), margin)
    np.testing.assert_array_equal(crop, mask[y0:y1, x0:x1])
    assert crop.sum() == mask.sum()


@pytest.mark.parametrize(
    ("place", "call", "told"),
    [
        *((window, lambda at: rle_in_window(mask_to_rle(np.eye(4, 5)), at),
           r"outside the image of \(H, W\) = \(4, 5\)")
          for window in [(-1, 0, 4, 4), (0, 0, 6, 4), (0, 0, 4, 5), (3, 0, 2, 4)]),
        *((offset, lambda at: rle_on_image(mask_to_rle(np.ones((3, 4))), at, (3, 5)),
           "The window of 4 x 3 pixels at x=.*clip the window")
          for offset in [(-1, 0), (2, 0), (0, 1)]),
    ],
)  # fmt: skip
def test_a_window_or_a_mask_off_the_photo_is_refused(
    place: tuple[int, ...], call: Callable[[Any], object], told: str
) -> None:
    with pytest.raises(InputError, match=told):
        call(place)


@quickly
@given(masks(), st.integers(0, 40), st.integers(0, 40))
def test_masks_are_cleaned_as_their_pixels_are(mask: Pixels, holes: int, islands: int) -> None:
    cleaned = clean_rle(mask_to_rle(mask), holes, islands)
    np.testing.assert_array_equal(rle_to_mask(cleaned), clean_mask(mask, holes, islands))


@thoroughly
@given(masks(), st.integers(1, 70), st.integers(1, 70))
def test_an_enlarged_mask_is_the_one_that_opencv_interpolates(
    mask: Pixels, height: int, width: int
) -> None:
    height, width = max(height, mask.shape[0]), max(width, mask.shape[1])
    soft = cv2.resize(mask.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
    soft = soft.reshape(height, width)
    found = rle_to_mask(enlarged_rle(mask_to_rle(mask), (height, width)))
    differs = found != (soft > 0.5)
    assert (np.abs(soft - 0.5)[differs] < 1e-4).all()  # ties may fall to either side


def test_a_big_mask_is_enlarged_in_strips(monkeypatch: pytest.MonkeyPatch) -> None:
    mask = np.random.default_rng(0).random((20, 30)) < 0.5
    whole = enlarged_rle(mask_to_rle(mask), (90, 110))
    monkeypatch.setattr("anymask.masks.resize._STRIP_PIXELS", 100)
    assert enlarged_rle(mask_to_rle(mask), (90, 110)) == whole
