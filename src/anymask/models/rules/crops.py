"""Windows around an object: the one of a closer look at a prompt, and the close-up that is named.

A closer look is a window of the photo, x0, y0, x1, y1 in whole pixels, x1 and y1 exclusive; its
answer is brought together with the first one. A close-up is what the network of names
looks at: the object in the middle, `CONTEXT` times as large as the longer side
of its box, and which part of each pixel is object; beyond the photo is gray and no object.

Letters: H W the photo, m the side of low-resolution logits, P clicks, S the side of a close-up.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import cv2
import numpy as np

from anymask.base import BoolArray, FloatArray, UintImage
from anymask.masks import (
    Box,
    CropRefinement,
    Geometry,
    Prompt,
    Rle,
    Window,
    rle_box_xyxy,
    rle_in_window,
    rle_to_mask,
)

SURE = np.float32(12.0)  # logits beyond it are as sure


def object_box(prompt: Prompt, mask: BoolArray) -> Box | None:  # (H, W)
    """What the prompt speaks of, with the first mask where no box says it; None for nothing."""
    boxes = [] if prompt.box is None else [prompt.box]
    if prompt.box is None and mask.any():
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        boxes.append(np.array([columns[0], rows[0], columns[-1], rows[-1]], np.float32))
    if prompt.points is not None and prompt.labels is not None:
        on = prompt.points[prompt.labels == 1]
        boxes += list(np.concatenate([on, on], axis=1))
    if not boxes:
        return None
    corners = np.stack(boxes)
    x0, y0 = corners[:, :2].min(axis=0).tolist()
    x1, y1 = corners[:, 2:].max(axis=0).tolist()
    return (x0, y0, x1, y1)


def closer_window(box: Box, image_hw: tuple[int, int], close: CropRefinement) -> Window | None:
    """A square window around a box of the photo, or None where it shows the box hardly larger.

    The window is moved, not shrunk, when it would leave the photo, and only cut where the photo is
    smaller.
    """
    (height, width), (x0, y0, x1, y1) = image_hw, box
    # One pixel more than the box is long, as it may begin and end inside of pixels.
    side = math.ceil(max(x1 - x0, y1 - y0) * (1 + 2 * close.margin)) + 1
    side = max(side, close.min_side)
    left, right = _around(x0, x1, side, width)
    top, bottom = _around(y0, y1, side, height)
    if max(right - left, bottom - top) * close.gain > max(image_hw):
        return None
    return (left, top, right, bottom)


def _around(low: float, high: float, side: int, length: int) -> tuple[int, int]:
    """A stretch of `side` whole pixels in the middle of which low..high lies, inside 0..length."""
    if side >= length:
        return (0, length)
    middle = math.floor((low + high - side) / 2)
    start = min(max(middle, math.ceil(high) - side), math.floor(low))
    start = min(max(start, 0), length - side)
    return (start, start + side)


def logits_around(
    logits: FloatArray, place: Geometry, window: Window, near: Geometry
) -> FloatArray:  # (m, m) -> (m, m)
    """Logits of a photo where the cells of an answer about a window of it lie.

    Args:
        place: How the logits lie over the photo, and the answer's over the window.
        near: Like `place`.
    """
    side = logits.shape[-1]
    rows = np.zeros((2, 3), np.float32)
    for axis, start in enumerate(window[:2]):
        whole = place.scale_xy[axis] * side / place.side  # cells a photo pixel
        length = window[2 + axis] - start
        cell = length * near.side / (side * near.input_hw[1 - axis])  # photo pixels a cell
        rows[axis, axis] = cell * whole
        rows[axis, 2] = (start + cell / 2) * whole - 0.5
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    read = cv2.warpAffine(logits, rows, (side, side), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(read, np.float32)


def mean_chance(near: FloatArray, far: FloatArray, weight: float) -> FloatArray:
    """Logits above the threshold of both answers -> those of the mean of both probabilities.

    Args:
        weight: Of the answer in the window; the other's is the rest.
    """
    share = np.float32(weight)
    inside, around = (1 / (1 + np.exp(-np.clip(each, -SURE, SURE))) for each in (near, far))
    chance = share * inside + (1 - share) * around
    mean: FloatArray = (np.log(chance) - np.log1p(-chance)).astype(np.float32)
    return mean


SIDE = 248  # pixels of a close-up
CONTEXT = 1.8  # of the mask's longer side
FEWEST = 16  # pixels of the photo along a close-up
BEYOND = 128  # the color outside of the photo


class CloseUp(NamedTuple):
    """photo (S, S, 3) uint8, mask (S, S) uint8: the part of each pixel that is object, 0..255."""

    photo: UintImage
    mask: UintImage

    def alone(self) -> CloseUp:
        """The same with everything outside of the object gray."""
        share = self.mask[..., None].astype(np.float32) / 255
        mixed = self.photo * share + np.float32(BEYOND) * (1 - share)
        return self._replace(photo=np.rint(mixed).astype(np.uint8))


def close_up(
    photo: UintImage, rle: Rle, side: int = SIDE, context: float = CONTEXT
) -> CloseUp:  # (H, W, 3), of (H, W)
    """The square around a mask; of an empty mask that around the photo's first pixel.

    Args:
        photo: Of the mask's size, or a smaller copy.
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
