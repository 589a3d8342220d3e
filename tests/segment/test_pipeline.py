"""The steps that an answer takes, in their order."""

import numpy as np

from anymask.segment import Model
from tests.segment.fakes import PerverseRuntime, discs

IMAGE, _ = discs((80, 120), [(35, 40, 25), (95, 40, 12)])


def test_cleaning_comes_after_negative_clicks_and_before_they_are_checked() -> None:
    """A disc is taken back around the click; filling holes leaves it, and no click is violated."""
    model = Model(PerverseRuntime())
    asked = {"points": [(35, 40), (45, 40)], "point_labels": [1, 0]}
    plain = model.segment(IMAGE, **asked)
    cleaned = model.segment(IMAGE, **asked, max_hole_area=10_000)
    for answer in (plain, cleaned):
        assert not answer.masks[0][40, 45]
        assert answer.violated_points == ()
    assert cleaned.first.finished is not None
    np.testing.assert_array_equal(cleaned.logits, plain.logits)
