"""What a method shows by itself against people's masks: AP over all, recall and precision by class.

Recall needs no names: a truth's class says whose it is, and any mask may find it. Precision and AP
of a class count the masks that a method gave this name (a model with names, a tuned one); where no
mask has one they are not known.

The matching is pycocotools' (the extra `evaluate`). Letters: T thresholds of IoU, G truths.
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

HALF = 0  # place of IoU .5 among the thresholds
HEADER = ("class", "objects", "AR", "recall .5", "precision .5", "AP", "shown")


@brief
@dataclass(frozen=True)
class ShownPhoto:
    """One photo with people's masks, and what a method shows on it."""

    truth: AnnotatedImage
    shown: Sequence[Mask]


def shown_ap(photos: Sequence[ShownPhoto]) -> tuple[MetricValue, MetricValue, DetailTable]:
    """AP and AP50 of all masks, all classes alike, and a table by class.

    Raises MissingExtra without pycocotools.
    """
    run = _matched(photos, named=False)
    precision = run.eval["precision"][:, :, 0, 0, 0]  # (T, R); -1 without truths
    values = [precision, precision[HALF]]
    ap, ap50 = (float(one.mean()) if one.min() >= 0 else NAN for one in values)
    table = DetailTable(title="by class", header=HEADER, rows=tuple(_rows(photos, run)))
    return MetricValue(name="AP", value=ap), MetricValue(name="AP50", value=ap50), table


def _matched(photos: Sequence[ShownPhoto], *, named: bool) -> Any:
    """The `COCOeval` of all photos, all classes alike or each by its name."""
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
    with redirect_stdout(io.StringIO()):  # it tells every step
        run.accumulate()
    return run


def _class_of(mask: Mask) -> str:
    return mask.label or UNLABELLED


def _classes(photos: Sequence[ShownPhoto]) -> list[str]:
    return sorted({_class_of(mask) for photo in photos for mask in photo.truth.objects})


def _rows(photos: Sequence[ShownPhoto], run: Any) -> list[tuple[str | float, ...]]:
    """A row for each class of the truth, by the matches of all masks, then by those with a name."""
    found: dict[str, list[Floats]] = {label: [] for label in _classes(photos)}
    for photo, row in zip(photos, run.evalImgs, strict=False):  # those of all areas come first
        if row is None:
            continue
        order = np.argsort(row["gtIds"])  # they are counted in the order of the truths
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
    """Of each class that masks were given: precision at IoU .5, AP, and how many masks."""
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
