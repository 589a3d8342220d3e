"""Backdrops: a frame and the pixels of its objects in, the objects before something else out.

Letters: H W the frame.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import ImageColor

from anymask.primitives.errors import InputError
from anymask.primitives.types import BoolArray, FloatArray, UintImage

BLUR = "blur"
SHARE = 0.02  # of the frame's longer side: the usual sigma
STRONGEST = 500.0  # pixels
EDGE = 0.7  # sigma in pixels of the passage from object to backdrop


@dataclass(frozen=True, eq=False)
class Backdrop:
    """What stands behind the objects: the frame itself, blurred, or a picture.

    sigma    of the blur in pixels; None: SHARE of the frame's longer side
    picture  (h, w, 3), or one pixel of a colour; None: the frame
    """

    sigma: float | None = None
    picture: UintImage | None = None

    def put_behind(self, image: UintImage, shown: BoolArray) -> UintImage:
        """(H, W, 3), (H, W) -> (H, W, 3): what is shown, before the backdrop."""
        objects = shown.astype(np.float32)
        share = cv2.GaussianBlur(objects, (0, 0), EDGE)[..., None]
        if self.picture is None:
            behind = _blurred(image, objects, self.sigma or SHARE * max(image.shape[:2]))
        else:
            behind = cover(self.picture, shown.shape).astype(np.float32)
        return np.asarray((share * image + (1 - share) * behind).round(), np.uint8)


def _blurred(image: UintImage, objects: FloatArray, sigma: float) -> FloatArray:
    """The frame without the objects, blurred: their colours do not bleed into it."""
    rest = (1 - objects)[..., None]
    both = np.concatenate([image * rest, rest], axis=2).astype(np.float32)
    soft = cv2.GaussianBlur(both, (0, 0), sigma, borderType=cv2.BORDER_REFLECT)
    return np.asarray(soft[..., :3] / np.maximum(soft[..., 3:], 1e-6), np.float32)


def cover(picture: UintImage, hw: tuple[int, ...]) -> UintImage:
    """A picture scaled to cover (H, W), its middle cut out."""
    (height, width), (h, w) = hw, picture.shape[:2]
    scale = max(height / h, width / w)
    size = (max(width, round(w * scale)), max(height, round(h * scale)))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    large = cv2.resize(picture, size, interpolation=how)
    top, left = (size[1] - height) // 2, (size[0] - width) // 2
    return np.asarray(large[top : top + height, left : left + width], np.uint8)


def parse_backdrop(text: str) -> Backdrop:
    """`blur`, `blur:SIGMA`, a colour by name or as #RRGGBB, or a picture's file.

    Raises InputError, and DataError for a file that is no picture.
    """
    word, _, number = text.partition(":")
    if word == BLUR:
        return Backdrop(_read_sigma(number) if number else None)
    try:
        red, green, blue = ImageColor.getrgb(text)[:3]
    except ValueError:
        return Backdrop(picture=_read_picture(text))
    return Backdrop(picture=np.array([[[red, green, blue]]], np.uint8))


def _read_sigma(text: str) -> float:
    try:
        sigma = float(text)
    except ValueError:
        sigma = 0.0
    if not 0 < sigma <= STRONGEST:
        raise InputError(
            f"a blur is {BLUR} or {BLUR}:SIGMA, a number of pixels above 0 and up to "
            f"{STRONGEST:.0f}; got {BLUR}:{text}"
        )
    return sigma


def _read_picture(text: str) -> UintImage:
    from anymask.data.images import load_image

    if not Path(text).is_file():
        raise InputError(
            f"a background is {BLUR}, {BLUR}:SIGMA, a colour (white, #00ff00) or the file of a "
            f"picture; got {text!r}, which is none of these"
        )
    return load_image(text)
