"""Starting weights and result files of a training.

A start is any file that `anymask.load` accepts as weights, including official checkpoints, or a
run's checkpoint, of which the averaged weights are used. The result is a safetensors file whose
metadata has a key "anymask" with JSON: format, variant, licence, data, recipe, figures, and
channels for multi-channel images. It contains no executable code.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from anymask.base import AnymaskError, WeightsError, whole_file
from anymask.models.bottlenecks import add_bottlenecks, has_bottlenecks
from anymask.models.class_head import HEAD_NAME as CLASSES
from anymask.runtime import (
    METADATA_KEY,
    adapter_folder,
    check_base,
    load_official,
    merge_files,
    read_adapters,
    read_checkpoint,
    trainable_weights,
)
from anymask.training.channels import MIX, Trainee
from anymask.training.recipe import Learn, Recipe

if TYPE_CHECKING:
    from anymask.masks import ModelSpec

TASK_HEAD = "task_head"  # name of a task's layer in the model
PASSING = (TASK_HEAD, MIX, CLASSES)  # name prefixes of tensors that only a run requires


def load_start(model: nn.Module, path: Path, learn: Learn = "all") -> None:
    """Load the starting weights of a network from a file, or merge a folder of adapters.

    Raises InputError for adapters of another model, WeightsError on a mismatch.

    Args:
        learn: Trained part. "quality" reinitializes its head; parts of SAM-HQ and bottlenecks that
            are missing in the file are initialized as well.
    """
    parts, name = cast(Trainee, model).parts, cast(Trainee, model).spec.name
    adapters = None if adapter_folder(path) is None else read_adapters(path)
    if adapters is not None:
        check_base(adapters, name)
    start = trained_weights(path if adapters is None else trainable_weights(name))
    if learn == "adapter" or has_bottlenecks(start):
        add_bottlenecks(model)
    initial = model.state_dict()
    if learn == "adapter":
        start = {name: initial[name] for name in initial if has_bottlenecks([name])} | start
    if learn == "quality":
        start |= {name: initial[name] for name in initial if name.startswith(parts.quality)}
    if learn == "hq":  # for a start from SAM, the added part is initialized
        start = {name: initial[name] for name in initial if name.startswith(parts.hq)} | start
    try:
        load_official(model, start)
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}") from error
    if adapters is not None:
        merge_files(model, adapters)


def trained_weights(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a weights file by name. Raises WeightsError."""
    state = read_checkpoint(path)
    return {name: tensor for name, tensor in state.items() if not name.startswith(PASSING)}


FORMAT = 1


def write_result(path: Path, module: nn.Module, variant: str, about: dict[str, Any]) -> None:
    """Write the weights atomically.

    Args:
        variant: Model variant.
        about: Metadata "licence", "data", "recipe", "figures" as plain values; "channels": mix
            for multi-channel images (`masks.spec`).
    """
    from safetensors.torch import save

    tensors = {name: t.detach().cpu().contiguous() for name, t in module.state_dict().items()}
    text = json.dumps({"format": FORMAT, "variant": variant, **about})
    with whole_file(path) as file:
        file.write(save(tensors, metadata={"format": "pt", METADATA_KEY: text}))


def check_result(path: Path, module: nn.Module) -> None:
    """Raise AnymaskError if a written file differs from the tensors of the module."""
    from safetensors.torch import load_file

    written, expected = load_file(path), module.state_dict()
    wrong = [
        name
        for name in sorted(written.keys() | expected.keys())
        if name not in written
        or name not in expected
        or not torch.equal(written[name], expected[name].detach().cpu())
    ]
    if wrong:
        raise AnymaskError(
            f"{path} does not match the trained weights: {len(wrong)} of {len(expected)} tensors "
            f"differ, such as {wrong[0]}. Run the command again. If the problem persists, "
            "report it as a bug."
        )


WEIGHTS = "weights.safetensors"  # in the run folder


def write_weights(path: Path, module: nn.Module, recipe: Recipe, about: dict[str, Any]) -> None:
    """Write a trained network with its metadata, and verify the file.

    Args:
        path: Output file.
        module: Trained network.
        recipe: Recipe of the run.
        about: Metadata "licence", "data" and "figures".

    Raises:
        AnymaskError: The file differs from the trained weights.
    """
    spec = cast("ModelSpec", module.spec)
    about = {"recipe": asdict(recipe), **about}
    about |= {"classes": list(spec.classes)} if spec.classes else {}
    about |= {} if spec.channels is None else {"channels": asdict(spec.channels)}
    write_result(path, module, recipe.model, about)
    check_result(path, module)
