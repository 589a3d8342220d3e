"""The close-up of a mask: a photo and a mask in, the square around it at one size out.

What the network of names (`models/namer.py`) looks at: the object in the middle, `CONTEXT` times as
large as the longer side of its box, and which part of each pixel is object. What lies beyond the
photo is gray and no object.

Letters: H W a photo, S the side of a close-up.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from anymask.primitives.rle import Rle, rle_box_xyxy, rle_to_mask
from anymask.primitives.rle_windows import rle_in_window
from anymask.primitives.tiles import Window
from anymask.primitives.types import UintImage

SIDE = 128  # pixels of a close-up
CONTEXT = 1.4  # of the mask's longer side
FEWEST = 16  # pixels of the photo along a close-up
BEYOND = 128  # the colour outside of the photo


class CloseUp(NamedTuple):
    """photo (S, S, 3) uint8, mask (S, S) uint8: the part of each pixel that is object, 0..255."""

    photo: UintImage
    mask: UintImage


def close_up(
    photo: UintImage, rle: Rle, side: int = SIDE, context: float = CONTEXT
) -> CloseUp:  # (H, W, 3), of (H, W)
    """The square around a mask; of an empty mask that around the photo's first pixel.

    photo  of the mask's size, or a smaller copy
    """
    height, width = rle.size
    x0, y0, x1, y1 = rle_box_xyxy(rle)
    length = max(FEWEST, round(context * max(x1 + 1 - x0, y1 + 1 - y0)))
    left, top = ((low + high + 1 - length) // 2 for low, high in ((x0, x1), (y0, y1)))
    inside = (max(left, 0), max(top, 0), min(left + length, width), min(top + length, height))
    part = _part(photo, inside, (height, width))
    mask = rle_to_mask(rle_in_window(rle, inside)).view(np.uint8) * np.uint8(255)
    edges = [
        round((at - start) * side / length)
        for at, start in zip(inside, (left, top, left, top), strict=True)
    ]
    seen = CloseUp(np.full((side, side, 3), BEYOND, np.uint8), np.zeros((side, side), np.uint8))
    size = (max(1, edges[2] - edges[0]), max(1, edges[3] - edges[1]))
    shrinks = length > side
    for target, source in ((seen.photo, part), (seen.mask, mask)):
        drawn = cv2.resize(
            np.ascontiguousarray(source),
            size,
            interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR,
        )
        rows, columns = (slice(at, at + n) for at, n in zip(edges[1::-1], size[::-1], strict=True))
        target[rows, columns] = drawn[: side - rows.start, : side - columns.start]
    return seen


def _part(photo: UintImage, inside: Window, hw: tuple[int, int]) -> UintImage:
    """The photo in a window of (H, W), in the photo's own pixels."""
    shares = (photo.shape[1] / hw[1], photo.shape[0] / hw[0]) * 2
    left, top, right, bottom = (round(at * share) for at, share in zip(inside, shares, strict=True))
    rows, columns = min(top, photo.shape[0] - 1), min(left, photo.shape[1] - 1)
    return photo[rows : max(bottom, rows + 1), columns : max(right, columns + 1)]
