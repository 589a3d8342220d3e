"""Panoptic quality: panoptic pictures of truth and result in, PQ, SQ and RQ out.

Kirillov et al., CVPR 2019, counted as the official panopticapi counts (`evaluation.py`):

    - a truth and a result of one class match where their IoU is above .5, which no two can; pixels
      that are nobody's in the truth (void) leave the union
    - crowds of the truth match nothing and are not missed
    - a result that matches nothing is wrong, unless more than half of it lies on void or on the
      picture's (last) crowd of its class
    - of each class PQ = IoUs / (TP + FP / 2 + FN / 2), SQ = IoUs / TP, RQ = the rest; means are
      over the classes that occur at all

Letters: H W a picture.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anymask.base import DataError
from anymask.formats import PanopticCategory, PanopticPicture, PanopticSegment, located

VOID_ID = 0
MATCH_IOU = 0.5


@dataclass(frozen=True)
class PanopticQuality:
    """PQ, SQ and RQ of one class, or their means over `classes` of them; 0 where there is none."""

    pq: float
    sq: float
    rq: float
    classes: int = 1


@dataclass
class PanopticCounts:
    """What is summed of one class over all pictures."""

    iou: float = 0.0
    right: int = 0
    wrong: int = 0
    missed: int = 0

    def quality(self) -> PanopticQuality | None:
        """PQ, SQ and RQ; None for a class that does not occur."""
        bottom = self.right + (self.wrong + self.missed) / 2
        if not bottom:
            return None
        sq = self.iou / self.right if self.right else 0.0
        return PanopticQuality(self.iou / bottom, sq, self.right / bottom)


@dataclass
class PanopticScores:
    """The counts of every class by its id."""

    categories: Mapping[int, PanopticCategory]
    counts: dict[int, PanopticCounts] = field(default_factory=dict)

    def of(self, category: int) -> PanopticCounts:
        """The counts of a class."""
        return self.counts.setdefault(category, PanopticCounts())

    def classes(self) -> dict[str, PanopticQuality]:
        """Every class that occurs, by its name."""
        rows = [(category, self.of(number).quality()) for number, category in self._sorted()]
        return {category.name: quality for category, quality in rows if quality is not None}

    def mean(self, thing: bool | None = None) -> PanopticQuality:
        """The mean over all classes, over things, or over stuff."""
        picked = [
            quality
            for number, category in self._sorted()
            if thing in (None, category.thing)
            and (quality := self.of(number).quality()) is not None
        ]
        if not picked:
            return PanopticQuality(0.0, 0.0, 0.0, 0)
        table = np.array([(one.pq, one.sq, one.rq) for one in picked])
        pq, sq, rq = (float(value) for value in table.mean(axis=0))
        return PanopticQuality(pq, sq, rq, len(picked))

    def _sorted(self) -> list[tuple[int, PanopticCategory]]:
        return sorted(self.categories.items())


def score_panoptic(
    categories: Mapping[int, PanopticCategory],
    truth: Mapping[int, PanopticPicture],
    results: Mapping[int, PanopticPicture],
    told: Callable[[int, int], None] | None = None,
) -> PanopticScores:
    """Compare all pictures of the truth with their results.

    Raises DataError that names the picture: without a result, of another size, of a class that the
    truth does not know.
    """
    scores = PanopticScores(categories)
    for done, (number, picture) in enumerate(truth.items(), start=1):
        if number not in results:
            raise DataError(f"there is no result for the image {number} ({picture.path.name})")
        with located(f"image {number}"):
            _add(scores, picture, results[number])
        if told:
            told(done, len(truth))
    return scores


def _add(scores: PanopticScores, truth: PanopticPicture, result: PanopticPicture) -> None:
    for side in (truth, result):
        if unknown := [s.category for s in side.segments if s.category not in scores.categories]:
            raise DataError(f"{side.path.name}: the truth has no category with the id {unknown[0]}")
    drawn, found = truth.values(), result.values()
    if drawn.shape != found.shape:
        raise DataError(f"the result has (H, W) = {found.shape}, the truth {drawn.shape}")
    shared = count_shared_areas(drawn, found)
    theirs = {segment.number: segment for segment in truth.segments}
    ours = {segment.number: segment for segment in result.segments}
    size = _sizes(shared)
    matched: set[tuple[str, int]] = set()
    for (one, other), area in shared.items():
        if one not in theirs or other not in ours or theirs[one].crowd:
            continue
        category = theirs[one].category
        union = size["truth", one] + size["result", other] - area - shared.get((VOID_ID, other), 0)
        if category == ours[other].category and area / union > MATCH_IOU:
            counts = scores.of(category)
            counts.right, counts.iou = counts.right + 1, counts.iou + area / union
            matched |= {("truth", one), ("result", other)}
    _add_unmatched(scores, (theirs, ours), shared, size, matched)


def _add_unmatched(
    scores: PanopticScores,
    sides: tuple[Mapping[int, PanopticSegment], Mapping[int, PanopticSegment]],
    shared: Mapping[tuple[int, int], int],
    size: Mapping[tuple[str, int], int],
    matched: set[tuple[str, int]],
) -> None:
    """Count what was missed, and what is wrong without an excuse; the truth is the first side."""
    theirs, ours = sides
    crowds: dict[int, int] = {}
    for number, segment in theirs.items():
        if segment.crowd:
            crowds[segment.category] = number
        elif ("truth", number) not in matched:
            scores.of(segment.category).missed += 1
    for number, segment in ours.items():
        if ("result", number) in matched:
            continue
        excused = shared.get((VOID_ID, number), 0)
        if segment.category in crowds:
            excused += shared.get((crowds[segment.category], number), 0)
        if excused / size["result", number] <= MATCH_IOU:
            scores.of(segment.category).wrong += 1


def count_shared_areas(
    drawn: NDArray[Any], found: NDArray[Any]
) -> dict[tuple[int, int], int]:  # (H, W), (H, W)
    """Pixels of every pair of a truth's and a result's segment that meet."""
    pairs, counts = np.unique(
        (drawn.astype(np.int64) << 24 | found).reshape(-1), return_counts=True
    )
    rows = zip(pairs.tolist(), counts.tolist(), strict=True)
    return {(pair >> 24, pair & 0xFFFFFF): count for pair, count in rows}


def _sizes(shared: Mapping[tuple[int, int], int]) -> dict[tuple[str, int], int]:
    """The pixels of every segment of the truth and of the result."""
    sizes: dict[tuple[str, int], int] = {}
    for (one, other), area in shared.items():
        for key in (("truth", one), ("result", other)):
            sizes[key] = sizes.get(key, 0) + area
    return sizes
