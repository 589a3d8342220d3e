"""Records of tracked objects and frames, and the `Tracker` protocol."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any, Literal, Protocol

from numpy.typing import NDArray

from anymask.base import BoolArray, UintImage, brief
from anymask.masks import Prompt, Rle, rle_area, rle_to_mask

ObjectState = Literal["visible", "occluded", "lost", "back"]
UncertaintyReason = Literal["score", "unclear", "area", "jump", "gone", "back", "cut"]
Direction = Literal["forward", "backward", "both"]


@dataclass(frozen=True)
class ObjectMask:
    """Mask of one object on one frame."""

    rle: Rle  # Run-length encoded mask; empty if the object is not visible
    score: float  # Confidence score of the tracker, 0 to 1
    quality: float  # Predicted IoU of the mask, raw model output
    # "visible"; "occluded": missing for a few frames; "lost": missing for longer; "back": visible
    # again on this frame
    state: ObjectState
    # Reasons to review this frame: "score": low score; "unclear": disagrees with appearance and
    # motion; "area": sudden change of the area; "jump": sudden change of the position; "gone";
    # "back"; "cut": a new shot
    doubts: tuple[UncertaintyReason, ...] = ()
    prompted: bool = False  # Whether the object has a prompt on this frame

    @property
    def mask(self) -> BoolArray:  # (H, W)
        """Decoded mask (H, W), computed on each access."""
        return rle_to_mask(self.rle)

    @property
    def area(self) -> int:
        """Mask area in pixels."""
        return rle_area(self.rle)


@brief
@dataclass(frozen=True)
class TrackedFrame:
    """Masks of all objects on one frame."""

    index: int  # Frame index within the session, from 0
    source_frame: int  # Frame index in the source; differs with `every`, `fps` or `start`
    seconds: float  # Presentation time in seconds
    objects: Mapping[int, ObjectMask] = field(default_factory=dict)  # Object number to mask
    # Image file name, such as 00005.jpg, if the source is a folder or a list of files; else empty
    name: str = ""

    @property
    def stem(self) -> str:
        """File name without suffix for outputs: that of the image, or the frame number: 00012."""
        return PurePath(self.name).stem if self.name else f"{self.source_frame:05d}"

    @property
    def masks(self) -> dict[int, BoolArray]:
        """Decoded masks (H, W) by object number, computed on each access."""
        return {number: mask.mask for number, mask in self.objects.items()}


# Trackers.

StateArrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class TrackMoment:
    """Position of a tracking step: frame index from 0, direction, and whether a new shot starts, so
    that earlier positions do not apply."""

    frame: int
    backward: bool = False
    cut: bool = False


@brief
@dataclass(frozen=True, eq=False)
class FramePrediction:
    """Prediction of a tracker for one object on one frame."""

    rle: Rle  # Run-length encoded mask; empty if the object is not visible
    score: float  # Confidence score of the tracker, 0 to 1
    quality: float  # Predicted IoU of the mask
    soft: Any = None  # Tracker-specific data for the memory; the session does not read it
    # IoU of the mask with the mask expected from appearance and motion. 1 if not computed.
    agreement: float = 1.0


class Tracker(Protocol):
    """Interface of trackers. Types of encoded frames and object states are tracker-specific.

    Attributes:
        name: Tracking method, model and weights hash. Only a tracker with the same name can
            resume a saved session.
    """

    @property
    def name(self) -> str: ...

    def encode_frame(self, image: UintImage, gray: UintImage) -> Any:
        """Encode a frame (H, W, 3) once for all objects.

        Args:
            gray: The same frame, reduced by `flow.reduce_frame`.
        """
        ...

    def answer(self, features: Any, prompt: Prompt, earlier: Rle | None) -> FramePrediction:
        """Predict the mask of a prompt on this frame.

        Args:
            earlier: Mask of the object on this frame, which clicks correct; a box ignores it.
        """
        ...

    def begin(
        self, features: Any, at: TrackMoment, prediction: FramePrediction, known: Any | None
    ) -> Any:
        """Create the state of an object from a prompted frame.

        Args:
            known: Previous state of the object; its prompted frames stay in the memory.
        """
        ...

    def track(self, features: Any, at: TrackMoment, states: Sequence[Any]) -> list[FramePrediction]:
        """Predict the masks of all given objects on a frame."""
        ...

    def remember(
        self, features: Any, at: TrackMoment, state: Any, prediction: FramePrediction, sure: bool
    ) -> Any:
        """Update a state after a frame. Unsure predictions are not added to the memory."""
        ...

    def pack(self, state: Any) -> StateArrays:
        """Convert a state to arrays for storage."""
        ...

    def unpack(self, arrays: StateArrays) -> Any:
        """Restore a state from the arrays of `pack`."""
        ...


def in_ranges(numbers: Sequence[int]) -> str:
    """Format ascending numbers as ranges, such as "5, 7-9"."""
    ranges: list[list[int]] = []
    for number in numbers:
        if ranges and ranges[-1][1] == number - 1:
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in ranges)


def review_text(doubtful: Sequence[tuple[int, int, Sequence[str]]]) -> str:
    """Format the frames to review, such as "16-17, 21-25 (object 1: unclear)".

    Args:
        doubtful: (frame, object, doubts) rows, ordered by frame.
    """
    alike: dict[tuple[int, str], list[int]] = {}
    for frame, number, doubts in doubtful:
        alike.setdefault((number, ", ".join(doubts)), []).append(frame)
    return "; ".join(
        f"{in_ranges(frames)} (object {number}: {reasons})"
        for (number, reasons), frames in alike.items()
    )
