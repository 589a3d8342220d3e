"""Measuring on held-out photos: a model and annotated photos in, the IoU after each click out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from anymask.evaluation import TruthMask, box_scores, click_rounds
from anymask.masks import ClassOverlaps, rle_to_mask

if TYPE_CHECKING:
    from torch import nn

    from anymask.base import Floats
    from anymask.formats import AnnotatedImage
    from anymask.segment import Model

CLICKS = 3  # on every mask
MASKS_A_PHOTO = 5
ENOUGH_MASKS = 60  # of few photos more masks each are measured, up to so many in all
SAME = 0.005  # difference of IoU that the same weights may show: the last bit moves a pixel
FLIPPED = 0.5  # IoU by which one mask of all may differ: a click falls on the other side of an edge
FEW = 4  # masks, or photos, below which one of them says nothing about the others


@dataclass(frozen=True)
class Measured:
    """IoU of held-out masks (N, CLICKS) after each click, and each mask's photo and number."""

    ious: np.ndarray
    places: list[tuple[int, int]]

    def means(self) -> list[float]:
        """By clicks."""
        return [round(float(value), 4) for value in self.ious.mean(0)]

    @property
    def is_of_few(self) -> bool:
        """Whether the masks are of too few photos to tell what others would be like."""
        return len({photo for photo, _ in self.places}) < FEW


@dataclass(frozen=True)
class TuningOutcome:
    """What a fine-tuning brought on the same held-out masks.

    before   of the starting weights
    trained  of what was learned
    kept     of the weights that are written
    started  whether those are the starting weights
    """

    before: Measured
    trained: Measured
    kept: Measured
    started: bool

    def verdict(self) -> str:
        """One sentence where nothing was gained, else ""."""
        if gained(self.before, self.trained):
            return ""
        before, after = (float(one.ious.mean()) for one in (self.before, self.trained))
        said = "no better than before: mean IoU over the clicks "
        said += f"{before:.3f} before, {after:.3f} after"
        if not self.started and self.before.is_of_few:
            return (
                f"{said}, on too few held-out photos to tell; the trained weights were kept; try "
                "them on other photos, or label more"
            )
        kept = "starting" if self.started else "trained"
        return (
            f"{said}; the {kept} weights were kept; label more photos, look at data.jpg for wrong "
            "masks, or learn less: --way decoder, --way lora"
        )


def gained(before: Measured, after: Measured) -> bool:
    """Whether held-out masks are answered better than before, over all clicks."""
    return bool(after.ious.mean() > before.ious.mean())


def surely_better(one: Measured, other: Measured) -> bool:
    """Whether the same masks are answered better, by more than twice the error of the mean."""
    apart = (one.ious - other.ious).mean(1)
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
    from anymask.runtime import TorchRuntime
    from anymask.segment import Model

    return Model(TorchRuntime(module, "in memory", device=device))


def class_ious(model: Model, photos: Sequence[AnnotatedImage]) -> dict[str, float | None]:
    """IoU of each class that the model tells apart, over all pixels of the photos."""
    from anymask.training.classes import class_masks

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


def asked_masks(photos: Sequence[AnnotatedImage]) -> Iterator[list[TruthMask]]:
    """The first masks of each photo, more where the photos are few; read one photo at a time."""
    most = max(MASKS_A_PHOTO, ENOUGH_MASKS // max(1, len(photos)))
    for photo in photos:
        yield [TruthMask(rle_to_mask(rle)) for rle in photo.rles[:most]]


def measure(model: Model, photos: Sequence[AnnotatedImage], clicks: int = CLICKS) -> Measured:
    """IoU of the first masks of each photo after each click, in the order of the photos."""
    scores, places = [], []
    for number, (photo, truths) in enumerate(zip(photos, asked_masks(photos), strict=True)):
        seen = model.encode(photo.picture(model.spec.channels))
        scores.append(click_rounds(model, seen, truths, clicks).ious)
        places += [(number, mask) for mask in range(len(truths))]
    return Measured(np.concatenate(scores), places)


def measure_boxes(model: Model, photos: Sequence[AnnotatedImage]) -> Floats:  # (N,)
    """IoU of the masks that `measure` asks for, each by its tight box."""
    scores = []
    for photo, truths in zip(photos, asked_masks(photos), strict=True):
        seen = model.encode(photo.picture(model.spec.channels))
        scores.append(box_scores(model, seen, truths))
    return np.concatenate(scores)
