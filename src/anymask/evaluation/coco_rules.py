"""Matching by the rules of COCO and LVIS: ranked masks and truths in, matches out.

The best ranked mask takes the truth that it overlaps most, if by the threshold; then the next one.
A truth outside the area range, or of a crowd, is ignored: a mask that matches it counts neither
way. Nor does an unmatched mask outside the area range or, in a federated set, one of a class that
was not drawn exhaustively. The rules and their ties follow pycocotools (`cocoeval.py`,
BSD-2-Clause) and lvis-api (`lvis/eval.py`, BSD-2-Clause).

Letters: D ranked masks, G truths, T thresholds of IoU.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from anymask.primitives.rle import Rle, rle_area, rle_intersection
from anymask.primitives.types import BoolArray, Floats, IntArray

IOU_THRESHOLDS: Floats = np.linspace(0.5, 0.95, 10)
AREA_RANGES: dict[str, tuple[float, float]] = {  # in pixels, both ends included
    "all": (0, 1e10),
    "small": (0, 32**2),
    "medium": (32**2, 96**2),
    "large": (96**2, 1e10),
}


@dataclass(frozen=True, eq=False)
class RankedMasks:
    """One photo's masks of one class, best first, and the truths of that class.

    overlap      (D, G) IoU; with a crowd the share of the mask that lies in it
    scores       (D,) falling
    areas        (D,) pixels
    truth_areas  (G,) pixels
    crowd        (G,) truths that are ignored and may be matched many times
    lenient      an unmatched mask is ignored: the class was not drawn exhaustively
    """

    overlap: Floats
    scores: Floats
    areas: IntArray
    truth_areas: IntArray
    crowd: BoolArray
    lenient: bool = False


@dataclass(frozen=True, eq=False)
class Matches:
    """What became of one photo's masks within an area range.

    scores   (D,)
    hit      (T, D) matched with a truth
    ignored  (T, D) counts neither way
    truths   how many truths count
    """

    scores: Floats
    hit: BoolArray
    ignored: BoolArray
    truths: int

    def found(self, most: int | None = None) -> IntArray:
        """Truths that count and are found by the first `most` masks, (T,)."""
        hits: IntArray = (self.hit & ~self.ignored)[:, :most].sum(axis=1, dtype=np.int64)
        return hits


def rank_masks(
    masks: Sequence[Rle],
    scores: Floats,
    truths: Sequence[Rle],
    crowds: Sequence[Rle] = (),
    *,
    most: int,
    lenient: bool = False,
) -> RankedMasks:
    """Sort the masks of one photo and class by score, keep the best `most`, overlap them all."""
    order = np.argsort(-scores, kind="stable")[:most]
    chosen = [masks[int(n)] for n in order]
    everyone = [*truths, *crowds]
    areas = np.array([rle_area(rle) for rle in chosen], np.int64)
    truth_areas = np.array([rle_area(rle) for rle in everyone], np.int64)
    crowd = np.arange(len(everyone)) >= len(truths)
    common = rle_intersection(chosen, everyone)
    union = np.where(crowd, areas[:, None], areas[:, None] + truth_areas - common)
    overlap = common / np.maximum(union, 1)
    return RankedMasks(overlap, scores[order], areas, truth_areas, crowd, lenient)


def match_masks(ranked: RankedMasks, area_range: tuple[float, float]) -> Matches:
    """Match every mask in its rank, at every threshold."""
    low, high = area_range
    outside = (ranked.truth_areas < low) | (ranked.truth_areas > high)
    skipped: BoolArray = ranked.crowd | outside
    least = np.minimum(IOU_THRESHOLDS, 1 - 1e-10)
    shape = len(least), len(ranked.scores)
    hit, ignored = np.zeros(shape, np.bool_), np.zeros(shape, np.bool_)
    open_to = np.ones((len(least), len(skipped)), np.bool_)
    for mask in np.flatnonzero((ranked.overlap >= least[0]).any(axis=1)):
        overlap = ranked.overlap[mask]
        may = open_to & (overlap >= least[:, None])
        best = _last_best(np.where(may & ~skipped, overlap, -1))
        spare = _last_best(np.where(may & skipped, overlap, -1))
        chosen = np.where(best >= 0, best, spare)
        levels = np.flatnonzero(chosen >= 0)
        chosen = chosen[levels]
        hit[levels, mask] = True
        ignored[levels, mask] = skipped[chosen]
        open_to[levels, chosen] = ranked.crowd[chosen]
    off: BoolArray = (ranked.areas < low) | (ranked.areas > high) | ranked.lenient
    return Matches(ranked.scores, hit, ignored | (~hit & off), int((~skipped).sum()))


def _last_best(overlap: Floats) -> IntArray:  # (T, G) -> (T,)
    """The last place of each row's largest value, -1 where all are -1."""
    if not overlap.shape[1]:
        return np.full(len(overlap), -1)
    place = overlap.shape[1] - 1 - overlap[:, ::-1].argmax(axis=1)
    there = overlap.max(axis=1) >= 0
    chosen: IntArray = np.where(there, place, -1)
    return chosen
