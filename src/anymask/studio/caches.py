"""What a server keeps in memory: encoded images, and predictions that further clicks can correct.

What was not used for longest goes first.
"""

from __future__ import annotations

import hashlib
import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import replace
from typing import Generic, NamedTuple, TypeVar

import numpy as np

from anymask.segment import EncodedPhoto, Prediction
from anymask.studio.errors import Refusal

MEMORY = 64_000_000  # bytes of logits
SECONDS = 3600.0  # since the prediction was used last

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")
ImageKey = tuple[str, str, str]  # model, weights hash, image hash


class RecentValues(Generic[Key, Value]):
    """Values by key in limited memory, for any thread.

    Args:
        memory_bytes: Limit of all values together. A larger value is not kept.
        size_of: Bytes of a value.
        seconds: How long a value is kept that is not used.
        clock: Seconds since any moment.
    """

    def __init__(
        self,
        memory_bytes: int,
        size_of: Callable[[Value], int],
        seconds: float = math.inf,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.memory_bytes, self.used_bytes, self.seconds = memory_bytes, 0, seconds
        self._size_of, self._clock, self._lock = size_of, clock, threading.Lock()
        self._kept: OrderedDict[Key, tuple[Value, float]] = OrderedDict()  # and when it was used

    def __len__(self) -> int:
        return len(self._kept)

    def recall(self, key: Key) -> Value | None:
        """What is kept under a key, used last from now on; None for nothing."""
        with self._lock:
            value, used = self._kept.get(key, (None, 0.0))
            if value is None or self._clock() - used > self.seconds:
                return None
            self._kept[key] = value, self._clock()
            self._kept.move_to_end(key)
            return value

    def keep(self, key: Key, value: Value) -> None:
        """Keep a value, used last from now on, and drop what has expired or has no room."""
        size, now = self._size_of(value), self._clock()
        with self._lock:
            if size > self.memory_bytes:
                return
            if key not in self._kept:
                self.used_bytes += size
            self._kept[key] = value, now
            self._kept.move_to_end(key)
            while self._oldest_goes(now):
                _, (dropped, _) = self._kept.popitem(last=False)
                self.used_bytes -= self._size_of(dropped)

    def _oldest_goes(self, now: float) -> bool:
        _, used = next(iter(self._kept.values()))
        return self.used_bytes > self.memory_bytes or now - used > self.seconds


class EmbeddingCache(RecentValues[ImageKey, EncodedPhoto]):
    """Encoded images, with the pixels in which edges are refined.

    Args:
        memory_bytes: Limit of features and pixels.
    """

    def __init__(self, memory_bytes: int) -> None:
        super().__init__(memory_bytes, size_of)

    def get(self, key: ImageKey) -> EncodedPhoto | None:
        """The encoded image under a key."""
        return self.recall(key)

    def put(self, seen: EncodedPhoto) -> None:
        """Keep an encoded image."""
        made = seen.embedding
        self.keep((made.model, made.model_hash, made.image_hash), seen)


def size_of(seen: EncodedPhoto) -> int:
    """Bytes of its features and its pixels."""
    return seen.embedding.nbytes + (0 if seen.photo is None else seen.photo.nbytes)


class _Kept(NamedTuple):
    image: str  # hash of its pixels
    prediction: Prediction


class KeptPredictions(RecentValues[str, _Kept]):
    """The logits of predictions by id.

    Args:
        memory_bytes: Limit of the logits.
        seconds: How long an unused prediction is kept.
        clock: Seconds since any moment.
    """

    def __init__(
        self,
        memory_bytes: int = MEMORY,
        seconds: float = SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(memory_bytes, _bytes_of_logits, seconds, clock)

    def put(self, image: str, prediction: Prediction) -> str:
        """Keep a prediction of the image with this hash; its id, the same for the same one."""
        items = (replace(one, cleaned=None, finished=None) for one in prediction.items)
        bare = replace(prediction, items=tuple(items), picture=None)
        number = _id_of(image, bare)
        self.keep(number, _Kept(image, bare))
        return number

    def get(self, number: str, image: str, candidate: int = 0) -> Prediction:
        """A prediction of this image with the candidate that is meant first.

        Raises Refusal: 404 for an id that is unknown or expired, 422 for one of another image, or a
        candidate that it does not have.
        """
        kept = self.recall(number)
        if kept is None:
            message = (
                f"Unknown prediction ID {number!r}. Predictions expire after "
                f"{self.seconds / 60:g} minutes. Send all points, and omit `previous`."
            )
            raise Refusal(404, message)
        if kept.image != image:
            message = (
                f"The prediction {number!r} belongs to the image {kept.image}, not to "
                f"{image}. Send all points, and omit `previous`."
            )
            raise Refusal(422, message)
        if candidate >= len(kept.prediction):
            message = (
                f"Candidate {candidate} does not exist: this prediction has candidates 0 to "
                f"{len(kept.prediction) - 1}."
            )
            raise Refusal(422, message)
        return kept.prediction.picked([candidate])


def _id_of(image: str, prediction: Prediction) -> str:
    """32 hexadecimal digits of all that a correction depends on."""
    digest, prompt = hashlib.sha256(image.encode()), prediction.prompt
    digest.update(np.ascontiguousarray(prediction.logits).data)
    if prompt is not None:
        for part in (prompt.points, prompt.labels, prompt.box):
            digest.update(repr(part if part is None else part.tolist()).encode())
    return digest.hexdigest()[:32]


def _bytes_of_logits(kept: _Kept) -> int:
    return sum(one.logits.nbytes for one in kept.prediction.items)
