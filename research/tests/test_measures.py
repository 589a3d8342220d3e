"""`python -m research.paper`: its measures and the baselines beside a model."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from anymask.evaluation.measures import MEASURES
from research.paper.__main__ import PAPER_MEASURES, main
from tests.evaluation.small_sets import write_set


@pytest.fixture(autouse=True)
def table() -> Iterator[None]:
    """The rows of the paper, for one test."""
    before = dict(MEASURES)
    yield
    MEASURES.clear()
    MEASURES.update(before)


def test_baselines_stand_beside_the_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_set(tmp_path / "set", [[(20, 20, 40, 40)]])
    words = ["--only", "--measure", "box", "--measure", "edges", "--baselines"]
    assert main([str(tmp_path / "set"), *words]) == 0
    text = capsys.readouterr().out
    assert "grabcut: box | filled box: box" in text
    assert "skipped: edges of filled box" in text
    assert set(PAPER_MEASURES) <= set(MEASURES)
