"""A runtime whose every call waits for its turn, so that long work is many short pieces."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from threading import Event
from typing import TypeVar

from anymask.primitives.spec import Geometry
from anymask.primitives.types import BoolArray, FloatArray, ModelPrompts
from anymask.runtimes.protocol import ImageRuntime
from anymask.runtimes.sweep import Asked, Sweep, SweepingRuntime, SweepPrecision
from anymask.runtimes.wrapped import WrappedRuntime
from anymask.serving.turns import Turns, Urgency

T = TypeVar("T")


class Left(Exception):
    """Nobody waits for the answer any more; the rest of the work is not done."""


class QueuedRuntime(WrappedRuntime):
    """The same answers as the runtime inside; never to be asked from the thread of the turns.

    left  set once nobody waits any more: the next piece raises Left
    """

    def __init__(
        self, inside: ImageRuntime, turns: Turns, urgency: Urgency, left: Event | None = None
    ) -> None:
        super().__init__(inside)
        self._line = _Line(turns, urgency, left or Event())

    def encode(self, images: FloatArray) -> list[tuple[FloatArray, ...]]:
        """See `ImageRuntime.encode`; one piece."""
        return self._line.do(lambda: self._inside.encode(images))

    def decode(
        self, features: tuple[FloatArray, ...], prompts: ModelPrompts
    ) -> tuple[FloatArray, FloatArray]:
        """See `ImageRuntime.decode`; one piece."""
        return self._line.do(lambda: self._inside.decode(features, prompts))

    def sweep(
        self, features: tuple[FloatArray, ...], geometry: Geometry, precision: SweepPrecision
    ) -> Sweep | None:
        """See `SweepingRuntime.sweep`; one piece for each batch of it."""
        inside = self._inside
        if not isinstance(inside, SweepingRuntime):
            return None
        opened = self._line.do(lambda: inside.sweep(features, geometry, precision))
        return None if opened is None else _QueuedSweep(opened, self._line)


class _Line:
    """One kind of work in the turns."""

    def __init__(self, turns: Turns, urgency: Urgency, left: Event) -> None:
        self._turns, self._urgency, self._left = turns, urgency, left

    def do(self, work: Callable[[], T]) -> T:
        if self._left.is_set():
            raise Left
        return self._turns.ask(work, self._urgency).result()


class _QueuedSweep:
    def __init__(self, inside: Sweep, line: _Line) -> None:
        self._inside, self._line = inside, line
        self.bytes_per_prompt = inside.bytes_per_prompt

    def ask(self, prompts: ModelPrompts) -> Asked:
        asked = self._line.do(lambda: self._inside.ask(prompts))
        return _QueuedAnswer(asked, self._line)


class _QueuedAnswer:
    def __init__(self, inside: Asked, line: _Line) -> None:
        self._inside, self._line = inside, line
        self.quality = inside.quality

    def logits(self, chosen: BoolArray) -> Iterator[FloatArray]:
        yield from self._line.do(lambda: list(self._inside.logits(chosen)))
