"""What sessions and trackers hand around: masks of objects on frames, and what a tracker can do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any, Literal, Protocol

from numpy.typing import NDArray

from anymask.base import BoolArray, UintImage, brief
from anymask.masks import Prompt, Rle, rle_area, rle_to_mask

ObjectState = Literal["visible", "occluded", "lost", "back"]
Doubt = Literal["score", "unclear", "area", "jump", "gone", "back", "cut"]
Direction = Literal["forward", "backward", "both"]


@dataclass(frozen=True)
class ObjectMask:
    """One object on one frame.

    Attributes:
        rle: Its pixels; empty where it is not seen.
        score: How sure the tracker is that this is the object, 0..1.
        quality: The model's own estimate of the mask's IoU, raw.
        state: "visible"; "occluded": not seen for a short while; "lost": for long; "back": seen
            again on this frame.
        doubts: Why a person should look here: "score" low, "unclear": not where appearance and
            motion say, "area" changed at once, "jump" to another place, "gone", "back", "cut"
            to another shot.
        prompted: Whether a person spoke about the object on this frame.
    """

    rle: Rle
    score: float
    quality: float
    state: ObjectState
    doubts: tuple[Doubt, ...] = ()
    prompted: bool = False

    @property
    def mask(self) -> BoolArray:  # (H, W)
        """The pixels, made each time."""
        return rle_to_mask(self.rle)

    @property
    def area(self) -> int:
        """Pixels of the object."""
        return rle_area(self.rle)


@brief
@dataclass(frozen=True)
class TrackedFrame:
    """The objects of one frame, by their number.

    Attributes:
        index: The frame, counted from 0 in what the session looks at.
        source_frame: Its number in the source, which is another with `every`, `fps` or `start`.
        seconds: When it is shown.
        name: The file of its picture, such as 00005.jpg, where the source is a folder or a list
            of files; else empty.
    """

    index: int
    source_frame: int
    seconds: float
    objects: Mapping[int, ObjectMask] = field(default_factory=dict)
    name: str = ""

    @property
    def stem(self) -> str:
        """What a file about the frame is called, without its ending: as its picture, or 00012."""
        return PurePath(self.name).stem if self.name else f"{self.source_frame:05d}"

    @property
    def masks(self) -> dict[int, BoolArray]:
        """The objects' pixels (H, W), made each time."""
        return {number: one.mask for number, one in self.objects.items()}


# Trackers.

StateArrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class TrackMoment:
    """Where a step is: the frame, counted from 0; whether time runs backwards; whether another
    shot begins, so that nothing is where it was."""

    frame: int
    backward: bool = False
    cut: bool = False


@brief
@dataclass(frozen=True, eq=False)
class FramePrediction:
    """One object on one frame, as a tracker finds it.

    Attributes:
        rle: Its pixels; empty where it is not seen.
        score: How sure the tracker is that this is the object, 0..1.
        quality: The model's own estimate of the mask's IoU.
        soft: What the tracker itself wants to remember of it; the session never reads it.
        agreement: IoU of the mask with what remembered looks and motion say; 1 where nobody
            compares.
    """

    rle: Rle
    score: float
    quality: float
    soft: Any = None
    agreement: float = 1.0


class Tracker(Protocol):
    """A way to follow objects. `SeenFrame` and `State` are the tracker's own.

    Attributes:
        name: Tells models and ways apart, with the hash of the weights: a saved session is
            continued by the same tracker only.
    """

    @property
    def name(self) -> str: ...

    def see(self, image: UintImage, grey: UintImage) -> Any:
        """Look at a frame (H, W, 3) once, for all objects.

        Args:
            grey: The same frame by `flow.reduce_frame`.
        """
        ...

    def answer(self, seen: Any, prompt: Prompt, earlier: Rle | None) -> FramePrediction:
        """What a person means on this frame.

        Args:
            earlier: The object's mask on this frame before it was corrected.
        """
        ...

    def begin(
        self, seen: Any, at: TrackMoment, prediction: FramePrediction, known: Any | None
    ) -> Any:
        """The state of an object of which a person has spoken on this frame.

        Args:
            known: The object's state until now, whose prompted frames stay remembered.
        """
        ...

    def track(self, seen: Any, at: TrackMoment, states: Sequence[Any]) -> list[FramePrediction]:
        """Find the objects of some states on a frame, all at once."""
        ...

    def remember(
        self, seen: Any, at: TrackMoment, state: Any, prediction: FramePrediction, sure: bool
    ) -> Any:
        """The state after a frame; nothing new is learned from an unsure prediction."""
        ...

    def pack(self, state: Any) -> StateArrays:
        """A state as arrays, to be written."""
        ...

    def unpack(self, arrays: StateArrays) -> Any:
        """The state that `pack` wrote."""
        ...


MAX_RANGES = 10  # of frames that a sentence lists


def in_ranges(numbers: Sequence[int]) -> str:
    """Ascending numbers as a person writes them: 5, 7-9."""
    ranges: list[list[int]] = []
    for number in numbers:
        if ranges and ranges[-1][1] == number - 1:
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    told = [str(first) if first == last else f"{first}-{last}" for first, last in ranges]
    more = f" and {len(told) - MAX_RANGES} more ranges" if len(told) > MAX_RANGES else ""
    return ", ".join(told[:MAX_RANGES]) + more


def review_text(doubtful: Sequence[tuple[int, int, Sequence[str]]]) -> str:
    """Frames that a person should look at: "16-17, 21-25 (object 1: unclear)".

    Args:
        doubtful: (frame, object, doubts), in the order of the frames.
    """
    alike: dict[tuple[int, str], list[int]] = {}
    for frame, number, doubts in doubtful:
        alike.setdefault((number, ", ".join(doubts)), []).append(frame)
    return "; ".join(
        f"{in_ranges(frames)} (object {number}: {told})" for (number, told), frames in alike.items()
    )
