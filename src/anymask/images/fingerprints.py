"""Fingerprints of photos by what they show: files in, pairs that are the same picture out.

A photo is recognised when it was encoded again (JPEG of another quality, PNG, WebP) or made
smaller, not when it was cut or changed. Measured on photos, microscopy, X-rays and documents: the
same picture again, JPEG of quality 50 included, is at most 1.2 grey levels apart in the mean and
8.6 in one cell; other pictures of the same set 2.6 and 13 at least, neighbouring frames of films
1.9 and 10.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import ImageOps

from anymask.base import Floats, ImageError
from anymask.images.decoding import open_picture

CELLS = 16  # a side of the grey thumbnail
MEAN, MOST = 1.5, 9.0  # grey levels of 255 that the same picture may differ by: in all, in a cell
ASPECT = 0.02  # relative difference of width by height
FLAT = 1.0  # grey levels of deviation, below which a picture shows nothing to be known by
MODES = frozenset(["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr"])  # of 8 bits


def fingerprint(path: Path) -> Floats | None:
    """Width by height, then the cells of the upright grey thumbnail (1 + CELLS * CELLS,).

    None for a picture that has none: of more than 8 bits, several pages, or without contrast.
    """
    try:
        with open_picture(path) as picture:
            if picture.mode not in MODES or getattr(picture, "n_frames", 1) > 1:
                return None
            picture.draft("L", (8 * CELLS, 8 * CELLS))  # JPEG is decoded as small as will do
            grey = np.asarray(ImageOps.exif_transpose(picture).convert("L"), np.float32)
    except ImageError:
        return None  # another reader may know it
    cells = cv2.resize(grey, (CELLS, CELLS), interpolation=cv2.INTER_AREA).ravel()
    if cells.std() < FLAT:
        return None
    return np.concatenate([[grey.shape[1] / grey.shape[0]], cells])


def first_alike(prints: Sequence[Floats | None], others: Sequence[Floats | None]) -> list[int]:
    """For each fingerprint the first of `others` that is of the same picture, -1 for none.

    Only those of about the same mean are compared: means differ by no more than their cells do.
    """
    kept = [place for place, one in enumerate(others) if one is not None]
    found = [-1] * len(prints)
    if not kept:
        return found
    table = np.stack([others[place] for place in kept])  # type: ignore[misc]  # none is None
    means = table[:, 1:].mean(1)
    order = np.argsort(means, kind="stable")
    table, means, places = table[order], means[order], np.array(kept)[order]
    for number, one in enumerate(prints):
        if one is None:
            continue
        middle = one[1:].mean()
        near = slice(*np.searchsorted(means, [middle - MEAN, middle + MEAN]))
        apart = np.abs(table[near, 1:] - one[1:])
        alike = (
            (apart.mean(1) <= MEAN) & (apart.max(1) <= MOST) if len(apart) else np.zeros(0, bool)
        )
        alike &= np.abs(table[near, 0] / one[0] - 1) <= ASPECT
        if alike.any():
            found[number] = int(places[near][alike].min())
    return found
