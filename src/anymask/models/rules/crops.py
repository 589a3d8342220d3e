"""Windows around an object: crops for refinement, and object crops for the name model.

A refinement crop is a window of the image, x0, y0, x1, y1 in integer pixels, x1 and y1 exclusive;
its prediction is combined with the first one. An object crop is the input of the name model: a
square around the object, `CONTEXT` times the longer side of its box, with the share of the object
in each pixel; the area beyond the image is gray background.

Letters: H W the image, m the side of low-resolution logits, P clicks, S the side of an object crop.
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

CLIP_AT = np.float32(12.0)  # limit of the absolute logits


def object_box(prompt: Prompt, mask: BoolArray) -> Box | None:  # (H, W)
    """Box of the prompt, extended to its clicks; from the first mask without a box prompt."""
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


def crop_window(box: Box, image_hw: tuple[int, int], close: CropRefinement) -> Window | None:
    """Square window around a box of the image, or None if it would hardly enlarge the box.

    At the image border the window is shifted; it is clipped only if the image is smaller.
    """
    (height, width), (x0, y0, x1, y1) = image_hw, box
    # One more pixel than the box length, because it may start and end inside pixels.
    side = math.ceil(max(x1 - x0, y1 - y0) * (1 + 2 * close.margin)) + 1
    side = max(side, close.min_side)
    left, right = _around(x0, x1, side, width)
    top, bottom = _around(y0, y1, side, height)
    if max(right - left, bottom - top) * close.gain > max(image_hw):
        return None
    return (left, top, right, bottom)


def _around(low: float, high: float, side: int, length: int) -> tuple[int, int]:
    """Interval of `side` integer pixels centred on low..high, inside 0..length."""
    if side >= length:
        return (0, length)
    middle = math.floor((low + high - side) / 2)
    start = min(max(middle, math.ceil(high) - side), math.floor(low))
    start = min(max(start, 0), length - side)
    return (start, start + side)


def logits_around(
    logits: FloatArray, place: Geometry, window: Window, near: Geometry
) -> FloatArray:  # (m, m) -> (m, m)
    """Resample logits of the image at the cells of a prediction for a window.

    Args:
        logits: Logits (m, m) of the image.
        place: Position of the image in model space.
        window: The window.
        near: Position of the window in model space.
    """
    side = logits.shape[-1]
    rows = np.zeros((2, 3), np.float32)
    for axis, start in enumerate(window[:2]):
        whole = place.scale_xy[axis] * side / place.side  # cells per image pixel
        length = window[2 + axis] - start
        cell = length * near.side / (side * near.input_hw[1 - axis])  # image pixels per cell
        rows[axis, axis] = cell * whole
        rows[axis, 2] = (start + cell / 2) * whole - 0.5
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    read = cv2.warpAffine(logits, rows, (side, side), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(read, np.float32)


def mean_probability(near: FloatArray, far: FloatArray, weight: float) -> FloatArray:
    """Logit of the weighted mean of two probabilities, all relative to the threshold.

    Args:
        near: Logits from the window.
        far: Logits from the whole image.
        weight: Weight of the window; the other weight is the rest.
    """
    share = np.float32(weight)
    inside, around = (1 / (1 + np.exp(-np.clip(each, -CLIP_AT, CLIP_AT))) for each in (near, far))
    chance = share * inside + (1 - share) * around
    return (np.log(chance) - np.log1p(-chance)).astype(np.float32)


CROP_SIDE = 248  # pixels of an object crop
CONTEXT = 1.8  # side of a crop relative to the mask's longer side
MIN_CROP_SIDE = 16  # minimum side of a crop in image pixels
BEYOND = 128  # gray level outside the image


class CloseUp(NamedTuple):
    """Object crop: image (S, S, 3) uint8, and mask (S, S) uint8, the object's share 0..255."""

    image: UintImage
    mask: UintImage

    def alone(self) -> CloseUp:
        """Crop with everything outside the object gray."""
        share = self.mask[..., None].astype(np.float32) / 255
        mixed = self.image * share + np.float32(BEYOND) * (1 - share)
        return self._replace(image=np.rint(mixed).astype(np.uint8))


def close_up(
    image: UintImage, rle: Rle, side: int = CROP_SIDE, context: float = CONTEXT
) -> CloseUp:  # (H, W, 3), of (H, W)
    """Square crop around a mask; for an empty mask around the image's first pixel.

    Args:
        image: Image (H, W, 3) of the mask's size, or a downscaled copy.
        rle: The mask.
        side: Side of the crop in pixels.
        context: Side of the crop relative to the mask's longer side.
    """
    height, width = rle.size
    x0, y0, x1, y1 = rle_box_xyxy(rle)
    length = max(MIN_CROP_SIDE, round(context * max(x1 + 1 - x0, y1 + 1 - y0)))
    left, top = ((low + high + 1 - length) // 2 for low, high in ((x0, x1), (y0, y1)))
    inside = (max(left, 0), max(top, 0), min(left + length, width), min(top + length, height))
    part = _part(image, inside, (height, width))
    mask = rle_to_mask(rle_in_window(rle, inside)).view(np.uint8) * np.uint8(255)
    edges = [
        round((at - start) * side / length)
        for at, start in zip(inside, (left, top, left, top), strict=True)
    ]
    crop = CloseUp(np.full((side, side, 3), BEYOND, np.uint8), np.zeros((side, side), np.uint8))
    size = (max(1, edges[2] - edges[0]), max(1, edges[3] - edges[1]))
    shrinks = length > side
    for target, source in ((crop.image, part), (crop.mask, mask)):
        drawn = cv2.resize(
            np.ascontiguousarray(source),
            size,
            interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR,
        )
        rows, columns = (slice(at, at + n) for at, n in zip(edges[1::-1], size[::-1], strict=True))
        target[rows, columns] = drawn[: side - rows.start, : side - columns.start]
    return crop


def _part(image: UintImage, inside: Window, hw: tuple[int, int]) -> UintImage:
    """Part of the image in a window of (H, W), at the image's own resolution."""
    shares = (image.shape[1] / hw[1], image.shape[0] / hw[0]) * 2
    left, top, right, bottom = (round(at * share) for at, share in zip(inside, shares, strict=True))
    rows, columns = min(top, image.shape[0] - 1), min(left, image.shape[1] - 1)
    return image[rows : max(bottom, rows + 1), columns : max(right, columns + 1)]
