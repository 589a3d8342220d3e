"""A pool of worker processes: a task and items in, events out, as the items are done.

The list of items stays here and each worker has one at a time, so it is always known which item a
dead worker had. That one goes to the end of the list and is tried again.

Workers are started afresh ("spawn"): a fork of a process that has used OpenCV's or OpenMP's threads
hangs.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import traceback
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from types import FrameType
from typing import Any, Generic, Protocol, TypeVar

from anymask.base import AnymaskError, exit_text, limit_threads, threads_each

Item = TypeVar("Item")
Result = TypeVar("Result")
ItemIn = TypeVar("ItemIn", contravariant=True)
ResultOut = TypeVar("ResultOut", covariant=True)

ReportStep = Callable[[str, int, int], None]  # what, steps done, of how many

TRIES = 2  # of an item whose worker died
MOST_FAILED_STARTS = 3  # workers in a row that may die before they are ready
SECONDS_TO_LEAVE = 10.0  # that a worker gets; one call of a model may take that long


class PoolWork(Protocol[ItemIn, ResultOut]):
    """An opened task, in the worker."""

    about: dict[str, Any]  # what the work says of itself, for JSON

    def __call__(self, item: ItemIn, report: ReportStep) -> ResultOut:
        """Do one item. Whatever it raises ends the run."""


class PoolTask(Protocol[ItemIn, ResultOut]):
    """What is to be done with each item. It can be pickled."""

    def open(self) -> PoolWork[ItemIn, ResultOut]:
        """Load what is needed, in the worker. Raises AnymaskError."""


# Events.


@dataclass(frozen=True)
class WorkerReady:
    """A worker has opened its task; `about` is what the work says of itself."""

    about: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ItemDone(Generic[Item, Result]):
    """An item is done."""

    item: Item
    result: Result


@dataclass(frozen=True)
class ItemLost(Generic[Item]):
    """Every worker that had this item died; `how` says the last one's end in words."""

    item: Item
    how: str


@dataclass(frozen=True)
class ItemStep(Generic[Item]):
    """How far a worker is with its item."""

    item: Item
    what: str
    done: int
    total: int

    def __str__(self) -> str:
        return f"{self.what} {self.done}/{self.total}"


@dataclass(frozen=True)
class Idle:
    """Nothing happened for a second."""


PoolEvent = (
    WorkerReady | ItemDone[Item, Result] | ItemLost[Item] | ItemStep[Item] | Idle
)  # fmt: skip


# What a worker sends beside WorkerReady: the result of its item, or one of these.


@dataclass(frozen=True)
class _Step:
    what: str
    done: int
    total: int


@dataclass(frozen=True)
class _Failure:
    """The worker cannot go on; `defect` where that is nobody's fault but ours."""

    reason: str
    defect: bool = False


def run_in_pool(
    task: PoolTask[Item, Result], items: Sequence[Item], workers: int, tries: int = TRIES
) -> Generator[PoolEvent[Item, Result]]:
    """Work in as many processes, at most one for each item.

    tries  of an item whose worker died

    Raises AnymaskError where the task cannot be opened, RuntimeError for a defect in a worker.
    Whatever ends this generator ends the workers, and their unfinished files are gone.
    """
    pool = _Pool(task, items, min(workers, len(items)), tries)
    try:
        yield from pool.events()
    finally:
        pool.stop()


@dataclass
class _PoolWorker(Generic[Item]):
    """A process, the pipe to it, and the place of the item that it has."""

    process: SpawnProcess
    pipe: Connection
    ready: bool = False
    place: int | None = None


class _Pool(Generic[Item, Result]):
    """The workers and the list of items that they share."""

    def __init__(
        self, task: PoolTask[Item, Result], items: Sequence[Item], size: int, tries: int
    ) -> None:
        self.task, self.items, self.size, self.tries = task, items, size, tries
        self.waiting = deque(range(len(items)))
        self.deaths = [0] * len(items)
        self.failed_starts = 0
        self.threads = threads_each(max(1, size))
        self.workers: list[_PoolWorker[Item]] = []

    def events(self) -> Iterator[PoolEvent[Item, Result]]:
        """What happens, until every item is done or lost."""
        while self.waiting or any(worker.place is not None for worker in self.workers):
            self._hand_out()
            ready = wait([worker.pipe for worker in self.workers], timeout=1)
            if not ready:
                yield Idle()
            for worker in [worker for worker in self.workers if worker.pipe in ready]:
                yield from self._receive(worker)

    def _hand_out(self) -> None:
        """An item for every free worker, and new workers while there are items for them."""
        for worker in self.workers:
            if worker.ready and worker.place is None and self.waiting:
                worker.place = self.waiting.popleft()
                with contextlib.suppress(OSError):  # it died just now, which its pipe will tell
                    worker.pipe.send(self.items[worker.place])
        starting = sum(not worker.ready for worker in self.workers)
        while len(self.workers) < self.size and starting < len(self.waiting):
            self.workers.append(_PoolWorker(*_start_process(self.task, self.threads)))
            starting += 1

    def _receive(self, worker: _PoolWorker[Item]) -> Iterator[PoolEvent[Item, Result]]:
        try:
            message = worker.pipe.recv()
        except (EOFError, OSError):
            yield from self._remove(worker)
            return
        if isinstance(message, _Failure):
            raise RuntimeError(message.reason) if message.defect else AnymaskError(message.reason)
        if isinstance(message, WorkerReady):
            worker.ready, self.failed_starts = True, 0
            yield message
            return
        assert worker.place is not None
        item = self.items[worker.place]
        if isinstance(message, _Step):
            yield ItemStep(item, message.what, message.done, message.total)
            return
        worker.place = None
        yield ItemDone(item, message)

    def _remove(self, worker: _PoolWorker[Item]) -> Iterator[ItemLost[Item]]:
        """Take a dead worker off the list; its item is tried again at the end, or is lost."""
        worker.process.join(SECONDS_TO_LEAVE)
        how = exit_text(worker.process.exitcode)
        worker.pipe.close()
        self.workers.remove(worker)
        if worker.place is None:
            self.failed_starts += not worker.ready
            if self.failed_starts >= MOST_FAILED_STARTS:
                raise AnymaskError(
                    f"{MOST_FAILED_STARTS} workers in a row ended before they were ready (the last "
                    f"one {how}); take fewer workers if memory is short; a Python script that "
                    "starts workers needs `if __name__ == '__main__':` around its calls"
                )
            return
        self.deaths[worker.place] += 1
        if self.deaths[worker.place] < self.tries:
            self.waiting.append(worker.place)
            return
        yield ItemLost(self.items[worker.place], how)

    def stop(self) -> None:
        """End every worker: at once where it is idle, after the call it is in where it is not."""
        for worker in self.workers:
            worker.process.terminate()
        for worker in self.workers:
            worker.process.join(SECONDS_TO_LEAVE)
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()
            worker.process.close()
            worker.pipe.close()


def _start_process(task: PoolTask[Any, Any], threads: int) -> tuple[SpawnProcess, Connection]:
    """A new worker and our end of the pipe to it."""
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, task, threads), daemon=True)
    with _not_interrupted():
        process.start()
    theirs.close()  # so that the pipe ends with the worker
    return process, ours


@contextlib.contextmanager
def _not_interrupted() -> Iterator[None]:
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


def _serve(pipe: Connection, task: PoolTask[Any, Any], threads: int) -> None:
    """Open the task and do what comes through the pipe, until it closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_die_with_parent, daemon=True).start()
    limit_threads(threads)
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
        try:
            work = task.open()  # no file is being written yet: SIGTERM ends the process at once
            ending = _leave_on_sigterm()
            pipe.send(WorkerReady(work.about))
            while not ending.is_set():
                item = pipe.recv()
                pipe.send(work(item, lambda what, done, of: pipe.send(_Step(what, done, of))))
        except (EOFError, BrokenPipeError, ConnectionResetError):
            return
        except AnymaskError as error:
            pipe.send(_Failure(str(error)))
        except Exception:  # a defect; the process that prints it is the other one
            pipe.send(_Failure(traceback.format_exc(), defect=True))


def _leave_on_sigterm() -> threading.Event:
    """End this process by an exception, so that half-written files are removed.

    A library may turn that exception into one of its own (an import does); the event, which is set
    from then on, says that it was asked for all the same.
    """
    ending = threading.Event()

    def leave(number: int, frame: FrameType | None) -> None:
        ending.set()
        sys.exit(128 + number)

    signal.signal(signal.SIGTERM, leave)
    return ending


def _die_with_parent() -> None:
    """End with the process that started this one, however it ended."""
    parent = parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
