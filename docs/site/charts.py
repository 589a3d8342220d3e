"""Draw the charts of the result pages as SVG from the CSV files in docs/reference/data.

python -m docs.site.charts     write docs/images/results-*.svg
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from xml.sax.saxutils import escape

DOCS = Path(__file__).resolve().parents[1]
COLORS = ("#2563eb", "#f59e0b")
LABEL, BAR, ROW, WIDTH = 250, 16, 18, 760  # pixels: labels, height of a bar and its row, chart


def read(name: str, **expected: str) -> list[dict[str, str]]:
    """Return the rows of a CSV file whose columns have the given values."""
    with (DOCS / "reference/data" / f"{name}.csv").open(encoding="utf-8") as file:
        return [row for row in csv.DictReader(file) if expected.items() <= row.items()]


def charts() -> dict[str, str]:
    """Return all charts: file name -> SVG."""
    mean = {row["model"]: row for row in read("prompts", dataset="mean of 12 `dev` sets",
                                              refinement="yes")}  # fmt: skip
    recall = {model: read("automatic-masks", model=model) for model in ("small", "nano")}
    prompts = ("one click", "three clicks", "box")
    drawn = {
        "prompts": bars("Mean IoU, 12 datasets, with refinement", prompts, {
            model: [mean[model][prompt] for prompt in prompts] for model in ("small", "nano")
        }),
        "automatic": bars("Recall of everything, IoU 0.5", column("dataset", recall["small"]), {
            model: column("recall", rows) for model, rows in recall.items()
        }),
        "video": chart("Mean J & F, four sequences of DAVIS 2016", "trackers"),
        "training": chart("Mean IoU after three clicks, by annotated images", "labels"),
        "speed": chart("Milliseconds on two CPU cores", "steps"),
    }  # fmt: skip
    return {f"results-{name}.svg": text for name, text in drawn.items()}


def column(name: str, rows: Sequence[dict[str, str]]) -> list[str]:
    """Return one column of a table."""
    return [row[name] for row in rows]


def chart(title: str, name: str) -> str:
    """Draw a whole CSV file: the first column has the labels, each other one is a series."""
    rows = read(name)
    labels, *series = rows[0]
    return bars(title, column(labels, rows), {one: column(one, rows) for one in series})


def bars(title: str, labels: Sequence[str], series: dict[str, list[str]]) -> str:
    """Draw horizontal bars as SVG: a group per label, a bar per series."""
    most = max(float(value) for values in series.values() for value in values)
    height = 60 + len(labels) * (len(series) * ROW + 8)
    parts = [f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>', text(10, 20, title, "bold")]
    for index, name in enumerate(series if len(series) > 1 else ()):
        x = LABEL + 130 * index
        parts += [rect(x, 32, 12, 12, index), text(x + 18, 43, name)]
    for row, label in enumerate(labels):
        top = 54 + row * (len(series) * ROW + 8)
        parts.append(text(10, top + 13, label))
        for index, values in enumerate(series.values()):
            y, width = top + index * ROW, (WIDTH - LABEL - 70) * float(values[row]) / most
            parts += [rect(LABEL, y, width, BAR, index), text(LABEL + width + 6, y + 13,
                                                              values[row])]  # fmt: skip
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        f'font-family="sans-serif" font-size="13" role="img">\n{body}\n</svg>\n'
    )


def rect(x: float, y: float, width: float, height: float, series: int) -> str:
    """Return a bar in the color of its series."""
    color = COLORS[series]
    return f'<rect x="{x}" y="{y}" width="{width:.1f}" height="{height}" fill="{color}"/>'


def text(x: float, y: float, words: str, weight: str = "normal") -> str:
    """Return a line of text."""
    return f'<text x="{x:.1f}" y="{y}" font-weight="{weight}" fill="#222">{escape(words)}</text>'


if __name__ == "__main__":
    for file_name, drawing in charts().items():
        (DOCS / "images" / file_name).write_text(drawing, "utf-8")
