"""Several processes that work through one list of photos, and survive each other's death.

The list stays here; each worker is given one photo at a time, so it is always known which photo a
dead worker had. That one goes to the end of the list and is tried once more.

Workers are started afresh ("spawn"): a fork of a process that has used OpenCV's or OpenMP's threads
hangs.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from types import FrameType
from typing import Any, Protocol

from anymask.cli.photos import Job
from anymask.cli.streams import quieten_decoders
from anymask.cli.work import Done, Event, Outcome, Ready, Task, Tick, attempt
from anymask.primitives.errors import AnymaskError

THREADS = "ANYMASK_THREADS"
TRIES = 2  # of a photo whose worker died
STILLBORN = 3  # workers in a row that may die before they are ready
PATIENCE = 10.0  # seconds that a worker gets to leave; one call of a model may take that long


def run_in_workers(task: Task, jobs: Sequence[Job], workers: int) -> Generator[Event]:
    """Work in as many processes, at most one for each photo.

    Raises AnymaskError where the task cannot be opened. Whatever ends this generator ends the
    workers, and their unfinished files are gone.
    """
    crew = Crew(task, jobs, min(workers, len(jobs)))
    try:
        yield from crew.events()
    finally:
        dismiss(crew.workers)


@dataclass(frozen=True)
class Refused:
    """A worker could not open its task."""

    reason: str


@dataclass
class Worker:
    """A process, the pipe to it, and the photo that it has."""

    process: SpawnProcess
    pipe: Connection
    ready: bool = False
    job: Job | None = None


class Crew:
    """The workers and the list that they share."""

    def __init__(self, task: Task, jobs: Sequence[Job], size: int) -> None:
        self.task, self.size = task, size
        self.waiting = deque(jobs)
        self.deaths: dict[Job, int] = {}
        self.stillborn = 0
        self.threads = threads_each(size)
        self.workers: list[Worker] = []

    def events(self) -> Iterator[Event]:
        """What happens, until every photo is behind us."""
        while self.waiting or any(worker.job for worker in self.workers):
            self._hand_out()
            heard = wait([worker.pipe for worker in self.workers], timeout=1)
            if not heard:
                yield Tick()
            for worker in [worker for worker in self.workers if worker.pipe in heard]:
                yield from self._hear(worker)

    def _hand_out(self) -> None:
        """A photo for everyone who is free, and new workers while there are photos for them."""
        for worker in self.workers:
            if worker.ready and worker.job is None and self.waiting:
                worker.job = self.waiting.popleft()
                with contextlib.suppress(OSError):  # it died just now, which its pipe will tell
                    worker.pipe.send(worker.job)
        starting = sum(not worker.ready for worker in self.workers)
        while len(self.workers) < self.size and starting < len(self.waiting):
            self.workers.append(Worker(*start_process(serve, self.task, self.threads)))
            starting += 1

    def _hear(self, worker: Worker) -> Iterator[Event]:
        try:
            message = worker.pipe.recv()
        except (EOFError, OSError):
            yield from self._bury(worker)
            return
        if isinstance(message, Refused):
            raise AnymaskError(message.reason)
        if isinstance(message, Ready):
            worker.ready, self.stillborn = True, 0
            yield message
            return
        job, worker.job = worker.job, None
        assert job is not None
        yield Done(job, message)

    def _bury(self, worker: Worker) -> Iterator[Event]:
        """A worker is dead: its photo is tried again at the end, or has failed."""
        worker.process.join(PATIENCE)
        how = exit_text(worker.process.exitcode)
        worker.pipe.close()
        self.workers.remove(worker)
        if worker.job is None:
            self.stillborn += not worker.ready
            if self.stillborn >= STILLBORN:
                raise AnymaskError(
                    f"{STILLBORN} workers in a row ended before they were ready (the last one {how}"
                    "); take fewer --workers if memory is short"
                )
            return
        self.deaths[worker.job] = self.deaths.get(worker.job, 0) + 1
        if self.deaths[worker.job] < TRIES:
            self.waiting.append(worker.job)
            return
        reason = (
            f"the worker that had it {how}, and so did another one; if memory was short, make the "
            "photo smaller or take fewer --workers"
        )
        yield Done(worker.job, Outcome(state="failed", reason=reason, kind="WorkerDied"))


class Employed(Protocol):
    """A process and the pipe to it."""

    process: SpawnProcess
    pipe: Connection


def dismiss(workers: Sequence[Employed]) -> None:
    """End every worker: at once where it is idle, after the call it is in where it is not."""
    for worker in workers:
        worker.process.terminate()
    for worker in workers:
        worker.process.join(PATIENCE)
        if worker.process.is_alive():
            worker.process.kill()
            worker.process.join()
        worker.process.close()
        worker.pipe.close()


def exit_text(code: int | None) -> str:
    """How a process ended, in words."""
    if code is None or code >= 0:
        return f"ended with exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    return f"was killed ({name})"


def threads_each(workers: int) -> int:
    """The threads of each worker's model: what ANYMASK_THREADS says, or its part of the cores."""
    from anymask.runtimes.onnx import pick_threads

    cores = pick_threads()
    return cores if os.environ.get(THREADS) else max(1, cores // workers)


def start_process(serve: Callable[..., None], *words: Any) -> tuple[SpawnProcess, Connection]:
    """A new process that is given its end of a pipe and the words; ours is the other end."""
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=serve, args=(theirs, *words), daemon=True)
    with not_interrupted():
        process.start()
    theirs.close()  # so that the pipe ends with the worker
    return process, ours


@contextlib.contextmanager
def not_interrupted() -> Iterator[None]:
    """Processes started meanwhile ignore Ctrl-C from their first moment; it is meant for us."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


# In the worker.


def serve(pipe: Connection, task: Task, threads: int) -> None:
    """Open the task and do what comes through the pipe, until it closes."""
    begin_work(threads)
    try:
        work = task.open()
    except AnymaskError as error:
        pipe.send(Refused(str(error)))
        return
    signal.signal(signal.SIGTERM, leave)
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
        pipe.send(Ready(work.about))
        while True:
            pipe.send(attempt(work, pipe.recv()))


def begin_work(threads: int) -> None:
    """What a worker does first: leave when it is told to or is left alone, use its own cores.

    Until its task is open there is no file to clear away, and an exception in the midst of a
    compiled package's import would become an ImportError: it leaves at once.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, leave_at_once)
    quieten_decoders()
    threading.Thread(target=follow_parent, daemon=True).start()
    limit_threads(threads)


def limit_threads(threads: int) -> None:
    """Of every library in this process; first, as some read it when they are imported."""
    os.environ[THREADS] = str(threads)
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, str(threads))
    import cv2

    cv2.setNumThreads(threads)


def leave(number: int, frame: FrameType | None) -> None:
    """End this process as a signal asked."""
    sys.exit(128 + number)  # an exception, so that half-written files are removed


def leave_at_once(number: int, frame: FrameType | None) -> None:
    """End this process as a signal asked, without an exception."""
    os._exit(128 + number)


def follow_parent() -> None:
    """Die with the process that started this one, however it died."""
    parent = parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
