"""What a training run leaves on disk: checkpoints that resume exactly, and a log of JSON lines."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from anymask.primitives.errors import WeightsError
from anymask.primitives.storage import whole_file

FORMAT = 1
LAST = "last.pt"
BEFORE = "before.pt"
LOG = "log.jsonl"


@dataclasses.dataclass(eq=False)
class Progress:
    """Where a run stands.

    step     optimiser steps done        images  pictures seen
    hours    of work, over all sittings  skipped steps without a finite gradient
    """

    step: int = 0
    images: int = 0
    hours: float = 0.0
    skipped: int = 0


def save_checkpoint(
    folder: Path,
    model: nn.Module,
    average: nn.Module,
    optimiser: torch.optim.Optimizer,
    progress: Progress,
    recipe: dict[str, Any],
) -> Path:
    """Write `last.pt` in one move; the one before it stays as `before.pt`."""
    state = {
        "format": FORMAT,
        "recipe": recipe,
        "progress": dataclasses.asdict(progress),
        "model": model.state_dict(),
        "average": average.state_dict(),
        "optimiser": optimiser.state_dict(),
    }
    path = folder / LAST
    with whole_file(path) as file:
        torch.save(state, file)
        if path.exists():
            path.replace(folder / BEFORE)
    return path


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
    """The checkpoint to resume from and its content: the last whole one, or None."""
    for name in (LAST, BEFORE):
        path = folder / name
        if path.is_file():
            try:
                return path, read_state(path)
            except WeightsError:
                continue
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
