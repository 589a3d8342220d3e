"""What a picture that was given for a mask shows: a mask, a photo, or labels of several objects.

A picture of labels has a colour (DAVIS, PASCAL VOC) or a small number for each object. Taken for a
mask it would be all of them together, or the brightest alone.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from anymask.primitives.types import UintImage

_LOOKED_AT = 1_000_000  # pixels, to tell a photo from a mask
_TINTED = 24  # between a pixel's channels, from which on it is no grey
_COLOURED, _MOST_COLOURS = 0.05, 256  # the share of such pixels, and their colours in 5 bits
_BETWEEN, _MOST_GREYS = 0.4, 64  # the share of pixels neither black nor white, and their greys
_LABELS = 20  # the brightest grey of a picture of small numbers
_HUES = 4  # steps of each channel, seen from the brightest one
_SHARE = 0.0005  # of the pixels that a hue has at least
_LOSSY = 128  # colours, more of which no picture of labels has


def looks_like_photo(image: UintImage) -> bool:  # (H, W, 3)
    """Whether a picture can be no mask: many colours, or greys all between black and white.

    Pictures of masks have few values; those of soft edges or of JPEG files lie near the borders.
    """
    pixels = _some_pixels(image)
    low, high = pixels.min(1), pixels.max(1)
    tinted = pixels[high - low > _TINTED] >> 3  # a palette has few colours, a photo many
    colours = np.unique(tinted @ np.array([1, 32, 1024])) if len(tinted) else tinted
    if len(tinted) > _COLOURED * len(pixels) and len(colours) > _MOST_COLOURS:
        return True
    most = int(high.max())
    between = (high > most // 8) & (high < most - most // 8)
    return bool(between.mean() > _BETWEEN and len(np.unique(high[between])) > _MOST_GREYS)


def count_objects(image: UintImage) -> int:  # (H, W, 3) -> objects
    """How many objects a picture of labels shows, by its hues or its small numbers; 1 for a mask:
    of one colour, however bright, with edges that are soft or not."""
    pixels = _some_pixels(image)
    packed, counts = np.unique(pixels @ np.array([1, 256, 65536]), return_counts=True)
    if len(packed) > _LOSSY:
        return 1
    colours = np.stack([packed & 255, packed >> 8 & 255, packed >> 16], axis=1)
    brightest = colours.max(1)
    tinted = brightest - colours.min(1) > _TINTED
    if not tinted.any():
        small = brightest.max() <= _LABELS
        return max(1, int(np.count_nonzero(packed))) if small else 1
    strong = tinted | (brightest > _TINTED)
    colours, brightest, counts = colours[strong], brightest[strong, None], counts[strong]
    hues = (_HUES * colours + brightest // 2) // brightest
    _, which = np.unique(hues, axis=0, return_inverse=True)
    return int((np.bincount(which.ravel(), counts) >= _SHARE * len(pixels)).sum()) or 1


def _some_pixels(image: UintImage) -> NDArray[np.int32]:  # (H, W, 3) -> (P, 3)
    step = max(1, int(np.sqrt(image.shape[0] * image.shape[1] / _LOOKED_AT)))
    return image[::step, ::step].reshape(-1, 3).astype(np.int32)
