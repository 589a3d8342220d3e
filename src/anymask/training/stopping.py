"""Handling of SIGINT and SIGTERM during training: a run writes a checkpoint before it ends.

A signal may reach one process of a run or its whole process group, as `timeout`, terminals and
batch systems send it. Processes that only prepare pictures must outlive it until the checkpoint is
written.
"""

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


@contextmanager
def signals_blocked() -> Iterator[None]:
    """SIGINT and SIGTERM wait here; a process that is started meanwhile never takes them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def take_signals() -> None:
    """Undo `signals_blocked` in a process that was started inside of it."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGINT, signal.SIGTERM))
