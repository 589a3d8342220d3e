"""Predictions that the server keeps for a while, so that further clicks can correct them."""

from __future__ import annotations

import hashlib
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from anymask.segment import Prediction
from anymask.studio.errors import Refusal

MEMORY = 64_000_000  # bytes of logits
SECONDS = 3600.0  # since the prediction was used last


class _Kept(NamedTuple):
    image: str  # hash of its pixels
    prediction: Prediction
    used: float


class KeptPredictions:
    """The logits of predictions by id, for any thread: the least recently used go first.

    memory_bytes  of logits
    seconds       after which a prediction that nobody uses expires
    """

    def __init__(
        self,
        memory_bytes: int = MEMORY,
        seconds: float = SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.memory_bytes, self.seconds, self.used_bytes = memory_bytes, seconds, 0
        self._clock, self._lock = clock, threading.Lock()
        self._kept: OrderedDict[str, _Kept] = OrderedDict()

    def put(self, image: str, prediction: Prediction) -> str:
        """Keep a prediction of the image with this hash; its id, the same for the same one."""
        items = (replace(one, cleaned=None, finished=None) for one in prediction.items)
        bare = replace(prediction, items=tuple(items), picture=None)
        number, now = _id_of(image, bare), self._clock()
        with self._lock:
            if number not in self._kept:
                self.used_bytes += _size(bare)
            self._kept[number] = _Kept(image, bare, now)
            self._kept.move_to_end(number)
            while self._kept:
                oldest = next(iter(self._kept.values()))
                expired = now - oldest.used > self.seconds
                if not expired and self.used_bytes <= self.memory_bytes:
                    break
                self.used_bytes -= _size(self._kept.popitem(last=False)[1].prediction)
        return number

    def get(self, number: str, image: str, candidate: int = 0) -> Prediction:
        """A prediction of this image with the candidate that is meant first.

        Raises Refusal: 404 for an id that is unknown or expired, 422 for one of another image, or a
        candidate that it does not have.
        """
        with self._lock:
            kept, now = self._kept.get(number), self._clock()
            if kept is None or now - kept.used > self.seconds:
                message = (
                    f"Unknown prediction {number!r}. Predictions expire after "
                    f"{self.seconds / 60:g} minutes. Send all points without previous."
                )
                raise Refusal(404, message)
            self._kept[number] = kept._replace(used=now)
            self._kept.move_to_end(number)
        if kept.image != image:
            message = (
                f"The prediction {number!r} belongs to the image {kept.image}, not to {image}. "
                "Send all points without previous."
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


def _size(prediction: Prediction) -> int:
    """Bytes of its logits."""
    return sum(one.logits.nbytes for one in prediction.items)
