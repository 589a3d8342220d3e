"""Arguments of public methods: unknown keywords and values of wrong types are one clear error."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable
from typing import Any, TypeVar

from anymask.base.errors import InputError
from anymask.base.settings import check_keywords

T = TypeVar("T")


def explain_keywords(cls: type[T]) -> type[T]:
    """Let public methods of a class refuse unknown keywords with the nearest known one.

    Methods that take any keywords check them on their own.
    """
    for name, method in list(vars(cls).items()):
        if name.startswith("_") or not inspect.isfunction(method):
            continue
        if not method.__code__.co_flags & inspect.CO_VARKEYWORDS:
            setattr(cls, name, _explained(method))
    return cls


def _explained(method: Callable[..., Any]) -> Callable[..., Any]:
    code = method.__code__
    known = code.co_varnames[1 : code.co_argcount + code.co_kwonlyargcount]

    @functools.wraps(method)
    def call(*args: Any, **given: Any) -> Any:
        if not given.keys() <= {*known}:
            check_keywords(given, known)
        return method(*args, **given)

    return call


def check_number(
    name: str, value: object, least: float = -math.inf, most: float = math.inf
) -> None:
    """Raises InputError unless a value is a number from `least` to `most`."""
    try:
        inside = least <= float(value) <= most  # type: ignore[arg-type]  # anything may be given
    except (TypeError, ValueError, OverflowError):
        inside = False
    if isinstance(value, str) or not inside:
        allowed = f" from {least:g} to {most:g}" if most < math.inf else f" of at least {least:g}"
        raise InputError(
            f"{name} must be a number{allowed if least > -math.inf else ''}. Given: "
            f"{str(value)[:60]!r}."
        )
