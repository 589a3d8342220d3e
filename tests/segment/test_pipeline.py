"""The steps that an answer takes, in their order."""

import numpy as np
import pytest

from anymask.base import InputError, ModelError
from anymask.segment import (
    STEPS,
    STEPS_ON_DEMAND,
    Model,
    Prediction,
    Question,
    SegmentSettings,
    pipeline,
)
from tests.segment.fakes import ColourRuntime, PerverseRuntime, discs

PICTURE, _ = discs((80, 120), [(35, 40, 25), (95, 40, 12)])


def test_the_order_is_choose_obey_clean_name_and_then_what_asks_again() -> None:
    assert [step.__name__ for step in STEPS] == [
        "choose_first", "obey_negative_clicks", "clean_masks", "name_violated_clicks",
    ]  # fmt: skip
    later = {name: step.__name__ for name, step in STEPS_ON_DEMAND.items()}
    assert later == {"zoom": "look_closer", "retry": "ask_again", "refine_edges": "refine_edges"}
    assert list(later) == ["zoom", "retry", "refine_edges"]


def test_every_step_sees_what_the_one_before_it_made(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[str, int]] = []

    def dropping(name: str) -> pipeline.Step:
        def step(answer: Prediction, question: Question) -> Prediction:
            seen.append((name, len(answer)))
            assert question.prompt.points is not None
            return answer.picked(range(len(answer) - 1)) if len(answer) > 1 else answer

        return step

    monkeypatch.setattr(pipeline, "STEPS", (dropping("a"), dropping("b")))
    later = {"zoom": dropping("c"), "retry": dropping("d"), "refine_edges": dropping("e")}
    monkeypatch.setattr(pipeline, "STEPS_ON_DEMAND", later)
    Model(ColourRuntime()).segment(PICTURE, points=[(35, 40)], zoom=True)
    assert seen == [("a", 3), ("b", 2), ("c", 1), ("e", 1)]


def test_what_needs_the_photo_is_left_out_where_there_is_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def never(answer: Prediction, question: Question) -> Prediction:
        raise AssertionError("asked without a photo")

    monkeypatch.setattr(pipeline, "STEPS_ON_DEMAND", dict.fromkeys(pipeline.ON_PHOTO, never))
    model = Model(ColourRuntime())
    model.segment(model.encode(PICTURE), points=[(35, 40)])


def test_cleaning_comes_after_negative_clicks_and_before_they_are_checked() -> None:
    """A disc is taken back around the click; filling holes leaves it, and no click is violated."""
    model = Model(PerverseRuntime())
    asked = {"points": [(35, 40), (45, 40)], "labels": [1, 0]}
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
    prompt = anymask_prompt()
    (answer,) = pipeline.decode_prompts(model.runtime, embedding, [prompt], SegmentSettings())
    question = pipeline.question_of(model.runtime, None, embedding, prompt, SegmentSettings())
    for step in (*STEPS[:3], *STEPS_ON_DEMAND.values()):
        assert step(answer, question) is answer


def anymask_prompt() -> pipeline.Prompt:
    return pipeline.Prompt.of(points=[(35, 40)])


def test_a_model_without_clicks_says_so() -> None:
    class Deaf(ColourRuntime):
        def capability(self, kind: type) -> None:
            return None

    with pytest.raises(ModelError, match="fake cannot do this: it has no prompt decoding; take"):
        Model(Deaf()).segment(PICTURE, points=[(35, 40)])


@pytest.mark.parametrize("retry", [2, "yes", False])
def test_what_is_no_retry_is_refused_with_the_settings(retry: object) -> None:
    with pytest.raises(InputError, match=r"retry must be anymask.Retry\(...\) or None, got"):
        SegmentSettings(retry=retry)  # type: ignore[arg-type]
