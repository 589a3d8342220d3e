"""Boxes and masks that are nearly right."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy import ndimage

from anymask.evaluation.protocols import tight_box
from anymask.primitives.masks import iou
from research.paper.perturbation import PERTURBATIONS, noisy_box, perturb_mask
from tests.evaluation.small_sets import rectangle

MASKS = arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, max_side=12)).filter(np.any)
SQUARE = rectangle((60, 80), (20, 20, 40, 40))


@given(MASKS, st.sampled_from([0.05, 0.1, 0.2, 3.0]))
def test_a_noisy_box_stays_near_and_inside_and_has_a_pixel(mask: np.ndarray, level: float) -> None:
    tight, noisy = tight_box(mask), noisy_box(mask, level)
    sides = np.tile(tight[2:] - tight[:2], 2)
    grown = 1 if level > 1 else 0  # where edges crossed, a box of one pixel is left
    assert (np.abs(noisy - tight) <= level * sides + 1e-4 + grown).all()
    assert (noisy[2:] - noisy[:2] >= 1 - 1e-5).all()
    assert (noisy >= 0).all()
    assert (noisy[2:] <= mask.shape[::-1]).all()
    assert np.array_equal(noisy, noisy_box(mask, level))


def test_a_box_without_noise_is_the_tight_one() -> None:
    assert noisy_box(SQUARE, 0.0).tolist() == [20, 20, 40, 40]
    assert noisy_box(SQUARE, 0.1).tolist() != [20, 20, 40, 40]


def test_spoiled_masks_are_what_scipy_makes() -> None:
    """The square has 400 pixels: two pixels of reach."""
    disc = np.hypot(*np.mgrid[-2:3, -2:3]) <= 2.3
    grown = ndimage.binary_dilation(SQUARE, disc)
    assert iou(perturb_mask(SQUARE, "dilated"), grown) > 0.97
    assert np.array_equal(perturb_mask(SQUARE, "eroded"), rectangle((60, 80), (22, 22, 38, 38)))
    shifted = perturb_mask(SQUARE, "shifted")
    assert shifted.sum() == 400
    assert 0 < np.hypot(*(tight_box(shifted)[:2] - 20)) <= 3


@given(MASKS, st.sampled_from(PERTURBATIONS))
def test_a_spoiled_mask_is_never_empty_and_always_the_same(mask: np.ndarray, spoil: str) -> None:
    worse = perturb_mask(mask, spoil)
    assert worse.any()
    assert worse.shape == mask.shape
    assert np.array_equal(worse, perturb_mask(mask, spoil))
    if spoil == "dilated":
        assert (worse >= mask).all()
    if spoil == "eroded":
        assert (worse <= mask).all()
