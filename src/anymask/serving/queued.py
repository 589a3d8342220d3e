"""A runtime whose every call waits for its turn, so that long work is many short pieces."""

from __future__ import annotations

from collections.abc import Iterator

from anymask.primitives.spec import Geometry
from anymask.primitives.types import BoolArray, FloatArray, ModelPrompts
from anymask.runtimes.protocol import ImageRuntime
from anymask.runtimes.sweep import Asked, Sweep, SweepingRuntime, SweepPrecision
from anymask.runtimes.wrapped import WrappedRuntime
from anymask.serving.turns import Turns, Urgency


class QueuedRuntime(WrappedRuntime):
    """The same answers as the runtime inside; never to be asked from the thread of the turns."""

    def __init__(self, inside: ImageRuntime, turns: Turns, urgency: Urgency) -> None:
        super().__init__(inside)
        self._turns, self._urgency = turns, urgency

    def encode(self, images: FloatArray) -> list[tuple[FloatArray, ...]]:
        """See `ImageRuntime.encode`; one piece."""
        return self._turns.ask(lambda: self._inside.encode(images), self._urgency).result()

    def decode(
        self, features: tuple[FloatArray, ...], prompts: ModelPrompts
    ) -> tuple[FloatArray, FloatArray]:
        """See `ImageRuntime.decode`; one piece."""
        asked = self._turns.ask(lambda: self._inside.decode(features, prompts), self._urgency)
        return asked.result()

    def sweep(
        self, features: tuple[FloatArray, ...], geometry: Geometry, precision: SweepPrecision
    ) -> Sweep | None:
        """See `SweepingRuntime.sweep`; one piece for each batch of it."""
        inside = self._inside
        if not isinstance(inside, SweepingRuntime):
            return None
        opened = self._turns.ask(
            lambda: inside.sweep(features, geometry, precision), self._urgency
        ).result()
        return None if opened is None else _QueuedSweep(opened, self._turns, self._urgency)


class _QueuedSweep:
    def __init__(self, inside: Sweep, turns: Turns, urgency: Urgency) -> None:
        self._inside, self._turns, self._urgency = inside, turns, urgency
        self.bytes_per_prompt = inside.bytes_per_prompt

    def ask(self, prompts: ModelPrompts) -> Asked:
        asked = self._turns.ask(lambda: self._inside.ask(prompts), self._urgency).result()
        return _QueuedAnswer(asked, self._turns, self._urgency)


class _QueuedAnswer:
    def __init__(self, inside: Asked, turns: Turns, urgency: Urgency) -> None:
        self._inside, self._turns, self._urgency = inside, turns, urgency
        self.quality = inside.quality

    def logits(self, chosen: BoolArray) -> Iterator[FloatArray]:
        made = self._turns.ask(lambda: list(self._inside.logits(chosen)), self._urgency)
        yield from made.result()
