"""A runtime that remembers the picture it saw last, for many questions about one photo."""

from __future__ import annotations

import numpy as np

from anymask.primitives.types import FloatArray, ModelPrompts
from anymask.runtimes.protocol import ImageRuntime
from anymask.runtimes.wrapped import WrappedRuntime


class SeenOnce(WrappedRuntime):
    """The same answers as the runtime inside; for one thread, and for one call's time."""

    def __init__(self, inside: ImageRuntime) -> None:
        super().__init__(inside)
        self._picture: FloatArray | None = None
        self._features: list[tuple[FloatArray, ...]] = []

    def encode(self, images: FloatArray) -> list[tuple[FloatArray, ...]]:
        """See `ImageRuntime.encode`; the same picture again costs nothing."""
        if self._picture is None or not np.array_equal(self._picture, images):
            self._picture, self._features = images, self._inside.encode(images)
        return self._features

    def decode(
        self, features: tuple[FloatArray, ...], prompts: ModelPrompts
    ) -> tuple[FloatArray, FloatArray]:
        """See `ImageRuntime.decode`."""
        return self._inside.decode(features, prompts)
