"""Boxes that are asked twice."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from anymask.base import FloatArray
from anymask.masks import OPENCV, EncoderOutput, ModelPrompts, Prompt
from anymask.masks.answer import deepest_cell, with_middle_clicks
from anymask.models.rules import open_family
from anymask.runtime import ImageRuntime
from anymask.segment import Model
from tests.evaluation.small_sets import rectangle
from tests.segment.fakes import SPEC, seen_of

FOUR = replace(SPEC, family="nano", pad_point=False)
BOX = np.array([20, 10, 60, 50], np.float32)
IMAGE = np.zeros((128, 128, 3), np.uint8)


class Shy(ImageRuntime):
    """Draws the corner of a box, and all of it once it is confirmed; without a box, everything."""

    spec = FOUR
    family = open_family(FOUR)
    weights_hash = "shy"

    def __init__(self) -> None:
        self.asked: list[ModelPrompts] = []

    def encode_images(self, images: FloatArray) -> list[EncoderOutput]:
        return [seen_of(image) for image in images]

    def decode(
        self, features: EncoderOutput, prompts: ModelPrompts
    ) -> tuple[FloatArray, FloatArray]:
        self.asked.append(prompts)
        logits = np.full((len(prompts.labels), 4, 64, 64), 5, np.float32)
        for plane, coords, labels, sure in zip(
            logits, prompts.coords, prompts.labels, prompts.has_mask, strict=True
        ):
            if (labels >= 2).any():
                x0, y0, x1, y1 = (coords[labels >= 2].ravel() / 2).astype(int)
                plane[:] = -5
                plane[:, y0 : y1 if sure else y0 + 3, x0 : x1 if sure else x0 + 3] = 5
        return logits, np.full((len(logits), 4), 0.8, np.float32)


def test_a_box_is_asked_again_with_its_answer_and_a_click_in_its_middle() -> None:
    runtime = Shy()
    model = Model(runtime)
    answer = model.segment(IMAGE, box=BOX)
    first, second = runtime.asked
    np.testing.assert_array_equal(second.coords[0, :2], first.coords[0])
    np.testing.assert_array_equal(second.labels, [[2, 3, 1]])
    np.testing.assert_array_equal(second.coords[0, 2], [(10 + 1.5) * 2, (5 + 1.5) * 2])
    assert (second.masks[0, 0] > 0).sum() == 9
    assert (answer.logits[0] > 0).sum() == 20 * 20


@pytest.mark.parametrize(
    "prompt",
    [
        {"box": BOX, "points": [[30, 30]], "point_labels": [1]},
        {"box": BOX, "mask": np.ones((128, 128), bool)},
        {"box": BOX, "multimask": True},
        {"points": [[30, 30]], "point_labels": [1]},
    ],
)
def test_what_is_no_bare_box_is_asked_once(prompt: dict[str, Any]) -> None:
    runtime = Shy()
    Model(runtime).segment(IMAGE, **prompt)
    assert len(runtime.asked) == 1


def test_a_box_among_clicks_keeps_its_place() -> None:
    clicks = np.array([[90, 90], [100, 100]], np.float32)
    prompts = [Prompt(points=clicks, labels=np.array([1, 1])), Prompt(box=BOX)]
    runtime = Shy()
    whole, boxed = Model(runtime).segment(IMAGE, prompts=prompts)
    asked = [given.labels.tolist() for given in runtime.asked]
    assert sorted(asked) == [[[1]], [[1, 1]], [[2, 3]], [[2, 3, 1]]]  # two steps, two questions
    assert whole.masks[0].all()
    assert (boxed.logits[0] > 0).sum() == 20 * 20


@pytest.mark.parametrize(("low", "high", "expected"), [(10, 19, (29.0, 29.0)), (0, 3, (3.0, 3.0))])
def test_the_middle_is_the_thickest_place(
    low: int, high: int, expected: tuple[float, float]
) -> None:
    mask = rectangle((64, 64), (low, low, high, high))
    assert deepest_cell(mask, SPEC, OPENCV) == expected


def test_an_empty_answer_gets_no_click() -> None:
    given = ModelPrompts(
        np.zeros((1, 2, 2), np.float32),
        np.array([[2, 3]]),
        np.zeros((1, 1, 64, 64), np.float32),
        np.zeros(1, np.float32),
    )
    nothing = (np.full((1, 4, 64, 64), -3, np.float32), np.ones((1, 4), np.float32))
    assert with_middle_clicks(given, *nothing, open_family(FOUR)).labels.tolist() == [[2, 3, -1]]
    assert deepest_cell(np.zeros((64, 64), bool), FOUR, OPENCV) is None
