"""Every notebook in docs runs from top to bottom in an empty folder, as a person runs it."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((ROOT / "docs").rglob("*.ipynb"))


def cells(notebook: Path, kind: str) -> list[str]:
    document = json.loads(notebook.read_text("utf-8"))
    assert (document["nbformat"], document["nbformat_minor"]) == (4, 5)
    return ["".join(cell["source"]) for cell in document["cells"] if cell["cell_type"] == kind]


def run_cell(text: str, names: dict[str, Any]) -> Any:
    """Run a cell; the value of its last line, where that is an expression, is what is shown."""
    tree = ast.parse(text)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "cell", "exec"), names)
    return last and eval(compile(ast.Expression(last.value), "cell", "eval"), names)


def shown(value: Any) -> str | bytes:
    """What a notebook shows of a value: its picture, else its text."""
    for name in ("_repr_png_", "_repr_html_"):
        made = getattr(value, name, lambda: None)()
        if made:
            return made
    return repr(value)


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.name)
def test_a_notebook_runs_from_top_to_bottom(
    notebook: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "__main__"}
    images = 0
    for text in cells(notebook, "code"):
        made = shown(run_cell(text, names))
        images += isinstance(made, bytes) and made.startswith(b"\x89PNG")
        assert len(made) < 500 or not isinstance(made, str) or "<" in made
    assert images >= 3
    assert (tmp_path / "dog.png").stat().st_size > 1000
    assert "<path" in (tmp_path / "dog.svg").read_text("utf-8")
    assert list((tmp_path / "labels").rglob("*.txt"))
