"""Resize images by cubic splines as scikit-image does.

Sources: Unser 1999 ("Splines: a perfect fit for signal and image processing", box 2) for the
recursive filter from samples to coefficients; `skimage.transform.resize` with order 3,
anti_aliasing and preserve_range (BSD-3-Clause), which MedSAM calls, for the order of the steps: a
Gaussian along axes that shrink, then the spline along each axis, mirrored at the centres of the
first and last pixel. The result is clipped to the range of the image.

Letters: H W the image, n pixels along an axis.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from anymask.base import FloatArray, Floats, UintImage

Indices = NDArray[np.intp]

POLE = np.sqrt(3.0) - 2.0  # of the filter
_GAIN = (1 - POLE) * (1 - 1 / POLE)
_HORIZON = 40  # pixels after which the power of the pole is negligible
_REACH = 4.0  # truncation of the Gaussian in standard deviations


def cubic_resized(image: UintImage, size_hw: tuple[int, int]) -> Floats:  # (H, W, C) -> (h, w, C)
    """Resize an image in float64 within its value range."""
    out: Floats = image.astype(np.float64)
    for axis in (0, 1):
        out = _smoothed(out, axis, (out.shape[axis] / size_hw[axis] - 1) / 2)
    for axis in (0, 1):
        out = _stretched(out, axis, size_hw[axis])
    return out.clip(image.min(), image.max())


def medsam_pixels(image: UintImage, size_hw: tuple[int, int]) -> FloatArray:
    """Preprocess an image as MedSAM does: cubic resizing, rounded down, rescaled to 0..255.

    A constant image becomes black.
    """
    whole = np.floor(cubic_resized(image, size_hw) + 1e-9)
    least, largest = whole.min(), whole.max()
    seen: FloatArray = ((whole - least) * (255 / max(largest - least, 1e-8))).astype(np.float32)
    return seen


def _smoothed(values: Floats, axis: int, sigma: float) -> Floats:
    """Apply a Gaussian along one axis, if the axis shrinks."""
    if sigma <= 0:
        return values
    radius = int(_REACH * sigma + 0.5)
    bell = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    kernel, one = bell / bell.sum(), np.ones(1)
    n = values.shape[axis]
    # OpenCV's mirror border requires more pixels than the kernel has.
    padded = values.take(_mirrored(np.arange(-radius, n + radius), n), axis)
    across, down = (one, kernel) if axis == 0 else (kernel, one)
    found = cv2.sepFilter2D(padded, -1, across, down, borderType=cv2.BORDER_REPLICATE)
    inner: Floats = np.asarray(found, np.float64).reshape(padded.shape)
    return inner.take(np.arange(radius, radius + n), axis)


def _stretched(values: Floats, axis: int, size: int) -> Floats:
    """Sample `size` places along one axis, with pixel centres at halves."""
    n = values.shape[axis]
    rows = _coefficients(np.moveaxis(values, axis, 0).copy())
    place = (np.arange(size) + 0.5) * (n / size) - 0.5
    first = np.floor(place).astype(np.intp)
    t = (place - first).reshape(-1, *[1] * (rows.ndim - 1))
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
    rows *= _GAIN
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
    mirrored: Indices = np.minimum(inside, period - inside)
    return mirrored
