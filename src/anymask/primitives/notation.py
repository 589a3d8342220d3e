"""Text, JSON and TOML: bytes in, plain values or one DataError out.

The files come from anybody. Python's readers answer a broken one with five kinds of exceptions:
wrong encoding, wrong syntax, nesting that is too deep, numbers of thousands of digits, dates that
do not exist. The functions here turn them all into DataError, or ConfigError for TOML.
"""

from __future__ import annotations

import json
import tomllib
from typing import Any

from anymask.primitives.errors import ConfigError, DataError

_REASON = 200  # characters of a reader's own message that are told


def parse_text(data: bytes, where: object) -> str:
    """UTF-8 text, with or without a byte order mark. Raises DataError that begins with `where`."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{where}: not text in UTF-8 ({error.reason} at byte {error.start}); save it as UTF-8"
        ) from error


def parse_json(data: bytes | str, where: object) -> Any:
    """The value of a JSON document. Raises DataError that begins with `where`."""
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where}: not JSON ({_reason(error)}); is the file complete?") from error


def parse_toml(data: bytes, where: object) -> dict[str, Any]:
    """The tables of a TOML document. Raises ConfigError that begins with `where`."""
    try:
        return tomllib.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{where}: not TOML ({_reason(error)})") from error


def _reason(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if isinstance(error, UnicodeDecodeError):
        return f"not text in UTF-8, {error.reason} at byte {error.start}"
    return str(error)[:_REASON]
