"""Implementation of `anymask.stats`: tables, plots and JSON of dataset statistics."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Unpack

import numpy as np

from anymask.base import DataError, Floats, InputError, follow
from anymask.evaluation.page import Series, bar_plot, heat_map, legend, line_plot
from anymask.evaluation.report import Report, Section, TextTable
from anymask.evaluation.statistics import (
    GroupOf,
    Histogram,
    SetStatistics,
    collect_statistics,
    reweight_concavity,
)
from anymask.formats import AnnotatedImage, Dataset, ReadKeywords, read, read_groups
from anymask.masks import Mask, counted

STATISTICS_FORMAT = 1
ORIGIN_HEADER = ("set", "masks", "model", "weights", "licence", "data")
MAX_LABELS = 20  # rows in the tables of labels and groups; the JSON has all
MASK_BINS = ("none", "1-10", "11-50", "51-100", "101-200", "more")
GROUP_HEADER = ("group", "images", "share", "masks", "share", "masks per image", "median size")
NOT_COUNTED = "–"
_ONE_DIGIT = "{:.1f}".format


def stats(
    data: str | Path | Sequence[str | Path],
    *,
    format: str | None = None,
    split: str | None = None,
    images: str | Path | None = None,
    limit: int | None = None,
    groups: str | Path | None = None,
    **settings: Unpack[ReadKeywords],
) -> Report:
    """Describe datasets: masks per image, sizes, positions, shapes, labels, groups.

    The quantities are those of the Segment Anything paper, section 5.

    Args:
        data: File or folder of annotations that `anymask.read` reads, or a list of them to compare.
        format: Name of the annotation format. Detected by default.
        split: Split of the dataset, such as "val".
        images: Folder or archive of the images, for formats that do not store image sizes.
        limit: Maximum number of images per dataset.
        groups: Count masks by "label", "annotator", "group", another key of masks or images, or the
            groups in a CSV file with the columns image and group.
        settings: Fields of `anymask.formats.ReadSettings`.

    Raises:
        DataError: The annotations are invalid, or there are no masks.
        InputError: No mask belongs to a group.
    """
    sources = [data] if isinstance(data, (str, Path)) else list(data)
    if not sources:
        raise InputError("No dataset was given. Pass at least one file or folder.")
    group_of = None if groups is None else _groups_by(str(groups))
    image_files = None if images is None else Path(images)
    streams = [read(Path(source), format, image_files, split, **settings) for source in sources]
    if image_files is not None:
        streams = [stream.with_sizes_checked() for stream in streams]
    sets = [_count(stream, limit, group_of) for stream in streams]
    if group_of is not None and not any(dataset.groups for dataset in sets):
        raise InputError(
            f"No mask belongs to a group by {str(groups)!r}. Check the names of the images."
        )
    names = [dataset.name for dataset in sets]
    for index, dataset in enumerate(sets):
        if names.count(dataset.name) > 1:
            dataset.name = f"{dataset.name} ({index + 1})"
    return report_statistics(sets, ", ".join(str(source) for source in sources))


def _count(stream: Dataset, limit: int | None, group_of: GroupOf | None) -> SetStatistics:
    """Count one dataset, with progress. Raises DataError if it has no images or masks."""
    total = stream.length()
    if limit is not None:
        total = limit if total is None else min(total, limit)
    images = follow(islice(stream, limit), stream.name, total)
    counts = collect_statistics(images, stream.name, group_of)
    counts.format, counts.unread, counts.notes = stream.format, stream.unread, stream.unread_lines()
    if not counts.images:
        raise DataError(
            f"{stream.source} contains no images (read as {stream.format}). Pass another dataset."
        )
    if not counts.masks + counts.crowds:
        raise DataError(
            f"{stream.source} has {counted(counts.images, 'image')} and no masks "
            f"(read as {stream.format}). If the format is wrong, set it with --from FORMAT."
        )
    return counts


def _groups_by(key: str) -> GroupOf:
    """Return a function for a mask's group: its label, group number, a key of the mask or image, or
    the image's group in a table FILE.csv, matched by the full image name or its last part."""
    if key.endswith(".csv"):
        groups = read_groups(Path(key))
        return lambda image, mask: groups.get(
            image.file_name, groups.get(image.file_name.rpartition("/")[2])
        )

    def group_of(image: AnnotatedImage, mask: Mask) -> str | None:
        value = {"label": mask.label, "group": mask.id, "annotator": mask.annotator}.get(key)
        if value is None and key not in ("label", "group"):
            value = mask.extra.get(key, image.extra.get(key))
        return None if value is None else str(value)

    return group_of


def report_statistics(sets: Sequence[SetStatistics], about: str = "") -> Report:
    """Create the report on counted datasets.

    Args:
        about: Description of the sources.
    """
    names = [dataset.name for dataset in sets]
    plain = [_set_to_json(dataset) for dataset in sets]
    overview = [(name, *(cell(dataset) for dataset in sets)) for name, cell in _ROWS]
    if len(sets) > 1:
        middles = (np.arange(100) + 0.5) / 100
        tables = reweight_concavity(list(sets))
        means = [float((table * middles).sum()) if table.sum() else np.nan for table in tables]
        index = [row[0] for row in overview].index("concavity, mean") + 1
        texts = (_number(mean, 3) for mean in means)
        overview.insert(index, ("concavity at equal mask sizes, mean", *texts))
    keys, bins = legend(names), [dataset.per_image_bins() for dataset in sets]
    shares = [
        (name, *(_percent(counts[index] / max(counts.sum(), 1), 1) for counts in bins))
        for index, name in enumerate(MASK_BINS)
    ]
    total: Counter[str] = sum((dataset.labels for dataset in sets), Counter())
    labels = [
        (label, *(f"{dataset.labels[label]:,}" for dataset in sets))
        for label in sorted(total, key=lambda label: (-total[label], label))
    ]
    centers = [
        (
            f"{s.name}: mask center positions, relative to the image size",
            heat_map(s.centers, f"mask centers of {s.name}"),
        )
        for s in sets
    ]
    sections = [
        _section("Overview", ("", *names), overview),
        _section("Masks per image", ("share of images with", *names), shares),
        _section("Labels", ("masks with this label", *names), labels, MAX_LABELS),
        _section("Annotation source", ORIGIN_HEADER, _origin_rows(sets), MAX_LABELS),
        *(
            _section(f"Groups of {dataset.name}", GROUP_HEADER, _group_rows(dataset), MAX_LABELS)
            for dataset in sets
            if dataset.groups
        ),
        Section(title="Images and masks", plots=[(t, p + keys) for t, p in _image_plots(sets)]),
        Section(title="Shapes", plots=[(t, p + keys) for t, p in _shape_plots(sets)]),
        Section(title="Mask positions", plots=centers),
    ]
    rows = []
    for raw in plain:  # counts, and mean and quantiles of histograms
        row: dict[str, Any] = {"set": raw["name"]}
        for name, value in raw.items():
            if isinstance(value, int):
                row[name] = value
            elif isinstance(value, dict) and "p50" in value:
                row |= {f"{name}_{key}": value[key] for key in ("mean", "p10", "p50", "p90")}
        rows.append(row)
    return Report(
        title="Data set: " + names[0] if len(names) == 1 else f"{len(names)} datasets",
        about=about,
        sections=[
            section for section in sections if section.plots or any(t.rows for t in section.tables)
        ],
        notes=[f"{dataset.name}: {line}" for dataset in sets for line in dataset.notes],
        rows=rows,
        data={"format": STATISTICS_FORMAT, "sets": plain},
    )


def _section(
    title: str, header: Sequence[str], rows: Sequence[Sequence[str]], most: int | None = None
) -> Section:
    """Build a table; rows after the first `most` are only part of the JSON."""
    hidden = len(rows) - len(rows[:most])
    more = (
        f"{hidden} more {title.split()[0].lower()} are not shown. Use --json FILE to write all "
        "of them."
        if hidden
        else ""
    )
    table = TextTable(header, rows[:most], align="l" + "r" * (len(header) - 1), more=more)
    return Section(title=title, tables=[table])


_ROWS: tuple[tuple[str, Callable[[SetStatistics], str]], ...] = (
    ("images", lambda s: f"{s.images:,}"),
    ("images without masks", lambda s: f"{s.bare:,}"),
    ("image megapixels, min / median / max", lambda s: _format_range(s.megapixels, 3)),
    ("masks", lambda s: f"{s.masks:,}"),
    ("mean number of masks per image", lambda s: _number(s.per_image.mean, 1)),
    ("masks per image, min / median / max", lambda s: _format_range(s.per_image, 0)),
    ("empty masks", lambda s: f"{s.empty:,}"),
    ("crowd regions (not measured)", lambda s: f"{s.crowds:,}"),
    ("mean relative mask size", lambda s: _number(s.size.mean, 3)),
    ("relative mask size, 10 / 50 / 90 %", lambda s: _quantiles(s.size)),
    ("small / medium / large masks",
     lambda s: " / ".join(_percent(n / max(s.size.n, 1), s.size.n) for n in s.coco_sizes)),
    ("image coverage, mean", lambda s: _number(s.coverage.mean, 3)),
    ("overlap, mean", lambda s: _number(s.overlap.mean, 3)),
    ("concavity, mean", lambda s: _number(s.concavity.mean, 3)),
    ("concavity, 10 / 50 / 90 %", lambda s: _quantiles(s.concavity)),
    ("boxes at least as wide as tall", lambda s: _percent(s.aspect.shares[50:].sum(), s.aspect.n)),
    ("masks with several parts", lambda s: _percent(s.parts.shares[2:].sum(), s.parts.n)),
    ("holes", lambda s: _percent(s.holes.shares[1:].sum(), s.holes.n)),
    ("mask pairs with an IoU above 0.95", lambda s: f"{s.pairs:,} in {s.paired_images:,} images"),
    ("labels", lambda s: f"{len(s.labels):,}"),
)  # fmt: skip


def _origin_rows(sets: Sequence[SetStatistics]) -> list[tuple[str, ...]]:
    """Return a row for each model that created masks, and one for masks without a model."""
    rows: list[tuple[str, ...]] = []
    for dataset in sets:
        for origin, count in dataset.origins.most_common():
            stated = (origin.weights[:12], origin.licence, origin.data)
            words = (word or "not stated" for word in stated)
            rows.append((dataset.name, f"{count:,}", origin.model, *words))
        if dataset.origins and (rest := dataset.masks - dataset.origins.total()):
            rows.append((dataset.name, f"{rest:,}", "drawn by people, or not stated", "", "", ""))
    return rows


def _group_rows(found: SetStatistics) -> list[tuple[str, ...]]:
    return [
        (
            name,
            f"{group.images:,}",
            _percent(group.images / max(found.images, 1), 1),
            f"{group.masks:,}",
            _percent(group.masks / max(found.masks, 1), 1),
            _number(group.masks / max(group.images, 1), 1),
            _number(group.size.quantile(0.5), 3),
        )
        for name, group in sorted(found.groups.items(), key=lambda item: (-item[1].masks, item[0]))
    ]


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


def _set_to_json(found: SetStatistics) -> dict[str, Any]:
    """Convert all counts and histograms to JSON values; NaN becomes null."""
    tallies = {name: value for name, value in vars(found).items() if isinstance(value, Histogram)}
    counts = ("images", "bare", "masks", "empty", "crowds", "pairs", "paired_images")
    small, medium, large = found.coco_sizes.tolist()
    return {
        "name": found.name,
        "format": found.format,
        **{name: getattr(found, name) for name in counts},
        "coco_sizes": {"small": small, "medium": medium, "large": large},
        "per_image_bins": dict(zip(MASK_BINS, found.per_image_bins().tolist(), strict=True)),
        **{name: histogram_to_json(tally) for name, tally in tallies.items()},
        "centres": found.centers.tolist(),
        "concave_by_size": found.concave_by_size.tolist(),
        "labels": dict(found.labels.most_common()),
        "origins": [origin.to_json() | {"masks": n} for origin, n in found.origins.most_common()],
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
    """Convert a histogram to JSON values, without empty bins at both ends."""
    filled = np.flatnonzero(tally.counts)
    start, end = (int(filled[0]), int(filled[-1]) + 1) if len(filled) else (0, 0)
    quantiles = {f"p{round(100 * q)}": tally.quantile(q) for q in (0.1, 0.25, 0.5, 0.75, 0.9)}
    numbers = {"mean": tally.mean, "least": tally.least, "most": tally.most, **quantiles}
    return {
        "n": tally.n,
        **{key: float(f"{v:.6g}") if np.isfinite(v) else None for key, v in numbers.items()},
        "edges": [float(f"{edge:.6g}") for edge in tally.edges[start : end + 1]] if end else [],
        "counts": tally.counts[start:end].tolist(),
    }


def _lines(
    sets: Sequence[SetStatistics], pick: Callable[[SetStatistics], Floats], step: int = 1
) -> list[Series]:
    """Return the fractions (B,) of each dataset, merging `step` bins for smoother lines."""
    return [Series(s.name, pick(s).reshape(-1, step).sum(axis=1)) for s in sets]


def _first(shares: Floats, n: int = 6) -> Floats:
    """Return the first n - 1 fractions, and the sum of all others."""
    return np.concatenate([shares[: n - 1], [shares[n - 1 :].sum()]])


def _image_plots(sets: Sequence[SetStatistics]) -> list[tuple[str, str]]:
    per_image = _lines(sets, lambda s: s.per_image_bins() / max(s.images, 1))
    sizes = _lines(sets, lambda s: s.coco_sizes / max(s.coco_sizes.sum(), 1))
    coverage = _lines(sets, lambda s: s.coverage.shares, 4)
    # Megapixel bins that are not empty, with two more on each side.
    filled = np.flatnonzero(np.sum([s.megapixels.counts for s in sets], axis=0))
    start, end = (max(filled[0] - 2, 0), filled[-1] + 3) if len(filled) else (0, 1)
    edges = sets[0].megapixels.edges[start : end + 1]
    pixels = _lines(sets, lambda s: s.megapixels.shares[start : start + len(edges) - 1])
    return [
        ("Masks per image", bar_plot(MASK_BINS, per_image, "masks per image")),
        ("COCO size classes",
         bar_plot(("under 32²", "under 96²", "larger"), sizes, "area in pixels")),
        ("Image sizes", line_plot(edges, pixels, "megapixels", lambda x: f"{x:.2g}", log=True)),
        ("Coverage", line_plot(np.linspace(0, 1, 26), coverage,
                               "image coverage", _ONE_DIGIT)),
    ]  # fmt: skip


def _shape_plots(sets: Sequence[SetStatistics]) -> list[tuple[str, str]]:
    size = _lines(sets, lambda s: s.size.shares, 2)
    concave = [
        Series(dataset.name, row.reshape(-1, 4).sum(axis=1))
        for dataset, row in zip(sets, reweight_concavity(list(sets)), strict=True)
    ]
    equal = ", at equal mask sizes" if len(sets) > 1 else ""
    aspect = _lines(sets, lambda s: s.aspect.shares, 2)
    parts = _lines(sets, lambda s: _first(s.parts.shares[1:]))
    holes = _lines(sets, lambda s: _first(s.holes.shares))
    unit = np.linspace(0, 1, 101)
    return [
        ("Relative mask size", line_plot(unit[::2], size, "√(mask area / image area)", _ONE_DIGIT)),
        ("Concavity" + equal, line_plot(unit[::4], concave, "1 − area / convex hull", _ONE_DIGIT)),
        ("Boxes", line_plot(np.linspace(-5, 5, 51), aspect, "width / height of the box", _ratio)),
        ("Parts", bar_plot(("1", "2", "3", "4", "5", "more"), parts, "parts per mask")),
        ("Holes", bar_plot(("0", "1", "2", "3", "4", "more"), holes, "holes per mask")),
    ]


def _ratio(value: float) -> str:
    ratio = 2.0**value
    return f"{ratio:.3g}" if ratio >= 1 else f"1/{1 / ratio:.3g}"
