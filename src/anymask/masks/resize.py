"""Resize images, prompts and masks between image space and model space.

Letters: H W the image, P pixels, S the model's input side, m the side of its masks, h w given
logits, K masks. Both spaces put the centre of pixel (0, 0) at (0, 0) for clicks and at (0.5, 0.5)
for resampling, as segment-anything does (`utils/transforms.py`, `modeling/sam.py`, Apache-2.0); the
same steps and roundings give the same numbers.

Logits are resized in two bilinear steps: (h, w) to S x S, cropped to `input_hw`, to (H, W). Both
are linear and separable, so a pixel is a weighted sum of a few cells. `logits_to_masks`,
`logits_to_rles` and `logits_at` use this to skip work.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from threading import local
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from anymask.base import BoolArray, FloatArray, Floats, ImageError, IntArray, PromptError, UintImage
from anymask.masks.answer import Geometry, Indices, bilinear_taps, cell_weights
from anymask.masks.rle import Rle, crop_to_rle, empty_rle, rle_crop, rle_runs, runs_to_rle
from anymask.masks.spec import ModelSpec


def logits_at(
    logits: FloatArray, pixels_xy: Indices, geometry: Geometry
) -> FloatArray:  # (K, h, w), (P, 2) -> (K, P)
    """Logits of K masks at P pixels (x, y), equal to those of `logits_to_image`."""
    height, width = logits.shape[1:]
    y = cell_weights(pixels_xy[:, 1], height, geometry, axis=0)
    x = cell_weights(pixels_xy[:, 0], width, geometry, axis=1)
    return np.asarray(((y @ logits) * x).sum(axis=-1))


MASK_LOGIT = 6.9  # logit of 0.999, for a pixel of a bool mask prompt
_STRIP_BYTES = 64 << 20  # working memory for a strip of a large image
SINGLE_THREAD = 200_000  # products for which OpenBLAS starts no threads, which stall on a busy CPU
_PRODUCTS_PER_PIXEL = 4  # up to this cost, a window is faster than the whole image


def geometry(image_hw: tuple[int, int], spec: ModelSpec) -> Geometry:
    """Position of an image of (H, W) in model space. Sides round half up, at least 1."""
    height, width = image_hw
    side = spec.image_side
    if spec.fit == "square":
        return Geometry((height, width), (side, side), side)
    scale = side / max(height, width)
    if spec.fit == "short_side":
        scale = min(scale, side / 2 / min(height, width))
    input_hw = (max(1, int(height * scale + 0.5)), max(1, int(width * scale + 0.5)))
    return Geometry((height, width), input_hw, side)


def reduced(geometry: Geometry, limit: int | None) -> Geometry:
    """Geometry of the image downscaled to at most `limit` pixels; None keeps the size."""
    height, width = geometry.image_hw
    if limit is None or max(height, width) <= limit:
        return geometry
    scale = limit / max(height, width)
    image_hw = (max(1, int(height * scale + 0.5)), max(1, int(width * scale + 0.5)))
    return Geometry(image_hw, geometry.input_hw, geometry.side)


# --------------------------------------------------------------------------------------- images


def pad_input(input_hw: tuple[int, int], spec: ModelSpec) -> tuple[int, int]:
    """Input size (h, w) of the encoder with padding, for a resized image of `input_hw`."""
    side, step = spec.image_side, spec.pad_multiple
    if not step:
        return (side, side)
    height, width = (min(side, -(-length // step) * step) for length in input_hw)
    return (height, width)


def image_to_model(image: UintImage, spec: ModelSpec) -> FloatArray:  # (H, W, 3) -> (3, h, w)
    """Preprocess an image: resize, normalize, and pad right and bottom with zeros.

    The output is (S, S), or smaller for models with rectangular input (`ModelSpec.pad_multiple`).

    Raises:
        ImageError: The image is not uint8 (H, W, 3) with at least 1 x 1 pixels.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise ImageError(
            f"Invalid image of type {image.dtype} and shape {image.shape}. Expected uint8 (H, W, "
            "3), at least 1 x 1. Read it with anymask.load_image."
        )
    input_hw = geometry((image.shape[0], image.shape[1]), spec).input_hw
    if spec.resample == "pillow_bilinear":
        pixels: NDArray[Any] = _pillow(image, input_hw, Image.Resampling.BILINEAR)
    elif spec.resample == "pillow_bicubic":
        pixels = _pillow(image, input_hw, Image.Resampling.BICUBIC)
    elif spec.resample == "torch_antialias":
        # Equal to torch's interpolate(bilinear, antialias=True) in float, without rounding.
        planes = (plane.astype(np.float32) for plane in cv2.split(image))
        pixels = np.dstack(
            [*(_pillow_resized(plane, input_hw, Image.Resampling.BILINEAR) for plane in planes)]
        )
    elif spec.resample == "torch_bilinear":
        pixels = _torch_bilinear(image, input_hw)
    elif spec.resample == "nearest":
        pixels = _cv_resize(image, input_hw, cv2.INTER_NEAREST)
    elif spec.resample == "medsam":
        # As MedSAM: cubic, rounded down, rescaled to 0..255; a constant image becomes black.
        whole = np.floor(cubic_resized(image, input_hw) + 1e-9)
        least, largest = whole.min(), whole.max()
        pixels = ((whole - least) * (255 / max(largest - least, 1e-8))).astype(np.float32)
    else:
        pixels = _area(image, input_hw)
    out = np.empty((3, *pad_input(input_hw, spec)), np.float32)
    out[:, input_hw[0] :] = 0
    out[:, : input_hw[0], input_hw[1] :] = 0
    for channel, plane in enumerate(cv2.split(pixels)):
        filled = out[channel, : input_hw[0], : input_hw[1]]
        np.subtract(plane, np.float32(spec.mean[channel]), out=filled)
        filled /= np.float32(spec.std[channel])
    return out


def _pillow(image: UintImage, size_hw: tuple[int, int], how: Image.Resampling) -> UintImage:
    """Pillow's antialiased resize along x, then along y, with uint8 between them.

    This is the order of Pillow before version 13, and of the reference code; Pillow 13 chooses it
    by size, which changes a pixel by one. Large images are narrowed in strips.
    """
    height, width = image.shape[:2]
    narrow = image
    if width != size_hw[1]:
        narrow = np.empty((height, size_hw[1], 3), np.uint8)
        rows = max(1, _STRIP_BYTES // (4 * width))
        for top in range(0, height, rows):
            strip = image[top : top + rows]
            narrow[top : top + rows] = _pillow_resized(strip, (len(strip), size_hw[1]), how)
    return narrow if height == size_hw[0] else _pillow_resized(narrow, size_hw, how)


def _pillow_resized(
    array: NDArray[Any], size_hw: tuple[int, int], how: Image.Resampling
) -> NDArray[Any]:
    image = Image.fromarray(np.ascontiguousarray(array))
    return np.asarray(image.resize((size_hw[1], size_hw[0]), how))


def _torch_bilinear(image: UintImage, size_hw: tuple[int, int]) -> FloatArray:
    """Float bilinear with half-pixel centres, without antialiasing.

    Equal to torch's interpolate(bilinear, align_corners=False) on the 0..255 scale. Only the
    sampled pixels are converted to float, so the cost is independent of the image size.
    """
    (y0, y1, wy), (x0, x1, wx) = (
        bilinear_taps(np.arange(new), old, new)
        for old, new in zip(image.shape[:2], size_hw, strict=True)
    )
    weight = wx[None, :, None]
    out: FloatArray | None = None
    for rows, share in ((y0, 1 - wy), (y1, wy)):
        lines = image[rows]
        left = lines[:, x0].astype(np.float32)
        left += weight * (lines[:, x1].astype(np.float32) - left)
        left *= share[:, None, None]
        out = left if out is None else out + left
    assert out is not None
    return out


def _area(image: UintImage, size_hw: tuple[int, int]) -> UintImage:
    """Area mean along an axis that shrinks, bilinear along one that grows."""
    (height, width), (new_h, new_w) = image.shape[:2], size_hw
    small_hw = (min(height, new_h), min(width, new_w))
    if small_hw != (height, width):
        image = _cv_resize(image, small_hw, cv2.INTER_AREA)
    if small_hw != size_hw:
        image = _cv_resize(image, size_hw, cv2.INTER_LINEAR)
    return image


def _cv_resize(array: NDArray[Any], size_hw: tuple[int, int], interpolation: int) -> NDArray[Any]:
    return cv2.resize(array, (size_hw[1], size_hw[0]), interpolation=interpolation).reshape(
        size_hw + array.shape[2:]
    )


# ------------------------------------------------------------------------------------- prompts


def points_to_model(points: ArrayLike, geometry: Geometry) -> FloatArray:  # (..., 2) -> (..., 2)
    """Scale points from image pixels to model pixels."""
    return (np.asarray(points, np.float64) * geometry.scale_xy).astype(np.float32)


def boxes_to_model(boxes: ArrayLike, geometry: Geometry) -> FloatArray:  # (..., 4)
    """Scale boxes from image pixels to model pixels."""
    return (np.asarray(boxes, np.float64) * (geometry.scale_xy * 2)).astype(np.float32)


def mask_to_model(
    mask: NDArray[Any], geometry: Geometry, mask_side: int
) -> FloatArray:  # (H, W) or (m, m) -> (1, m, m)
    """Convert a mask prompt to decoder input: float32 logits of the whole S x S input.

    Args:
        mask: Bool or integer mask of any size, or float logits (m, m) of an earlier prediction,
            which are returned unchanged. A mask is stretched over the image and averaged to m x m;
            the logit of each cell is that of its object share, within -MASK_LOGIT..MASK_LOGIT. The
            padding is background.
        geometry: Position of the image in model space.
        mask_side: Side m of the model's masks.

    Raises:
        PromptError: Float logits have another size, or the mask is not two-dimensional.
    """
    if mask.ndim != 2 or not mask.size:
        raise PromptError(f"Invalid mask prompt of shape {mask.shape}. Expected (H, W).")
    if mask.dtype.kind == "f":
        if mask.shape != (mask_side, mask_side):
            raise PromptError(
                f"Invalid mask logits of shape {mask.shape}. This model requires the "
                f"shape ({mask_side}, {mask_side}). Pass logits that this model "
                "predicted, or a bool mask such as logits > 0."
            )
        return np.ascontiguousarray(mask, np.float32)[None]
    shares = _area((mask != 0).view(np.uint8) * np.uint8(255), geometry.input_hw)
    whole = np.zeros((geometry.side, geometry.side), np.float32)
    whole[: geometry.input_hw[0], : geometry.input_hw[1]] = shares
    p = np.clip(_cv_resize(whole, (mask_side, mask_side), cv2.INTER_AREA) / 255, 1e-6, 1 - 1e-6)
    return np.clip(np.log(p / (1 - p)), -MASK_LOGIT, MASK_LOGIT).astype(np.float32)[None]


# ----------------------------------------------------------------------------------- predictions


def logits_to_image(
    logits: FloatArray, geometry: Geometry, *, limit: int | None = None
) -> FloatArray:  # (K, h, w) -> (K, H, W)
    """Resize model-space logits to image pixels, float32.

    Args:
        logits: Logits (K, h, w).
        geometry: Position of the image in model space.
        limit: Maximum of the longest side in pixels, for a reduced output.
    """
    height, width = reduced(geometry, limit).image_hw
    out = np.empty((len(logits), height, width), np.float32)
    for plane, target in zip(logits, out, strict=True):
        cv2.resize(_fill(plane, geometry), (width, height), dst=target)
    return out


def _fill(plane: FloatArray, geometry: Geometry) -> FloatArray:  # (h, w) -> input_hw
    """Logits of one mask at model resolution, without the padding."""
    return _cv_resize(
        np.ascontiguousarray(plane, np.float32), (geometry.side,) * 2, cv2.INTER_LINEAR
    )[: geometry.input_hw[0], : geometry.input_hw[1]]


def logits_used(side: int, geometry: Geometry) -> tuple[int, int]:
    """Number of leading rows and columns of `side` x `side` logits that the image depends on."""
    _, last, _ = bilinear_taps(np.arange(geometry.side), side, geometry.side)
    rows, columns = (int(last[length - 1]) + 1 for length in geometry.input_hw)
    return rows, columns


def logits_to_masks(
    logits: FloatArray, geometry: Geometry, threshold: float = 0.0, *, limit: int | None = None
) -> BoolArray:  # (K, h, w) -> (K, H, W)
    """`logits_to_image(...) > threshold`, without the memory of a float image.

    Args:
        logits: Logits (K, h, w).
        geometry: Position of the image in model space.
        threshold: Logits above it are foreground.
        limit: Maximum of the longest side in pixels, for a reduced output.
    """
    target = reduced(geometry, limit)
    out = np.zeros((len(logits), *target.image_hw), np.bool_)
    canvas = Canvas()
    for plane, mask in zip(logits, out, strict=True):
        if plane.max(initial=-np.inf) > threshold:  # bilinear never exceeds its inputs
            for top, strip in _strips(_fill(plane, target), target.image_hw, canvas):
                np.greater(strip, np.float32(threshold), out=mask[top : top + len(strip)])
    return out


class Canvas(local):
    """Reusable buffers of image size, one set per thread.

    Allocating memory for each mask takes longer than drawing it.
    """

    def __init__(self) -> None:
        self._rooms: dict[type[Any], NDArray[Any]] = {}

    def room(self, hw: tuple[int, int], dtype: type[Any]) -> NDArray[Any]:
        """Uninitialized buffer (h, w) of a dtype."""
        size = hw[0] * hw[1]
        if dtype not in self._rooms or self._rooms[dtype].size < size:
            self._rooms[dtype] = np.empty(size, dtype)
        return self._rooms[dtype][:size].reshape(hw)


def _strips(
    filled: FloatArray, image_hw: tuple[int, int], canvas: Canvas
) -> Iterator[tuple[int, FloatArray]]:
    """Yield the image's logits from top to bottom as (first row, rows); one strip if small."""
    height, width = image_hw
    rows = max(1, _STRIP_BYTES // (4 * width))
    if rows >= height:
        whole = canvas.room(image_hw, np.float32)
        yield 0, np.asarray(cv2.resize(filled, (width, height), dst=whole))
        return
    first, second, weight = bilinear_taps(np.arange(height), filled.shape[0], height)
    for top in range(0, height, rows):
        part = slice(top, min(top + rows, height))
        lines = filled[first[part]]
        lines += weight[part, None] * (filled[second[part]] - lines)
        yield top, _cv_resize(lines, (len(lines), width), cv2.INTER_LINEAR)


def logits_to_rles(
    logits: FloatArray, geometry: Geometry, threshold: float = 0.0
) -> list[Rle]:  # (K, h, w)
    """Masks as run-length encodings; the cost depends on the size of the object."""
    return [_plane_to_rle(plane, geometry, threshold) for plane in logits]


def _plane_to_rle(plane: FloatArray, geometry: Geometry, threshold: float) -> Rle:
    window, strips = window_strips(plane, geometry, threshold)
    mask = np.empty((window.height, window.width), np.bool_)
    for top, strip in strips:
        np.greater(strip, np.float32(threshold), out=mask[top : top + len(strip)])
    return crop_to_rle(mask, (window.x, window.y), geometry.image_hw)


class ImageWindow(NamedTuple):
    """A window of the image: its first pixel and its size."""

    x: int
    y: int
    width: int
    height: int


def window_strips(
    plane: FloatArray, geometry: Geometry, lowest: float, canvas: Canvas | None = None
) -> tuple[ImageWindow, Iterator[tuple[int, FloatArray]]]:  # (h, w)
    """Logits of one mask in image pixels, within the window where they may exceed `lowest`.

    Args:
        plane: Logits (h, w) of one mask.
        geometry: Position of the image in model space.
        lowest: No pixel outside the window exceeds it.
        canvas: Buffers for the strips, which the next mask overwrites.

    Returns:
        The window, and an iterator of its strips as (first row in the window, rows).
    """
    above = plane > lowest
    if not above.any():
        return ImageWindow(0, 0, 0, 0), iter(())
    low_y, image_y, matrix_y = _window(np.any(above, axis=1), geometry, axis=0)
    low_x, image_x, matrix_x = _window(np.any(above, axis=0), geometry, axis=1)
    (rows, low_h), (columns, low_w) = matrix_y.shape, matrix_x.shape
    height, width = geometry.image_hw
    products = rows * low_w * (low_h + columns)
    if products > _PRODUCTS_PER_PIXEL * (height * width + geometry.side**2):
        return ImageWindow(0, 0, width, height), _strips(
            _fill(plane, geometry), (height, width), canvas or Canvas()
        )
    low = np.asarray(plane[low_y, low_x], np.float32)
    window = ImageWindow(image_x.start, image_y.start, columns, rows)
    return window, _products(matrix_y, low, matrix_x)


def _products(
    matrix_y: FloatArray, low: FloatArray, matrix_x: FloatArray
) -> Iterator[tuple[int, FloatArray]]:
    """Compute matrix_y @ low @ matrix_x.T in strips: (first row, rows)."""
    low_h, low_w = low.shape
    block = max(1, SINGLE_THREAD // max(1, low_w * max(low_h, len(matrix_x))))
    for top in range(0, len(matrix_y), block):
        yield top, np.asarray(matrix_y[top : top + block] @ low @ matrix_x.T, np.float32)


def _window(above: BoolArray, geometry: Geometry, axis: int) -> tuple[slice, slice, FloatArray]:
    """Low-resolution and image windows along one axis, and the matrix between them."""
    matrix, first, last = axis_operator(
        len(above), geometry.side, geometry.input_hw[axis], geometry.image_hw[axis]
    )
    indices = np.flatnonzero(above)
    start = int(np.searchsorted(last, indices[0], side="left"))
    stop = int(np.searchsorted(first, indices[-1], side="right"))
    if stop <= start:  # only padding is above the threshold
        return slice(0, 0), slice(0, 0), matrix[:0, :0]
    low = slice(int(first[start]), int(last[stop - 1]) + 1)
    return low, slice(start, stop), matrix[start:stop, low]


@lru_cache(maxsize=16)
def axis_operator(
    low: int, side: int, filled: int, full: int
) -> tuple[FloatArray, NDArray[np.intp], NDArray[np.intp]]:
    """Both bilinear steps along one axis as a matrix (full, low), with first and last tap per row.

    Args:
        low: Number of logits along the axis.
        side: Number of model pixels.
        filled: Model pixels that the image covers.
        full: Number of image pixels.
    """
    first, second, weight = bilinear_taps(np.arange(side), low, side)
    up = np.zeros((side, low), np.float32)
    np.add.at(up, (np.arange(side), first), 1 - weight)
    np.add.at(up, (np.arange(side), second), weight)
    first, second, weight = bilinear_taps(np.arange(full), filled, full)
    matrix = up[first] * (1 - weight[:, None]) + up[second] * weight[:, None]
    taps = matrix != 0
    return matrix, taps.argmax(axis=1), low - 1 - taps[:, ::-1].argmax(axis=1)


_STRIP_PIXELS = 1 << 22  # of a mask that is enlarged: 16 MB of floats


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


# Resize images by cubic splines as scikit-image does.
#
# Sources: Unser 1999 ("Splines: a perfect fit for signal and image processing", box 2) for the
# recursive filter from samples to coefficients; `skimage.transform.resize` with order 3,
# anti_aliasing and preserve_range (BSD-3-Clause), which MedSAM calls, for the order of the steps: a
# Gaussian along axes that shrink, then the spline along each axis, mirrored at the centres of the
# first and last pixel. The result is clipped to the range of the image.
#
# Letters: H W the image, n pixels along an axis.

POLE = np.sqrt(3.0) - 2.0  # of the filter
_HORIZON = 40  # pixels after which the power of the pole is negligible
_GAUSSIAN_TRUNCATION = 4.0  # truncation of the Gaussian in standard deviations


def cubic_resized(image: UintImage, size_hw: tuple[int, int]) -> Floats:  # (H, W, C) -> (h, w, C)
    """Resize an image in float64 within its value range."""
    out: Floats = image.astype(np.float64)
    for axis in (0, 1):
        out = _smoothed(out, axis, (out.shape[axis] / size_hw[axis] - 1) / 2)
    for axis in (0, 1):
        out = _stretched(out, axis, size_hw[axis])
    return out.clip(image.min(), image.max())


def _smoothed(values: Floats, axis: int, sigma: float) -> Floats:
    """Apply a Gaussian along one axis, if the axis shrinks."""
    if sigma <= 0:
        return values
    radius = int(_GAUSSIAN_TRUNCATION * sigma + 0.5)
    bell = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    kernel, unit = bell / bell.sum(), np.ones(1)
    n = values.shape[axis]
    # OpenCV's mirror border requires more pixels than the kernel has.
    padded = values.take(_mirrored(np.arange(-radius, n + radius), n), axis)
    across, down = (unit, kernel) if axis == 0 else (kernel, unit)
    blurred = cv2.sepFilter2D(padded, -1, across, down, borderType=cv2.BORDER_REPLICATE)
    inner: Floats = np.asarray(blurred, np.float64).reshape(padded.shape)
    return inner.take(np.arange(radius, radius + n), axis)


def _stretched(values: Floats, axis: int, size: int) -> Floats:
    """Sample `size` places along one axis, with pixel centres at halves."""
    n = values.shape[axis]
    rows = _coefficients(np.moveaxis(values, axis, 0).copy())
    positions = (np.arange(size) + 0.5) * (n / size) - 0.5
    first = np.floor(positions).astype(np.intp)
    t = (positions - first).reshape(-1, *[1] * (rows.ndim - 1))
    shares = ((1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3)
    out = sum(
        rows[_mirrored(first + step, n)] * (share / 6)
        for step, share in zip((-1, 0, 1, 2), shares, strict=True)
    )
    return np.moveaxis(np.asarray(out), 0, axis)


def _coefficients(rows: Floats) -> Floats:
    """Convert samples along the first axis to spline coefficients, in place."""
    n = len(rows)
    if n == 1:
        return rows
    powers = POLE ** np.arange(_HORIZON)
    rows *= (1 - POLE) * (1 - 1 / POLE)
    rows[0] = np.tensordot(powers, rows[_mirrored(np.arange(_HORIZON), n)], axes=1)
    for i in range(1, n):
        rows[i] += POLE * rows[i - 1]
    rows[-1] = (POLE / (POLE**2 - 1)) * (rows[-1] + POLE * rows[-2])
    for i in range(n - 2, -1, -1):
        rows[i] = POLE * (rows[i + 1] - rows[i])
    return rows


def _mirrored(places: Indices, n: int) -> Indices:
    """Mirror indices beyond an axis at the centres of its first and last pixel."""
    if n == 1:
        return np.zeros_like(places)
    period = 2 * n - 2
    inside: Indices = np.abs(places) % period
    return np.minimum(inside, period - inside)
