"""Timing: functions or programs in, seconds of each turn and peak memory out.

Contenders take turns, so that a busy moment of the machine hits all of them; the median counts.

The machine.
"""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from anymask.base.errors import AnymaskError
from anymask.base.threads import usable_cores


@dataclass(frozen=True)
class Timing:
    """Seconds of each turn of one task."""

    name: str
    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        """Seconds."""
        return statistics.median(self.seconds)


@dataclass(frozen=True)
class Measurement:
    """One measured thing.

    what     the row
    runtime  the column
    value    seconds, bytes or a ratio; None where it could not be measured
    unit     "s", "bytes", "x" for times as much, "" for a plain number
    turns    each turn's value
    """

    what: str
    runtime: str
    value: float | None
    unit: str
    turns: tuple[float, ...] = ()


@dataclass(frozen=True)
class TimedCall:
    """Something to time: `run` is called once a turn."""

    name: str
    run: Callable[[], object]


@dataclass(frozen=True)
class ProcessRun:
    """One finished process: seconds from start to end, and its largest resident memory in bytes.

    peak is None where the system does not tell (Windows).
    """

    seconds: float
    peak: int | None


def time_in_turns(
    tasks: Sequence[TimedCall],
    rounds: int,
    warm_up: int = 1,
    clock: Callable[[], float] = time.perf_counter,
) -> list[Timing]:
    """Run all tasks one after the other, `rounds` times; `warm_up` rounds before do not count."""
    seconds: list[list[float]] = [[] for _ in tasks]
    for turn in range(warm_up + rounds):
        for task, spent in zip(tasks, seconds, strict=True):
            start = clock()
            task.run()
            if turn >= warm_up:
                spent.append(clock() - start)
    return [Timing(task.name, tuple(spent)) for task, spent in zip(tasks, seconds, strict=True)]


def run_process(words: Sequence[str], env: dict[str, str] | None = None) -> ProcessRun:
    """Run a program to its end. Raises AnymaskError with its last words when it fails.

    On Linux a process starts with its parent's memory as its peak: call this from a small one.
    """
    with tempfile.TemporaryFile() as said:
        start = time.perf_counter()
        process = subprocess.Popen(
            list(words), stdout=subprocess.DEVNULL, stderr=said, env={**os.environ, **(env or {})}
        )
        try:
            code, peak = _wait(process)
        except BaseException:  # Ctrl-C: it may have workers of its own, which it ends
            process.terminate()
            process.wait()
            raise
        seconds = time.perf_counter() - start
        said.seek(0)
        if code:
            words_of_it = said.read().decode(errors="replace").strip()[-300:]
            raise AnymaskError(f"{' '.join(words)} failed with exit code {code}: {words_of_it}")
    return ProcessRun(seconds, peak)


if sys.platform == "win32":

    def _wait(process: subprocess.Popen[bytes]) -> tuple[int, int | None]:
        return process.wait(), None

else:

    def _wait(process: subprocess.Popen[bytes]) -> tuple[int, int | None]:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        unit = 1 if sys.platform == "darwin" else 1024
        return process.returncode, usage.ru_maxrss * unit


PACKAGES = ("anymask", "numpy", "opencv-python-headless", "pillow", "onnxruntime", "torch")


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
