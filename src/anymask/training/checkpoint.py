"""Checkpoints: networks, optimiser and progress of a run in, files that resume exactly out."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from anymask.base import ConfigError, WeightsError, whole_file

FORMAT = 1
LAST = "last.pt"
BEFORE = "before.pt"
DRAFT = f".{LAST}.part"
LOG = "log.jsonl"
KEPT = "step-{:09d}.pt"


@dataclasses.dataclass(eq=False)
class TrainingProgress:
    """Where a run stands.

    step     optimiser steps done        images  pictures seen
    hours    of work, over all sittings  skipped steps without a finite gradient
    before   optimiser steps of the run that this one was copied from; images and hours count them
    stale    measurements on held-out pictures since the best one
    ended    whether the run ended before its last step, as nothing was gained any more
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

    state       "model", its running "average", "optimiser": their states; "best": "score" on
                held-out pictures, "step" and "average" weights of the best measurement, or None
    keep        how many of the newest checkpoints stay beside it, as `step-NUMBER.pt`
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
        raise WeightsError(f"{source}: holds no checkpoint; give --from the folder of a run")
    state = found[1]
    for name in ("model", "learn"):
        theirs = state["recipe"].get(name)
        if theirs != recipe[name]:
            raise ConfigError(
                f"{found[0]} was trained with {name} = {theirs!r}, the recipe says "
                f"{recipe[name]!r}; a copy goes on with the same"
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
            f"{path}: not a checkpoint of `anymask train` ({error}); "
            f"give {LAST} or {BEFORE} of a run's folder"
        ) from error
    if not isinstance(state, dict) or state.get("format") != FORMAT or "average" not in state:
        raise WeightsError(f"{path}: not a checkpoint of `anymask train`, format {FORMAT}")
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
            f"{folder}: none of its checkpoints can be read, so the run cannot go on: "
            f"{'; '.join(errors)}; move them away to begin anew, or put whole ones in place"
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
