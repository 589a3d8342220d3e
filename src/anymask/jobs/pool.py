"""Process pool in which a crash of a worker affects only its item.

The processes are run by `concurrent.futures`. If one dies, the whole pool breaks, without
information about the item. Therefore, only as many items are submitted as there are workers, and
those of a broken pool are retried once, each in a separate process.

Workers are started with "spawn", because forked processes hang after OpenCV or OpenMP threads were
used.
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
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from multiprocessing import connection, get_context, parent_process
from types import FrameType
from typing import Any, Generic, Protocol, TypeVar

from anymask.base import (
    ON_WINDOWS,
    AnymaskError,
    exit_text,
    limit_threads,
    signals_blocked,
    threads_each,
)

Item = TypeVar("Item")
Result = TypeVar("Result")
ItemIn = TypeVar("ItemIn", contravariant=True)
ResultOut = TypeVar("ResultOut", covariant=True)

SECONDS_TO_LEAVE = 10.0  # grace period of a worker; a model call may take that long


class Work(Protocol[ItemIn, ResultOut]):
    """An opened task."""

    about: dict[str, Any]  # description of the work, JSON serializable

    def __call__(self, item: ItemIn, report: Any, /) -> ResultOut:
        """Process one item. `report` is called after each step."""


# Events.


@dataclass(frozen=True)
class WorkerReady:
    """A worker has opened its task. `about` describes the work."""

    about: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ItemDone(Generic[Item, Result]):
    """A worker has processed an item; `result` is what it returned."""

    item: Item
    result: Result


@dataclass(frozen=True)
class ItemCrashed(Generic[Item]):
    """The workers of this item died. `how` describes how the last one ended."""

    item: Item
    how: str


@dataclass(frozen=True)
class ItemStep(Generic[Item]):
    """Progress of an item."""

    item: Item
    what: str
    done: int
    total: int

    def __str__(self) -> str:
        return f"{self.what} {self.done}/{self.total}"


@dataclass(frozen=True)
class Idle:
    """No event for one second."""


PoolEvent = WorkerReady | ItemDone[Item, Result] | ItemCrashed[Item] | ItemStep[Item] | Idle


def run_in_pool(
    task: Callable[[], Work[Item, Result]], items: Sequence[Item], workers: int
) -> Generator[PoolEvent[Item, Result]]:
    """Process items in a pool of worker processes, at most one per item.

    Closing the generator ends the workers and removes unfinished files. Exceptions of the work are
    raised.

    Raises:
        AnymaskError: The task cannot be opened, or workers cannot start.
    """
    threads = threads_each(max(1, min(workers, len(items))))
    waiting, suspects, started = deque(items), deque[Item](), True
    while waiting or suspects:
        alone = bool(suspects)
        todo = deque([suspects.popleft()]) if alone else waiting
        try:
            pool = _Pool(task, 1 if alone else min(workers, len(todo)), threads)
        except OSError as error:  # raised by the semaphores of its queues
            raise AnymaskError(
                "Worker processes cannot start: the system's shared memory, /dev/shm on Linux, "
                f"cannot be written to ({error.strerror}). Use a single process: omit --workers, "
                "or for `anymask evaluate` pass --workers 1."
            ) from error
        try:
            yield from pool.work(todo)
        except BrokenProcessPool:
            pool.stop()
            if not (pool.ready or started):
                raise AnymaskError(
                    f"Worker processes exit before they are ready (the last one {pool.death}). "
                    "If the system is out of memory, use fewer workers. In a Python script "
                    "that starts workers, put the calls under `if __name__ == '__main__':`."
                ) from None
            if alone and pool.ready:
                yield from (ItemCrashed(item, pool.death) for item in pool.out.values())
            else:
                suspects.extend(pool.out.values())
            started = pool.ready
        finally:
            pool.stop()


class _Pool(Generic[Item, Result]):
    """One executor.

    Attributes:
        out: Submitted items that are not finished.
        ready: Whether a worker has opened the task.
        death: How a worker of a broken pool ended, set by `stop`.
    """

    def __init__(self, task: Callable[[], Work[Item, Result]], size: int, threads: int) -> None:
        context = get_context("spawn")
        self.size, self.ready, self.death = size, False, ""
        self.out: dict[Future[Result], Item] = {}
        self._items: list[Item] = []  # indexed by the number in step messages
        self._sent = context.SimpleQueue()
        self._executor = ProcessPoolExecutor(size, context, _begin, (task, threads, self._sent))

    def work(self, todo: deque[Item]) -> Iterator[PoolEvent[Item, Result]]:
        """Process items from the list, until a worker dies with `BrokenProcessPool`."""
        while todo or self.out:
            while todo and len(self.out) < self.size:
                self._items.append(todo[0])
                with _interrupted_later():
                    future = self._executor.submit(_do, len(self._items) - 1, todo[0])
                self.out[future] = todo.popleft()
            done, _ = wait(self.out, timeout=1, return_when=FIRST_COMPLETED)
            while not self._sent.empty():
                sent = self._sent.get()
                if isinstance(sent, Exception):  # the task cannot be opened
                    raise sent
                if isinstance(sent, WorkerReady):
                    self.ready = True
                    yield sent
                else:
                    number, *step = sent
                    yield ItemStep(self._items[number], *step)
            if not done:
                yield Idle()
            broken = [
                future for future in done if isinstance(future.exception(), BrokenProcessPool)
            ]
            for future in done.difference(broken):
                yield ItemDone(self.out.pop(future), future.result())
            if broken:
                broken[0].result()

    def stop(self) -> None:
        """End all workers: idle ones immediately, busy ones after the current call."""
        workers = list((self._executor._processes or {}).values())  # 3.14: terminate_workers()
        left = {worker.sentinel: worker for worker in workers}
        for worker in workers:
            with contextlib.suppress(OSError):
                os.kill(worker.pid or 0, signal.SIGTERM)
        while left and (ended := connection.wait(left, SECONDS_TO_LEAVE)):
            left = {sentinel: worker for sentinel, worker in left.items() if sentinel not in ended}
        for worker in left.values():
            worker.kill()
        self._executor.shutdown(wait=True, cancel_futures=True)
        if workers:
            expected = (0, -signal.SIGTERM, _ENDED)
            self.death = exit_text(
                min((worker.exitcode for worker in workers), key=expected.__contains__)
            )


@contextlib.contextmanager
def _interrupted_later() -> Iterator[None]:
    """Defer Ctrl-C until the end. Processes started in between never receive it."""
    if threading.current_thread() is not threading.main_thread() or ON_WINDOWS:
        yield
        return
    heard = threading.Event()
    before = signal.signal(signal.SIGINT, lambda *_: heard.set())  # set through another thread
    try:
        with signals_blocked([signal.SIGINT]):
            yield
    finally:
        signal.signal(signal.SIGINT, before)
        if heard.is_set():
            signal.raise_signal(signal.SIGINT)


# Worker process.

_ENDED = 128 + signal.SIGTERM  # exit code of a worker after SIGTERM
# In a worker process: its work, the queue to the pool, and whether it is ending
_worker: tuple[Work[Any, Any], Any, threading.Event] | None = None


def _begin(task: Callable[[], Work[Any, Any]], threads: int, sent: Any) -> None:
    """Open the task. On failure, report the error to the pool and exit."""
    global _worker
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_die_with_parent, daemon=True).start()
    limit_threads(threads)
    try:
        work = task()  # no file is being written yet: SIGTERM may end the process
    except AnymaskError as error:
        sent.put(AnymaskError(str(error)))
        os._exit(1)
    except Exception:  # unexpected; the parent process prints it
        sent.put(RuntimeError(traceback.format_exc()))
        os._exit(1)
    ending = threading.Event()

    def leave(number: int, frame: FrameType | None) -> None:
        """Exit by an exception on SIGTERM, so that unfinished files are removed."""
        if not ending.is_set():
            ending.set()
            sys.exit(_ENDED)

    signal.signal(signal.SIGTERM, leave)
    _worker = work, sent, ending
    sent.put(WorkerReady(work.about))


def _do(number: int, item: Any) -> Any:
    """Process one item. Steps are sent with its number."""
    assert _worker is not None
    work, sent, ending = _worker
    try:
        return work(item, lambda *step: sent.put((number, *step)))
    finally:
        if ending.is_set():  # the executor or a library would suppress the exception
            os._exit(_ENDED)


def _die_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)
