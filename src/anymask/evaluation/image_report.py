"""Reports of evaluations on images: tables, plots, notes and images of the worst cases."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import cv2
import numpy as np

from anymask.evaluation.measures import MASK_MEASURES, MEASURES, click_name
from anymask.evaluation.metrics import Mean
from anymask.evaluation.page import Points, Series, curve_plot, jpeg_bytes, legend, line_plot
from anymask.evaluation.protocols import Segmenter, tight_box
from anymask.evaluation.report import Report, Section, Shot, TextTable
from anymask.evaluation.results import (
    Evaluation,
    MetricValue,
    SetScores,
    evaluation_to_json,
    mean_over_sets,
    values_to_metric,
)
from anymask.evaluation.selection import EvalImage, EvalSet
from anymask.masks import ALL_KINDS, Prompt, center_click, contours, iou

MAIN_MEASURES = ("clicks", "box", "noc")  # shown in the main tables
IOU_BINS = np.linspace(0, 1, 21)
REPORTED_PROMPTS = ("1 click", "box")  # shown as distributions and worst cases
TRUTH, ANSWER = (40, 200, 80), (240, 60, 180)
IMAGE_SIDE = 220
IMAGE_MARGIN = 0.35  # margin relative to the object's longer side
JPEG_QUALITY = 80


def report_images(run: Evaluation, cases: Mapping[str, Sequence[Shot]] | None = None) -> Report:
    """Create the report of a run; `cases` are images of the worst cases by dataset name."""
    measures = dict.fromkeys(result.measure for scores in run.sets for result in scores.found)
    main = [_main_table(run), _harm_table(run), _noc_table(run), _small_table(run)]
    sections = [Section(tables=[table for table in main if table])]
    for name in (*(name for name in MASK_MEASURES if name not in MAIN_MEASURES), *measures):
        rows: MetricRows = (
            _rows_of_mask_measure(run, name)
            if name in MASK_MEASURES
            else {
                (scores.name, result.method): result.figures
                for scores in run.sets
                for result in scores.found
                if result.measure == name and not result.reason
            }
        )
        if table := _measure_table(run, rows):
            title = f"{name}: {MEASURES[name].about}" if name in MEASURES else name
            tables, plots = [table, *_details(run, name)], [*_curves(run, name)]
            sections.append(Section(title=title, tables=tables, plots=plots))
    sections += [
        Section(title="Clicks", plots=_click_plots(run)),
        Section(title="Distribution of IoU", plots=_distribution_plots(run)),
        *(
            Section(title=f"Worst cases of {name}", images=images)
            for name, images in (cases or {}).items()
            if images
        ),
    ]
    limits = "".join(
        f", at most {count} masks per {what}"
        for count, what in ((run.settings.limit, "set"), (run.settings.per_image, "image"))
        if count is not None
    )
    weights = f"weights {run.weights_hash or 'without a hash'}"
    notes = [
        f"model: {run.subject}, {weights}",
        *(f"compared with: {name}, weights {w or 'without a hash'}" for name, w in run.peers),
        f"mean IoU over masks of at least {run.settings.min_area} pixels{limits}; intervals are 95 "
        "% bootstrap intervals over images",
        f"machine: {run.machine.line()}",
        *([f"command: `{run.command}`"] if run.command else []),
        *(f"skipped: {name}: {reason}" for name, reason in run.skipped),
        *(
            ["worst cases: ground truth in green, prediction in pink, each click as a red dot"]
            * bool(cases)
        ),
    ]
    for result in (result for scores in run.sets for result in scores.found):
        notes += [f"skipped: {result.measure} of {result.method}: {result.reason}"] * bool(
            result.reason
        )
        notes += [f"{result.measure}: {note}" for note in result.notes]
    masks = sum(len(scores.area) for scores in run.sets)
    return Report(
        title=f"{run.subject} on {run.data or 'its sets'}",
        about=f"anymask evaluate: {len(run.sets)} sets, {masks} masks, {weights}",
        sections=[
            section for section in sections if section.tables or section.plots or section.images
        ],
        notes=list(dict.fromkeys(notes)),
        rows=list(_rows(run)),
        data=evaluation_to_json(run),
    )


def _rows(run: Evaluation) -> Iterator[dict[str, Any]]:
    """Yield every metric of every dataset, from its masks or from measures per dataset."""
    for scores in run.sets:
        means: list[tuple[str, str, Mean | MetricValue]] = [
            (method, measure, run.set_mean(scores.name, measure, method=method))
            for method, measure in scores.columns
        ]
        for result in scores.found:
            means += [(result.method, f"{result.measure}: {m.name}", m) for m in result.figures]
        for method, measure, mean in means:
            yield {
                "set": scores.name, "method": method, "measure": measure, "mean": mean.value,
                "low": mean.low, "high": mean.high,
            }  # fmt: skip


def _main_columns(run: Evaluation) -> list[tuple[str, str]]:
    """Return the columns without intermediate clicks and NoC."""
    shown = ("1 click", "oracle", "box", f"{run.settings.clicks} clicks")
    return [pair for pair in run.pairs() if pair[1] in shown]


def _main_table(run: Evaluation) -> TextTable:
    pairs = _main_columns(run)
    rows = []
    for scores in run.sets:
        masks = str((scores.area >= run.settings.min_area).sum())
        rows.append([scores.name, masks, *map(_cell, _means(run, scores, pairs))])
    for group in run.groups:
        means = [run.mean(measure, group=group, method=method) for method, measure in pairs]
        bold = [_bold(_cell(mean.value)) for mean in means]
        rows.append([f"**{group} mean**", f"{len(run.members(group))} sets", *bold])
        spans = [f"{m.low:.3f}–{m.high:.3f}" if m.low < m.high else "" for m in means]
        rows.append(["95 % interval", "", *spans])
    return TextTable(["set", "masks", *(_title(run, pair) for pair in pairs)], rows)


def _means(
    run: Evaluation, scores: SetScores, pairs: Sequence[tuple[str, str]], small: bool = False
) -> list[float]:
    """Return the mean of each method and measure of a dataset, or of its small masks."""
    means = (run.set_mean(scores.name, m, method=method, small=small) for method, m in pairs)
    return [mean.value for mean in means]


def _noc_table(run: Evaluation) -> TextTable | None:
    pairs = [pair for pair in run.pairs() if pair[1].startswith("noc")]
    rows = [
        [scores.name, str(len(scores.area)), *("" if np.isnan(n) else f"{n:.2f}" for n in means)]
        for scores in run.sets
        if not np.isnan(means := _means(run, scores, pairs)).all()
    ]
    names = [f"{method} NoC@{measure[3:]}" for method, measure in pairs]
    return TextTable(["clicks to reach an IoU", "masks", *names], rows) if pairs else None


def _harm_table(run: Evaluation) -> TextTable | None:
    """Table of the fraction of clicks after the first one that lower the IoU."""
    pairs = [pair for pair in run.pairs() if pair[1].startswith("harm")]
    rows = [
        [scores.name, *map(_cell, means)]
        for scores in run.sets
        if not np.isnan(means := _means(run, scores, pairs)).all()
    ]
    for group in run.groups if pairs else ():
        means = [run.mean(pair[1], group=group, method=pair[0]).value for pair in pairs]
        rows.append([f"**{group} mean**", *(_bold(_cell(mean)) for mean in means)])
    names = [_title(run, pair) for pair in pairs]
    return TextTable(["share of clicks that lower the IoU", *names], rows) if rows else None


def _small_table(run: Evaluation) -> TextTable | None:
    pairs, least = _main_columns(run), run.settings.min_area
    rows = [
        [scores.name, str(small), *map(_cell, _means(run, scores, pairs, small=True))]
        for scores in run.sets
        if (small := int((scores.area < least).sum()))
    ]
    header = [f"under {least} pixels", "masks", *(_title(run, pair) for pair in pairs)]
    return TextTable(header, rows) if rows else None


MetricRows = dict[tuple[str, str], Sequence[MetricValue]]  # by dataset and method


def _rows_of_mask_measure(run: Evaluation, measure: str) -> MetricRows:
    """Return mean values, by dataset and method, of a measure that is computed for each mask."""
    columns = MASK_MEASURES[measure].columns(ALL_KINDS, run.settings)
    rows = {
        (scores.name, method): [
            values_to_metric(column, *scores.select(method, column, run.settings.min_area))
            for column in columns
        ]
        for scores in run.sets
        for method in dict.fromkeys(method for method, _ in scores.columns)
    }
    return {key: row for key, row in rows.items() if not all(np.isnan(m.value) for m in row)}


def _measure_table(run: Evaluation, rows: MetricRows) -> TextTable | None:
    """Table with a row for each dataset and method, a column for each metric; groups below."""
    names = list(dict.fromkeys(figure.name for row in rows.values() for figure in row))
    by_name = {key: {figure.name: figure for figure in row} for key, row in rows.items()}
    lines = [
        [*key, *(_figure_cell(row.get(figure)) for figure in names)] for key, row in by_name.items()
    ]
    for group in run.groups:
        members = [scores.name for scores in run.members(group)]
        for method in dict.fromkeys(method for _, method in rows):
            inside = [by_name[name, method] for name in members if (name, method) in rows]
            if len(inside) > 1:
                cells = [_figure_cell(_mean_figure([row.get(n) for row in inside])) for n in names]
                lines.append([f"**{group} mean**", method, *map(_bold, cells)])
    return TextTable(["set", "method", *names], lines) if names else None


def _mean_figure(figures: Sequence[MetricValue | None]) -> MetricValue | None:
    """Mean of a metric over the datasets that have it."""
    there = [figure for figure in figures if figure is not None and not np.isnan(figure.value)]
    if not there:
        return None
    return MetricValue(name="", **vars(mean_over_sets(there)), digits=there[0].digits)


def _figure_cell(figure: MetricValue | None) -> str:
    if figure is None or np.isnan(figure.value):
        return ""
    value, low, high = (f"{n:.{figure.digits}f}" for n in (figure.value, figure.low, figure.high))
    return f"{value} ({low}–{high})" if figure.low < figure.high else value


def _title(run: Evaluation, pair: tuple[str, str]) -> str:
    method, measure = pair
    return measure if method == run.subject else f"{method}: {measure}"


def _cell(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.3f}"


def _bold(text: str) -> str:
    return text and f"**{text}**"


def _details(run: Evaluation, measure: str) -> Iterator[TextTable]:
    """Yield the collapsed detail tables of measures per dataset."""

    def text(cell: str | float) -> str:
        if isinstance(cell, str):
            return cell
        if np.isnan(cell):
            return ""
        return str(int(cell)) if cell == int(cell) and abs(cell) > 1 else f"{cell:.3f}"

    for scores in run.sets:
        for result in scores.found:
            for table in result.tables if result.measure == measure else ():
                title = f"{scores.name}, {result.method}: {table.title}"
                rows = [[text(cell) for cell in row] for row in table.rows]
                yield TextTable(table.header, rows, title, folded=True)


def _click_plots(run: Evaluation) -> list[tuple[str, str]]:
    """Plot the mean IoU after 1, 2, ... clicks: one plot per group, one line per method."""
    plots = []
    rounds = range(1, run.settings.clicks + 1)
    for group in run.groups:
        curves = []
        for method in dict.fromkeys(method for method, _ in run.pairs()):
            means = [run.mean(click_name(n), group=group, method=method).value for n in rounds]
            if np.isfinite(means).any():
                curves.append(Points(method, np.array(rounds, np.float64), np.array(means)))
        if curves:
            plot = curve_plot(curves, "clicks") + legend([curve.name for curve in curves])
            plots.append((f"{group}: mean IoU", plot))
    return plots


def _distribution_plots(run: Evaluation) -> list[tuple[str, str]]:
    """Plot the IoU histogram of the evaluated model for every dataset."""
    plots = []
    for scores in run.sets:
        series = []
        for way in REPORTED_PROMPTS:
            values, _ = scores.select(run.subject, way, run.settings.min_area)
            if len(values):
                series.append(Series(way, np.histogram(values, IOU_BINS)[0] / len(values)))
        if series:
            plot = line_plot(IOU_BINS, series, "IoU", "{:.1f}".format)
            plot += legend([line.name for line in series])
            plots.append((f"{scores.name}: share of masks", plot))
    return plots


def _curves(run: Evaluation, measure: str) -> Iterator[tuple[str, str]]:
    """Yield a plot for each title of a dataset's curves, with one line per method."""
    for scores in run.sets:
        titles: dict[tuple[str, str, str], list[Points]] = {}
        for result in scores.found:
            for curve in result.curves if result.measure == measure else ():
                key = curve.title, curve.x_label, curve.y_label
                titles.setdefault(key, []).append(Points(result.method, curve.x, curve.y))
        for (title, x_label, y_label), lines in titles.items():
            plot = curve_plot(lines, x_label) + legend([line.name for line in lines])
            yield f"{scores.name}, {title}: {y_label}", plot


def draw_worst_cases(
    method: Segmenter, one: EvalSet, scores: SetScores, min_area: int, count: int = 3
) -> list[Shot]:
    """Draw the `count` lowest scores of a dataset for one click and for the box.

    Predictions are repeated. At most one mask of each image is shown.
    """
    images = []
    for way in REPORTED_PROMPTS:
        values = scores.columns.get((method.spec.name, way))
        if values is None:
            continue
        lowest: dict[int, int] = {}
        for row in np.argsort(values, kind="stable"):
            if scores.area[row] >= min_area and not np.isnan(values[row]):
                lowest.setdefault(int(scores.image[row]), int(row))
        images += [
            _draw_case(method, one, scores, row, way) for row in list(lowest.values())[:count]
        ]
    return images


def _draw_case(method: Segmenter, one: EvalSet, scores: SetScores, row: int, way: str) -> Shot:
    """Draw a crop around the object, IMAGE_SIDE pixels long, with both outlines and the click."""
    index, mask = int(scores.image[row]), int(scores.mask[row])
    image = EvalImage(index, one.samples[index], scores.mask[row : row + 1])
    (truth,) = image.truths()
    clicked = [center_click(truth.mask)] if way == "1 click" else []
    box = tight_box(truth.mask)
    prompt = Prompt.of(points=clicked) if clicked else Prompt(box=box)
    (answer,) = method.segment(method.encode(image.image), prompts=[prompt])
    predicted = answer.masks[0]

    room = IMAGE_MARGIN * max(box[2] - box[0], box[3] - box[1]) + 8
    left, top = (max(int(side - room), 0) for side in box[:2])
    window = (slice(top, int(box[3] + room)), slice(left, int(box[2] + room)))
    part = image.image[window]
    scale = IMAGE_SIDE / max(part.shape[:2])
    size = (max(round(part.shape[1] * scale), 1), max(round(part.shape[0] * scale), 1))
    kind = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    small = np.asarray(cv2.resize(part, size, interpolation=kind), np.uint8)
    both = [
        cv2.resize(each[window].astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0
        for each in (truth.mask, predicted)
    ]
    drawn = contours(small, np.stack(both), palette=[TRUTH, ANSWER], width=2)
    for x, y in clicked:
        at = (round((round(x) + 0.5 - left) * scale), round((round(y) + 0.5 - top) * scale))
        cv2.circle(drawn, at, 4, (255, 255, 255), cv2.FILLED, cv2.LINE_AA)
        cv2.circle(drawn, at, 3, (220, 30, 30), cv2.FILLED, cv2.LINE_AA)
    fit = iou(predicted, truth.mask, truth.ignore)
    label = image.sample.objects[mask].label
    words = (
        f"{way}: IoU {fit:.2f}, {image.sample.name}, mask {mask}{f' ({label})' if label else ''}"
    )
    return Shot(jpeg_bytes(drawn, JPEG_QUALITY), [words])
