"""Sampling of logits: low-resolution logits and pixels in, the logit at each pixel out.

Letters: K masks, h w their low-resolution logits, P pixels, S the model's input side.

The way from low-resolution logits to the photo (`primitives.resize.logits_to_image`: bilinear to
S x S, cut to the photo's part, bilinear to H x W) is linear along each axis, so a pixel is a
weighted sum of a few low-resolution cells.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from anymask.primitives.spec import Geometry
from anymask.primitives.types import FloatArray

Indices = NDArray[np.intp]


def point_pixels(points: ArrayLike, image_hw: tuple[int, int]) -> Indices:  # (P, 2) -> (P, 2)
    """The pixel (x, y) that holds each point; floor, as `clicks.violated_points` does."""
    height, width = image_hw
    pixels: Indices = np.floor(np.asarray(points, np.float64).reshape(-1, 2)).astype(np.intp)
    return np.clip(pixels, 0, (width - 1, height - 1))


def pixels_to_cells(
    pixels: Indices, low_hw: tuple[int, ...], geometry: Geometry
) -> NDArray[np.float64]:  # (P, 2) x, y -> (P, 2) row, column
    """Pixels as low-resolution places, cell centres at whole numbers."""
    scale = np.array(geometry.input_hw) / geometry.image_hw * np.array(low_hw) / geometry.side
    places: NDArray[np.float64] = (pixels[:, ::-1] + 0.5) * scale - 0.5
    return places


def cell_weights(
    pixels: Indices, low_side: int, geometry: Geometry, axis: int
) -> FloatArray:  # (P,) -> (P, low_side)
    """How much each low-resolution row (axis 0) or column (axis 1) counts for each pixel."""
    weights = np.zeros((len(pixels), low_side), np.float32)
    rows = np.arange(len(pixels))
    for place, share in _pairs(pixels, geometry.input_hw[axis], geometry.image_hw[axis]):
        for cell, part in _pairs(place, low_side, geometry.side):
            np.add.at(weights, (rows, cell), share * part)
    return weights


def _pairs(places: Indices, old: int, new: int) -> list[tuple[Indices, FloatArray]]:
    """The two of `old` places around each of `new`, and how much each counts."""
    first, second, share = bilinear_taps(places, old, new)
    return [(first, 1 - share), (second, share)]


def bilinear_taps(
    places: Indices, old: int, new: int
) -> tuple[Indices, Indices, FloatArray]:  # (P,) -> (P,) each
    """For half-pixel places of `new`: the two of `old` around each, and the second's weight."""
    place = np.maximum((places + 0.5) * (old / new) - 0.5, 0)
    first = np.minimum(place.astype(np.intp), old - 1)
    return first, np.minimum(first + 1, old - 1), (place - first).astype(np.float32)


def logits_at(
    logits: FloatArray, pixels_xy: Indices, geometry: Geometry
) -> FloatArray:  # (K, h, w), (P, 2) -> (K, P)
    """The logit of each pixel in each mask, as `logits_to_image` gives it."""
    height, width = logits.shape[1:]
    y = cell_weights(pixels_xy[:, 1], height, geometry, axis=0)
    x = cell_weights(pixels_xy[:, 0], width, geometry, axis=1)
    found: FloatArray = ((y @ logits) * x).sum(axis=-1)
    return found
