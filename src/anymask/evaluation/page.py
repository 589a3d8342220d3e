"""Self-contained HTML pages: tables, SVG plots and images without requests or scripts.

Colors come from the style sheet: classes s0..s7 for the series, so that plots are readable in light
and dark mode. Every mark has a title that browsers show as a tooltip. All texts are escaped.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from html import escape
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import ArrayLike

from anymask.base import Floats, UintImage, brief

COLORS = 8  # number of series classes in the style sheet
WIDTH, HEIGHT = 520, 300
LEFT, RIGHT, TOP, BOTTOM = 62, 16, 14, 52


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
    """Build a whole document; `title` and `about` are plain text, sections are HTML."""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        f'<h1>{escape(title)}</h1>\n<p class="note">{escape(about)}</p>\n'
        + "\n".join(sections)
        + "\n</body>\n</html>\n"
    )


def section(title: str, *parts: str) -> str:
    """Build a heading with its content (HTML)."""
    return f"<h2>{escape(title)}</h2>\n" + "\n".join(parts)


def sheets(*parts: tuple[str, str]) -> str:
    """Build boxes side by side, each with a title and HTML content."""
    boxes = (
        f'<div class="sheet"><h3>{escape(title)}</h3>{content}</div>' for title, content in parts
    )
    return f'<div class="sheets">{"".join(boxes)}</div>'


def html_table(
    header: Sequence[str], rows: Sequence[Sequence[str]], strong: Collection[int] = ()
) -> str:
    """Build a table of plain texts; rows whose indices are in `strong` are bold."""
    head = "".join(f"<th>{escape(cell)}</th>" for cell in header)
    body = "".join(
        f"<tr{' class=strong' * (number in strong)}>"
        f"{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>\n"
        for number, row in enumerate(rows)
    )
    return (
        f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
        "</div>"
    )


def note(text: str) -> str:
    """Build a line of small text."""
    return f'<p class="note">{escape(text)}</p>'


def jpeg_bytes(image: UintImage, quality: int = 88) -> bytes:  # (H, W, 3) RGB
    """Encode an image as JPEG."""
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    done, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])
    assert done
    return data.tobytes()


def image_tag(jpeg: bytes, about: str) -> str:
    """Embed a JPEG file in the page; `about` is its alternative text."""
    data = base64.b64encode(jpeg).decode("ascii")
    return f'<img alt="{escape(about)}" src="data:image/jpeg;base64,{data}">'


Text = Callable[[float], str]
Number = TypeVar("Number", float, Floats)


@brief
@dataclass(frozen=True)
class Series:
    """Line or group of bars."""

    name: str  # Name in the legend
    values: Floats  # One value for each bin or category


def line_plot(
    edges: ArrayLike, series: Sequence[Series], x_label: str, x_text: Text, *, log: bool = False
) -> str:
    """Plot histograms as lines: fractions (y) over bins (x).

    Args:
        edges: (B + 1,) edges of the bins.
        x_text: Function that formats a value of x.
        log: Whether the bins are equally wide on a logarithmic scale.
    """
    borders = np.asarray(edges, np.float64)
    scaled = np.log10(borders) if log else borders
    across = LEFT + (scaled - scaled[0]) / (scaled[-1] - scaled[0]) * (WIDTH - LEFT - RIGHT)
    top = _nice_top(max((float(line.values.max(initial=0)) for line in series), default=0))
    parts = [_y_axis(top), _x_label(x_label)]
    parts += [
        _tick(float(np.interp(x, scaled, across)), x_text(10**x if log else x))
        for x in np.linspace(scaled[0], scaled[-1], 6)
    ]
    middles = (across[1:] + across[:-1]) / 2
    for number, line in enumerate(series):
        points = " ".join(
            f"{x:.1f},{_y(share, top):.1f}" for x, share in zip(middles, line.values, strict=True)
        )
        parts.append(
            f'<polyline class="line s{number % COLORS}" points="{points}">{_title(line.name)}'
            "</polyline>"
        )
    return _svg(parts, x_label)


@brief
@dataclass(frozen=True)
class Points:
    """Line through points: ascending x, y as a fraction; points with a NaN y are omitted."""

    name: str
    x: Floats
    y: Floats


def curve_plot(curves: Sequence[Points], x_label: str) -> str:
    """Plot lines with markers; y is 0 to 1, shown in percent."""
    there = [(curve.x[keep], curve.y[keep]) for curve in curves for keep in [np.isfinite(curve.y)]]
    marks = np.unique(np.concatenate([np.zeros(0), *(x for x, _ in there)]))
    low, high = (float(marks[0]), float(marks[-1])) if len(marks) else (0.0, 1.0)
    span = high - low or 1.0
    parts = [_y_axis(1.0), _x_label(x_label)]
    places = marks if len(marks) <= 8 and (marks % 1 == 0).all() else _round_marks(low, high)
    wide = WIDTH - LEFT - RIGHT - 24
    parts += [_tick(LEFT + 12 + (x - low) / span * wide, f"{x:.3g}") for x in places]
    for number, (curve, (xs, ys)) in enumerate(zip(curves, there, strict=True)):
        color = f"s{number % COLORS}"
        across, up = LEFT + 12 + (xs - low) / span * wide, _y(np.clip(ys, 0, 1), 1.0)
        dots = [f"{x:.1f},{y:.1f}" for x, y in zip(across, up, strict=True)]
        parts.append(f'<polyline class="line {color}" points="{" ".join(dots)}"/>')
        parts += [
            f'<circle class="bar {color}" cx="{x:.1f}" cy="{y:.1f}" r="4">'
            f"{_title(f'{curve.name}, {x_label} {at:.4g}: {_percent(value)}')}</circle>"
            for x, y, at, value in zip(across, up, xs, ys, strict=True)
        ]
    return _svg(parts, x_label)


def _round_marks(low: float, high: float) -> Floats:
    """Return two to eight round values for ticks, none outside the range."""
    if high <= low:
        return np.array([low])
    power = 10.0 ** np.floor(np.log10(high - low))
    steps = (power * part for part in (0.2, 0.25, 0.5, 1.0, 2.0))
    step = float(next(size for size in steps if (high - low) / size <= 7))
    marks = np.arange(np.ceil(low / step - 1e-9), np.floor(high / step + 1e-9) + 1)
    return marks * step + 0.0  # no -0


def bar_plot(
    categories: Sequence[str], series: Sequence[Series], x_label: str, *, most: int = 12
) -> str:
    """Plot fractions (y) of categories (x), series side by side; only the first `most`."""
    names = list(categories)[:most]
    top = _nice_top(max((float(bars.values[:most].max(initial=0)) for bars in series), default=0))
    step = (WIDTH - LEFT - RIGHT) / max(len(names), 1)
    wide = 0.8 * step / max(len(series), 1)
    parts = [_y_axis(top), _x_label(x_label)]
    room = max(int(step / 8), 3)  # letters
    for index, name in enumerate(names):
        middle = LEFT + (index + 0.5) * step
        parts.append(_tick(middle, name if len(name) <= room else name[: room - 1] + "…"))
        for number, bars in enumerate(series):
            share = float(bars.values[index])
            x, y = middle - 0.4 * step + number * wide, _y(share, top)
            parts.append(
                f'<rect class="bar s{number % COLORS}" x="{x:.1f}" y="{y:.1f}" '
                f'width="{max(wide - 1, 1):.1f}" height="{HEIGHT - BOTTOM - y:.1f}">'
                f"{_title(f'{bars.name}, {name}: {_percent(share)}')}</rect>"
            )
    return _svg(parts, x_label)


def heat_map(counts: ArrayLike, about: str, side: int = 260) -> str:  # (G, G), rows down
    """Draw a map of counts; the maximum has full color."""
    table = np.asarray(counts, np.float64)
    rows, columns = table.shape
    full = max(float(table.max(initial=0)), 1)
    cells = [
        f'<rect class="heat" x="{x}" y="{y}" width="1.02" height="1.02" '
        f'fill-opacity="{table[y, x] / full:.3f}">{_title(f"{int(table[y, x])}")}</rect>'
        for y in range(rows)
        for x in range(columns)
        if table[y, x]
    ]
    return (
        f'<svg class="map" viewBox="0 0 {columns} {rows}" width="{side}" height="{side}" '
        f'role="img" aria-label="{escape(about, quote=True)}">{"".join(cells)}</svg>'
    )


def legend(names: Sequence[str]) -> str:
    """Build the legend; empty for a single series."""
    if len(names) < 2:
        return ""
    keys = (
        f'<span class="key"><i class="s{number % COLORS}"></i>{escape(name)}</span>'
        for number, name in enumerate(names)
    )
    return f'<p class="legend">{"".join(keys)}</p>'


def _svg(parts: Sequence[str], about: str) -> str:
    return (
        f'<svg class="plot" style="max-width: {WIDTH}px" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{escape(about, quote=True)}">{"".join(parts)}</svg>'
    )


def _title(text: str) -> str:
    return f"<title>{escape(text)}</title>"


def _y(share: Number, top: float) -> Number:
    return HEIGHT - BOTTOM - share / top * (HEIGHT - TOP - BOTTOM)


def _nice_top(most: float) -> float:
    """Return the next higher round number."""
    if most <= 0:
        return 1.0
    unit = 10.0 ** np.floor(np.log10(most))
    return float(next(step * unit for step in (1, 2, 2.5, 5, 10) if step * unit >= most * 0.999))


def _y_axis(top: float) -> str:
    shares = np.linspace(0, top, 5)
    return "".join(
        f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        f'<text class="axis" x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">'
        f"{_percent(share)}</text>"
        for share, y in zip(shares, _y(shares, top), strict=True)
    )


def _tick(x: float, text: str) -> str:
    return (
        f'<text class="axis" x="{x:.1f}" y="{HEIGHT - BOTTOM + 19}" text-anchor="middle">'
        f"{escape(text)}</text>"
    )


def _x_label(text: str) -> str:
    return (
        f'<text class="axis name" x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 8}" '
        f'text-anchor="middle">{escape(text)}</text>'
    )


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"
