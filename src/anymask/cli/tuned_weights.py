"""Weights before and after a training: a recipe or a network in, a network or its file out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from torch import nn

    from anymask.primitives.spec import ModelSpec
    from anymask.training.recipe import Recipe

WEIGHTS = "weights.safetensors"  # of a run's folder


def write_weights(path: Path, module: nn.Module, recipe: Recipe, about: dict[str, Any]) -> None:
    """Write a trained network with what it is, and read the file again to compare.

    about  beside recipe, channels and classes: "licence", "data", "figures"

    Raises AnymaskError where the file does not hold what was learned.
    """
    from anymask.training.result import check_result, write_result

    write_result(path, module, recipe.model, {"recipe": asdict(recipe), **about, **stated(module)})
    check_result(path, module)


def starting_module(folder: Path, recipe: Recipe) -> nn.Module:
    """The network that a run began with, as it answers. Raises ModelError, WeightsError.

    folder  of the run

    What no file holds, SAM-HQ's part where SAM itself is the start, is as the run has drawn it.
    """
    import torch

    from anymask.training.channels import take_channels
    from anymask.training.trainee import build_trainee, find_start

    start = str(find_start(recipe))
    learn = recipe.learn if recipe.learn == "hq" else "all"
    plain = replace(recipe, task="masks", learn=learn, init=start, classes=())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        module = build_trainee(plain, folder)
    take_channels(module)
    return module.eval()


def licence_with_data(recipe: Recipe, known: Iterable[str] = ()) -> str:
    """Of trained weights: that of the weights behind them, and of the data where it is known.

    Raises WeightsError.
    """
    from anymask.cli.run_folder import licence_of_run

    of_data = "; ".join(known)
    return f"{licence_of_run(recipe)}; and that of your data{f': {of_data}' if of_data else ''}"


def stated(module: nn.Module) -> dict[str, Any]:
    """Channels and classes of a network, where it has any, as its file says them."""
    spec = cast("ModelSpec", module.spec)
    said: dict[str, Any] = {}
    if spec.classes:
        said["classes"] = list(spec.classes)
    if spec.channels is not None:
        said["channels"] = asdict(spec.channels)
    return said
