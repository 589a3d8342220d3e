"""Pictures show what they should; nothing is drawn into the user's array."""

import numpy as np
import pytest
from numpy.typing import NDArray

from anymask.base import InputError
from anymask.masks import draw as D
from tests.evaluation.small_sets import rectangle

Pixels = NDArray[np.uint8]


@pytest.fixture
def gray() -> Pixels:
    return np.full((60, 80, 3), 128, np.uint8)


@pytest.fixture
def square() -> NDArray[np.bool_]:
    return rectangle((60, 80), (30, 20, 60, 40))


def test_colours_are_many_distinct_and_always_the_same() -> None:
    many = D.colors(64)
    assert len(set(many)) == 64
    assert many[:5] == D.colors(5)
    assert all(0 <= channel <= 255 for color in many for channel in color)


def test_an_overlay_tints_the_mask_and_nothing_far_from_it(
    gray: Pixels, square: NDArray[np.bool_]
) -> None:
    before = gray.copy()
    out = D.overlay(gray, square, alpha=0.5, palette=[(255, 0, 0)], outline=False)
    np.testing.assert_array_equal(gray, before)
    assert out[30, 45].tolist() == [192, 64, 64]
    np.testing.assert_array_equal(out[~square], gray[~square])
    outlined = D.overlay(gray, square)
    assert (outlined[20, 40] != out[20, 40]).any()
    np.testing.assert_array_equal(outlined[:10], gray[:10])


def test_small_masks_lie_on_top_of_large_ones(gray: Pixels) -> None:
    masks = np.zeros((2, 60, 80), np.bool_)
    masks[0, 28:32, 40:44] = True  # listed first, drawn last
    masks[1, 10:50, 10:70] = True
    out = D.overlay(gray, masks, alpha=1.0, palette=[(255, 0, 0), (0, 0, 255)], outline=False)
    assert out[30, 42].tolist() == [255, 0, 0]
    assert out[15, 15].tolist() == [0, 0, 255]


def test_empty_masks_change_nothing(gray: Pixels) -> None:
    for none in (np.zeros((0, 60, 80)), np.zeros((60, 80)), []):
        np.testing.assert_array_equal(D.overlay(gray, none), gray)
        np.testing.assert_array_equal(D.contours(gray, none), gray)


def test_outlines_follow_holes_too(gray: Pixels, square: NDArray[np.bool_]) -> None:
    square[25:36, 36:54] = False
    out = D.contours(gray, square, palette=[(255, 0, 0)], width=1)
    changed = (out != gray).any(axis=2)
    assert changed[20, 35]
    assert changed[24:26, 45].any()
    assert not changed[30, 45]
    assert not changed[30, 10]


def test_marks_tell_the_two_kinds_of_clicks_apart(gray: Pixels) -> None:
    out = D.marks(gray, [(20, 30), (60, 30)], [1, 0], (5, 5, 75, 55))
    off_the_arms = np.s_[32, 22], np.s_[32, 62]
    green, red = out[off_the_arms[0]], out[off_the_arms[1]]
    assert green[1] > green[0]
    assert red[0] > red[1]
    assert (out[5, 40] > 200).all()
    np.testing.assert_array_equal(D.marks(gray), gray)


def test_a_contact_sheet_holds_every_picture(gray: Pixels) -> None:
    sheet = D.contact_sheet([(gray, "one"), (gray[:, :20], "two"), (gray, "x" * 300)], cell=100)
    assert sheet.dtype == np.uint8
    assert sheet.shape[1] == 2 * 100 + 3 * 8
    wide = D.contact_sheet([(gray, "one"), (gray, "two"), (gray, "three")], columns=3, cell=100)
    assert wide.shape[1] == 3 * 100 + 4 * 8
    assert wide.shape[0] < sheet.shape[0]
    assert (wide == 128).all(axis=2).sum() > 3 * 90 * 60


def test_what_does_not_fit_is_refused_with_the_remedy(
    gray: Pixels, square: NDArray[np.bool_]
) -> None:
    with pytest.raises(InputError, match=r"type float64.*uint8 \(H, W, 3\)"):
        D.overlay(gray / 255, square)  # type: ignore[arg-type]
    with pytest.raises(
        InputError, match=r"shape \(1, 5, 5\), but the image has the size \(60, 80\)"
    ):
        D.overlay(gray, np.ones((5, 5)))
    with pytest.raises(InputError, match="palette has 0 colors for 1 masks"):
        D.contours(gray, square, palette=[])
    with pytest.raises(InputError, match="at least one image"):
        D.contact_sheet([])
