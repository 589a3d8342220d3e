"""Convert COCO polygons to the run-length encodings that pycocotools produces.

COCO, LVIS and related datasets state areas and overlaps of masks that pycocotools made from
polygons. It rounds each corner to a fifth of a pixel, walks along the outline in steps of that size
and records each change of column at the middle of a pixel, where the object begins or ends in that
column. The published masks can only be reproduced by the same walk (cocoapi, `rleFrPoly` in
maskApi.c, BSD).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anymask.base import DataError, IntArray
from anymask.masks.rle import Rle, rle_merge, runs_to_rle

STEPS = 5  # along each side of a pixel
_FURTHEST = 1e6  # maximum distance of a corner from the image, in pixels
_LONGEST = 200_000_000  # maximum number of steps of a polygon, without those far from the image
_AT_ONCE = 1_000_000  # steps held in memory


def coco_polygons_to_rle(rings: Sequence[Any], image_hw: tuple[int, int]) -> Rle:
    """Convert polygons to the run-length encoding of their union.

    Args:
        rings: Polygons, each a flat list [x, y, x, y, ...] of at least three corners.
        image_hw: Height and width of the image.

    Raises:
        DataError: A polygon is invalid. The message contains its index.
    """
    if not len(rings):
        raise DataError("The list of polygons is empty. Expected at least one polygon.")
    found = [_ring_to_rle(_corners(ring, number), image_hw) for number, ring in enumerate(rings)]
    return found[0] if len(found) == 1 else rle_merge(found)


def _corners(ring: Any, number: int) -> NDArray[np.float64]:  # -> (n, 2)
    try:
        flat = np.asarray(ring, np.float64)
        nested = flat.ndim != 1
    except (TypeError, ValueError, OverflowError):
        nested = True
    if nested:
        raise DataError(
            f"Invalid polygon {number}: {str(ring)[:60]}. Expected a flat list of numbers [x, y, "
            "x, y, ...]."
        )
    if flat.size % 2:
        raise DataError(
            f"Odd count of numbers. Polygon {number} has {flat.size}, expected [x, y, x, y, ...]."
        )
    if flat.size < 6:
        raise DataError(
            f"Too few points. Polygon {number} has {flat.size // 2}, expected at least 3."
        )
    if not (np.abs(flat) < _FURTHEST).all():
        raise DataError(
            f"Invalid number. Corners of polygon {number} must be finite numbers of at most "
            f"{_FURTHEST:g} pixels."
        )
    return flat.reshape(-1, 2)


def _ring_to_rle(corners: NDArray[np.float64], image_hw: tuple[int, int]) -> Rle:
    """Every second crossing ends a run; crossings at the same place cancel each other."""
    height, width = image_hw
    first = (STEPS * corners + 0.5).astype(np.int64)  # rounds towards zero, as C does
    last = np.roll(first, -1, axis=0)
    across, down = np.abs(last - first).T
    # Upper bound of the steps of an edge: its columns, and for a steep edge also its rows.
    cost = np.minimum(across // STEPS, width) + np.minimum(down, STEPS * height) + 8 * STEPS
    ends = np.cumsum(cost)
    if ends[-1] > _LONGEST:
        raise DataError(
            f"A polygon of {len(corners)} corners crosses the image in {int(ends[-1])} steps, but "
            f"at most {_LONGEST} are supported. Simplify it."
        )
    level = across >= down
    found = []
    for part in np.split(np.arange(len(first)), np.flatnonzero(np.diff(ends // _AT_ONCE)) + 1):
        flat, steep = part[level[part]], part[~level[part]]
        found.append(_level_crossings(first[flat], last[flat], image_hw))
        found.append(_steep_crossings(first[steep], last[steep], image_hw))
    places, counts = np.unique(np.concatenate(found), return_counts=True)
    borders = places[counts % 2 == 1]
    if len(borders) % 2:
        borders = np.append(borders, height * width)
    return runs_to_rle(borders[0::2], borders[1::2], image_hw)


def _level_crossings(first: IntArray, last: IntArray, image_hw: tuple[int, int]) -> IntArray:
    """Crossings of column centres by edges that are wider than high.

    The walk along such an edge follows x from left to right. Only the two steps beside each
    column's centre are computed.
    """
    turned = first[:, 0] > last[:, 0]
    start, end = np.where(turned[:, None], last, first), np.where(turned[:, None], first, last)
    slope = (end[:, 1] - start[:, 1]) / np.maximum(end[:, 0] - start[:, 0], 1)
    edge, column = _columns_between(start[:, 0], end[:, 0], image_hw[1])
    step = STEPS * column + STEPS // 2 - start[edge, 0]
    rows = [
        (start[edge, 1] + slope[edge] * beside + 0.5).astype(np.int64)
        for beside in (step, step + 1)
    ]
    return _places(column, np.minimum(*rows), image_hw)


def _steep_crossings(first: IntArray, last: IntArray, image_hw: tuple[int, int]) -> IntArray:
    """Crossings of column centres by edges that are higher than wide.

    The walk follows y downwards. Above and below the image, a crossing has the first or last row
    at any step, so only the steps next to the image are computed.
    """
    turned = first[:, 1] > last[:, 1]
    start, end = np.where(turned[:, None], last, first), np.where(turned[:, None], first, last)
    long = end[:, 1] - start[:, 1]
    slope = (end[:, 0] - start[:, 0]) / np.maximum(long, 1)
    top, bottom = -2 * STEPS, STEPS * (image_hw[0] + 2)
    enter, leave = (np.clip(border - start[:, 1], 0, long) for border in (top, bottom))

    def column_at(edge: IntArray, step: IntArray) -> IntArray:
        return np.asarray(start[edge, 0] + slope[edge] * step + 0.5).astype(np.int64)

    every = np.arange(len(first))
    found = []
    for begin, finish, row in ((0 * long, enter, top), (leave, long, bottom)):
        ends = np.sort([column_at(every, begin), column_at(every, finish)], axis=0)
        _, column = _columns_between(ends[0], ends[1], image_hw[1])
        found.append(_places(column, np.full(len(column), row), image_hw))
    edge, step = _list_between(enter, leave)
    u, v = column_at(edge, step), start[edge, 1] + step
    moved = (u[1:] != u[:-1]) & (edge[1:] == edge[:-1])
    column, rest = np.divmod(np.minimum(u[1:], u[:-1])[moved] - STEPS // 2, STEPS)
    inside = (rest == 0) & (column >= 0) & (column < image_hw[1])
    found.append(_places(column[inside], v[:-1][moved][inside], image_hw))
    return np.concatenate(found)


def _columns_between(least: IntArray, most: IntArray, width: int) -> tuple[IntArray, IntArray]:
    """Edge and image column of each column centre between two steps."""
    first = np.maximum(-((STEPS // 2 - least) // STEPS), 0)
    last = np.minimum((most - STEPS // 2 - 1) // STEPS, width - 1)
    return _list_between(first, last)


def _list_between(first: IntArray, last: IntArray) -> tuple[IntArray, IntArray]:
    """Index and value of every integer from `first` to `last`, both inclusive, in order."""
    count = np.maximum(last - first + 1, 0)
    index = np.repeat(np.arange(len(count)), count)
    value = np.arange(len(index)) - np.repeat(np.cumsum(count) - count, count) + first[index]
    return index, value


def _places(column: IntArray, upper: IntArray, image_hw: tuple[int, int]) -> IntArray:
    """Flat index of the first pixel below each crossing; `upper` is v of the higher step."""
    height = image_hw[0]
    row = np.ceil(np.clip((upper + 0.5) / STEPS - 0.5, 0, height)).astype(np.int64)
    return column * height + row
