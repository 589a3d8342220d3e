"""A wrapper of runtimes: every computing call of the inner one goes through one function.

That function may let the call wait for its turn, count it, or answer it from memory; whatever the
runtime can do (its capabilities, and the sweeps that they open) is forwarded alike.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeVar, cast

from anymask.base import FloatArray
from anymask.masks import EncoderOutput, ModelSpec
from anymask.models.rules import Family
from anymask.runtime.protocol import ImageRuntime, Sweep, SweepAnswer, VideoSteps

C = TypeVar("C")

# Is told the method's name and what it was given, and makes the call (or does without it).
Around = Callable[[str, tuple[Any, ...], Callable[[], Any]], Any]


class WrappedRuntime:
    """The same model as the runtime inside.

    around  makes each call of a method that computes
    """

    def __init__(self, inside: ImageRuntime, around: Around) -> None:
        self._inside, self._around = inside, around

    @property
    def spec(self) -> ModelSpec:
        """How the model sees a picture."""
        return self._inside.spec

    @property
    def family(self) -> Family:
        """The model's rules."""
        return self._inside.family

    @property
    def weights_hash(self) -> str:
        """Names the weights."""
        return self._inside.weights_hash

    def see(self, images: FloatArray) -> list[EncoderOutput]:
        """See `ImageRuntime.see`."""
        seen: list[EncoderOutput] = self._around("see", (images,), lambda: self._inside.see(images))
        return seen

    def capability(self, kind: type[C]) -> C | None:
        """See `ImageRuntime.capability`."""
        found = self._inside.capability(kind)
        return None if found is None else cast(C, Forwarded(found, self._around))


class Forwarded:
    """An object whose methods are called through `around`; other attributes are its own.

    A sweep, an answer or steps that a method returns are forwarded as well; a generator is read to
    its end inside the call, as its work is done there.
    """

    def __init__(self, inside: object, around: Around) -> None:
        self._inside, self._around = inside, around

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._inside, name)
        if not callable(value):
            return value

        def call(*given: Any, **named: Any) -> Any:
            told = (*given, *named.values())
            found = self._around(name, told, lambda: _computed(value(*given, **named)))
            opened = isinstance(found, Sweep | SweepAnswer | VideoSteps | Forwarded)
            return Forwarded(found, self._around) if opened else found

        return call


def _computed(value: Any) -> Any:
    return iter(list(value)) if isinstance(value, Iterator) else value
