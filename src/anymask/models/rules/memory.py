"""Video memory: SAM 2's memory banks and settings, and the input of a memory network.

Sources: Ravi et al. 2024 (SAM 2, arXiv:2408.00714, section 4, "Memory encoder and memory bank");
rules and order of selection are those of sam2 (Apache-2.0), `modeling/sam2_base.py` and
`sam2_video_predictor.py`. Optional: gaps filled by older memories, after Ding et al. 2024
(SAM2Long, arXiv:2410.16268) and Yang et al. 2024 (SAMURAI, arXiv:2411.11922). Difference: the
session does not write uncertain memories, instead of skipping them when memories are read.

This module does not require torch: memories are arrays or tensors. Letters: m side of a mask, K
tokens of a memory, Cm their channels, C channels of a pointer; for the memory network h w the grid,
C K channels, M cells.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from anymask.base import FloatArray
from anymask.masks import remove_small_regions

ABSENT = -1024.0  # all logits of an absent object
FILLED = 0.1  # logit of a filled hole
OVERLAP_MAX_LOGIT = -10.0  # maximum logit of a pixel of another object
MASK_LOGIT = 10.0  # logit of a pixel of a mask prompt
MASK_LIMIT = 32.0  # limit of the absolute logits of a mask prompt, as in the reference
PROMPTED_LIMIT = 4  # prompted frames that a frame reads and a bank keeps, to bound the memory


def fill_plane(plane: FloatArray, largest: int) -> FloatArray:  # (m, m) -> (m, m)
    """Fill background regions of at most `largest` cells."""
    mask, changed = remove_small_regions(plane > 0, largest + 1, "holes")
    if not changed:
        return plane
    return np.where(np.asarray(mask) & (plane <= 0), np.float32(FILLED), plane)


# Input and output of a memory network for one object on one frame.
#
# The grid is that of the model's coarse cells in the part that the frame covers. Besides the
# frame's maps and the memory cells, the network receives hints: predictions of matching, optical
# flow and decoder. Its output is a correction of the first hint, so that an untrained network
# returns it.

FINE_CELLS = 4  # fine cells along a side of a coarse one: the stride of the decoder's masks
LIMIT = 12.0  # of the hints' logits
HINTS = ("mixed", "drawn", "carried", "matched", "last")  # the first two are logits, else 0..1
MIXED, DRAWN, CARRIED, MATCHED, LAST = range(len(HINTS))
ANCHOR, RECENT = 1.0, 0.0  # memory of a prompted frame, and of a tracked one


@dataclass(frozen=True, eq=False)
class FrameMaps:
    """Maps of one frame, shared by all objects on it."""

    keys: FloatArray  # Unit keys (K, h, w)
    middle: FloatArray  # The encoder's second map (C, 2h, 2w)
    fine: FloatArray  # The encoder's third map (C, 4h, 4w)


@dataclass(frozen=True, eq=False)
class MemoryQuery:
    """Input of the memory network for one object. Objects may share the arrays of memory cells."""

    frame: FrameMaps  # Maps of the frame
    hints: FloatArray  # Hints (5, 4h, 4w), see `HINTS`
    memory_keys: FloatArray  # Keys (M, K)
    memory_labels: FloatArray  # Share of the object in each fine cell (M, 16), row by row
    memory_kinds: FloatArray  # ANCHOR or RECENT (M,); those of prompted frames come first


@dataclass(frozen=True, eq=False)
class MemoryOutput:
    """The object's logits (4h, 4w), and the logit of its presence."""

    logits: FloatArray
    presence: float


# Memory banks.


@dataclass(frozen=True, kw_only=True)
class MultimaskStability:
    """Condition for replacing the mask of an unambiguous prompt by the best of the three others."""

    delta: float = 0.05  # Offset of the threshold in both directions
    # Minimum IoU of the masks at both thresholds; below it, the mask is replaced
    threshold: float = 0.98


@dataclass(frozen=True, kw_only=True)
class TrackingSettings:
    """Options of SAM 2's families that do not change weights."""

    frames: int = 7  # Memories that a frame reads: the prompted ones and frames - 1 others
    stride: int = 1  # The others are every stride-th frame, and the previous one
    # Maximum number of prompted frames (2 or more), the nearest. None for all.
    prompted_limit: int | None = None
    pointers: int = 16  # Frames whose object pointers are read, in addition to the prompted ones
    # Temporal encoding of pointers: none, as a distance, or signed
    pointer_times: Literal["none", "distance", "signed"] = "none"
    future_pointers: bool = False  # Whether pointers of later prompted frames are read
    mask_scale: float = 20.0  # Scale of a mask's probability in the memory encoder
    mask_bias: float = -10.0  # Bias of a mask's probability in the memory encoder
    sharp_prompted: bool = False  # Whether a prompted frame's mask is binarized in the memory
    # Minimum and maximum number of points of prompts that return the best of three masks; a tracked
    # frame has 0
    several_points: tuple[int, int] = (0, 1)
    # Condition for the best of three instead of the single mask, or None for never
    stability: MultimaskStability | None = None
    hole_area: int = 0  # Maximum area of filled holes in low-resolution pixels, or 0 for none
    exclusive: bool = False  # Whether a pixel belongs to at most one object in the predictions
    exclusive_memory: bool = False  # The same in the memories
    # Whether a corrected frame stays "tracked", or becomes "prompted" like the first
    corrected: Literal["anew", "kept", "prompted"] = "anew"
    forget_around: bool = False  # Whether a correction removes the tracked memories around it
    memory_dtype: Literal["bfloat16", "float32"] = "bfloat16"  # Type of the memories
    # Side of the squares in which memory maps are averaged when read (Xiong et al. 2024,
    # EfficientTAM, arXiv:2411.18933, section 3.2).
    pool: int = 1
    fill_gaps: bool = False  # Whether older memories replace missing ones, whatever their age


def with_postprocessing(settings: TrackingSettings) -> TrackingSettings:
    """Settings with the changes of the official builder for users (`apply_postprocessing`)."""
    return replace(settings, stability=MultimaskStability(), hole_area=8, sharp_prompted=True)


def for_users(settings: TrackingSettings) -> TrackingSettings:
    """Settings of the official builder for users, with bounded memory.

    Every prompted frame becomes a prompted memory. The length of a video is not used, so that files
    and streams give the same results.
    """
    limit = min(settings.prompted_limit or PROMPTED_LIMIT, PROMPTED_LIMIT)
    return replace(with_postprocessing(settings), prompted_limit=limit)


@dataclass(frozen=True, eq=False)
class Memory:
    """Memory of one object on one frame."""

    frame: int  # Number of the frame
    tokens: Any  # Tokens (1, K, Cm)
    pointer: Any  # Object pointer (1, C)


@dataclass(frozen=True)
class VideoMoment:
    """Position of a step in a video."""

    frame: int  # Number of the frame
    backward: bool = False  # Whether tracking proceeds towards the first frame
    length: int | None = None  # Number of frames of the video, or None if unknown

    def before(self, steps: int) -> int:
        """Frame that was processed `steps` steps earlier."""
        return self.frame + steps if self.backward else self.frame - steps

    def age(self, frame: int) -> int:
        """Number of steps since a frame was processed; negative for later frames."""
        return frame - self.frame if self.backward else self.frame - frame


@dataclass(frozen=True, eq=False)
class MemorySelection:
    """Memories of one object that a frame reads."""

    # (age in steps, memory); age 0 for a prompted frame, which has no temporal order
    memories: tuple[tuple[int, Memory], ...]
    pointers: tuple[tuple[int, Any], ...]  # (age in steps, pointer)

    @property
    def layout(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Objects with the same layout can be batched."""
        return (
            tuple(steps for steps, _ in self.memories),
            tuple(steps for steps, _ in self.pointers),
        )


@dataclass(frozen=True, eq=False)
class MemoryBank:
    """All memories of one object, by frame."""

    prompted: dict[int, Memory] = field(default_factory=dict)  # Memories of prompted frames
    tracked: dict[int, Memory] = field(default_factory=dict)  # Memories of tracked frames

    def with_prompted(self, memory: Memory) -> MemoryBank:
        """Copy of the bank with a prompted frame, which replaces the memory of that frame."""
        tracked = _without(self.tracked, [memory.frame])
        return MemoryBank({**self.prompted, memory.frame: memory}, tracked)

    def with_tracked(self, memory: Memory) -> MemoryBank:
        """Copy of the bank with a tracked frame."""
        return MemoryBank(self.prompted, {**self.tracked, memory.frame: memory})

    def without(self, frames: Iterable[int]) -> MemoryBank:
        """Copy of the bank without the tracked memories of some frames."""
        return MemoryBank(self.prompted, _without(self.tracked, frames))

    def kept(self, at: VideoMoment, settings: TrackingSettings) -> MemoryBank:
        """Copy of the bank without tracked memories that no later frame of this direction reads."""
        reach = max((settings.frames - 1) * settings.stride, settings.pointers - 1)
        newest = _newest(self.tracked, at, settings.frames) if settings.fill_gaps else []
        return self.without(
            f for f in self.tracked if not 0 <= at.age(f) <= reach and f not in newest
        )

    def select(self, at: VideoMoment, settings: TrackingSettings) -> MemorySelection:
        """Select the memories and pointers that a frame reads."""
        nearest = self._nearest(at.frame, settings.prompted_limit)
        others = {f: m for f, m in self.prompted.items() if f not in nearest} | self.tracked
        memories = [(0, memory) for memory in nearest.values()]
        memories += _read(others, at, settings)
        ages = {f: at.age(f) for f in nearest}
        pointers = [
            (ages[f], memory.pointer)
            for f, memory in nearest.items()
            if settings.future_pointers or ages[f] >= 0
        ]
        for steps in range(1, longest_pointer(at, settings) + 1):
            memory = others.get(at.before(steps))
            if memory is not None:
                pointers.append((steps, memory.pointer))
        if settings.pointer_times == "distance":
            pointers = [(abs(age), pointer) for age, pointer in pointers]
        return MemorySelection(tuple(memories), tuple(pointers))

    def grown(
        self, memory: Memory, at: VideoMoment, settings: TrackingSettings, prompted: bool
    ) -> MemoryBank:
        """Copy of the bank with a new memory, and without those that are no longer read."""
        if not prompted:
            return self.with_tracked(memory).kept(at, settings)
        known = {f: m for f, m in self.prompted.items() if at.age(f) > 0}
        nearest = sorted(known, key=at.age)
        kept = {*nearest[: PROMPTED_LIMIT - 2], *nearest[-1:]}  # keeps the first one
        return MemoryBank({f: m for f, m in known.items() if f in kept}).with_prompted(memory)

    def to_arrays(self, copied: Callable[[Any], NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """All arrays of the bank by name; `copied` converts a tensor to NumPy."""
        return {
            f"{kind}/{number}/{part}": copied(getattr(memory, part))
            for kind in ("prompted", "tracked")
            for number, memory in getattr(self, kind).items()
            for part in ("tokens", "pointer")
        }

    @classmethod
    def of_arrays(
        cls,
        arrays: Mapping[str, NDArray[Any]],
        tokens_of: Callable[[NDArray[Any]], Any],
        pointer_of: Callable[[NDArray[Any]], Any],
    ) -> MemoryBank:
        """Restore the bank of `to_arrays`, with functions that move arrays to the runtime."""
        bank = cls()
        for name, tokens in arrays.items():
            kind, number, part = name.split("/")
            if part == "tokens":
                pointer = pointer_of(arrays[f"{kind}/{number}/pointer"])
                getattr(bank, kind)[int(number)] = Memory(int(number), tokens_of(tokens), pointer)
        return bank

    def _nearest(self, frame: int, limit: int | None) -> dict[int, Memory]:
        """Nearest prompted memories: the last before, the first after, then by distance."""
        if limit is None or len(self.prompted) <= limit:
            return self.prompted
        before = max((f for f in self.prompted if f < frame), default=None)
        after = min((f for f in self.prompted if f >= frame), default=None)
        order = [f for f in (before, after) if f is not None]
        order += sorted((f for f in self.prompted if f not in order), key=lambda f: abs(f - frame))
        return {f: self.prompted[f] for f in order[:limit]}


def group_alike(selections: Sequence[MemorySelection]) -> list[list[int]]:
    """Indices of selections that can be batched, by layout."""
    groups: dict[Any, list[int]] = {}
    for index, selection in enumerate(selections):
        groups.setdefault(selection.layout, []).append(index)
    return list(groups.values())


def longest_pointer(at: VideoMoment, settings: TrackingSettings) -> int:
    """Age of the oldest pointer that is read, limited by the length of the video."""
    return (settings.pointers if at.length is None else min(at.length, settings.pointers)) - 1


def _read(
    others: dict[int, Memory], at: VideoMoment, settings: TrackingSettings
) -> list[tuple[int, Memory]]:
    """Memories that a frame reads in addition to the prompted ones, by position."""
    places = range(settings.frames - 1, 0, -1)
    if settings.fill_gaps:
        passed = {f: memory for f, memory in others.items() if at.age(f) > 0}
        newest = _newest(passed, at, settings.frames - 1)
        return [(steps, others[newest[steps - 1]]) for steps in places if steps <= len(newest)]
    memories = ((steps, others.get(_stepped(at, steps, settings.stride))) for steps in places)
    return [(steps, memory) for steps, memory in memories if memory is not None]


def _newest(memories: dict[int, Memory], at: VideoMoment, count: int) -> list[int]:
    """Frames of the most recent processed memories, the newest first."""
    return sorted((f for f in memories if at.age(f) >= 0), key=at.age)[:count]


def _stepped(at: VideoMoment, steps: int, stride: int) -> int:
    """Frame of the memory at position `steps`: the previous one, then every stride-th frame."""
    if steps == 1:
        return at.before(1)
    if at.backward:
        return -(-(at.frame + 2) // stride) * stride + (steps - 2) * stride
    return (at.frame - 2) // stride * stride - (steps - 2) * stride


def _without(memories: dict[int, Memory], frames: Iterable[int]) -> dict[int, Memory]:
    gone = set(frames)
    return {f: memory for f, memory in memories.items() if f not in gone}
