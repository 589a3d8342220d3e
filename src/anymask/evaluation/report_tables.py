"""The tables of an evaluation: a report in, tables of texts, notes and Markdown out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from anymask.evaluation.mask_measures import MASK_MEASURES
from anymask.evaluation.measures import MEASURES
from anymask.evaluation.metrics import Mean
from anymask.evaluation.pages import TextTable, markdown_table
from anymask.evaluation.report import EvalReport
from anymask.evaluation.set_results import MetricValue, mean_over_sets, values_to_metric
from anymask.masks import ALL_KINDS

MAIN_MEASURES = ("clicks", "box", "noc")  # these have tables of their own


def report_to_markdown(report: EvalReport) -> str:
    """All tables, then the notes."""
    parts: list[str] = []
    for table in report_tables(report):
        parts += [table.title] if table.title else []
        parts.append(markdown_table(table.header, table.rows))
    notes = "\n".join(f"- {note}" for note in report_notes(report))
    return "\n\n".join([*parts, notes]) + "\n"


def report_tables(report: EvalReport) -> list[TextTable]:
    """The main table, clicks to a goal, small masks, then each further measure."""
    names = dict.fromkeys(found.measure for scores in report.sets for found in scores.found)
    tables = [_main_table(report), _noc_table(report), _small_table(report)]
    tables += [
        _measure_table(report, name, _mask_rows(report, name))
        for name in MASK_MEASURES
        if name not in MAIN_MEASURES
    ]
    tables += [_measure_table(report, name, _set_rows(report, name)) for name in names]
    return [table for table in tables if table]


def report_notes(report: EvalReport) -> list[str]:
    """How it was measured, a line each."""
    settings = report.settings
    limits = [
        f"at most {count} masks a {what}"
        for count, what in ((settings.limit, "set"), (settings.per_image, "photo"))
        if count is not None
    ]
    lines = [
        f"model: {report.subject}, weights {report.weights_hash or 'without a hash'}",
        *(f"beside it: {name}, weights {w or 'without a hash'}" for name, w in report.peers),
        f"mean IoU of masks of at least {settings.min_area} pixels"
        + (", " + ", ".join(limits) if limits else "")
        + "; intervals: bootstrap over photos, 95 %",
        f"machine: {report.machine.line()}",
    ]
    if report.command:
        lines.append(f"command: `{report.command}`")
    lines += [f"skipped: {name}: {reason}" for name, reason in report.skipped]
    lines += list(dict.fromkeys(_list_remarks(report)))
    return lines


def _list_remarks(report: EvalReport) -> Iterator[str]:
    """What measures of whole sets have to say, and why they did not measure."""
    for scores in report.sets:
        for found in scores.found:
            if found.result is None:
                yield f"skipped: {found.measure} of {found.method}: {found.reason}"
            else:
                yield from (f"{found.measure}: {note}" for note in found.result.notes)


def _main_table(report: EvalReport) -> TextTable | None:
    pairs = [pair for pair in report.pairs() if _has_column(report, pair)]
    header = ["set", "masks"] + [_title(report, pair) for pair in pairs]
    rows = []
    for scores in report.sets:
        masks = int((scores.area >= report.settings.min_area).sum())
        cells = [report.set_mean(scores.name, pair[1], method=pair[0]).value for pair in pairs]
        rows.append([scores.name, str(masks)] + [_cell(cell) for cell in cells])
    for group in report.groups:
        means = [report.mean(pair[1], group=group, method=pair[0]) for pair in pairs]
        sets = len(report.members(group))
        rows.append(
            [f"**{group} mean**", f"{sets} sets"] + [_bold(_cell(mean.value)) for mean in means]
        )
        rows.append(["95 % interval", ""] + [_interval(mean) for mean in means])
    return TextTable("", header, rows)


def _noc_table(report: EvalReport) -> TextTable | None:
    pairs = [pair for pair in report.pairs() if pair[1].startswith("noc")]
    if not pairs:
        return None
    header = ["clicks to an IoU", "masks"] + [
        f"{method} NoC@{measure[3:]}" for method, measure in pairs
    ]
    rows = []
    for scores in report.sets:
        means = [report.set_mean(scores.name, pair[1], method=pair[0]) for pair in pairs]
        if not all(np.isnan(mean.value) for mean in means):
            cells = ["" if np.isnan(m.value) else f"{m.value:.2f}" for m in means]
            rows.append([scores.name, str(len(scores.area)), *cells])
    return TextTable("", header, rows)


def _small_table(report: EvalReport) -> TextTable | None:
    pairs = [pair for pair in report.pairs() if _has_column(report, pair)]
    rows = []
    for scores in report.sets:
        small = int((scores.area < report.settings.min_area).sum())
        if small:
            means = [
                report.set_mean(scores.name, pair[1], method=pair[0], small=True) for pair in pairs
            ]
            rows.append([scores.name, str(small)] + [_cell(mean.value) for mean in means])
    header = [f"under {report.settings.min_area} pixels", "masks"]
    header += [_title(report, pair) for pair in pairs]
    return TextTable("", header, rows) if rows else None


MetricRows = dict[tuple[str, str], Sequence[MetricValue]]  # of a set and a method


def _mask_rows(report: EvalReport, measure: str) -> MetricRows:
    """A measure of masks that has no place in the main table."""
    columns, area = (
        MASK_MEASURES[measure].columns(ALL_KINDS, report.settings),
        report.settings.min_area,
    )
    rows = {
        (scores.name, method): [
            values_to_metric(column, *scores.select(method, column, area)) for column in columns
        ]
        for scores in report.sets
        for method in dict.fromkeys(column.method for column in scores.columns)
    }
    return {key: row for key, row in rows.items() if not all(np.isnan(m.value) for m in row)}


def _set_rows(report: EvalReport, measure: str) -> MetricRows:
    """A measure of whole sets."""
    return {
        (scores.name, found.method): found.result.figures
        for scores in report.sets
        for found in scores.found
        if found.measure == measure and found.result
    }


def _measure_table(report: EvalReport, measure: str, rows: MetricRows) -> TextTable | None:
    """A row a set and method, a column a figure; groups below."""
    names = list(dict.fromkeys(figure.name for row in rows.values() for figure in row))
    if not names:
        return None
    lines = [
        [name, method, *(_figure_cell(_find_metric(row, figure)) for figure in names)]
        for (name, method), row in rows.items()
    ]
    for group in report.groups:
        members = [scores.name for scores in report.members(group)]
        for method in dict.fromkeys(method for _, method in rows):
            inside = [rows[name, method] for name in members if (name, method) in rows]
            if len(inside) > 1:
                means = [_figure_cell(_mean_figure(inside, figure)) for figure in names]
                lines.append([f"**{group} mean**", method, *(_bold(cell) for cell in means)])
    title = f"{measure}: {MEASURES[measure].about}" if measure in MEASURES else measure
    return TextTable(title, ["set", "method", *names], lines)


def _find_metric(row: Sequence[MetricValue], name: str) -> MetricValue | None:
    return next((figure for figure in row if figure.name == name), None)


def _mean_figure(rows: Sequence[Sequence[MetricValue]], name: str) -> MetricValue | None:
    """A figure's mean over the sets that have it."""
    there = [
        found for row in rows if (found := _find_metric(row, name)) and not np.isnan(found.value)
    ]
    if not there:
        return None
    mean = mean_over_sets(there)
    return MetricValue(
        name=name, value=mean.value, low=mean.low, high=mean.high, digits=there[0].digits
    )


def _figure_cell(figure: MetricValue | None) -> str:
    if figure is None or np.isnan(figure.value):
        return ""
    value, low, high = (f"{n:.{figure.digits}f}" for n in (figure.value, figure.low, figure.high))
    return value if np.isnan(figure.low) else f"{value} ({low}–{high})"


def _has_column(report: EvalReport, pair: tuple[str, str]) -> bool:
    """The table leaves out the clicks between the first and the last, and what NoC shows."""
    last = f"{report.settings.clicks} clicks"
    return pair[1] in ("1 click", "oracle", "box", last)


def _title(report: EvalReport, pair: tuple[str, str]) -> str:
    method, measure = pair
    return measure if method == report.subject else f"{method}: {measure}"


def _cell(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.3f}"


def _bold(text: str) -> str:
    return text and f"**{text}**"


def _interval(mean: Mean) -> str:
    return "" if np.isnan(mean.value) else f"{mean.low:.3f}–{mean.high:.3f}"
