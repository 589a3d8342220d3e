"""Tables that spreadsheets open: no cell is a formula, and reading gives what was written."""

import csv
import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anymask.base import csv_text, read_csv, unescape_formula
from anymask.base.tables import escape_formula
from anymask.evaluation.report import Report
from anymask.formats import AnnotatedImage, write_annotations
from anymask.jobs.review import write_list
from anymask.masks import Mask, Masks, mask_to_rle
from tests.evaluation.small_sets import rectangle

STARTS = tuple("=+-@\t\r")
FORMULAS = ('=HYPERLINK("http://a.example")', "+1+cmd|' /C calc'!A0", "@SUM(1)", "-2+3", "\t=1")
CELLS = st.one_of(
    st.text(),
    st.text(alphabet="'=+-@\t\r\n1.e ,\"", max_size=8),
    st.floats(allow_nan=False).map(repr),
)


@pytest.mark.parametrize("cell", [*FORMULAS, "-", "+", "=", "-inf", "-1e", "-1-1", "--1", "-0x1"])
def test_what_a_spreadsheet_evaluates_is_escaped(cell: str) -> None:
    assert escape_formula(cell) == f"'{cell}"


@pytest.mark.parametrize(
    "cell", ["-1", "+1.5", "-.5", "-1e-05", "-2.E+3", "-1.00 2.50 -3.00", "cup", "a=b", "1-2", ""]
)
def test_numbers_and_other_texts_stay(cell: str) -> None:
    assert escape_formula(cell) == cell


@given(CELLS)
def test_unescaping_is_the_inverse(cell: str) -> None:
    safe = escape_formula(cell)
    assert unescape_formula(safe) == cell
    if safe.startswith(STARTS):
        assert safe == cell
        assert all(float(part) == float(part) for part in safe.split(" "))


@given(st.lists(st.lists(CELLS, min_size=2, max_size=3), max_size=3))
def test_a_table_is_read_back_as_it_was_written(rows: list[list[str]]) -> None:
    text = csv_text(rows)
    assert read_csv(text, "a.csv") == rows
    assert not any(
        cell.startswith(tuple("=@\t\r"))
        for row in csv.reader(io.StringIO(text, newline=""))
        for cell in row
    )


def test_a_cell_may_hold_a_long_outline() -> None:
    assert read_csv(csv_text([["a", "x" * 200_000]]), "a.csv") == [["a", "x" * 200_000]]


@pytest.mark.parametrize("formula", FORMULAS)
def test_no_writer_of_tables_writes_a_formula(tmp_path: Path, formula: str) -> None:
    rle = mask_to_rle(rectangle((10, 10), (1, 1, 5, 5)))
    image = AnnotatedImage(file_name=f"{formula}.jpg", hw=(10, 10), masks=(Mask(rle, formula),))
    write_annotations([image], tmp_path / "convert.csv", "csv")
    Masks([Mask(rle, formula)]).save(tmp_path / "save.csv")
    Report(title="a", rows=[{"set": formula, formula: -1.5}]).save(tmp_path / "report.csv")
    write_list(tmp_path / "list.csv", ["photo", "reason"], [[formula, "no mask"]])
    for name, cells in (("convert", 2), ("save", 1), ("report", 2), ("list", 1)):
        path = tmp_path / f"{name}.csv"
        text = path.read_bytes().decode()
        raw = [cell for row in csv.reader(io.StringIO(text, newline="")) for cell in row]
        assert [cell for cell in raw if cell.startswith(STARTS)] == ["-1.5"] * (name == "report")
        read = [cell for row in read_csv(text, path) for cell in row]
        assert sum(cell.startswith(formula) for cell in read) == cells
