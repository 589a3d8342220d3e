"""A queued runtime: each call of a model becomes one piece of work in the server's queue."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event
from typing import Any

from anymask.runtimes.protocol import ImageRuntime
from anymask.runtimes.wrapped import WrappedRuntime
from anymask.serving.turns import ModelQueue, Urgency


class RequestAbandoned(Exception):
    """Nobody waits for the answer any more; the rest of the work is not done."""


def queue_calls(
    inside: ImageRuntime, turns: ModelQueue, urgency: Urgency, left: Event | None = None
) -> WrappedRuntime:
    """The same answers as the runtime inside; never to be asked from the thread of the turns.

    left  set once nobody waits any more: the next piece raises RequestAbandoned
    """

    def wait(_name: str, _given: tuple[Any, ...], call: Callable[[], Any]) -> Any:
        if left is not None and left.is_set():
            raise RequestAbandoned
        return turns.ask(call, urgency).result()

    return WrappedRuntime(inside, wait)
