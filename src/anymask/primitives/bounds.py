"""Bounds of a mask's stability: low-resolution logits in, least and most stability out.

Every pixel of the photo is a mean of at most 3 x 3 logits around it. Where all of them lie on one
side of a threshold, so does the pixel: pixels between the least and the most are open, and for a
clear mask these are only those along its edge.

Letters: h w low-resolution logits, G groups of pixels along an axis that mean the same logits.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from anymask.primitives.resize import axis_operator
from anymask.primitives.spec import Geometry
from anymask.primitives.types import FloatArray, IntArray

_SLACK = 1e-6  # of the largest logit: what rounding may add to a mean


def stability_range(
    plane: FloatArray, geometry: Geometry, threshold: float, offset: float
) -> tuple[float, float]:  # (h, w)
    """The least and the most stability (see `masks.stability_score`) that the mask may have."""
    low, high = plane, plane
    weights = []
    for axis in (0, 1):
        first, last, count = _groups(plane.shape[axis], geometry, axis)
        low, high = _least(low, first, last, axis), -_least(-high, first, last, axis)
        weights.append(count)
    slack = _SLACK * float(np.abs(plane).max(initial=0))
    inner, outer = threshold + offset, threshold - offset
    least, most = (
        [float(weights[0] @ (logits > cut + sign * slack) @ weights[1]) for cut in (inner, outer)]
        for logits, sign in ((low, 1), (high, -1))
    )
    # What the inner mask lacks, the outer one may lack as well, so each takes its worst case.
    return least[0] / max(most[1], 1), min(1.0, most[0] / max(least[1], 1))


def _least(logits: FloatArray, first: IntArray, last: IntArray, axis: int) -> FloatArray:
    """The minimum of each group's logits along an axis; a group spans three of them at most."""
    ends = np.minimum(np.take(logits, first, axis), np.take(logits, last, axis))
    least: FloatArray = np.minimum(ends, np.take(logits, np.minimum(first + 1, last), axis))
    return least


@lru_cache(maxsize=16)
def _groups(
    length: int, geometry: Geometry, axis: int
) -> tuple[IntArray, IntArray, NDArray[np.float64]]:
    """Along an axis: pixels that begin with the same logit, their last one, and their number."""
    _, first, last = axis_operator(
        length, geometry.side, geometry.input_hw[axis], geometry.image_hw[axis]
    )
    starts, inverse, counts = np.unique(first, return_inverse=True, return_counts=True)
    ends = starts.copy()
    np.maximum.at(ends, inverse, last)
    return starts, ends, counts.astype(np.float64)
