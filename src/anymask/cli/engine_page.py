"""Report page of a project: figures and rounds in, one HTML page out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from anymask.engine.figures import Figures, Share


def figures_to_html(figures: Figures, rounds: Sequence[dict[str, Any]] = ()) -> str:
    """A self-contained page of tables and plots.

    rounds  of training, as `Project.rounds` tells them
    """
    from anymask.engine.figures import summary, tables
    from anymask.reports.page import html_page, html_table, section, sheets

    parts = [section(title, html_table(header, rows)) for title, header, rows in tables(figures)]
    plots = [*_paces(figures), *_rounds(rounds), *_coverage("labels", figures.labels)]
    plots += _coverage("groups", figures.groups)
    if plots:
        parts.insert(0, sheets(*plots))
    if rounds:
        header = ["round", "masks", "before", "after", "gain", "95 %", "leads"]
        rows = [
            [str(row["round"]), str(row["train_masks"]), f"{row['before']:.3f}",
             f"{row['after']:.3f}", f"{row['gain']:+.3f}",
             f"{row['low']:+.3f} to {row['high']:+.3f}", "yes" if row["promoted"] else "no"]
            for row in rounds
        ]  # fmt: skip
        parts.append(section("Rounds of training", html_table(header, rows)))
    return html_page(figures.name, summary(figures), parts)


def _paces(figures: Figures) -> list[tuple[str, str]]:
    """Seconds a mask as shares of the slowest way."""
    from anymask.reports.plots import Series, bar_plot

    known = [pace for pace in figures.paces if pace.masks and pace.seconds]
    if not known:
        return []
    slowest = max(pace.seconds_a_mask for pace in known)
    names = [
        f"{'no model' if p.arm == 'control' else p.stage} {p.seconds_a_mask:.1f} s" for p in known
    ]
    values = np.array([pace.seconds_a_mask / slowest for pace in known])
    plot = bar_plot(names, [Series("seconds a mask", values)], "seconds a mask, of the slowest way")
    return [("Time", plot)]


def _rounds(rounds: Sequence[dict[str, Any]]) -> list[tuple[str, str]]:
    from anymask.reports.plots import Points, curve_plot, legend

    if not rounds:
        return []
    x = np.array([float(row["round"]) for row in rounds])
    curves = [
        Points(name, x, np.array([float(row[key]) for row in rounds]))
        for name, key in (("leading model", "before"), ("new model", "after"))
    ]
    plot = curve_plot(curves, "round") + legend([curve.name for curve in curves])
    return [("mIoU on held-out photos", plot)]


def _coverage(what: str, shares: Sequence[Share]) -> list[tuple[str, str]]:
    from anymask.reports.plots import Series, bar_plot

    if len(shares) < 2:
        return []
    total = sum(share.masks for share in shares)
    values = np.array([share.masks / total for share in shares])
    plot = bar_plot([share.name for share in shares], [Series("masks", values)], what)
    return [(f"Masks by {what}", plot)]
