"""Check arguments of public functions against plain type annotations.

Only annotations of plain types are checked: text, paths, numbers, booleans, None, literals and
sequences. Each function checks its other parameters (arrays, models, images) itself.
"""

from __future__ import annotations

import functools
import inspect
import itertools
import os
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from numbers import Integral, Real
from typing import Any, ParamSpec, TypeVar, get_args

from anymask.base.errors import InputError

P = ParamSpec("P")
R = TypeVar("R")

_SHOWN = 60  # characters of a value that a message quotes
_TEXT = (str, os.PathLike)
_KINDS: dict[str, tuple[type | tuple[type, ...], str]] = {
    "str": (str, "text"),
    "Path": (_TEXT, "a path"),
    "int": (Integral, "a whole number"),
    "float": (Real, "a number"),
    "bool": ((bool, Integral), "True or False"),
    "None": (type(None), "None"),
}
_MANY = ("Sequence", "Iterable", "list", "tuple", "Collection")


def check_types(call: Callable[P, R], *, with_settings: bool = True) -> Callable[P, R]:
    """Make a function raise InputError for arguments that its annotations exclude.

    Args:
        call: Function to wrap.
        with_settings: Also check the keys of a TypedDict passed as `**`. Pass False if the
            settings validate themselves.
    """
    parameters = inspect.signature(call).parameters.values()
    named = itertools.takewhile(lambda one: one.kind != one.VAR_POSITIONAL, parameters)
    names = [one.name for one in named]

    @functools.wraps(call)
    def checked(*args: P.args, **given: P.kwargs) -> R:
        hints = _hints_of(call, with_settings)
        for name, value in [*zip(names, args, strict=False), *given.items()]:
            if name in hints:
                check_type(name, value, hints[name])
        return call(*args, **given)

    return checked


def check_type(name: str, value: object, hint: str) -> None:
    """Raise InputError if an annotation of plain types excludes a value."""
    kinds = _kinds_of(hint)
    if not kinds or any(fits(value) for fits, _ in kinds):
        return
    words = [called for _, called in kinds]
    if "a path" in words and "text" in words:
        words.remove("text")
    text = repr(value)
    shown = text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."
    raise InputError(f"{name} must be {' or '.join(dict.fromkeys(words))}, got {shown}.")


@functools.cache
def _kinds_of(hint: str) -> list[tuple[Callable[[object], bool], str]]:
    """Return alternative checks for an annotation; empty if any part is not a plain type."""
    kinds = [_kind_of(atom) for atom in _atoms(hint)]
    plain = [kind for kind in kinds if kind is not None]
    return plain if len(plain) == len(kinds) else []


def _kind_of(atom: str) -> tuple[Callable[[object], bool], str] | None:
    """Return the check of one annotation and its description; None if it is not a plain type."""
    if atom in _KINDS:
        types, words = _KINDS[atom]
        return (lambda value: isinstance(value, types)), words
    if atom.startswith("Literal["):
        values = re.findall(r"[\"']([^\"']*)[\"']", atom)
        return (lambda value: value in values), " or ".join(f'"{one}"' for one in values)
    if atom.partition("[")[0] in _MANY:
        return _is_many, "a list"
    return None


def _is_many(value: object) -> bool:
    return isinstance(value, Iterable) and not isinstance(value, str | bytes | Mapping)


def _atoms(hint: str) -> list[str]:
    """Split a union into its parts: "str | Sequence[str | Path]" has two."""
    parts, depth = [""], 0
    for letter in hint:
        depth += (letter in "[(") - (letter in "])")
        if letter == "|" and not depth:
            parts.append("")
        else:
            parts[-1] += letter
    return [part.strip().strip("\"'") for part in parts]


@functools.cache
def _hints_of(call: Callable[..., Any], with_settings: bool) -> Mapping[str, str]:
    """Return the annotations of all parameters as text."""
    hints: dict[str, str] = {}
    inner = inspect.unwrap(call)
    for name, hint in inner.__annotations__.items():
        text = str(hint)
        if text.startswith("Unpack["):
            if not with_settings:
                continue
            fields = inner.__globals__.get(text.removeprefix("Unpack[").removesuffix("]"))
            hints |= {key: _text_of(one) for key, one in _fields_of(fields)}
        else:
            hints[name] = text
    return hints


def _fields_of(fields: Any) -> Collection[tuple[str, Any]]:
    return () if fields is None else fields.__annotations__.items()


def _text_of(hint: Any) -> str:
    text = str(getattr(hint, "__forward_arg__", hint))
    return f"Literal{list(get_args(hint))}" if text.startswith("typing.Literal") else text
