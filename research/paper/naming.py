"""How often masks get their right name among a set's own labels: the first name, the first five.

Two kinds of masks are named: those that people drew, and the method's own answers to their tight
boxes. All labels of the set that the method knows are the names to choose from; masks of the others
do not count.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np

from anymask.base import InputError, ModelError, OnProgress, UintImage
from anymask.evaluation import tight_box
from anymask.evaluation.protocols import NotMeasured, Segmenter
from anymask.evaluation.results import SetResult, values_to_metric
from anymask.evaluation.selection import EvalSet, EvalSettings
from anymask.masks import Prompt, rle_to_mask
from anymask.models.rules import LabelSuggestion
from research.shared import iterate_images

TOPS = (1, 5)
DRAWN, BOXED = "drawn", "box"


@runtime_checkable
class SuggestsLabels(Protocol):
    """A method that names masks: see `Model.suggest_labels`."""

    def suggest_labels(
        self, image: UintImage, masks: Any, *, names: Sequence[str], top: int
    ) -> list[list[LabelSuggestion]]: ...


def measure_names(
    method: Segmenter, one: EvalSet, settings: EvalSettings, progress: OnProgress
) -> SetResult:
    """Measure one method on one set (a `SetMeasure`).

    Raises NotMeasured for a method that names nothing, and for a set without labels.
    """
    if not isinstance(method, SuggestsLabels):
        raise NotMeasured("it names nothing")
    names = known_labels(method, one)
    places: list[int] = []
    ranks: dict[str, list[int]] = {DRAWN: [], BOXED: []}
    for pixels in iterate_images(method, one, settings, progress):
        masks = [pixels.sample.objects[n] for n in pixels.masks.tolist()]
        masks = [mask for mask in masks if mask.label in names]
        if masks:
            drawn = np.stack([rle_to_mask(mask.rle) for mask in masks])
            labels = [mask.label or "" for mask in masks]
            prompts = [Prompt.of(box=tight_box(mask)) for mask in drawn]
            answers = method.segment(method.encode(pixels.image), prompts=prompts)
            boxed = np.stack([answer.masks[0] for answer in answers])
            for kind, masks_of_kind in ((DRAWN, drawn), (BOXED, boxed)):
                suggested = method.suggest_labels(
                    pixels.image, masks_of_kind, names=names, top=len(names)
                )
                ranks[kind] += [
                    [one.label for one in row].index(label)
                    for row, label in zip(suggested, labels, strict=True)
                ]
            places += [pixels.place] * len(masks)
    image = np.array(places, np.int64)
    figures = tuple(
        values_to_metric(f"top {most}, {kind}", (np.array(found) < most).astype(np.float64), image)
        for kind, found in ranks.items()
        for most in TOPS
    )
    return SetResult(figures=figures, notes=(f"{len(names)} names, {len(places)} masks",))


def known_labels(method: SuggestsLabels, one: EvalSet) -> list[str]:
    """The labels of a set that a method knows. Raises NotMeasured where there are none."""
    labels = sorted({mask.label for sample in one.samples for mask in sample.objects if mask.label})
    blank: UintImage = np.zeros((16, 16, 3), np.uint8)
    known = []
    for label in labels:
        try:
            method.suggest_labels(blank, np.ones((16, 16), np.bool_), names=[label], top=1)
        except InputError:
            continue
        except ModelError as error:
            raise NotMeasured("it names nothing") from error
        known.append(label)
    if not known:
        raise NotMeasured("the set has no labels" if not labels else "it knows none of the labels")
    return known
