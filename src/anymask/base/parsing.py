"""Parse text, JSON and TOML from untrusted files.

Python's readers raise five kinds of exceptions for invalid files: wrong encoding, wrong syntax,
deep nesting, numbers of thousands of digits, dates that do not exist. The functions here convert
them to DataError, or to ConfigError for TOML.

All JSON from outside the process is read by `parse_json`; a test in tests/house enforces this.
"""

from __future__ import annotations

import json
import re
from typing import Any

from anymask.base.errors import ConfigError, DataError

MAX_DEPTH = 64  # nested lists and objects of JSON; the deepest format uses about ten

_NO_SIGN = bytes(set(range(256)) - set(b'[]{}"'))


def parse_text(data: bytes, where: object) -> str:
    """Decode UTF-8 with or without a byte order mark.

    Raises:
        DataError: The text is not UTF-8. The message starts with `where`.
    """
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{where}: Not valid UTF-8 (byte {error.start}). Save it as UTF-8."
        ) from error


def parse_json(data: bytes | str, where: object) -> Any:
    """Parse a JSON document of at most MAX_DEPTH nested lists and objects.

    Deeper nesting exhausts the stack of Python's reader and of code that walks the value.

    Args:
        data: UTF-8, UTF-16 or UTF-32 bytes, or text.
        where: File name that prefixes the error.

    Raises:
        DataError: The document is invalid or nested too deeply.
    """
    try:
        text = data if isinstance(data, str) else _decoded(data)
        if (depth := json_depth_bound(text)) > MAX_DEPTH:
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
    """Encode text as UTF-8, replacing lone surrogates by U+FFFD."""
    return str(without_surrogates(text)).encode()


def without_surrogates(value: Any) -> Any:
    """Replace lone surrogates by U+FFFD in all strings of a value; no encoding supports them."""
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, list):
        return [without_surrogates(part) for part in value]
    if isinstance(value, dict):
        return {without_surrogates(key): without_surrogates(part) for key, part in value.items()}
    return value


def json_depth_bound(text: str) -> int:
    """Return an upper bound of the nesting depth, exact for texts with many brackets.

    With at most MAX_DEPTH brackets, their number is returned. With more, brackets in strings do
    not count. Only brackets and quotes are processed, so it never fails. In invalid JSON the depth
    is right up to the first error, which is where a parser stops.
    """
    brackets = text.count("[") + text.count("{")
    if brackets <= MAX_DEPTH:
        return brackets
    import numpy as np  # only for deep texts: `anymask --help` does not load numpy

    steps = np.zeros(256, np.int8)
    steps[list(b"[{")], steps[list(b"]}")] = 1, -1
    data = text.encode("utf-8", "surrogatepass").replace(b"\\\\", b"").replace(b'\\"', b"")
    signs = np.frombuffer(data.translate(None, _NO_SIGN), np.uint8)
    outside = np.cumsum(signs == ord('"'), dtype=np.uint8) % 2 == 0
    return int(np.cumsum(steps[signs] * outside, dtype=np.int64).max())


def _decoded(data: bytes) -> str:
    """Decode UTF-8, UTF-16 or UTF-32, detected from the first bytes."""
    encoding = json.detect_encoding(data)
    try:
        return data.decode(encoding)
    except UnicodeDecodeError:
        return str(without_surrogates(data.decode(encoding, "surrogatepass")))


def parse_toml(data: bytes, where: object) -> dict[str, Any]:
    """Parse a TOML document.

    Raises:
        ConfigError: The document is invalid. The message starts with `where`.
    """
    import tomllib  # rarely needed

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
    match = re.search(r"line \d+, column \d+", str(error))  # from a tomllib message
    if match:
        return match[0]
    return "incomplete" if "end of document" in str(error) else "a number has too many digits"
