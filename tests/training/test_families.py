"""Every family trains: what learns, from which prompts, by which masks."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from anymask import models
from anymask.base import ConfigError
from anymask.models.layers import ModelParts
from anymask.models.rules import family_names, open_family
from anymask.training import LAST, Recipe
from anymask.training.interaction import Draws, PromptRules, corrected, first_prompts
from anymask.training.loop import TrainingRun, TrainingWorker, train
from anymask.training.losses import prompt_loss
from anymask.training.recipe import RecipeStage
from anymask.training.run_folder import read_state
from tests.training.small_data import small_recipe

TINY = {"tiny": 64, "tiny_hq": 64, "tiny_efficient": 32, "nano_tiny": 64, "tiny_video": 64}


def one_step(model: str, **changes: object) -> Recipe:
    stage = RecipeStage(steps=1, side=TINY[model], images=2, masks=2)
    return small_recipe(model=model, stages=(stage,), **changes)


@pytest.mark.parametrize("name", TINY)
def test_one_step_moves_the_encoder_and_the_decoder_of_every_family(
    name: str, data: Path, tmp_path: Path
) -> None:
    moved, parts = moved_by(one_step(name), data, tmp_path)
    assert any(n.startswith(parts.encoder) for n in moved)
    assert any(not n.startswith(parts.encoder) for n in moved)


@pytest.mark.parametrize("name", TINY)
def test_where_the_decoder_learns_the_encoder_stays(name: str, data: Path, tmp_path: Path) -> None:
    moved, parts = moved_by(one_step(name, learn="decoder"), data, tmp_path)
    assert moved
    assert not any(n.startswith(parts.encoder) for n in moved)


def moved_by(recipe: Recipe, data: Path, folder: Path) -> tuple[set[str], ModelParts]:
    model = TrainingWorker(0, recipe, TrainingRun(data, folder)).model
    before = {name: value.clone() for name, value in model.state_dict().items()}
    train(recipe, TrainingRun(data, folder))
    after = read_state(folder / LAST)["model"]
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    return moved, model.parts  # type: ignore[return-value]


@pytest.mark.parametrize("name", ["tiny_video", "tiny_edge"])
def test_photos_leave_alone_what_only_videos_ask_for(name: str, data: Path, tmp_path: Path) -> None:
    recipe = replace(one_step("tiny_video"), model=name)
    moved, parts = moved_by(recipe, data, tmp_path)
    assert any(one.startswith("sam_mask_decoder.") for one in moved)
    assert not any(one.startswith(parts.frozen) for one in moved)
    own = set(models.build(name).state_dict())
    memory = {one for one in own if one.startswith(("memory", "maskmem", "obj_ptr", "spatial"))}
    assert memory
    assert memory <= {one for one in own if one.startswith(parts.frozen)}


def test_a_model_of_one_side_refuses_pictures_of_another(data: Path, tmp_path: Path) -> None:
    recipe = replace(one_step("tiny"), stages=(RecipeStage(steps=1, side=96, images=2, masks=2),))
    with pytest.raises(ConfigError, match="tiny supports only images of 64 pixels.*Set side = 64"):
        train(recipe, TrainingRun(data, tmp_path))


SAM_LOSSES = [[4.0, 3.0, 1.0, 2.0]]
# family: its masks' losses, the mask that learns most from a lone click and from a box
LEARNS = {
    "sam": (SAM_LOSSES, 2, 0),
    "sam_hq": (SAM_LOSSES, 2, 0),
    "nano": (SAM_LOSSES, 2, 0),
    "efficient_sam": ([[3.0, 1.0, 2.0]], 1, 1),
}


def test_the_table_knows_every_family() -> None:
    known = set(LEARNS) | {"small"}  # small learns as nano does
    assert known == set(family_names())


@pytest.mark.parametrize("family", LEARNS)
@pytest.mark.parametrize("lone_click", [True, False])
def test_each_prompt_teaches_the_mask_that_answers_it(family: str, lone_click: bool) -> None:
    values, of_click, of_box = LEARNS[family]
    roles = open_family(replace(models.spec("sam_vit_b"), family=family)).roles
    losses = torch.tensor(values, requires_grad=True)
    prompt_loss(losses, torch.tensor([lone_click]), roles).sum().backward()
    assert losses.grad.argmax().item() == (of_click if lone_click else of_box)


def test_only_the_hq_familys_last_mask_is_added_to_the_others(data: Path, tmp_path: Path) -> None:
    worker = TrainingWorker(0, one_step("tiny_hq"), TrainingRun(data, tmp_path))
    logits, quality = torch.randn(2, 5, 4, 4), torch.rand(2, 4)
    worker.model.decode = lambda *_: (logits, quality)  # type: ignore[method-assign, assignment]
    prompts = first_prompts(some_places(2), 64, draws(), worker.step.rules)  # type: ignore[arg-type]
    answer, _ = worker.step.answer((torch.zeros(1),), prompts)  # type: ignore[operator]
    torch.testing.assert_close(answer, logits[:, :4] + logits[:, 4:])


def draws(seed: int = 5) -> Draws:
    return Draws(seed, 0, range(1))


def some_places(n: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    places = torch.full((n, 2), 16.0)
    return places, places, torch.tensor([[8.0, 8.0, 24.0, 24.0]]).repeat(n, 1)


def test_efficient_sam_gets_six_points_no_background_clicks_and_no_masks() -> None:
    rules = PromptRules.of(models.spec("efficient_sam_ti"), boxes=0.5)
    assert rules == PromptRules(boxes=0.5, negatives=False, masks=False, slots=6, stride=4)
    n = 400
    prompts = first_prompts(some_places(n), 32, draws(), rules)
    targets = torch.zeros(n, 8, 8)
    targets[:, 2:6, 2:6] = 1
    answer = torch.full((n, 8, 8), 1.0)  # everything: too much, and nothing is missing
    answer[: n // 2] = -1.0
    for _ in range(6):
        prompts = corrected(prompts, answer, targets, draws(), rules)
        assert prompts.coords.shape == (n, 6, 2)
        assert set(prompts.labels.unique().tolist()) <= {-1, 1, 2, 3}
        assert not prompts.masks.any()
        assert not prompts.has_mask.any()
    clicks = (prompts.labels == 1).sum(1)
    assert clicks[: n // 2].max() >= 4  # what is missing is clicked, into the free places
    assert clicks[n // 2 :].max() == 1  # what is too much cannot be


def test_a_model_without_boxes_is_clicked_only() -> None:
    spec = replace(models.spec("sam_vit_b"), accepts=frozenset({"point"}))
    prompts = first_prompts(some_places(50), 32, draws(), PromptRules.of(spec, boxes=0.9))
    assert set(prompts.labels.unique().tolist()) == {-1, 1}
    assert prompts.ambiguous.all()


def test_clicks_are_in_model_pixels_whatever_the_masks_stride() -> None:
    targets = torch.zeros(1, 8, 8)
    targets[0, 6, 6] = 1
    for stride in (1, 2, 4):
        rules = PromptRules(boxes=0.0, stride=stride)
        prompts = first_prompts(some_places(1), 8 * stride, draws(), rules)
        assert prompts.masks.shape[-1] == 8
        for seed in range(20):  # some corrections bring no click
            unchanged = torch.full((1, 8, 8), -1.0)
            prompts = corrected(prompts, unchanged, targets, draws(seed), rules)
        found = prompts.coords[0, 3:][prompts.labels[0, 3:] == 1]
        assert len(found)
        np.testing.assert_allclose(found, np.full_like(found, 6.5 * stride))
