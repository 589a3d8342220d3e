"""README's Python runs, and its command lines are valid."""

import shlex
from pathlib import Path
from typing import Any

import pytest

from anymask.cli import main as command_line
from tests.docs import snippets

SNIPPETS = snippets.read(Path(__file__).parents[1] / "README.md")
LINES = [line for one in SNIPPETS if one.language == "bash" for line in one.command_lines]


def test_its_python_runs(capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, Any] = {"__name__": "snippet"}
    for one in SNIPPETS:
        if one.language == "python":
            exec(one.text, names)
    assert int(capsys.readouterr().out) > 1000  # pixels


@pytest.mark.parametrize("line", [line for line in LINES if " anymask " in f" {line}"])
def test_its_command_lines_are_valid(line: str) -> None:
    words = [word for word in shlex.split(line) if "=" not in word]
    module = command_line.commands()[words[1]]
    command_line.load(module).parser("anymask").parse_args(words[2:])
