"""The first Python of the README runs, and its command lines are valid."""

import importlib
import re
import shlex
from pathlib import Path

import pytest

from tests.docs import snippets

SNIPPETS = snippets.read(Path(__file__).parents[1] / "README.md")
LINES = [line for one in SNIPPETS if one.language == "bash" for line in one.command_lines]


def test_its_python_runs(capsys: pytest.CaptureFixture[str]) -> None:
    (example,) = [one.text for one in SNIPPETS if one.language == "python" and not one.reason]
    exec(example, {"__name__": "snippet"})
    told = capsys.readouterr().out
    count, *size = map(float, re.findall(r"[\d.]+", told))
    assert count > 10_000  # pixels of the cup on its saucer
    assert all(0.3 < side < 0.6 for side in size)  # 380 to 470 pixels at 0.7 m, divided by 700


@pytest.mark.parametrize("line", LINES)
def test_its_command_lines_are_valid(line: str) -> None:
    program, name, *words = shlex.split(line)
    assert program == "anymask"
    module = importlib.import_module(f"anymask_points.commands.{name}")
    module.COMMAND.parser("anymask").parse_args(words)
