"""Validation of untrusted fields of records, with one-sentence errors.

Each message starts with a sentence by which reports count invalid records (`losses`).
"""

from __future__ import annotations

import math
import reprlib
from collections.abc import Container, Mapping
from typing import Any

import numpy as np

from anymask.base import DataError, Floats

MAX_FILE_PIXELS, MAX_FILE_SIDE = 1 << 31, 1_000_000  # of an image whose pixels are not decoded
MOST_FRAMES = 100_000  # of all videos of a file
FURTHEST = 1e9  # maximum distance of a corner from the origin in pixels
_MAX_VALUE_CHARACTERS = 60  # maximum characters of a value in a message
_REPR = reprlib.Repr()  # never formats a whole value
_REPR.maxlevel, _REPR.maxstring, _REPR.maxother = 3, _MAX_VALUE_CHARACTERS, _MAX_VALUE_CHARACTERS


def shown(value: object) -> str:
    """Format a value for a message."""
    text = _REPR.repr(value)
    return text if len(text) <= _MAX_VALUE_CHARACTERS else f"{text[: _MAX_VALUE_CHARACTERS - 3]}..."


def as_record(value: Any, name: str) -> Mapping[str, Any]:
    """Return a JSON object. Raises DataError if the value is not an object."""
    if not isinstance(value, Mapping):
        raise DataError(f"`{name}` is not an object. Given: {shown(value)}.")
    return value


def as_list(value: Any, name: str) -> list[Any]:
    """Return a JSON list. Raises DataError if the value is not a list."""
    if not isinstance(value, list):
        raise DataError(f"`{name}` is not a list. Given: {shown(value)}.")
    return value


def as_text(value: Any, name: str) -> str:
    """Return text; numbers are converted.

    Raises:
        DataError: The value is neither text nor a number.
    """
    if isinstance(value, str):
        return value
    if value is None or isinstance(value, (bool, list, dict)):
        raise DataError(f"`{name}` is not text. Given: {shown(value)}.")
    return str(value)


def as_whole(value: Any, name: str) -> int:
    """Return a whole number; 5.0 and "5" are accepted.

    Raises:
        DataError: The value is not a whole number.
    """
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
    """Return a finite number, possibly given as text.

    Raises:
        DataError: The value is not a finite number.
    """
    try:
        if not isinstance(value, bool) and math.isfinite(number := float(value)):
            return number
    except (TypeError, ValueError, OverflowError):
        pass
    raise DataError(f"`{name}` is not a finite number. Given: {shown(value)}.")


def as_numbers(values: Any, count: int, name: str) -> list[float]:
    """Return a list of `count` finite numbers. Raises DataError if the value is not such a list."""
    if isinstance(values, str) or not hasattr(values, "__len__") or len(values) != count:
        raise DataError(f"`{name}` is not a list of {count} numbers. Given: {shown(values)}.")
    return [as_number(value, name) for value in values]


def as_corners(points: Any, name: str = "points", least: int = 3) -> Floats:  # -> (N, 2)
    """Return the corners (x, y) of an outline. Raises DataError for too few or invalid values."""
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
    """Return the corners unchanged. Raises DataError for too few, and for values out of range."""
    if len(corners) < least:
        raise DataError(f"Too few points. Expected at least {least}, given: {len(corners)}.")
    if not (np.abs(corners) < FURTHEST).all():  # NaN is not less
        raise DataError(
            f"A corner is invalid: not finite, or beyond {FURTHEST:g} pixels from the origin."
        )
    return corners


def checked_hw(height: Any, width: Any, most: int = MAX_FILE_PIXELS) -> tuple[int, int]:
    """Return (H, W), at least 1 each. Raises DataError, also for more than `most` pixels."""
    high, wide = as_whole(height, "height"), as_whole(width, "width")
    if min(high, wide) < 1:
        raise DataError(
            f"An image must have at least 1 x 1 pixel, given: {shown(wide)} x {shown(high)}."
        )
    if high * wide > most or max(high, wide) > MAX_FILE_SIDE:
        raise DataError(
            f"An image has at most {most} pixels and {MAX_FILE_SIDE} in a row or column, given: "
            f"{shown(wide)} x {shown(high)}."
        )
    return high, wide


def checked_frames(count: int, most: int = MOST_FRAMES) -> int:
    """Return the number of a frame, or of all frames of a file. Raises DataError above `most`."""
    if not 0 <= count <= most:
        raise DataError(
            f"The videos of a file must have at most {MOST_FRAMES} frames. Given: {shown(count)}."
        )
    return count


# Keys that a reader does not use, and that writers may support.


class ExceptKeys:
    """Container of all keys except those of the format, for open records such as COCO's."""

    def __init__(self, *own: str) -> None:
        self.own = frozenset(own)

    def __contains__(self, key: object) -> bool:
        return key not in self.own


def other_keys(record: Mapping[str, Any], known: Container[str]) -> dict[str, Any]:
    """Return the other keys of a record, without None, False, 0 and empty values."""
    return {str(key): value for key, value in record.items() if key not in known and value}


def held(extra: Mapping[str, Any], keys: Container[str]) -> dict[str, Any]:
    """Return the keys that a format supports."""
    return {key: value for key, value in extra.items() if key in keys}
