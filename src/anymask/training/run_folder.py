"""A run's folder: checkpoints that resume exactly, the log, and the bundle of what was learned."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor

from anymask.base import (
    ConfigError,
    InputError,
    ProgressBar,
    WeightsError,
    need_packages,
    whole_file,
)
from anymask.cli import say
from anymask.runtime import licence_of_weights
from anymask.training.recipe import Recipe, recipe_of
from anymask.training.trainee import trained_module

if TYPE_CHECKING:
    from torch import nn

    from anymask.masks import ModelSpec
    from anymask.training.recipe import Recipe

FORMAT = 1
LAST = "last.pt"
BEFORE = "before.pt"
DRAFT = f".{LAST}.part"
LOG = "log.jsonl"
PHOTOS = "photos"  # folder of the decoded photos
KEPT = "step-{:09d}.pt"


@dataclasses.dataclass(eq=False)
class TrainingProgress:
    """Where a run stands.

    Attributes:
        step: Optimiser steps done.
        images: Pictures seen.
        hours: Of work, over all sittings skipped steps without a finite gradient.
        before: Optimiser steps of the run that this one was copied from; images and hours count
            them.
        stale: Measurements on held-out pictures since the best one.
        ended: Whether the run ended before its last step, as nothing was gained any more.
    """

    step: int = 0
    images: int = 0
    hours: float = 0.0
    skipped: int = 0
    before: int = 0
    stale: int = 0
    ended: bool = False

    @property
    def age(self) -> int:
        """Optimiser steps that the weights have seen."""
        return self.step + self.before


def save_checkpoint(
    folder: Path,
    state: dict[str, Any],
    progress: TrainingProgress,
    recipe: dict[str, Any],
    *,
    keep: int = 0,
) -> Path:
    """Write `last.pt` in one move; the one before it stays as `before.pt`.

    Args:
        state: "model", its running "average", "optimiser": their states; "best": "score" on
            held-out pictures, "step" and "average" weights of the best measurement, or None.
        keep: How many of the newest checkpoints stay beside it, as `step-NUMBER.pt`.
    """
    state = {
        "format": FORMAT,
        "recipe": recipe,
        "progress": dataclasses.asdict(progress),
        **state,
    }
    path = folder / LAST
    with whole_file(path) as file:
        torch.save(state, file)
        if path.exists():
            path.replace(folder / BEFORE)
    if keep:
        _keep(path, folder / KEPT.format(progress.step), keep)
    return path


def _keep(path: Path, name: Path, count: int) -> None:
    """The checkpoint under a name of its own, which takes no room of its own; older ones go."""
    name.unlink(missing_ok=True)
    try:
        os.link(path, name)
    except OSError:
        shutil.copyfile(path, name)
    for old in sorted(name.parent.glob(KEPT.replace("{:09d}", "*")))[:-count]:
        old.unlink()


def copy_run(source: Path, folder: Path, recipe: dict[str, Any]) -> None:
    """Begin a run in `folder` with all that another one has learned, which is only read.

    Weights, averaged weights and the optimiser's moments go along; steps are counted anew, as the
    recipe is another. Raises WeightsError where there is no checkpoint, ConfigError for another
    model.
    """
    found = newest_state(source)
    if found is None:
        raise WeightsError(f"{source} contains no checkpoint. Pass the folder of a training run.")
    state = found[1]
    for name in ("model", "learn"):
        theirs = state["recipe"].get(name)
        if theirs != recipe[name]:
            raise ConfigError(
                f"{found[0]} was trained with {name} = {theirs!r}, but the recipe sets "
                f"{recipe[name]!r}. Set the same value to continue from a copy of that run."
            )
    theirs = TrainingProgress(**state["progress"])
    state["progress"] = dataclasses.asdict(
        dataclasses.replace(theirs, step=0, skipped=0, before=theirs.age)
    )
    state["recipe"] = recipe
    with whole_file(folder / LAST) as file:
        torch.save(state, file)


def remove_drafts(folder: Path) -> None:
    """Remove the unfinished checkpoint of a run that was killed; one run works in a folder."""
    for draft in (folder / DRAFT, *folder.glob(f"{LAST}.*.part")):
        draft.unlink(missing_ok=True)


def read_state(path: Path) -> dict[str, Any]:
    """A checkpoint's content. Raises WeightsError for anything that is not one."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise WeightsError(
            f"{path} is not a checkpoint of `anymask train`. Pass {LAST} or {BEFORE} of a run "
            "folder."
        ) from error
    if not isinstance(state, dict) or state.get("format") != FORMAT or "average" not in state:
        raise WeightsError(
            f"{path} is not a checkpoint of `anymask train` in format {FORMAT}. Pass a checkpoint "
            "of this version."
        )
    return state


def newest_state(folder: Path) -> tuple[Path, dict[str, Any]] | None:
    """The newest checkpoint that can be read and its content; None where the run has none yet.

    Raises WeightsError where there are checkpoints and none can be read: a run that began anew
    would write over them.
    """
    paths = [path for path in (folder / LAST, folder / BEFORE) if path.is_file()]
    errors = []
    for path in paths:
        try:
            return path, read_state(path)
        except WeightsError as error:
            errors.append(str(error))
    if errors:
        raise WeightsError(
            f"The run in {folder} cannot be resumed, because none of its checkpoints is readable: "
            f"{'; '.join(errors)}. Replace them with intact copies, or remove them to restart."
        )
    return None


def tensors_hash(tensors: dict[str, Tensor]) -> str:
    """sha256 over names, shapes and values, which does not depend on a file's layout."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        values = tensors[name].detach().cpu().contiguous().numpy()
        digest.update(f"{name}{values.dtype}{values.shape}".encode())
        digest.update(values.tobytes())
    return digest.hexdigest()


def append_log(folder: Path, row: dict[str, Any]) -> None:
    """One JSON line, at once on disk."""
    with (folder / LOG).open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")


EVENTS = "events"  # folder of TensorBoard's files in a run's folder


def check_one_process(command: str) -> None:
    """Raises InputError where torchrun started several, which would all write the same files."""
    count = os.environ.get("WORLD_SIZE", "1")
    if "TORCHELASTIC_RUN_ID" in os.environ and count != "1":
        raise InputError(
            f"`{command}` runs in one process, but torchrun started {count}. Start it without "
            "torchrun. To train with several processes, use `anymask train RECIPE`."
        )


def is_done(folder: Path, steps: int) -> bool:
    """Whether the run's checkpoint is the recipe's last step."""
    found = newest_state(folder)
    return found is not None and (
        int(found[1]["progress"]["step"]) >= steps or bool(found[1]["progress"].get("ended"))
    )


def print_row(row: dict[str, Any]) -> None:
    """One line of progress, on standard error."""
    ious = (
        f"IoU after the first prompt {row['first_iou']:.3f}, after the last {row['last_iou']:.3f}  "
        if "first_iou" in row
        else ""
    )
    loss = f"{row['loss']:.3f}" if "loss" in row else "not finite"
    skipped = f"{row['skipped']} steps skipped  " if row.get("skipped") else ""
    say(
        f"step {row['step']}/{row['steps']}  loss {loss}  {ious}{skipped}"
        f"{row['images_a_second']:.1f} images/s  about {row['minutes_left']:.0f} min left"
    )


class TrainingTeller:
    """Tells how far a training is: rows as lines and, on a terminal, a bar with the time left.

    It travels to the process that learns; only there a bar begins. Raises MissingExtra.

    Args:
        run: The run's folder, where rows are also written for TensorBoard; None: they are not.
    """

    def __init__(self, run: Path | None = None) -> None:
        if run is not None:
            need_packages(("tensorboard",), "tensorboard", "--tensorboard")
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

    def step(self, done: int, total: int | None) -> None:
        """A step is done."""
        if not sys.stderr.isatty():
            return
        if self._bar is None:
            self._bar, self._begun_at = ProgressBar("steps", total), done - 1
        self._bar.update(done, total, free=self._begun_at)
        if done == total:
            self._bar.__exit__(None)


def write_scalars(folder: Path, row: dict[str, Any]) -> None:
    """A row of the log as TensorBoard's events."""
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(folder)) as writer:
        for name, value in row.items():
            if name != "step" and isinstance(value, int | float):
                writer.add_scalar(name, value, int(row["step"]))


def tidy(folder: Path) -> str:
    """Remove what a finished run needs no more: how large its folder is, in words.

    Decoded photos are made anew where a run goes on, and the last checkpoint is enough for that.
    """
    shutil.rmtree(folder / PHOTOS, ignore_errors=True)
    (folder / BEFORE).unlink(missing_ok=True)
    sizes = {path: path.stat().st_size for path in folder.rglob("*") if path.is_file()}
    state = sum(size for path, size in sizes.items() if path.suffix == ".pt")
    return (
        f"Size of {folder}: {sum(sizes.values()) / 1000000.0:.1f} MB, including "
        f"{state / 1000000.0:.1f} MB of checkpoints (.pt), which are needed only to continue "
        "training."
    )


def write_bundle(folder: Path, target: Path) -> None:
    """The run's averaged weights as an ONNX bundle, 16 bits a weight."""
    found = newest_state(folder)
    if found is None:
        raise InputError(f"{folder} contains no checkpoint. Train first, or pass the run folder.")
    state = found[1]
    recipe = recipe_of(dict(state["recipe"]), str(found[0]))
    write_module(trained_module(state), target, licence_of_run(recipe))


def write_module(model: nn.Module, target: Path, licence: str) -> None:
    """A network in memory, which is rounded to 16 bits a weight, as an ONNX bundle."""
    from anymask.training.export_graphs import export_bundle, round_to_half

    round_to_half(model)
    export_bundle(
        model,
        cast("ModelSpec", model.spec),
        target,
        licence=licence,
        weights_hash=tensors_hash(model.state_dict()),
        half=True,
    )


def licence_with_data(recipe: Recipe, known: Iterable[str] = ()) -> str:
    """Of trained weights: that of the weights behind them, and of the data where it is known.

    Raises WeightsError.
    """
    of_data = "; ".join(known)
    return (
        f"{licence_of_run(recipe)}; and the licence of your data{f': {of_data}' if of_data else ''}"
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

    Args:
        word: A file, "shipped" or "" for the published weights.
        seen: Checkpoints on the way, as a run may have gone on from itself.
    """
    path = None if word in ("", "shipped") else Path(word)
    if path is None or path.suffix == ".safetensors" or not path.is_file() or path in seen:
        return licence_of_weights(model, path)
    try:
        recipe = recipe_of(dict(read_state(path)["recipe"]), str(path))
    except WeightsError:  # a checkpoint of others
        return licence_of_weights(model, path)
    return _licence_of(recipe.model, recipe.init, seen | {path})
