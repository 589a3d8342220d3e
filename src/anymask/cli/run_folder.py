"""A training run's folder: its state in, progress rows, completion and a bundle out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from anymask.primitives.errors import InputError


def is_done(folder: Path, steps: int) -> bool:
    """Whether the run's checkpoint is the recipe's last step."""
    from anymask.training.checkpoint import newest_state

    found = newest_state(folder)
    return found is not None and (
        int(found[1]["progress"]["step"]) >= steps or bool(found[1]["progress"].get("ended"))
    )


def print_row(row: dict[str, Any]) -> None:
    """One line of progress."""
    print(
        f"step {row['step']}/{row['steps']}  loss {row['loss']:.3f}  "
        f"iou first {row['first_iou']:.3f} last {row['last_iou']:.3f}  "
        f"{row['images_a_second']:.1f} images/s  about {row['minutes_left']:.0f} min left",
        flush=True,
    )


def write_bundle(folder: Path, target: Path) -> None:
    """The run's averaged weights as an ONNX bundle, 16 bits a weight."""
    from anymask import models
    from anymask.export.graphs import export_bundle
    from anymask.export.halves import round_to_half
    from anymask.training.checkpoint import newest_state, tensors_hash
    from anymask.training.trainee import trained_module

    found = newest_state(folder)
    if found is None:
        raise InputError(f"{folder}: holds no checkpoint; train first, or give the run's folder")
    state = found[1]
    model = trained_module(state)
    round_to_half(model)
    export_bundle(
        model,
        models.spec(state["recipe"]["model"]),
        target,
        licence="Apache-2.0",
        weights_hash=tensors_hash(model.state_dict()),
        half=True,
    )
