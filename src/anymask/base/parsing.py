"""Text, JSON and TOML: bytes in, plain values or one DataError out.

The files come from anybody. Python's readers answer a broken one with five kinds of exceptions:
wrong encoding, wrong syntax, nesting that is too deep, numbers of thousands of digits, dates that
do not exist. The functions here turn them all into DataError, or ConfigError for TOML.

All JSON that comes from outside of the process is read by `parse_json`; a gate in tests/house looks
for other readers.
"""

from __future__ import annotations

import json
import re
from typing import Any

from anymask.base.errors import ConfigError, DataError

MAX_DEPTH = 64  # lists and objects of JSON inside each other; the deepest format has about ten

_NO_SIGN = bytes(set(range(256)) - set(b'[]{}"'))


def parse_text(data: bytes, where: object) -> str:
    """UTF-8 text, with or without a byte order mark. Raises DataError that begins with `where`."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{where}: Not valid UTF-8 (byte {error.start}). Save it as UTF-8."
        ) from error


def parse_json(data: bytes | str, where: object) -> Any:
    """The value of a JSON document. Raises DataError that begins with `where`.

    A document is refused, too, when more than MAX_DEPTH lists and objects lie inside each other:
    Python's reader, and whatever walks through the value later, would run out of its stack.
    """
    try:
        text = data if isinstance(data, str) else _decoded(data)
        if (depth := json_depth(text)) > MAX_DEPTH:
            raise DataError(
                f"{where}: JSON is nested {depth} levels deep, but at most {MAX_DEPTH} "
                "are supported. Check that this is the right file."
            )
        value = json.loads(text)
        return without_surrogates(value) if "\\ud" in text or "\\uD" in text else value
    except ValueError as error:
        raise DataError(
            f"{where}: Not valid JSON ({_reason(error)}). Check that the file is complete."
        ) from error


def to_utf8(text: str) -> bytes:
    """Text as UTF-8, with U+FFFD for halves of characters and bytes of names that are no text."""
    return str(without_surrogates(text)).encode()


def without_surrogates(value: Any) -> Any:
    """The same value with U+FFFD for halves of characters, which no file can hold."""
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, list):
        return [without_surrogates(one) for one in value]
    if isinstance(value, dict):
        return {without_surrogates(key): without_surrogates(one) for key, one in value.items()}
    return value


def json_depth(text: str) -> int:
    """How many lists and objects lie inside each other, at most; brackets in strings do not count.

    It reads the signs alone and never fails: in a text that is no JSON, it is right up to the first
    mistake, which is as far as a reader gets. Where there are no more than MAX_DEPTH brackets at
    all, their number is the answer.
    """
    brackets = text.count("[") + text.count("{")
    if brackets <= MAX_DEPTH:
        return brackets
    import numpy as np  # a deep text only: `anymask --help` does not load numpy

    steps = np.zeros(256, np.int8)
    steps[list(b"[{")], steps[list(b"]}")] = 1, -1
    data = text.encode("utf-8", "surrogatepass").replace(b"\\\\", b"").replace(b'\\"', b"")
    signs = np.frombuffer(data.translate(None, _NO_SIGN), np.uint8)
    outside = np.cumsum(signs == ord('"'), dtype=np.uint8) % 2 == 0
    return int(np.cumsum(steps[signs] * outside, dtype=np.int64).max())


def _decoded(data: bytes) -> str:
    """The text of UTF-8, UTF-16 or UTF-32, whichever the first bytes show."""
    encoding = json.detect_encoding(data)
    try:
        return data.decode(encoding)
    except UnicodeDecodeError:
        return str(without_surrogates(data.decode(encoding, "surrogatepass")))


def parse_toml(data: bytes, where: object) -> dict[str, Any]:
    """The tables of a TOML document. Raises ConfigError that begins with `where`."""
    import tomllib  # JSON alone is read much more often

    try:
        return tomllib.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{where}: Not valid TOML ({_reason(error)}).") from error


def _reason(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "nested too deeply"
    if isinstance(error, UnicodeDecodeError):
        return f"invalid UTF-8 at byte {error.start}"
    if isinstance(error, json.JSONDecodeError):
        return f"line {error.lineno}, column {error.colno}"
    place = re.search(r"line \d+, column \d+", str(error))  # of tomllib
    if place:
        return place[0]
    return "incomplete" if "end of document" in str(error) else "a number has too many digits"
