"""The protocol of trainable models: what training needs of a torch module.

What a network starts from.

Taken are all files that `anymask.load` takes as weights, official checkpoints among them, and a
run's checkpoints, of which the averaged weights count.
"""

from __future__ import annotations

from pathlib import Path
from typing import cast

from torch import Tensor, nn

from anymask.base import WeightsError
from anymask.models.class_head import NAME as CLASSES
from anymask.runtime import (
    adapter_folder,
    check_base,
    load_official,
    merge_files,
    read_adapters,
    read_checkpoint,
    trainable_weights,
)
from anymask.training.channels import MIX, Trainee
from anymask.training.recipe import Learn

HEAD = "task_head"  # the name of a task's own layer in the model
PASSING = (HEAD, MIX, CLASSES)  # beginnings of names that a run needs only while it goes on


def load_start(model: nn.Module, path: Path, learn: Learn = "all") -> None:
    """Give a network the weights of a file, or its own, changed by a folder of adapters.

    learn  what will learn: where that is the quality alone, its head starts anew, and so does the
           part of SAM-HQ that is not in the file

    Raises InputError for adapters of another model, WeightsError for what does not fit.
    """
    parts, name = cast(Trainee, model).parts, cast(Trainee, model).spec.name
    adapters = None if adapter_folder(path) is None else read_adapters(path)
    if adapters is not None:
        check_base(adapters, name)
    start = trained_weights(path if adapters is None else trainable_weights(name))
    own = model.state_dict()
    if learn == "quality":
        start |= {name: own[name] for name in own if name.startswith(parts.quality)}
    if learn == "hq":  # SAM itself is a start, too: the added part begins anew
        start = {name: own[name] for name in own if name.startswith(parts.hq)} | start
    try:
        load_official(model, start)
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}") from error
    if adapters is not None:
        merge_files(model, adapters)


def trained_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a file of weights by name. Raises WeightsError."""
    state = read_checkpoint(path)
    return {name: tensor for name, tensor in state.items() if not name.startswith(PASSING)}
