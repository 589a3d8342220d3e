"""Run-length encoding of masks: encoding, decoding, areas, boxes, overlaps, unions.

Runs are column-major, alternate between background and object and start with background, so the
first run may be 0. This is COCO's layout: counts and compressed strings are byte-identical to
pycocotools (`common/maskApi.c`, BSD-2-Clause; the format, not the code).

Letters: H W the image, R runs, N M lists of masks. Boxes: `xywh` counts pixels (COCO), `xyxy` names
the first and the last pixel (segment-anything); an empty mask has a box of zeros in both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from anymask.base import BoolArray, DataError, InputError, IntArray
from anymask.masks.tiles import Window

MAX_PIXELS = 200_000_000  # of a decoded image: 600 MB as RGB
MAX_RLE_PIXELS = 1 << 31  # limit of a mask that is read, so that sums of runs fit into int64
MAX_DIGITS = 13  # 5-bit digits of an int64


@dataclass(frozen=True, eq=False)
class Rle:
    """Run-length encoding of one mask."""

    counts: IntArray  # Column-major runs (R,) int64 that start with background and sum to H * W
    size: tuple[int, int]  # Height and width (H, W)

    def __repr__(self) -> str:
        return f"<Rle of {self.size[1]}x{self.size[0]}: {len(self.counts)} runs>"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Rle):
            return NotImplemented
        return self.size == other.size and np.array_equal(self.counts, other.counts)

    def __hash__(self) -> int:
        return hash((self.size, self.counts.tobytes()))


def mask_to_rle(mask: NDArray[Any]) -> Rle:  # (H, W)
    """Encode one mask; nonzero values are foreground. Raises InputError if `mask` is not (H, W)."""
    if mask.ndim != 2:
        raise InputError(
            f"Invalid mask of shape {mask.shape}. Expected (H, W). Encode several masks one by one."
        )
    height, width = mask.shape
    if not mask.size:
        return Rle(np.zeros(1, np.int64), (height, width))
    flat = cv2.transpose(_bytes(mask)).reshape(-1)
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    edges = np.concatenate([[0] if not flat[0] else [0, 0], changes, [flat.size]])
    return Rle(np.diff(edges).astype(np.int64, copy=False), (height, width))


def _bytes(mask: NDArray[Any]) -> NDArray[np.uint8]:
    """Mask as contiguous 0 and 1."""
    return np.ascontiguousarray(mask if mask.dtype == np.bool_ else mask != 0).view(np.uint8)


def rle_to_mask(rle: Rle) -> BoolArray:
    """Decode into a contiguous (H, W) bool mask. Raises DataError for more than MAX_PIXELS."""
    height, width = rle.size
    if height * width > MAX_PIXELS:
        raise DataError(
            f"A mask of {width} x {height} pixels is too large to decode. At most {MAX_PIXELS} "
            "pixels are supported. Split the image into tiles."
        )
    if not height * width:
        return np.zeros(rle.size, np.bool_)
    values = np.zeros(len(rle.counts), np.uint8)
    values[1::2] = 1
    columns = np.repeat(values, rle.counts).reshape(width, height)
    # cv2's stub omits the shape of 2-D arrays
    return cv2.transpose(columns).reshape(height, width).view(np.bool_)


def rle_area(rle: Rle) -> int:
    """Number of object pixels."""
    return int(rle.counts[1::2].sum())


def empty_rle(size: tuple[int, int]) -> Rle:
    """Encoding of an empty mask."""
    return Rle(np.array([size[0] * size[1]], np.int64), size)


def rle_runs(rle: Rle) -> tuple[IntArray, IntArray]:
    """Start and exclusive end of each nonempty object run, as flat column-major indices."""
    edges = np.cumsum(rle.counts)
    starts, ends = edges[0:-1:2], edges[1::2]
    filled = ends > starts
    return starts[filled], ends[filled]


def runs_to_rle(starts: IntArray, ends: IntArray, size: tuple[int, int]) -> Rle:
    """Encode ascending object runs [start, end); adjacent runs are joined."""
    if not len(starts):
        return empty_rle(size)
    apart = starts[1:] > ends[:-1]
    first = starts[np.concatenate([[True], apart])]
    last = ends[np.concatenate([apart, [True]])]
    edges = np.empty(2 * len(first) + 2, np.int64)
    edges[0], edges[-1] = 0, size[0] * size[1]
    edges[1:-1:2], edges[2:-1:2] = first, last
    counts = np.diff(edges)
    return Rle(counts if counts[-1] else counts[:-1], size)


def crop_to_rle(
    mask_crop: NDArray[Any], offset_xy: Sequence[float], image_hw: tuple[int, int]
) -> Rle:
    """Encode a mask of a window of the image, without decoding to the full size.

    Args:
        mask_crop: Mask (h, w); nonzero values are foreground.
        offset_xy: First pixel (x, y) of the window; further values (of a box) are ignored.
        image_hw: Height and width of the image.

    Raises:
        InputError: The window extends beyond the image.
    """
    height, width = image_hw
    x0, y0 = int(offset_xy[0]), int(offset_xy[1])
    crop_h, crop_w = mask_crop.shape
    if x0 < 0 or y0 < 0 or x0 + crop_w > width or y0 + crop_h > height:
        raise InputError(
            f"The crop of {crop_w} x {crop_h} pixels at x={x0}, y={y0} is outside the image of "
            f"(H, W) = {image_hw}. Clip the crop first."
        )
    if not mask_crop.size:
        return empty_rle(image_hw)
    padded = np.zeros((crop_w, crop_h + 2), np.uint8)
    padded[:, 1:-1] = cv2.transpose(_bytes(mask_crop)).reshape(crop_w, crop_h)
    flat = padded.reshape(-1)
    columns, rows = np.divmod(np.flatnonzero(flat[1:] != flat[:-1]), crop_h + 2)
    places = ((columns + x0) * height + rows + y0).astype(np.int64, copy=False)
    return runs_to_rle(places[0::2], places[1::2], image_hw)


# ------------------------------------------------------------------------------ text and records


def rle_to_string(rle: Rle) -> str:
    """Encode as COCO's compressed string.

    From the fourth run on, the difference to the run before the previous one is written, in 5-bit
    digits, lowest first, with a continuation bit and the sign in the last digit.
    """
    values = rle.counts.copy()
    values[3:] -= rle.counts[1:-2]
    digits = np.empty((len(values), MAX_DIGITS), np.uint8)
    more = np.empty((len(values), MAX_DIGITS), np.bool_)
    for column in range(MAX_DIGITS):
        low = values & 0x1F
        values = values >> 5
        more[:, column] = np.where(low & 0x10, values != -1, values != 0)
        digits[:, column] = low + 48 + 32 * more[:, column]
        if not more[:, column].any():
            break
    used = np.ones((len(values), column + 1), np.bool_)
    used[:, 1:] = np.logical_and.accumulate(more[:, :column], axis=1)
    return digits[:, : column + 1][used].tobytes().decode("ascii")


def string_to_rle(text: str | bytes, size: tuple[int, int]) -> Rle:
    """Decode COCO's compressed string.

    Raises:
        DataError: The text is invalid, its runs do not fill `size`, or `size` has more than
            MAX_RLE_PIXELS.
    """
    pixels = _check_pixels(size)
    raw = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    symbols = np.frombuffer(raw, np.uint8).astype(np.int64) - 48
    if len(symbols) and (symbols.min() < 0 or symbols.max() > 63 or symbols[-1] & 0x20):
        raise DataError(
            f"Invalid compressed run-length string {raw[:20]!r}... Expected the characters '0' to "
            "'o', ending with a complete number. Check that the text is neither truncated nor "
            "escaped twice."
        )
    ends = np.flatnonzero((symbols & 0x20) == 0)
    starts = np.concatenate([[0], ends[:-1] + 1]) if len(ends) else ends
    position = np.arange(len(symbols)) - np.repeat(starts, ends - starts + 1)
    if len(position) and position.max() >= MAX_DIGITS - 1:
        raise DataError(
            f"Invalid compressed run-length string: a number has {int(position.max()) + 1} digits, "
            f"but at most {MAX_DIGITS - 1} are supported. Check that the text was not modified."
        )
    parts = (symbols & 0x1F) << (5 * position)
    values = np.add.reduceat(parts, starts) if len(starts) else parts
    values -= np.where(symbols[ends] & 0x10, np.int64(1) << (5 * (position[ends] + 1)), 0)
    _check_within(values, pixels)  # prevents int64 overflow in the sums below
    counts = values.copy()
    counts[1::2] = np.cumsum(values[1::2])
    counts[2::2] = np.cumsum(values[2::2])
    return _check_runs(counts, size)


def _check_runs(counts: IntArray, size: tuple[int, int]) -> Rle:
    """Encoding of runs that fill `size`. Sums that could overflow are rejected first."""
    height, width = size
    pixels = _check_pixels(size)
    if len(counts) and counts.min() < 0:
        raise DataError(f"Run lengths must not be negative, but {int(counts.min())} was given.")
    _check_within(counts, pixels)
    if int(counts.sum()) != pixels:
        raise DataError(
            f"Run lengths must sum to H * W = {height} * {width} = {pixels}, but their "
            f"sum is {int(counts.sum())}. Check the order of the size (H, W)."
        )
    return Rle(counts if len(counts) else np.zeros(1, np.int64), (height, width))


def _check_pixels(size: tuple[int, int]) -> int:
    """Return H * W. Raises DataError for a negative side or more than MAX_RLE_PIXELS."""
    height, width = size
    if height < 0 or width < 0:
        raise DataError(f"A mask size must not be negative, but H={height}, W={width} was given.")
    if height * width > MAX_RLE_PIXELS:
        raise DataError(
            f"A mask of H={height}, W={width} is too large. At most {MAX_RLE_PIXELS} pixels are "
            "supported. Split the image into tiles."
        )
    return height * width


def _check_within(numbers: IntArray, pixels: int) -> None:
    """Raises DataError if a run, or a difference of runs, is larger than the mask."""
    if len(numbers) and (numbers.max() > pixels or numbers.min() < -pixels):
        largest = int(numbers.max()) if numbers.max() > pixels else int(numbers.min())
        raise DataError(
            f"A run of {largest} pixels is longer than the whole image (H * W = "
            f"{pixels}). Check the run lengths and the size."
        )


def rle_to_coco(rle: Rle) -> dict[str, Any]:
    """Return COCO's record {"size": [H, W], "counts": compressed string}, ready for JSON."""
    return {"size": [rle.size[0], rle.size[1]], "counts": rle_to_string(rle)}


def coco_to_rle(record: Mapping[str, Any]) -> Rle:
    """Read COCO's record with compressed (str or bytes) or plain (list of int) counts.

    Raises:
        DataError: Keys are missing, the runs do not fill the size, or it exceeds MAX_RLE_PIXELS.
    """
    try:
        height, width = (int(side) for side in record["size"])
        counts = record["counts"]
        if not isinstance(counts, str | bytes):
            counts = np.asarray(counts, np.int64).reshape(-1)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise DataError(
            f'Invalid COCO run-length record {str(record)[:80]}. Expected {{"size": [H, W], '
            '"counts": str or list of int}.'
        ) from error
    if isinstance(counts, str | bytes):
        return string_to_rle(counts, (height, width))
    return _check_runs(counts, (height, width))


# --------------------------------------------------------------------------------- measurements


def rle_box_xywh(rle: Rle) -> tuple[int, int, int, int]:
    """COCO box: first pixel (x, y), width and height in pixels; zeros if empty."""
    x0, y0, x1, y1 = rle_box_xyxy(rle)
    if not rle.counts[1::2].any():
        return (0, 0, 0, 0)
    return (x0, y0, x1 - x0 + 1, y1 - y0 + 1)


def rle_box_xyxy(rle: Rle) -> tuple[int, int, int, int]:
    """First and last object pixel along x and y (both inclusive); zeros if empty."""
    starts, ends = rle_runs(rle)
    if not len(starts):
        return (0, 0, 0, 0)
    height = rle.size[0]
    x0, top = np.divmod(starts, height)
    x1, bottom = np.divmod(ends - 1, height)
    if (x1 > x0).any():  # a run that continues in the next column touches both borders
        return (int(x0[0]), 0, int(x1[-1]), height - 1)
    return (int(x0[0]), int(top.min()), int(x1[-1]), int(bottom.max()))


def rle_intersection(first: Sequence[Rle], second: Sequence[Rle]) -> IntArray:  # N, M -> (N, M)
    """Number of common object pixels of every pair, without decoding.

    The number of object pixels before an index is a piecewise linear function of the index. The
    common pixels of a pair are the growth of this function over the runs of the other mask.
    """
    _check_same_size([*first, *second])
    common = np.zeros((len(first), len(second)), np.int64)
    if not common.size:
        return common
    runs = [rle_runs(rle) for rle in first]
    lengths = np.array([len(starts) for starts, _ in runs])
    filled = np.flatnonzero(lengths)
    if not len(filled):
        return common
    starts = np.concatenate([starts for starts, _ in runs])
    ends = np.concatenate([ends for _, ends in runs])
    offsets = np.concatenate([[0], np.cumsum(lengths[filled])[:-1]])
    for column, rle in enumerate(second):
        edges = np.concatenate([[0], np.cumsum(rle.counts)]).astype(np.float64)
        covered = np.zeros(len(edges))
        covered[2::2] = np.cumsum(rle.counts[1::2])
        covered[3::2] = covered[2:-1:2]
        growth = np.interp(ends, edges, covered) - np.interp(starts, edges, covered)
        common[filled, column] = np.rint(np.add.reduceat(growth, offsets)).astype(np.int64)
    return common


def rle_iou(first: Sequence[Rle], second: Sequence[Rle]) -> NDArray[np.float64]:
    """Intersection over union (N, M) of every pair; 0 for two empty masks."""
    common = rle_intersection(first, second)
    areas_1 = np.array([rle_area(rle) for rle in first], np.int64)
    areas_2 = np.array([rle_area(rle) for rle in second], np.int64)
    return np.asarray(common / np.maximum(areas_1[:, None] + areas_2[None, :] - common, 1))


def rle_merge(rles: Sequence[Rle], *, intersect: bool = False) -> Rle:
    """Union (or intersection) of at least one mask.

    Raises:
        InputError: The list is empty, or sizes differ.
    """
    if not rles:
        raise InputError("The list of masks to merge is empty. Pass at least one mask.")
    _check_same_size(rles)
    runs = [rle_runs(rle) for rle in rles]
    starts = np.concatenate([starts for starts, _ in runs])
    ends = np.concatenate([ends for _, ends in runs])
    places, inverse = np.unique(np.concatenate([starts, ends]), return_inverse=True)
    steps = np.concatenate([np.ones(len(starts)), -np.ones(len(ends))])
    depth = np.cumsum(np.bincount(inverse.reshape(-1), steps, minlength=len(places)))
    inside = np.flatnonzero(depth >= (len(rles) if intersect else 1))
    return runs_to_rle(places[inside], places[inside + 1], rles[0].size)


def _check_same_size(rles: Sequence[Rle]) -> None:
    sizes = {rle.size for rle in rles}
    if len(sizes) > 1:
        raise InputError(
            f"The masks have different sizes (H, W): {sorted(sizes)}. Resize them to one size."
        )


def column_runs(rle: Rle) -> tuple[IntArray, IntArray, IntArray]:
    """Object runs of a mask, split at column ends: column, first row, exclusive last row (R,)."""
    starts, ends = rle_runs(rle)
    height = max(rle.size[0], 1)
    first, last = starts // height, (ends - 1) // height
    many = last - first + 1
    run = np.repeat(np.arange(len(starts)), many)
    column = np.arange(len(run)) - np.repeat(np.cumsum(many) - many, many) + first[run]
    top = np.where(column == first[run], starts[run] % height, 0)
    bottom = np.where(column == last[run], (ends[run] - 1) % height + 1, height)
    return column, top, bottom


def rle_in_window(rle: Rle, window: Window) -> Rle:
    """Crop a mask to a window. Raises InputError if the window extends beyond the image."""
    x0, y0, x1, y1 = window
    if x0 < 0 or y0 < 0 or x1 > rle.size[1] or y1 > rle.size[0] or x1 < x0 or y1 < y0:
        raise InputError(
            f"The window {window} is outside the image of (H, W) = {rle.size}. Clip the window "
            "first."
        )
    column, top, bottom = column_runs(rle)
    top, bottom = np.maximum(top, y0), np.minimum(bottom, y1)
    inside = (column >= x0) & (column < x1) & (bottom > top)
    shift = (column[inside] - x0) * (y1 - y0) - y0
    return runs_to_rle(top[inside] + shift, bottom[inside] + shift, (y1 - y0, x1 - x0))


def rle_on_image(rle: Rle, offset_xy: tuple[int, int], image_hw: tuple[int, int]) -> Rle:
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
