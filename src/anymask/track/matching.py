"""Object priors for tracking with an image model, from feature matching and optical flow.

Centered and normalized encoder features are the keys. Each cell of the new frame takes the labels
of the remembered cells with the most similar keys.

Source of the idea: Oh et al. 2019 (STM, arXiv:1904.00607, section 3.2) and Jabri et al. 2020
(arXiv:2006.14613, section 3.3, label propagation without training). Ours: keys of several feature
maps of an image model, untrained, combined with the last mask warped by optical flow.

Letters: G cells of the grid, C channels of a key, M remembered cells, N objects, h w the grid or
the reduced frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from anymask.base import BoolArray, FloatArray, Floats, UintImage, brief
from anymask.masks import SINGLE_THREAD, FeatureMap, Features, Geometry, Rle, rle_area, rle_iou
from anymask.track.flow import Flows, carry_along
from anymask.track.records import StateArrays

GRID = 32  # default number of cells along the model's side
SHARPNESS = 60.0  # inverse temperature of the softmax over cosines
MOTION_CELLS = 5  # maximum motion between two frames, in cells
PROMPT_BONUS = 0.05  # cosine bonus of prompted frames
INSIDE_SHARE = 0.8  # minimum share of a mask inside another one to count as a part of it
FLOW_WEIGHT = 0.4  # weight of the flow in the prior


@dataclass(frozen=True, eq=False)
class CellKeys:
    """Keys (G, C) of one frame, of unit length, in row-major order of the grid (h, w)."""

    values: FloatArray
    grid_hw: tuple[int, int]


@dataclass(frozen=True, eq=False)
class MemoryFrame:
    """One remembered frame of an object."""

    frame: int  # Frame index
    keys: CellKeys  # Keys of the frame
    labels: FloatArray  # Object share of each cell (G,)
    trust: float = 0.0  # Bonus to the similarity of its cells; higher for prompted frames
    parts: FloatArray | None = None  # Object share of each fine cell (G, 16), for a memory network


def maps_to_keys(maps: tuple[FeatureMap, ...], geometry: Geometry, cells: int = GRID) -> CellKeys:
    """Compute the keys of the part of the feature maps that the image fills.

    Args:
        cells: Number of cells along the model's side.
    """
    height, width = geometry.filled_cells(cells)
    parts = []
    for level in maps:
        pooled = _pool(level.values, (height, width), cells).reshape(level.values.shape[0], -1)
        parts.append(unit_features(pooled))
    joined = np.concatenate(parts).T / np.sqrt(len(parts))
    return CellKeys(np.ascontiguousarray(joined, np.float32), (height, width))


def unit_features(values: FloatArray) -> FloatArray:  # (C, ...)
    """Features that are centered over all cells, with unit length in each cell."""
    centered = values - values.mean(axis=tuple(range(1, values.ndim)), keepdims=True)
    return np.asarray(centered / (np.linalg.norm(centered, axis=0) + 1e-6))


def _pool(
    values: FloatArray, grid_hw: tuple[int, int], count: int
) -> FloatArray:  # (C, s, s) -> (C, h, w)
    """Average a feature map in a count x count grid, and crop it to the first cells."""
    (height, width), side = grid_hw, values.shape[-1]
    if side % count:
        planes = [
            cv2.resize(plane, (count, count), interpolation=cv2.INTER_AREA) for plane in values
        ]
        return np.stack(planes).astype(np.float32)[:, :height, :width]
    step = side // count
    used = values[:, : height * step, : width * step].reshape(-1, height, step, width * step)
    rows = reduce(np.add, [used[:, :, line] for line in range(step)])
    cells = reduce(np.add, [rows[:, :, line::step] for line in range(step)])
    return np.asarray(cells / np.float32(step**2), np.float32)


def resized(
    values: FloatArray, size: tuple[int, ...], how: int = cv2.INTER_LINEAR
) -> FloatArray:  # (H, W) -> (h, w)
    """Resize a map to a size (w, h)."""
    return np.asarray(cv2.resize(values, size, interpolation=how), np.float32)


def soft_to_labels(soft: FloatArray, grid_hw: tuple[int, int]) -> FloatArray:  # (h, w) -> (G,)
    """Share of a soft mask in each cell."""
    return resized(soft, grid_hw[::-1], cv2.INTER_AREA).reshape(-1)


def match_cells(
    keys: CellKeys,
    glimpses: tuple[MemoryFrame, ...],
    others: tuple[tuple[MemoryFrame, ...], ...] = (),
    where: BoolArray | None = None,
) -> FloatArray:  # -> (N, G)
    """Object share of each cell, for N objects remembered on the same frames.

    Args:
        glimpses: Remembered frames of the first object.
        others: Remembered frames of each further object.
        where: Cells to match (G,); the others are 0. None: all cells.
    """
    cells = np.arange(len(keys.values)) if where is None else np.flatnonzero(where)
    labels = np.stack([np.concatenate([g.labels for g in group]) for group in (glimpses, *others)])
    matched = np.zeros((len(labels), len(keys.values)), np.float32)
    if not len(cells):
        return matched
    queries = keys.values[cells] * np.float32(SHARPNESS)
    remembered = np.concatenate([glimpse.keys.values for glimpse in glimpses])
    # OpenCV, single-threaded: OpenBLAS threads would wait for the core that encodes the next frame.
    nothing = np.empty((0, 0), np.float32)  # no matrix to add
    products = cv2.gemm(queries, remembered, 1, nothing, 0, flags=cv2.GEMM_2_T)
    scores = np.asarray(products, np.float32)  # (G, M)
    trusts = np.array([glimpse.trust for glimpse in glimpses], np.float32)
    lengths = [len(glimpse.labels) for glimpse in glimpses]
    scores += np.repeat(trusts, lengths) * np.float32(SHARPNESS)
    scores -= scores.max(axis=1, keepdims=True)
    weights = np.exp(scores, out=scores)
    summed = np.concatenate([labels, np.ones_like(labels[:1])]).T  # (M, N + 1)
    rows = max(1, SINGLE_THREAD // summed.size)
    for top in range(0, len(cells), rows):
        shares = weights[top : top + rows] @ summed
        matched[:, cells[top : top + rows]] = (shares[:, :-1] / shares[:, -1:]).T
    return matched


def grown(cells: BoolArray, reach: int) -> BoolArray:  # (h, w)
    """Dilate an area by a number of cells, also diagonally."""
    square = np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)
    return np.asarray(cv2.dilate(cells.astype(np.uint8), square) > 0)


# Object states and priors.


@dataclass(frozen=True, eq=False)
class MatchFrame:
    """Encoded frame: features, keys, reduced grayscale frame (h, w), and the image."""

    embedding: Features
    keys: CellKeys
    gray: UintImage
    image: UintImage


@brief
@dataclass(frozen=True, eq=False)
class MatchState:
    """Memory of one object."""

    anchors: tuple[MemoryFrame, ...]  # Prompted frames
    recent: tuple[MemoryFrame, ...]  # Frames with a confident mask, oldest first
    soft: FloatArray  # Soft mask (h, w) on the last frame, 0 to 1; all 0 if the object was missing
    gray: UintImage  # Last frame (h, w)
    evidence: FloatArray | None = None  # Weights of the evidence of a correction (`image_tracker`)

    @property
    def remembered(self) -> tuple[MemoryFrame, ...]:
        """All remembered frames."""
        return (*self.anchors, *self.recent)


def pack_state(state: MatchState) -> StateArrays:
    """Convert a state to arrays for storage."""
    arrays: dict[str, NDArray[Any]] = {"soft": state.soft, "grey": state.gray}
    if state.evidence is not None:
        arrays["evidence"] = state.evidence
    for kind, glimpses in (("anchors", state.anchors), ("recent", state.recent)):
        for index, glimpse in enumerate(glimpses):
            arrays[f"{kind}/{index}/keys"] = glimpse.keys.values
            arrays[f"{kind}/{index}/labels"] = glimpse.labels
            arrays[f"{kind}/{index}/about"] = np.array([glimpse.frame, *glimpse.keys.grid_hw])
            if glimpse.parts is not None:
                arrays[f"{kind}/{index}/parts"] = glimpse.parts
    return arrays


def unpack_state(arrays: StateArrays) -> MatchState:
    """Restore a state from the arrays of `pack_state`."""
    glimpses: dict[str, list[MemoryFrame]] = {"anchors": [], "recent": []}
    for kind, frames in glimpses.items():
        while (about := arrays.get(f"{kind}/{len(frames)}/about")) is not None:
            begin = f"{kind}/{len(frames)}"
            frame, height, width = (int(number) for number in about)
            keys = CellKeys(arrays[f"{begin}/keys"], (height, width))
            trust, parts = PROMPT_BONUS if kind == "anchors" else 0.0, arrays.get(f"{begin}/parts")
            frames.append(MemoryFrame(frame, keys, arrays[f"{begin}/labels"], trust, parts))
    anchors, recent = tuple(glimpses["anchors"]), tuple(glimpses["recent"])
    return MatchState(anchors, recent, arrays["soft"], arrays["grey"], arrays.get("evidence"))


@dataclass(frozen=True, eq=False)
class Prior:
    """Object probability (h, w): weighted mean, by matching alone, and by optical flow alone."""

    mixed: FloatArray
    matched: FloatArray
    carried: FloatArray | None  # None if the flow is not available


def match_all(features: MatchFrame, states: Sequence[MatchState], cut: bool) -> list[FloatArray]:
    """Share of each object in each cell within reach; after a cut, in all cells.

    Objects remembered on the same frames are matched in one batch.
    """
    alike: dict[tuple[int, ...], list[int]] = {}
    known = [state.remembered for state in states]
    for index, frames in enumerate(known):
        alike.setdefault(tuple(id(frame.keys) for frame in frames), []).append(index)
    near = [_reached(features, state, cut) for state in states]
    shares: dict[int, FloatArray] = {}
    for indices in alike.values():
        first, *others = (known[p] for p in indices)
        where = np.any([near[index] for index in indices], axis=0)
        matched = match_cells(features.keys, first, tuple(others), where)
        shares |= {index: row * near[index] for index, row in zip(indices, matched, strict=True)}
    return [shares[index] for index in range(len(states))]


def _reached(features: MatchFrame, state: MatchState, cut: bool) -> BoolArray:  # -> (G,)
    if cut or not is_flowing(features, state):
        return np.ones(len(features.keys.values), np.bool_)
    grid = features.keys.grid_hw
    return grown((soft_to_labels(state.soft, grid) > 0.3).reshape(grid), MOTION_CELLS).reshape(-1)


def is_flowing(features: MatchFrame, state: MatchState) -> bool:
    """Whether the object was visible on the last frame, and that frame has the same size."""
    return bool((state.soft > 0.5).any()) and state.gray.shape == features.gray.shape


def mix_prior(
    features: MatchFrame, state: MatchState, share: FloatArray, flows: Flows | None
) -> Prior:
    """Combine both estimates into the prior of the reduced frame. A cut disables the flow."""
    matched = resized(share.reshape(features.keys.grid_hw), features.gray.shape[::-1])
    if flows is None or not is_flowing(features, state):
        return Prior(matched, matched, None)
    carried = carry_along(state.soft, flows.back(state.gray))
    mixed = np.asarray((1 - FLOW_WEIGHT) * matched + FLOW_WEIGHT * carried, np.float32)
    return Prior(mixed, matched, carried)


# Masks of one frame.


def compare_masks(
    masks: Sequence[Rle], others: Sequence[Rle]
) -> tuple[Floats, Floats, Floats]:  # N, K
    """IoU of each pair of masks, share of the first inside the second, and the reverse."""
    ious = rle_iou(masks, others).reshape(len(masks), len(others))
    areas = np.array([rle_area(rle) for rle in masks])[:, None], np.array([*map(rle_area, others)])
    shared = ious * (areas[0] + areas[1]) / (1 + ious)
    return ious, shared / np.maximum(areas[0], 1), shared / np.maximum(areas[1], 1)


def match_best(likeness: FloatArray, least: float) -> dict[int, int]:  # (N, K)
    """Match rows to columns greedily, highest similarity first, down to `least`."""
    pairs: dict[int, int] = {}
    for flat in np.argsort(-likeness, axis=None, kind="stable"):
        row, column = divmod(int(flat), likeness.shape[1])
        if likeness[row, column] < least:
            break
        if row not in pairs and column not in pairs.values():
            pairs[row] = column
    return pairs
