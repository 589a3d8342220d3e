"""`anymask stats` as a user meets it."""

import json
from pathlib import Path

import pytest

from tests.conftest import CommandLine
from tests.evaluation.small_sets import write_set

IMAGES = [[(2, 3, 20, 30), (40, 5, 60, 40)], [(0, 0, 64, 48)], []]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_set(tmp_path / "first", IMAGES)


def test_one_set_becomes_tables_a_file_and_a_page(
    data: Path, tmp_path: Path, cli: CommandLine
) -> None:
    out, page = tmp_path / "out.json", tmp_path / "out.html"
    text = cli.out(["stats", str(data), "--json", str(out), "--html", str(page)])
    assert text.startswith("### Overview\n\n|  | first |\n|---|--:|\n| images | 3 |\n")
    assert "| images without masks | 1 |" in text
    assert json.loads(out.read_text("utf-8"))["sets"][0]["masks"] == 3
    assert page.read_text("utf-8").startswith("<!doctype html>")


def test_groups_come_from_a_table(data: Path, tmp_path: Path, cli: CommandLine) -> None:
    table = tmp_path / "groups.csv"
    table.write_text("image,region,group\n0.png,x,Asia\n1.png,y,Africa\n", encoding="utf-8")
    text = cli.out(["stats", str(data), "--group-by", str(table)])
    assert "### Groups of first" in text
    assert "| Asia | 1 | 33.3 % | 2 | 66.7 % | 2.0 |" in text
