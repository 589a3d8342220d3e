"""Predictions that the server keeps in memory, so that later points can refine them."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from anymask.segment import Prediction, RecentValues
from anymask.studio.errors import Refusal

MEMORY = 64_000_000  # cache size of logits, in bytes
SECONDS = 3600.0  # lifetime after the last use


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
        super().__init__(
            memory_bytes,
            lambda kept: sum(one.logits.nbytes for one in kept.prediction.items),
            seconds,
            clock,
        )

    def put(self, image: str, prediction: Prediction) -> str:
        """Store a prediction of an image and return its ID, the same for equal predictions."""
        items = (replace(one, cleaned=None, finished=None) for one in prediction.items)
        bare = replace(prediction, items=tuple(items), picture=None)
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
            raise Refusal(404, f"Unknown or expired prediction {number!r}. Omit `previous`.")
        if kept.image != image:
            raise Refusal(422, f"{number!r} predicts the image {kept.image}. Omit `previous`.")
        if candidate >= (count := len(kept.prediction)):
            raise Refusal(422, f"Candidate {candidate} does not exist. Use 0 to {count - 1}.")
        return kept.prediction.picked([candidate])
