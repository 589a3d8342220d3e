"""Tables of texts: a header and rows in, Markdown or HTML out.

One self-contained HTML page: texts, tables, pictures in, HTML out; nothing is fetched or run.
"""

from __future__ import annotations

import base64
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from html import escape

import cv2

from anymask.base import UintImage


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


STYLE = """
:root { color-scheme: light dark; --ground: #fbfbfd; --sheet: #ffffff; --ink: #1d2330;
  --faint: #5d6678; --rule: #dfe3ea; --heat: #2563c9;
  --c0: #2563c9; --c1: #d9572b; --c2: #2f8f46; --c3: #9140b5;
  --c4: #b58900; --c5: #0e8f8a; --c6: #c92a5f; --c7: #6b5bd2; }
@media (prefers-color-scheme: dark) { :root { --ground: #14171d; --sheet: #1c2028; --ink: #e6e9ef;
  --faint: #9aa4b5; --rule: #333a46; --heat: #7db1ff;
  --c0: #6aa5ff; --c1: #ff9166; --c2: #74d080; --c3: #d08bee;
  --c4: #f0c94a; --c5: #4fd1c9; --c6: #ff7aa2; --c7: #a99cff; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2rem 1.2rem 4rem; max-width: 1160px; background: var(--ground);
  color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.6rem; margin: 0 0 .2rem; } h2 { font-size: 1.15rem; margin: 2.2rem 0 .6rem; }
h3 { font-size: .95rem; margin: 0 0 .3rem; } p { margin: .2rem 0 .6rem; }
.note, caption, .legend { color: var(--faint); font-size: .88rem; }
.sheets { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fill, minmax(330px, 1fr)); }
.sheet { background: var(--sheet); border: 1px solid var(--rule); border-radius: 10px;
  padding: .9rem 1rem; min-width: 0; }
.small { max-width: 480px; }
.wide { overflow-x: auto; } .wide + .wide { margin-top: 1.4rem; }
.note, li { overflow-wrap: anywhere; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; width: 100%; }
th, td { text-align: right; padding: .28rem .7rem; border-bottom: 1px solid var(--rule); }
td + td { white-space: nowrap; }
th:first-child, td:first-child, td.text, th.text { text-align: left; }
th { color: var(--faint); font-weight: 600; font-size: .88rem; }
tr.strong td { font-weight: 700; } summary { cursor: pointer; color: var(--faint); }
.shots { display: flex; flex-wrap: wrap; gap: .8rem; margin-bottom: 1.2rem; }
.shots figure { margin: 0; width: 200px; }
svg.plot { width: 100%; height: auto; display: block; } svg.map { background: var(--sheet);
  border: 1px solid var(--rule); max-width: 100%; }
.grid { stroke: var(--rule); } .axis { fill: var(--faint); font: 14px system-ui, sans-serif; }
.axis.name { fill: var(--ink); font-size: 15px; } .heat { fill: var(--heat); }
.line { fill: none; stroke-width: 2.2; stroke-linejoin: round; }
.legend { display: flex; flex-wrap: wrap; gap: .3rem 1.2rem; }
.key i { display: inline-block; width: .8em; height: .8em; border-radius: 2px; margin-right: .4em; }
img { max-width: 100%; height: auto; border-radius: 6px; display: block; }
""" + "".join(
    f".line.s{n} {{ stroke: var(--c{n}); }} .bar.s{n} {{ fill: var(--c{n}); }} "
    f".key .s{n} {{ background: var(--c{n}); }}\n"
    for n in range(8)
)


def html_page(title: str, about: str, sections: Sequence[str]) -> str:
    """A whole document; `title` and `about` are plain text, sections are HTML."""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        f'<h1>{escape(title)}</h1>\n<p class="note">{escape(about)}</p>\n'
        + "\n".join(sections)
        + "\n</body>\n</html>\n"
    )


def section(title: str, *parts: str) -> str:
    """A heading and what belongs to it (HTML)."""
    return f"<h2>{escape(title)}</h2>\n" + "\n".join(parts)


def sheets(*parts: tuple[str, str]) -> str:
    """Boxes side by side: a title and HTML each."""
    boxes = (
        f'<div class="sheet"><h3>{escape(title)}</h3>{content}</div>' for title, content in parts
    )
    return f'<div class="sheets">{"".join(boxes)}</div>'


def html_table(
    header: Sequence[str], rows: Sequence[Sequence[str]], strong: Collection[int] = ()
) -> str:
    """A table of plain texts; the rows whose numbers are in `strong` stand out."""
    head = "".join(f"<th>{escape(cell)}</th>" for cell in header)
    body = "".join(
        f"<tr{' class=strong' * (number in strong)}>"
        f"{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>\n"
        for number, row in enumerate(rows)
    )
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    return f'<div class="wide">{table}</div>'


def note(text: str) -> str:
    """A line of small print."""
    return f'<p class="note">{escape(text)}</p>'


def jpeg_bytes(picture: UintImage, quality: int = 88) -> bytes:  # (H, W, 3) RGB
    """The picture as a JPEG file."""
    bgr = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
    done, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])
    assert done
    return data.tobytes()


def picture_tag(jpeg: bytes, about: str) -> str:
    """A JPEG file inside the page; `about` is plain text for those who cannot see it."""
    data = base64.b64encode(jpeg).decode("ascii")
    return f'<img alt="{escape(about)}" src="data:image/jpeg;base64,{data}">'
