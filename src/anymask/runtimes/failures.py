"""Whatever ONNX Runtime or torch raises while a model runs -> one AnymaskError."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from anymask.primitives.errors import AnymaskError, DataError
from anymask.primitives.types import FloatArray

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
    maps: Sequence[FloatArray], wanted: Sequence[tuple[int | str, ...]], name: str
) -> None:
    """Whether an image's maps, (C, h, w) each, have the shapes that a decoder takes.

    wanted  (1, C, h, w) each; a letter stands for any number

    Raises DataError.
    """
    shapes = [(1, *array.shape) for array in maps]
    fits = len(shapes) == len(wanted) and all(
        len(shape) == len(sides)
        and all(isinstance(a, str) or a == b for a, b in zip(sides, shape, strict=True))
        for shape, sides in zip(shapes, wanted, strict=True)
    )
    if not fits:
        raise DataError(
            f"{name} reads maps of the shapes {[sides[1:] for sides in wanted]}; this embedding "
            f"has {[array.shape for array in maps]}; embed the photo again"
        )
