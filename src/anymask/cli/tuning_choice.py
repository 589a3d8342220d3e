"""Which weights a fine-tuning ends with: its checkpoint and held-out photos in, a network out.

All weights that a run may end with answer the same held-out masks: those of its last step and those
of its best judgement, each a quarter of the way back to the start (`training.blending`) and as they
are. The first of these is written, unless a later one is surely better on the mean over the clicks.
The start stays where nothing gained. One or two held-out photos cannot tell that; then the start
stays only where it is surely better: few labels are worth more than what they say of themselves.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anymask.cli.held_out import (
    Measured,
    TuningOutcome,
    gained,
    measure,
    model_of,
    surely_better,
)
from anymask.cli.tuned_weights import starting_module

if TYPE_CHECKING:
    from torch import nn

    from anymask.data.annotations import AnnotatedImage
    from anymask.training.recipe import Recipe

SHARES = (0.75, 1.0)  # of what was learned


@dataclass(frozen=True)
class TuningEnd:
    """Weights that a run may end with.

    judged  whether they are those of the best judgement, not of the last step
    share   of what was learned; the rest is of the start
    """

    judged: bool = False
    share: float = 1.0

    def in_words(self) -> str:
        """Which weights were written."""
        when = "best judgement" if self.judged else "last step"
        back = f", {1 - self.share:.0%} of the way back to the start" if self.share < 1 else ""
        return f"weights: those of the {when}{back}"


def choose_end(
    folder: Path,
    recipe: Recipe,
    state: dict[str, Any],
    held: Sequence[AnnotatedImage],
    before: Measured,
) -> tuple[nn.Module, TuningOutcome, TuningEnd]:
    """The network to write, what it brought, and where it is from: the start if nothing gained.

    state  of the run's last checkpoint

    Classes are only in what was learned, which is kept then.
    """
    best: tuple[Measured, TuningEnd] | None = None
    for end in ends_of(recipe, state):  # one network at a time: a large one has gigabytes
        measured = measure(model_of(network_at(folder, recipe, state, end)), held)
        if best is None or surely_better(measured, best[0]):
            best = (measured, end)
    assert best is not None  # a run has a last step
    trained, end = best
    if recipe.classes or is_kept(before, trained):
        module = network_at(folder, recipe, state, end)
        return module, TuningOutcome(before, trained, trained, started=False), end
    kept = measure(model_of(starting_module(folder, recipe)), held)
    outcome = TuningOutcome(before, trained, kept, started=True)
    return starting_module(folder, recipe), outcome, end


def is_kept(before: Measured, trained: Measured) -> bool:
    """Whether what was learned is written, not the start."""
    if before.is_of_few:
        return not surely_better(before, trained)
    return gained(before, trained)


def ends_of(recipe: Recipe, state: dict[str, Any]) -> Iterator[TuningEnd]:
    """What a run may end with.

    Adapters, and what is added to a network, are not in the start: there is no way back for them.
    """
    whole = recipe.learn in ("all", "decoder") and not recipe.classes
    best = state.get("best")
    apart = best is not None and best["step"] != state["progress"]["step"]
    for judged in (False, True) if apart else (False,):
        for share in SHARES if whole else (1.0,):
            yield TuningEnd(judged, share)


def network_at(folder: Path, recipe: Recipe, state: dict[str, Any], end: TuningEnd) -> nn.Module:
    """The finished network at one end of a run."""
    from anymask.training.blending import blend
    from anymask.training.trainee import trained_module

    learned = trained_module(state_at(state, end))
    return learned if end.share == 1 else blend(learned, starting_module(folder, recipe), end.share)


def state_at(state: dict[str, Any], end: TuningEnd) -> dict[str, Any]:
    """A checkpoint whose averaged weights are those of an end."""
    average = state["best"]["average"] if end.judged else state["average"]
    return state | {"average": average, "best": None}
