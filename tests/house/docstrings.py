"""The rules of docstrings as functions, like those of `gates.py`: what breaks them, a line each."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import griffe


def unparsed(package: Path) -> list[str]:
    """Docstrings that griffe reads with a warning, such as a parameter that does not exist."""
    said: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("griffe")
    logger.addHandler(handler)
    try:
        loaded = griffe.load(package.name, search_paths=[package.parent], resolve_aliases=False)
        said.clear()  # of the loading itself
        for value in _declared(loaded):
            if value.docstring:
                value.docstring.parse("google", returns_named_value=False)
    finally:
        logger.removeHandler(handler)
    return said


def _declared(owner: griffe.Object | griffe.Alias) -> Iterator[griffe.Object | griffe.Alias]:
    for value in owner.members.values():
        if not value.is_alias:
            yield value
            if value.is_module or value.is_class:
                yield from _declared(value)
