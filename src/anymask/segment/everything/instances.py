"""Instances from predicted distances: seeds, then a watershed, instead of a grid of clicks.

The automatic instance segmentation of micro-sam (Archit et al. 2025, "Segment Anything for
Microscopy", Methods): seeds are the connected regions where the distance to the center and the
distance to the boundary are both small, and a watershed of the boundary distance on the foreground
assigns every cell to a seed. Differences: the mask of an instance is interpolated from the
foreground probability, so its edge is not limited to cells, and each instance has a score.

Letters: h w the cells of the planes, H W the image, n instances.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from anymask.base import FloatArray, IntArray
from anymask.masks import Features, Mask
from anymask.runtime import ImageRuntime, InstancePlanes, require
from anymask.segment.everything.filter import make_record
from anymask.segment.everything.grid import CropView
from anymask.segment.settings import Grid

FOREGROUND = 0.5  # minimum probability of the foreground
SEED = 0.5  # maximum center and boundary distance of a seed
BLUR = 0.8  # standard deviation of the smoothing of the distances, in cells
LEVELS = 64  # of the boundary distance in the watershed
SMALLEST = 6  # cells of the smallest instance
OUTSIDE = -10.0  # logit outside an instance
CROSS = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))


class Distances(NamedTuple):
    """Planes (h, w) in 0..1 without padding, as `models.instance_head` predicts them."""

    foreground: FloatArray  # Probability of the foreground
    center: FloatArray  # Distance to the instance's center, relative to its largest
    boundary: FloatArray  # 1 minus the distance to the instance's boundary, relative to its largest


def find_instances(
    runtime: ImageRuntime, place: Features, view: CropView, settings: Grid
) -> list[Mask]:
    """Find all instances in a view of an image.

    Args:
        runtime: Runtime of the model.
        place: Embedding of the view.
        view: The view.
        settings: Settings of the search; `score` and `stability` filter the instances.

    Raises ModelError if the model has no instance head.
    """
    planes = require(runtime, InstancePlanes).instance_planes(place.seen)
    side = planes.shape[-1]
    rows, columns = place.geometry.filled_cells(side)
    foreground, center, boundary = planes[:, :rows, :columns]
    distances = Distances(foreground, center, boundary)
    labels = separate(distances)
    found: list[Mask] = []
    for logits, score, (x, y) in _each(labels, distances, side):
        if score > settings.score or not settings.score:
            click = np.array([x / columns * place.image_hw[1], y / rows * place.image_hw[0]])
            found += make_record(logits, score, click, view, settings)
    return found


def separate(distances: Distances) -> IntArray:  # -> (h, w)
    """Separate instances: 0 in the background, instances numbered from 1."""
    inside = distances.foreground > FOREGROUND
    center, boundary = (
        np.asarray(cv2.GaussianBlur(plane, (0, 0), BLUR), np.float32)
        for plane in (distances.center, distances.boundary)
    )
    seeds = inside & (center < SEED) & (boundary < SEED)
    seeds |= _without_seed(inside, seeds)
    _, numbered_seeds = cv2.connectedComponents(seeds.view(np.uint8), connectivity=4)
    labels = _flood(np.asarray(numbered_seeds, np.int32), boundary, inside)
    sizes = np.bincount(labels.ravel())
    kept = sizes >= SMALLEST
    kept[0] = False
    numbers = np.cumsum(kept) * kept
    numbered: IntArray = numbers[labels].astype(np.int64)
    return numbered


def _without_seed(inside: NDArray[np.bool_], seeds: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Connected regions of the foreground (h, w) in which no cell is a seed."""
    _, regions = cv2.connectedComponents(inside.view(np.uint8), connectivity=4)
    seeded = np.zeros(regions.max() + 1, np.bool_)
    seeded[regions[seeds]] = True
    seeded[0] = True
    without: NDArray[np.bool_] = ~seeded[regions]
    return without


def _flood(
    labels: NDArray[np.int32], height: FloatArray, inside: NDArray[np.bool_]
) -> NDArray[np.int32]:
    """Extend seeds over the cells inside, in the order of their height (h, w) in 0..1."""
    levels = np.where(inside, np.clip(height * LEVELS, 0, LEVELS - 1).astype(np.int32), LEVELS)
    flooded = labels.astype(np.float32)  # cv2.dilate does not support 32-bit integers
    for level in range(LEVELS):
        reached = levels <= level
        while True:
            free = reached & (flooded == 0)
            if not free.any():
                break
            grown = cv2.dilate(flooded, CROSS)
            if not grown[free].any():
                break
            flooded[free] = grown[free]
    return flooded.astype(np.int32)


def _each(
    labels: IntArray, distances: Distances, side: int
) -> list[tuple[FloatArray, float, tuple[float, float]]]:
    """Logits (side, side), score and center (x, y) of each instance.

    Cells of other instances are outside. The background beside an instance keeps its own
    probability, so that the edge lies where the probability crosses `FOREGROUND`.
    """
    p = np.clip(distances.foreground, 1e-4, 1 - 1e-4)
    logits = np.log(p / (1 - p)).astype(np.float32)
    found = []
    rows, columns = labels.shape
    for number in range(1, int(labels.max(initial=0)) + 1):
        own = labels == number
        y, x = np.nonzero(own)
        top, bottom, left, right = y.min(), y.max() + 1, x.min(), x.max() + 1
        window = np.s_[max(top - 1, 0) : bottom + 1, max(left - 1, 0) : right + 1]
        near = cv2.dilate(own[window].view(np.uint8), np.ones((3, 3), np.uint8)) > 0
        near &= own[window] | (labels[window] == 0)
        plane = np.full((side, side), OUTSIDE, np.float32)
        plane[:rows, :columns][window][near] = logits[window][near]
        if bottom == rows:  # the padding continues the image, so that the edge is not rounded
            plane[rows : rows + 2] = plane[rows - 1]
        if right == columns:
            plane[:, columns : columns + 2] = plane[:, columns - 1 : columns]
        middle = distances.center[own].argmin()
        clear = 1 - float(distances.center[own].min())
        score = float(distances.foreground[own].mean()) * clear
        found.append((plane, score, (float(x[middle]) + 0.5, float(y[middle]) + 0.5)))
    return found
