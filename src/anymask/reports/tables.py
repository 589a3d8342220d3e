"""Tables of texts: a header and rows in, Markdown or HTML out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from anymask.reports.page import html_table


@dataclass(frozen=True)
class TextTable:
    """A table of texts; a cell `**text**` stands out.

    title    above it, or ""
    header   of the columns
    rows     each as long as the header
    more     a line below it, or ""
    """

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    more: str = ""


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]], align: str = "") -> str:
    """Rows of cells below a header; a `|` in a cell is escaped.

    align  "l" or "r" for each column; the reader's own choice where left out
    """
    marks = {"l": "---", "r": "--:"}
    rule = [marks[side] for side in align] or ["---"] * len(header)
    lines = [_markdown_row(header), "|" + "|".join(rule) + "|", *map(_markdown_row, rows)]
    return "\n".join(lines)


def _markdown_row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def table_to_html(table: TextTable) -> str:
    """The table without its title; rows whose first cell stands out do so whole."""
    strong = [place for place, row in enumerate(table.rows) if row and row[0].startswith("**")]
    rows = [[cell.replace("**", "") for cell in row] for row in table.rows]
    return html_table(table.header, rows, strong)
