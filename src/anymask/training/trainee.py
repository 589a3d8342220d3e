"""Build the model that a recipe trains, choose its trainable parameters, and create its optimizer.

Any image model of `anymask.models` can be trained. Its spec defines the preprocessing, its family
which masks are trained with which prompts (`masks.spec.TokenRoles`), its parts the learning rates.
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
from anymask.models.class_head import add_class_head, takes_prompts
from anymask.runtime import trainable_weights
from anymask.training.blocks import layer_decays, set_drop_path
from anymask.training.channels import Trainee, add_channels, take_channels
from anymask.training.lora import add_adapters, merge_adapters
from anymask.training.recipe import Learn, Recipe, recipe_of
from anymask.training.step import add_head
from anymask.training.weights import TASK_HEAD, load_start

HEAD_RATE = 10.0  # learning rate factor of a distillation's head, which starts at zero


def build_trainee(recipe: Recipe, data: Path) -> nn.Module:
    """Build the recipe's initial model. Raises ModelError, ConfigError or WeightsError."""
    if recipe.task == "distil" and not recipe.teacher:
        raise ConfigError("The task 'distil' requires a teacher. Set teacher = NAME.")
    model = models.build(recipe.model)
    if recipe.backbone:
        load_backbone(model, data.parent / recipe.backbone)
    if recipe.init:
        load_start(model, find_start(recipe), recipe.learn)
    set_learning(model, recipe)
    if recipe.drop_path and not set_drop_path(model, recipe.drop_path):
        raise ConfigError(
            f"{recipe.model} has no drop path. Set drop_path = 0, or use a vision transformer."
        )
    return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def set_learning(model: nn.Module, recipe: Recipe) -> None:
    """Choose the trainable parameters, and add adapters, heads and channels if required.

    Raises ConfigError if the model lacks the part to train.
    """
    if lacks := unsupported_reason(model, recipe.learn):
        raise ConfigError(f"{recipe.model} {lacks}")
    if recipe.learn == "adapter":
        add_bottlenecks(model)
    trainee = cast(Trainee, model)
    parts = trainee.parts
    without = {"all": (), "decoder": (parts.encoder,), "neck": (parts.pretrained,)}
    only = {"quality": (parts.quality,), "hq": parts.hq, "memory": parts.memory, "no-prompt": ()}
    if recipe.learn == "lora":
        add_adapters(model, recipe.lora_rank, recipe.lora_alpha)
    for name, parameter in model.named_parameters() if recipe.learn != "lora" else ():
        if recipe.learn == "adapter":
            learns = has_bottlenecks([name])
        elif recipe.learn in without:
            learns = not name.startswith((*parts.frozen, *without[recipe.learn]))
        else:
            learns = name.startswith(only[recipe.learn])
            learns = learns and not (recipe.learn == "memory" and name.startswith(parts.maps))
        parameter.requires_grad_(learns)
    add_head(model, recipe)
    add_channels(model, recipe.channels)
    if recipe.classes:
        add_class_head(model, len(recipe.classes), recipe.learn == "no-prompt")
        trainee.spec = replace(trainee.spec, classes=recipe.classes)


def unsupported_reason(model: nn.Module, learn: Learn) -> str:
    """Describe why a model does not support a trained part; "" if it does."""
    parts = getattr(model, "parts", None)
    if parts is None:
        return "does not support training. Use a model such as small, sam_vit_b or sam2.1_hiera_t."
    if learn == "hq" and not getattr(parts, "hq", ()):
        return (
            "has no HQ token to train. Use a model such as sam_hq_vit_b, which can start from "
            "SAM weights."
        )
    if learn == "adapter" and not adapted_blocks(model):
        return (
            "has no attention blocks for adapters. Use a model such as sam_vit_b, medsam or "
            "mobile_sam, or train with method='decoder' or method='lora'."
        )
    if learn == "memory" and not getattr(parts, "memory", ()):
        return "has no memory to train on clips. Use a video model such as sam2.1_hiera_t."
    if learn == "no-prompt" and not takes_prompts(model):
        return (
            "has no SAM decoder for the head to prompt. Use a model such as sam_vit_b, medsam "
            "or mobile_sam, or train classes with another method."
        )
    return ""


def trained_module(state: dict[str, Any]) -> nn.Module:
    """Build the finished model of a checkpoint: the best evaluated weights, else the averaged ones.

    Adapters are merged, and the model is in eval mode.

    Raises:
        WeightsError: The checkpoint belongs to another model.
    """
    recipe = recipe_of(dict(state["recipe"]), "the checkpoint")
    model = models.build(recipe.model)
    best = state.get("best")
    try:
        weights = best["average"] if best else state["average"]
        if has_bottlenecks(weights):  # part of the starting weights
            add_bottlenecks(model)
        set_learning(model, recipe)
        model.load_state_dict(weights)
    except (AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        raise WeightsError(
            f"The checkpoint does not match {recipe.model}. Use a checkpoint of this model."
        ) from error
    merge_adapters(model)
    if hasattr(model, TASK_HEAD):
        delattr(model, TASK_HEAD)
    take_channels(model)
    return model.eval()


def learning_mode(model: nn.Module, recipe: Recipe) -> nn.Module:
    """Set training mode; when fine-tuning, batch norms keep their statistics."""
    model.train()
    if recipe.init:
        for layer in model.modules():
            if isinstance(layer, nn.modules.batchnorm._BatchNorm):
                layer.eval()
    return model


def find_start(recipe: Recipe) -> Path:
    """Return the file of a recipe's starting weights: a path, or "shipped" for released weights."""
    return trainable_weights(recipe.model) if recipe.init == "shipped" else Path(recipe.init)


def starting_module(folder: Path, recipe: Recipe) -> nn.Module:
    """Build the initial network of a run in eval mode. Raises ModelError or WeightsError.

    Parts without weights in a file (those of SAM-HQ if SAM is the start) are initialized from the
    seed of the run.

    Args:
        folder: Run folder.
    """
    learn = recipe.learn if recipe.learn == "hq" else "all"
    plain = replace(recipe, task="masks", learn=learn, classes=(), init=str(find_start(recipe)))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        module = build_trainee(plain, folder)
    take_channels(module)
    return module.eval()


FOLDED = (".weight", ".bias")  # suffixes of a backbone's arrays; others are metadata


def load_backbone(model: nn.Module, path: Path) -> None:
    """Load ImageNet weights of the encoder from an .npz of folded arrays. Raises ConfigError."""
    if (take := getattr(model, "load_backbone", None)) is None:
        raise ConfigError(
            f"{cast(Trainee, model).spec.name} has no separate backbone. Set `init` instead."
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
    """Return whether bf16 is faster on a device; processors that emulate it are slower."""
    if device.type != "cpu":
        return device.type == "cuda"
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def make_optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.AdamW:
    """Create AdamW with lower rates for pretrained and deep layers, and no decay on vectors."""
    parts = cast(Trainee, model).parts
    decays = layer_decays(model, parts.encoder, recipe.layer_decay)
    groups: dict[tuple[bool, float, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            share = HEAD_RATE if name.startswith(f"{TASK_HEAD}.") else decays(name)
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
