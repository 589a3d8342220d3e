"""The page of an evaluation: a report in, one HTML file with tables, plots and pictures out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape

import numpy as np

from anymask.evaluation.mask_measures import click_name
from anymask.evaluation.pages import (
    html_page,
    html_table,
    note,
    picture_tag,
    section,
    sheets,
    table_to_html,
)
from anymask.evaluation.plots import Points, Series, curve_plot, legend, line_plot
from anymask.evaluation.report import EvalReport, SetScores
from anymask.evaluation.report_tables import report_notes, report_tables
from anymask.evaluation.worst_cases import CasePicture

IOU_BINS = np.linspace(0, 1, 21)
MOST_PLOTS = 24  # plots of a measure that are shown at once
SHOWN_COLUMNS = ("1 click", "box")  # whose distribution is drawn


def report_to_html(
    report: EvalReport, shots: Mapping[str, Sequence[CasePicture]] | None = None
) -> str:
    """The page; `shots` are pictures of worst cases by the set's name.

    Nothing in it is fetched and nothing runs: it can be mailed, and opened without a network.
    """
    tables = report_tables(report)
    parts = [
        section("Mean IoU", *(table_to_html(table) for table in tables if not table.title)),
        *(section(table.title, table_to_html(table)) for table in tables if table.title),
        section("Clicks", _click_plots(report)),
        section("How the masks are spread over IoU", _distribution_plots(report)),
        *_found_sections(report),
    ]
    if shots:
        parts.append(section("Worst cases", *_case_figures(report, shots)))
    parts.append(section("How it was measured", _list(report_notes(report))))
    title = f"{report.subject} on {report.suite or 'its sets'}"
    masks = sum(len(scores.area) for scores in report.sets)
    about = (
        f"anymask evaluate: {len(report.sets)} sets, {masks} masks, weights {report.weights_hash}"
    )
    return html_page(title, about, [part for part in parts if part])


def _list(lines: Sequence[str]) -> str:
    return f"<ul>{''.join(f'<li>{escape(line)}</li>' for line in lines)}</ul>"


def _methods(report: EvalReport) -> list[str]:
    return list(dict.fromkeys(method for method, _ in report.pairs()))


def _click_plots(report: EvalReport) -> str:
    """Mean IoU after 1, 2, ... clicks: a plot a group, a line a method."""
    plots = []
    rounds = range(1, report.settings.clicks + 1)
    for group in report.groups:
        curves = []
        for method in _methods(report):
            means = [report.mean(click_name(n), group=group, method=method) for n in rounds]
            values = np.array([mean.value for mean in means])
            if np.isfinite(values).any():
                curves.append(Points(method, np.array(rounds, np.float64), values))
        if curves:
            names = [curve.name for curve in curves]
            plots.append((f"{group}: mean IoU", curve_plot(curves, "clicks") + legend(names)))
    return sheets(*plots)


def _distribution_plots(report: EvalReport) -> str:
    """The subject's histogram of IoU on every set."""
    plots = []
    for scores in report.sets:
        series = []
        for way in SHOWN_COLUMNS:
            values, _ = scores.select(report.subject, way, report.settings.min_area)
            if len(values):
                shares = np.histogram(values, IOU_BINS)[0] / len(values)
                series.append(Series(way, shares))
        if series:
            names = [one.name for one in series]
            plot = line_plot(IOU_BINS, series, "IoU", lambda x: f"{x:.1f}")
            plots.append((f"{scores.name}: share of masks", plot + legend(names)))
    return sheets(*plots)


def _found_sections(report: EvalReport) -> Iterator[str]:
    """Curves and details of the measures of whole sets; what is long is folded."""
    names = dict.fromkeys(found.measure for scores in report.sets for found in scores.found)
    for name in names:
        plots = [plot for scores in report.sets for plot in _curves(scores, name)]
        drawn = sheets(*plots)
        parts = [drawn if len(plots) <= MOST_PLOTS else _fold(f"{len(plots)} plots", drawn)]
        parts = parts if plots else []
        parts += [part for scores in report.sets for part in _details(scores, name)]
        if parts:
            yield section(f"{name}: details", *parts)


def _curves(scores: SetScores, measure: str) -> Iterator[tuple[str, str]]:
    """A plot for each title of a set's curves, a line a method."""
    titles: dict[str, list[Points]] = {}
    labels: dict[str, tuple[str, str]] = {}
    for found in scores.found:
        for curve in found.result.curves if found.measure == measure and found.result else ():
            titles.setdefault(curve.title, []).append(Points(found.method, curve.x, curve.y))
            labels[curve.title] = curve.x_label, curve.y_label
    for title, curves in titles.items():
        x_label, y_label = labels[title]
        plot = curve_plot(curves, x_label) + legend([curve.name for curve in curves])
        yield f"{scores.name}, {title}: {y_label}", plot


def _details(scores: SetScores, measure: str) -> Iterator[str]:
    for found in scores.found:
        for table in found.result.tables if found.measure == measure and found.result else ():
            rows = [[_text(cell) for cell in row] for row in table.rows]
            title = f"{scores.name}, {found.method}: {table.title}"
            yield _fold(title, html_table(table.header, rows))


def _text(cell: str | float) -> str:
    if isinstance(cell, str):
        return cell
    if np.isnan(cell):
        return ""
    return str(int(cell)) if cell == int(cell) and abs(cell) > 1 else f"{cell:.3f}"


def _fold(title: str, content: str) -> str:
    return f"<details><summary>{escape(title)}</summary>{content}</details>"


def _case_figures(report: EvalReport, shots: Mapping[str, Sequence[CasePicture]]) -> Iterator[str]:
    yield note("Green is the truth, pink the answer, the red dot the click.")
    for scores in report.sets:
        figures = "".join(_figure(shot) for shot in shots.get(scores.name, ()))
        if figures:
            yield f'<h3>{escape(scores.name)}</h3><div class="shots">{figures}</div>'


def _figure(shot: CasePicture) -> str:
    caption = f'<figcaption class="note">{escape(shot.caption)}</figcaption>'
    return f"<figure>{picture_tag(shot.jpeg, shot.caption)}{caption}</figure>"
