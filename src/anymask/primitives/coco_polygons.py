"""Polygons to run-lengths as COCO's own tools do it, pixel for pixel.

COCO, LVIS and their kin state areas and overlaps of masks that pycocotools made from polygons. It
rounds each corner to a fifth of a pixel, walks along the outline one such step at a time and notes
where the way changes its column at the middle of a pixel: there the object begins or ends in that
column. What is right on such a way belongs to the object by this rule and no other, so a data set's
published masks can only be had by walking it too (cocoapi, `rleFrPoly` in maskApi.c, BSD).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anymask.primitives.errors import DataError
from anymask.primitives.rle import Rle, rle_merge, runs_to_rle
from anymask.primitives.types import IntArray

STEPS = 5  # along each side of a pixel
_FURTHEST = 1e6  # pixels from the corner of the picture that a polygon may reach


def coco_polygons_to_rle(rings: Sequence[Any], image_hw: tuple[int, int]) -> Rle:
    """The union of rings, each a flat list [x, y, x, y, ...] of at least three corners.

    Raises DataError that names the ring.
    """
    if not len(rings):
        raise DataError("wanted at least one polygon, got an empty list")
    found = [_ring_to_rle(_corners(ring, number), image_hw) for number, ring in enumerate(rings)]
    return found[0] if len(found) == 1 else rle_merge(found)


def _corners(ring: Any, number: int) -> NDArray[np.float64]:  # -> (n, 2)
    flat = np.asarray(ring, np.float64)
    if flat.ndim != 1 or flat.size < 6 or flat.size % 2:
        raise DataError(f"polygon {number} has {flat.size} numbers; wanted [x, y, x, y, x, y, ...]")
    if not (np.abs(flat) < _FURTHEST).all():
        raise DataError(
            f"polygon {number} has corners that are not finite or lie beyond {_FURTHEST:g} pixels"
        )
    return flat.reshape(-1, 2)


def _ring_to_rle(corners: NDArray[np.float64], image_hw: tuple[int, int]) -> Rle:
    """Every second crossing ends a run; crossings at one place cancel each other."""
    height, width = image_hw
    column, row = _crossings(*_walk(corners), height, width)
    places, counts = np.unique(column * height + row, return_counts=True)
    borders = places[counts % 2 == 1]
    if len(borders) % 2:
        borders = np.append(borders, height * width)
    return runs_to_rle(borders[0::2], borders[1::2], image_hw)


def _walk(corners: NDArray[np.float64]) -> tuple[IntArray, IntArray]:
    """Every step of the way around, u along x and v along y in fifths of a pixel.

    Each edge is walked along its longer side, always towards larger numbers; where the edge itself
    goes the other way, the steps are listed backwards.
    """
    first = (STEPS * corners + 0.5).astype(np.int64)  # rounds towards zero, as C does
    last = np.roll(first, -1, axis=0)
    across, down = np.abs(last - first).T
    flat = across >= down
    backwards = np.where(flat, first[:, 0] > last[:, 0], first[:, 1] > last[:, 1])
    start = np.where(backwards[:, None], last, first)
    end = np.where(backwards[:, None], first, last)
    long = np.maximum(across, down)
    short = np.where(flat, end[:, 1] - start[:, 1], end[:, 0] - start[:, 0])
    slope = short / np.maximum(long, 1)

    edge = np.repeat(np.arange(len(first)), long + 1)
    step = np.arange(len(edge)) - np.repeat(np.cumsum(long + 1) - (long + 1), long + 1)
    step = np.where(backwards[edge], long[edge] - step, step)
    along = step + np.where(flat, start[:, 0], start[:, 1])[edge]
    beside = np.where(flat, start[:, 1], start[:, 0])[edge] + slope[edge] * step + 0.5
    aside = beside.astype(np.int64)
    level = flat[edge]
    return np.where(level, along, aside), np.where(level, aside, along)


def _crossings(u: IntArray, v: IntArray, height: int, width: int) -> tuple[IntArray, IntArray]:
    """Column and row of the first pixel below each crossing of a column's middle."""
    moved = u[1:] != u[:-1]
    left = np.where(u[1:] < u[:-1], u[1:], u[1:] - 1)[moved]
    upper = np.minimum(v[1:], v[:-1])[moved]
    column, rest = np.divmod(left - STEPS // 2, STEPS)
    inside = (rest == 0) & (column >= 0) & (column < width)
    row = np.ceil(np.clip((upper[inside] + 0.5) / STEPS - 0.5, 0, height)).astype(np.int64)
    return column[inside], row
