"""A runtime whose every call waits for its turn, so that long work is many short pieces."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from anymask.runtimes.protocol import ImageRuntime
from anymask.runtimes.wrapped import WrappedRuntime
from anymask.serving.turns import Turns, Urgency


def queue_calls(inside: ImageRuntime, turns: Turns, urgency: Urgency) -> WrappedRuntime:
    """The same answers as the runtime inside; never to be asked from the thread of the turns."""

    def wait(_name: str, _given: tuple[Any, ...], call: Callable[[], Any]) -> Any:
        return turns.ask(call, urgency).result()

    return WrappedRuntime(inside, wait)
