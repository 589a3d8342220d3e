"""`anymask.evaluate` and the report that it returns: protocols, endings of files, data frames."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

import anymask
from anymask.base import InputError
from anymask.evaluation import Report, Section, TextTable
from tests.evaluation.small_sets import perfect, write_set

IMAGES = [[(2, 3, 20, 30), (40, 5, 60, 40)], [(0, 0, 64, 48)]]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_set(tmp_path / "first", IMAGES)


def figures(report: Report) -> dict[str, float]:
    return {row["measure"]: row["mean"] for row in report.rows}


def test_clicks_and_boxes_are_measured_where_no_protocol_is_given(data: Path) -> None:
    found = figures(anymask.evaluate(perfect(), data, clicks=2))
    harm = {"harm > 0.1": 0, "harm > 0.02": 0}
    assert found == {"1 click": 1, "2 clicks": 1, "box": 1, **harm}


@pytest.mark.parametrize("protocol", ["box", ["box"], ("box",)])
def test_a_protocol_is_measured_and_nothing_else(data: Path, protocol: object) -> None:
    assert figures(anymask.evaluate(perfect(), data, protocol=protocol)) == {"box": 1}


def test_methods_stand_side_by_side(data: Path) -> None:
    report = anymask.evaluate([perfect("one"), perfect("two")], data, protocol="box", limit=1)
    assert [row["method"] for row in report.rows] == ["one", "two"]
    assert "| set | masks | box | two: box |" in str(report)


@pytest.mark.parametrize(
    ("protocol", "wrong"),
    [("box", {"rounds": 2}), ("videos", {"clicks": 3}), ("tracks", {"limit": 1})],
)
def test_settings_of_other_protocols_are_refused(data: Path, protocol: str, wrong: dict) -> None:
    with pytest.raises(TypeError, match=next(iter(wrong))):
        anymask.evaluate(perfect(), data, protocol=protocol, **wrong)


@pytest.fixture
def report() -> Report:
    table = TextTable(("a", "b|c"), [["<1>", "2"], ["**x**", "3"]], title="small")
    return Report(
        title="what <it> is",
        sections=[Section(title="Figures", tables=[table], plots=[("plot", "<svg></svg>")])],
        notes=["measured"],
        rows=[{"set": "first", "mean": 0.5}, {"set": "second", "mean": float("nan")}],
        data={"all": [1]},
    )


def test_the_ending_says_what_is_written(report: Report, tmp_path: Path) -> None:
    for ending in ("json", "csv", "md", "html"):
        report.save(tmp_path / f"report.{ending}")
    read = {path.suffix: path.read_text("utf-8") for path in tmp_path.iterdir()}
    assert json.loads(read[".json"]) == {"all": [1]}
    assert read[".csv"] == "set,mean\nfirst,0.5\nsecond,\n"
    assert read[".md"] == str(report)
    assert "### Figures\n\nsmall\n\n| a | b\\|c |\n|---|---|\n| <1> | 2 |" in read[".md"]
    assert "&lt;1&gt;" in read[".html"]
    assert "<svg></svg>" in read[".html"]
    assert "what &lt;it&gt; is" in read[".html"]


def test_another_ending_is_refused_unless_the_form_is_said(report: Report, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"\.csv"):
        report.save(tmp_path / "report.txt")
    report.save(tmp_path / "report.txt", "md")
    assert (tmp_path / "report.txt").read_text("utf-8") == str(report)


def test_the_rows_become_a_data_frame(report: Report, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", SimpleNamespace(DataFrame=list))
    assert report.to_dataframe() == list(report.rows)
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(InputError, match="pandas"):
        report.to_dataframe()


def test_sets_are_described_in_numbers(data: Path) -> None:
    report = anymask.stats([data, data], limit=1)
    assert [row["set"] for row in report.rows] == ["first (1)", "first (2)"]
    assert [row["masks"] for row in report.rows] == [2, 2]
    assert 0 < report.rows[0]["size_p50"] < 1
    assert "| masks | 2 | 2 |" in str(report)
