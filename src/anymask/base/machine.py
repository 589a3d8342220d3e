"""Threads of model calls, and the description of the machine that benchmarks ran on."""

from __future__ import annotations

import contextlib
import os
import platform
import signal
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from anymask.base.errors import InputError

PACKAGES = (
    "anymask",
    "numpy",
    "opencv-python-headless",
    "pillow",
    "onnxruntime",
    "torch",
)


@dataclass(frozen=True, kw_only=True)
class Machine:
    """Hardware and software that a benchmark ran on."""

    cpu: str  # Name of the processor
    cores: int  # Logical cores of the machine
    usable: int  # Cores available to this process
    memory: int | None  # Main memory in bytes, None if unknown
    load: float | None  # One-minute load average at the start, None if unknown
    system: str  # Operating system and release
    python: str  # Python version
    # (name, version) of installed packages, in the order of PACKAGES
    packages: tuple[tuple[str, str], ...]
    threads: str = ""  # OMP_NUM_THREADS, or "" if unset

    def line(self) -> str:
        """Format the description as one line of text."""
        parts = [self.cpu, f"{self.usable} of {self.cores} cores"]
        if self.memory:
            parts.append(f"{self.memory / 2**30:.0f} GiB")
        parts += [self.system, f"Python {self.python}"]
        parts += [f"{name} {version}" for name, version in self.packages]
        if self.threads:
            parts.append(f"OMP_NUM_THREADS={self.threads}")
        if self.load is not None:
            parts.append(f"load {self.load:.1f} at the start")
        return ", ".join(parts)


def this_machine() -> Machine:
    """Describe the current machine; unknown values are None or omitted."""
    packages = []
    for name in PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            packages.append((name, metadata.version(name)))
    memory = None
    with contextlib.suppress(AttributeError, ValueError, OSError):
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return Machine(
        cpu=_cpu_name(),
        cores=os.cpu_count() or 1,
        usable=usable_cores(),
        memory=memory,
        load=os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        python=platform.python_version(),
        packages=tuple(packages),
        threads=os.environ.get("OMP_NUM_THREADS", ""),
    )


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    if platform.system() == "Darwin":
        command = ["/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.stdout.strip():
            return done.stdout.strip()
    return platform.processor() or platform.machine() or "unknown processor"


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
