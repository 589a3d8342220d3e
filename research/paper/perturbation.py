"""Perturbed prompts: a mask in, a noisy box or a dilated, eroded or shifted mask out.

    noisy box  each edge moved by up to a share of the box's side, as a hurried user draws it (the
               paper trains on boxes with a noise of 10 %, appendix A)
    dilated    the mask grown by a tenth of the square root of its area
    eroded     the mask shrunk by as much; by less where nothing would be left
    shifted    the mask moved by as much, in a random direction

What is random is drawn from the mask itself: the same in every run, alone or among others.
Letters: H W the photo, N masks.
"""

from __future__ import annotations

import zlib
from typing import Any, Literal, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from anymask.base import BoolArray
from anymask.evaluation import tight_box
from anymask.masks import mask_depth

Perturbation = Literal["dilated", "eroded", "shifted"]
PERTURBATIONS: tuple[Perturbation, ...] = get_args(Perturbation)
PERTURBATION_REACH = 0.1


def noisy_box(mask: BoolArray, level: float) -> NDArray[np.float32]:  # (H, W) -> (4,)
    """The tight box with each edge moved by up to `level` of the side, inside the photo.

    It keeps a pixel of width and height.
    """
    box = tight_box(mask)
    sides = np.tile(box[2:] - box[:2], 2)
    moved = box + level * sides * _mask_to_rng(mask).uniform(-1, 1, 4).astype(np.float32)
    height, width = mask.shape
    x0, y0 = np.clip(moved[:2], 0, (width - 1, height - 1))
    x1, y1 = np.clip(moved[2:], (x0 + 1, y0 + 1), (width, height))
    return np.array([x0, y0, x1, y1], np.float32)


def perturb_mask(mask: BoolArray, spoil: Perturbation) -> BoolArray:  # (H, W) -> (H, W)
    """The mask made worse; it is never empty."""
    reach = max(1, round(PERTURBATION_REACH * float(np.sqrt(np.count_nonzero(mask)))))
    if spoil == "dilated":
        return cv2.dilate(mask.astype(np.uint8), _disc(reach)) > 0
    if spoil == "eroded":
        depth = mask_depth(mask)
        kept: BoolArray = depth > min(reach, float(depth.max()) / 2)
        return kept
    angle = _mask_to_rng(mask).uniform(0, 2 * np.pi)
    return shift_mask(mask, round(reach * np.cos(angle)), round(reach * np.sin(angle)))


def shift_mask(mask: BoolArray, right: int, down: int) -> BoolArray:
    """The mask moved; the mask itself where it would leave the photo."""
    height, width = mask.shape
    moved = np.zeros_like(mask)
    y0, y1 = max(down, 0), min(height + down, height)
    x0, x1 = max(right, 0), min(width + right, width)
    if y0 < y1 and x0 < x1:
        moved[y0:y1, x0:x1] = mask[y0 - down : y1 - down, x0 - right : x1 - right]
    return moved if moved.any() else mask


def _disc(reach: int) -> NDArray[Any]:
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))


def _mask_to_rng(mask: BoolArray) -> np.random.Generator:
    return np.random.default_rng(zlib.crc32(np.packbits(mask).tobytes()))
