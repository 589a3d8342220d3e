"""The rules of docstrings as functions, like those of `gates.py`: what breaks them, a line each."""

from __future__ import annotations

import ast
import builtins
import re
from pathlib import Path

from tests.house.gates import CARGO, python_files, room_of

FOREIGN_ERRORS = frozenset({"UnidentifiedImageError"})  # of Pillow


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
        for sentence in re.findall(r"[Rr]aises ([A-Z][^.;\n]*)", ast.get_docstring(node) or "")
        for name in re.findall(r"^[A-Z]\w+|(?<=, )[A-Z]\w+|(?<= or )[A-Z]\w+", sentence)
        if name not in known | FOREIGN_ERRORS
    ]
