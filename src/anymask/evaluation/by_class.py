"""Automatic masks compared with annotations: AP over all, recall and precision by class.

Recall requires no class prediction: the class is that of the annotation, and any mask may match it.
Precision and AP of a class count the masks that a method labeled with it (a model with names, or a
fine-tuned one); they are NaN if no mask has a label.

Masks are matched by pycocotools (extra `evaluate`). Letters: T IoU thresholds, G annotated masks.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from typing import Any

import numpy as np

from anymask.base import Floats, brief
from anymask.evaluation.coco import AREA_RANGES, ComparedPhoto, coco_row, match_all
from anymask.evaluation.metrics import NAN
from anymask.evaluation.results import DetailTable, MetricValue
from anymask.formats import AnnotatedImage
from anymask.masks import UNLABELLED, Mask

HALF = 0  # index of IoU 0.50 among the thresholds
HEADER = ("class", "objects", "AR", "recall .5", "precision .5", "AP", "shown")


@brief
@dataclass(frozen=True)
class ShownPhoto:
    """Image with annotated masks, and the masks that a method predicts."""

    truth: AnnotatedImage
    shown: Sequence[Mask]


def shown_ap(photos: Sequence[ShownPhoto]) -> tuple[MetricValue, MetricValue, DetailTable]:
    """Compute class-agnostic AP and AP50, and a table by class.

    Raises MissingExtra without pycocotools.
    """
    run = _matched(photos, named=False)
    precision = run.eval["precision"][:, :, 0, 0, 0]  # (T, R); -1 without annotations
    values = [precision, precision[HALF]]
    ap, ap50 = (float(one.mean()) if one.min() >= 0 else NAN for one in values)
    table = DetailTable(title="by class", header=HEADER, rows=tuple(_rows(photos, run)))
    return MetricValue(name="AP", value=ap), MetricValue(name="AP50", value=ap50), table


def _matched(photos: Sequence[ShownPhoto], *, named: bool) -> Any:
    """Run `COCOeval` on all images, class-agnostic or by class name."""
    compared = []
    for photo in photos:
        labels = [_class_of(mask) if named else "" for mask in photo.truth.objects]
        truths = [coco_row(m.rle, x) for m, x in zip(photo.truth.objects, labels, strict=True)]
        crowd = photo.truth.ignore
        classes = _classes(photos) if named else [""]
        truths += [coco_row(crowd, x, iscrowd=1) for x in classes if crowd is not None]
        found = [
            coco_row(mask.rle, (mask.label or "") if named else "", score=mask.score)
            for mask in photo.shown
            if not named or mask.label in classes
        ]
        compared.append(ComparedPhoto(photo.truth.hw, truths, found, frozenset(classes)))
    most = max([len(photo.shown) for photo in photos], default=0)
    run = match_all(compared, _classes(photos) if named else [""], max(most, 1))
    with redirect_stdout(io.StringIO()):  # it prints every step
        run.accumulate()
    return run


def _class_of(mask: Mask) -> str:
    return mask.label or UNLABELLED


def _classes(photos: Sequence[ShownPhoto]) -> list[str]:
    return sorted({_class_of(mask) for photo in photos for mask in photo.truth.objects})


def _rows(photos: Sequence[ShownPhoto], run: Any) -> list[tuple[str | float, ...]]:
    """Return a row for each annotated class, from class-agnostic matches and from named masks."""
    found: dict[str, list[Floats]] = {label: [] for label in _classes(photos)}
    for photo, row in zip(photos, run.evalImgs, strict=False):  # area range "all" comes first
        if row is None:
            continue
        order = np.argsort(row["gtIds"])  # ids are in the order of the annotations
        hits = (row["gtMatches"] > 0)[:, order].T  # (G, T)
        for mask, hit in zip(photo.truth.objects, hits, strict=False):  # a crowd comes last
            found[_class_of(mask)].append(hit)
    by_name = _by_name(photos, list(found))
    rows: list[tuple[str | float, ...]] = []
    for label, hits in found.items():
        of_class = np.array(hits, np.float64)  # (objects, T)
        named = by_name.get(label, (NAN, NAN, 0))
        rows.append(
            (label, len(hits), float(of_class.mean()), float(of_class[:, HALF].mean()), *named)
        )
    return rows


def _by_name(
    photos: Sequence[ShownPhoto], classes: Sequence[str]
) -> dict[str, tuple[float, float, int]]:
    """Return precision at IoU 0.50, AP, and number of masks of each predicted class."""
    if not any(mask.label in classes for photo in photos for mask in photo.shown):
        return {}
    run = _matched(photos, named=True)
    answers = {}
    for number, label in enumerate(classes):
        rows = run.evalImgs[number * len(AREA_RANGES) * len(photos) :][: len(photos)]
        there = [row for row in rows if row is not None]
        hit = sum(
            np.count_nonzero((r["dtMatches"] > 0)[HALF] & ~r["dtIgnore"][HALF]) for r in there
        )
        counted = sum(int(np.count_nonzero(~r["dtIgnore"][HALF])) for r in there)
        precision = run.eval["precision"][:, :, number, 0, 0]
        ap = float(precision.mean()) if precision.min() >= 0 else NAN
        answers[label] = (hit / counted if counted else NAN, ap, counted)
    return answers
