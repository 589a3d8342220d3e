"""Convert shapes in files to masks: rings, boxes, stamps and run-lengths along rows.

Readers parse keys and numbers; this module renders the masks. A shape that covers no pixel is an
error of its record.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from anymask.base import DataError, Floats
from anymask.formats.fields import checked_corners, checked_hw
from anymask.masks import (
    MAX_PIXELS,
    Box,
    Mask,
    Polygon,
    Ring,
    Rle,
    crop_to_rle,
    empty_rle,
    polygons_to_mask,
    rle_area,
    runs_to_rle,
)

_LINE = 1e-6  # square pixels that rounding may give to a line


def with_area(rle: Rle, covering: str = "its outline covers") -> Rle:
    """Return the mask unchanged. Raises DataError if it has no pixel.

    Args:
        covering: Subject and verb for the message, such as "its outline covers".
    """
    if not rle_area(rle):
        raise DataError(f"The mask has no area: {covering} no pixel of the image.")
    return rle


def polygons_to_rle(polygons: Sequence[Polygon], image_hw: tuple[int, int]) -> Rle:
    """Return the pixels inside the polygons of a record. Raises DataError if there is none."""
    for polygon in polygons:
        for ring in (polygon.exterior, *polygon.holes):
            checked_corners(ring)
    lines = all(map(_is_line, polygons))
    return with_area(empty_rle(image_hw) if lines else rasterized(polygons, image_hw))


def rasterized(polygons: Sequence[Polygon], image_hw: tuple[int, int]) -> Rle:
    """Return the pixels inside polygons, drawn in their box. Raises DataError for a huge box."""
    if not polygons:
        return empty_rle(image_hw)
    x0, y0, x1, y1 = _box(np.concatenate([polygon.exterior for polygon in polygons]), image_hw)
    moved = [
        Polygon(one.exterior - (x0, y0), tuple(hole - (x0, y0) for hole in one.holes))
        for one in polygons
    ]
    return crop_to_rle(polygons_to_mask(moved, (y1 - y0, x1 - x0)), (x0, y0), image_hw)


def _box(corners: Floats, image_hw: tuple[int, int]) -> tuple[int, int, int, int]:
    """Return the box of corners in the image. Raises DataError above MAX_PIXELS."""
    ends = np.floor(corners.min(axis=0)), np.ceil(corners.max(axis=0))
    x0, y0, x1, y1 = np.clip(ends, 0, image_hw[::-1]).astype(int).reshape(-1).tolist()
    checked_hw(max(y1 - y0, 1), max(x1 - x0, 1), MAX_PIXELS)
    return x0, y0, x1, y1


def ring_to_rle(ring: Floats, image_hw: tuple[int, int], holes: Sequence[Floats] = ()) -> Rle:
    """Return the pixels inside a ring (N, 2), x and y, without its holes. Raises DataError."""
    return polygons_to_rle([Polygon(ring, tuple(holes))], image_hw)


def even_odd_to_rle(rings: Sequence[Ring], image_hw: tuple[int, int]) -> Rle:
    """Return the pixels that an odd number of rings covers; there may be none."""
    if not rings:
        return empty_rle(image_hw)
    x0, y0, x1, y1 = _box(np.concatenate(rings), image_hw)
    frame = box_ring(x0, y0, x1, y1) - (x0, y0)
    inside = Polygon(frame, tuple(ring - (x0, y0) for ring in rings))
    # A ring around the whole window inverts every pixel once.
    window = ~polygons_to_mask([inside], (y1 - y0, x1 - x0))
    return crop_to_rle(window, (x0, y0), image_hw)


def box_ring(x0: float, y0: float, x1: float, y1: float) -> Ring:
    """Return the corners of a box (4, 2), clockwise from the first."""
    return np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]], np.float64)


def _is_line(polygon: Polygon) -> bool:
    """Return whether all corners lie on one line; rounding may give such an outline a pixel."""
    ring = polygon.exterior
    ways = ring - ring[0]
    x, y = ways[np.abs(ways).sum(axis=1).argmax()]
    return bool((np.abs(ways[:, 0] * y - ways[:, 1] * x) < _LINE).all())


def box_to_mask(box: Box, image_hw: tuple[int, int], label: str | None = None) -> Mask | None:
    """Return all pixels that a box touches; `drawn_box` is the box clipped to the image.

    None for a box outside the image. Raises DataError for one without an inside.

    Args:
        box: x0, y0, x1, y1 in pixel-border coordinates; x0 and y0 are inclusive.
    """
    height, width = image_hw
    x0, y0, x1, y1 = box
    if not all(map(math.isfinite, box)) or x1 <= x0 or y1 <= y0:
        raise DataError(
            "The box has no area. Its width and height must be above 0. Given as x0, y0, x1, y1: "
            f"{[*map(float, box)]}."
        )
    cut = (max(0.0, x0), max(0.0, y0), min(float(width), x1), min(float(height), y1))
    if cut[2] <= cut[0] or cut[3] <= cut[1]:
        return None
    columns = np.arange(math.floor(cut[0]), math.ceil(cut[2]), dtype=np.int64)
    starts = columns * height + math.floor(cut[1])
    rle = runs_to_rle(starts, starts + math.ceil(cut[3]) - math.floor(cut[1]), image_hw)
    return Mask(rle, label, drawn_box=cut)
