"""The result of a training: a module in, one safetensors file that says what it is out.

The file's metadata has a key "anymask" with JSON: format, variant, licence, data, recipe, figures,
and channels where pictures are no photos.
`anymask.load(FILE)` opens it; nothing in it is executed.

Weights before and after a training.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import nn

from anymask.base import AnymaskError, whole_file
from anymask.runtime import ABOUT

if TYPE_CHECKING:
    from anymask.masks import ModelSpec
    from anymask.training.recipe import Recipe


FORMAT = 1


def write_result(path: Path, module: nn.Module, variant: str, about: dict[str, Any]) -> None:
    """Write the weights whole or not at all.

    variant  the network's name
    about    "licence", "data", "recipe", "figures": plain values; "channels": the mix in front of
             the network, where pictures are no photos (`masks.spec`)
    """
    from safetensors.torch import save

    tensors = {name: t.detach().cpu().contiguous() for name, t in module.state_dict().items()}
    text = json.dumps({"format": FORMAT, "variant": variant, **about})
    with whole_file(path) as file:
        file.write(save(tensors, metadata={"format": "pt", ABOUT: text}))


def check_result(path: Path, module: nn.Module) -> None:
    """Raises AnymaskError where a written file does not hold the very tensors of the module."""
    from safetensors.torch import load_file

    kept, wanted = load_file(path), module.state_dict()
    wrong = [
        name
        for name in sorted(kept.keys() | wanted.keys())
        if name not in kept
        or name not in wanted
        or not torch.equal(kept[name], wanted[name].detach().cpu())
    ]
    if wrong:
        raise AnymaskError(
            f"{path}: {len(wrong)} of {len(wanted)} tensors are not as they were learned, such as "
            f"{wrong[0]}; run the same command again, and report it where it stays so"
        )


WEIGHTS = "weights.safetensors"  # of a run's folder


def write_weights(path: Path, module: nn.Module, recipe: Recipe, about: dict[str, Any]) -> None:
    """Write a trained network with what it is, and read the file again to compare.

    about  beside recipe, channels and classes: "licence", "data", "figures"

    Raises AnymaskError where the file does not hold what was learned.
    """
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
    from anymask.training.run_folder import licence_of_run

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
