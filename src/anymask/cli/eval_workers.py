"""Several processes that measure sets of photos side by side, one set each at a time.

A `SetTask` says in plain values what is to be measured; each process opens it, which loads the
models, and is then given one set after the other.
"""

from __future__ import annotations

import signal
import traceback
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Protocol

from anymask.cli.progress import Progress
from anymask.cli.workers import (
    PATIENCE,
    begin_work,
    dismiss,
    exit_text,
    leave,
    start_process,
    threads_each,
)
from anymask.evaluation.report import SetScores
from anymask.primitives.errors import AnymaskError

Told = Callable[[str, int, int], None]  # what, done, of how many


class SetTask(Protocol):
    """What is to be measured. It can be pickled."""

    def open(self) -> Callable[[int, Told], SetScores]:
        """Load what is needed; the answer measures the set of a number. Raises AnymaskError."""


@dataclass(frozen=True)
class Step:
    """How far a worker is with its set."""

    what: str
    done: int
    total: int

    def __str__(self) -> str:
        return f"{self.what} {self.done}/{self.total}"


@dataclass(frozen=True)
class Refused:
    """A worker cannot go on; `defect` where that is nobody's fault but ours."""

    reason: str
    defect: bool = False


@dataclass
class Worker:
    """A process, the pipe to it, the set that it has, and how far it is."""

    process: SpawnProcess
    pipe: Connection
    place: int
    step: Step | None = None


def score_in_workers(
    task: SetTask, names: Sequence[str], places: Sequence[int], workers: int
) -> Generator[tuple[int, SetScores]]:
    """The scores of the sets of these places, in the order in which they are ready.

    names  of all sets, for the progress on stderr

    Raises AnymaskError where the task cannot be opened or a worker dies. Whatever ends this
    generator ends the workers.
    """
    waiting = list(places)
    size = min(workers, len(waiting))
    crew = [_start(task, waiting.pop(0), threads_each(size)) for _ in range(size)]
    busy = list(crew)
    try:
        with Progress("sets", len(places)) as progress:
            while busy:
                for pipe in wait([worker.pipe for worker in busy]):
                    worker = next(one for one in busy if one.pipe is pipe)
                    message = _hear(worker, names)
                    if isinstance(message, SetScores):
                        yield worker.place, message
                        if waiting:
                            worker.place, worker.step = waiting.pop(0), None
                            worker.pipe.send(worker.place)
                        else:
                            busy.remove(worker)
                    progress.note = " | ".join(str(one.step) for one in busy if one.step)
                    progress.update(len(places) - len(waiting) - len(busy))
    finally:
        dismiss(crew)


def _hear(worker: Worker, names: Sequence[str]) -> SetScores | None:
    """A worker's next word: scores, or None where it only says how far it is."""
    try:
        message = worker.pipe.recv()
    except (EOFError, OSError):
        worker.process.join(PATIENCE)
        raise AnymaskError(
            f"the worker that measured {names[worker.place]!r} "
            f"{exit_text(worker.process.exitcode)}; if memory was short, take --workers 1; with "
            "--json FILE --resume the sets that are finished are kept"
        ) from None
    if isinstance(message, Refused):
        raise RuntimeError(message.reason) if message.defect else AnymaskError(message.reason)
    if isinstance(message, Step):
        worker.step = message
        return None
    assert isinstance(message, SetScores)
    return message


def _start(task: SetTask, place: int, threads: int) -> Worker:
    """A new process that opens the task at once and measures its first set."""
    process, pipe = start_process(serve, task, threads)
    pipe.send(place)
    return Worker(process, pipe, place)


# In the worker.


def serve(pipe: Connection, task: SetTask, threads: int) -> None:
    """Open the task and measure the sets whose numbers come through the pipe, until it closes."""
    begin_work(threads)
    try:
        score = task.open()
        signal.signal(signal.SIGTERM, leave)
        while True:
            place = pipe.recv()
            pipe.send(score(place, lambda what, done, total: pipe.send(Step(what, done, total))))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return
    except AnymaskError as error:
        pipe.send(Refused(str(error)))
    except Exception:  # a defect; the process that prints it is the other one
        pipe.send(Refused(traceback.format_exc(), defect=True))
