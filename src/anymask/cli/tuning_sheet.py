"""Contact sheet of a fine-tuning's data: annotated photos in, one picture of them out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from anymask.cli.held_out import evenly
from anymask.data.channels import shown_picture
from anymask.primitives.draw import contact_sheet, contours
from anymask.primitives.rle import rle_to_mask
from anymask.primitives.storage import write_whole
from anymask.reports.page import jpeg_bytes

if TYPE_CHECKING:
    from anymask.data.annotations import AnnotatedImage
    from anymask.primitives.channel_mix import ChannelMix
    from anymask.primitives.types import UintImage

PHOTOS = 24
CELL = 320  # pixels of a photo on the sheet
MOST_MASKS = 200  # that are outlined on one photo


def write_sheet(
    path: Path,
    photos: Sequence[AnnotatedImage],
    mix: ChannelMix | None = None,
    names: Mapping[str, str] | None = None,
) -> None:
    """Photos at equal distances, each with the outlines of its masks, as a JPEG.

    mix    how pictures of other channels are seen
    names  what their owner calls the photos, by their names

    Raises ImageError, DataError for a photo that cannot be opened.
    """
    if path.is_file():
        return
    known = names or {}
    cells = [
        (outlined(photo, mix), f"{known.get(photo.name, photo.name)}: {len(photo.rles)} masks")
        for photo in evenly(photos, PHOTOS)
    ]
    write_whole(path, jpeg_bytes(contact_sheet(cells, cell=CELL)))


def outlined(photo: AnnotatedImage, mix: ChannelMix | None = None) -> UintImage:
    """The photo, about as large as its cell, with the outlines of its masks."""
    image = shown_picture(photo.picture(mix), mix)
    scale = min(1.0, 2 * CELL / max(image.shape[:2]))
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
    masks = [
        cv2.resize(rle_to_mask(rle).astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0
        for rle in photo.rles[:MOST_MASKS]
    ]
    return contours(small, np.stack(masks))
