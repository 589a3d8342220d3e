"""The machine: its description beside measured figures, and the threads that a process uses."""

from __future__ import annotations

import contextlib
import os
import platform
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from anymask.primitives.errors import InputError

PACKAGES = ("anymask", "numpy", "opencv-python-headless", "pillow", "onnxruntime", "torch")
MOST_THREADS = 1024  # ONNX Runtime is not up to a hundred thousand
THREADS = "ANYMASK_THREADS"  # of one call of a model, for this process and those it starts


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What stands under a table of figures.

    cpu       the processor's name
    cores     logical cores of the machine
    usable    cores that this process may use
    memory    bytes of main memory, or None when the system does not say
    load      running processes, one-minute average, at the start; None where unknown
    system    operating system and release
    python    version
    packages  (name, version) of what is installed, in the order of PACKAGES
    threads   OMP_NUM_THREADS as set, or ""
    """

    cpu: str
    cores: int
    usable: int
    memory: int | None
    load: float | None
    system: str
    python: str
    packages: tuple[tuple[str, str], ...]
    threads: str = ""

    def line(self) -> str:
        """One line for people."""
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
    """Ask the system; nothing that it does not tell is guessed."""
    return Machine(
        cpu=_cpu_name(),
        cores=os.cpu_count() or 1,
        usable=usable_cores(),
        memory=_memory(),
        load=os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        python=platform.python_version(),
        packages=tuple((name, found) for name in PACKAGES if (found := _version(name))),
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


def usable_cores() -> int:
    """Cores that this process may use; on Linux what the container lets it use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _memory() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


# Threads.


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
    if not 1 <= count <= MOST_THREADS:
        raise InputError(
            f"{source} must be a whole number from 1 to {MOST_THREADS}, got {str(asked)[:20]!r}"
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
