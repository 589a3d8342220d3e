"""Reports: what `evaluate`, `audit` and `stats` return; they print as tables and save themselves.

A report is sections of tables, plots and pictures, the rows behind them, and all that was measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

from anymask.base import InputError, brief, csv_text, write_json, write_whole
from anymask.evaluation.page import html_page, html_table, note, picture_tag, section, sheets

MAX_PLOTS = 24  # plots of a section that are shown at once


@brief
@dataclass(frozen=True)
class TextTable:
    """A table of texts; a cell `**text**` stands out.

    Attributes:
        header: Of the columns.
        rows: Each as long as the header.
        title: Above it, or "".
        align: "l" or "r" for each column; the reader's own choice where left out.
        more: A line below it, or "".
        folded: On the page alone, and folded there.
    """

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    title: str = ""
    align: str = ""
    more: str = ""
    folded: bool = False


@dataclass(frozen=True)
class Shot:
    """A JPEG file and the words below it, a line each; the first says what it shows."""

    jpeg: bytes
    words: Sequence[str]


@brief
@dataclass(frozen=True, kw_only=True)
class Section:
    """A heading and what belongs to it; plots (title, SVG) and pictures are on the page alone."""

    title: str = ""
    notes: Sequence[str] = ()
    tables: Sequence[TextTable] = ()
    plots: Sequence[tuple[str, str]] = ()
    pictures: Sequence[Shot] = ()


@brief
@dataclass(frozen=True, kw_only=True)
class Report:
    """What was measured; printed, it is its tables.

    Attributes:
        title: What of what.
        about: How, in one line.
        sections: Tables, plots and pictures, in order.
        notes: How it was measured, a line each.
        rows: The figures, one by one: what `.csv` and `to_dataframe` hold.
        data: Everything: what `.json` holds.
    """

    title: str
    about: str = ""
    sections: Sequence[Section] = ()
    notes: Sequence[str] = ()
    rows: Sequence[dict[str, Any]] = ()
    data: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.to_markdown()

    def _repr_html_(self) -> str:
        """In a notebook: the tables and plots, without the page around them."""
        return "\n".join(_section_to_html(one) for one in self.sections)

    def save(self, path: str | Path, form: str | None = None) -> None:
        """Write everything (json), the figures (csv), the tables (md) or a page (html).

        The page is one file that fetches nothing and runs nothing: it can be mailed.

        Raises InputError for another ending.

        Args:
            form: One of these four; None: what the path ends in.
        """
        target = Path(path)
        form = form or target.suffix.lower().removeprefix(".")
        writers = {"csv": self.to_csv, "md": self.to_markdown, "html": self.to_html}
        if form == "json":
            write_json(target, self.data)
        elif form in writers:
            write_whole(target, writers[form]())
        else:
            raise InputError(
                f"Unsupported report format: {path}. Use a file name with .html, .json, .csv or "
                ".md."
            )

    def to_dataframe(self) -> Any:
        """The figures as a `pandas.DataFrame`. Raises InputError where pandas is absent."""
        try:
            import pandas as pd  # type: ignore[import-untyped]
        except ImportError as error:
            raise InputError(
                "Data frames require pandas. Install it with: pip install pandas"
            ) from error
        return pd.DataFrame(list(self.rows))

    def to_csv(self) -> str:
        """The figures with a header, NaN as an empty cell."""
        columns = list(dict.fromkeys(key for row in self.rows for key in row))
        cells = ([row.get(column) for column in columns] for row in self.rows)
        known = ([None if value != value else value for value in row] for row in cells)
        return csv_text([columns, *known])

    def to_markdown(self) -> str:
        """All tables, then the notes."""
        parts: list[str] = []
        for one in self.sections:
            tables = [table for table in one.tables if not table.folded]
            if one.title and (tables or one.notes):
                parts.append(f"### {one.title}")
            parts += ["\n".join(one.notes)] if one.notes else []
            for table in tables:
                parts += [table.title] if table.title else []
                parts.append(markdown_table(table.header, table.rows, table.align))
                parts += [table.more] if table.more else []
        parts += ["\n".join(f"- {line}" for line in self.notes)] if self.notes else []
        return "\n\n".join(parts) + "\n"

    def to_html(self) -> str:
        """The whole page."""
        parts = [_section_to_html(one) for one in self.sections]
        if self.notes:
            lines = "".join(f"<li>{escape(line)}</li>" for line in self.notes)
            parts.append(section("Method", f"<ul>{lines}</ul>"))
        return html_page(self.title, self.about, parts)


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
        drawn = sheets(*one.plots)
        many = len(one.plots) > MAX_PLOTS
        parts.append(_fold(f"{len(one.plots)} plots", drawn) if many else drawn)
    if one.pictures:
        figures = "".join(_figure(picture) for picture in one.pictures)
        parts.append(f'<div class="shots">{figures}</div>')
    return section(one.title, *parts) if one.title else "\n".join(parts)


def _fold(title: str, content: str) -> str:
    return f"<details><summary>{escape(title)}</summary>{content}</details>"


def _figure(picture: Shot) -> str:
    words = "<br>".join(escape(line) for line in picture.words)
    tag = picture_tag(picture.jpeg, picture.words[0])
    return f'<figure>{tag}<figcaption class="note">{words}</figcaption></figure>'


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]], align: str = "") -> str:
    """Rows of cells below a header; a `|` in a cell is escaped.

    Args:
        align: "l" or "r" for each column; the reader's own choice where left out.
    """
    marks = {"l": "---", "r": "--:"}
    rule = [marks[side] for side in align] or ["---"] * len(header)
    escaped = [[cell.replace("|", "\\|") for cell in row] for row in (header, *rows)]
    lines = [f"| {' | '.join(row)} |" for row in escaped]
    return "\n".join([lines[0], f"|{'|'.join(rule)}|", *lines[1:]])
