"""Failures of a runtime: whatever ONNX Runtime or torch raises in, one AnymaskError out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from anymask.primitives.errors import AnymaskError, DataError
from anymask.primitives.types import FeatureMap

_REASON = 300  # characters of a runtime's own message that are told


@contextmanager
def running(name: str) -> Iterator[None]:
    """Explain what a runtime raises inside the `with`; MemoryError stays what it is."""
    try:
        yield
    except (AnymaskError, MemoryError):
        raise
    except Exception as error:  # the runtimes' own classes are not public
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise AnymaskError(
            f"{name} failed ({type(error).__name__}: {lines[0][:_REASON]}); if memory is short, "
            "give fewer points or prompts at once; else embed the photo again"
        ) from error


def check_maps(
    maps: Sequence[FeatureMap], wanted: Mapping[str, tuple[int | str, ...]], name: str
) -> None:
    """Whether an image's maps, (C, h, w) each, have the names and shapes that a decoder takes.

    wanted  (1, C, h, w) by name; a letter stands for any number

    Raises DataError.
    """
    shapes = {one.name: (1, *one.values.shape) for one in maps}
    fits = shapes.keys() == wanted.keys() and all(
        len(shape) == len(wanted[key])
        and all(isinstance(a, str) or a == b for a, b in zip(wanted[key], shape, strict=True))
        for key, shape in shapes.items()
    )
    if not fits:
        listed = ", ".join(f"{key} {sides[1:]}" for key, sides in wanted.items())
        found = ", ".join(f"{one.name} {one.values.shape}" for one in maps)
        raise DataError(
            f"{name} reads the maps {listed}; this embedding has {found}; embed the photo again"
        )
