"""The rules of docstrings as functions, like those of `gates.py`: what breaks them, a line each."""

from __future__ import annotations

import ast
import builtins
import logging
import re
from collections.abc import Iterator
from pathlib import Path

import griffe

from tests.house.gates import python_files

RAISED = re.compile(r"[Rr]aises(?::\n +| )([A-Z][^.;:\n]*)")
FOREIGN_ERRORS = frozenset({"UnidentifiedImageError", "HTTPException"})  # Pillow, http.client


def unknown_errors(package: Path) -> list[str]:
    """Docstrings that say "Raises X" where no class of the package or of Python is called X."""
    trees = {path: ast.parse(path.read_text("utf-8")) for path in python_files(package)}
    known = set(dir(builtins)) | {
        node.name
        for tree in trees.values()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
    }
    return [
        f"{path.relative_to(package.parent).as_posix()}:{node.lineno}: raises {name}, which is gone"
        for path, tree in trees.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef)
        for sentence in re.findall(RAISED, ast.get_docstring(node) or "")
        for name in re.findall(r"^[A-Z]\w+|(?<=, )[A-Z]\w+|(?<= or )[A-Z]\w+", sentence)
        if name not in known | FOREIGN_ERRORS
    ]


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
