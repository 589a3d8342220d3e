"""Public names of the rooms that no other room, application or document uses."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from docs.site.stubs import NAME

IN_TEXT = re.compile(r"anymask\.(\w+)(?: import (\([^)]*\)|[\w, ]+)|\.(\w+))|`(\w+)\.(\w+)`")


def public_names(package: Path) -> set[tuple[str, str]]:
    """(room, name) of each line of a room's `__init__.pyi`."""
    return {
        (path.parent.name, name)
        for path in package.glob("*/__init__.pyi")
        for _, name in NAME.findall(path.read_text("utf-8"))
    }


def hidden_names(package: Path) -> list[str]:
    """Public names that a module of the same name replaces as soon as it is imported."""
    return [
        f"{room.name}.{name}"
        for room in sorted(path.parent for path in package.glob("*/__init__.pyi"))
        for source, name in NAME.findall((room / "__init__.pyi").read_text("utf-8"))
        if source != f"{package.name}.{room.name}"
        and ((room / f"{name}.py").is_file() or (room / name).is_dir())
    ]


def unused_names(package: Path, applications: list[Path], documents: list[Path]) -> list[str]:
    """Public names that only their room, its tests or research use."""
    used: set[tuple[str, str]] = set()
    for path in package.rglob("*.py"):
        inside = path.relative_to(package).parts
        used |= {one for one in _used(path) if len(inside) == 1 or one[0] != inside[0]}
    for path in (path for root in applications for path in root.rglob("*.py")):
        used |= set(_used(path))
    for path in documents:
        for room, several, one, owner, member in IN_TEXT.findall(path.read_text("utf-8")):
            used |= {(room or owner, name) for name in re.findall(r"\w+", several or one or member)}
    return [f"{room}.{name}" for room, name in sorted(public_names(package) - used)]


def _used(path: Path) -> Iterator[tuple[str, str]]:
    """(room, name) of each name that a file imports from a room, or reads as its attribute."""
    tree = ast.parse(path.read_text("utf-8"))
    rooms: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "anymask":
            rooms |= {alias.asname or alias.name: alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and re.fullmatch(r"anymask\.\w+", node.module or ""):
            yield from ((str(node.module).split(".")[1], alias.name) for alias in node.names)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            if node.value.id in rooms:
                yield rooms[node.value.id], node.attr
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield from re.findall(r"anymask\.(\w+)[.:](\w+)", node.value)
