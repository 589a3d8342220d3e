"""The rules of docstrings as functions, like those of `gates.py`: what breaks them, a line each."""

from __future__ import annotations

import ast
import builtins
import logging
import re
from collections.abc import Iterator
from pathlib import Path

import griffe

from tests.house.gates import CARGO, python_files, room_of

RAISED = re.compile(r"[Rr]aises(?::\n +| )([A-Z][^.;:\n]*)")
OLD_ROW = re.compile(r"^ *(\w+(?:, \w+)*)  +\S")  # "points  (P, 2) clicks": no tool reads it
FOREIGN_ERRORS = frozenset({"UnidentifiedImageError", "HTTPException"})  # Pillow, http.client


def unclear_first_lines(package: Path) -> list[str]:
    """Modules whose docstring does not begin with one line that is a whole sentence."""
    complaints = []
    for path in python_files(package):
        if room_of(path, package) != CARGO:
            text = ast.get_docstring(ast.parse(path.read_text("utf-8"))) or ""
            if not text.split("\n\n")[0].endswith(".") or "\n" in text.split("\n\n")[0]:
                where = path.relative_to(package.parent).as_posix()
                complaints.append(f"{where}:1: begin with one line: what goes in, what comes out")
    return complaints


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


def old_rows(roots: list[Path]) -> list[str]:
    """Docstrings that describe parameters in columns instead of a section `Args:`, and "See X"."""
    complaints = []
    for path in (path for root in roots for path in python_files(root)):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef):
                continue
            text = ast.get_docstring(node) or ""
            if re.match(r"See (`|the (class|module)\b)", text):
                complaints.append(f"{path}:{node.lineno}: say what it does; it only refers")
            sections = re.findall(r"^(Args|Attributes|Raises|Returns):$", text, re.MULTILINE)
            if len(sections) > len({*sections}):
                complaints.append(f"{path}:{node.lineno}: has a section twice")
            names = {one.arg for one in ast.walk(node) if isinstance(one, ast.arg)}
            complaints += [
                f"{path}:{node.lineno}: write {row[1]} in a section Args:"
                for line in text.splitlines()[1:]
                if (row := OLD_ROW.match(line)) and names.issuperset(row[1].split(", "))
            ]
    return complaints
