"""Inference of the server: requests from any thread in, futures of answers by one model out.

Two threads run the network, each through its own `ModelQueue`: one answers clicks, the other sees
new photos and does what is long, one thing at a time, and steps back where both want the same core.
So a click waits for other clicks alone. Everything hands in each batch of its clicks as a piece, so
that a new photo waits for one batch at most, never for a whole photo's masks. Photos are decoded
and fitted in threads of their own, which step back as well.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from threading import Event
from typing import Any, Literal

from anymask.base import AnymaskError, ModelError, Told, UintImage
from anymask.masks import Mask, Prompt, Rle
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
from anymask.studio.cache import EmbeddingCache
from anymask.studio.naming import Named, NamesAsked, name_masks
from anymask.studio.own_names import OwnNames
from anymask.studio.refusals import Refusal
from anymask.studio.turns import BACKGROUND, ModelQueue, Urgency, queue_calls, step_back

LOG = logging.getLogger("anymask.studio.model")
State = Literal["loading", "ready", "failed"]
PHOTO_THREADS = 2
CLICKS_A_SLICE = 8  # of everything: what a new photo may have to wait for


@dataclass(frozen=True)
class Health:
    """How the model is; `reason` says why it failed."""

    status: State
    model: str
    weights_hash: str
    reason: str = ""


class Inference:
    """Make it, `start` it, ask it from any thread, `close` it. Every answer is a Future.

    load   opens the model; called once, in the thread that runs it
    name   of the model, while it is not there yet
    cache  keeps what was seen
    """

    def __init__(
        self,
        load: Callable[[], Model],
        name: str,
        cache: EmbeddingCache,
        most_long: int = 16,
    ) -> None:
        self.cache = cache
        self.clicks, self.heavy = ModelQueue(), ModelQueue(nice=BACKGROUND)
        self._name, self._load = name, load
        self._model: Future[Model] = Future()
        self._photos = ThreadPoolExecutor(PHOTO_THREADS, "anymask-photo", step_back)
        self._long = ThreadPoolExecutor(1, "anymask-long", step_back)
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
            self._model.set_exception(error)
            if not isinstance(error, AnymaskError):
                raise
        else:
            LOG.info("%s is loaded, after %.1f s", model.name, time.monotonic() - began)
            self._model.set_result(model)

    def close(self) -> None:
        """Stop; what has not begun fails with `turns.QueueClosed`."""
        self.clicks.close()
        self.heavy.close()
        if not self._model.done():
            self._model.set_exception(ModelError("the server is going down"))
        self._photos.shutdown(cancel_futures=True)
        self._long.shutdown(cancel_futures=True)
        self.cache.close()

    def health(self) -> Health:
        """At once, whatever the model does."""
        if not self._model.done():
            return Health("loading", self._name, "")
        error = self._model.exception()
        if error is not None:
            return Health("failed", self._name, "", str(error))
        model = self._model.result()
        return Health("ready", model.name, model.runtime.weights_hash)

    @property
    def seconds_ahead(self) -> float:
        """How long what waits now will take, about."""
        return max(self.clicks.seconds_ahead, self.heavy.seconds_ahead)

    @property
    def model(self) -> Future[Model]:
        """The model, as soon as it is there."""
        return self._model

    def encode(self, read: Callable[[], UintImage]) -> Future[EncodedPhoto]:
        """See a photo, or remember it.

        read  decodes the photo; called in a thread
        """
        return self._photos.submit(self._embed, read)

    def _embed(self, read: Callable[[], UintImage]) -> EncodedPhoto:
        photo = read()
        model = self.ready()
        known = self.recall(image_hash(photo))
        if known is not None:
            return known
        embedding = Model(queue_calls(model.runtime, self.heavy, Urgency.PHOTO)).encode(photo)
        made = EncodedPhoto(embedding, photo_for_edges(photo, embedding.geometry))
        self.cache.put(made)
        return made

    def recall(self, pixels: str) -> EncodedPhoto | None:
        """What was seen of a photo, by the hash of its pixels; may read the disk."""
        model = self.ready()
        return self.cache.get((model.name, model.runtime.weights_hash, pixels))

    def remembered(self, pixels: str) -> EncodedPhoto | None:
        """The same from memory alone, for the thread that must not wait."""
        model = self.ready()
        return self.cache.remembered((model.name, model.runtime.weights_hash, pixels))

    def ready(self) -> Model:
        """The model; waits until it is there. Raises Refusal (503) where it cannot be opened."""
        try:
            return self._model.result()
        except AnymaskError as error:
            raise Refusal(
                503, "a model", str(error), "start the server with another --model"
            ) from error

    def segment(
        self, seen: EncodedPhoto, prompts: list[Prompt], settings: SegmentSettings | None = None
    ) -> Future[list[Prediction]]:
        """Answer prompts on one photo, in one call with others that wait for the same photo."""
        chosen, embedding = settings or SegmentSettings(), seen.embedding

        def work(together: list[Any]) -> list[Prediction]:
            runtime = self.ready().runtime
            return answer_prompts(runtime, seen.photo, embedding, together, chosen)

        key = (embedding.model_hash, embedding.image_hash, chosen)
        return self.clicks.ask_together(list(prompts), key, work)

    def everything(
        self,
        look: Callable[[], UintImage | EncodedPhoto],
        settings: dict[str, Any],
        left: Event | None = None,
        tell: Told | None = None,
    ) -> Future[list[Mask]]:
        """The masks of everything, in slices between which others have their turn.

        look      gives the photo, or what was seen of it; called in a thread
        left      set once nobody waits any more: the future then fails with `queued.Left`
        tell      told (steps done, all steps), from the thread that searches

        Raises Refusal (429) when too many wait already.
        """
        if self._long_now >= self._most_long:
            raise Refusal(
                429,
                f"fewer than {self._most_long} requests for everything at a time",
                f"{self._long_now} under way",
                "ask again after the seconds of Retry-After",
                retry_after=max(5.0, self.seconds_ahead),
            )
        self._long_now += 1
        future = self._long.submit(self._everything, look, settings, left, tell)
        future.add_done_callback(self._ended)
        return future

    def refine(self, read: Callable[[], UintImage], records: list[Mask]) -> Future[list[Mask]]:
        """The masks of everything with their edges where the photo's colours part."""

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

        look, left  as for `everything`
        """

        def work() -> Named:
            runtime = queue_calls(self.ready().runtime, self.heavy, Urgency.PHOTO, left)
            return name_masks(runtime, look(), rles, asked, own)

        return self._photos.submit(work)

    def _ended(self, _: object) -> None:
        self._long_now -= 1

    def _everything(
        self,
        look: Callable[[], UintImage | EncodedPhoto],
        settings: dict[str, Any],
        left: Event | None,
        tell: Told | None,
    ) -> list[Mask]:
        runtime = queue_calls(self.ready().runtime, self.heavy, Urgency.LONG, left)
        chosen = {"points_per_batch": CLICKS_A_SLICE} | settings
        began = time.monotonic()
        LOG.info("a search for everything begins")
        try:
            found = Model(runtime).everything(look(), progress=tell, **chosen)
        except BaseException as error:
            spent = time.monotonic() - began
            LOG.info("a search for everything ended after %.1f s: %s", spent, type(error).__name__)
            raise
        LOG.info("everything: %d masks in %.1f s", len(found), time.monotonic() - began)
        return found
