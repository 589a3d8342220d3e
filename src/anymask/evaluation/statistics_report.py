"""Report on data sets side by side: statistics in, Markdown, JSON and a page with plots out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from anymask.evaluation.pages import (
    TextTable,
    html_page,
    html_table,
    markdown_table,
    note,
    section,
    sheets,
)
from anymask.evaluation.plots import Series, bar_plot, heat_map, legend, line_plot
from anymask.evaluation.statistics import Histogram, SetStatistics, reweight_concavity

STATISTICS_FORMAT = 1
MOST_LABELS = 20  # rows of the tables of labels and groups; JSON has all
MASK_BINS = ("none", "1-10", "11-50", "51-100", "101-200", "more")
NOT_COUNTED = "–"


# Tables.


def statistics_tables(sets: Sequence[SetStatistics]) -> list[TextTable]:
    """The tables of a page, those without a row left out."""
    names = tuple(found.name for found in sets)
    tables = [
        TextTable("Overview", ("", *names), tuple(_overview(sets))),
        TextTable("Masks an image", ("share of images with", *names), _bins_rows(sets)),
        _label_table(sets),
        *(_group_table(found) for found in sets if found.groups),
    ]
    return [table for table in tables if table.rows]


Cell = Callable[[SetStatistics], str]
_ROWS: tuple[tuple[str, Cell], ...] = (
    ("images", lambda s: f"{s.images:,}"),
    ("images without a mask", lambda s: f"{s.bare:,}"),
    ("image size, median", lambda s: f"{_number(s.width.quantile(0.5), 0)} × "
     f"{_number(s.height.quantile(0.5), 0)}"),
    ("megapixels, least / median / most", lambda s: _format_range(s.megapixels, 3)),
    ("masks", lambda s: f"{s.masks:,}"),
    ("masks an image, mean", lambda s: _number(s.per_image.mean, 1)),
    ("masks an image, least / median / most", lambda s: _format_range(s.per_image, 0)),
    ("empty masks", lambda s: f"{s.empty:,}"),
    ("crowds, not measured", lambda s: f"{s.crowds:,}"),
    ("relative mask size, mean", lambda s: _number(s.size.mean, 3)),
    ("relative mask size, 10 / 50 / 90 %", lambda s: _quantiles(s.size)),
    ("small / medium / large", lambda s: _shares(s.coco_sizes)),
    ("coverage of an image, mean", lambda s: _number(s.coverage.mean, 3)),
    ("covered twice, mean", lambda s: _number(s.overlap.mean, 3)),
    ("concavity, mean", lambda s: _number(s.concavity.mean, 3)),
    ("concavity, 10 / 50 / 90 %", lambda s: _quantiles(s.concavity)),
    ("boxes at least as wide as high", lambda s: _percent(s.aspect.shares[50:].sum(), s.aspect.n)),
    ("several parts", lambda s: _percent(s.parts.shares[2:].sum(), s.parts.n)),
    ("holes", lambda s: _percent(s.holes.shares[1:].sum(), s.holes.n)),
    ("pairs with an IoU over .95", lambda s: f"{s.pairs:,} in {s.paired_images:,} images"),
    ("labels", lambda s: f"{len(s.labels):,}"),
)  # fmt: skip


def _overview(sets: Sequence[SetStatistics]) -> list[tuple[str, ...]]:
    rows = [(name, *(cell(found) for found in sets)) for name, cell in _ROWS]
    if len(sets) > 1:
        means = [_histogram_mean(found) for found in reweight_concavity(list(sets))]
        texts = tuple(_number(mean, 3) for mean in means)
        place = next(n for n, row in enumerate(rows) if row[0] == "concavity, mean")
        rows.insert(place + 1, ("concavity at equal sizes, mean", *texts))
    return rows


def _histogram_mean(shares: np.ndarray[Any, Any]) -> float:
    middles = (np.arange(len(shares)) + 0.5) / len(shares)
    return float((shares * middles).sum()) if shares.sum() else float("nan")


def _bins_rows(sets: Sequence[SetStatistics]) -> tuple[tuple[str, ...], ...]:
    bins = [found.per_image_bins() for found in sets]
    return tuple(
        (name, *(_percent(counts[place] / max(counts.sum(), 1), 1) for counts in bins))
        for place, name in enumerate(MASK_BINS)
    )


def _label_table(sets: Sequence[SetStatistics]) -> TextTable:
    total = {label: 0 for found in sets for label in found.labels}
    for found in sets:
        for label, count in found.labels.items():
            total[label] += count
    order = sorted(total, key=lambda label: (-total[label], label))
    rows = tuple(
        (label, *(f"{found.labels[label]:,}" for found in sets)) for label in order[:MOST_LABELS]
    )
    hidden = len(order) - len(rows)
    more = f"{hidden} more labels; --json FILE has all" if hidden else ""
    return TextTable(
        "Labels", ("masks with the label", *(found.name for found in sets)), rows, more
    )


def _group_table(found: SetStatistics) -> TextTable:
    order = sorted(found.groups.items(), key=lambda item: (-item[1].masks, item[0]))
    rows = tuple(
        (
            name,
            f"{group.images:,}",
            _percent(group.images / max(found.images, 1), 1),
            f"{group.masks:,}",
            _percent(group.masks / max(found.masks, 1), 1),
            _number(group.masks / max(group.images, 1), 1),
            _number(group.size.quantile(0.5), 3),
        )
        for name, group in order[:MOST_LABELS]
    )
    header = ("group", "images", "of all", "masks", "of all", "masks an image", "median size")
    hidden = len(order) - len(rows)
    more = f"{hidden} more groups; --json FILE has all" if hidden else ""
    return TextTable(f"Groups of {found.name}", header, rows, more)


def _number(value: float, digits: int) -> str:
    return NOT_COUNTED if np.isnan(value) else f"{value:,.{digits}f}"


def _percent(share: float, there: float) -> str:
    return f"{100 * share:.1f} %" if there else NOT_COUNTED


def _format_range(tally: Histogram, digits: int) -> str:
    if not tally.n:
        return NOT_COUNTED
    values = (tally.least, tally.quantile(0.5), tally.most)
    return " / ".join(_number(value, digits) for value in values)


def _quantiles(tally: Histogram) -> str:
    return " / ".join(_number(tally.quantile(q), 3) for q in (0.1, 0.5, 0.9))


def _shares(counts: np.ndarray[Any, Any]) -> str:
    total = int(counts.sum())
    return " / ".join(_percent(count / max(total, 1), total) for count in counts)


# Markdown.


def statistics_to_markdown(sets: Sequence[SetStatistics]) -> str:
    """All tables, for people."""
    parts = []
    for table in statistics_tables(sets):
        align = "l" + "r" * (len(table.header) - 1)
        parts += [f"### {table.title}", markdown_table(table.header, table.rows, align)]
        parts += [table.more] if table.more else []
    return "\n\n".join([*parts, *list_unread(sets)]) + "\n"


def list_unread(sets: Sequence[SetStatistics]) -> list[str]:
    """What was in the files and has no place in our records."""
    return [
        f"{found.name}: not read: " + ", ".join(f"{n} {kind}" for kind, n in found.unread.items())
        for found in sets
        if found.unread
    ]


# JSON.


def statistics_to_json(sets: Sequence[SetStatistics]) -> dict[str, Any]:
    """Every count, with the histograms; NaN becomes null."""
    return {"format": STATISTICS_FORMAT, "sets": [_set_to_json(found) for found in sets]}


def _set_to_json(found: SetStatistics) -> dict[str, Any]:
    tallies = {name: value for name, value in vars(found).items() if isinstance(value, Histogram)}
    counts = ("images", "bare", "masks", "empty", "crowds", "pairs", "paired_images")
    small, medium, large = found.coco_sizes.tolist()
    return {
        "name": found.name,
        "form": found.form,
        **{name: getattr(found, name) for name in counts},
        "coco_sizes": {"small": small, "medium": medium, "large": large},
        "per_image_bins": dict(zip(MASK_BINS, found.per_image_bins().tolist(), strict=True)),
        **{name: histogram_to_json(tally) for name, tally in tallies.items()},
        "centres": found.centres.tolist(),
        "concave_by_size": found.concave_by_size.tolist(),
        "labels": dict(found.labels.most_common()),
        "groups": {
            name: {
                "images": group.images,
                "masks": group.masks,
                "size": histogram_to_json(group.size),
            }
            for name, group in sorted(found.groups.items())
        },
        "unread": found.unread,
    }


def histogram_to_json(tally: Histogram) -> dict[str, Any]:
    """A histogram up to its last bin that holds something, and its numbers."""
    filled = np.flatnonzero(tally.counts)
    end = int(filled[-1]) + 1 if len(filled) else 0
    start = int(filled[0]) if len(filled) else 0
    quantiles = {f"p{round(100 * q)}": tally.quantile(q) for q in (0.1, 0.25, 0.5, 0.75, 0.9)}
    numbers = {"mean": tally.mean, "least": tally.least, "most": tally.most, **quantiles}
    return {
        "n": tally.n,
        **{key: float(f"{v:.6g}") if np.isfinite(v) else None for key, v in numbers.items()},
        "edges": [float(f"{edge:.6g}") for edge in tally.edges[start : end + 1]] if end else [],
        "counts": tally.counts[start:end].tolist(),
    }


# The page.


def statistics_to_html(sets: Sequence[SetStatistics], made_by: str) -> str:
    """One self-contained page.

    made_by  the command line, in words
    """
    names = [found.name for found in sets]
    tables = statistics_tables(sets)
    overview, rest = tables[0], tables[1:]
    parts = [
        html_table(overview.header, overview.rows),
        legend(names),
        section("Images and masks", sheets(*_image_plots(sets))),
        section("Shapes", sheets(*_shape_plots(sets))),
        section("Where masks lie", *_maps(sets)),
        *(
            section(table.title, html_table(table.header, table.rows), note(table.more))
            for table in rest
        ),
        *(note(line) for line in list_unread(sets)),
    ]
    title = "Data set: " + names[0] if len(names) == 1 else f"{len(names)} data sets"
    return html_page(title, made_by, parts)


def _series(
    sets: Sequence[SetStatistics], pick: Callable[[SetStatistics], Histogram]
) -> list[Series]:
    return [Series(found.name, pick(found).shares) for found in sets]


def _image_plots(sets: Sequence[SetStatistics]) -> list[tuple[str, str]]:
    bins = [found.per_image_bins() / max(found.images, 1) for found in sets]
    per_image = [Series(found.name, row) for found, row in zip(sets, bins, strict=True)]
    sizes = [
        Series(found.name, found.coco_sizes / max(found.coco_sizes.sum(), 1)) for found in sets
    ]
    pixels = _trim_empty_bins(sets, lambda found: found.megapixels)
    unit = np.linspace(0, 1, 101)
    coverage = _merge_bins(_series(sets, lambda found: found.coverage), 4)
    return [
        ("Masks an image", bar_plot(MASK_BINS, per_image, "masks in one image")),
        ("Sizes by COCO's limits",
         bar_plot(("under 32²", "under 96²", "larger"), sizes, "area in pixels")),
        ("Sizes of images", line_plot(*pixels, "megapixels", lambda x: f"{x:.2g}", log=True)),
        ("Coverage", line_plot(unit[::4], coverage, "share of the image under masks", _two)),
    ]  # fmt: skip


def _shape_plots(sets: Sequence[SetStatistics]) -> list[tuple[str, str]]:
    unit = np.linspace(0, 1, 101)
    size = _merge_bins(_series(sets, lambda found: found.size), 2)
    shared = reweight_concavity(list(sets))
    concave = _merge_bins([Series(s.name, row) for s, row in zip(sets, shared, strict=True)], 4)
    equal = ", at equal sizes" if len(sets) > 1 else ""
    aspect = _merge_bins(_series(sets, lambda found: found.aspect), 2)
    ratios = np.linspace(-5, 5, 51)
    few = ("1", "2", "3", "4", "5", "more")
    parts = [Series(s.name, _first_shares(s.parts.shares[1:], 6)) for s in sets]
    holes = [Series(s.name, _first_shares(s.holes.shares, 6)) for s in sets]
    return [
        ("Relative mask size", line_plot(unit[::2], size, "√(mask area / image area)", _two)),
        ("Concavity" + equal, line_plot(unit[::4], concave, "1 − area / convex hull", _two)),
        ("Boxes", line_plot(ratios, aspect, "width / height of the box", _ratio)),
        ("Parts", bar_plot(few, parts, "regions of one mask")),
        ("Holes", bar_plot(("0", "1", "2", "3", "4", "more"), holes, "holes in one mask")),
    ]


def _maps(sets: Sequence[SetStatistics]) -> list[str]:
    boxes = [(s.name, heat_map(s.centres, f"centres of the masks of {s.name}")) for s in sets]
    return [sheets(*boxes), note("Centres of masks over the image's width and height.")]


def _first_shares(shares: np.ndarray[Any, Any], n: int) -> np.ndarray[Any, Any]:
    """The first n - 1 shares, and all others in one."""
    return np.concatenate([shares[: n - 1], [shares[n - 1 :].sum()]])


def _merge_bins(series: Sequence[Series], step: int) -> list[Series]:
    """Several bins in one, for calmer lines."""
    return [Series(one.name, one.values.reshape(-1, step).sum(axis=1)) for one in series]


def _trim_empty_bins(
    sets: Sequence[SetStatistics], pick: Callable[[SetStatistics], Histogram]
) -> tuple[np.ndarray[Any, Any], list[Series]]:
    """The bins from the first to the last that hold something in some set, with one more around."""
    tallies = [pick(found) for found in sets]
    filled = np.flatnonzero(np.sum([tally.counts for tally in tallies], axis=0))
    start, end = (0, 1) if not len(filled) else (max(filled[0] - 2, 0), filled[-1] + 3)
    edges = tallies[0].edges[start : end + 1]
    end = start + len(edges) - 1
    named = zip(sets, tallies, strict=True)
    return edges, [Series(found.name, tally.shares[start:end]) for found, tally in named]


def _two(value: float) -> str:
    return f"{value:.1f}"


def _ratio(value: float) -> str:
    ratio = 2.0**value
    return f"{ratio:.3g}" if ratio >= 1 else f"1/{1 / ratio:.3g}"
