"""Settings of this process and its children: threads, signals, and no usage reports.

ONNX Runtime's wheels contain a telemetry client (1.31 and 1.32 do, 1.18 does not). It starts when
the package is imported, writes a device ID and an event database to the user's cache folder, and
contacts a collector after some seconds. An event holds the path of the interpreter and the names of
models and graphs. All imports of such packages go through `import_offline`; a test in tests/house
enforces this. Variables that the user has set keep their values.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import sys
from collections.abc import Iterable, Iterator
from typing import Any

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
    """Block signals in this thread and, for good, in processes that the block starts.

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


TELEMETRY = "ORT_DISABLE_TELEMETRY"
REPORTING = frozenset({"onnxruntime", "transformers", "huggingface_hub", "ray"})


def import_offline(module: str) -> Any:
    """Import a module of a package in `REPORTING`.

    Variables are set in the environment of this process, so child processes inherit them.

    Args:
        module: Full name, such as "onnxruntime.quantization".

    Returns:
        Any: The module. Untyped, because most of these packages have no stubs.

    Raises:
        ImportError: The package is not installed.
    """
    package = module.partition(".")[0]
    for owner, variable, value in (
        ("onnxruntime", "ORT_DISABLE_TELEMETRY", "1"),
        ("transformers", "HF_HUB_DISABLE_TELEMETRY", "1"),
        ("huggingface_hub", "HF_HUB_DISABLE_TELEMETRY", "1"),
        ("ray", "RAY_USAGE_STATS_ENABLED", "0"),
    ):
        if owner == package:
            os.environ.setdefault(variable, value)
    loaded = importlib.import_module(module)
    if package == "onnxruntime" and os.environ[TELEMETRY] != "0":
        # The client is already running if other code imported the package first.
        stop = getattr(sys.modules[package], "disable_telemetry_events", None)
        if stop is not None:
            stop()
    return loaded
