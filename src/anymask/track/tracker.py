"""The protocol of trackers: frames and states in, predictions out.

A tracker keeps nothing: what is known of an object is a state, a value that the session hands in
and gets back, keeps beside its results, and can write to disk.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from numpy.typing import NDArray

from anymask.base import UintImage
from anymask.masks import Prompt, Rle

StateArrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class TrackMoment:
    """Where a step is: the frame, counted from 0; whether time runs backwards; whether another
    shot begins, so that nothing is where it was."""

    frame: int
    backward: bool = False
    cut: bool = False


@dataclass(frozen=True, eq=False)
class FramePrediction:
    """One object on one frame, as a tracker finds it.

    rle      its pixels; empty where it is not seen
    score    how sure the tracker is that this is the object, 0..1
    quality  the model's own estimate of the mask's IoU
    soft     what the tracker itself wants to remember of it; the session never reads it
    """

    rle: Rle
    score: float
    quality: float
    soft: Any = None


class Tracker(Protocol):
    """A way to follow objects. `SeenFrame` and `State` are the tracker's own.

    name     tells models and ways apart, with the hash of the weights: a saved session is
             continued by the same tracker only
    """

    @property
    def name(self) -> str: ...

    def see(self, image: UintImage, grey: UintImage) -> Any:
        """Look at a frame (H, W, 3) once, for all objects.

        grey  the same frame by `flow.reduce_frame`
        """
        ...

    def answer(self, seen: Any, prompt: Prompt, earlier: Rle | None) -> FramePrediction:
        """What a person means on this frame.

        earlier  the object's mask on this frame before it was corrected
        """
        ...

    def begin(
        self, seen: Any, at: TrackMoment, prediction: FramePrediction, known: Any | None
    ) -> Any:
        """The state of an object of which a person has spoken on this frame.

        known  the object's state until now, whose prompted frames stay remembered
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
