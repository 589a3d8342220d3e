"""Simulated annotators click where something is wrong, and say which way."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from anymask.training.interaction import (
    WITHOUT_CLICK,
    Draws,
    PromptRules,
    corrected,
    error_click,
    first_prompts,
    noisy_boxes,
)

RULES = PromptRules(boxes=0.5)


def draws(seed: int = 0) -> Draws:
    return Draws(seed, 0, range(1))


masks = arrays(np.bool_, st.tuples(st.just(12), st.just(9)))


@given(masks, masks, st.integers(0, 2**31))
def test_a_correction_lies_on_an_error_and_carries_the_truth(
    given_mask: np.ndarray, expected: np.ndarray, seed: int
) -> None:
    (x, y), label = error_click(given_mask, expected, np.random.default_rng(seed))
    if (given_mask == expected).all():
        assert label == -1
        return
    row, column = int(y), int(x)
    assert given_mask[row, column] != expected[row, column]
    assert label == int(expected[row, column])


@given(st.integers(0, 2**31))
def test_noisy_boxes_stay_in_the_picture_and_near_the_object(seed: int) -> None:
    boxes = torch.tensor([[0.0, 0.0, 256.0, 256.0], [100.0, 100.0, 110.0, 120.0]])
    noisy = noisy_boxes(boxes, 256, draws(seed))
    assert (noisy >= 0).all()
    assert (noisy <= 256).all()
    assert (noisy - boxes).abs().max() <= 20


def test_first_prompts_are_boxes_clicks_or_both_and_only_lone_clicks_are_ambiguous() -> None:
    n = 2000
    places = torch.full((n, 2), 50.0)
    boxes = torch.tensor([[40.0, 40.0, 60.0, 60.0]]).repeat(n, 1)
    prompts = first_prompts((places, places, boxes), 128, draws(1), PromptRules(boxes=0.6))
    kinds = {tuple(row) for row in prompts.labels.tolist()}
    assert kinds == {(2, 3, -1), (2, 3, 1), (-1, -1, 1)}
    lone = prompts.labels[:, 0] == -1
    assert torch.equal(prompts.ambiguous, lone)
    assert lone.float().mean().item() == pytest.approx(1 - 0.6, abs=0.04)


def test_corrections_click_on_the_error_or_bring_nothing_but_the_mask() -> None:
    n = 1000
    targets = torch.zeros(n, 8, 8)
    targets[:, 2:6, 2:6] = 1
    places, boxes = torch.full((n, 2), 16.0), torch.tensor([[8.0, 8.0, 24.0, 24.0]] * n)
    prompts = first_prompts((places, places, boxes), 32, draws(), RULES)
    after = corrected(prompts, torch.full((n, 8, 8), -1.0), targets, draws(1), RULES)
    label = after.labels[:, 3]
    assert set(label.tolist()) == {-1, 1}
    assert (label == -1).float().mean().item() == pytest.approx(WITHOUT_CLICK, abs=0.05)
    inside = (after.coords[label == 1, 3] > 8).all() and (after.coords[label == 1, 3] < 24).all()
    assert inside
    assert (after.coords[label == -1, 3] == 0).all()
