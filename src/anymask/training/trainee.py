"""The model that a recipe trains: a recipe in, a module with its rules and its optimiser out.

Any image model of `anymask.models` can be trained. Its spec says how it sees pictures, its family
which masks learn from which prompts (`masks.spec.TokenRoles`), its parts what learns how fast.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import nn

from anymask import models
from anymask.base import ConfigError, DataError, WeightsError, read_arrays
from anymask.models.bottlenecks import adapted_blocks, add_bottlenecks, has_bottlenecks
from anymask.models.class_head import takes_prompts
from anymask.runtime import trainable_weights
from anymask.training.blocks import layer_decays
from anymask.training.channels import Trainee, add_channels, take_channels
from anymask.training.classes import add_classes
from anymask.training.lora import add_adapters, merge_adapters
from anymask.training.recipe import Learn, Recipe, recipe_of
from anymask.training.step import add_head, check_task, remove_head
from anymask.training.weights import HEAD, load_start

HEAD_RATE = 10.0  # times the rate: a distillation's layer begins with nothing, the rest does not


def build_trainee(recipe: Recipe, data: Path) -> nn.Module:
    """The recipe's model before its first step. Raises ModelError, ConfigError, WeightsError."""
    check_task(recipe)
    model = models.build(recipe.model)
    if recipe.backbone:
        load_backbone(model, data.parent / recipe.backbone)
    if recipe.init:
        load_start(model, find_start(recipe), recipe.learn)
    set_learning(model, recipe)
    return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def set_learning(model: nn.Module, recipe: Recipe) -> None:
    """Say which parameters learn; adapters, the task's head and channels are added where wanted.

    Raises ConfigError where the model has not the part that is to learn.
    """
    if lacks := what_lacks(model, recipe.learn):
        raise ConfigError(f"{recipe.model} {lacks}")
    if recipe.learn == "adapter":
        add_bottlenecks(model)
    if recipe.learn == "lora":
        add_adapters(model, recipe.lora_rank, recipe.lora_alpha)
    else:
        _choose_learning(model, recipe)
    add_head(model, recipe)
    add_channels(model, recipe.channels)
    add_classes(model, recipe.classes, prompts=recipe.learn == "no-prompt")


def what_lacks(model: nn.Module, learn: Learn) -> str:
    """What keeps a model from learning so, as the rest of a sentence; "" where nothing does."""
    parts = getattr(model, "parts", None)
    if learn == "hq" and not getattr(parts, "hq", ()):
        return (
            "has no HQ token to train. Use a model such as sam_hq_vit_b, which can start from "
            "SAM weights."
        )
    if learn == "adapter" and (parts is None or not adapted_blocks(model)):
        return (
            "has no attention blocks for adapters. Use a model such as sam_vit_b, medsam or "
            "mobile_sam, or train with method='decoder' or method='lora'."
        )
    if learn == "no-prompt" and not takes_prompts(model):
        return (
            "has no SAM decoder for the head to prompt. Use a model such as sam_vit_b, medsam "
            "or mobile_sam, or train classes with another method."
        )
    return ""


def _choose_learning(model: nn.Module, recipe: Recipe) -> None:
    """Which of the model's own parameters learn."""
    parts = cast(Trainee, model).parts
    for name, parameter in model.named_parameters():
        learns = not name.startswith(parts.frozen)
        if recipe.learn == "decoder":
            learns = learns and not name.startswith(parts.encoder)
        elif recipe.learn == "neck":
            learns = learns and not name.startswith(parts.pretrained)
        elif recipe.learn == "quality":
            learns = name.startswith(parts.quality)
        elif recipe.learn == "hq":
            learns = name.startswith(parts.hq)
        elif recipe.learn == "adapter":
            learns = has_bottlenecks([name])
        elif recipe.learn == "no-prompt":
            learns = False
        parameter.requires_grad_(learns)


def trained_module(state: dict[str, Any]) -> nn.Module:
    """The finished model in a checkpoint: the best judged weights, else the averaged ones.

    Adapters are merged. In eval mode. Raises WeightsError for the checkpoint of another model.
    """
    recipe = recipe_of(dict(state["recipe"]), "the checkpoint")
    model = models.build(recipe.model)
    best = state.get("best")
    try:
        weights = best["average"] if best else state["average"]
        if has_bottlenecks(weights):  # of the start
            add_bottlenecks(model)
        set_learning(model, recipe)
        model.load_state_dict(weights)
    except (KeyError, RuntimeError) as error:
        raise WeightsError(
            f"The checkpoint does not match {recipe.model}. Use a checkpoint of this model."
        ) from error
    merge_adapters(model)
    remove_head(model)
    take_channels(model)
    return model.eval()


def learning_mode(model: nn.Module, recipe: Recipe) -> nn.Module:
    """Training mode; where trained weights are tuned, batch norms keep their statistics."""
    model.train()
    if recipe.init:
        for layer in model.modules():
            if isinstance(layer, nn.modules.batchnorm._BatchNorm):
                layer.eval()
    return model


def find_start(recipe: Recipe) -> Path:
    """The file that a recipe starts from: a path, or "shipped" for the weights in the package."""
    if recipe.init != "shipped":
        return Path(recipe.init)
    return trainable_weights(recipe.model)


def starting_module(folder: Path, recipe: Recipe) -> nn.Module:
    """The network that a run began with, as it answers. Raises ModelError, WeightsError.

    What no file holds, SAM-HQ's part where SAM itself is the start, is as the run has drawn it.

    Args:
        folder: Of the run.
    """
    start = str(find_start(recipe))
    learn = recipe.learn if recipe.learn == "hq" else "all"
    plain = replace(recipe, task="masks", learn=learn, init=start, classes=())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        module = build_trainee(plain, folder)
    take_channels(module)
    return module.eval()


FOLDED = (".weight", ".bias")  # of a backbone's arrays: others tell of it in words


def load_backbone(model: nn.Module, path: Path) -> None:
    """ImageNet weights of the encoder, from an .npz of folded arrays. Raises ConfigError."""
    take = getattr(model, "load_backbone", None)
    if take is None:
        raise ConfigError(
            f"{cast(Trainee, model).spec.name} has no separate backbone. Remove `backbone` "
            "from the recipe and set `init`."
        )
    try:
        with path.open("rb") as file:
            arrays = read_arrays(file, FOLDED)
        take(
            {
                name: torch.from_numpy(array.astype(np.float32))
                for name, array in arrays.items()
                if array.dtype.kind == "f"
            }
        )
    except (OSError, ValueError, DataError, KeyError, RuntimeError) as error:
        raise ConfigError(
            f"Cannot read the backbone {path}. Check that it is a complete .npz file."
        ) from error


def multiplies_halves(device: torch.device) -> bool:
    """Whether bf16 products are faster there: a processor that emulates them is slower."""
    if device.type != "cpu":
        return device.type == "cuda"
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def make_optimiser(model: nn.Module, recipe: Recipe) -> torch.optim.AdamW:
    """AdamW; what was pretrained learns slower, deep blocks slower still, no decay on vectors."""
    parts = cast(Trainee, model).parts
    decays = layer_decays(model, parts.encoder, recipe.layer_decay)
    groups: dict[tuple[bool, float, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            share = HEAD_RATE if name.startswith(f"{HEAD}.") else decays(name)
            key = (name.startswith(parts.pretrained), -share, parameter.ndim > 1)
            groups.setdefault(key, []).append(parameter)
    return torch.optim.AdamW(
        [
            {
                "params": parameters,
                "weight_decay": recipe.weight_decay if decayed else 0.0,
                "scale": -negative * (recipe.backbone_rate if slow else 1.0),
            }
            for (slow, negative, decayed), parameters in sorted(groups.items())
        ],
        lr=recipe.rate,
    )
