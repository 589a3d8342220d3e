"""The capability of following objects through a video: frames, prompts and banks in, findings out.

Banks of memories are handles of the runtime, as `EncoderOutput` is: they stay where they were
computed, and are copied out only to be saved.

Letters: S the model's input side, N objects, P points, m the side of a mask.

Rules of memory banks, the same in torch and ONNX Runtime.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from anymask.base import FloatArray, IntArray
from anymask.models.rules import (
    Memory,
    MemoryBank,
    TrackingSettings,
    VideoMoment,
    with_postprocessing,
)

BankArrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, eq=False)
class VideoAnswer:
    """N objects on one frame.

    logits   (N, m, m) as users get them: holes filled, overlaps taken away where the model does so
    quality  (N,) predicted IoU
    score    (N,) the logit of "the object is there"
    handles  one of each object, for `VideoSteps.remember`
    """

    logits: FloatArray
    quality: NDArray[np.float32]
    score: NDArray[np.float32]
    handles: tuple[Any, ...]


@dataclass(frozen=True, kw_only=True)
class MemoryChoice:
    """Which memories a video model reads beside the published choice: see `TrackingSettings`."""

    stride: int | None = None
    pool: int = 1
    fill_gaps: bool = False


@runtime_checkable
class VideoSteps(Protocol):
    """A video model's steps; nothing is kept between them."""

    def choosing(self, choice: MemoryChoice) -> VideoSteps:
        """The same steps with another choice of memories. Raises InputError for one that the model
        cannot make."""
        ...

    def see_frame(self, image: FloatArray) -> Any:
        """(3, S, S) float32, normalised -> the frame's handle."""
        ...

    def answer_points(
        self, frame: Any, coords: FloatArray, labels: IntArray, earlier: FloatArray | None
    ) -> VideoAnswer:
        """One object's prompt (P, 2), (P,) in model pixels; `earlier` (m, m): what is corrected."""
        ...

    def answer_mask(self, frame: Any, mask: FloatArray) -> VideoAnswer:
        """A mask that a person gave, (S, S) with 1 for the object."""
        ...

    def step_video(
        self, frame: Any, banks: Sequence[Any], number: int, backward: bool
    ) -> VideoAnswer:
        """Find the objects of some banks on a frame."""
        ...

    def remember(
        self, frame: Any, bank: Any | None, handle: Any, moment: tuple[int, bool], prompted: bool
    ) -> Any:
        """A bank, or a new one, with one object of an answer; `moment`: the frame, backwards."""
        ...

    def bank_to_arrays(self, bank: Any) -> BankArrays:
        """A bank in memory, to be saved."""
        ...

    def arrays_to_bank(self, arrays: BankArrays) -> Any:
        """The bank that `bank_to_arrays` gave."""
        ...


BANK_PARTS = ("prompted", "tracked")
PROMPTED_LIMIT = 4  # prompted frames that a frame reads, and that a bank keeps: memory is bounded


def with_choice(settings: TrackingSettings, choice: MemoryChoice) -> TrackingSettings:
    """A family's settings with another choice of memories."""
    return replace(
        settings,
        stride=choice.stride or settings.stride,
        fill_gaps=choice.fill_gaps,
        pool=choice.pool,
    )


def for_users(settings: TrackingSettings) -> TrackingSettings:
    """A family's settings as its official builder gives them to users, with bounded memory.

    A person's word always counts: every frame with a prompt becomes a prompted memory. The length
    of a video is not told to the model, so that a file and a stream give the same numbers.
    """
    settings = with_postprocessing(settings)
    limit = min(settings.prompted_limit or PROMPTED_LIMIT, PROMPTED_LIMIT)
    return replace(settings, prompted_limit=limit)


def grown_bank(
    bank: MemoryBank | None,
    memory: Memory,
    at: VideoMoment,
    settings: TrackingSettings,
    prompted: bool,
) -> MemoryBank:
    """A bank, or a new one, with what a frame left."""
    if not prompted:
        return (bank or MemoryBank()).with_tracked(memory).kept(at, settings)
    known = {} if bank is None else {f: m for f, m in bank.prompted.items() if at.age(f) > 0}
    nearest = sorted(known, key=at.age)
    kept = {*nearest[: PROMPTED_LIMIT - 2], *nearest[-1:]}  # the first one stays
    return MemoryBank({f: m for f, m in known.items() if f in kept}).with_prompted(memory)
