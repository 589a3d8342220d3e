"""Times functions and programs in turns: seconds of each turn, and peak memory.

Contenders take turns, so that a busy moment of the machine hits all of them; the median counts.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from anymask.base import AnymaskError


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
