"""A report as Markdown: tables for people, and below them how it was measured."""

from __future__ import annotations

from collections.abc import Sequence

from anymask.evaluation.report import Report
from anymask.evaluation.tables import report_notes, report_tables


def report_to_markdown(report: Report) -> str:
    """All tables, then the notes."""
    parts: list[str] = []
    for table in report_tables(report):
        parts += [table.title] if table.title else []
        parts.append(markdown_table(table.header, table.rows))
    notes = "\n".join(f"- {note}" for note in report_notes(report))
    return "\n\n".join([*parts, notes]) + "\n"


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Rows of cells as they are, below a header."""
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines)
