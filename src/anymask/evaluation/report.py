"""Reports that `evaluate`, `audit` and `stats` return; they print as tables and can be saved.

A report has sections of tables, plots and images, data rows, and the complete data.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

from anymask.base import InputError, brief, csv_text, write_json, write_whole
from anymask.evaluation.page import html_page, html_table, image_tag, note, section, sheets

MAX_PLOTS = 24  # plots of a section above which they are collapsed


@brief
@dataclass(frozen=True)
class TextTable:
    """Table of texts; a cell `**text**` is bold."""

    header: Sequence[str]  # Column headers
    rows: Sequence[Sequence[str]]  # Rows, each as long as the header
    title: str = ""  # Title above the table, or ""
    align: str = ""  # "l" or "r" for each column. Empty for the default of the renderer.
    more: str = ""  # Line below the table, or ""
    folded: bool = False  # Whether to include it only in the HTML page, collapsed


@dataclass(frozen=True)
class Shot:
    """JPEG file with caption lines; the first one is also the alternative text."""

    jpeg: bytes
    words: Sequence[str]


@brief
@dataclass(frozen=True, kw_only=True)
class Section:
    """Heading and content; plots (title, SVG) and images are only part of the HTML page."""

    title: str = ""
    notes: Sequence[str] = ()
    tables: Sequence[TextTable] = ()
    plots: Sequence[tuple[str, str]] = ()
    images: Sequence[Shot] = ()


@brief
@dataclass(frozen=True, kw_only=True)
class Report:
    """Result of an evaluation, an audit or statistics. Prints as Markdown tables."""

    title: str  # Title
    about: str = ""  # Description in one line
    sections: Sequence[Section] = ()  # Tables, plots and images, in order
    notes: Sequence[str] = ()  # Notes on the method, one line each
    rows: Sequence[dict[str, Any]] = ()  # Metrics as rows, for `.csv` and `to_dataframe`
    data: dict[str, Any] = field(default_factory=dict)  # Complete data, for `.json`

    def __str__(self) -> str:
        return self.to_markdown()

    def _repr_html_(self) -> str:
        """Return tables and plots for notebooks, without the page around them."""
        return "\n".join(_section_to_html(block) for block in self.sections)

    def save(self, path: str | Path, format: str | None = None) -> None:
        """Write the complete data (json), the metrics (csv), the tables (md) or a page (html).

        The page is one file without requests or scripts.

        Args:
            path: Output file.
            format: "json", "csv", "md" or "html". Defaults to the suffix of `path`.

        Raises:
            InputError: The format is not supported.
        """
        target = Path(path)
        format = format or target.suffix.lower().removeprefix(".")
        writers = {"csv": self.to_csv, "md": self.to_markdown, "html": self.to_html}
        if format == "json":
            write_json(target, self.data)
        elif format in writers:
            write_whole(target, writers[format]())
        else:
            raise InputError(f"Unsupported report format: {path}. Use .html, .json, .csv or .md.")

    def to_dataframe(self) -> Any:
        """Return the metrics as a `pandas.DataFrame`. Raises InputError if it is not installed."""
        try:
            import pandas as pd  # type: ignore[import-untyped]
        except ImportError as error:
            raise InputError("Data frames require pandas. Run: pip install pandas") from error
        return pd.DataFrame(list(self.rows))

    def to_csv(self) -> str:
        """Return the metrics as CSV with a header; NaN is an empty cell."""
        columns = list(dict.fromkeys(key for row in self.rows for key in row))
        cells = ([row.get(column) for column in columns] for row in self.rows)
        rows = ([None if value != value else value for value in row] for row in cells)
        return csv_text([columns, *rows])

    def to_markdown(self) -> str:
        """Return all tables and notes as Markdown."""
        parts: list[str] = []
        for block in self.sections:
            tables = [table for table in block.tables if not table.folded]
            if block.title and (tables or block.notes):
                parts.append(f"### {block.title}")
            parts += ["\n".join(block.notes)] if block.notes else []
            for table in tables:
                parts += [table.title] if table.title else []
                parts.append(markdown_table(table.header, table.rows, table.align))
                parts += [table.more] if table.more else []
        parts += ["\n".join(f"- {line}" for line in self.notes)] if self.notes else []
        return "\n\n".join(parts) + "\n"

    def to_html(self) -> str:
        """Return the whole HTML page."""
        parts = [_section_to_html(block) for block in self.sections]
        if self.notes:
            lines = "".join(f"<li>{escape(line)}</li>" for line in self.notes)
            parts.append(section("Method", f"<ul>{lines}</ul>"))
        return html_page(self.title, self.about, parts)


def report_values(
    title: str, what: str, values: Mapping[str, float], notes: Sequence[str] = ()
) -> Report:
    """Report metrics by name in one row, which starts with `what`; NaN is "-", in data null."""
    plain = {name: None if value != value else value for name, value in values.items()}
    cells = ["-" if value is None else f"{value:.3f}" for value in plain.values()]
    table = TextTable(["", *plain], [[what, *cells]])
    return Report(
        title=title, sections=[Section(tables=[table])], notes=notes, rows=[plain],
        data={"global": plain},
    )  # fmt: skip


def _section_to_html(one: Section) -> str:
    parts = [note(line) for line in one.notes]
    for table in one.tables:
        strong = [n for n, row in enumerate(table.rows) if row and row[0].startswith("**")]
        rows = [[cell.replace("**", "") for cell in row] for row in table.rows]
        text = html_table(table.header, rows, strong)
        if table.folded:
            parts.append(_fold(table.title, text))
            continue
        parts += [f"<h3>{escape(table.title)}</h3>"] if table.title else []
        parts.append(text)
        parts += [note(table.more)] if table.more else []
    if one.plots:
        drawn, count = sheets(*one.plots), len(one.plots)
        parts.append(_fold(f"{count} plots", drawn) if count > MAX_PLOTS else drawn)
    if one.images:
        figures = []
        for image in one.images:
            words = "<br>".join(escape(line) for line in image.words)
            tag = image_tag(image.jpeg, image.words[0])
            figures.append(f'<figure>{tag}<figcaption class="note">{words}</figcaption></figure>')
        parts.append(f'<div class="shots">{"".join(figures)}</div>')
    return section(one.title, *parts) if one.title else "\n".join(parts)


def _fold(title: str, content: str) -> str:
    return f"<details><summary>{escape(title)}</summary>{content}</details>"


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]], align: str = "") -> str:
    """Format a Markdown table; a `|` in a cell is escaped.

    Args:
        align: "l" or "r" for each column. Empty for the default of the renderer.
    """
    rule = [{"l": "---", "r": "--:"}[side] for side in align or "l" * len(header)]
    escaped = [[cell.replace("|", "\\|") for cell in row] for row in (header, *rows)]
    lines = [f"| {' | '.join(row)} |" for row in escaped]
    return "\n".join([lines[0], f"|{'|'.join(rule)}|", *lines[1:]])
