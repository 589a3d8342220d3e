"""Clicks and boxes on masks that are known."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from anymask.evaluation import TruthMask, box_scores, click_rounds
from anymask.evaluation.protocols import Goal, deepest_click, harm_of, largest_click
from anymask.masks import ALL_KINDS, Click, ModelSpec, Prompt
from tests.evaluation.small_sets import rectangle

HW = (20, 30)
LEFT = rectangle(HW, (0, 0, 10, 20))
RIGHT = rectangle(HW, (20, 0, 30, 20))


@dataclass
class Said:
    """An answer that was written down before."""

    masks: Any


@dataclass
class Script:
    """Answers every prompt of round n with the n-th answer, and keeps what it was asked."""

    answers: list[Said]
    accepts: frozenset[Any] = ALL_KINDS
    asked: list[tuple[list[Prompt], list[Said] | None]] = field(default_factory=list)

    @property
    def spec(self) -> ModelSpec:
        return ModelSpec(name="script", accepts=self.accepts)

    def encode(self, image: Any) -> Any:
        return image

    def segment(self, embedding: Any, *, prompts: Sequence[Prompt], **asked: Any) -> list[Said]:
        self.asked.append((list(prompts), asked.get("previous")))
        return [self.answers[len(self.asked) - 1]] * len(prompts)


def said(*masks: np.ndarray) -> Said:
    return Said(np.stack(masks))


def test_the_first_click_is_the_truths_centre_and_may_be_ambiguous() -> None:
    script = Script([said(LEFT)])
    click_rounds(script, None, [TruthMask(rectangle(HW, (4, 4, 11, 11)))], 1)
    (prompts, previous), *_ = script.asked
    assert previous is None
    assert prompts[0].points.tolist() == [[7, 7]]
    assert prompts[0].labels.tolist() == [1]
    assert prompts[0].mask is None


def test_the_first_candidate_counts_and_the_best_one_is_the_oracle() -> None:
    scores = click_rounds(Script([said(RIGHT, LEFT)]), None, [TruthMask(LEFT)], 1)
    assert scores.ious.tolist() == [[0.0]]
    assert scores.oracle.tolist() == [1.0]


def test_the_next_click_lies_in_the_error_and_corrects_the_last_answer() -> None:
    script = Script([said(RIGHT), said(LEFT)])
    scores = click_rounds(script, None, [TruthMask(LEFT | rectangle(HW, (10, 5, 14, 9)))], 2)
    prompts, previous = script.asked[1]
    assert previous == [script.answers[0]]
    assert prompts[0].mask is None
    assert len(prompts[0].points) == 2
    x, y = prompts[0].points[1]
    assert (LEFT | RIGHT)[int(y), int(x)]
    assert scores.ious[0] == pytest.approx([0, 200 / 216])


def test_a_surplus_gets_a_negative_click() -> None:
    script = Script([said(LEFT | RIGHT), said(LEFT)])
    click_rounds(script, None, [TruthMask(LEFT)], 2)
    prompt = script.asked[1][0][0]
    assert prompt.labels.tolist() == [1, 0]
    assert prompt.points[1][0] >= 20


def test_a_perfect_mask_is_not_clicked_again_and_keeps_its_score() -> None:
    script = Script([said(LEFT)])
    scores = click_rounds(script, None, [TruthMask(LEFT)], 3)
    assert len(script.asked) == 1
    assert scores.ious.tolist() == [[1, 1, 1]]


def test_all_masks_of_a_photo_are_asked_in_one_call() -> None:
    script = Script([said(LEFT), said(LEFT)])
    scores = click_rounds(script, None, [TruthMask(LEFT), TruthMask(RIGHT), TruthMask(LEFT)], 2)
    assert [len(prompts) for prompts, _ in script.asked] == [3, 1]
    assert scores.ious.tolist() == [[1, 1], [0, 0], [1, 1]]


def test_a_goal_ends_the_clicks() -> None:
    nearly = LEFT & ~rectangle(HW, (0, 0, 1, 1))
    script = Script([said(nearly)])
    scores = click_rounds(script, None, [TruthMask(LEFT)], 20, Goal(0.9, deepest_click))
    assert len(script.asked) == 1
    assert scores.ious.shape == (1, 20)
    assert scores.ious[0] == pytest.approx(199 / 200)


def test_the_same_pixel_is_not_clicked_twice() -> None:
    script = Script([said(RIGHT)] * 4)
    click_rounds(script, None, [TruthMask(rectangle(HW, (3, 3, 8, 8)))], 4)
    points = script.asked[-1][0][0].points.tolist()
    assert len(points) == 4
    assert len({tuple(point) for point in points}) == 4


def test_ignored_pixels_draw_no_click_and_cost_nothing() -> None:
    rim = rectangle(HW, (10, 0, 12, 20))
    script = Script([said(LEFT | rim)])
    scores = click_rounds(script, None, [TruthMask(LEFT, rim)], 3)
    assert len(script.asked) == 1
    assert scores.ious.tolist() == [[1, 1, 1]]


def test_a_click_that_makes_a_mask_worse_is_harm() -> None:
    """IoU 1/2, 1, 0.96, 1/2 after 1 to 4 clicks: two of three further clicks lower it, one by more
    than 0.1."""
    half, nearly = rectangle(HW, (0, 0, 5, 20)), LEFT & ~rectangle(HW, (0, 0, 2, 4))
    assert harm_of(np.array([[0.5, 1, 0.96, 0.5]]), 0.1).tolist() == [1 / 3]
    assert harm_of(np.array([[0.5, 1, 0.96, 0.5]]), 0.02).tolist() == [2 / 3]
    script = Script([said(half), said(nearly), said(half)])
    scores = click_rounds(script, None, [TruthMask(LEFT)], 3)
    assert harm_of(scores.ious, 0.1).tolist() == [1 / 2]


def test_a_model_without_mask_prompts_gets_none() -> None:
    script = Script([said(RIGHT), said(LEFT)], accepts=ALL_KINDS - {"mask"})
    click_rounds(script, None, [TruthMask(LEFT)], 2)
    assert script.asked[1][1] is None


def test_a_model_without_negative_clicks_is_clicked_once() -> None:
    script = Script([said(RIGHT)], accepts=frozenset({"point"}))
    assert click_rounds(script, None, [TruthMask(LEFT)], 3).ious.shape == (1, 1)


def test_boxes_are_tight_and_ask_for_one_mask() -> None:
    script = Script([said(LEFT)])
    scores = box_scores(script, None, [TruthMask(LEFT), TruthMask(RIGHT)])
    prompts, previous = script.asked[0]
    assert previous is None
    assert [prompt.box.tolist() for prompt in prompts] == [[0, 0, 10, 20], [20, 0, 30, 20]]
    assert scores.tolist() == [1, 0]


def test_the_largest_and_the_deepest_error_differ() -> None:
    truth = np.zeros((40, 60), np.bool_)
    surplus = np.zeros((40, 60), np.bool_)
    truth[1:3, 0:60] = True  # 120 pixels, one deep
    surplus[20:30, 10:20] = True  # 100 pixels, five deep
    assert largest_click(surplus, TruthMask(truth)).label == 1
    assert deepest_click(surplus, TruthMask(truth)).label == 0


@given(arrays(np.bool_, (9, 8)), arrays(np.bool_, (9, 8)))
def test_the_deepest_click_has_scipys_largest_distance(
    prediction: np.ndarray, truth: np.ndarray
) -> None:
    depths = [
        ndimage.distance_transform_edt(np.pad(error, 1))[1:-1, 1:-1]
        for error in (prediction & ~truth, truth & ~prediction)
    ]
    click = deepest_click(prediction, TruthMask(truth))
    if click is None:
        assert np.array_equal(prediction, truth)
        return
    (x, y), label = click
    assert isinstance(click, Click)
    assert depths[label][int(y), int(x)] == pytest.approx(max(depth.max() for depth in depths))
