"""Checks of client input: any value in, the same value out, or an InputError.

Text is Unicode without NUL and lone surrogates, numbers are finite, lists and objects are bounded.
Whatever passes here is stored; so nothing that is stored can spoil a report or an export later.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from anymask.base import InputError

MOST_TEXT = 400  # characters of a name or a label
MOST_PLACES = 100_000  # points of one prompt
MOST_PROMPTS = 1000  # of one mask
MOST_SECONDS = 1e9  # thirty years
MOST_PAGE = 10_000_000  # of a file
MOST_ID = 2**31 - 1  # numbers of photos and masks: what a column of each database holds
MOST_DEPTH = 8  # of lists and objects in each other
MOST_VALUES = 10_000  # of an event's detail, and characters of each of its texts
_PLACES = ("points", "lasso")


def checked_text(what: str, text: object) -> None:
    """Text of at most MOST_TEXT characters, or None. Raises InputError."""
    if text is None:
        return
    if not isinstance(text, str):
        raise InputError(f"{what} must be text, got {_short(text)}")
    if len(text) > MOST_TEXT:
        raise InputError(f"{what} has at most {MOST_TEXT} characters, got {len(text)}")
    _check_encodable(what, text)


def checked_number(what: str, number: object, least: float, most: float) -> None:
    """A finite number in a range. Raises InputError."""
    plain = isinstance(number, int | float) and not isinstance(number, bool)
    if not plain or not least <= number <= most:  # type: ignore[operator]  # a number, or not asked
        raise InputError(
            f"{what} must be a number from {least:g} to {most:g}, got {_short(number)}"
        )


def is_id(number: int) -> bool:
    """Whether a photo or a mask can have this number."""
    return 0 < number <= MOST_ID


def checked_prompt(prompt: object) -> None:
    """What a model was asked: {"points", "labels", "box", "lasso"}, each may be left out.

    points, lasso  [[x, y], ...]
    labels         [0 or 1, ...]
    box            [x0, y0, x1, y1]

    Raises InputError for other keys, shapes or values.
    """
    if not isinstance(prompt, Mapping):
        raise InputError(f"a prompt must be an object, got {_short(prompt)}")
    for key, value in prompt.items():
        if value is None:
            continue
        if key in _PLACES:
            for place in _items(key, value):
                _check_finite(key, place, 2)
        elif key == "box":
            _check_finite(key, value, 4)
        elif key == "labels":
            if any(label not in (0, 1) for label in _items(key, value)):
                raise InputError(f"labels of clicks must be 0 or 1, got {_short(value)}")
        else:
            raise InputError(
                f"a prompt has points, labels, box or lasso, got {_short(key)}; leave it out"
            )


def _items(what: str, value: object) -> Sequence[Any]:
    if not isinstance(value, list | tuple) or len(value) > MOST_PLACES:
        raise InputError(f"{what} must be a list of at most {MOST_PLACES}, got {_short(value)}")
    return value


def _check_finite(what: str, place: object, count: int) -> None:
    numbers = place if isinstance(place, list | tuple) and len(place) == count else [None]
    plain = all(isinstance(n, int | float) and not isinstance(n, bool) for n in numbers)
    if not plain or not all(math.isfinite(n) for n in _floats(numbers)):
        raise InputError(f"{what} must hold {count} finite numbers each, got {_short(place)}")


def _floats(numbers: Sequence[Any]) -> list[float]:
    try:
        return [float(number) for number in numbers]
    except OverflowError:  # a whole number of more digits than a float has
        return [math.inf]


def checked_json(what: str, value: object) -> None:
    """Plain JSON of at most MOST_DEPTH levels and MOST_VALUES values. Raises InputError."""
    level, count = [value], 0
    for _ in range(MOST_DEPTH):
        below: list[object] = []
        for one in level:
            _check_leaf(what, one)
            if isinstance(one, Mapping):
                below += [*one.keys(), *one.values()]
            elif isinstance(one, list | tuple):
                below += one
        level, count = below, count + len(below)
        if count > MOST_VALUES:
            raise InputError(f"{what} has at most {MOST_VALUES} values, got more; send less")
    if level:
        raise InputError(f"{what} has at most {MOST_DEPTH} levels, got more; send it flatter")


def _check_leaf(what: str, value: object) -> None:
    if value is None or isinstance(value, bool | list | tuple | Mapping):
        return
    if isinstance(value, str):
        if len(value) > MOST_VALUES:
            raise InputError(f"{what} has texts of at most {MOST_VALUES} characters, got a longer")
        _check_encodable(what, value)
    elif not isinstance(value, int | float) or not math.isfinite(_floats([value])[0]):
        raise InputError(f"{what} must hold finite numbers, got {_short(value)}")


def _check_encodable(what: str, text: str) -> None:
    if "\0" in text or any("\ud800" <= letter <= "\udfff" for letter in text):
        raise InputError(
            f"{what} must be text that UTF-8 can hold, without NUL, got {_short(text)}"
        )


def _short(value: object) -> str:
    """The beginning of a value, in ASCII; never the whole of a large one."""
    if isinstance(value, list | tuple | Mapping):
        return f"{type(value).__name__} of {len(value)}"
    if isinstance(value, int) and value.bit_length() > 64:
        return f"a whole number of {value.bit_length()} bits"
    return ascii(value)[:60]
