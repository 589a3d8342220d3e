"""Boxes and masks that are nearly right."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy import ndimage

from anymask.evaluation.baselines import BOX, FromFunction, filled_box
from anymask.evaluation.mask_measures import MASK_MEASURES
from anymask.evaluation.metrics import iou
from anymask.evaluation.perturbation import SPOILS, noisy_box, refine_scores, spoiled
from anymask.evaluation.protocols import Truth, tight_box
from anymask.evaluation.selection import Settings
from anymask.primitives.spec import ALL_KINDS
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
    assert iou(spoiled(SQUARE, "dilated"), grown) > 0.97
    assert np.array_equal(spoiled(SQUARE, "eroded"), rectangle((60, 80), (22, 22, 38, 38)))
    shifted = spoiled(SQUARE, "shifted")
    assert shifted.sum() == 400
    assert 0 < np.hypot(*(tight_box(shifted)[:2] - 20)) <= 3


@given(MASKS, st.sampled_from(SPOILS))
def test_a_spoiled_mask_is_never_empty_and_always_the_same(mask: np.ndarray, spoil: str) -> None:
    worse = spoiled(mask, spoil)
    assert worse.any()
    assert worse.shape == mask.shape
    assert np.array_equal(worse, spoiled(mask, spoil))
    if spoil == "dilated":
        assert (worse >= mask).all()
    if spoil == "eroded":
        assert (worse <= mask).all()


def test_refining_is_asked_with_the_spoiled_mask_and_scored_before_and_after() -> None:
    asked = []

    def right(image: object, prompt: object) -> np.ndarray:
        asked.append(prompt)
        return SQUARE

    method = FromFunction("right", ALL_KINDS, right)
    before, after = refine_scores(method, None, [Truth(SQUARE)], "eroded")
    assert before.tolist() == [256 / 400]
    assert after.tolist() == [1.0]
    assert np.array_equal(np.asarray(asked[0].mask) > 0, spoiled(SQUARE, "eroded"))


def test_a_method_with_refine_is_asked_by_it() -> None:
    class Refines(FromFunction):
        def refine(self, embedding: object, mask: np.ndarray) -> object:
            (answer,) = self.segment(embedding, prompts=[mask], multimask=False)
            return answer

    method = Refines("same", ALL_KINDS, lambda image, mask: mask)
    before, after = refine_scores(method, None, [Truth(SQUARE)], "dilated")
    assert before.tolist() == after.tolist() != [1.0]


@pytest.mark.parametrize(("accepts", "names"), [(BOX, ()), (ALL_KINDS, SPOILS)])
def test_only_who_takes_masks_refines(accepts: frozenset, names: tuple) -> None:
    columns = MASK_MEASURES["refine"].columns(accepts, Settings())
    assert columns == tuple(name for spoil in names for name in (spoil, f"{spoil}, refined"))


def test_noisy_boxes_are_asked_at_three_levels() -> None:
    method = FromFunction("filled box", BOX, filled_box)
    measure = MASK_MEASURES["noisy-box"]
    assert measure.columns(method.accepts, Settings()) == ("box ±5%", "box ±10%", "box ±20%")
    image = np.zeros((60, 80, 3), np.uint8)
    scores = measure.score(method, image, [Truth(SQUARE)], Settings())
    assert [len(column) for column in scores] == [1, 1, 1]
    assert scores[0][0] > scores[2][0] > 0.4
