"""In-memory caches of the server: encoded images, and predictions that later points refine.

The least recently used entries are evicted first.
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

MEMORY = 64_000_000  # cache size of logits, in bytes
SECONDS = 3600.0  # lifetime after the last use

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")
ImageKey = tuple[str, str, str]  # model, weights hash, image hash


class RecentValues(Generic[Key, Value]):
    """Thread-safe LRU cache with a memory limit.

    Args:
        memory_bytes: Maximum total size. Larger values are not cached.
        size_of: Function that returns the size of a value in bytes.
        seconds: Lifetime of unused values.
        clock: Monotonic clock in seconds.
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
        self._kept: OrderedDict[Key, tuple[Value, float]] = OrderedDict()  # and its last use

    def __len__(self) -> int:
        return len(self._kept)

    def recall(self, key: Key) -> Value | None:
        """Return a value and mark it as used, or None."""
        with self._lock:
            value, used = self._kept.get(key, (None, 0.0))
            if value is None or self._clock() - used > self.seconds:
                return None
            self._kept[key] = value, self._clock()
            self._kept.move_to_end(key)
            return value

    def keep(self, key: Key, value: Value) -> None:
        """Store a value, and evict expired values and those beyond the memory limit."""
        size, now = self._size_of(value), self._clock()
        with self._lock:
            if size > self.memory_bytes:
                return
            if key not in self._kept:
                self.used_bytes += size
            self._kept[key] = value, now
            self._kept.move_to_end(key)
            while self._evict_oldest(now):
                _, (dropped, _) = self._kept.popitem(last=False)
                self.used_bytes -= self._size_of(dropped)

    def _evict_oldest(self, now: float) -> bool:
        _, used = next(iter(self._kept.values()))
        return self.used_bytes > self.memory_bytes or now - used > self.seconds


class EmbeddingCache(RecentValues[ImageKey, EncodedPhoto]):
    """Cache of encoded images, with the pixels for edge refinement.

    Args:
        memory_bytes: Maximum size of features and pixels.
    """

    def __init__(self, memory_bytes: int) -> None:
        super().__init__(memory_bytes, size_of)

    def get(self, key: ImageKey) -> EncodedPhoto | None:
        """Return an encoded image, or None."""
        return self.recall(key)

    def put(self, seen: EncodedPhoto) -> None:
        """Store an encoded image."""
        made = seen.embedding
        self.keep((made.model, made.model_hash, made.image_hash), seen)


def size_of(seen: EncodedPhoto) -> int:
    """Size of features and pixels in bytes."""
    return seen.embedding.nbytes + (0 if seen.photo is None else seen.photo.nbytes)


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
        memory_bytes: int = MEMORY,
        seconds: float = SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(memory_bytes, _bytes_of_logits, seconds, clock)

    def put(self, image: str, prediction: Prediction) -> str:
        """Store a prediction of an image and return its ID, the same for equal predictions."""
        items = (replace(one, cleaned=None, finished=None) for one in prediction.items)
        bare = replace(prediction, items=tuple(items), picture=None)
        number = _id_of(image, bare)
        self.keep(number, _Kept(image, bare))
        return number

    def get(self, number: str, image: str, candidate: int = 0) -> Prediction:
        """Return a prediction with the given candidate first.

        Raises Refusal: 404 for an unknown or expired ID, 422 for another image or an unknown
        candidate.
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
    """ID of a prediction: 32 hexadecimal digits, a hash of everything that a correction uses."""
    digest, prompt = hashlib.sha256(image.encode()), prediction.prompt
    digest.update(np.ascontiguousarray(prediction.logits).data)
    if prompt is not None:
        for part in (prompt.points, prompt.labels, prompt.box):
            digest.update(repr(part if part is None else part.tolist()).encode())
    return digest.hexdigest()[:32]


def _bytes_of_logits(kept: _Kept) -> int:
    return sum(one.logits.nbytes for one in kept.prediction.items)
