"""Training as in the paper: many rounds of prompts, and drop path."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch

from anymask import models
from anymask.base import ConfigError
from anymask.models.layers import DropPath
from anymask.training.blocks import set_drop_path
from anymask.training.interaction import (
    FIRST_SLOTS,
    WITHOUT_CLICK,
    Draws,
    SimulatedPrompts,
    shares_without_click,
)
from anymask.training.samples import batches
from anymask.training.step import StepOutcome, TrainingStep, build_step
from anymask.training.trainee import build_trainee
from tests.training.small_data import small_recipe

WITH_DROP_PATH = ("tiny", "tiny_hq", "tiny_efficient", "tiny_video")


def draws(step: int) -> Draws:
    return Draws(3, step, range(2))


@pytest.mark.parametrize("rounds", [4, 8, 11])
def test_of_many_rounds_the_last_and_a_random_one_before_have_no_click(rounds: int) -> None:
    places = set()
    for step in range(200):
        shares = shares_without_click(rounds, draws(step))
        assert len(shares) == rounds - 1
        assert shares[-1] == 1.0
        assert sorted(shares[:-1]) == [0.0] * (rounds - 3) + [1.0]
        places.add(shares.index(1.0))
    assert places == set(range(rounds - 2))


def test_few_rounds_have_no_click_for_a_part_of_the_prompts() -> None:
    assert shares_without_click(3, draws(0)) == [WITHOUT_CLICK] * 2


def answered(
    rounds: int, data: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[list[SimulatedPrompts], list[torch.Tensor], StepOutcome]:
    """Prompts and losses of all predictions of a step, and its outcome."""
    recipe = small_recipe(rounds=rounds)
    torch.manual_seed(0)
    step = build_step(build_trainee(recipe, data), recipe)
    assert isinstance(step, TrainingStep)
    prompts, losses = [], []
    answer, judge = step.answer, step.judge

    def noted_answer(features: tuple[torch.Tensor, ...], given: SimulatedPrompts) -> object:
        prompts.append(given)
        return answer(features, given)

    def noted_judge(*given: object) -> object:
        loss, iou = judge(*given)  # type: ignore[arg-type]
        losses.append(loss)
        return loss, iou

    monkeypatch.setattr(step, "answer", noted_answer)
    monkeypatch.setattr(step, "judge", noted_judge)
    batch = next(batches(recipe, data, None, rank=0, first_step=0))
    return prompts, losses, step(batch, 0.5, draws(1))


def test_eleven_rounds_are_a_prompt_eight_clicks_and_two_masks(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompts, losses, outcome = answered(11, data, monkeypatch)
    assert len(prompts) == len(losses) == 11
    added = prompts[-1].labels[:, FIRST_SLOTS:]  # (N, 10)
    assert ((added >= 0).sum(dim=1) == 8).all()  # an untrained network is always wrong somewhere
    assert [int(one.has_mask.sum()) for one in prompts] == [0, *[len(added)] * 10]
    assert outcome.loss.item() == pytest.approx(2 * torch.stack(losses).mean().item())
    assert all(loss.requires_grad for loss in losses)


def test_without_the_setting_two_predictions_have_a_loss(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompts, losses, outcome = answered(0, data, monkeypatch)
    assert len(prompts) in (2, 3)
    assert len(losses) == 2
    assert outcome.loss.item() == pytest.approx(sum(losses).item())  # type: ignore[union-attr]


def test_drop_path_skips_whole_images_and_keeps_the_mean() -> None:
    layer = DropPath()
    branch = torch.rand(4000, 3, 2) + 0.5
    assert layer(branch) is branch
    layer.rate = 0.4
    assert layer.eval()(branch) is branch
    torch.manual_seed(0)
    out = layer.train()(branch)
    kept = (out != 0).flatten(1).all(dim=1)
    assert torch.equal(kept, (out != 0).flatten(1).any(dim=1))
    torch.testing.assert_close(out[kept], branch[kept] / 0.6)
    assert kept.float().mean().item() == pytest.approx(0.6, abs=0.03)


@pytest.mark.parametrize("name", [*WITH_DROP_PATH, "mobile_sam"])
def test_drop_path_rises_over_the_blocks_and_adds_no_weights(name: str) -> None:
    with torch.device("meta"):
        model = models.build(name)
    assert set_drop_path(model, 0.3)
    rates = [one.rate for one in model.modules() if isinstance(one, DropPath)]
    assert rates[0] == 0
    assert rates[-1] == pytest.approx(0.3)
    steps = {round(after - before, 9) for before, after in pairwise(rates)}
    assert steps == {round(0.3 / (len(rates) - 1), 9)}
    assert not [one for one in model.state_dict() if "drop_path" in one]


@pytest.mark.parametrize("name", WITH_DROP_PATH)
def test_blocks_that_are_skipped_change_nothing(name: str) -> None:
    model = models.build(name).train()
    block: Any = next(one for one in model.modules() if hasattr(one, "drop_path"))
    x = torch.randn(2, 4, 4, len(block.norm1.weight))
    assert not torch.equal(block(x), x)
    block.drop_path.rate = 1.0 - 1e-12
    assert torch.equal(block(x), x)


def test_a_model_without_drop_path_is_refused(data: Path) -> None:
    recipe = replace(small_recipe(), drop_path=0.1)
    with pytest.raises(ConfigError, match="nano_tiny has no drop path"):
        build_trainee(recipe, data)
