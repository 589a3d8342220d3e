"""Text prompts of `segment`: what becomes the prompt, and one clear error for each gap."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import anymask
from anymask import Prompt
from anymask.base import PromptError
from anymask.find.grounding import ScoredBoxes
from tests.evaluation.small_sets import rectangle
from tests.segment.fakes import ColorRuntime

IMAGE = np.full((120, 160, 3), 128, np.uint8)
IMAGE[20:70, 15:65] = (220, 20, 20)
IMAGE[50:110, 95:150] = (20, 20, 220)
RED, BLUE = (15, 20, 65, 70), (95, 50, 150, 110)


class Boxes:
    """A detector that knows two boxes; the red one is better for every phrase."""

    name, threshold, about = "boxes", 0.3, {}  # type: ignore[var-annotated]

    def detect(self, image: Any, phrases: Any, side: int | None = None) -> ScoredBoxes:
        scores = np.array([[0.9], [0.6]], np.float32) * (phrases[0] != "nothing")
        return ScoredBoxes(np.array([RED, BLUE], np.float32), np.repeat(scores, len(phrases), 1))


@pytest.fixture(scope="module")
def model() -> anymask.Model:
    return anymask.load("nano")


def iou(answer: anymask.Prediction, box: tuple[int, ...]) -> float:
    x0, y0, x1, y1 = box
    expected = rectangle(IMAGE.shape[:2], (x0, y0, x1, y1))
    mask = answer.masks[0]
    return float((mask & expected).sum() / (mask | expected).sum())


def test_the_best_match_is_segmented_and_labeled(model: anymask.Model) -> None:
    answer = model.segment(IMAGE, text="thing", detector=Boxes())
    assert iou(answer, RED) > 0.85
    assert answer.first.label == "thing"
    by_prompt = model.segment(IMAGE, prompts=[Prompt(words="thing")], detector=Boxes())
    np.testing.assert_array_equal(by_prompt[0].masks, answer.masks)


def test_points_select_among_the_matches(model: anymask.Model) -> None:
    at = [(120, 80)]
    assert iou(model.segment(IMAGE, text="thing", points=at, detector=Boxes()), BLUE) > 0.85
    off: Any = {"points": [(40, 40)], "point_labels": [0]}
    assert iou(model.segment(IMAGE, text="thing", detector=Boxes(), **off), BLUE) > 0.85


def test_prompts_with_and_without_words_go_together(model: anymask.Model) -> None:
    prompts = [Prompt.of(box=BLUE), Prompt(words="thing")]
    blue, red = model.segment(IMAGE, prompts=prompts, detector=Boxes())
    assert (blue.first.label, red.first.label) == (None, "thing")
    assert iou(blue, BLUE) > 0.85
    (several,) = model.segment([IMAGE], prompts=[prompts], detector=Boxes())
    np.testing.assert_array_equal(several[1].masks, red.masks)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"text": "nothing"}, "No object matches 'nothing'"),
        ({"text": "thing", "points": [(2, 2)]}, "at these points"),
        ({"text": "thing", "box": RED}, "cannot be combined with a box"),
        ({"text": " "}, "Invalid text prompt"),
        ({"text": "thing", "prompts": [Prompt(words="thing")]}, "one of these ways"),
    ],
)
def test_what_is_wrong_is_said(model: anymask.Model, asked: Any, says: str) -> None:
    with pytest.raises(PromptError, match=says):
        model.segment(IMAGE, detector=Boxes(), **asked)


def test_an_embedding_or_a_model_without_names_is_not_enough(model: anymask.Model) -> None:
    with pytest.raises(PromptError, match="requires the image"):
        model.segment(model.encode(IMAGE), text="thing", detector=Boxes())
    with pytest.raises(PromptError, match=r"has no text encoder\. Pass detector="):
        anymask.Model(ColorRuntime()).segment(IMAGE, text="cup")
