"""Plots as SVG text: series, points or counts in, lines, bars or a map out.

Colours come from the page's style sheet (`page.STYLE`): classes s0..s7 for the series, so that the
same plot is readable on a dark and on a light ground. Every mark has a title that browsers show
under the pointer. All texts are escaped.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike

from anymask.base import Floats

WIDTH, HEIGHT = 520, 300
LEFT, RIGHT, TOP, BOTTOM = 62, 16, 14, 52
COLOURS = 8  # classes of series in the style sheet

Text = Callable[[float], str]
Number = TypeVar("Number", float, Floats)


@dataclass(frozen=True)
class Series:
    """One line or one row of bars.

    name    in the legend
    values  one for each bin or category
    """

    name: str
    values: Floats


def line_plot(
    edges: ArrayLike, series: Sequence[Series], x_label: str, x_text: Text, *, log: bool = False
) -> str:
    """Histograms as lines: shares (y) over bins (x).

    edges   (B + 1,) of the bins
    x_text  a value of x as text
    log     bins are equally wide on a logarithmic scale
    """
    borders = np.asarray(edges, np.float64)
    scaled = np.log10(borders) if log else borders
    across = LEFT + (scaled - scaled[0]) / (scaled[-1] - scaled[0]) * (WIDTH - LEFT - RIGHT)
    top = _nice_top(max((float(one.values.max(initial=0)) for one in series), default=0))
    parts = [_y_axis(top), _x_label(x_label)]
    parts += [
        _tick(float(np.interp(place, scaled, across)), x_text(10**place if log else place))
        for place in np.linspace(scaled[0], scaled[-1], 6)
    ]
    middles = (across[1:] + across[:-1]) / 2
    for number, one in enumerate(series):
        points = " ".join(
            f"{x:.1f},{_y(share, top):.1f}" for x, share in zip(middles, one.values, strict=True)
        )
        style = f"line s{number % COLOURS}"
        parts.append(f'<polyline class="{style}" points="{points}">{_title(one.name)}</polyline>')
    return _svg(parts, x_label)


@dataclass(frozen=True)
class Points:
    """A line through points: x rising, y a share of one; a y that is no number is left out."""

    name: str
    x: Floats
    y: Floats


def curve_plot(curves: Sequence[Points], x_label: str) -> str:
    """Lines through points, each marked; y is 0 to 1, in percent."""
    there = [(one.x[known], one.y[known]) for one in curves for known in [np.isfinite(one.y)]]
    low = min((float(x.min()) for x, _ in there if len(x)), default=0.0)
    high = max((float(x.max()) for x, _ in there if len(x)), default=1.0)
    span = high - low or 1.0
    parts = [_y_axis(1.0), _x_label(x_label)]
    marks = np.unique(np.concatenate([x for x, _ in there])) if there else np.zeros(0)
    places = marks if len(marks) <= 8 and (marks % 1 == 0).all() else _round_marks(low, high)
    wide = WIDTH - LEFT - RIGHT - 24
    parts += [_tick(LEFT + 12 + (x - low) / span * wide, f"{x:.3g}") for x in places]
    for number, (one, (xs, ys)) in enumerate(zip(curves, there, strict=True)):
        colour = f"s{number % COLOURS}"
        across, up = LEFT + 12 + (xs - low) / span * wide, _y(np.clip(ys, 0, 1), 1.0)
        dots = [f"{x:.1f},{y:.1f}" for x, y in zip(across, up, strict=True)]
        parts.append(f'<polyline class="line {colour}" points="{" ".join(dots)}"/>')
        parts += [
            f'<circle class="bar {colour}" cx="{x:.1f}" cy="{y:.1f}" r="4">'
            f"{_title(f'{one.name}, {x_label} {at:.4g}: {_percent(value)}')}</circle>"
            for x, y, at, value in zip(across, up, xs, ys, strict=True)
        ]
    return _svg(parts, x_label)


def _round_marks(low: float, high: float) -> Floats:
    """Two to eight places that are short to write, none outside."""
    if high <= low:
        return np.array([low])
    power = 10.0 ** np.floor(np.log10(high - low))
    steps = [power * part for part in (0.2, 0.25, 0.5, 1.0) if (high - low) / (power * part) <= 7]
    step = float(steps[0] if steps else power * 2)
    return (
        np.arange(np.ceil(low / step - 1e-9), np.floor(high / step + 1e-9) + 1) * step + 0.0
    )  # no -0


def bar_plot(
    categories: Sequence[str], series: Sequence[Series], x_label: str, *, most: int = 12
) -> str:
    """Shares (y) of a few categories (x), the series side by side; the first `most` are drawn."""
    names = list(categories)[:most]
    top = _nice_top(max((float(one.values[:most].max(initial=0)) for one in series), default=0))
    step = (WIDTH - LEFT - RIGHT) / max(len(names), 1)
    wide = 0.8 * step / max(len(series), 1)
    parts = [_y_axis(top), _x_label(x_label)]
    for place, name in enumerate(names):
        middle = LEFT + (place + 0.5) * step
        parts.append(_tick(middle, _shorten(name, int(step / 8))))
        for number, one in enumerate(series):
            share = float(one.values[place])
            x, y = middle - 0.4 * step + number * wide, _y(share, top)
            parts.append(
                f'<rect class="bar s{number % COLOURS}" x="{x:.1f}" y="{y:.1f}" '
                f'width="{max(wide - 1, 1):.1f}" height="{HEIGHT - BOTTOM - y:.1f}">'
                f"{_title(f'{one.name}, {name}: {_percent(share)}')}</rect>"
            )
    return _svg(parts, x_label)


def heat_map(counts: ArrayLike, about: str, side: int = 260) -> str:  # (G, G), rows down
    """A map of counts; the fullest cell has the full colour."""
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
    """The colours of the series; nothing for a single one."""
    if len(names) < 2:
        return ""
    keys = (
        f'<span class="key"><i class="s{number % COLOURS}"></i>{escape(name)}</span>'
        for number, name in enumerate(names)
    )
    return f'<p class="legend">{"".join(keys)}</p>'


# Parts of a plot.


def _svg(parts: Sequence[str], about: str) -> str:
    return (
        f'<svg class="plot" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{escape(about, quote=True)}">{"".join(parts)}</svg>'
    )


def _title(text: str) -> str:
    return f"<title>{escape(text)}</title>"


def _y(share: Number, top: float) -> Number:
    return HEIGHT - BOTTOM - share / top * (HEIGHT - TOP - BOTTOM)


def _nice_top(most: float) -> float:
    """The next round number above."""
    if most <= 0:
        return 1.0
    unit = 10.0 ** np.floor(np.log10(most))
    return float(next(step * unit for step in (1, 2, 2.5, 5, 10) if step * unit >= most * 0.999))


def _y_axis(top: float) -> str:
    lines = []
    for share in np.linspace(0, top, 5):
        y = _y(float(share), top)
        lines.append(
            f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
            f'<text class="axis" x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">'
            f"{_percent(float(share))}</text>"
        )
    return "".join(lines)


def _tick(x: float, text: str) -> str:
    y = HEIGHT - BOTTOM + 19
    return f'<text class="axis" x="{x:.1f}" y="{y}" text-anchor="middle">{escape(text)}</text>'


def _x_label(text: str) -> str:
    middle = (LEFT + WIDTH - RIGHT) / 2
    return (
        f'<text class="axis name" x="{middle}" y="{HEIGHT - 8}" text-anchor="middle">'
        f"{escape(text)}</text>"
    )


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"


def _shorten(text: str, most: int) -> str:
    return text if len(text) <= max(most, 3) else text[: max(most, 3) - 1] + "…"
