"""Fill slices between known masks, and merge the masks of several axes.

Signed distances to the outline, positive inside, are interpolated between two known slices; the
mask is where the result is above 0. Both outlines are aligned by their centers first, so that the
slices in between are not empty for an oblique object. Source of the idea: Raya & Udupa, IEEE TMI
1990 (shape-based interpolation); the alignment of centers is ours.

Letters: D slices along an axis, H W a slice, Z Y X the scan.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import cv2
import numpy as np

from anymask.base import BoolArray, FloatArray, Floats

GAP_FILLED = 2  # maximum number of empty slices to fill between two tracked ones


def fill_slices(
    stack: BoolArray,
    drawn: Sequence[int],
    unsure: Sequence[int],
    way: Literal["auto", "always", "never"],
) -> BoolArray:  # (D, H, W) -> (D, H, W), the same array
    """Fill slices of a stack of masks, in place.

    Args:
        drawn: Prompted slices, in order. They never change.
        unsure: Slices with low-confidence masks.
        way: "always": every slice between two prompted ones. "auto": of those, the empty and
            low-confidence ones, and up to GAP_FILLED empty ones between two masks. "never".
    """
    if way == "never":
        return stack
    full = np.asarray(stack.any(axis=(1, 2)), np.bool_)
    wanted = np.zeros(len(stack), np.bool_)
    for first, last in pairwise(drawn):
        between = range(first + 1, last)
        weak = [way == "always" or not full[index] or index in unsure for index in between]
        wanted[first + 1 : last] = weak
    known = np.flatnonzero(full & ~wanted)
    if way == "auto":
        for first, last in pairwise(known.tolist()):
            if 1 < last - first <= GAP_FILLED + 1:
                wanted[first + 1 : last] = True
    for index in np.flatnonzero(wanted):
        place = int(np.searchsorted(known, index))
        before, after = int(known[place - 1]), int(known[place])
        part = (index - before) / (after - before)
        stack[index] = mix_masks(stack[before], stack[after], float(part))
    return stack


def mix_masks(first: BoolArray, last: BoolArray, part: float) -> BoolArray:  # (H, W), (H, W)
    """Interpolate two non-empty masks, from `part` 0 (first) to 1 (last)."""
    centres = np.stack([_centre(first), _centre(last)])
    middle = (1 - part) * centres[0] + part * centres[1]
    moved = [
        _moved(signed_distance(mask), middle - centre)
        for mask, centre in zip((first, last), centres, strict=True)
    ]
    return np.asarray((1 - part) * moved[0] + part * moved[1] > 0, np.bool_)


def signed_distance(mask: BoolArray) -> FloatArray:  # (H, W) -> (H, W)
    """Distance to the outline in pixels, positive inside. The outline runs between pixels."""
    pixels = np.pad(mask, 1).view(np.uint8)  # objects end at the image border
    inside = cv2.distanceTransform(pixels, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    outside = cv2.distanceTransform(1 - pixels, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    signed = np.where(pixels > 0, inside - 0.5, 0.5 - outside)[1:-1, 1:-1]
    return np.asarray(signed, np.float32)


def _centre(mask: BoolArray) -> Floats:  # -> (2,): x, y
    rows, columns = np.nonzero(mask)
    return np.array([columns.mean(), rows.mean()])


def _moved(distances: FloatArray, step: Floats) -> FloatArray:
    shift = np.array([[1, 0, step[0]], [0, 1, step[1]]], np.float32)
    size = distances.shape[::-1]
    moved = cv2.warpAffine(
        distances, shift, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return np.asarray(moved, np.float32)


@dataclass(frozen=True, eq=False)
class AlongAxis:
    """Result of tracking along one axis: mask (Z, Y, X), and the prompted slices."""

    axis: int
    mask: BoolArray
    prompted: Sequence[int]


def join_axes(parts: Sequence[AlongAxis], spacing: Sequence[float]) -> BoolArray:  # -> (Z, Y, X)
    """Merge the masks of several axes. Each voxel uses the axis with the nearest prompted slice.

    Args:
        parts: At least one. The first one wins ties.
        spacing: Voxel size along z, y, x in mm.
    """
    joined = parts[0].mask.copy()
    nearest = _distances(parts[0], spacing)
    for part in parts[1:]:
        away = _distances(part, spacing)
        np.copyto(joined, part.mask, where=away < nearest)
        nearest = np.minimum(nearest, away)
    return joined


def _distances(part: AlongAxis, spacing: Sequence[float]) -> FloatArray:
    """Distance to the nearest prompted slice of an axis in mm, in a shape to broadcast."""
    places = np.arange(part.mask.shape[part.axis])
    away = np.abs(places[:, None] - np.array(part.prompted)).min(axis=1) * spacing[part.axis]
    shape = [1, 1, 1]
    shape[part.axis] = -1
    return np.asarray(away, np.float32).reshape(shape)
