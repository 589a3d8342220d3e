"""Inference of the server: thread-safe requests to one model, with futures as results.

Two threads run the network, each with its own `ModelQueue`. One processes prompts, the other
encodes new images and runs long tasks, one at a time, with lower priority. Prompts therefore wait
only for other prompts. Automatic mask generation submits each batch of points separately, so that a
new image waits for at most one batch. Images are decoded in separate threads with lower priority.

Encoded images and predictions, which later points can refine, are cached in memory; the least
recently used are evicted first.
"""

from __future__ import annotations

import contextlib
import hashlib
import heapq
import itertools
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from enum import IntEnum
from functools import cached_property, partial
from pathlib import Path
from threading import Event
from typing import Any, Literal, NamedTuple, TypeVar, cast

import numpy as np

from anymask.base import AnymaskError, ModelError, OnProgress, UintImage
from anymask.find import Detector
from anymask.masks import Mask, ModelPrompts, Prompt, Rle, warn_of_cut_boxes
from anymask.runtime import ImageRuntime, MaskNaming, MemoryChoice, Sweep, SweepOutput, VideoRuntime
from anymask.segment import (
    EmbeddingCache,
    EncodedImage,
    Model,
    Prediction,
    RecentValues,
    SegmentSettings,
    answer_prompts,
    refine_record_edges,
)
from anymask.studio.errors import RequestError
from anymask.studio.names import Named, NamesAsked, OwnNames, name_masks


class _Kept(NamedTuple):
    image: str  # hash of the pixels
    prediction: Prediction


class KeptPredictions(RecentValues[str, _Kept]):
    """Cache of prediction logits by ID.

    Args:
        memory_bytes: Maximum size of the logits.
        seconds: Lifetime of unused predictions.
        clock: Monotonic clock in seconds.
    """

    def __init__(
        self,
        memory_bytes: int = 64_000_000,
        seconds: float = 3600.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(
            memory_bytes,
            lambda kept: sum(mask.logits.nbytes for mask in kept.prediction.items),
            seconds,
            clock,
        )

    def put(self, image: str, prediction: Prediction) -> str:
        """Store a prediction of an image and return its ID, the same for equal predictions."""
        items = tuple(replace(mask, cleaned=None, finished=None) for mask in prediction.items)
        bare = replace(prediction, items=items, source_image=None)
        # ID of a prediction: 32 hexadecimal digits, a hash of everything that a correction uses
        digest, prompt = hashlib.sha256(image.encode()), bare.prompt
        digest.update(np.ascontiguousarray(bare.logits).data)
        if prompt is not None:
            for part in (prompt.points, prompt.labels, prompt.box):
                digest.update(repr(part if part is None else part.tolist()).encode())
        number = digest.hexdigest()[:32]
        self.keep(number, _Kept(image, bare))
        return number

    def get(self, number: str, image: str, candidate: int = 0) -> Prediction:
        """Return a prediction with the given candidate first.

        Raises Refusal: 404 for an unknown or expired ID, 422 for another image or an unknown
        candidate.
        """
        kept = self.recall(number)
        if kept is None:
            raise RequestError(404, f"Unknown or expired prediction {number!r}. Omit `previous`.")
        if kept.image != image:
            raise RequestError(422, f"{number!r} predicts the image {kept.image}. Omit `previous`.")
        if candidate >= (count := len(kept.prediction)):
            raise RequestError(422, f"Candidate {candidate} does not exist. Use 0 to {count - 1}.")
        return kept.prediction.picked([candidate])


LOG = logging.getLogger("anymask.studio.model")
IMAGE_THREADS = 2
BACKGROUND = 5  # niceness: about a third of the CPU share of a normal thread
T = TypeVar("T")


def lower_thread_priority(nice: int = BACKGROUND) -> None:
    """Lower the priority of the current thread, if the system supports it (Linux).

    Args:
        nice: Added to the current niceness, up to 19.
    """
    if sys.platform == "linux":  # Linux threads have their own ID and niceness
        number = threading.get_native_id()
        with contextlib.suppress(OSError):
            now = os.getpriority(os.PRIO_PROCESS, number)
            os.setpriority(os.PRIO_PROCESS, number, min(19, now + nice))


class Urgency(IntEnum):
    """Priority of work items; the lowest number is processed first."""

    LOAD = 0
    CLICK = 1
    IMAGE = 2
    LONG = 3


class QueueClosed(Exception):
    """The server is shutting down, and the work was not done."""


class RequestAbandoned(Exception):
    """The client disconnected, and the rest of the work was skipped."""


@dataclass(order=True)
class _Piece:
    urgency: int
    number: int
    items: list[Any] = field(compare=False)
    key: Hashable = field(compare=False)
    work: Callable[[list[Any]], list[Any]] = field(compare=False)
    future: Future[Any] = field(compare=False)


class ModelQueue:
    """Priority queue for the model, with its thread. `start` and `close` are idempotent.

    Args:
        most_together: Maximum number of items per call.
        nice: Niceness of the thread.
    """

    def __init__(self, most_together: int = 16, nice: int = 0) -> None:
        self.most_together, self._nice = most_together, nice
        self._line: list[_Piece] = []
        self._numbers = itertools.count()
        self._changed = threading.Condition()
        self._closed = False
        self._pace = 0.02  # seconds per piece of work
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="anymask-model", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Finish the current piece of work, and fail waiting ones with QueueClosed."""
        with self._changed:
            self._closed = True
            left, self._line = self._line, []
            self._changed.notify_all()
        for piece in left:
            if piece.future.set_running_or_notify_cancel():
                piece.future.set_exception(QueueClosed())
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout=10)  # loading a model cannot be interrupted

    def submit(self, work: Callable[[], T], urgency: Urgency) -> Future[T]:
        """Submit one piece of work."""
        return self._add(urgency, [None], None, lambda _: [work()])

    def submit_together(
        self, items: list[Any], key: Hashable, work: Callable[[list[Any]], list[T]]
    ) -> Future[list[T]]:
        """Submit items, which may be batched with waiting items of an equal key.

        Args:
            work: Function from all items of a batch to one result each. If it raises for a batch
                of several submissions, it is called again for each of them.
        """
        return self._add(Urgency.CLICK, items, key, work)

    @property
    def waiting(self) -> int:
        """Number of waiting pieces of work."""
        return len(self._line)

    @property
    def seconds_ahead(self) -> float:
        """Estimated time to process all waiting work, in seconds."""
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
        """Most urgent piece of work, and those to batch with it. Empty after `close`."""
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
                begun = [piece for piece in pieces if piece.future.set_running_or_notify_cancel()]
                if begun:
                    return begun


def _do(pieces: list[_Piece]) -> None:
    try:
        answers = iter(pieces[0].work([item for piece in pieces for item in piece.items]))
        for piece in pieces:
            results = list(itertools.islice(answers, len(piece.items)))
            piece.future.set_result(results[0] if piece.key is None else results)
    except BaseException as error:
        if len(pieces) == 1:
            pieces[0].future.set_exception(error)
            return
        for piece in pieces:
            _do([piece])


class QueuedRuntime(ImageRuntime):
    """A runtime whose computing calls run in a queue. Must not be used in the queue's thread.

    Args:
        left: Set when the client disconnects; the next call raises RequestAbandoned.
    """

    def __init__(
        self, inside: ImageRuntime, queue: ModelQueue, urgency: Urgency, left: Event | None = None
    ) -> None:
        self._inside, self._queue, self._urgency, self._left = inside, queue, urgency, left
        self.spec, self.family = inside.spec, inside.family
        self.weights_hash = inside.weights_hash
        for name in (
            "encode_images", "decode", "decode_guided", "vector_length", "label_cells",
            "instance_planes", "refine_edge", "read_memory",
        ):  # fmt: skip
            if (call := getattr(inside, name)) is not None:
                setattr(self, name, partial(self._run, call))
        if inside.sweep is not None:
            self.sweep = partial(QueuedSweep, self._run, inside.sweep)

    def _run(self, call: Callable[..., T], *given: Any) -> T:
        if self._left is not None and self._left.is_set():
            raise RequestAbandoned
        return self._queue.submit(partial(call, *given), self._urgency).result()

    @cached_property
    def naming(self) -> MaskNaming | None:  # type: ignore[override]  # read-only
        inside = self._inside.naming
        return None if inside is None else QueuedNaming(self._run, inside)

    @cached_property
    def video(self) -> VideoRuntime | None:  # type: ignore[override]  # read-only
        inside = self._inside.video
        return None if inside is None else cast(VideoRuntime, QueuedVideo(self._run, inside))


class QueuedNaming:
    """A name model whose calls pass through `run`."""

    def __init__(self, run: Callable[..., Any], inside: MaskNaming) -> None:
        self.name_table = partial(run, inside.name_table)
        self.embed_crops = partial(run, inside.embed_crops)


class QueuedSweep:
    """A sweep of an image whose calls pass through `run`."""

    def __init__(self, run: Callable[..., Any], start: Callable[..., Sweep], *image: Any) -> None:
        self._run, self._inside = run, run(start, *image)
        self.bytes_per_prompt = self._inside.bytes_per_prompt

    def decode(self, prompts: ModelPrompts) -> SweepOutput:
        answer = self._run(self._inside.decode, prompts)
        # Masks are computed when they are read, so they are read inside the call.
        read = partial(self._run, lambda chosen: list(answer.logits(chosen)))
        return SweepOutput(answer.quality, lambda chosen: iter(read(chosen)))


class QueuedVideo:
    """Video steps whose calls pass through `run`. See `VideoRuntime`."""

    def __init__(self, run: Callable[..., Any], inside: VideoRuntime) -> None:
        self._run, self._inside = run, inside
        for name in (
            "encode_frame", "answer_points", "answer_mask", "step_video", "remember",
            "bank_to_arrays", "arrays_to_bank",
        ):  # fmt: skip
            setattr(self, name, partial(run, getattr(inside, name)))

    def choosing(self, choice: MemoryChoice) -> QueuedVideo:
        return QueuedVideo(self._run, self._inside.choosing(choice))


@dataclass(frozen=True)
class Health:
    """The state of the model. `reason` is the error if loading failed."""

    status: Literal["loading", "ready", "failed"]
    model: str
    weights_hash: str = ""
    reason: str | None = None


class Inference:
    """Thread-safe model access. Call `start` first and `close` at the end.

    Args:
        load: Function that loads the model, called once in the model thread.
        name: Model name until it is loaded.
        cache: Cache of encoded images.
        most_long: Maximum number of waiting long tasks.
        detector: Detector for text prompts. None: the known names of the model.
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
        self._images = ThreadPoolExecutor(IMAGE_THREADS, "anymask-photo", lower_thread_priority)
        self._long = ThreadPoolExecutor(1, "anymask-long", lower_thread_priority)
        self._most_long, self._long_now = most_long, 0

    def start(self) -> None:
        """Start loading the model in the background."""
        self.clicks.submit(self._open, Urgency.LOAD)
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
        """Stop. Waiting work fails with QueueClosed."""
        self.clicks.close()
        self.heavy.close()
        if not self.model.done():
            self.model.set_exception(ModelError("The server is shutting down. Try again later."))
        self._images.shutdown(cancel_futures=True)
        self._long.shutdown(cancel_futures=True)

    def health(self) -> Health:
        """State of the model. Does not wait."""
        if not self.model.done():
            return Health("loading", self._name)
        error = self.model.exception()
        if error is not None:
            return Health("failed", self._name, reason=str(error))
        model = self.model.result()
        return Health("ready", model.name, model.runtime.weights_hash)

    @property
    def seconds_ahead(self) -> float:
        """Estimated time to process all waiting work, in seconds."""
        return max(self.clicks.seconds_ahead, self.heavy.seconds_ahead)

    def ready(self) -> Model:
        """Wait for the model and return it. Raises Refusal (503) if it cannot be loaded."""
        try:
            return self.model.result()
        except AnymaskError as error:
            raise RequestError(503, f"The model cannot be loaded. {error}") from error

    def recall(self, pixels: str) -> EncodedImage | None:
        """Return a cached encoded image by the hash of its pixels, or None."""
        return self.cache.get(self.ready().runtime, pixels)

    def encode(
        self, read: Callable[[], UintImage], georeferenced: bool = False
    ) -> Future[EncodedImage]:
        """Encode an image, or return it from the cache.

        Args:
            read: Function that decodes the image, called in a thread.
            georeferenced: Whether the image is georeferenced.
        """

        def work() -> EncodedImage:
            image = read()
            runtime = QueuedRuntime(self.ready().runtime, self.heavy, Urgency.IMAGE)
            return self.cache.encode(runtime, image, georeferenced)

        return self._images.submit(work)

    def segment(
        self,
        encoded: EncodedImage,
        prompts: list[Prompt],
        settings: SegmentSettings | None = None,
        previous: Sequence[Prediction | None] | None = None,
    ) -> Future[list[Prediction]]:
        """Predict masks for prompts on one image, batched with waiting prompts on the same image.

        Args:
            previous: As for `Model.segment`.
        """
        chosen, embedding = settings or SegmentSettings(), encoded.embedding
        warn_of_cut_boxes(prompts, embedding.image_hw)

        def work(together: list[Any]) -> list[Prediction]:
            batch, before = zip(*together, strict=True)
            return answer_prompts(
                self.ready().runtime, encoded.image, embedding, batch, chosen, before, self.cache
            )

        key = (embedding.model_hash, embedding.image_hash, chosen)
        pairs = list(zip(prompts, previous or [None] * len(prompts), strict=True))
        return self.clicks.submit_together(pairs, key, work)

    def everything(
        self,
        read_image: Callable[[], UintImage | EncodedImage],
        settings: dict[str, Any],
        left: Event | None = None,
        tell: OnProgress | None = None,
    ) -> Future[list[Mask]]:
        """Run automatic mask generation in batches, between which other requests are processed.

        Raises Refusal (429) if too many long tasks wait.

        Args:
            read_image: Function that returns the image or its embedding, called in a thread.
            left: Set when the client disconnects; the future then fails with RequestAbandoned.
            tell: Called with finished and total steps, from the thread that runs the task.
        """

        def work(model: Model) -> list[Mask]:
            chosen = {"points_per_batch": 8} | settings  # limits the delay of new images
            return model.everything(read_image(), progress=tell, **chosen)

        return self.long("everything", work, left)

    def long(self, name: str, work: Callable[[Model], T], left: Event | None = None) -> Future[T]:
        """Run a long task, one at a time. Its model calls are queued separately.

        Raises Refusal (429) if too many long tasks wait.

        Args:
            work: Function that receives the model.
            left: As for `everything`.
        """
        if self._long_now >= self._most_long:
            raise RequestError(
                429,
                f"The server is busy: {self._long_now} of {self._most_long} long requests are "
                "running. Retry after the number of seconds in the Retry-After header.",
                max(5.0, self.seconds_ahead),
            )

        def timed() -> T:
            model = Model(QueuedRuntime(self.ready().runtime, self.heavy, Urgency.LONG, left))
            model.recent = self.cache
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
        """Refine the edges of automatic masks."""

        def work() -> list[Mask]:
            runtime = QueuedRuntime(self.ready().runtime, self.heavy, Urgency.LONG)
            return refine_record_edges(runtime, read(), records)

        return self._long.submit(work)

    def names(
        self,
        read_image: Callable[[], UintImage | EncodedImage],
        rles: list[Rle],
        options: NamesAsked,
        left: Event | None = None,
        own: OwnNames | None = None,
    ) -> Future[Named]:
        """Suggest names for masks of an image. Prompts never wait for it.

        Args:
            read_image: As for `everything`.
            left: As for `everything`.
        """

        def work() -> Named:
            runtime = QueuedRuntime(self.ready().runtime, self.heavy, Urgency.IMAGE, left)
            return name_masks(runtime, read_image(), rles, options, own)

        return self._images.submit(work)
