"""Masks that keep to their box and fill it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anymask.models.rules import cells_inside, filled_part, fit_to_box

SIDE = 64
BOX = np.array([16, 16, 48, 48], np.float32)


def disc(radius: float, side: int = 32) -> np.ndarray:
    """Logits that fall by one a cell from the border of a disc in the middle."""
    y, x = np.mgrid[:side, :side] + 0.5
    return (radius - np.hypot(y - side / 2, x - side / 2)).astype(np.float32)


@given(st.integers(0, 2**16))
def test_nothing_is_left_off_the_box(seed: int) -> None:
    logits = np.random.default_rng(seed).standard_normal((3, 32, 32)).astype(np.float32) * 4
    fitted = fit_to_box(logits, BOX, SIDE, 0.0)
    inside, _ = cells_inside(BOX / 2, 32)
    assert (fitted[:, ~inside] <= -2).all()


@pytest.mark.parametrize(("radius", "after"), [(7.0, 8.0), (8.0, 8.0)])
def test_a_mask_that_nearly_fills_its_box_fills_it_then(radius: float, after: float) -> None:
    fitted = fit_to_box(disc(radius)[None], BOX, SIDE, 0.0)[0] > 0
    _, extent = cells_inside(BOX / 2, 32)
    assert filled_part(fitted, extent) == 1.0
    assert abs(fitted.sum() - np.pi * after**2) < 12


def test_a_mask_much_smaller_than_its_box_keeps_its_own_border() -> None:
    small = disc(2.0)[None] * 6  # a steep border: no shift gains enough
    np.testing.assert_array_equal(fit_to_box(small, BOX, SIDE, 0.0)[0] > 0, small[0] > 0)


def test_a_mask_with_nothing_in_the_box_stays_as_it_is() -> None:
    logits = np.full((1, 32, 32), -5.0, np.float32)
    logits[0, :3, :3] = 4
    np.testing.assert_array_equal(fit_to_box(logits, BOX, SIDE, 0.0), logits)


def test_a_box_within_one_cell_is_that_cell() -> None:
    inside, extent = cells_inside(np.array([3.6, 7.6, 3.9, 7.9]), 32)
    assert extent == 1
    assert inside[7, 3]
    assert inside.sum() == 1
