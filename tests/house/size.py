"""Measures the size of the repository, which `size.toml` limits.

    python -m tests.house.size    # print each number and its limit

A logical line is a line of `ast.unparse` without docstrings and imports: formatting cannot change
the count.
"""

from __future__ import annotations

import argparse
import ast
import tomllib
from collections.abc import Iterator
from pathlib import Path

from tests.house import gates

ROOT = Path(__file__).resolve().parents[2]
FILE = Path(__file__).with_name("size.toml")


class _WithoutDocstrings(ast.NodeTransformer):
    """Removes docstrings and imports."""

    def generic_visit(self, node: ast.AST) -> ast.AST:
        super().generic_visit(node)
        body = getattr(node, "body", None)
        if isinstance(body, list):
            documented = ast.Module | ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef
            if isinstance(node, documented) and ast.get_docstring(node, clean=False) is not None:
                body = body[1:]
            kept = [one for one in body if not isinstance(one, ast.Import | ast.ImportFrom)]
            node.body = kept or [ast.Pass()]  # type: ignore[attr-defined]
        return node


def logical_lines(text: str) -> int:
    """Return the number of logical lines of a Python file."""
    tree = _WithoutDocstrings().visit(ast.parse(text))
    return sum(bool(line.strip()) for line in ast.unparse(tree).splitlines())


def measure(root: Path) -> dict[str, int]:
    """Return the numbers of a checkout, by their names in `size.toml`."""
    package, web = root / "src" / "anymask", root / "web"
    plugins = sorted((root / "contrib").glob("*/src"))
    typescript = (
        path for path in web.rglob("*.ts*")
        if path.suffix in (".ts", ".tsx") and gates.not_generated(path, web)
    )  # fmt: skip
    sources = list(package.rglob("*.py"))
    return {
        "package logical": _logical(sources),
        "tests logical": _logical((root / "tests").rglob("*.py")),
        "research logical": _logical((root / "research").rglob("*.py")),
        "plugins logical": sum(_logical(folder.rglob("*.py")) for folder in plugins),
        "package physical": _physical(sources),
        "web physical": _physical(typescript),
        "options": len(options()),
        "public names": len(gates.public_names(package)),
    }


def options() -> set[str]:
    """Return the long options of all built-in commands, each name once."""
    from importlib import import_module

    from anymask.cli.command_table import COMMANDS

    found = set()
    for name, module in COMMANDS.items():
        found |= set(_options(import_module(module).COMMAND.parser(name)))
    return found


def _options(parser: argparse.ArgumentParser) -> Iterator[str]:
    for action in parser._actions:
        yield from (word for word in action.option_strings if word.startswith("--"))
        if isinstance(action, argparse._SubParsersAction):
            for one in action.choices.values():
                yield from _options(one)


def _logical(paths: Iterator[Path] | list[Path]) -> int:
    return sum(logical_lines(path.read_text("utf-8")) for path in paths)


def _physical(paths: Iterator[Path] | list[Path]) -> int:
    return sum(len(path.read_text("utf-8").splitlines()) for path in paths)


def limits() -> dict[str, int]:
    """Return the limits of `size.toml`."""
    return tomllib.loads(FILE.read_text("utf-8"))


def main() -> None:
    """Print the numbers and their limits."""
    maximum = limits()
    for name, count in measure(ROOT).items():
        print(f"{name:<18} {count:>7}  of {maximum[name]:>7}  {count - maximum[name]:+}")


if __name__ == "__main__":
    main()
