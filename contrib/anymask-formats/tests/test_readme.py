"""The commands of README run, and its example of a format imports public names."""

import ast
import shlex
from pathlib import Path

import pytest

import anymask.formats
from anymask.cli.main import main
from anymask.masks import rle_iou
from tests.docs import snippets

SNIPPETS = snippets.read(Path(__file__).parents[1] / "README.md")


def test_its_commands_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (first, *_) = (one for one in SNIPPETS if one.language == "bash")
    for line in first.command_lines:
        assert main(shlex.split(line)[1:]) == 0, line
    (image,) = anymask.read("back.json", images=tmp_path)
    (dog,) = anymask.read("dog.json")
    assert rle_iou(image.rles, dog.rles)[0, 0] > 0.99


def test_its_example_imports_public_names() -> None:
    (example,) = (one for one in SNIPPETS if one.language == "python")
    (line,) = (
        node for node in ast.walk(ast.parse(example.text))
        if isinstance(node, ast.ImportFrom) and node.module == "anymask.formats"
    )  # fmt: skip
    assert all(hasattr(anymask.formats, name.name) for name in line.names)
