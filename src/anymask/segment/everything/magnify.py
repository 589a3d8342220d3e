"""Tiles that magnify small objects to the size that a field model was trained on.

A field model misses objects that are much smaller than in its training images, or merges several of
them into one mask. So their diameter is measured in the image, and again in ever smaller windows
around many of them, until it has the usual size.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from anymask.base import UintImage
from anymask.masks import Mask, smallest_side
from anymask.segment.everything.tiles import TileSearch, require_image

MERGED_WINDOW = 512  # smallest side of windows in which masks are checked for merged objects
MERGED = 0.6  # diameter in such a window, relative to that in the image, from which they are merged


def magnifying_side(
    scanner: TileSearch,
    image: UintImage | None,
    image_hw: tuple[int, int],
    found: Sequence[Mask],
    sizes: tuple[float, float],
    trained_side: int,
) -> int | None:
    """Side of the tiles in which objects have the usual size; None if the image needs none.

    Args:
        scanner: Search of one window.
        image: Image (H, W, 3), or None if only its embedding is known.
        image_hw: Height and width of the image.
        found: Masks of the image.
        sizes: `FieldRules.sizes` of the model.
        trained_side: Side of the training images, and of the tiles if objects are merged.

    Raises:
        InputError: A window must be searched, but there is no image.
    """
    small, usual = sizes
    smallest = smallest_side(image_hw, trained_side)
    whole = side = window = max(image_hw)
    diameter = median_diameter(found)
    while diameter:
        is_small = diameter < small * side
        window = max(smallest, round(diameter / usual)) if is_small else window // 2
        if window >= side or (not is_small and window < MERGED_WINDOW):
            break
        dense = densest_window(require_image(image, image_hw, f"tile={window}"), found, window)
        measured = median_diameter(scanner.everything(dense))
        if is_small:
            side, diameter = window, measured
        elif 0 < measured < MERGED * diameter:
            side, diameter = trained_side, measured
    return side if side < whole else None


def densest_window(image: UintImage, found: Sequence[Mask], side: int) -> UintImage:
    """The window of a grid that contains the clicks of most masks, inside the image."""
    bins = np.array([mask.points[0] for mask in found]) // side
    places, counts = np.unique(bins.astype(int), axis=0, return_counts=True)
    last = np.subtract(image.shape[1::-1], side).clip(0)
    x, y = np.minimum(places[counts.argmax()] * side, last)
    return np.ascontiguousarray(image[y : y + side, x : x + side])


def median_diameter(found: Sequence[Mask]) -> float:
    """Median diameter of discs with the areas of masks, in pixels; 0 without masks."""
    return 2 * float(np.sqrt(np.median([mask.area for mask in found]) / np.pi)) if found else 0.0
