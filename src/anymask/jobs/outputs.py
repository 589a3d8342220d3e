"""The pictures of a job: a photo and its records in, one PNG with all masks out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from anymask.base import whole_file
from anymask.masks import save_picture

if TYPE_CHECKING:
    from anymask.base import UintImage
    from anymask.masks import Mask


OVERLAY_SIDE = 1600  # pixels


def write_overlay(path: Path, image: UintImage, records: Sequence[Mask]) -> None:
    """A picture with all masks on it, its longest side at most `OVERLAY_SIDE` pixels."""
    import cv2
    import numpy as np

    from anymask.masks import overlay, rle_crop

    height, width = image.shape[:2]
    scale = min(1.0, OVERLAY_SIDE / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA).reshape(size[1], size[0], 3)
    masks = np.zeros((len(records), size[1], size[0]), np.bool_)
    shown = [np.arange(n) * full // n for n, full in zip(size, (width, height), strict=True)]
    for record, mask in zip(records, masks, strict=True):
        crop, (x0, y0, x1, y1) = rle_crop(record.rle)  # a mask of a large photo is large itself
        columns, rows = (
            slice(*np.searchsorted(at, ends))
            for at, ends in zip(shown, ((x0, x1), (y0, y1)), strict=True)
        )
        mask[rows, columns] = crop[np.ix_(shown[1][rows] - y0, shown[0][columns] - x0)]
    with whole_file(path) as file:
        save_picture(file, overlay(small.astype(np.uint8, copy=False), masks), path.suffix.lower())
