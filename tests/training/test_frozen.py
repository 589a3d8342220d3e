"""Few photos: what does not learn is computed once, and the pool gives every photo its turn."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from anymask import models
from anymask.models.nano import Nano
from anymask.training import Recipe, presets
from anymask.training.frozen import FrozenOutputs
from anymask.training.interaction import Draws
from anymask.training.options import TuningOptions
from anymask.training.presets import chosen_method
from anymask.training.reports import plan_in_words
from anymask.training.samples import TrainingImages, collate
from anymask.training.step import build_step
from anymask.training.trainee import set_learning
from tests.training.small_data import small_recipe, write_sets


def pooled(**changes: object) -> Recipe:
    few = {"learn": "neck", "views": 3, "init": "", "prepare_ahead": False, "workers": 1}
    return replace(small_recipe(), **few | changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("learn", ["neck", "decoder"])
def test_the_frozen_part_computes_each_picture_once(learn: str) -> None:
    torch.manual_seed(0)
    module = models.build("nano_tiny").train()
    assert isinstance(module, Nano)
    images = torch.rand(2, 3, 64, 64) * 2 - 1
    expected = module.encode(images)
    part = module.encoder if learn == "decoder" else module.encoder.backbone
    seen, plain = [], part.forward
    part.forward = lambda one: (seen.append(len(one)), plain(one))[1]  # type: ignore[method-assign]
    frozen = FrozenOutputs(learn)  # type: ignore[arg-type]
    frozen.attach(module)
    for _ in range(3):
        for one, other in zip(expected, module.encode(images), strict=True):
            torch.testing.assert_close(other, one, atol=0.02, rtol=0.01)  # 16 bits
    assert seen == [1, 1]
    assert frozen.bytes > 0
    module.encode(images.flip(3))
    assert seen == [1, 1, 1, 1]


def test_a_step_changes_all_but_the_backbone(tmp_path: Path) -> None:
    recipe = pooled()
    data = write_sets(tmp_path)
    torch.manual_seed(0)
    module = models.build("nano_tiny").train()
    set_learning(module, recipe)
    FrozenOutputs("neck").attach(module)
    batch = collate([TrainingImages(recipe, data).pooled(0, recipe.stages[0])])
    outcome = build_step(module, recipe)(batch, 0.0, Draws(1, 0, range(1)))
    outcome.loss.backward()
    moved = {name for name, one in module.named_parameters() if one.grad is not None}
    assert not any(name.startswith("encoder.backbone.") for name in moved)
    assert any(name.startswith("encoder.lateral16") for name in moved)
    assert any(name.startswith("decoder.") for name in moved)


def test_every_picture_of_the_pool_has_its_turn_and_a_run_goes_on_with_the_same(
    tmp_path: Path,
) -> None:
    data = write_sets(tmp_path)
    recipe = pooled()
    images = TrainingImages(recipe, data)
    count = recipe.views * len(images.source.samples)  # type: ignore[union-attr]
    stage = recipe.stages[0]
    drawn = [images.pooled(done, stage)[0].numpy().tobytes() for done in range(2 * count)]
    assert sorted(drawn[:count]) == sorted(drawn[count:])
    assert drawn[:count] != drawn[count:]
    again = TrainingImages(recipe, data)
    assert [again.pooled(n, stage)[0].numpy().tobytes() for n in (count, 3)] == [
        drawn[count],
        drawn[3],
    ]
    two = replace(recipe, workers=2)
    pools: list[set[bytes]] = []
    for rank in (0, 1):
        part = TrainingImages(two, data, rank=rank)
        pools.append({part.pooled(n, stage)[0].numpy().tobytes() for n in range(count)})
    assert pools[0] | pools[1] == set(drawn)
    assert not pools[0] & pools[1]


def test_the_number_of_photos_chooses_the_method(tmp_path: Path) -> None:
    options = TuningOptions(data=tmp_path, output=tmp_path)
    assert [chosen_method(options, n) for n in (5, 50, 51)] == ["head", "head", "full"]
    assert chosen_method(replace(options, method="lora"), 5) == "lora"
    assert chosen_method(replace(options, classes="all"), 5) == "full"
    recipe = presets.tuning_recipe("small", "head", 20)
    assert (recipe.learn, recipe.views, recipe.stages[0].sides) == ("neck", 4, (512,))
    assert presets.tuning_recipe("small", "full", 20).views == 0
    said = plan_in_words(recipe, 16, 4, 6.4)
    assert said.startswith(
        "Plan: fine-tune small (image backbone frozen) on 16 images for at most 100 steps of 2 "
        "images, about 6 minutes."
    )
    assert "on 4 held-out images" in said
