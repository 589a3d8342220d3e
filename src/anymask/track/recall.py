"""Asking a network of memory: a frame, an object's state and hints in, a question out.

The planes of a question have a whole number of coarse cells; where the frame fills the last ones in
part, its edge is repeated.

Letters: h w the grid of cells, H W the reduced frame.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from anymask.base import FloatArray
from anymask.models.rules import ANCHOR, LIMIT, PARTS, RECENT, FrameMaps, MemoryQuestion
from anymask.track.match_state import MatchState, SeenFrame

MAPS = 3  # of the encoder, at strides 16, 8 and 4


def frame_maps(seen: SeenFrame) -> FrameMaps:
    """The maps of the part that the frame fills."""
    (height, width), maps = seen.keys.grid_hw, seen.embedding.maps
    keys = seen.keys.values.T.reshape(-1, height, width)
    middle, fine = (
        one.values[:, : height * step, : width * step]
        for one, step in zip(maps[1:MAPS], (2, PARTS), strict=True)
    )
    return FrameMaps(*(np.ascontiguousarray(one, np.float32) for one in (keys, middle, fine)))


def soft_to_parts(soft: FloatArray, grid_hw: tuple[int, int]) -> FloatArray:  # (H, W) -> (G, 16)
    """How much of each fine cell is the object, by coarse cells."""
    (height, width), plane = grid_hw, to_plane(soft, grid_hw)
    cells = plane.reshape(height, PARTS, width, PARTS).swapaxes(1, 2)
    return np.ascontiguousarray(cells.reshape(height * width, PARTS**2), np.float32)


def to_plane(values: FloatArray, grid_hw: tuple[int, int]) -> FloatArray:  # (H, W) -> (4h, 4w)
    """A map of the frame in fine cells, its edge repeated where cells are left over."""
    rows, columns = _filled(values.shape, grid_hw)
    how = cv2.INTER_AREA if values.shape[1] > columns else cv2.INTER_LINEAR
    small = cv2.resize(values, (columns, rows), interpolation=how)
    return with_edges(np.asarray(small, np.float32), grid_hw)


def with_edges(plane: FloatArray, grid_hw: tuple[int, int]) -> FloatArray:  # -> (4h, 4w)
    """A plane cut or continued to whole coarse cells, by its edges."""
    rows, columns = (PARTS * side for side in grid_hw)
    plane = plane[:rows, :columns]
    if plane.shape == (rows, columns):
        return plane
    beyond = (0, rows - plane.shape[0], 0, columns - plane.shape[1])
    return np.asarray(cv2.copyMakeBorder(plane, *beyond, cv2.BORDER_REPLICATE), np.float32)


def from_plane(
    plane: FloatArray, size: tuple[int, ...], grid_hw: tuple[int, int]
) -> FloatArray:  # (4h, 4w) -> (H, W)
    """The way back."""
    rows, columns = _filled(size, grid_hw)
    wide = cv2.resize(plane[:rows, :columns], size[::-1], interpolation=cv2.INTER_LINEAR)
    return np.asarray(wide, np.float32)


def _filled(size: tuple[int, ...], grid_hw: tuple[int, int]) -> tuple[int, int]:
    """Fine cells that the frame fills: its longer side fills the grid's, or nearly."""
    scale = PARTS * min(grid_hw[0] / size[0], grid_hw[1] / size[1])
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def make_questions(
    maps: FrameMaps, states: Sequence[MatchState], hints: Sequence[tuple[FloatArray, ...]]
) -> list[MemoryQuestion]:
    """What the network is asked about some objects; hints are planes in the order of `HINTS`."""
    memories: dict[tuple[int, ...], tuple[FloatArray, FloatArray]] = {}
    questions = []
    for state, told in zip(states, hints, strict=True):
        known = (*state.anchors, *state.recent)
        frames = (len(state.anchors), *(id(one.keys) for one in known))
        if frames not in memories:
            memories[frames] = _remembered(state)
        keys, kinds = memories[frames]
        planes = np.stack(told).astype(np.float32, copy=False)
        np.clip(planes[:2], -LIMIT, LIMIT, out=planes[:2])
        labels = np.concatenate([one.parts for one in known if one.parts is not None])
        questions.append(MemoryQuestion(maps, planes, keys, labels, kinds))
    return questions


def _remembered(state: MatchState) -> tuple[FloatArray, FloatArray]:  # -> (M, K), (M,)
    """The remembered cells and of which kind they are."""
    known = (*state.anchors, *state.recent)
    kinds = [ANCHOR] * len(state.anchors) + [RECENT] * len(state.recent)
    lengths = [len(one.labels) for one in known]
    keys = np.concatenate([one.keys.values for one in known])
    return keys, np.repeat(np.array(kinds, np.float32), lengths)
