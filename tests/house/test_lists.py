"""Lists name tests that exist, and types of keywords are up to date."""

import ast
from pathlib import Path

import pytest

from tests.house import keywords

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("name", ["tests/slow.txt", "tests/web/flows.txt"])
def test_every_line_names_a_function(name: str) -> None:
    unknown = []
    for line in (ROOT / name).read_text("utf-8").splitlines():
        file, _, function = line.removeprefix("fixture ").partition("::")
        paths = [ROOT / file] if file.endswith(".py") else (ROOT / file).glob("*.py")
        defined = {
            node.name
            for path in paths if path.is_file()
            for node in ast.walk(ast.parse(path.read_text("utf-8")))
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        }  # fmt: skip
        if function not in defined:
            unknown.append(line)
    assert unknown == []


def test_the_types_of_keywords_are_those_of_the_settings() -> None:
    assert keywords.FILE.read_text("utf-8").endswith(keywords.written()[1])
