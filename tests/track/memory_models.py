"""A model with a reader of memory of the test's own."""

from __future__ import annotations

from typing import TypeVar, cast

from anymask.runtime import ImageRuntime, Remembering, WrappedRuntime

C = TypeVar("C")


class WithReader(WrappedRuntime):
    """The runtime inside, whose network of memory is `reader`; None: it has none."""

    def __init__(self, inside: ImageRuntime, reader: Remembering | None) -> None:
        super().__init__(inside, lambda name, given, call: call())
        self._reader = reader

    def capability(self, kind: type[C]) -> C | None:
        if cast(object, kind) is Remembering:
            return cast(C | None, self._reader)
        return super().capability(kind)
