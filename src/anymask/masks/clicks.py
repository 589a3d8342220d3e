"""Clicks: masks in; grids of points, an object's natural click, the next click on an error out.

A click at (x, y) with whole numbers means the centre of the pixel in column x and row y. Regions
are 8-connected, as in the small-region removal of segment-anything.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from anymask.base import BoolArray, FloatArray, InputError


class Click(NamedTuple):
    """One labelled point: (x, y) in image pixels, 1 on the object, 0 off it."""

    point: tuple[float, float]
    label: int


def point_grid(n: int) -> FloatArray:  # -> (n * n, 2)
    """n by n evenly spaced points in 0..1, row by row, each at its cell's centre.

    Raises InputError when n is less than 1.
    """
    if n < 1:
        raise InputError(f"a grid needs at least 1 point a side; got {n}")
    axis = (np.arange(n, dtype=np.float64) + 0.5) / n
    x, y = np.meshgrid(axis, axis)
    return np.stack([x, y], axis=-1).reshape(-1, 2).astype(np.float32)


def mask_depth(mask: NDArray[Any]) -> FloatArray:  # (H, W) -> (H, W)
    """How far each pixel's centre lies from the nearest one outside; outside is also beyond the
    photo's border. 0 off the mask."""
    padded = np.pad(np.asarray(mask, np.bool_).view(np.uint8), 1)
    depth = cv2.distanceTransform(padded, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.asarray(depth[1:-1, 1:-1], np.float32)


def deepest_pixel(mask: NDArray[Any]) -> tuple[float, tuple[float, float]]:  # (H, W)
    """The largest depth and the (x, y) of the pixel that has it; (0, (0, 0)) of an empty mask.

    The first one in reading order where several are equally deep.
    """
    boolean = np.ascontiguousarray(mask, np.bool_)
    rows, columns = np.flatnonzero(boolean.any(axis=1)), np.flatnonzero(boolean.any(axis=0))
    if not len(rows):
        return 0.0, (0.0, 0.0)
    top, left = rows[0], columns[0]
    depth = mask_depth(boolean[top : rows[-1] + 1, left : columns[-1] + 1])
    y, x = np.unravel_index(int(depth.argmax()), depth.shape)
    return float(depth[y, x]), (float(x + left), float(y + top))


def centre_click(mask: NDArray[Any]) -> tuple[float, float]:  # (H, W) -> (x, y)
    """The object's deepest pixel. Raises InputError on an empty mask."""
    depth, point = deepest_pixel(mask)
    if not depth:
        raise InputError("a click needs an object to land on; got an empty mask; skip this mask")
    return point


def next_click(
    prediction: NDArray[Any], truth: NDArray[Any], *, ignore: NDArray[Any] | None = None
) -> Click | None:  # (H, W), (H, W)
    """The click that a careful user would make next, or None where nothing is wrong.

    The largest 8-connected region of missing (label 1) or surplus (label 0) pixels is taken, the
    missing one when equal, and clicked at its distance-transform centre. Pixels of `ignore` are
    never wrong. (Evaluation protocol of the Segment Anything paper, section 7.1 and appendix.)

    Raises InputError when the shapes differ.
    """
    predicted, wanted = np.asarray(prediction, np.bool_), np.asarray(truth, np.bool_)
    if predicted.shape != wanted.shape:
        raise InputError(
            f"prediction and truth must have one shape; got {predicted.shape} and {wanted.shape}"
        )
    wrong = wanted ^ predicted
    if ignore is not None:
        wrong &= ~np.asarray(ignore, np.bool_)
    rows, columns = np.flatnonzero(wrong.any(axis=1)), np.flatnonzero(wrong.any(axis=0))
    if not len(rows):
        return None
    window = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
    missing, missing_area = _largest_region(wrong[window] & wanted[window])
    surplus, surplus_area = _largest_region(wrong[window] & predicted[window])
    label = int(missing_area >= surplus_area)
    x, y = centre_click(missing if label else surplus)
    return Click((x + float(columns[0]), y + float(rows[0])), label)


def _largest_region(mask: BoolArray) -> tuple[BoolArray, int]:
    """The largest 8-connected region and its area; the first in reading order when equal."""
    if not mask.any():
        return mask, 0
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask.view(np.uint8), connectivity=8)
    areas = stats[1:, cv2.CC_STAT_AREA]
    largest = int(np.argmax(areas))
    return labels == largest + 1, int(areas[largest])


def violated_points(
    mask: NDArray[Any], points: ArrayLike, labels: ArrayLike
) -> tuple[int, ...]:  # (H, W), (P, 2), (P,)
    """Indices of the clicks whose pixel in the mask says otherwise than the label.

    A point belongs to the pixel that holds it, floor(x) and floor(y); points outside the mask
    belong to the nearest border pixel.
    """
    xy = np.asarray(points, np.float64).reshape(-1, 2)
    if not len(xy):
        return ()
    height, width = mask.shape
    columns = np.clip(np.floor(xy[:, 0]), 0, width - 1).astype(np.intp)
    rows = np.clip(np.floor(xy[:, 1]), 0, height - 1).astype(np.intp)
    obeyed = mask[rows, columns].astype(np.bool_) == (np.asarray(labels).reshape(-1) == 1)
    return tuple(int(index) for index in np.flatnonzero(~obeyed))
