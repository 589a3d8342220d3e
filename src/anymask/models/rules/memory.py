"""Memory of videos: SAM 2's memory banks and settings, and the questions of a memory network.

Sources: Ravi et al. 2024 (SAM 2, arXiv:2408.00714, section 4, "Memory encoder and memory bank");
rules and order of choice are those of sam2 (Apache-2.0), `modeling/sam2_base.py` and
`sam2_video_predictor.py`. Off unless asked for: gaps that older memories fill, after Ding et al.
2024 (SAM2Long, arXiv:2410.16268) and Yang et al. 2024 (SAMURAI, arXiv:2411.11922). A deviation from
these: what is unsure is not written at all, by the session, instead of being passed over when
memories are read.

No torch here: memories are arrays or tensors. Letters: m side of a mask, K tokens of a memory, Cm
their channels, C channels of a pointer; of questions h w the grid, C K channels, M cells.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from anymask.base import FloatArray
from anymask.masks import remove_small_regions

ABSENT = -1024.0  # every logit of an object that is not there
FILLED = 0.1  # the logit of a filled hole
OVERLAPPED = -10.0  # the largest logit where another object is likelier
SURE = 10.0  # the logit of a pixel of a mask that a person gave
MASK_LIMIT = 32.0  # logits that are fed back are cut here, as the reference does
PROMPTED_LIMIT = 4  # prompted frames that a frame reads, and that a bank keeps: memory is bounded


def fill_plane(plane: FloatArray, largest: int) -> FloatArray:  # (m, m) -> (m, m)
    """Background regions of at most `largest` cells become object."""
    mask, changed = remove_small_regions(plane > 0, largest + 1, "holes")
    if not changed:
        return plane
    return np.where(np.asarray(mask) & (plane <= 0), np.float32(FILLED), plane)


# What a network of memory is asked about one object on one frame, and what it answers.
#
# The grid is that of the model's coarse cells, of the part that the frame fills. Beside the frame's
# maps and the remembered cells the network is given hints: what matching, flow and decoder say of
# the object. Its answer begins at the first hint, so that an untrained network answers as they do.

PARTS = 4  # fine cells along a side of a coarse one: the stride of the decoder's masks
LIMIT = 12.0  # of the logits among the hints
HINTS = ("mixed", "drawn", "carried", "matched", "last")  # the first two are logits, else 0..1
MIXED, DRAWN, CARRIED, MATCHED, LAST = range(len(HINTS))
ANCHOR, RECENT = 1.0, 0.0  # what is remembered of a frame that a person spoke of, and of another


@dataclass(frozen=True, eq=False)
class FrameMaps:
    """One frame, the same for all objects on it.

    Attributes:
        keys: (K, h, w) of unit length, as they are matched.
        middle: (C, 2h, 2w) the encoder's second map.
        fine: (C, 4h, 4w) its third.
    """

    keys: FloatArray
    middle: FloatArray
    fine: FloatArray


@dataclass(frozen=True, eq=False)
class MemoryQuestion:
    """One object on one frame. Objects that remember the same cells have the same arrays of them.

    Attributes:
        hints: (5, 4h, 4w), see `HINTS`.
        memory_keys: (M, K).
        memory_labels: (M, 16) how much of each fine cell is the object, row by row.
        memory_kinds: (M,) ANCHOR or RECENT; those of prompted frames come first.
    """

    frame: FrameMaps
    hints: FloatArray
    memory_keys: FloatArray
    memory_labels: FloatArray
    memory_kinds: FloatArray


@dataclass(frozen=True, eq=False)
class MemoryAnswer:
    """The object's logits (4h, 4w), and the logit of its being there at all."""

    logits: FloatArray
    seen: float


# Memory banks.


@dataclass(frozen=True, kw_only=True)
class MultimaskStability:
    """When the mask of a clear prompt gives way to the best of the three of an unclear one.

    Attributes:
        delta: How far the threshold is moved to both sides.
        threshold: Below this IoU of the two masks that come out, it gives way.
    """

    delta: float = 0.05
    threshold: float = 0.98


@dataclass(frozen=True, kw_only=True)
class TrackingSettings:
    """The options of SAM 2's families that change numbers but no weights.

    Attributes:
        frames: Memories that a frame reads: the prompted ones and frames - 1 others.
        stride: The others are every stride-th frame, and the last one.
        prompted_limit: At most so many prompted frames (2 or more), the nearest; None: all.
        pointers: Frames whose object pointers are read, beside the prompted ones.
        pointer_times: Whether pointers know how old they are: not at all, as a distance, or
            signed.
        future_pointers: Whether pointers of prompted frames that come later are read.
        mask_scale: What becomes of a mask's probability before it is remembered.
        mask_bias: Like `mask_scale`.
        sharp_prompted: Whether a prompted frame's mask is remembered as 0 and 1.
        several_points: A prompt of so many points, from and to, gets the best of three masks; a
            tracked frame has none.
        stability: When one mask gives way to the best of three; None: never.
        hole_area: Holes of up to so many low-resolution pixels are filled in answers; 0: none.
        exclusive: Whether a pixel belongs to one object at most in the answers.
        exclusive_memory: The same, in what is remembered.
        corrected: A corrected frame stays "tracked", or becomes "prompted" like the first.
        forget_around: Whether a correction takes the tracked memories around it away.
        memory_dtype: In which precision memories are kept.
        pool: Memories that are maps are read in squares of so many places a side, as their
            means (Xiong et al. 2024, EfficientTAM, arXiv:2411.18933, section 3.2).
        fill_gaps: Frames that were not remembered do not leave their places empty: the newest
            memories are read, however old they are.
    """

    frames: int = 7
    stride: int = 1
    prompted_limit: int | None = None
    pointers: int = 16
    pointer_times: Literal["none", "distance", "signed"] = "none"
    future_pointers: bool = False
    mask_scale: float = 20.0
    mask_bias: float = -10.0
    sharp_prompted: bool = False
    several_points: tuple[int, int] = (0, 1)
    stability: MultimaskStability | None = None
    hole_area: int = 0
    exclusive: bool = False
    exclusive_memory: bool = False
    corrected: Literal["anew", "kept", "prompted"] = "anew"
    forget_around: bool = False
    memory_dtype: Literal["bfloat16", "float32"] = "bfloat16"
    pool: int = 1
    fill_gaps: bool = False


def with_postprocessing(settings: TrackingSettings) -> TrackingSettings:
    """A family's settings as its official builder changes them for users, unless it is told not to
    (`apply_postprocessing`)."""
    return replace(settings, stability=MultimaskStability(), hole_area=8, sharp_prompted=True)


def for_users(settings: TrackingSettings) -> TrackingSettings:
    """A family's settings as its official builder gives them to users, with bounded memory.

    A person's word always counts: every frame with a prompt becomes a prompted memory. The length
    of a video is not told to the model, so that a file and a stream give the same numbers.
    """
    limit = min(settings.prompted_limit or PROMPTED_LIMIT, PROMPTED_LIMIT)
    return replace(with_postprocessing(settings), prompted_limit=limit)


@dataclass(frozen=True, eq=False)
class Memory:
    """One object on one frame.

    Attributes:
        tokens: (1, K, Cm).
        pointer: (1, C).
    """

    frame: int
    tokens: Any
    pointer: Any


@dataclass(frozen=True)
class VideoMoment:
    """Where in a video a step stands.

    Attributes:
        frame: Its number.
        backward: Whether tracking goes towards the first frame.
        length: Frames of the video, or None while nobody knows.
    """

    frame: int
    backward: bool = False
    length: int | None = None

    def before(self, steps: int) -> int:
        """The frame that tracking has seen so many steps ago."""
        return self.frame + steps if self.backward else self.frame - steps

    def age(self, frame: int) -> int:
        """How many steps ago a frame was seen; below 0: it comes later."""
        return frame - self.frame if self.backward else self.frame - frame


@dataclass(frozen=True, eq=False)
class MemorySelection:
    """What a frame reads of one object.

    Attributes:
        memories: (steps ago, memory); 0 steps: a prompted frame, whose time does not count.
        pointers: (steps ago, pointer).
    """

    memories: tuple[tuple[int, Memory], ...]
    pointers: tuple[tuple[int, Any], ...]

    @property
    def layout(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Objects of the same layout can be batched."""
        return (
            tuple(steps for steps, _ in self.memories),
            tuple(steps for steps, _ in self.pointers),
        )


@dataclass(frozen=True, eq=False)
class MemoryBank:
    """Everything that is known of one object, by frame.

    Attributes:
        prompted: Frames that a person spoke about.
        tracked: Frames that were found by tracking.
    """

    prompted: dict[int, Memory] = field(default_factory=dict)
    tracked: dict[int, Memory] = field(default_factory=dict)

    def with_prompted(self, memory: Memory) -> MemoryBank:
        """This bank with a frame that a person spoke about, in the place of what was there."""
        tracked = _without(self.tracked, [memory.frame])
        return MemoryBank({**self.prompted, memory.frame: memory}, tracked)

    def with_tracked(self, memory: Memory) -> MemoryBank:
        """This bank with a frame that was found by tracking."""
        return MemoryBank(self.prompted, {**self.tracked, memory.frame: memory})

    def without(self, frames: Iterable[int]) -> MemoryBank:
        """This bank without the tracked memories of some frames."""
        return MemoryBank(self.prompted, _without(self.tracked, frames))

    def kept(self, at: VideoMoment, settings: TrackingSettings) -> MemoryBank:
        """This bank without tracked memories that no later frame of this direction reads."""
        reach = max((settings.frames - 1) * settings.stride, settings.pointers - 1)
        newest = _newest(self.tracked, at, settings.frames) if settings.fill_gaps else []
        return self.without(
            f for f in self.tracked if not 0 <= at.age(f) <= reach and f not in newest
        )

    def select(self, at: VideoMoment, settings: TrackingSettings) -> MemorySelection:
        """Which memories and pointers a frame reads."""
        nearest = self._nearest(at.frame, settings.prompted_limit)
        passed = {f: m for f, m in self.prompted.items() if f not in nearest}
        others = {**passed, **self.tracked}
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
        """This bank with what a frame left, and without what is not read again."""
        if not prompted:
            return self.with_tracked(memory).kept(at, settings)
        known = {f: m for f, m in self.prompted.items() if at.age(f) > 0}
        nearest = sorted(known, key=at.age)
        kept = {*nearest[: PROMPTED_LIMIT - 2], *nearest[-1:]}  # the first one stays
        return MemoryBank({f: m for f, m in known.items() if f in kept}).with_prompted(memory)

    def to_arrays(self, copied: Callable[[Any], NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Every array of the bank by its name, to be saved; `copied` brings one to numpy."""
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
        """The bank that `to_arrays` gave, each array where the runtime keeps it."""
        bank = cls()
        for name, tokens in arrays.items():
            kind, number, part = name.split("/")
            if part == "tokens":
                pointer = pointer_of(arrays[f"{kind}/{number}/pointer"])
                getattr(bank, kind)[int(number)] = Memory(int(number), tokens_of(tokens), pointer)
        return bank

    def _nearest(self, frame: int, limit: int | None) -> dict[int, Memory]:
        """Prompted memories: the last before, the first after, then by distance."""
        if limit is None or len(self.prompted) <= limit:
            return self.prompted
        before = max((f for f in self.prompted if f < frame), default=None)
        after = min((f for f in self.prompted if f >= frame), default=None)
        order = [f for f in (before, after) if f is not None]
        order += sorted((f for f in self.prompted if f not in order), key=lambda f: abs(f - frame))
        return {f: self.prompted[f] for f in order[:limit]}


def group_alike(selections: Sequence[MemorySelection]) -> list[list[int]]:
    """Places of the selections that can be batched, by their layout."""
    groups: dict[Any, list[int]] = {}
    for place, selection in enumerate(selections):
        groups.setdefault(selection.layout, []).append(place)
    return list(groups.values())


def longest_pointer(at: VideoMoment, settings: TrackingSettings) -> int:
    """The age of the oldest pointer that is read: a short video's own length limits it."""
    return (settings.pointers if at.length is None else min(at.length, settings.pointers)) - 1


def _read(
    others: dict[int, Memory], at: VideoMoment, settings: TrackingSettings
) -> list[tuple[int, Memory]]:
    """(places back, memory) of the frames that a frame reads beside the prompted ones."""
    places = range(settings.frames - 1, 0, -1)
    if settings.fill_gaps:
        passed = {f: memory for f, memory in others.items() if at.age(f) > 0}
        newest = _newest(passed, at, settings.frames - 1)
        return [(steps, others[newest[steps - 1]]) for steps in places if steps <= len(newest)]
    found = ((steps, others.get(_stepped(at, steps, settings.stride))) for steps in places)
    return [(steps, memory) for steps, memory in found if memory is not None]


def _newest(memories: dict[int, Memory], at: VideoMoment, count: int) -> list[int]:
    """The frames of the youngest memories that time has passed, the youngest first."""
    return sorted((f for f in memories if at.age(f) >= 0), key=at.age)[:count]


def _stepped(at: VideoMoment, steps: int, stride: int) -> int:
    """The frame of the memory `steps` places back: the last, then every stride-th frame."""
    if steps == 1:
        return at.before(1)
    if at.backward:
        return -(-(at.frame + 2) // stride) * stride + (steps - 2) * stride
    return (at.frame - 2) // stride * stride - (steps - 2) * stride


def _without(memories: dict[int, Memory], frames: Iterable[int]) -> dict[int, Memory]:
    gone = set(frames)
    return {f: memory for f, memory in memories.items() if f not in gone}
