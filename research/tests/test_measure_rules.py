"""Answers without the rules of the bundled models."""

from dataclasses import fields

import numpy as np
import pytest

from anymask.masks import Prompt
from anymask.models.rules import open_family
from anymask.segment import Model
from research.measure_rules import Plainer, best_alone
from tests.models.test_nano_second_look import BOX, FOUR, IMAGE, Shy


def test_the_best_mask_stands_in_all_places() -> None:
    logits = np.arange(2 * 3 * 4, dtype=np.float32).reshape(2, 3, 2, 2)
    quality = np.array([[0.1, 0.9, 0.2], [0.5, 0.4, 0.3]], np.float32)
    masks, numbers = best_alone(logits, quality)
    np.testing.assert_array_equal(masks[0], np.broadcast_to(logits[0, 1], (3, 2, 2)))
    np.testing.assert_array_equal(masks[1], np.broadcast_to(logits[1, 0], (3, 2, 2)))
    np.testing.assert_array_equal(numbers, np.array([[0.9] * 3, [0.5] * 3], np.float32))


@pytest.mark.parametrize(
    ("without", "cells"),
    [((), 20 * 20), (("agreement",), 20 * 20), (("parts",), 20 * 20), (("twice",), 3 * 3)],
)
def test_a_box_that_is_asked_once_stays_the_first_answer(
    without: tuple[str, ...], cells: int
) -> None:
    runtime, family = Shy(), open_family(FOUR)
    facts = {one.name: getattr(family, one.name) for one in fields(family)}  # type: ignore[arg-type]
    runtime.family = Plainer(**facts, without=without)  # type: ignore[assignment]
    (answer,) = Model(runtime).segment(IMAGE, prompts=[Prompt.of(box=BOX)], multimask=False)
    assert int((answer.logits[0] > 0).sum()) == cells
