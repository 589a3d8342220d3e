"""Handling of SIGINT, SIGTERM and SIGHUP during training: a run writes a checkpoint before it ends.

A signal may reach one process of a run or its whole process group, as `timeout`, terminals and
batch systems send it. Processes that only prepare pictures must outlive it until the checkpoint is
written, and tell the one beside them. SIGHUP that `nohup` made ignored stays ignored.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import parent_process, resource_tracker
from types import FrameType

Handler = Callable[[int, FrameType | None], None]
STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def heeding_signals(handler: Handler) -> Iterator[None]:
    """Send what asks to stop to `handler` for a while; afterwards it does what it did before."""
    before = {name: signal.signal(name, handler) for name in _heeded()}
    try:
        yield
    finally:
        for name, old in before.items():
            signal.signal(name, old)


@contextmanager
def signals_blocked() -> Iterator[None]:
    """What asks to stop waits here; a process that is started meanwhile never takes it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)
    resource_tracker.ensure_running()  # it unblocks them when it starts
    signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def take_signals() -> None:
    """Undo `signals_blocked` in a process that was started inside of it."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)


def outlast_signals() -> None:
    """What asks to stop does nothing from now on, but while it is heeded.

    A process that has heeded one, and ends, may be asked once more by those that wait for it.
    """
    for name in _heeded():
        signal.signal(name, lambda *_: None)


def hand_signals_on(*_: object) -> None:
    """In a process that was started inside of `signals_blocked`: what asks it to stop asks the
    process that started it, from a thread; that one's own wish ends it at once."""
    beside = parent_process()
    if sys.platform != "linux" or beside is None or beside.pid is None:
        return  # no other system says who asks
    threading.Thread(target=_hand_on, args=(beside.pid,), daemon=True).start()


def _hand_on(pid: int) -> None:
    while sys.platform == "linux":
        asked = signal.sigwaitinfo(_heeded())
        if asked.si_pid == pid:
            os._exit(0)
        if os.getppid() == pid:
            os.kill(pid, signal.SIGTERM)


def _heeded() -> list[signal.Signals]:
    ignored = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    return [name for name in STOPPING if name != signal.SIGHUP or not ignored]
