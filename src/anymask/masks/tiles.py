"""Overlapping tiles of an image.

A window is x0, y0, x1, y1 in integer image pixels, x1 and y1 exclusive, inside the image.
"""

from __future__ import annotations

import math
from numbers import Integral
from typing import Literal

from anymask.base import InputError

Window = tuple[int, int, int, int]
Tile = int | Literal["auto"] | None

AUTO_PIXELS = 24_000_000  # larger images are tiled by tile="auto"
AUTO_SIDE = 2048  # side of these tiles
FIELD_TILES = 4  # tiles along the longer side from which images of a field model are tiled
MIN_SIDE = 64


def tile_side(tile: Tile, image_hw: tuple[int, int], trained_side: int | None = None) -> int | None:
    """Side of the tiles in pixels, or None if the image is not tiled.

    Args:
        tile: "auto", None or a size in pixels.
        image_hw: Height and width of the image.
        trained_side: Size in pixels of the images that a model for one field was trained on, which
            finds objects of that scale only. None for other models.

    Raises:
        InputError: `tile` is invalid.
    """
    if tile is None:
        return None
    if tile == "auto" and trained_side is not None:
        return trained_side if max(image_hw) >= FIELD_TILES * trained_side else None
    if tile == "auto":
        return AUTO_SIDE if image_hw[0] * image_hw[1] > AUTO_PIXELS else None
    side: object = tile
    if isinstance(side, bool) or not isinstance(side, Integral) or int(side) < MIN_SIDE:
        raise InputError(
            f'Invalid tile {tile!r}. Use "auto", None or a size of at least {MIN_SIDE} pixels.'
        )
    return int(side) if max(image_hw) > int(side) else None


def smallest_side(image_hw: tuple[int, int], trained_side: int) -> int:
    """Smallest side of the tiles in which a field model searches small objects, in pixels."""
    return trained_side if max(image_hw) > 2 * FIELD_TILES * trained_side else trained_side // 2


def tile_boxes(image_hw: tuple[int, int], side: int, overlap: int = 0) -> list[Window]:
    """Evenly spaced windows of side x side that cover the image, row by row.

    An image smaller than a window has one window, the whole image.

    Args:
        image_hw: Height and width of the image.
        side: Side of the windows in pixels.
        overlap: Minimum number of pixels that neighbours share.

    Raises:
        InputError: The condition 0 <= overlap < side is violated.
    """
    if not 0 <= overlap < side:
        raise InputError(
            f"Invalid tiles: overlap={overlap}, side={side}. Expected 0 <= overlap < side."
        )
    height, width = image_hw
    return [
        (x0, y0, min(x0 + side, width), min(y0 + side, height))
        for y0 in _starts(height, side, overlap)
        for x0 in _starts(width, side, overlap)
    ]


def _starts(length: int, side: int, overlap: int) -> list[int]:
    """First pixels of the fewest windows along one axis; the last one ends at the border."""
    if length <= side:
        return [0]
    count = math.ceil((length - overlap) / (side - overlap))
    return [round(index * (length - side) / (count - 1)) for index in range(count)]
