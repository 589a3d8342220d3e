"""A name that was replaced (`renames.toml`) is not defined again."""

import ast
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.house.gates import STANDALONE, python_files

PACKAGE = Path(__file__).resolve().parents[2] / "src" / "anymask"
RENAMES: dict[str, str] = tomllib.loads(Path(__file__).with_name("renames.toml").read_text("utf-8"))


def definitions(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """(line, name) of the functions, methods, classes and module constants of a file."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.lineno, node.name
    for node in tree.body:
        if isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names = (name for target in targets for name in ast.walk(target))
            yield from ((node.lineno, name.id) for name in names if isinstance(name, ast.Name))


def test_no_old_name_is_defined() -> None:
    complaints, defined = [], set()
    for path in python_files(PACKAGE):
        inside = path.relative_to(PACKAGE).as_posix()
        if inside.startswith(STANDALONE):
            continue
        for line, name in definitions(ast.parse(path.read_text("utf-8"))):
            defined.add(name)
            if name in RENAMES:
                complaints.append(f"anymask/{inside}:{line}: {name} was renamed; {RENAMES[name]}")
    if complaints:
        pytest.fail("\n" + "\n".join(complaints), pytrace=False)
    assert not set(RENAMES.values()) - defined, "names that were renamed again; mend the map"


def test_definitions_are_found() -> None:
    source = "A, B = 1, 2\nC: int = 3\nclass D:\n    def e(self):\n        f = 1\n"
    assert {name for _, name in definitions(ast.parse(source))} == {"A", "B", "C", "D", "e"}
