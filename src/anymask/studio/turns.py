"""The model's work queue: pieces of work from any thread in, done one by one by urgency.

Long work is handed in as many short pieces, so that a click waits for one piece at most. Pieces
that have a key in common and wait together are done in one call.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import os
import sys
import threading
import time
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from dataclasses import dataclass, field
from enum import IntEnum
from threading import Event
from typing import Any, TypeVar

from anymask.runtime import ImageRuntime, WrappedRuntime

BACKGROUND = 5  # niceness: a third of an ordinary thread's share where both want one core


def step_back(nice: int = BACKGROUND) -> None:
    """Lower the priority of the calling thread; where a system knows only processes, do nothing.

    nice  is added to the niceness that the thread has, up to 19, the last
    """
    if sys.platform == "linux":  # there each thread has a number and a niceness of its own
        number = threading.get_native_id()
        with contextlib.suppress(OSError):
            now = os.getpriority(os.PRIO_PROCESS, number)
            os.setpriority(os.PRIO_PROCESS, number, min(19, now + nice))


T = TypeVar("T")
_MEMORY = 0.9  # of the pace; the rest is the last piece


class Urgency(IntEnum):
    """The order of pieces of work: the lowest number goes first."""

    LOAD = 0
    CLICK = 1
    PHOTO = 2
    LONG = 3


class QueueClosed(Exception):
    """The server is going down; the work is not done."""


@dataclass(order=True)
class _Piece:
    urgency: int
    number: int
    items: list[Any] = field(compare=False)
    key: Hashable = field(compare=False)
    work: Callable[[list[Any]], list[Any]] = field(compare=False)
    future: Future[Any] = field(compare=False)


class ModelQueue:
    """A queue of work for the model, and its thread; `start` and `close` may be called twice.

    most_together  items of one call
    nice           of the thread: 0, or more for one that steps back (`priority.step_back`)
    """

    def __init__(self, most_together: int = 16, nice: int = 0) -> None:
        self.most_together, self._nice = most_together, nice
        self._line: list[_Piece] = []
        self._numbers = itertools.count()
        self._changed = threading.Condition()
        self._closed = False
        self._pace = 0.02  # seconds a piece
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="anymask-model", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Let the piece that is being done end, and fail those that wait, with QueueClosed."""
        with self._changed:
            self._closed = True
            left, self._line = self._line, []
            self._changed.notify_all()
        for piece in left:
            if piece.future.set_running_or_notify_cancel():
                piece.future.set_exception(QueueClosed())
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout=10)  # a model that is being loaded cannot be stopped

    def ask(self, work: Callable[[], T], urgency: Urgency) -> Future[T]:
        """Have one piece done."""
        future: Future[T] = Future()
        self._add(urgency, [None], None, lambda _: [work()], future)
        return future

    def ask_together(
        self, items: list[Any], key: Hashable, work: Callable[[list[Any]], list[T]]
    ) -> Future[list[T]]:
        """Have items done, perhaps with others that wait with an equal key; click urgency.

        work  all items of a call -> one answer each; when it raises and several had come together,
              it is called again for each of them alone
        """
        future: Future[list[T]] = Future()
        self._add(Urgency.CLICK, items, key, work, future)
        return future

    @property
    def waiting(self) -> int:
        """Pieces that have not begun."""
        return len(self._line)

    @property
    def seconds_ahead(self) -> float:
        """How long what waits now will take, about."""
        return self._pace * (self.waiting + 1)

    def _add(
        self,
        urgency: Urgency,
        items: list[Any],
        key: Hashable,
        work: Callable[[list[Any]], list[Any]],
        future: Future[Any],
    ) -> None:
        with self._changed:
            if self._closed:
                raise QueueClosed
            piece = _Piece(urgency, next(self._numbers), items, key, work, future)
            heapq.heappush(self._line, piece)
            self._changed.notify()

    def _run(self) -> None:
        if self._nice:
            step_back(self._nice)
        while pieces := self._next():
            begun = time.monotonic()
            _do(pieces)
            spent = time.monotonic() - begun
            self._pace = _MEMORY * self._pace + (1 - _MEMORY) * spent

    def _next(self) -> list[_Piece]:
        """The most urgent piece and those that can be done with it; nothing at the end."""
        with self._changed:
            while True:
                while not self._line and not self._closed:
                    self._changed.wait()
                if not self._line:
                    return []
                pieces = [heapq.heappop(self._line)]
                if pieces[0].key is not None:
                    pieces += self._companions(pieces[0])
                begun = [p for p in pieces if p.future.set_running_or_notify_cancel()]
                if begun:
                    return begun

    def _companions(self, first: _Piece) -> list[_Piece]:
        room = self.most_together - len(first.items)
        found: list[_Piece] = []
        for piece in sorted(self._line):
            if piece.key == first.key and len(piece.items) <= room:
                found.append(piece)
                room -= len(piece.items)
        taken = {piece.number for piece in found}
        self._line = [piece for piece in self._line if piece.number not in taken]
        heapq.heapify(self._line)
        return found


def _do(pieces: list[_Piece]) -> None:
    try:
        answers = iter(pieces[0].work([item for piece in pieces for item in piece.items]))
        for piece in pieces:
            own = list(itertools.islice(answers, len(piece.items)))
            piece.future.set_result(own[0] if piece.key is None else own)
    except BaseException as error:
        if len(pieces) == 1:
            pieces[0].future.set_exception(error)
            return
        for piece in pieces:
            _do([piece])


class RequestAbandoned(Exception):
    """Nobody waits for the answer any more; the rest of the work is not done."""


def queue_calls(
    inside: ImageRuntime, turns: ModelQueue, urgency: Urgency, left: Event | None = None
) -> WrappedRuntime:
    """The same answers as the runtime inside; never to be asked from the thread of the turns.

    left  set once nobody waits any more: the next piece raises RequestAbandoned
    """

    def wait(_name: str, _given: tuple[Any, ...], call: Callable[[], Any]) -> Any:
        if left is not None and left.is_set():
            raise RequestAbandoned
        return turns.ask(call, urgency).result()

    return WrappedRuntime(inside, wait)
