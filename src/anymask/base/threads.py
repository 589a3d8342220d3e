"""Number of threads for model calls, and signal masks of child processes."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterable, Iterator

from anymask.base.errors import InputError

MAX_THREADS = 1024  # ONNX Runtime fails with a hundred thousand
THREADS = "ANYMASK_THREADS"  # threads of one model call, for this process and its children


def usable_cores() -> int:
    """Return the number of cores available to this process; on Linux by CPU affinity."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def pick_threads(threads: int | None = None) -> int:
    """Return the threads of one call: the argument, else ANYMASK_THREADS, else all usable cores.

    Raises:
        InputError: The value is not a whole number from 1 to MAX_THREADS.
    """
    requested: int | str | None = threads if threads is not None else os.environ.get(THREADS)
    if requested is None or requested == "":
        return usable_cores()
    source = "threads" if threads is not None else THREADS
    try:
        count = int(requested)
    except (ValueError, TypeError, OverflowError):
        count = 0
    if not 1 <= count <= MAX_THREADS:
        raise InputError(
            f"{source} must be a whole number from 1 to {MAX_THREADS}, got {str(requested)[:20]!r}."
        )
    return count


def threads_each(processes: int) -> int:
    """Return the threads of each process: ANYMASK_THREADS, or an equal share of the cores."""
    threads = pick_threads()
    return threads if os.environ.get(THREADS) else max(1, threads // processes)


def limit_threads(threads: int) -> None:
    """Limit the threads of all libraries; call it first, because some read it when imported."""
    os.environ[THREADS] = str(threads)
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, str(threads))
    import cv2

    cv2.setNumThreads(threads)


@contextlib.contextmanager
def thread_setting(threads: int | None) -> Iterator[None]:
    """Set ANYMASK_THREADS inside the block and restore it afterwards; None does not change it."""
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
    """Block signals in this thread, so that processes started in the block ignore them.

    Not available on Windows.
    """
    from multiprocessing import resource_tracker  # imported here because it is rarely needed

    before = signal.pthread_sigmask(signal.SIG_BLOCK, names)
    resource_tracker.ensure_running()  # it unblocks some of them when it starts
    signal.pthread_sigmask(signal.SIG_BLOCK, names)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
