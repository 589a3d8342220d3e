"""The main subject: where the map and the masks of known features come from, and photos."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import anymask
from anymask.base import WeightsError
from anymask.edit import main_subject
from anymask.edit.subject import agreement, subject_prompts
from anymask.segment import Model
from tests.segment.fakes import SPEC, ColorRuntime


def blob(hw: tuple[int, int] = (60, 80)) -> np.ndarray:
    """Likely in a rectangle, very likely in its middle."""
    likely = np.full(hw, 0.05, np.float32)
    likely[20:50, 30:70] = 0.4
    likely[30:40, 40:60] = 0.9
    return likely


def test_agreement_is_the_soft_iou() -> None:
    likely = np.array([[0.0, 0.5], [1.0, 0.5]], np.float32)
    mask = np.array([[0.0, 0.0], [1.0, 1.0]], np.float32)
    assert agreement(mask, likely) == pytest.approx((1 + 0.5) / (0.5 + 1 + 1))
    assert agreement(mask * 0, likely * 0) == 0


def test_prompts_lie_round_what_is_likely() -> None:
    prompts = subject_prompts(blob())
    boxes = [prompt.box.tolist() for prompt in prompts if prompt.box is not None]
    assert boxes.count([30, 20, 70, 50]) == 4  # at two levels: the largest, and all
    assert [40, 30, 60, 40] in boxes
    clicks = [prompt.points for prompt in prompts if prompt.points is not None]
    assert clicks
    assert all(30 <= y < 40 and 40 <= x < 60 for points in clicks for x, y in points)


def test_nothing_likely_is_nothing_to_ask_about() -> None:
    assert subject_prompts(np.full((30, 40), 0.1, np.float32)) == []


def test_other_weights_have_no_probe() -> None:
    model = Model(ColorRuntime(replace(SPEC, name="small")))
    with pytest.raises(WeightsError, match="subject"):
        main_subject(model, np.zeros((20, 30, 3), np.uint8))


def test_a_cat_is_a_subject_and_a_grey_wall_is_none() -> None:
    model = anymask.load("small")
    cat = anymask.load_image(anymask.sample("cat"))
    found = main_subject(model, cat)
    height, width = cat.shape[:2]
    assert 0.05 < found.coverage < 0.9
    assert found.mask[height // 2, width // 2] or found.area > 0.2 * height * width
    wall = np.random.default_rng(0).integers(110, 130, (120, 160, 3)).astype(np.uint8)
    assert main_subject(model, wall) is None
