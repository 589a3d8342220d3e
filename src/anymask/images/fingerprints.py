"""Perceptual fingerprints of image files, to find duplicates.

A duplicate is detected if it was re-encoded (JPEG of another quality, PNG, WebP) or scaled down,
but not if it was cropped or edited. Measured on photos, microscopy, X-rays and documents:
duplicates, including JPEG of quality 50, differ by at most 1.2 gray levels on average and 8.6 in
one cell. Different images of one set differ by at least 2.6 and 13, consecutive video frames by 1.9
and 10.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import ImageOps

from anymask.base import Floats, ImageError
from anymask.images.decoding import open_image

THUMB_SIDE = 16  # side of the gray thumbnail
MAX_MEAN, MAX_CELL = 1.5, 9.0  # difference of duplicates in gray levels: on average, in one cell
ASPECT = 0.02  # relative difference of the aspect ratios
FLAT = 1.0  # standard deviation in gray levels; images below have no usable contrast
MODES_8_BIT = frozenset(["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr"])  # 8 bits


def fingerprint(path: Path) -> Floats | None:
    """Compute the aspect ratio and cells of the upright gray thumbnail (1 + THUMB_SIDE ** 2,).

    Returns:
        Floats | None: None for images with more than 8 bits, several pages, or no contrast.
    """
    try:
        with open_image(path) as image:
            if image.mode not in MODES_8_BIT or getattr(image, "n_frames", 1) > 1:
                return None
            image.draft("L", (8 * THUMB_SIDE, 8 * THUMB_SIDE))  # decodes JPEG at reduced size
            gray = np.asarray(ImageOps.exif_transpose(image).convert("L"), np.float32)
    except ImageError:
        return None  # another reader may support it
    cells = cv2.resize(gray, (THUMB_SIDE, THUMB_SIDE), interpolation=cv2.INTER_AREA).ravel()
    aspect = gray.shape[1] / gray.shape[0]
    return np.concatenate([[aspect], cells]) if cells.std() >= FLAT else None


def first_alike(prints: Sequence[Floats | None], others: Sequence[Floats | None]) -> list[int]:
    """For each fingerprint, find the first duplicate in `others`, -1 for none.

    Only fingerprints of similar mean are compared: those of duplicates differ by at most MAX_MEAN.
    """
    indices = [index for index, fingerprint in enumerate(others) if fingerprint is not None]
    matches = [-1] * len(prints)
    if not indices:
        return matches
    table = np.stack([others[index] for index in indices])  # type: ignore[misc]  # none is None
    means = table[:, 1:].mean(1)
    order = np.argsort(means, kind="stable")
    table, means, places = table[order], means[order], np.array(indices)[order]
    for number, fingerprint in enumerate(prints):
        if fingerprint is None:
            continue
        middle = fingerprint[1:].mean()
        near = slice(*np.searchsorted(means, [middle - MAX_MEAN, middle + MAX_MEAN]))
        apart = np.abs(table[near, 1:] - fingerprint[1:])
        alike = np.abs(table[near, 0] / fingerprint[0] - 1) <= ASPECT
        alike &= (apart.mean(1) <= MAX_MEAN) & (apart.max(1) <= MAX_CELL)
        if alike.any():
            matches[number] = int(places[near][alike].min())
    return matches
