"""Features of an outline: a mask and its photo in, how well it lies on edges out.

Letters: h w the photo that is looked at.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from anymask.primitives.types import BoolArray, FloatArray

OUTLINE_BAND = 0.12  # of the square root of the area: how far beside the outline is looked at
WEAK_EDGE = 0.2  # of the strength of the photo's clear edges: an outline without an edge


@dataclass(frozen=True, kw_only=True)
class OutlineFeatures:
    """One outline in numbers.

    on_edge         mean strength of the edges under it
    edge_beside     logarithm of that over the strength beside it
    edge_profile    how far from it, of the band, the line along it lies that has the most edges
    bare_rim        share of it without an edge
    bare_stretch    its longest stretch without an edge, as a share
    contrast        distance of the two sides' mean colours, in their spread
    contrast_least  the least contrast among the four quarters of the outline
    at_border       share of it that is the photo's border
    ragged          logarithm of its squared length over the area
    """

    on_edge: float
    edge_beside: float
    edge_profile: float
    bare_rim: float
    bare_stretch: float
    contrast: float
    contrast_least: float
    at_border: float
    ragged: float


def measure_outline(given: BoolArray, lab: FloatArray, edges: FloatArray) -> OutlineFeatures:
    """Compare the outline of a mask (h, w), not empty, with the photo.

    lab    (h, w, 3) the photo in CIE Lab
    edges  (h, w) strength of its edges, about 0..1
    """
    rows, columns = np.flatnonzero(given.any(axis=1)), np.flatnonzero(given.any(axis=0))
    area = int(np.count_nonzero(given))
    reach = max(3.0, OUTLINE_BAND * float(np.sqrt(area)))
    pad = int(reach) + 3
    window = (
        slice(max(rows[0] - pad, 0), rows[-1] + 1 + pad),
        slice(max(columns[0] - pad, 0), columns[-1] + 1 + pad),
    )
    mask, edges, lab = given[window], edges[window], lab[window]
    outside = cv2.distanceTransform((~mask).view(np.uint8), cv2.DIST_L2, 5)
    inside = cv2.distanceTransform(mask.view(np.uint8), cv2.DIST_L2, 5)
    depth = np.where(mask, inside - 0.5, 0.5 - outside)
    on, inner, outer = np.abs(depth) <= 1.5, _between(depth, reach), _between(-depth, reach)
    here, there = _mean(edges, on, 0.0), _mean(edges, inner | outer, 0.0)
    rim = mask_to_rim(given)
    frame = int(given[0].sum() + given[-1].sum() + given[:, 0].sum() + given[:, -1].sum())
    bare, stretch = _measure_bare_rim(edges, rim[window])
    return OutlineFeatures(
        on_edge=here,
        edge_beside=float(np.log((here + 0.05) / (there + 0.05))),
        edge_profile=_profile(edges, depth, reach),
        bare_rim=bare,
        bare_stretch=stretch,
        contrast=_contrast(lab, inner, outer),
        contrast_least=_least_contrast(lab, inner, outer),
        at_border=frame / max(int(rim.sum()) + frame, 1),
        ragged=float(np.log(max(int(rim.sum()), 1) ** 2 / area)),
    )


def _mean(values: FloatArray, where: BoolArray, otherwise: float) -> float:
    return float(values[where].mean()) if where.any() else otherwise


def _profile(edges: FloatArray, depth: NDArray[Any], reach: float) -> float:
    """How far from the outline, of the reach, the line along it lies that has the most edges."""
    steps = np.linspace(-reach, reach, 9)
    near = np.abs(depth) <= reach
    bins = np.clip(np.rint((depth[near] + reach) / (2 * reach) * 8).astype(np.int64), 0, 8)
    totals = np.bincount(bins, edges[near], minlength=9)
    means = totals / np.maximum(np.bincount(bins, minlength=9), 1)
    return float(abs(steps[int(means.argmax())]) / reach)


def _measure_bare_rim(edges: FloatArray, rim: BoolArray) -> tuple[float, float]:
    """The share of the outline without an edge, and its longest stretch without one."""
    total = int(rim.sum())
    if not total:
        return 0.0, 0.0
    weak = rim & (cv2.dilate(edges, np.ones((3, 3))) < WEAK_EDGE)
    _, _, stats, _ = cv2.connectedComponentsWithStats(weak.view(np.uint8), connectivity=8)
    longest = int(stats[1:, cv2.CC_STAT_AREA].max(initial=0))
    return float(weak.sum() / total), longest / total


def _between(depth: NDArray[Any], reach: float) -> BoolArray:
    between: BoolArray = (depth > 1.5) & (depth <= reach)
    return between


def _contrast(lab: FloatArray, inner: BoolArray, outer: BoolArray) -> float:
    """Distance of the mean colours of both sides, in their spread; 0 where a side is missing."""
    if not inner.any() or not outer.any():
        return 0.0
    one, other = lab[inner], lab[outer]
    spread = np.sqrt((one.var(axis=0) + other.var(axis=0)).sum() / 2)
    return float(np.linalg.norm(one.mean(axis=0) - other.mean(axis=0)) / (spread + 5))


def _least_contrast(lab: FloatArray, inner: BoolArray, outer: BoolArray) -> float:
    """The least contrast among the four quarters of the outline, around its middle."""
    y, x = np.nonzero(inner | outer)
    if not len(y):
        return 0.0
    quarter = np.zeros(inner.shape, np.int64)
    quarter[y, x] = 2 * (y > y.mean()) + (x > x.mean())
    parts = [(inner & (quarter == q), outer & (quarter == q)) for q in range(4)]
    known = [_contrast(lab, one, other) for one, other in parts if one.any() and other.any()]
    return min(known, default=0.0)


def mask_to_rim(mask: BoolArray) -> BoolArray:
    """Object pixels with a 4-neighbour outside; the photo's border is no outside."""
    padded = np.pad(mask, 1, mode="edge")
    core = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return mask & ~core
