"""A model with a reader of memory of the test's own."""

from __future__ import annotations

from typing import TypeVar, cast

from anymask.families import Family
from anymask.primitives.spec import ModelSpec
from anymask.primitives.types import FloatArray, Seen
from anymask.runtimes.protocol import ImageRuntime, Remembering

C = TypeVar("C")


class WithReader:
    """The runtime inside, whose network of memory is `reader`; None: it has none."""

    def __init__(self, inside: ImageRuntime, reader: Remembering | None) -> None:
        self._inside, self._reader = inside, reader

    @property
    def spec(self) -> ModelSpec:
        return self._inside.spec

    @property
    def family(self) -> Family:
        return self._inside.family

    @property
    def weights_hash(self) -> str:
        return self._inside.weights_hash

    def see(self, images: FloatArray) -> list[Seen]:
        return self._inside.see(images)

    def capability(self, kind: type[C]) -> C | None:
        if cast(object, kind) is Remembering:
            return cast(C | None, self._reader)
        return self._inside.capability(kind)
