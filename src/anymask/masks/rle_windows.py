"""Crop, place and enlarge run-length encodings without decoding the whole image.

A window is x0, y0, x1, y1 in integer pixels, x1 and y1 exclusive (`tiles.Window`). Letters: H W the
image, h w a window, R column runs.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from anymask.base import BoolArray, FloatArray, InputError, IntArray
from anymask.masks.answer import bilinear_taps
from anymask.masks.binary import RegionSize, clean_mask
from anymask.masks.rle import (
    Rle,
    crop_to_rle,
    empty_rle,
    rle_box_xyxy,
    rle_runs,
    rle_to_mask,
    runs_to_rle,
)
from anymask.masks.tiles import Window

_STRIP_PIXELS = 1 << 22  # of a mask that is enlarged: 16 MB of floats


class ColumnRuns(NamedTuple):
    """Runs within one column: column, first row and exclusive last row, (R,) each."""

    column: IntArray
    top: IntArray
    bottom: IntArray


def column_runs(rle: Rle) -> ColumnRuns:
    """Object runs of a mask, split at column ends."""
    starts, ends = rle_runs(rle)
    height = max(rle.size[0], 1)
    first, last = starts // height, (ends - 1) // height
    many = last - first + 1
    run = np.repeat(np.arange(len(starts)), many)
    column = np.arange(len(run)) - np.repeat(np.cumsum(many) - many, many) + first[run]
    top = np.where(column == first[run], starts[run] % height, 0)
    bottom = np.where(column == last[run], (ends[run] - 1) % height + 1, height)
    return ColumnRuns(column, top, bottom)


def rle_in_window(rle: Rle, window: Window) -> Rle:
    """Crop a mask to a window.

    Raises:
        InputError: The window extends beyond the image.
    """
    x0, y0, x1, y1 = window
    if x0 < 0 or y0 < 0 or x1 > rle.size[1] or y1 > rle.size[0] or x1 < x0 or y1 < y0:
        raise InputError(
            f"The window {window} is outside the image of (H, W) = {rle.size}. Clip the window "
            "first."
        )
    column, top, bottom = column_runs(rle)
    top, bottom = np.maximum(top, y0), np.minimum(bottom, y1)
    seen = (column >= x0) & (column < x1) & (bottom > top)
    shift = (column[seen] - x0) * (y1 - y0) - y0
    return runs_to_rle(top[seen] + shift, bottom[seen] + shift, (y1 - y0, x1 - x0))


def rle_on_photo(rle: Rle, offset_xy: tuple[int, int], image_hw: tuple[int, int]) -> Rle:
    """Place the mask of a window in a mask of the image.

    Args:
        rle: Mask of the window.
        offset_xy: First pixel (x, y) of the window.
        image_hw: Height and width of the image.

    Raises:
        InputError: The window extends beyond the image.
    """
    (x0, y0), (height, width) = offset_xy, image_hw
    if x0 < 0 or y0 < 0 or x0 + rle.size[1] > width or y0 + rle.size[0] > height:
        raise InputError(
            f"The window of {rle.size[1]} x {rle.size[0]} pixels at x={x0}, y={y0} is outside "
            f"the image of (H, W) = {image_hw}. Move or clip the window first."
        )
    column, top, bottom = column_runs(rle)
    shift = (column + x0) * height + y0
    return runs_to_rle(top + shift, bottom + shift, image_hw)


def rle_crop(rle: Rle, margin: int = 0) -> tuple[BoolArray, Window]:
    """Decode a mask within its box, and return that box as a window.

    The crop of an empty mask is its first pixel (no pixels if the image is empty).

    Args:
        rle: Mask (H, W).
        margin: Additional pixels on each side, within the image.
    """
    height, width = rle.size
    x0, y0, x1, y1 = rle_box_xyxy(rle)
    window = (
        max(x0 - margin, 0),
        max(y0 - margin, 0),
        min(x1 + 1 + margin, width),
        min(y1 + 1 + margin, height),
    )
    return rle_to_mask(rle_in_window(rle, window)), window


def enlarged_rle(rle: Rle, image_hw: tuple[int, int]) -> Rle:  # of (h, w) -> of (H, W)
    """Upscale a mask of a downscaled image, with linearly interpolated edges.

    Pixel centres are at halves, and the threshold is one half. The mask is processed in strips.
    """
    small, (left, above, right, below) = rle_crop(rle, margin=1)
    if not small.any() or not image_hw[0] * image_hw[1]:
        return empty_rle(image_hw)
    (height, width), (low_h, low_w) = image_hw, rle.size
    plane = small.astype(np.float32)
    rows = _reach(above, below, low_h, height)
    columns = _reach(left, right, low_w, width)
    y0, y1, wy = _taps(np.arange(rows.start, rows.stop), low_h, height, (above, below))
    starts, ends = [], []
    step = max(1, _STRIP_PIXELS // max(1, rows.stop - rows.start))
    for first in range(columns.start, columns.stop, step):
        part = np.arange(first, min(first + step, columns.stop))
        x0, x1, wx = _taps(part, low_w, width, (left, right))
        lines = plane[:, x0] * (1 - wx) + plane[:, x1] * wx
        strip = lines[y0] * (1 - wy)[:, None]
        strip += lines[y1] * wy[:, None]
        runs = rle_runs(crop_to_rle(strip > 0.5, (first, rows.start), image_hw))
        starts.append(runs[0])
        ends.append(runs[1])
    return runs_to_rle(np.concatenate(starts), np.concatenate(ends), image_hw)


def _reach(low: int, high: int, old: int, new: int) -> slice:
    """New pixels to which the old pixels low..high (exclusive) contribute."""
    return slice(max(0, (low - 1) * new // old), min(new, -(-(high + 1) * new // old)))


def _taps(
    places: NDArray[np.int64], old: int, new: int, kept: tuple[int, int]
) -> tuple[IntArray, IntArray, FloatArray]:
    """For each new pixel: both neighbours, as indices into `kept`, and the second's weight."""
    first, second, weight = bilinear_taps(places, old, new)
    low, high = kept[0], kept[1] - 1
    return np.clip(first, low, high) - low, np.clip(second, low, high) - low, weight


def clean_rle(rle: Rle, max_hole_area: RegionSize = 0, min_island_area: RegionSize = 0) -> Rle:
    """`masks.clean_mask` on a run-length encoding, within the mask's box."""
    if len(rle.counts) < 2 or not (max_hole_area or min_island_area):
        return rle
    mask, window = rle_crop(rle, margin=1)
    cleaned = clean_mask(mask, max_hole_area, min_island_area)
    return rle if np.array_equal(cleaned, mask) else crop_to_rle(cleaned, window, rle.size)
