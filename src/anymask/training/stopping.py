"""Ctrl-C and SIGTERM as a wish to stop, not as a blow: a run ends after its checkpoint."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

Handler = Callable[[int, FrameType | None], None]


@contextmanager
def heeding_signals(handler: Handler) -> Iterator[None]:
    """Send SIGINT and SIGTERM to `handler` for a while; afterwards they do what they did before."""
    before = {name: signal.signal(name, handler) for name in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for name, old in before.items():
            signal.signal(name, old)
