"""A queued runtime passes each computing call through its queue, and has what the inner one has."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from anymask.base import BoolArray, FloatArray
from anymask.masks import EncoderOutput, Geometry, ModelPrompts
from anymask.runtime import MemoryChoice, SweepOutput, SweepPrecision, open_sweep
from anymask.studio.inference import ModelQueue, QueuedRuntime, RequestAbandoned, Urgency
from tests.segment.fakes import ColorRuntime, NamingRuntime

GEOMETRY = Geometry((128, 128), (128, 128), 128)
IMAGES = np.zeros((1, 3, 128, 128), np.float32)


class Counted(ModelQueue):
    calls = 0

    def submit(self, *given):  # type: ignore[no-untyped-def]
        self.calls += 1
        return super().submit(*given)


@pytest.fixture
def queue() -> Iterator[Counted]:
    made = Counted()
    made.start()
    yield made
    made.close()


class Sweeping(ColorRuntime):
    """Has a sweep of its own, whose masks are drawn when they are read."""

    bytes_per_prompt = 7
    drawn = 0

    def sweep(
        self, features: EncoderOutput, geometry: Geometry, precision: SweepPrecision
    ) -> Sweeping:
        outer = self

        class OneSweep:
            bytes_per_prompt = 7

            def decode(self, prompts: ModelPrompts) -> SweepOutput:
                return SweepOutput(np.ones((1, 3), np.float32), outer.draw)

        return OneSweep()  # type: ignore[return-value]

    def draw(self, chosen: BoolArray) -> Iterator[FloatArray]:
        for _ in np.argwhere(chosen):
            self.drawn += 1
            yield np.ones((4, 4), np.float32)


class Steps:
    """Steps of a video that make other steps; which of them worked is told."""

    def __init__(self, name: str = "published") -> None:
        self.name = name

    def choosing(self, choice: MemoryChoice) -> Steps:
        return Steps(f"every {choice.stride}")

    def encode_frame(self, image: FloatArray) -> str:
        return self.name

    answer_points = answer_mask = step_video = remember = encode_frame
    bank_to_arrays = arrays_to_bank = encode_frame


def one_click() -> ModelPrompts:
    masks = np.zeros((1, 1, 64, 64), np.float32)
    return ModelPrompts(
        np.full((1, 1, 2), 9, np.float32), np.array([[1]]), masks, np.zeros(1, "f4")
    )


def test_every_call_runs_in_the_queue(queue: Counted) -> None:
    inside = ColorRuntime()
    outside = QueuedRuntime(inside, queue, Urgency.LONG)
    (features,) = outside.encode_images(IMAGES)
    told = outside.decode(features, one_click())
    for ours, theirs in zip(told, inside.decode(features, one_click()), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert queue.calls == 2
    assert (outside.naming, outside.video, outside.refine_edge) == (None, None, None)
    naming = QueuedRuntime(NamingRuntime(), queue, Urgency.LONG).naming
    assert naming is not None
    assert naming.name_table().network == "colors"
    assert queue.calls == 3


def test_masks_of_a_sweep_are_drawn_in_the_queue(queue: Counted) -> None:
    inside = Sweeping()
    outside = QueuedRuntime(inside, queue, Urgency.LONG)
    sweep = open_sweep(outside, outside.encode_images(IMAGES)[0], GEOMETRY)
    assert sweep.bytes_per_prompt == 7
    planes = sweep.decode(one_click()).logits(np.array([[True, False, True]]))
    assert inside.drawn == 2  # inside of the call, not when they are read
    assert len(list(planes)) == 2
    assert queue.calls == 4


def test_steps_that_steps_make_are_queued_too(queue: Counted) -> None:
    inside = ColorRuntime()
    inside.video = Steps()  # type: ignore[assignment]
    video = QueuedRuntime(inside, queue, Urgency.LONG).video
    assert video is not None
    assert video.choosing(MemoryChoice(stride=5)).encode_frame(IMAGES[0]) == "every 5"
    assert queue.calls == 1


def test_a_client_that_left_computes_nothing(queue: Counted) -> None:
    from threading import Event

    left = Event()
    left.set()
    with pytest.raises(RequestAbandoned):
        QueuedRuntime(ColorRuntime(), queue, Urgency.LONG, left).encode_images(IMAGES)
    assert queue.calls == 0
