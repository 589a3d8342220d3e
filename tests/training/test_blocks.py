"""Blocks of a network: found in order, slower the deeper, computed again to the same gradients."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from anymask import models
from anymask.training.blocks import layer_decays, recompute_blocks, repeated_blocks
from anymask.training.loop import TrainingRun, TrainingWorker
from anymask.training.samples import batches
from anymask.training.trainee import make_optimizer
from tests.training.small_data import small_recipe
from tests.training.test_families import TINY, one_step


def test_rates_fall_from_the_neck_to_the_patches() -> None:
    model = models.build("tiny")
    count = len([n for n in repeated_blocks(model) if n.startswith("image_encoder.")])
    factor = layer_decays(model, "image_encoder.", 0.5)
    assert factor("mask_decoder.iou_token.weight") == 1.0
    assert factor("image_encoder.neck.0.weight") == 1.0
    assert factor(f"image_encoder.blocks.{count - 1}.attn.qkv.weight") == 0.5
    assert factor("image_encoder.blocks.0.attn.qkv.weight") == 0.5**count
    assert factor("image_encoder.pos_embed") == 0.5 ** (count + 1)
    assert factor("image_encoder.patch_embed.proj.weight") == 0.5 ** (count + 1)
    optimizer = make_optimizer(model, one_step("tiny", layer_decay=0.5, backbone_rate=0.1))
    scales = {id(p): group["scale"] for group in optimizer.param_groups for p in group["params"]}
    named = dict(model.named_parameters())
    assert scales[id(named["image_encoder.pos_embed"])] == pytest.approx(0.1 * 0.5 ** (count + 1))
    assert scales[id(named["mask_decoder.iou_token.weight"])] == 1.0


@pytest.mark.parametrize("name", TINY)
def test_recomputed_blocks_keep_less_and_give_the_same_gradients(name: str) -> None:
    side = TINY[name]
    found = []
    for recomputed in (False, True):
        torch.manual_seed(1)
        model = models.build(name)
        if recomputed:
            recompute_blocks(model)
        kept = 0

        def count(tensor: torch.Tensor) -> torch.Tensor:
            nonlocal kept
            kept += tensor.numel()
            return tensor

        torch.manual_seed(2)
        with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
            features = model.encode(torch.randn(1, 3, side, side))  # type: ignore[operator]
        sum(one.square().sum() for one in features).backward()  # type: ignore[union-attr]
        gradients = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
        found.append((kept, gradients))
    (plain, gradients), (less, again) = found
    assert less < 0.8 * plain
    assert gradients.keys() == again.keys()
    for key, gradient in gradients.items():
        assert torch.equal(gradient, again[key]), key


def test_parts_of_a_step_add_up_to_its_gradient(data: Path, tmp_path: Path) -> None:
    recipe = small_recipe(model="tiny")
    recipe = replace(recipe, stages=(replace(recipe.stages[0], images=4),))
    (batch, *_) = batches(recipe, data, None, rank=0, first_step=0)
    found = []
    for parts in (1, 2, 4):
        worker = TrainingWorker(0, replace(recipe, accumulate=parts), TrainingRun(data, tmp_path))
        worker.descend = lambda: 0.0  # type: ignore[method-assign]
        worker.learn(batch)
        found.append({n: p.grad for n, p in worker.model.named_parameters() if p.grad is not None})
        assert worker.progress.images == 4
    for other in found[1:]:
        assert other.keys() == found[0].keys()
        for name, gradient in found[0].items():
            torch.testing.assert_close(gradient, other[name], rtol=1e-3, atol=1e-5)
