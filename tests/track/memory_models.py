"""A model with a reader of memory of the test's own."""

from __future__ import annotations

import copy
from typing import Any


def with_reader(inside: Any, reader: Any) -> Any:
    """The runtime inside, whose network of memory is `reader`; None: it has none."""
    other = copy.copy(inside)
    other.read_memory = None if reader is None else reader.read_memory
    other.with_threads = lambda _: other
    return other
