"""Edit images with masks: remove, blur or replace objects, and make a collage.

Removal fills the mask from its surroundings (Telea, "An image inpainting technique based on the
fast marching method", 2004). It suits small objects on a plain background.

Letters: H W an image.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from PIL import Image, ImageColor, ImageOps

from anymask.base import BoolArray, FloatArray, InputError, UintImage
from anymask.edit import cut_out, union_mask
from anymask.masks import Mask, Masks
from anymask_inpaint.inpainting import Filler

Where = BoolArray | Mask | Masks  # (H, W), or a result of a model: all of its masks

GROWN = 0.006  # margin of a removed mask, relative to the image's longest side
FILLED = 5  # radius in pixels of the neighbourhood from which a pixel is filled
BLUR = 0.02  # sigma of a blur, relative to the image's longest side
GAP = 16  # pixels between the objects of a collage


def remove(image: UintImage, what: Where, fill: Filler | None = None) -> UintImage:
    """Remove an object: fill its pixels from the surroundings.

    Args:
        image: Image (H, W, 3).
        what: The mask or masks.
        fill: Inpainting function, such as `open_lama()`. Defaults to Telea's method, for small
            objects.

    Raises:
        InputError: The mask has another size, is empty, or covers the whole image.
    """
    mask = union_mask(image, what)
    if mask.all():
        raise InputError(
            "The mask covers the whole image, so there are no other pixels from which "
            "to fill it. Pass a smaller mask."
        )
    hole = _grown(mask)
    if hole.all():
        hole = mask.astype(np.uint8)
    if fill is not None:
        return fill(image, hole > 0)
    filled = cv2.inpaint(np.ascontiguousarray(image), hole, FILLED, cv2.INPAINT_TELEA)
    return np.asarray(filled, np.uint8)


def blur(image: UintImage, what: Where, width: float | None = None) -> UintImage:
    """Blur an object with a Gaussian of sigma `width`. To make it unrecognizable, use `redact`.

    Args:
        image: Image (H, W, 3).
        what: The mask or masks.
        width: Sigma in pixels. Defaults to 2 % of the image's longest side.

    Raises:
        InputError: The mask has another size or is empty, or the width is not positive.
    """
    mask = union_mask(image, what)
    sigma = BLUR * max(mask.shape) if width is None else width
    if sigma <= 0:
        raise InputError(f"Invalid width {width!r}. Use a number of pixels above 0.")
    blurred = np.asarray(cv2.GaussianBlur(image, (0, 0), sigma), np.uint8)
    return _mixed(blurred, image, mask)


def replace(image: UintImage, what: Where, source_image: UintImage) -> UintImage:
    """Replace an object by another image, scaled to cover its box.

    Raises:
        InputError: The mask has another size, or is empty.
    """
    mask = union_mask(image, what)
    x, y, width, height = cv2.boundingRect(mask.astype(np.uint8))
    behind = image.copy()
    whole = Image.fromarray(source_image[..., :3])
    behind[y : y + height, x : x + width] = np.asarray(ImageOps.fit(whole, (width, height)))
    return _mixed(behind, image, mask)


def collage(
    image: UintImage, masks: Sequence[BoolArray], background: str = "white"
) -> UintImage:  # (H, W, 3 or 4), each (H, W) -> (h, w, 3)
    """Arrange cut-outs of objects in rows on one color, nearly square.

    Raises:
        InputError: There are no masks, or one is empty or has another size.
    """
    if not masks:
        raise InputError("A collage requires at least one mask. Segment the image first.")
    for mask in masks:
        union_mask(image[..., :3], mask)  # raises for a mask that does not fit
    objects = [cut_out(image, mask, background=background, crop=True) for mask in masks]
    area = sum((t.shape[0] + GAP) * (t.shape[1] + GAP) for t in objects)
    widest = max(round(area**0.5), max(t.shape[1] for t in objects))
    rows: list[list[UintImage]] = [[]]
    for thing in sorted(objects, key=lambda one: -one.shape[0]):
        used = sum(one.shape[1] + GAP for one in rows[-1])
        if rows[-1] and used + thing.shape[1] > widest:
            rows.append([])
        rows[-1].append(thing)
    high = sum(row[0].shape[0] + GAP for row in rows) + GAP
    wide = max(sum(one.shape[1] + GAP for one in row) for row in rows) + GAP
    sheet = np.full((high, wide, 3), ImageColor.getrgb(background)[:3], np.uint8)
    top = GAP
    for row in rows:
        left = GAP
        for thing in row:
            sheet[top : top + thing.shape[0], left : left + thing.shape[1]] = thing
            left += thing.shape[1] + GAP
        top += row[0].shape[0] + GAP
    return sheet


def _grown(mask: BoolArray) -> UintImage:  # (H, W) -> (H, W) of 0 and 1
    """Dilate the mask by a margin."""
    reach = max(1, round(GROWN * max(mask.shape)))
    wide = cv2.dilate(mask.astype(np.uint8), np.ones((2 * reach + 1,) * 2, np.uint8))
    return np.asarray(wide, np.uint8)


def _mixed(front: UintImage, image: UintImage, mask: BoolArray) -> UintImage:
    """Blend: `front` inside the mask, the image outside, with a soft rim outside the mask."""
    grown = cv2.dilate(mask.astype(np.float32), np.ones((5, 5), np.uint8))
    alpha: FloatArray = np.maximum(cv2.GaussianBlur(grown, (0, 0), 1.0), mask)[..., None]
    mixed = front * alpha + image * (1 - alpha)
    return np.clip(np.round(mixed), 0, 255).astype(np.uint8)
