"""Segmentation from words: a photo and a phrase in, IoU as PhraseCut counts out.

A question is a photo and a phrase; its truth is every mask of the photo with that label together,
as PhraseCut joins all instances that a phrase refers to (Wu et al., CVPR 2020, section 5):

    cumulative IoU  all intersections over all unions: large objects count more
    mean IoU        each question counts alike
    Pr@0.5 ...      the share of questions whose IoU is at least that
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Protocol, cast

import numpy as np

from anymask.data.annotations import AnnotatedImage
from anymask.evaluation.metrics import sum_by_photo
from anymask.evaluation.protocols import Segmenter
from anymask.evaluation.selection import EvalSet, EvalSettings, OnProgress, iterate_photos
from anymask.evaluation.set_results import (
    NotMeasured,
    SetResult,
    shares_to_metric,
    values_to_metric,
)
from anymask.primitives.errors import InputError
from anymask.primitives.masks import iou
from anymask.primitives.rle import rle_to_mask
from anymask.primitives.types import BoolArray, UintImage

PRECISIONS = (0.5, 0.7, 0.9)


class TextSegmenter(Protocol):
    """A method that finds what words name."""

    def segment_text(self, image: UintImage, phrase: str) -> Any:
        """(H, W, 3) photo and words -> (H, W) bool, all that they name; nothing is all False."""
        ...


def measure_text(
    method: Segmenter, one: EvalSet, settings: EvalSettings, told: OnProgress | None = None
) -> SetResult:
    """Measure one method on one set (a `SetMeasure`).

    Raises NotMeasured for a method that takes no words or a set without labels.
    """
    if not hasattr(method, "segment_text"):
        raise NotMeasured("it takes no words (it has no `segment_text`)")
    finder = cast(TextSegmenter, method)
    rows: list[tuple[int, float, float, float]] = []
    for photo in iterate_photos(method, one, settings, told):
        ignored = np.zeros(photo.sample.hw, np.bool_) if photo.ignore is None else photo.ignore
        for phrase, truth in list_phrases(photo.sample, [int(mask) for mask in photo.masks]):
            mask = _check_mask(finder.segment_text(photo.image, phrase), truth.shape, method)
            both = int(np.count_nonzero(mask & truth & ~ignored))
            either = int(np.count_nonzero((mask | truth) & ~ignored))
            rows.append((photo.place, iou(mask, truth, photo.ignore), both, either))
    if not rows:
        raise NotMeasured(f"{one.plan.name} has no labels")
    table = np.array(rows)
    image, ious = table[:, 0].astype(np.int64), table[:, 1]
    shares = sum_by_photo(image, table[:, 2], table[:, 3])
    shares = replace(shares, count=shares.bottom)  # large objects weigh more over sets, too
    return SetResult(
        figures=(
            shares_to_metric("cumulative IoU", shares),
            values_to_metric("mean IoU", ious, image),
            *(
                values_to_metric(f"Pr@{at}", (ious >= at).astype(np.float64), image)
                for at in PRECISIONS
            ),
        )
    )


def list_phrases(sample: AnnotatedImage, masks: list[int]) -> Iterator[tuple[str, BoolArray]]:
    """Each label among these masks, with all of the photo's masks that have it, joined."""
    for phrase in dict.fromkeys(sample.objects[mask].label for mask in masks):
        if phrase:
            there = [mask.rle for mask in sample.objects if mask.label == phrase]
            yield phrase, np.any([rle_to_mask(rle) for rle in there], axis=0)


def _check_mask(mask: Any, hw: tuple[int, ...], method: Segmenter) -> BoolArray:
    array = np.asarray(mask)
    if array.shape != hw or array.dtype != np.bool_:
        raise InputError(
            f"{method.spec.name}: segment_text must return a bool mask of the photo's size {hw}, "
            f"got {array.shape} {array.dtype}"
        )
    return cast(BoolArray, array)
