"""Values of mask images for DAVIS, VOC, label images and published data sets."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anymask.base import AmbiguousMaskError, DataError, UintImage
from anymask.formats.loss_report import LossReport
from anymask.images import MICROSCOPES, SUFFIXES, MaskImage, MaskValues, open_image, read_mask_image
from anymask.images.mask_values import colors_to_numbers as colors_to_numbers
from anymask.masks import Rle, runs_to_rle

_PNG_TIFF = ((".png",), (".tif", ".tiff"))
SUFFIX_GROUPS = (*_PNG_TIFF, tuple(sorted(SUFFIXES - {*_PNG_TIFF[0], *_PNG_TIFF[1], *MICROSCOPES})))
ALL_SUFFIXES = tuple(suffix for few in SUFFIX_GROUPS for suffix in few)
WHITE = 255


def of_best_kind(paths: Iterable[Path]) -> list[Path]:
    """Return the mask images of a folder: PNGs if there are any, else TIFFs, else other images."""
    files = list(paths)
    groups = ([path for path in files if path.suffix.lower() in kind] for kind in SUFFIX_GROUPS)
    return next(filter(None, groups), files)


def label_values(path: Path) -> NDArray[Any]:  # (H, W)
    """Return the stored label values of an image with one channel or a palette.

    Raises:
        ImageError: The image cannot be read as labels.
    """
    return read_mask_image(path, "labels", str(path)).values


def binary_mask(path: Path) -> NDArray[np.bool_]:  # (H, W)
    """Read a mask of one object: white on black with any values, with soft edges or without.

    Raises:
        ImageError: The image cannot be read as such a mask.
    """
    return read_mask_image(path, "binary", str(path)).values > 0


def read_numbers(path: Path, report: LossReport, palettes: Sequence[UintImage] = ()) -> MaskImage:
    """Read a mask image as set in a report. Raises DataError, AmbiguousMaskError.

    Args:
        palettes: Palettes (K, 3). A color is replaced by its index in the first palette that
            contains all colors of the image; such an image is never ambiguous.
    """
    requested: MaskValues = "auto" if report.settings is None else report.settings.mask_values
    unclear: AmbiguousMaskError | None = None
    try:
        image = read_mask_image(path, requested, "The image")
    except AmbiguousMaskError as error:
        unclear, image = error, read_mask_image(path, "colors", "The image")
    for palette in palettes if image.colored else ():
        numbers, first = np.unique(colors_to_numbers(palette), return_index=True)
        used, inverse = np.unique(image.values, return_inverse=True)
        at = np.minimum(np.searchsorted(numbers, used), len(numbers) - 1)
        if (numbers[at] == used).all():
            places = first[at].astype(np.int32)[inverse]
            return MaskImage(places.reshape(image.values.shape), indexed=True)
    if unclear is not None:
        raise unclear
    return image


def is_binary(found: MaskImage) -> bool:
    """Return whether an image is white on black, so that 255 is its object and not void."""
    return not found.indexed and not found.colored and set(np.unique(found.values)) == {0, WHITE}


def label_colors(path: Path) -> NDArray[np.uint8]:  # (H, W, 3)
    """Read an image as RGB. Raises ImageError; DataError for an image of one channel."""
    with open_image(path) as image:
        if image.mode not in ("RGB", "RGBA"):
            raise DataError(
                f"Expected numbers in red, green and blue, but the image is {image.mode}."
            )
        return np.asarray(image.convert("RGB"))


def value_rles(values: NDArray[Any]) -> dict[int, Rle]:  # (H, W)
    """Return the run-lengths of every value, in ascending order, in one pass over the image."""
    height, width = values.shape
    columns = values.T.reshape(-1)
    starts = np.concatenate([[0], np.flatnonzero(columns[1:] != columns[:-1]) + 1])
    ends = np.append(starts[1:], columns.size)
    runs = columns[starts]
    order = np.argsort(runs, kind="stable")
    distinct, first = np.unique(runs[order], return_index=True)
    return {
        int(value): runs_to_rle(starts[places], ends[places], (height, width))
        for value, places in zip(distinct, np.split(order, first[1:]), strict=True)
    }
