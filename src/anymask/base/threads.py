"""Threads and processes: how many threads a call of a model has, what a started process hears.

A wanted number or the environment says how many threads; the rest is inherited.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterable, Iterator

from anymask.base.errors import InputError

MAX_THREADS = 1024  # ONNX Runtime is not up to a hundred thousand
THREADS = "ANYMASK_THREADS"  # of one call of a model, for this process and those it starts


def usable_cores() -> int:
    """Cores that this process may use; on Linux what the container lets it use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def pick_threads(threads: int | None = None) -> int:
    """The threads of one call: the argument, else ANYMASK_THREADS, else every core we may use.

    Raises InputError for anything but a whole number of at least 1.
    """
    asked: int | str | None = threads if threads is not None else os.environ.get(THREADS)
    if asked is None or asked == "":
        return usable_cores()
    source = "threads" if threads is not None else THREADS
    try:
        count = int(asked)
    except (ValueError, TypeError, OverflowError):
        count = 0
    if not 1 <= count <= MAX_THREADS:
        raise InputError(
            f"{source} must be a whole number from 1 to {MAX_THREADS}, got {str(asked)[:20]!r}."
        )
    return count


def threads_each(processes: int) -> int:
    """The threads of each of several processes: what ANYMASK_THREADS says, or its part of the
    cores."""
    threads = pick_threads()
    return threads if os.environ.get(THREADS) else max(1, threads // processes)


def limit_threads(threads: int) -> None:
    """Of every library in this process; called first, as some read it when they are imported."""
    os.environ[THREADS] = str(threads)
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, str(threads))
    import cv2

    cv2.setNumThreads(threads)


@contextlib.contextmanager
def thread_setting(threads: int | None) -> Iterator[None]:
    """ANYMASK_THREADS for this process and those it starts, put back at the end; None leaves it."""
    before = os.environ.get(THREADS)
    if threads:
        os.environ[THREADS] = str(threads)
    try:
        yield
    finally:
        os.environ.pop(THREADS, None)
        if before is not None:
            os.environ[THREADS] = before


@contextlib.contextmanager
def signals_blocked(names: Iterable[signal.Signals]) -> Iterator[None]:
    """These signals wait in this thread; a process that is started meanwhile never takes them.

    Not on Windows.
    """
    from multiprocessing import resource_tracker  # few processes start others

    before = signal.pthread_sigmask(signal.SIG_BLOCK, names)
    resource_tracker.ensure_running()  # it unblocks some of them when it starts
    signal.pthread_sigmask(signal.SIG_BLOCK, names)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
