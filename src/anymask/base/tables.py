"""CSV tables that are safe to open in spreadsheets.

Labels and file names are untrusted. Excel, LibreOffice Calc and Google Sheets evaluate a cell that
starts with =, +, -, @, a tab or a carriage return as a formula (CWE-1236). `csv_text` prefixes such
cells with an apostrophe; `read_csv` removes it. Numbers are unchanged: -1.5 is not a formula. All
CSV of anymask is written and read by these two functions.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence

from anymask.base.errors import DataError

_NUMBER = r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?"
_NUMBER_CELL = re.compile(rf"{_NUMBER}(?: {_NUMBER})*")  # some cells hold three numbers
_FORMULA = re.compile(r"'*[=+\-@\t\r]")  # leading apostrophes count: unescaping removes one
_ESCAPED = re.compile(r"'+[=+\-@\t\r]")


def escape_formula(cell: str) -> str:
    """Prefix text that a spreadsheet would evaluate with an apostrophe; numbers are unchanged.

    `unescape_formula` is the exact inverse.
    """
    return f"'{cell}" if _FORMULA.match(cell) and not _NUMBER_CELL.fullmatch(cell) else cell


def unescape_formula(cell: str) -> str:
    """Undo `escape_formula`."""
    return cell[1:] if _ESCAPED.match(cell) else cell


def csv_text(rows: Iterable[Sequence[object]]) -> str:
    """Format rows as CSV with formulas escaped; None becomes an empty cell."""
    return "".join(map(_csv_line, rows))


def _csv_line(row: Sequence[object]) -> str:
    line = io.StringIO()
    # The csv module quotes a single \r only if the line terminator contains one.
    csv.writer(line, lineterminator="\r\n").writerow(
        [escape_formula(cell) if isinstance(cell, str) else cell for cell in row]
    )
    return line.getvalue().removesuffix("\r\n") + "\n"


def read_csv(text: str, where: object) -> list[list[str]]:
    """Parse CSV and unescape formulas; empty lines are skipped.

    Args:
        text: Content of the file.
        where: File name for the error.

    Raises:
        DataError: The text is not valid CSV.
    """
    # A cell may hold all outlines of an image. The limit of the process is never lowered.
    csv.field_size_limit(max(1 << 26, csv.field_size_limit()))
    try:
        rows = [row for row in csv.reader(io.StringIO(text, newline="")) if row]
    except csv.Error as error:
        raise DataError(f"{where}: Not valid CSV. Save the table as CSV again.") from error
    return [[unescape_formula(cell) for cell in row] for row in rows]
