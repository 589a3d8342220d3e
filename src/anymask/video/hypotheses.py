"""Hypotheses of an object in a video: paths of memory and their next masks in, the best paths out.

Where a model is unsure which of its masks is the object, several are followed, each with a memory
of its own, and what they score in the frames that come decides. Several paths live on from a frame,
the best ones by the sum of the logarithms of their masks' predicted IoU; where nothing is sure,
the best ones among masks of different predicted IoU, so that they do not all say the same.

Source: Ding et al. 2024 (SAM2Long, arXiv:2410.16268, section 3), its numbers. Left out: weights of
memories by how sure they are. Deviation: candidates that would leave nothing in memory count once a
path, as they would be the same path.

No torch here: a bank is whatever the model's steps gave.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anymask.primitives.notation import parse_json
from anymask.primitives.rle import rle_to_string, string_to_rle
from anymask.video.tracker import FrameMask, StateArrays

SURE = 2.0  # logit of "the object is there", either way, of a frame on which something is sure
NEVER = 1e-6  # the least predicted IoU that a logarithm is taken of
REACH = 64  # frames whose masks may still change
TOTAL, PAST = "total", "past"  # of what is saved


@dataclass(frozen=True, eq=False)
class MemoryPath:
    """One reading of the video.

    bank   what is remembered
    total  sum of log IoU, less that of the best path
    past   its masks on the frames that other paths read differently, the oldest first
    """

    bank: Any
    total: float = 0.0
    past: tuple[FrameMask, ...] = ()


@dataclass(frozen=True, eq=False)
class Candidate:
    """A mask that continues a path.

    row      which of the model's answers
    quality  its predicted IoU
    there    logit of "the object is there"
    writes   whether it is remembered
    """

    path: MemoryPath
    row: int
    quality: float
    there: float
    writes: bool

    @property
    def total(self) -> float:
        """Of the path, with this mask."""
        return self.path.total + float(np.log(max(self.quality, NEVER)))


def choose_candidates(candidates: Sequence[Candidate], paths: int) -> tuple[Candidate, ...]:
    """Those that become the next paths, the best first: at least one, at most `paths`."""
    order = sorted(_told_apart(candidates), key=lambda one: -one.total)
    if max(abs(one.there) for one in order) >= SURE:
        return tuple(order[:paths])
    chosen: dict[float, Candidate] = {}
    for one in order:
        chosen.setdefault(round(one.quality, 2), one)
    return tuple(chosen.values())[:paths]


def _told_apart(candidates: Sequence[Candidate]) -> list[Candidate]:
    """All that are remembered, and of each path the best of those that are not."""
    idle: dict[int, Candidate] = {}
    for one in candidates:
        known = idle.get(id(one.path))
        if not one.writes and (known is None or one.total > known.total):
            idle[id(one.path)] = one
    return [*(one for one in candidates if one.writes), *idle.values()]


def continue_paths(
    chosen: Sequence[Candidate], masks: Sequence[FrameMask], banks: Sequence[Any]
) -> tuple[MemoryPath, ...]:
    """The paths after a frame.

    masks  on the frame, one of each
    banks  what each remembers now
    """
    best = max(one.total for one in chosen)
    pasts = [(*one.path.past, mask) for one, mask in zip(chosen, masks, strict=True)]
    settled = 0
    while settled < len(pasts[0]) and all(past[settled] == pasts[0][settled] for past in pasts):
        settled += 1
    begin = max(settled, len(pasts[0]) - REACH)
    return tuple(
        MemoryPath(bank, one.total - best, past[begin:])
        for one, bank, past in zip(chosen, banks, pasts, strict=True)
    )


def revised_masks(before: MemoryPath, now: MemoryPath) -> tuple[FrameMask, ...]:
    """Masks of earlier frames that change as `now` leads instead of `before`."""
    if now is before:
        return ()
    return tuple(one for one in now.past if one not in before.past)


def paths_to_arrays(paths: Sequence[tuple[MemoryPath, StateArrays]]) -> StateArrays:
    """Paths and their banks as arrays, to be saved."""
    arrays: dict[str, NDArray[Any]] = {}
    for place, (path, bank) in enumerate(paths):
        rows = [
            [one.frame, *one.rle.size, rle_to_string(one.rle), one.score, one.quality]
            for one in path.past
        ]
        arrays[f"{place}/{TOTAL}"] = np.array(path.total)
        arrays[f"{place}/{PAST}"] = np.frombuffer(json.dumps(rows).encode(), np.uint8)
        arrays |= {f"{place}/{name}": values for name, values in bank.items()}
    return arrays


def arrays_to_paths(arrays: StateArrays) -> list[tuple[MemoryPath, StateArrays]]:
    """What `paths_to_arrays` was given; the paths are without banks."""
    banks: dict[int, dict[str, NDArray[Any]]] = {}
    for name, values in arrays.items():
        place, rest = name.split("/", 1)
        banks.setdefault(int(place), {})[rest] = values
    paths: list[tuple[MemoryPath, StateArrays]] = []
    for _, bank in sorted(banks.items()):
        rows = parse_json(bank.pop(PAST).tobytes(), "a state")
        past = tuple(
            FrameMask(frame, string_to_rle(runs, (height, width)), score, quality)
            for frame, height, width, runs, score, quality in rows
        )
        paths.append((MemoryPath(None, float(bank.pop(TOTAL)), past), bank))
    return paths
