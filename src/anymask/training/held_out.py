"""How good a model is on held-out photos, and which weights a fine-tuning ends with.

All weights that a run may end with answer the same held-out masks: those of its last step and those
of its best judgement, each a quarter of the way back to the start and as they are. The first of
these is written, unless a later one is surely better on the mean over the clicks. Of a run on few
photos they lie half of the way back, and the best one is written. The start stays where nothing
gained.

A straight line leads from weights to those that were tuned from them, and a network on it often
answers new pictures better than both ends (Wortsman et al. 2022, "Robust fine-tuning of zero-shot
models", section 3): it keeps more of what the start had learned from many pictures.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from anymask.base import brief
from anymask.evaluation import TruthMask, box_scores, click_rounds
from anymask.masks import ClassOverlaps, rle_to_mask
from anymask.runtime import TorchRuntime
from anymask.segment import Model
from anymask.training.classes import class_masks
from anymask.training.frozen import FrozenOutputs
from anymask.training.trainee import starting_module, trained_module

if TYPE_CHECKING:
    from anymask.base import Floats
    from anymask.formats import AnnotatedImage
    from anymask.segment import Model
    from anymask.training.recipe import Recipe

CLICKS = 3  # on every mask
MASKS_A_PHOTO = 5
ENOUGH_MASKS = 60  # of few photos more masks each are measured, up to so many in all
SAME = 0.005  # difference of IoU that the same weights may show: the last bit moves a pixel
FLIPPED = 0.5  # IoU by which one mask of all may differ: a click falls on the other side of an edge
FEW = 4  # masks, or photos, below which one of them says nothing about the others


@brief
@dataclass(frozen=True)
class Measured:
    """IoU of held-out masks (N, CLICKS) after each click, and each mask's photo and number."""

    ious: np.ndarray
    places: list[tuple[int, int]]

    def means(self) -> list[float]:
        """By clicks."""
        return [round(float(value), 4) for value in self.ious.mean(0)]


@dataclass(frozen=True)
class TuningOutcome:
    """What a fine-tuning brought on the same held-out masks.

    Attributes:
        before: Of the starting weights.
        trained: Of what was learned.
        kept: Of the weights that are written.
        started: Whether those are the starting weights.
    """

    before: Measured
    trained: Measured
    kept: Measured
    started: bool

    def verdict(self) -> str:
        """One sentence where nothing was gained, else ""."""
        if np.array_equal(self.before.ious, self.trained.ious):
            return (
                "No change: the predictions for all held-out masks are the same as before training."
            )
        if gained(self.before, self.trained):
            return ""
        before, after = (float(one.ious.mean()) for one in (self.before, self.trained))
        said = "No improvement: the mean IoU over all clicks is "
        said += f"{after:.3f} after training and {before:.3f} before"
        kept = "starting" if self.started else "trained"
        return (
            f"{said}. The {kept} weights were kept. Label more images, check data.jpg for "
            "incorrect masks, or train fewer parameters with method='head' or "
            "method='decoder'."
        )


def gained(before: Measured, after: Measured) -> bool:
    """Whether held-out masks are answered better than before, over all clicks."""
    return bool(after.ious.mean() > before.ious.mean())


def significantly_better(before: Measured, after: Measured) -> bool:
    """As `gained`, by more than twice the error of the mean."""
    apart = (after.ious - before.ious).mean(1)
    error = apart.std(ddof=1) / np.sqrt(len(apart)) if len(apart) > 1 else np.inf
    return bool(apart.mean() > 2 * error)


def difference(again: Measured, after: Measured) -> float:
    """By how much two measurements differ that should be of the same weights; 0: they do not.

    Products of the same weights may be summed in another order, and the last bit of a logit can
    move a pixel of the edge, and the next click with it. So one mask may differ much, but not the
    usual one.
    """
    if again.ious.shape != after.ious.shape:
        return 1.0
    count = len(after.ious)
    apart = np.abs(again.ious - after.ious)
    mean = float(np.abs((again.ious - after.ious).mean(0)).max())
    usual = float(np.median(apart, axis=0).max()) if count >= FEW else 0.0
    worst = max(mean, usual)
    return worst if mean > max(SAME, FLIPPED / count) or usual > SAME else 0.0


def model_of(module: nn.Module, device: str = "cpu") -> Model:
    """A network in memory as a model that answers."""
    return Model(TorchRuntime(module, device=device))


def class_ious(model: Model, photos: Sequence[AnnotatedImage]) -> dict[str, float | None]:
    """IoU of each class that the model tells apart, over all pixels of the photos."""
    overlaps = ClassOverlaps(model.spec.classes)
    for photo in photos:
        truth = np.zeros(photo.hw, np.uint8)
        for number, mask in enumerate(class_masks(photo, model.spec.classes), start=1):
            truth[mask > 0] = number
        overlaps.add(model.label(photo.picture(model.spec.channels)).numbers, truth)
    return overlaps.ious()


def evenly(photos: Sequence[AnnotatedImage], most: int) -> list[AnnotatedImage]:
    """All photos, or `most` of them at equal distances, so that measuring takes no longer."""
    return (
        [photos[i * len(photos) // most] for i in range(most)] if len(photos) > most else [*photos]
    )


def prompted_masks(photos: Sequence[AnnotatedImage]) -> Iterator[list[TruthMask]]:
    """The first masks of each photo, more where the photos are few; read one photo at a time."""
    most = max(MASKS_A_PHOTO, ENOUGH_MASKS // max(1, len(photos)))
    for photo in photos:
        yield [TruthMask(rle_to_mask(rle)) for rle in photo.rles[:most]]


def measure(model: Model, photos: Sequence[AnnotatedImage], clicks: int = CLICKS) -> Measured:
    """IoU of the first masks of each photo after each click, in the order of the photos."""
    scores, places = [], []
    for number, (photo, truths) in enumerate(zip(photos, prompted_masks(photos), strict=True)):
        seen = model.encode(photo.picture(model.spec.channels))
        scores.append(click_rounds(model, seen, truths, clicks).ious)
        places += [(number, mask) for mask in range(len(truths))]
    return Measured(np.concatenate(scores), places)


def measure_boxes(model: Model, photos: Sequence[AnnotatedImage]) -> Floats:  # (N,)
    """IoU of the masks that `measure` asks for, each by its tight box."""
    scores = []
    for photo, truths in zip(photos, prompted_masks(photos), strict=True):
        seen = model.encode(photo.picture(model.spec.channels))
        scores.append(box_scores(model, seen, truths))
    return np.concatenate(scores)


@torch.no_grad()
def blend(learned: nn.Module, start: nn.Module, share: float) -> nn.Module:
    """`learned` itself, its numbers now `share` of the way from those of `start`.

    What `start` has not, or has in another shape, stays as it was learned; so do whole numbers.

    Args:
        share: 0 to 1: of what was learned; 1 changes nothing.
    """
    old = start.state_dict()
    for name, value in learned.state_dict().items():
        first = old.get(name)
        if first is not None and first.shape == value.shape and value.is_floating_point():
            value.copy_(first.to(value).lerp(value, share))
    return learned


SHARES = (0.75, 1.0)  # of what was learned
FEW_SHARES = (0.5, 1.0)  # the same, from few photos


@dataclass(frozen=True)
class TuningEnd:
    """Weights that a run may end with.

    Attributes:
        judged: Whether they are those of the best judgement, not of the last step.
        share: Of what was learned; the rest is of the start.
    """

    judged: bool = False
    share: float = 1.0

    def in_words(self) -> str:
        """Which weights were written."""
        when = "best validation step" if self.judged else "last step"
        back = (
            f", interpolated {1 - self.share:.0%} towards the starting weights"
            if self.share < 1
            else ""
        )
        return f"Saved weights: {when}{back}"


def choose_end(
    folder: Path,
    recipe: Recipe,
    state: dict[str, Any],
    held: Sequence[AnnotatedImage],
    before: Measured,
    frozen: FrozenOutputs | None = None,
) -> tuple[nn.Module, TuningOutcome, TuningEnd]:
    """The network to write, what it brought, and where it is from: the start if nothing gained.

    Classes are only in what was learned, which is kept then.

    Args:
        state: Of the run's last checkpoint.
        frozen: Outputs that all ends share.
    """
    best: tuple[Measured, TuningEnd] | None = None
    for end in ends_of(recipe, state):  # one network at a time: a large one has gigabytes
        network = network_at(folder, recipe, state, end)
        measured = measure(model_of(network if frozen is None else frozen.attach(network)), held)
        better = gained if recipe.views else significantly_better
        if best is None or better(best[0], measured):
            best = (measured, end)
    assert best is not None  # a run has a last step
    trained, end = best
    if recipe.classes or gained(before, trained):
        module = network_at(folder, recipe, state, end)
        return module, TuningOutcome(before, trained, trained, started=False), end
    kept = measure(model_of(starting_module(folder, recipe)), held)
    outcome = TuningOutcome(before, trained, kept, started=True)
    return starting_module(folder, recipe), outcome, end


def ends_of(recipe: Recipe, state: dict[str, Any]) -> Iterator[TuningEnd]:
    """What a run may end with.

    Adapters, and what is added to a network, are not in the start: there is no way back for them.
    """
    whole = recipe.learn in ("all", "decoder", "neck") and not recipe.classes
    shares = FEW_SHARES if recipe.views else SHARES
    best = state.get("best")
    if recipe.learn == "no-prompt":  # clicks do not tell: all ends answer them alike
        yield TuningEnd(judged=best is not None)
        return
    apart = best is not None and best["step"] not in (0, state["progress"]["step"])
    for judged in (False, True) if apart else (False,):
        for share in shares if whole else (1.0,):
            yield TuningEnd(judged, share)


def network_at(folder: Path, recipe: Recipe, state: dict[str, Any], end: TuningEnd) -> nn.Module:
    """The finished network at one end of a run."""
    learned = trained_module(state_at(state, end))
    return learned if end.share == 1 else blend(learned, starting_module(folder, recipe), end.share)


def state_at(state: dict[str, Any], end: TuningEnd) -> dict[str, Any]:
    """A checkpoint whose averaged weights are those of an end."""
    average = state["best"]["average"] if end.judged else state["average"]
    return state | {"average": average, "best": None}
