"""Fields of records: values that anybody may have written, checked or refused in one sentence.

Each message begins with the sentence by which reports count invalid records (`losses`).
"""

from __future__ import annotations

import math
from collections.abc import Container, Mapping
from typing import Any

import numpy as np

from anymask.base import DataError, Floats
from anymask.masks import MAX_PIXELS

FURTHEST = 1e9  # pixels from the corner of the picture that a corner may lie
_SHOWN = 60  # characters of a value that a message quotes


def shown(value: object) -> str:
    """A value as a message quotes it."""
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."


def as_record(value: Any, name: str) -> Mapping[str, Any]:
    """An object of JSON. Raises DataError."""
    if not isinstance(value, Mapping):
        raise DataError(f"`{name}` is not an object. Given: {shown(value)}.")
    return value


def as_list(value: Any, name: str) -> list[Any]:
    """A list of JSON. Raises DataError."""
    if not isinstance(value, list):
        raise DataError(f"`{name}` is not a list. Given: {shown(value)}.")
    return value


def as_text(value: Any, name: str) -> str:
    """Text, also of a number. Raises DataError."""
    if isinstance(value, str):
        return value
    if value is None or isinstance(value, (bool, list, dict)):
        raise DataError(f"`{name}` is not text. Given: {shown(value)}.")
    return str(value)


def as_whole(value: Any, name: str) -> int:
    """A whole number; 5.0 and "5" are 5. Raises DataError."""
    if type(value) is int:
        return value
    try:
        if not isinstance(value, bool) and (number := float(value)) == int(number):
            return (
                int(value) if isinstance(value, str) and value.strip().isdecimal() else int(number)
            )
    except (TypeError, ValueError, OverflowError):
        pass
    raise DataError(f"`{name}` is not a whole number. Given: {shown(value)}.")


def as_number(value: Any, name: str) -> float:
    """A finite number, also one that is written as text. Raises DataError."""
    try:
        if not isinstance(value, bool) and math.isfinite(number := float(value)):
            return number
    except (TypeError, ValueError, OverflowError):
        pass
    raise DataError(f"`{name}` is not a finite number. Given: {shown(value)}.")


def as_numbers(values: Any, count: int, name: str) -> list[float]:
    """A list of so many finite numbers. Raises DataError."""
    if isinstance(values, str) or not hasattr(values, "__len__") or len(values) != count:
        raise DataError(f"`{name}` is not a list of {count} numbers. Given: {shown(values)}.")
    return [as_number(value, name) for value in values]


def as_corners(points: Any, name: str = "points", least: int = 3) -> Floats:  # -> (N, 2)
    """The corners of an outline, (x, y) each. Raises DataError for too few or other values."""
    try:
        corners = np.asarray(points, np.float64)
    except (TypeError, ValueError, OverflowError):
        raise DataError(
            f"`{name}` are not pairs of numbers. Expected [[x, y], ...], given: {shown(points)}."
        ) from None
    if corners.size and (corners.ndim != 2 or corners.shape[1] != 2):
        raise DataError(
            f"`{name}` are not pairs of numbers. Expected [[x, y], ...], given: {shown(points)}."
        )
    return checked_corners(corners.reshape(-1, 2), least)


def checked_corners(corners: Floats, least: int = 3) -> Floats:  # (N, 2)
    """The same corners. Raises DataError for too few, and for those that no picture has."""
    if len(corners) < least:
        raise DataError(f"Too few points. Expected at least {least}, given: {len(corners)}.")
    if not (np.abs(corners) < FURTHEST).all():  # NaN is not less
        raise DataError(
            f"A corner is invalid: it is not finite, or farther than {FURTHEST:g} "
            "pixels from the origin."
        )
    return corners


def checked_hw(height: Any, width: Any) -> tuple[int, int]:
    """(H, W) of whole numbers from 1 on. Raises DataError, also for more than MAX_PIXELS."""
    high, wide = as_whole(height, "height"), as_whole(width, "width")
    if min(high, wide) < 1:
        raise DataError(
            f"An image must have at least 1 x 1 pixel, but the height is {height} and the "
            f"width is {width}."
        )
    if high * wide > MAX_PIXELS:
        raise DataError(
            f"An image must have at most {MAX_PIXELS} pixels, but this one has {width} x {height}."
        )
    return high, wide


# Keys that a reader does not use, and writers may hold.


class AllBut:
    """Every key but the format's own ones: what an open record, such as COCO's, can hold."""

    def __init__(self, *own: str) -> None:
        self.own = frozenset(own)

    def __contains__(self, key: object) -> bool:
        return key not in self.own


def rest_of(record: Mapping[str, Any], known: Container[str]) -> dict[str, Any]:
    """What a record holds beside known keys; None, False, 0 and empty values mean nothing."""
    return {str(key): value for key, value in record.items() if key not in known and value}


def held(extra: Mapping[str, Any], keys: Container[str]) -> dict[str, Any]:
    """Those of the keys that a format holds."""
    return {key: value for key, value in extra.items() if key in keys}
