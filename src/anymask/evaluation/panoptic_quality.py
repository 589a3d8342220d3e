"""Panoptic quality (PQ, SQ, RQ) of panoptic segmentations.

Kirillov et al., CVPR 2019, evaluated like the official panopticapi (`evaluation.py`):

    - segments of ground truth and result with the same class match if their IoU is above 0.50,
      which is unique; unlabelled pixels of the ground truth (void) are excluded from the union
    - crowds of the ground truth match nothing and are not false negatives
    - an unmatched result is a false positive, unless more than half of it lies on void or on the
      image's (last) crowd of its class
    - for each class PQ = IoUs / (TP + FP / 2 + FN / 2), SQ = IoUs / TP, RQ = PQ / SQ; means are
      over the classes that occur
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anymask.base import DataError, InputError, OnProgress, ProgressBar
from anymask.evaluation.report import Report, Section, TextTable
from anymask.formats import (
    LossReport,
    OnBad,
    PanopticCategory,
    PanopticPicture,
    ReadSettings,
    located,
    read_panoptic,
)

VOID_ID = 0
MATCH_IOU = 0.5


@dataclass(frozen=True)
class PanopticQuality:
    """PQ, SQ and RQ of one class, or their means over `classes` of them; 0 for none."""

    pq: float
    sq: float
    rq: float
    classes: int = 1


@dataclass
class PanopticScores:
    """Sums over all images by class id: IoUs of matches, and numbers of true positives (right),
    false positives (wrong) and false negatives (missed)."""

    categories: Mapping[int, PanopticCategory]
    iou: dict[int, float] = field(default_factory=lambda: defaultdict(float))
    right: Counter[int] = field(default_factory=Counter)
    wrong: Counter[int] = field(default_factory=Counter)
    missed: Counter[int] = field(default_factory=Counter)

    def classes(self, thing: bool | None = None) -> dict[str, PanopticQuality]:
        """Return the quality of every class (or thing, or stuff) that occurs, by name."""
        found = {}
        for number, category in sorted(self.categories.items()):
            bottom = self.right[number] + (self.wrong[number] + self.missed[number]) / 2
            if bottom and thing in (None, category.thing):
                sq = self.iou[number] / self.right[number] if self.right[number] else 0.0
                rq = self.right[number] / bottom
                found[category.name] = PanopticQuality(self.iou[number] / bottom, sq, rq)
        return found

    def mean(self, thing: bool | None = None) -> PanopticQuality:
        """Return the mean over all classes, over things, or over stuff."""
        picked = self.classes(thing).values()
        if not picked:
            return PanopticQuality(0.0, 0.0, 0.0, 0)
        means = np.array([(one.pq, one.sq, one.rq) for one in picked]).mean(axis=0)
        pq, sq, rq = (float(value) for value in means)
        return PanopticQuality(pq, sq, rq, len(picked))


def score_panoptic(
    categories: Mapping[int, PanopticCategory],
    truth: Mapping[int, PanopticPicture],
    results: Mapping[int, PanopticPicture],
    progress: OnProgress | None = None,
    report: LossReport | None = None,
) -> PanopticScores:
    """Compare all images of the ground truth with their results.

    Raises DataError that names the image if its result is missing, has another size, or an unknown
    class.

    Args:
        report: Report of skipped results; all segments of their images are false negatives.
    """
    scores, lost = PanopticScores(categories), LossReport() if report is None else report
    for done, (number, picture) in enumerate(truth.items(), start=1):
        if number not in results and not lost.skipped:
            raise DataError(
                f"The result for the image {number} ({picture.path.name}) is missing. Add it "
                "to the results."
            )
        shared = None
        with located(f"image {number}"):
            drawn = _checked_values(scores, picture)
        with lost.record(f"image {number}"):
            if number in results:
                shared = _shared_areas(drawn, _checked_values(scores, results[number]))
        if shared is None:
            scores.missed.update(one.category for one in picture.segments if not one.crowd)
        else:
            _add(scores, picture, results[number], shared)
        if progress:
            progress(done, len(truth))
    return scores


def _checked_values(scores: PanopticScores, side: PanopticPicture) -> NDArray[Any]:
    """Load the segment numbers of an image, (H, W). Raises DataError for unknown classes."""
    if unknown := [s.category for s in side.segments if s.category not in scores.categories]:
        raise DataError(
            f"The category {unknown[0]} in {side.path.name} does not exist in the ground "
            "truth. Use the category ids of the ground truth."
        )
    return side.values()


def _shared_areas(drawn: NDArray[Any], found: NDArray[Any]) -> dict[tuple[int, int], int]:
    """Count the common pixels of each pair of segments. Raises DataError if sizes differ."""
    if drawn.shape != found.shape:
        raise DataError(
            f"The result has the size (H, W) = {found.shape}, but the ground truth has "
            f"{drawn.shape}. Resize it to the size of the ground truth."
        )
    pairs, counts = np.unique(drawn.astype(np.int64) << 24 | found, return_counts=True)
    rows = zip(pairs.tolist(), counts.tolist(), strict=True)
    return {(pair >> 24, pair & 0xFFFFFF): count for pair, count in rows}


def _add(
    scores: PanopticScores,
    truth: PanopticPicture,
    result: PanopticPicture,
    shared: Mapping[tuple[int, int], int],
) -> None:
    """Match the segments of one image, then count false negatives and false positives."""
    theirs = {segment.number: segment for segment in truth.segments}
    ours = {segment.number: segment for segment in result.segments}
    their_size: Counter[int] = Counter()
    our_size: Counter[int] = Counter()
    for (one, other), area in shared.items():
        their_size[one] += area
        our_size[other] += area

    matched_theirs, matched_ours = set(), set()
    for (one, other), area in shared.items():
        if one not in theirs or other not in ours or theirs[one].crowd:
            continue
        category = theirs[one].category
        union = their_size[one] + our_size[other] - area - shared.get((VOID_ID, other), 0)
        if category == ours[other].category and area / union > MATCH_IOU:
            scores.right[category] += 1
            scores.iou[category] += area / union
            matched_theirs.add(one)
            matched_ours.add(other)

    crowds = {one.category: number for number, one in theirs.items() if one.crowd}
    for number, segment in theirs.items():
        if not segment.crowd and number not in matched_theirs:
            scores.missed[segment.category] += 1
    for number, segment in ours.items():
        if number in matched_ours:
            continue
        excused = shared.get((VOID_ID, number), 0)
        if segment.category in crowds:
            excused += shared.get((crowds[segment.category], number), 0)
        if excused / our_size[number] <= MATCH_IOU:
            scores.wrong[segment.category] += 1


def report_panoptic(results: Path, truth: Path, on_bad: OnBad = "skip") -> Report:
    """Compare two panoptic JSON files, each with its folder of PNGs beside it.

    Raises InputError for a folder, DataError that names file, record and reason.

    Args:
        on_bad: "skip": skip invalid results, whose images count as without a prediction; "error":
            list all of them in an error.
    """
    for path in (truth, results):
        if path.is_dir():
            raise InputError(
                f"{str(path)!r} is a folder. Pass the panoptic JSON file instead. It is usually in "
                "the same directory as the folder of PNG files."
            )
    categories, drawn = read_panoptic(truth)
    lost = LossReport(settings=ReadSettings(on_bad=on_bad))
    _, found = read_panoptic(results, lost)
    if not drawn:
        raise DataError(f"{truth} has no annotations. Choose another file.")
    with ProgressBar("pictures", len(drawn)) as progress:
        scores = score_panoptic(categories, drawn, found, progress.update, lost)
    bad = {loss.place for loss in lost.losses if loss.place.startswith("image ")}
    lost.check_records(results, len(found) - len(bad))
    kinds = {"all": None, "things": True, "stuff": False}
    means = {name: scores.mean(thing=thing) for name, thing in kinds.items()}
    classes = scores.classes()

    def percent(one: PanopticQuality) -> list[str]:
        return [f"{100 * value:.1f}" for value in (one.pq, one.sq, one.rq)]

    def shares(one: PanopticQuality) -> dict[str, float]:
        return {"PQ": one.pq, "SQ": one.sq, "RQ": one.rq}

    tables = [
        TextTable(
            ("", "PQ", "SQ", "RQ", "classes"),
            [[name, *percent(one), str(one.classes)] for name, one in means.items()],
        ),
        TextTable(("class", "PQ", "SQ", "RQ"), [[n, *percent(one)] for n, one in classes.items()]),
    ]
    return Report(
        title=f"{results.name} against {truth.name}",
        about=f"Panoptic quality of {len(drawn)} images",
        sections=[Section(tables=tables)],
        notes=lost.lines(source=results),
        rows=[{"class": name} | shares(one) for name, one in (means | classes).items()],
        data={
            "pictures": len(drawn),
            "skipped": lost.skipped,
            "means": {name: shares(one) | {"classes": one.classes} for name, one in means.items()},
            "classes": {name: shares(one) for name, one in classes.items()},
        },
    )
