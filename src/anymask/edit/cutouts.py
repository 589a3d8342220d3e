"""Cut-outs: an object with soft alpha on nothing, a colour, a picture or the blurred photo."""

from __future__ import annotations

from typing import Literal

import cv2
import numpy as np
from PIL import ImageColor

from anymask.base import BoolArray, FloatArray, InputError, UintImage
from anymask.edit.alpha import foreground_colours, soft_alpha

Background = str | UintImage | Literal["blur"] | None

BLUR = 0.02  # width of the blur of a background, of the photo's longest side
SHADOW = 0.015  # width and way down of a shadow, of the photo's longest side
SHADE = 0.45  # darkest part of a shadow, 0..1


def cut_out(
    image: UintImage,
    mask: BoolArray,
    *,
    soft: bool = True,
    background: Background = None,
    shadow: bool = False,
    crop: bool = False,
    margin: int = 0,
) -> UintImage:
    """The object of a mask as a picture: (H, W, 4) RGBA, or (H, W, 3) where there is a background.

    image       photo (H, W, 3)
    mask        (H, W) bool
    soft        alpha of the rim from the photo, its colours freed of the old background; else the
                mask's pixels
    background  None: transparent; a colour (`white`, `#rrggbb`, ...); `blur`: the photo's own, out
                of focus; a picture (H, W, 3), scaled to cover the photo and cut at its middle
    shadow      a soft shadow below the object; with no background it lies in the alpha
    crop        only the object's box
    margin      pixels that are left round that box, cut at the photo's border

    Raises InputError on an empty mask, sizes that differ, or a background that is none.
    """
    if not mask.any():
        raise InputError(
            "wanted a mask of an object, got an empty mask; click or box the object first"
        )
    alpha = soft_alpha(image, mask) if soft else mask.astype(np.float32)
    colours = foreground_colours(image, alpha) if soft else image
    shade = _shadow(alpha) if shadow else np.zeros_like(alpha)
    if background is None:
        picture = _transparent(colours, alpha, shade)
    else:
        behind = _behind(image, mask, background) * (1 - shade[..., None])
        mixed = colours * alpha[..., None] + behind * (1 - alpha[..., None])
        picture = np.clip(np.round(mixed), 0, 255).astype(np.uint8)
    return picture[box_slices(alpha > 0, margin)] if crop else picture


def box_slices(mask: BoolArray, margin: int = 0) -> tuple[slice, slice]:
    """Rows and columns of the mask's box with a margin of pixels; all of an empty mask."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not rows.size:
        return slice(None), slice(None)
    return (
        slice(max(0, int(rows[0]) - margin), int(rows[-1]) + 1 + margin),
        slice(max(0, int(columns[0]) - margin), int(columns[-1]) + 1 + margin),
    )


def _transparent(colours: UintImage, alpha: FloatArray, shade: FloatArray) -> UintImage:
    """RGBA; a shadow is black under the object, not premultiplied."""
    whole = alpha + shade * (1 - alpha)
    share = np.where(whole > 0, alpha / np.maximum(whole, 1e-6), 0)
    rgb = np.round(colours * share[..., None] if shade.any() else colours).astype(np.uint8)
    rgb[whole == 0] = 0
    return np.dstack([rgb, np.round(whole * 255).astype(np.uint8)])


def _behind(image: UintImage, mask: BoolArray, background: str | UintImage) -> FloatArray:
    """What lies behind the object, (H, W, 3) of 0..255."""
    height, width = mask.shape
    if isinstance(background, np.ndarray):
        return covering(background, (height, width)).astype(np.float32)
    if background == "blur":
        return _blurred_background(image, mask)
    try:
        colour = ImageColor.getrgb(background)[:3]
    except ValueError:
        raise InputError(
            f"wanted a colour (white, #20a0ff), `blur` or a picture, got {background!r} behind; "
            "for a picture give its pixels, on the command line its path"
        ) from None
    return np.full((height, width, 3), colour, np.float32)


def _blurred_background(image: UintImage, mask: BoolArray) -> FloatArray:
    """The photo out of focus; the object's own colours do not run into it."""
    width = BLUR * max(mask.shape)
    grown = cv2.dilate(mask.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    seen = (~grown).astype(np.float32)
    total = cv2.GaussianBlur(image * seen[..., None], (0, 0), width)
    weight = cv2.GaussianBlur(seen, (0, 0), width)[..., None]
    whole = cv2.GaussianBlur(image.astype(np.float32), (0, 0), width)
    return np.where(weight > 1e-3, total / np.maximum(weight, 1e-3), whole)


def covering(picture: UintImage, hw: tuple[int, int]) -> UintImage:
    """A picture scaled so that it covers (H, W), its middle cut out."""
    scale = max(hw[0] / picture.shape[0], hw[1] / picture.shape[1])
    size = [max(n, round(m * scale)) for n, m in zip(hw, picture.shape[:2], strict=True)]
    shrinks = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    large = cv2.resize(picture[..., :3], (size[1], size[0]), interpolation=shrinks)
    top, left = (size[0] - hw[0]) // 2, (size[1] - hw[1]) // 2
    return large[top : top + hw[0], left : left + hw[1]]


def _shadow(alpha: FloatArray) -> FloatArray:
    """How much a soft shadow, a little below the object, darkens each pixel, 0..1."""
    down = SHADOW * max(alpha.shape)
    moved = np.roll(alpha, round(down), axis=0)
    moved[: round(down)] = 0
    return cv2.GaussianBlur(moved, (0, 0), max(down, 0.5)) * SHADE
