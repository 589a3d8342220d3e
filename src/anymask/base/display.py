"""Short `repr` and notebook HTML for objects.

Objects may hold arrays, thousands of records or patient data from a scan header. None of that may
appear in a traceback, a log or a shared notebook.
"""

from __future__ import annotations

import base64
import itertools
from collections.abc import Mapping, Sequence, Set
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar

_MAX_VALUE_TEXT = 40  # characters of one value
_MAX_LINE = 240  # characters of the whole line
_MAX_OWN = 70  # characters of a nested object
_MAX_ITEMS = 4  # items of a sequence that are shown
_SHOWN_TYPES = (str, int, float, bool, Path, type(None))
T = TypeVar("T")


def brief(cls: type[T]) -> type[T]:
    """Add a short `repr` and `_repr_html_` to a dataclass: array shapes and item counts."""
    setattr(cls, "__repr__", _brief_repr)  # noqa: B010  # mypy rejects a plain assignment
    if "_repr_html_" not in vars(cls):
        setattr(cls, "_repr_html_", repr_html)  # noqa: B010
    return cls


def repr_html(self: object) -> str:
    """Return the `repr` as HTML, for use as `_repr_html_`."""
    return preview_html(repr(self), (), None)


def brief_text(value: object) -> str:
    """Format a value in at most 60 characters: shape, count, short text or type name."""
    made = type(value).__repr__
    # A generated one shows all fields in full.
    is_generated = is_dataclass(value) and made is not _brief_repr and hasattr(made, "__wrapped__")
    if type(value).__module__.startswith("anymask.") and not is_generated:
        shown = "" if made is object.__repr__ else repr(value)
        return shown if 0 < len(shown) <= _MAX_OWN else f"<{type(value).__name__}>"
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        sides = "x".join(map(str, value.shape)) or "number"
        return f"{sides} {str(value.dtype).removeprefix('torch.')}"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, str | Path):
        text = str(value)
        return repr(text if len(text) <= _MAX_VALUE_TEXT else f"{text[: _MAX_VALUE_TEXT - 1]}…")
    if isinstance(value, bytes | bytearray | memoryview):
        return f"{len(value)} bytes"
    if isinstance(value, Mapping | Set | Sequence):
        return _items(value)
    return repr(value) if isinstance(value, _SHOWN_TYPES) else f"<{type(value).__name__}>"


def _items(value: Mapping[Any, Any] | Set[Any] | Sequence[Any]) -> str:
    entries = value.items() if isinstance(value, Mapping) else value
    items = [*itertools.islice(entries, _MAX_ITEMS + 1)]
    flat = [part for item in items for part in (item if isinstance(item, tuple) else (item,))]
    if len(items) <= _MAX_ITEMS and all(isinstance(part, _SHOWN_TYPES) for part in flat):
        text = repr(value)
        if len(text) <= _MAX_VALUE_TEXT:
            return text
    return f"{len(value)} item{'s' if len(value) != 1 else ''}"


def _brief_repr(self: Any) -> str:
    parts, room = [], _MAX_LINE
    for field in fields(self):
        value = getattr(self, field.name, None)
        if not field.repr or value is None or (isinstance(value, str | Sequence) and not value):
            continue
        parts.append(f"{field.name}={brief_text(value)}")
        room -= len(parts[-1]) + 2
        if room < 0:
            parts[-1] = "…"
            break
    return f"{type(self).__name__}({', '.join(parts)})"


def preview_html(title: str, rows: Sequence[str], png: bytes | None) -> str:
    """Format a title, an optional PNG image and a list of rows as HTML."""
    import html  # takes 5 ms to load and no command needs it

    parts = [f"<code>{html.escape(title)}</code>"]
    if png is not None:
        code = base64.b64encode(png).decode()
        parts.append(f'<br><img alt="" src="data:image/png;base64,{code}">')
    if rows:
        items = "".join(f"<li><code>{html.escape(row)}</code></li>" for row in rows)
        parts.append(f'<ol start="0">{items}</ol>')
    return f"<div>{''.join(parts)}</div>"
