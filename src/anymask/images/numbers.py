"""The numbers that are measured: a picture's file or array in, its channels and its scale out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anymask.base import AnymaskError
from anymask.images.stacks import PixelSize, load_channels, read_planes
from anymask.masks import Picture


@dataclass(frozen=True)
class PictureNumbers:
    """A picture as it was measured.

    values  (H, W, C) of any number type: all channels at the place; grey in three equal ones is one
    pixel   how large a pixel is, where the file says so
    """

    values: NDArray[Any]
    pixel: PixelSize | None = None


def picture_numbers(
    picture: Picture | Path | NDArray[Any] | None, image_hw: tuple[int, int]
) -> PictureNumbers | None:
    """What is known of the picture of some masks; None where it cannot be read any more.

    picture   as masks know it, its file, or its pixels; of an array of more than 8 bits that was
              given to a model these are its own numbers
    image_hw  (H, W) of the masks; a picture of another size is another one
    """
    found: PictureNumbers | None
    path = picture if isinstance(picture, Path) else getattr(picture, "path", None)
    if path is None:
        held = getattr(picture, "values", None)
        held = getattr(picture, "pixels", picture) if held is None else held
        found = None if held is None else PictureNumbers(np.atleast_3d(np.asarray(held)))
    else:
        found = _of_file(path, getattr(picture, "page", 0))
    if found is None or found.values.shape[:2] != image_hw:
        return None
    values = found.values
    if values.shape[2] == 3 and (values == values[..., :1]).all():
        values = values[..., :1]
    return PictureNumbers(values, found.pixel)


def _of_file(path: Path, page: int) -> PictureNumbers | None:
    try:
        planes = read_planes(path)
        return PictureNumbers(load_channels(path, planes.place_of(page)), planes.pixel)
    except (AnymaskError, OSError):
        return None
