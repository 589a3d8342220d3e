"""The steps that an answer takes, in their order."""

import numpy as np

from anymask.masks import Prompt
from anymask.segment import Model, PromptContext, SegmentSettings, refine_edges
from anymask.segment.pipeline import decode_prompts, order_by_granularity, refine_in_crop
from tests.segment.fakes import ColourRuntime, PerverseRuntime, discs

PICTURE, _ = discs((80, 120), [(35, 40, 25), (95, 40, 12)])


def test_cleaning_comes_after_negative_clicks_and_before_they_are_checked() -> None:
    """A disc is taken back around the click; filling holes leaves it, and no click is violated."""
    model = Model(PerverseRuntime())
    asked = {"points": [(35, 40), (45, 40)], "point_labels": [1, 0]}
    plain = model.segment(PICTURE, **asked)
    cleaned = model.segment(PICTURE, **asked, max_hole_area=10_000)
    for answer in (plain, cleaned):
        assert not answer.masks[0][40, 45]
        assert answer.violated_points == ()
    assert cleaned.first.finished is not None
    np.testing.assert_array_equal(cleaned.logits, plain.logits)


def test_a_step_that_is_not_wanted_gives_the_answer_itself() -> None:
    model = Model(ColourRuntime())
    embedding = model.encode(PICTURE)
    prompt = Prompt.of(points=[(35, 40)])
    (answer,) = decode_prompts(model.runtime, embedding, [prompt], SegmentSettings())
    question = PromptContext(model.runtime, None, embedding, prompt, SegmentSettings())
    assert order_by_granularity(answer, "all") is answer
    assert refine_in_crop(answer, question) is answer
    assert refine_edges(answer, question) is answer
