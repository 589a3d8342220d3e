"""Measures mask by mask: how a method is asked, and what comes back."""

import numpy as np
import pytest

from anymask.evaluation.adapters import FromFunction
from anymask.evaluation.mask_measures import MASK_MEASURES, refine_scores
from anymask.evaluation.perturbation import PERTURBATIONS, perturb_mask
from anymask.evaluation.protocols import BOX, TruthMask
from anymask.evaluation.selection import EvalSettings
from anymask.primitives.spec import ALL_KINDS
from tests.evaluation.small_sets import filled_box, perfect, rectangle

SQUARE = rectangle((60, 80), (20, 20, 40, 40))


def test_refining_is_asked_with_the_spoiled_mask_and_scored_before_and_after() -> None:
    asked = []

    def right(image: object, prompt: object) -> np.ndarray:
        asked.append(prompt)
        return SQUARE

    method = FromFunction("right", ALL_KINDS, right)
    before, after = refine_scores(method, None, [TruthMask(SQUARE)], "eroded")
    assert before.tolist() == [256 / 400]
    assert after.tolist() == [1.0]
    assert np.array_equal(np.asarray(asked[0].mask) > 0, perturb_mask(SQUARE, "eroded"))


def test_a_method_with_refine_is_asked_by_it() -> None:
    class Refines(FromFunction):
        def refine(self, embedding: object, mask: np.ndarray) -> object:
            (answer,) = self.segment(embedding, prompts=[mask], multimask=False)
            return answer

    method = Refines("same", ALL_KINDS, lambda image, mask: mask)
    before, after = refine_scores(method, None, [TruthMask(SQUARE)], "dilated")
    assert before.tolist() == after.tolist() != [1.0]


@pytest.mark.parametrize(("accepts", "names"), [(BOX, ()), (ALL_KINDS, PERTURBATIONS)])
def test_only_who_takes_masks_refines(accepts: frozenset, names: tuple) -> None:
    columns = MASK_MEASURES["refine"].columns(accepts, EvalSettings())
    assert columns == tuple(name for spoil in names for name in (spoil, f"{spoil}, refined"))


def test_noisy_boxes_are_asked_at_three_levels() -> None:
    method = FromFunction("filled box", BOX, filled_box)
    measure = MASK_MEASURES["noisy-box"]
    assert measure.columns(method.accepts, EvalSettings()) == ("box ±5%", "box ±10%", "box ±20%")
    image = np.zeros((60, 80, 3), np.uint8)
    scores = measure.score(method, image, [TruthMask(SQUARE)], EvalSettings())
    assert [len(column) for column in scores] == [1, 1, 1]
    assert scores[0][0] > scores[2][0] > 0.4


def test_a_method_is_asked_by_click_and_by_box() -> None:
    image = np.zeros((40, 40, 3), np.uint8)
    mask = rectangle((40, 40), (5, 6, 20, 30))
    image[mask] = 99
    method = perfect()
    measure = MASK_MEASURES["boundary"]
    assert measure.columns(ALL_KINDS, EvalSettings()) == ("boundary 1 click", "boundary box")
    scores = measure.score(method, method.embed(image), [TruthMask(mask)], EvalSettings())
    assert [values.tolist() for values in scores] == [[1.0], [1.0]]
