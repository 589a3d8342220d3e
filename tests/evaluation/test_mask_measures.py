"""Measures mask by mask: how a method is asked, and what comes back."""

import numpy as np

from anymask.evaluation import TruthMask
from anymask.evaluation.measures import MASK_MEASURES
from anymask.evaluation.selection import EvalSettings
from anymask.masks import ALL_KINDS
from tests.evaluation.small_sets import perfect, rectangle


def test_a_method_is_asked_by_click_and_by_box() -> None:
    image = np.zeros((40, 40, 3), np.uint8)
    mask = rectangle((40, 40), (5, 6, 20, 30))
    image[mask] = 99
    method = perfect()
    measure = MASK_MEASURES["boundary"]
    assert measure.columns(ALL_KINDS, EvalSettings()) == ("boundary 1 click", "boundary box")
    scores = measure.score(method, method.encode(image), [TruthMask(mask)], EvalSettings())
    assert [values.tolist() for values in scores] == [[1.0], [1.0]]
