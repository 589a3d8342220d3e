"""A training run's folder: its state in, progress rows, completion and a bundle out."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from anymask.primitives.errors import InputError
from anymask.primitives.progress import ProgressBar

if TYPE_CHECKING:
    from anymask.primitives.spec import ModelSpec

EVENTS = "events"  # folder of TensorBoard's files in a run's folder


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
    print(
        f"step {row['step']}/{row['steps']}  loss {row['loss']:.3f}  {ious}"
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
            from anymask.training.tensorboard_events import append_scalars

            append_scalars(self.run / EVENTS, int(row["step"]), row)

    def step(self, done: int, total: int) -> None:
        """A step is done."""
        if not sys.stderr.isatty():
            return
        if self._bar is None:
            self._bar, self._begun_at = ProgressBar("steps", total), done - 1
        self._bar.update(done, total, free=self._begun_at)
        if done == total:
            self._bar.__exit__(None)


def write_bundle(folder: Path, target: Path) -> None:
    """The run's averaged weights as an ONNX bundle, 16 bits a weight."""
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
        cast("ModelSpec", model.spec),
        target,
        licence="Apache-2.0",
        weights_hash=tensors_hash(model.state_dict()),
        half=True,
    )
