"""A runtime around another one forwards whatever that one can do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol, runtime_checkable

import numpy as np

from anymask.base import BoolArray, FloatArray
from anymask.masks import EncoderOutput, Geometry, ModelPrompts
from anymask.runtime import (
    MemoryChoice,
    PromptDecoding,
    SweepPrecision,
    VideoSteps,
    WrappedRuntime,
    open_sweep,
    require,
)
from anymask.runtime.protocol import KeptMasks
from tests.segment.fakes import ColourRuntime

GEOMETRY = Geometry((128, 128), (128, 128), 128)
IMAGES = np.zeros((1, 3, 128, 128), np.float32)


@runtime_checkable
class Tracks(Protocol):
    """A capability that no wrapper was written for."""

    speed: float

    def follow(self, seen: EncoderOutput, frames: int) -> list[int]: ...


class Tracking(ColourRuntime):
    speed = 2.5

    def follow(self, seen: EncoderOutput, frames: int) -> list[int]:
        return list(range(frames))


class Sweeping(ColourRuntime):
    """Has a sweep of its own, whose masks are drawn when they are read."""

    def sweep(self, seen: EncoderOutput, geometry: Geometry, precision: SweepPrecision) -> OneSweep:
        return OneSweep()


class OneSweep:
    bytes_per_prompt = 7

    def decode(self, prompts: ModelPrompts) -> Drawn:
        masks = np.ones((len(prompts.labels), 3, 4, 4), np.float32)
        return Drawn(masks, np.ones((len(masks), 3), np.float32))


class Drawn(KeptMasks):
    drawn = 0

    def logits(self, chosen: BoolArray) -> Iterator[FloatArray]:
        for plane in super().logits(chosen):
            Drawn.drawn += 1
            yield plane


def noted(inside: Any) -> tuple[WrappedRuntime, list[str]]:
    """The runtime with a note of each call that computes."""
    calls: list[str] = []

    def around(name: str, _given: tuple[Any, ...], call: Callable[[], Any]) -> Any:
        calls.append(name)
        return call()

    return WrappedRuntime(inside, around), calls


def one_click() -> ModelPrompts:
    masks = np.zeros((1, 1, 64, 64), np.float32)
    return ModelPrompts(
        np.full((1, 1, 2), 9, np.float32), np.array([[1]]), masks, np.zeros(1, "f4")
    )


def test_seeing_and_decoding_go_through_the_function() -> None:
    inside = ColourRuntime()
    outside, calls = noted(inside)
    (seen,) = outside.encode_images(IMAGES)
    told = require(outside, PromptDecoding).decode(seen, one_click())
    for ours, theirs in zip(told, inside.decode(seen, one_click()), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert calls == ["encode_images", "decode"]


def test_a_capability_that_no_wrapper_knows_is_forwarded() -> None:
    outside, calls = noted(Tracking())
    tracks = require(outside, Tracks)
    assert tracks.follow(outside.encode_images(IMAGES)[0], 3) == [0, 1, 2]
    assert tracks.follow(outside.encode_images(IMAGES)[0], frames=2) == [0, 1]
    assert tracks.speed == 2.5
    assert calls == ["encode_images", "follow", "encode_images", "follow"]


def test_every_step_of_a_sweep_goes_through_every_wrapper() -> None:
    inner, inner_calls = noted(Sweeping())
    outer, outer_calls = noted(inner)
    (seen,) = outer.encode_images(IMAGES)
    sweep = open_sweep(outer, seen, GEOMETRY)
    assert sweep.bytes_per_prompt == 7
    asked = sweep.decode(one_click())
    assert asked.quality.tolist() == [[1, 1, 1]]
    before = Drawn.drawn
    planes = asked.logits(np.array([[True, False, True]]))
    assert Drawn.drawn == before + 2  # drawn inside of the call, not when they are read
    assert len(list(planes)) == 2
    assert inner_calls == outer_calls == ["encode_images", "sweep", "decode", "logits"]


class Choosing(ColourRuntime):
    """Steps of a video that make other steps; which of them worked is told."""

    def __init__(self, name: str = "published") -> None:
        super().__init__()
        self.name = name

    def choosing(self, choice: MemoryChoice) -> Choosing:
        return Choosing(f"every {choice.stride}")

    def see_frame(self, image: FloatArray) -> str:
        return self.name

    answer_points = answer_mask = step_video = remember = see_frame
    bank_to_arrays = arrays_to_bank = see_frame


def test_steps_that_steps_make_are_forwarded_too() -> None:
    called: list[str] = []

    def around(name: str, _: tuple[Any, ...], call: Callable[[], Any]) -> Any:
        called.append(name)
        return call()

    steps = WrappedRuntime(Choosing(), around).capability(VideoSteps)
    chosen = steps.choosing(MemoryChoice(stride=5))
    assert chosen.see_frame(IMAGES[0]) == "every 5"
    assert called == ["choosing", "see_frame"]
