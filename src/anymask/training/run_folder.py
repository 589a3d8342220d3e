"""Run folders: checkpoints, log and exported bundle of a training run."""

from __future__ import annotations

import contextlib
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

from anymask.base import ConfigError, InputError, ProgressBar, WeightsError, say, whole_file
from anymask.runtime import license_of_weights
from anymask.training.recipe import Recipe, recipe_of
from anymask.training.trainee import trained_module

if TYPE_CHECKING:
    from torch import nn

    from anymask.masks import ModelSpec
    from anymask.training.recipe import Recipe

FORMAT = 1
LAST = "last.pt"
PREVIOUS = "before.pt"
DRAFT = f".{LAST}.part"
LOG = "log.jsonl"
DECODED_FOLDER = "photos"  # folder of decoded images
STEP_CHECKPOINT = "step-{:09d}.pt"


@dataclasses.dataclass(eq=False)
class TrainingProgress:
    """Progress of a run."""

    step: int = 0  # Finished optimizer steps
    images: int = 0  # Processed images
    hours: float = 0.0  # Training time over all sessions
    skipped: int = 0  # Steps without a finite gradient
    # Optimizer steps of the run that this one was copied from; `images` and `hours` include them
    before: int = 0
    stale: int = 0  # Evaluations on held-out images since the best one
    ended: bool = False  # Whether the run ended early because the metric stopped improving

    @property
    def age(self) -> int:
        """Optimizer steps that the weights were trained for."""
        return self.step + self.before


def save_checkpoint(
    folder: Path,
    state: dict[str, Any],
    progress: TrainingProgress,
    recipe: dict[str, Any],
    *,
    keep: int = 0,
) -> Path:
    """Write `last.pt` atomically; the previous one is kept as `before.pt`.

    Args:
        state: States of "model", its "average" and "optimiser"; "best": "score" on held-out images,
            "step" and "average" weights of the best evaluation, or None.
        keep: Number of recent checkpoints to keep as `step-NUMBER.pt`.
    """
    state = {"format": FORMAT, "recipe": recipe, "progress": dataclasses.asdict(progress), **state}
    path = folder / LAST
    with whole_file(path) as file:
        torch.save(state, file)
        if path.exists():
            path.replace(folder / PREVIOUS)
    if keep:
        name = folder / STEP_CHECKPOINT.format(progress.step)
        name.unlink(missing_ok=True)
        try:
            os.link(path, name)
        except OSError:
            shutil.copyfile(path, name)
        for old in sorted(folder.glob(STEP_CHECKPOINT.replace("{:09d}", "*")))[:-keep]:
            old.unlink()
    return path


def copy_run(source: Path, folder: Path, recipe: dict[str, Any]) -> None:
    """Start a run in `folder` from the last state of another run.

    Weights, averaged weights and optimizer state are copied. Steps are counted from zero, because
    the recipe is another one. Raises WeightsError if there is no checkpoint, and ConfigError for
    another model.
    """
    checkpoint = newest_state(source)
    if checkpoint is None:
        raise WeightsError(f"{source} contains no checkpoint. Pass the folder of a training run.")
    state = checkpoint[1]
    for name in ("model", "learn"):
        theirs = state["recipe"].get(name)
        if theirs != recipe[name]:
            raise ConfigError(
                f"{checkpoint[0]} was trained with {name} = {theirs!r}, but the recipe sets "
                f"{recipe[name]!r}. Set the same value to continue from a copy of that run."
            )
    theirs = TrainingProgress(**state.get("progress", {}))
    state["progress"] = dataclasses.asdict(
        dataclasses.replace(theirs, step=0, skipped=0, before=theirs.age)
    )
    state["recipe"] = recipe
    with whole_file(folder / LAST) as file:
        torch.save(state, file)


def remove_drafts(folder: Path) -> None:
    """Delete unfinished checkpoints of a killed run."""
    for draft in (folder / DRAFT, *folder.glob(f"{LAST}.*.part")):
        draft.unlink(missing_ok=True)


def read_state(path: Path) -> dict[str, Any]:
    """Read a checkpoint. Raises WeightsError if it is invalid."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        numbers = dataclasses.asdict(TrainingProgress(**state.get("progress", {}))).values()
        sum(numbers), {**state["recipe"], **state["average"]}  # TypeError for other types
    except Exception as error:
        raise WeightsError(
            f"{path} is not a checkpoint of `anymask train`. Pass {LAST} of a run folder."
        ) from error
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise WeightsError(
            f"{path} is not a checkpoint of `anymask train` in format {FORMAT}. Pass such a file."
        )
    return state


def newest_state(folder: Path) -> tuple[Path, dict[str, Any]] | None:
    """Return path and content of the newest readable checkpoint; None for a new run.

    Raises:
        WeightsError: There are checkpoints but none is readable. A restart would overwrite them.
    """
    errors = []
    for path in (folder / LAST, folder / PREVIOUS):
        try:
            if path.is_file():
                return path, read_state(path)
        except WeightsError as error:
            errors.append(str(error))
    if errors:
        raise WeightsError(
            f"The run in {folder} cannot be resumed, because none of its checkpoints is readable: "
            f"{'; '.join(errors)}. Replace them with intact copies, or remove them to restart."
        )
    return None


def append_log(folder: Path, row: dict[str, Any]) -> None:
    """Append a row to the log as a JSON line."""
    with (folder / LOG).open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")


def check_one_process(command: str) -> None:
    """Raise InputError if torchrun started several processes, which would write the same files."""
    count = os.environ.get("WORLD_SIZE", "1")
    if "TORCHELASTIC_RUN_ID" in os.environ and count != "1":
        raise InputError(
            f"`{command}` runs in one process, but torchrun started {count}. Start it without "
            "torchrun. To train with several processes, use `anymask train RECIPE`."
        )


def is_done(folder: Path, steps: int) -> bool:
    """Return whether the run has reached the last step of the recipe, or ended early."""
    newest = newest_state(folder)
    return newest is not None and (
        int(newest[1]["progress"]["step"]) >= steps or bool(newest[1]["progress"].get("ended"))
    )


def print_row(row: dict[str, Any]) -> None:
    """Print a row of the log to standard error."""
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
    """Report the progress of a training: rows as lines and, on a terminal, a bar.

    It is pickled to the training process, where the bar is created on the first step.
    """

    def __init__(self) -> None:
        self._bar: ProgressBar | None = None
        self._begun_at = 0

    def row(self, row: dict[str, Any]) -> None:
        """Report a row of the log."""
        with contextlib.nullcontext() if self._bar is None else self._bar.silent():
            print_row(row)

    def step(self, done: int, total: int | None) -> None:
        """Report a finished step."""
        if not sys.stderr.isatty():
            return
        if self._bar is None:
            self._bar, self._begun_at = ProgressBar("steps", total), done - 1
        self._bar.update(done, total, free=self._begun_at)
        if done == total:
            self._bar.__exit__(None)


def tidy(folder: Path) -> str:
    """Delete old checkpoints and decoded images of a finished run; describe its folder's size.

    Decoded images can be recreated, and the last checkpoint is sufficient to continue.
    """
    shutil.rmtree(folder / DECODED_FOLDER, ignore_errors=True)
    (folder / PREVIOUS).unlink(missing_ok=True)
    sizes = {path: path.stat().st_size for path in folder.rglob("*") if path.is_file()}
    state = sum(size for path, size in sizes.items() if path.suffix == ".pt")
    return (
        f"Size of {folder}: {sum(sizes.values()) / 1e6:.1f} MB, including "
        f"{state / 1e6:.1f} MB of checkpoints (.pt), which are needed only to continue "
        "training."
    )


def write_bundle(folder: Path, target: Path) -> None:
    """Export the averaged weights of a run as an ONNX bundle with 16-bit weights."""
    checkpoint = newest_state(folder)
    if checkpoint is None:
        raise InputError(f"{folder} contains no checkpoint. Train first, or pass the run folder.")
    recipe = recipe_of(dict(checkpoint[1]["recipe"]), str(checkpoint[0]))
    write_module(trained_module(checkpoint[1]), target, license_of_run(recipe))


def write_module(model: nn.Module, target: Path, licence: str) -> None:
    """Round a model to 16-bit weights in place and export it as an ONNX bundle."""
    from anymask.training.export_graphs import export_bundle, round_to_half

    round_to_half(model)
    tensors = model.state_dict()
    digest = hashlib.sha256()  # of names, shapes and values, independent of the file layout
    for name in sorted(tensors):
        values = tensors[name].detach().cpu().contiguous().numpy()
        digest.update(f"{name}{values.dtype}{values.shape}".encode())
        digest.update(values.tobytes())
    export_bundle(
        model,
        cast("ModelSpec", model.spec),
        target,
        licence=licence,
        weights_hash=digest.hexdigest(),
        variant="half",
    )


def license_with_data(recipe: Recipe, known: Iterable[str] = ()) -> str:
    """Return the licence of trained weights: that of the starting weights and of the data.

    Raises:
        WeightsError: A checkpoint or weights file is invalid.
    """
    of_data = "; ".join(known)
    return (
        f"{license_of_run(recipe)}; and the licence of your data{f': {of_data}' if of_data else ''}"
    )


def license_of_run(recipe: Recipe) -> str:
    """Return the licences of all weights used in a run: starting weights and teacher.

    A network trained from scratch has the licence of its published weights. Raises WeightsError.
    """
    known = [_license_of(recipe.model, recipe.init, frozenset())]
    if recipe.task == "distil":
        known.append(_license_of(recipe.teacher, recipe.teacher_weights, frozenset()))
    return "; ".join(dict.fromkeys(known))


def _license_of(model: str, word: str, visited: frozenset[Path]) -> str:
    """Return the licence of weights that a recipe names, following checkpoints to their start.

    Args:
        word: A file, "shipped" or "" for the published weights.
        visited: Visited checkpoints, because a run may be its own start.
    """
    path = None if word in ("", "shipped") else Path(word)
    if path is None or path.suffix == ".safetensors" or not path.is_file() or path in visited:
        return license_of_weights(model, path)
    try:
        recipe = recipe_of(dict(read_state(path)["recipe"]), str(path))
    except WeightsError:  # a checkpoint of another tool
        return license_of_weights(model, path)
    return _license_of(recipe.model, recipe.init, visited | {path})
