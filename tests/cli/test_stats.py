"""`anymask stats` as a user meets it."""

import json
from pathlib import Path

import pytest

from anymask.formats import AnnotatedImage, write_annotations
from anymask.masks import Mask, mask_to_rle
from tests.conftest import CommandLine
from tests.evaluation.small_sets import rectangle, write_set

PHOTOS = [[(2, 3, 20, 30), (40, 5, 60, 40)], [(0, 0, 64, 48)], []]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_set(tmp_path / "first", PHOTOS)


def test_one_set_becomes_tables_a_file_and_a_page(
    data: Path, tmp_path: Path, cli: CommandLine
) -> None:
    out, page = tmp_path / "out.json", tmp_path / "out.html"
    text = cli.out(["stats", str(data), "--json", str(out), "--html", str(page)])
    assert text.startswith("### Overview\n\n|  | first |\n|---|--:|\n| images | 3 |\n")
    assert "| images without masks | 1 |" in text
    assert json.loads(out.read_text("utf-8"))["sets"][0]["masks"] == 3
    assert page.read_text("utf-8").startswith("<!doctype html>")


def test_sets_stand_side_by_side_in_any_format(
    data: Path, tmp_path: Path, cli: CommandLine
) -> None:
    mask = Mask(mask_to_rle(rectangle((10, 10), (1, 1, 5, 5))), label="cup")
    image = AnnotatedImage(file_name="a.jpg", hw=(10, 10), masks=(mask,))
    write_annotations([image], tmp_path / "first.json", "coco")
    write_annotations([image], tmp_path / "lab", "labelme")
    words = [str(path) for path in (data, tmp_path / "first.json", tmp_path / "lab")]
    text = cli.out(["stats", *words])
    assert "|  | first (1) | first (2) | lab |" in text
    assert "| masks | 3 | 1 | 1 |" in text
    assert "| cup | 0 | 1 | 1 |" in text


def test_groups_come_from_a_table(data: Path, tmp_path: Path, cli: CommandLine) -> None:
    table = tmp_path / "groups.csv"
    table.write_text("image,region,group\n0.png,x,Asia\n1.png,y,Africa\n", encoding="utf-8")
    text = cli.out(["stats", str(data), "--group-by", str(table)])
    assert "### Groups of first" in text
    assert "| Asia | 1 | 33.3 % | 2 | 66.7 % | 2.0 |" in text
