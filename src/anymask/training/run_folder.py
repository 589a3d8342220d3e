"""A training run's folder: its state in, progress rows, completion and a bundle out."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from anymask.base import InputError, MissingExtra, ProgressBar, WeightsError

if TYPE_CHECKING:
    from torch import nn

    from anymask.masks import ModelSpec
    from anymask.training.recipe import Recipe

EVENTS = "events"  # folder of TensorBoard's files in a run's folder


def check_one_process(command: str) -> None:
    """Raises InputError where torchrun started several, which would all write the same files."""
    count = os.environ.get("WORLD_SIZE", "1")
    if "TORCHELASTIC_RUN_ID" in os.environ and count != "1":
        raise InputError(
            f"`{command}` is one process, and torchrun started {count}; start it without torchrun "
            "(several processes train by a recipe: `anymask train RECIPE`)"
        )


def is_done(folder: Path, steps: int) -> bool:
    """Whether the run's checkpoint is the recipe's last step."""
    from anymask.training.checkpoint import newest_state

    found = newest_state(folder)
    return found is not None and (
        int(found[1]["progress"]["step"]) >= steps or bool(found[1]["progress"].get("ended"))
    )


def print_row(row: dict[str, Any]) -> None:
    """One line of progress."""
    ious = (
        f"iou first {row['first_iou']:.3f} last {row['last_iou']:.3f}  "
        if "first_iou" in row
        else ""
    )
    loss = f"{row['loss']:.3f}" if "loss" in row else "not finite"
    skipped = f"{row['skipped']} steps skipped  " if row.get("skipped") else ""
    print(
        f"step {row['step']}/{row['steps']}  loss {loss}  {ious}{skipped}"
        f"{row['images_a_second']:.1f} images/s  about {row['minutes_left']:.0f} min left",
        flush=True,
    )


class TrainingTeller:
    """Tells how far a training is: rows as lines and, on a terminal, a bar with the time left.

    run  the run's folder, where rows are also written for TensorBoard; None: they are not

    It travels to the process that learns; only there a bar begins.
    """

    def __init__(self, run: Path | None = None) -> None:
        self.run = run
        self._bar: ProgressBar | None = None
        self._begun_at = 0

    def row(self, row: dict[str, Any]) -> None:
        """A row of the log."""
        if self._bar is None:
            print_row(row)
        else:
            with self._bar.silent():
                print_row(row)
        if self.run is not None:
            write_scalars(self.run / EVENTS, row)

    def step(self, done: int, total: int) -> None:
        """A step is done."""
        if not sys.stderr.isatty():
            return
        if self._bar is None:
            self._bar, self._begun_at = ProgressBar("steps", total), done - 1
        self._bar.update(done, total, free=self._begun_at)
        if done == total:
            self._bar.__exit__(None)


def write_scalars(folder: Path, row: dict[str, Any]) -> None:
    """A row of the log as TensorBoard's events. Raises MissingExtra without tensorboard."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise MissingExtra("tensorboard", "tensorboard", "--tensorboard") from None
    with SummaryWriter(str(folder)) as writer:
        for name, value in row.items():
            if name != "step" and isinstance(value, int | float):
                writer.add_scalar(name, value, int(row["step"]))


def write_bundle(folder: Path, target: Path) -> None:
    """The run's averaged weights as an ONNX bundle, 16 bits a weight."""
    from anymask.training.checkpoint import newest_state
    from anymask.training.recipe import recipe_of
    from anymask.training.trainee import trained_module

    found = newest_state(folder)
    if found is None:
        raise InputError(f"{folder}: holds no checkpoint; train first, or give the run's folder")
    state = found[1]
    recipe = recipe_of(dict(state["recipe"]), str(found[0]))
    write_module(trained_module(state), target, licence_of_run(recipe))


def write_module(model: nn.Module, target: Path, licence: str) -> None:
    """A network in memory, which is rounded to 16 bits a weight, as an ONNX bundle."""
    from anymask.training.checkpoint import tensors_hash
    from anymask.training.export_graphs import export_bundle
    from anymask.training.export_optimise import round_to_half

    round_to_half(model)
    export_bundle(
        model,
        cast("ModelSpec", model.spec),
        target,
        licence=licence,
        weights_hash=tensors_hash(model.state_dict()),
        half=True,
    )


def licence_of_run(recipe: Recipe) -> str:
    """The licences of all weights that a run learned from: those it started with, its teachers'.

    A network that started from nothing counts as its published weights do. Raises WeightsError.
    """
    known = [_licence_of(recipe.model, recipe.init, frozenset())]
    if recipe.task == "distil":
        known.append(_licence_of(recipe.teacher, recipe.teacher_weights, frozenset()))
    return "; ".join(dict.fromkeys(known))


def _licence_of(model: str, word: str, seen: frozenset[Path]) -> str:
    """Of the weights that a recipe names; a run's checkpoint leads to what that run started from.

    word  a file, "shipped" or "" for the published weights
    seen  checkpoints on the way, as a run may have gone on from itself
    """
    from anymask.runtime import licence_of_weights
    from anymask.training.checkpoint import read_state
    from anymask.training.recipe import recipe_of

    path = None if word in ("", "shipped") else Path(word)
    if path is None or path.suffix == ".safetensors" or not path.is_file() or path in seen:
        return licence_of_weights(model, path)
    try:
        recipe = recipe_of(dict(read_state(path)["recipe"]), str(path))
    except WeightsError:  # a checkpoint of others
        return licence_of_weights(model, path)
    return _licence_of(recipe.model, recipe.init, seen | {path})
