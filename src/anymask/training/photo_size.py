"""Photos that are larger than training can use: sizes in, smaller photos and masks out.

The smallest part of a photo that a training picture shows decides: where even that is made smaller,
it can be as well in a smaller photo, which is cut, turned and coloured in a fraction of the time. A
photo of a telephone has ten times the pixels that `nano` learns from.

Letters: H W the photo, h w what is kept of it.
"""

from __future__ import annotations

import math

import cv2
import numpy as np

from anymask.data.annotations import AnnotatedImage
from anymask.primitives.rle import Rle, mask_to_rle, rle_area, rle_merge, rle_to_mask
from anymask.primitives.spec import ModelSpec
from anymask.primitives.types import UintImage
from anymask.training.augment import FINEST_AT_SCALE, FINEST_CROP, resize_planes
from anymask.training.recipe import Recipe

SMALLEST = 16  # pixels of a mask, at the training size, that is worth a prompt


def largest_side(recipe: Recipe) -> int:
    """Pixels of the recipe's largest training pictures; 0 where it has no stages, as where its
    photos are not learned from by clicks."""
    return max((side for stage in recipe.stages for side in (stage.side, *stage.sides)), default=0)


def enough(recipe: Recipe) -> int:
    """Pixels of a photo's shorter side that training can use, at most; 0: any number."""
    return math.ceil(largest_side(recipe) / FINEST_CROP)


def kept_hw(hw: tuple[int, int], shorter: int) -> tuple[int, int]:
    """(H, W) -> (h, w), whose shorter side is at most so many pixels; 0: any."""
    if not shorter or min(hw) <= shorter:
        return hw
    height, width = (max(1, round(side * shorter / min(hw))) for side in hw)
    return height, width


def shrunk(image: UintImage, hw: tuple[int, int]) -> UintImage:  # (H, W, C) -> (h, w, C)
    """The picture at a smaller size, or itself at its own."""
    if image.shape[:2] == hw:
        return image
    return resize_planes(image, hw, cv2.INTER_AREA)


def is_seen(image: AnnotatedImage, recipe: Recipe, spec: ModelSpec) -> bool:
    """Whether some mask of a photo can be large enough in a training picture to be learned from.

    Half of what is wanted is enough: edges are rounded. Of a recipe without stages all can be.
    """
    side = largest_side(recipe)
    if not side:
        return True
    scale = side / (FINEST_CROP * min(image.hw))
    if recipe.at_scale and side < spec.image_side:
        scale = max(scale, FINEST_AT_SCALE * spec.image_side / max(image.hw))
    return any(rle_area(rle) * scale**2 >= SMALLEST / 2 for rle in image.rles)


class SmallMasks:
    """Masks of photos in the size in which these are kept; each is made smaller once."""

    def __init__(self) -> None:
        self._small: dict[tuple[str, int | str], Rle] = {}

    def of_object(
        self, image: AnnotatedImage, number: int, hw: tuple[int, int]
    ) -> UintImage:  # -> (h, w) 0, 1
        """The mask of one of the photo's objects."""
        return self._at(hw, (str(image.source), number), (image.rles[number],))

    def of_objects(
        self, image: AnnotatedImage, word: str, numbers: list[int], hw: tuple[int, int]
    ) -> UintImage:  # -> (h, w) 0, 1
        """The mask of several of the photo's objects together, which `word` names."""
        if not numbers:
            return np.zeros(hw, np.uint8)
        return self._at(hw, (str(image.source), word), [image.rles[one] for one in numbers])

    def _at(
        self, hw: tuple[int, int], key: tuple[str, int | str], rles: list[Rle] | tuple[Rle, ...]
    ) -> UintImage:
        if rles[0].size == hw:
            return rle_to_mask(rle_merge(rles) if len(rles) > 1 else rles[0]).astype(np.uint8)
        if key not in self._small:
            mask = rle_to_mask(rle_merge(rles)).astype(np.uint8) * np.uint8(255)
            self._small[key] = mask_to_rle(shrunk(mask[..., None], hw)[..., 0] > 127)
        return rle_to_mask(self._small[key]).astype(np.uint8)
