"""Inference of the server: requests from any thread, answers as futures, by one model.

Two threads run the network, each through a `ModelQueue` of its own: one answers clicks, the other
encodes new photos and does what is long, one thing at a time, and steps back where both want the
same core. So a click waits for other clicks alone. Everything hands in each batch of its clicks as
a piece, so that a new photo waits for one batch at most, never for a whole photo's masks. Photos
are decoded in threads of their own, which step back as well.

What was encoded is kept in memory, the least recently used goes first.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from threading import Event
from typing import Any, Literal, TypeVar

from anymask.base import AnymaskError, ModelError, OnProgress, UintImage
from anymask.find import Detector
from anymask.masks import Mask, Prompt, Rle, warn_of_cut_boxes
from anymask.runtime import ImageRuntime, WrappedRuntime
from anymask.segment import (
    EncodedPhoto,
    Model,
    Prediction,
    SegmentSettings,
    answer_prompts,
    image_hash,
    photo_for_edges,
    refine_record_edges,
)
from anymask.studio.caches import EmbeddingCache, KeptPredictions
from anymask.studio.errors import Refusal
from anymask.studio.names import Named, NamesAsked, OwnNames, name_masks

LOG = logging.getLogger("anymask.studio.model")
PHOTO_THREADS = 2
CLICKS_A_SLICE = 8  # of everything: what a new photo may have to wait for
BACKGROUND = 5  # niceness: a third of an ordinary thread's share where both want one core
T = TypeVar("T")


def lower_thread_priority(nice: int = BACKGROUND) -> None:
    """Lower the priority of the calling thread; where a system knows only processes, do nothing.

    Args:
        nice: Is added to the niceness that the thread has, up to 19, the last.
    """
    if sys.platform == "linux":  # there each thread has a number and a niceness of its own
        number = threading.get_native_id()
        with contextlib.suppress(OSError):
            now = os.getpriority(os.PRIO_PROCESS, number)
            os.setpriority(os.PRIO_PROCESS, number, min(19, now + nice))


class Urgency(IntEnum):
    """The order of pieces of work: the lowest number goes first."""

    LOAD = 0
    CLICK = 1
    PHOTO = 2
    LONG = 3


class QueueClosed(Exception):
    """The server is going down; the work is not done."""


class RequestAbandoned(Exception):
    """Nobody waits for the answer any more; the rest of the work is not done."""


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

    Args:
        most_together: Items of one call.
        nice: Of the thread: 0, or more for one that steps back.
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
        return self._add(urgency, [None], None, lambda _: [work()])

    def ask_together(
        self, items: list[Any], key: Hashable, work: Callable[[list[Any]], list[T]]
    ) -> Future[list[T]]:
        """Have items done, perhaps with others that wait with an equal key; click urgency.

        Args:
            work: All items of a call -> one answer each; when it raises and several had come
                together, it is called again for each of them alone.
        """
        return self._add(Urgency.CLICK, items, key, work)

    @property
    def waiting(self) -> int:
        """Pieces that have not begun."""
        return len(self._line)

    @property
    def seconds_ahead(self) -> float:
        """How long what waits now will take, about."""
        return self._pace * (self.waiting + 1)

    def _add(
        self, urgency: Urgency, items: list[Any], key: Hashable, work: Callable[[list[Any]], Any]
    ) -> Future[Any]:
        with self._changed:
            if self._closed:
                raise QueueClosed
            piece = _Piece(urgency, next(self._numbers), items, key, work, Future())
            heapq.heappush(self._line, piece)
            self._changed.notify()
        return piece.future

    def _run(self) -> None:
        if self._nice:
            lower_thread_priority(self._nice)
        while pieces := self._next():
            began = time.monotonic()
            _do(pieces)
            self._pace = 0.9 * self._pace + 0.1 * (time.monotonic() - began)

    def _next(self) -> list[_Piece]:
        """The most urgent piece and those that can be done with it; nothing at the end."""
        with self._changed:
            while True:
                self._changed.wait_for(lambda: self._line or self._closed)
                if not self._line:
                    return []
                pieces = [heapq.heappop(self._line)]
                room = self.most_together - len(pieces[0].items)
                for piece in sorted(self._line) if pieces[0].key is not None else ():
                    if piece.key == pieces[0].key and len(piece.items) <= room:
                        pieces.append(piece)
                        room -= len(piece.items)
                        self._line.remove(piece)
                heapq.heapify(self._line)
                begun = [one for one in pieces if one.future.set_running_or_notify_cancel()]
                if begun:
                    return begun


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


def queue_calls(
    inside: ImageRuntime, queue: ModelQueue, urgency: Urgency, left: Event | None = None
) -> WrappedRuntime:
    """The same answers as the runtime inside; never to be asked from the thread of the queue.

    Args:
        left: Set once nobody waits any more: the next piece raises RequestAbandoned.
    """

    def wait(_name: str, _given: tuple[Any, ...], call: Callable[[], Any]) -> Any:
        if left is not None and left.is_set():
            raise RequestAbandoned
        return queue.ask(call, urgency).result()

    return WrappedRuntime(inside, wait)


@dataclass(frozen=True)
class Health:
    """The state of the model. `reason` is the error if loading failed."""

    status: Literal["loading", "ready", "failed"]
    model: str
    weights_hash: str = ""
    reason: str | None = None


class Inference:
    """Make it, `start` it, ask it from any thread, `close` it. Every answer is a Future.

    Args:
        load: Opens the model; called once, in the thread that runs it.
        name: Of the model, while it is not there yet.
        cache: Keeps what was encoded.
        most_long: Pieces of long work that may wait.
        detector: What `find` reads words with; None: the model's own names.
    """

    def __init__(
        self,
        load: Callable[[], Model],
        name: str,
        cache: EmbeddingCache,
        most_long: int = 16,
        detector: str | Path | Detector | None = None,
    ) -> None:
        self.cache, self.detector = cache, detector
        self.predictions = KeptPredictions()
        self.clicks, self.heavy = ModelQueue(), ModelQueue(nice=BACKGROUND)
        self.model: Future[Model] = Future()
        self._name, self._load = name, load
        self._photos = ThreadPoolExecutor(PHOTO_THREADS, "anymask-photo", lower_thread_priority)
        self._long = ThreadPoolExecutor(1, "anymask-long", lower_thread_priority)
        self._most_long, self._long_now = most_long, 0

    def start(self) -> None:
        """Begin to load the model; returns at once."""
        self.clicks.ask(self._open, Urgency.LOAD)
        self.clicks.start()
        self.heavy.start()

    def _open(self) -> None:
        began = time.monotonic()
        try:
            model = self._load()
        except Exception as error:
            LOG.error("%s could not be loaded: %s", self._name, error)
            self.model.set_exception(error)
            if not isinstance(error, AnymaskError):
                raise
        else:
            LOG.info("loaded %s in %.1f s", model.name, time.monotonic() - began)
            self.model.set_result(model)

    def close(self) -> None:
        """Stop; what has not begun fails with QueueClosed."""
        self.clicks.close()
        self.heavy.close()
        if not self.model.done():
            self.model.set_exception(ModelError("The server is shutting down. Try again later."))
        self._photos.shutdown(cancel_futures=True)
        self._long.shutdown(cancel_futures=True)

    def health(self) -> Health:
        """At once, whatever the model does."""
        if not self.model.done():
            return Health("loading", self._name)
        error = self.model.exception()
        if error is not None:
            return Health("failed", self._name, reason=str(error))
        model = self.model.result()
        return Health("ready", model.name, model.runtime.weights_hash)

    @property
    def seconds_ahead(self) -> float:
        """How long what waits now will take, about."""
        return max(self.clicks.seconds_ahead, self.heavy.seconds_ahead)

    def ready(self) -> Model:
        """The model; waits until it is there. Raises Refusal (503) where it cannot be opened."""
        try:
            return self.model.result()
        except AnymaskError as error:
            parts = f"The model cannot be loaded. {error}"
            raise Refusal(503, parts) from error

    def recall(self, pixels: str) -> EncodedPhoto | None:
        """What is kept of a photo, by the hash of its pixels."""
        model = self.ready()
        return self.cache.get((model.name, model.runtime.weights_hash, pixels))

    def encode(self, read: Callable[[], UintImage]) -> Future[EncodedPhoto]:
        """Encode a photo, or remember it.

        Args:
            read: Decodes the photo; called in a thread.
        """

        def work() -> EncodedPhoto:
            photo = read()
            model = self.ready()
            known = self.recall(image_hash(photo))
            if known is not None:
                return known
            features = self.heavy.ask(lambda: model.encode(photo), Urgency.PHOTO).result()
            made = EncodedPhoto(features, photo_for_edges(photo, features.geometry))
            self.cache.put(made)
            return made

        return self._photos.submit(work)

    def segment(
        self,
        seen: EncodedPhoto,
        prompts: list[Prompt],
        settings: SegmentSettings | None = None,
        previous: Sequence[Prediction | None] | None = None,
    ) -> Future[list[Prediction]]:
        """Answer prompts on one photo, in one call with others that wait for the same photo.

        Args:
            previous: As for `Model.segment`.
        """
        chosen, embedding = settings or SegmentSettings(), seen.embedding
        warn_of_cut_boxes(prompts, embedding.image_hw)

        def work(together: list[Any]) -> list[Prediction]:
            asked, before = zip(*together, strict=True)
            runtime = self.ready().runtime
            return answer_prompts(runtime, seen.photo, embedding, asked, chosen, before)

        key = (embedding.model_hash, embedding.image_hash, chosen)
        pairs = list(zip(prompts, previous or [None] * len(prompts), strict=True))
        return self.clicks.ask_together(pairs, key, work)

    def everything(
        self,
        look: Callable[[], UintImage | EncodedPhoto],
        settings: dict[str, Any],
        left: Event | None = None,
        tell: OnProgress | None = None,
    ) -> Future[list[Mask]]:
        """The masks of everything, in slices between which others have their turn.

        Raises Refusal (429) when too many wait already.

        Args:
            look: Gives the photo, or what was encoded of it; called in a thread.
            left: Set once nobody waits any more: the future then fails with RequestAbandoned.
            tell: Told (steps done, all steps), from the thread that searches.
        """

        def work(model: Model) -> list[Mask]:
            chosen = {"points_per_batch": CLICKS_A_SLICE} | settings
            return model.everything(look(), progress=tell, **chosen)

        return self.long("everything", work, left)

    def long(self, name: str, work: Callable[[Model], T], left: Event | None = None) -> Future[T]:
        """Work of any length, one at a time, each piece of which waits for its turn.

        Raises Refusal (429) when too many wait already.

        Args:
            work: Gets the model.
            left: As for `everything`.
        """
        if self._long_now >= self._most_long:
            raise Refusal(
                429,
                (
                    f"The server is busy: {self._long_now} of {self._most_long} long "
                    "requests are running. Retry after the number of seconds in the "
                    "Retry-After header."
                ),
                max(5.0, self.seconds_ahead),
            )

        def timed() -> T:
            model = Model(queue_calls(self.ready().runtime, self.heavy, Urgency.LONG, left))
            began = time.monotonic()
            LOG.info("%s started", name)
            try:
                done = work(model)
            except BaseException as error:
                spent, kind = time.monotonic() - began, type(error).__name__
                LOG.info("%s failed after %.1f s: %s", name, spent, kind)
                raise
            LOG.info("%s finished in %.1f s", name, time.monotonic() - began)
            return done

        def ended(_: object) -> None:
            self._long_now -= 1

        self._long_now += 1
        future = self._long.submit(timed)
        future.add_done_callback(ended)
        return future

    def refine(self, read: Callable[[], UintImage], records: list[Mask]) -> Future[list[Mask]]:
        """The masks of everything with their edges where the photo's colors part."""

        def work() -> list[Mask]:
            runtime = queue_calls(self.ready().runtime, self.heavy, Urgency.LONG)
            return refine_record_edges(runtime, read(), records)

        return self._long.submit(work)

    def names(
        self,
        look: Callable[[], UintImage | EncodedPhoto],
        rles: list[Rle],
        asked: NamesAsked,
        left: Event | None = None,
        own: OwnNames | None = None,
    ) -> Future[Named]:
        """What masks of a photo may be called; clicks never wait for it.

        Args:
            look: As for `everything`.
            left: As for `everything`.
        """

        def work() -> Named:
            runtime = queue_calls(self.ready().runtime, self.heavy, Urgency.PHOTO, left)
            return name_masks(runtime, look(), rles, asked, own)

        return self._photos.submit(work)
