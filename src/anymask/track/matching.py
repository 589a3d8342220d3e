"""Matching of encoder cells: an object's cells on earlier frames in, its share of new cells out.

The maps of an encoder, centred and normalised, are keys; a cell of the new frame takes the labels
of the remembered cells whose keys are most like its own.

Source of the idea: Oh et al. 2019 (STM, arXiv:1904.00607, section 3.2) and Jabri et al. 2020
(arXiv:2006.14613, section 3.3, propagation of labels without training). Ours: keys of several maps
of an image model, nothing learned.

Letters: G cells of the grid, C channels of a key, M remembered cells, N objects, h w the grid.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce

import cv2
import numpy as np

from anymask.base import BoolArray, FloatArray
from anymask.masks import SINGLE_THREAD, FeatureMap, Geometry

GRID = 32  # cells along the model's side, as a rule
SHARPNESS = 60.0  # of the softmax over cosines
REACH = 5  # cells that a thing moves from one frame to the next at most


@dataclass(frozen=True, eq=False)
class CellKeys:
    """The keys of one frame: (G, C) of unit length, row by row of a grid (h, w)."""

    values: FloatArray
    grid_hw: tuple[int, int]


@dataclass(frozen=True, eq=False)
class Glimpse:
    """One remembered frame of an object: its keys and labels.

    labels  (G,) the object's share of each cell
    trust   added to the likeness of its cells: what a person said counts for more
    parts   (G, 16) the object's share of each fine cell, where a network of memory reads them
    """

    frame: int
    keys: CellKeys
    labels: FloatArray
    trust: float = 0.0
    parts: FloatArray | None = None


def maps_to_keys(maps: tuple[FeatureMap, ...], geometry: Geometry, cells: int = GRID) -> CellKeys:
    """The keys of the part of the maps that the picture fills.

    cells  along the model's side
    """
    height, width = (-(-cells * filled // geometry.side) for filled in geometry.input_hw)
    parts = []
    for one in maps:
        pooled = _pool(one.values, (height, width), cells).reshape(one.values.shape[0], -1)
        centred = pooled - pooled.mean(axis=1, keepdims=True)
        parts.append(centred / (np.linalg.norm(centred, axis=0) + 1e-6))
    joined = np.concatenate(parts).T / np.sqrt(len(parts))
    return CellKeys(np.ascontiguousarray(joined, np.float32), (height, width))


def _pool(
    values: FloatArray, grid_hw: tuple[int, int], count: int
) -> FloatArray:  # (C, s, s) -> (C, h, w)
    """The first cells of count x count, the mean of a map's values in each."""
    (height, width), side = grid_hw, values.shape[-1]
    if side % count:
        size = (count, count)
        planes = [cv2.resize(plane, size, interpolation=cv2.INTER_AREA) for plane in values]
        return np.stack(planes).astype(np.float32)[:, :height, :width]
    step = side // count
    used = values[:, : height * step, : width * step].reshape(-1, height, step, width * step)
    rows = reduce(np.add, [used[:, :, line] for line in range(step)])
    cells = reduce(np.add, [rows[:, :, line::step] for line in range(step)])
    return np.asarray(cells / np.float32(step**2), np.float32)


def soft_to_labels(soft: FloatArray, grid_hw: tuple[int, int]) -> FloatArray:  # (h, w) -> (G,)
    """A soft mask's share of each cell."""
    cells = cv2.resize(soft, grid_hw[::-1], interpolation=cv2.INTER_AREA)
    return np.asarray(cells, np.float32).reshape(-1)


def match_cells(
    keys: CellKeys,
    glimpses: tuple[Glimpse, ...],
    others: tuple[tuple[Glimpse, ...], ...] = (),
    where: BoolArray | None = None,
) -> FloatArray:  # -> (N, G)
    """The object's share of each cell, for N objects that were remembered on the same frames.

    glimpses  of the first object
    others    of each further one
    where     (G,) the cells that are looked at; the others have 0; None: all
    """
    asked = np.arange(len(keys.values)) if where is None else np.flatnonzero(where)
    labels = np.stack([np.concatenate([g.labels for g in one]) for one in (glimpses, *others)])
    found = np.zeros((len(labels), len(keys.values)), np.float32)
    if not len(asked):
        return found
    queries = keys.values[asked] * np.float32(SHARPNESS)
    remembered = np.concatenate([one.keys.values for one in glimpses])
    scores = _products(queries, remembered)
    scores += _trusts(glimpses) * np.float32(SHARPNESS)
    scores -= scores.max(axis=1, keepdims=True)
    weights = np.exp(scores, out=scores)
    summed = np.concatenate([labels, np.ones_like(labels[:1])]).T  # (M, N + 1)
    rows = max(1, SINGLE_THREAD // summed.size)
    for top in range(0, len(asked), rows):
        shares = weights[top : top + rows] @ summed
        found[:, asked[top : top + rows]] = (shares[:, :-1] / shares[:, -1:]).T
    return found


def _products(one: FloatArray, other: FloatArray) -> FloatArray:  # (G, C), (M, C) -> (G, M)
    """By OpenCV, in one thread: OpenBLAS's would wait for the core that encodes the next frame."""
    nothing = np.empty((0, 0), np.float32)  # is added to the products
    return np.asarray(cv2.gemm(one, other, 1, nothing, 0, flags=cv2.GEMM_2_T), np.float32)


def _trusts(glimpses: tuple[Glimpse, ...]) -> FloatArray:  # -> (M,)
    lengths = [len(one.labels) for one in glimpses]
    return np.repeat(np.array([one.trust for one in glimpses], np.float32), lengths)


def near_object(labels: FloatArray, grid_hw: tuple[int, int]) -> BoolArray:  # (G,) -> (G,)
    """The cells that the object can have reached since it filled `labels`."""
    there = (labels > 0.3).astype(np.uint8).reshape(grid_hw)
    side = 2 * REACH + 1
    reached = cv2.dilate(there, np.ones((side, side), np.uint8))
    return np.asarray(reached > 0).reshape(-1)
