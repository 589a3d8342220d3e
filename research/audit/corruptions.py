"""Corruptions of masks for the self-test of an audit: a mask and a kind in, a wrong mask out.

    shifted    moved by a quarter of the square root of its area, in a random direction
    dilated    grown by a tenth of the square root of its area
    eroded     shrunk by as much
    halved     cut through its centre in a random direction; one side is left
    merged     one mask with its nearest neighbour, which is gone
    swapped    the mask of another photo, at its place there
    coarse     an outline of few corners

A mask that is drawn twice needs no model to be found, and one that is deleted is found otherwise
(`missing`). What is random is drawn from a generator that the caller gives. Letters: H W the photo.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import cv2
import numpy as np

from anymask.base import BoolArray
from anymask.masks import Polygon, mask_to_box, mask_to_polygons, polygons_to_mask
from anymask.masks.prompts import mask_depth

Corruption = Literal["shifted", "dilated", "eroded", "halved", "merged", "swapped", "coarse"]
CORRUPTIONS: tuple[Corruption, ...] = get_args(Corruption)

CORRUPTION_SHIFT = 0.25  # of the square root of the area
THICKNESS = 0.1  # of the same: how much a mask grows or shrinks
COARSE_TOLERANCE = 0.12  # of the same: how far a coarse outline may lie off


@dataclass(frozen=True, eq=False)
class CorruptedMask:
    """What has become of a mask.

    Attributes:
        mask: Corrupted mask (H, W).
        others: Other masks of the image after the corruption.
    """

    mask: BoolArray
    others: tuple[BoolArray, ...]


def corrupt(
    kind: Corruption,
    mask: BoolArray,
    others: Sequence[BoolArray],
    elsewhere: BoolArray | None,
    rng: np.random.Generator,
) -> CorruptedMask | None:  # (H, W)
    """The mask made wrong, or None where that is impossible or changes nothing.

    Args:
        others: Other masks of the image.
        elsewhere: Mask of another image, of any size, for "swapped".
    """
    around = tuple(others)
    made: BoolArray | None = None
    if kind == "merged":
        return _merge_nearest(mask, around)
    reach = max(1, round(THICKNESS * float(np.sqrt(np.count_nonzero(mask)))))
    if kind == "dilated":
        disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
        made = cv2.dilate(mask.astype(np.uint8), disc) > 0
    elif kind == "eroded":  # by less where nothing would be left
        depth = mask_depth(mask)
        made = depth > min(reach, float(depth.max()) / 2)
    elif kind == "shifted":
        away, angle = CORRUPTION_SHIFT * np.sqrt(mask.sum()), rng.uniform(0, 2 * np.pi)
        # The mask moved; the mask itself where it would leave the photo.
        right = round(away * np.cos(angle))
        down = round(away * np.sin(angle))
        height, width = mask.shape
        moved = np.zeros_like(mask)
        y0, y1 = max(down, 0), min(height + down, height)
        x0, x1 = max(right, 0), min(width + right, width)
        if y0 < y1 and x0 < x1:
            moved[y0:y1, x0:x1] = mask[y0 - down : y1 - down, x0 - right : x1 - right]
        made = moved if moved.any() else mask
    elif kind == "halved":
        made = _cut_in_half(mask, rng.uniform(0, 2 * np.pi))
    elif kind == "coarse":
        tolerance = max(1.5, COARSE_TOLERANCE * float(np.sqrt(mask.sum())))
        rings = [Polygon(one.exterior) for one in mask_to_polygons(mask, tolerance, min_area=4)]
        made = polygons_to_mask(rings, (mask.shape[0], mask.shape[1])) if rings else None
    elif elsewhere is not None:
        width_high, nearest = mask.shape[::-1], cv2.INTER_NEAREST
        made = cv2.resize(elsewhere.astype(np.uint8), width_high, interpolation=nearest) > 0
    if made is None or not made.any() or np.array_equal(made, mask):
        return None
    return CorruptedMask(made, around)


def _cut_in_half(mask: BoolArray, angle: float) -> BoolArray:
    y, x = np.nonzero(mask)
    side = (x - x.mean()) * np.cos(angle) + (y - y.mean()) * np.sin(angle)
    half = np.zeros_like(mask)
    half[y[side >= 0], x[side >= 0]] = True
    return half


def _merge_nearest(mask: BoolArray, others: tuple[BoolArray, ...]) -> CorruptedMask | None:
    boxes = [mask_to_box(other) for other in others]
    own = mask_to_box(mask)
    gaps = [
        float(np.maximum(np.maximum(box[:2] - own[2:], own[:2] - box[2:]), 0).sum())
        for box in boxes
    ]
    fitting = [  # a neighbour of which hardly anything lies in the mask already, and not too small
        n
        for n, other in enumerate(others)
        if (other & ~mask).sum() > 0.3 * mask.sum() and (other & mask).sum() < 0.1 * other.sum()
    ]
    if not fitting:
        return None
    nearest = min(fitting, key=lambda n: gaps[n])
    kept = tuple(other for n, other in enumerate(others) if n != nearest)
    return CorruptedMask(mask | others[nearest], kept)
