"""CSV tables that spreadsheets open without running what is in their cells.

Labels and file names come from anybody. Excel, LibreOffice Calc and Google Sheets evaluate a cell
that starts with =, +, -, @, a tab or a carriage return as a formula (CWE-1236). `csv_text` writes
all CSV and puts an apostrophe before such a cell; `read_csv` reads all CSV and removes it. Numbers
are not changed: -1.5 is not a formula.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence

from anymask.base.errors import DataError

_NUMBER = r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?"
_NUMBERS = re.compile(rf"{_NUMBER}(?: {_NUMBER})*")  # a cell of a table of scans holds three
_FORMULA = re.compile(r"'*[=+\-@\t\r]")  # leading apostrophes count: unescaping removes one
_ESCAPED = re.compile(r"'+[=+\-@\t\r]")


def escape_formula(cell: str) -> str:
    """Put an apostrophe before a text that a spreadsheet would evaluate; numbers stay as they are.

    `unescape_formula` is its exact inverse.
    """
    return f"'{cell}" if _FORMULA.match(cell) and not _NUMBERS.fullmatch(cell) else cell


def unescape_formula(cell: str) -> str:
    """The text that `escape_formula` was given."""
    return cell[1:] if _ESCAPED.match(cell) else cell


def csv_text(rows: Iterable[Sequence[object]]) -> str:
    """Rows as CSV with formulas escaped; None becomes an empty cell."""
    return "".join(map(_csv_line, rows))


def _csv_line(row: Sequence[object]) -> str:
    line = io.StringIO()
    # Python's writer quotes a lone \r only where its line ends hold one.
    csv.writer(line, lineterminator="\r\n").writerow(
        [escape_formula(cell) if isinstance(cell, str) else cell for cell in row]
    )
    return line.getvalue().removesuffix("\r\n") + "\n"


def read_csv(text: str, where: object) -> list[list[str]]:
    """The rows of CSV with formulas unescaped; empty lines are left out.

    Args:
        text: Content of the file.
        where: Name of the file, for the error.

    Raises:
        DataError: The text is not CSV.
    """
    try:
        rows = [row for row in csv.reader(io.StringIO(text, newline="")) if row]
    except csv.Error as error:
        raise DataError(f"{where}: Not valid CSV. Save the table as CSV again.") from error
    return [[unescape_formula(cell) for cell in row] for row in rows]
