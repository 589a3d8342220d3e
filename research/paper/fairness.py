"""Fairness: masks by group in, each group's mean IoU and the largest gap between two out.

The paper (Segment Anything, section 6 and table 2) asks for people by perceived gender, age and
skin tone, and looks at the 95 % intervals of each group's mean IoU from clicks. Groups come from a
CSV file (`--groups FILE`) or, without one, from the set's labels:

    image,mask,gender,age          `image` as in masks.jsonl or only its file name; `mask` is the
    images/a.jpg,0,feminine,young  index among the photo's masks, and may be left out where all
    images/a.jpg,1,masculine,old   masks of a photo are of one group; "" is of no group

The gap is the largest difference between two groups' means; its interval draws photos and keeps
those two groups. Of many equal groups two always differ by chance: an interval that holds 0 says
that no gap was shown. Letters: N masks, G groups, I photos.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from anymask.base import DataError, Floats, IntArray
from anymask.evaluation import (
    PROMPTS_A_CALL,
    DetailTable,
    EvalSet,
    EvalSettings,
    MetricValue,
    NotMeasured,
    OnProgress,
    Segmenter,
    SetResult,
    click_rounds,
    draw_photos,
    iterate_photos,
    values_to_metric,
)
from anymask.formats import AnnotatedImage

LARGEST_GAP = 0.05
LEAST_GROUP_MASKS = 10  # masks of a group; the mean of fewer says little


@dataclass(frozen=True, eq=False)
class Grouping:
    """One way to divide the masks: `names` has a group (or "") for each mask that was asked."""

    title: str
    names: tuple[str, ...]


def measure_fairness(
    method: Segmenter,
    one: EvalSet,
    settings: EvalSettings,
    told: OnProgress | None = None,
    *,
    groups: Path | None = None,
) -> SetResult:
    """Measure one method on one set (a `SetMeasure`): by one click, and by several.

    groups  a CSV file (`read_groups`); None: the sets' labels

    Raises NotMeasured for a method without clicks or a set without two groups; DataError for a CSV
    file that cannot be read.
    """
    if "point" not in method.spec.accepts:
        raise NotMeasured("it takes no clicks")
    table = read_groups(groups) if groups else None
    titles = tuple(table.titles) if table else ("label",)
    names: list[tuple[str, ...]] = []
    parts: list[Floats] = []
    image: list[int] = []
    for photo in iterate_photos(method, one, settings, told):
        rows = [_find_groups(photo.sample, int(mask), table) for mask in photo.masks]
        if not any(any(row) for row in rows):
            continue
        embedding = method.encode(photo.image)
        for start in range(0, len(rows), PROMPTS_A_CALL):
            truths = photo.truths(photo.masks[start : start + PROMPTS_A_CALL])
            parts.append(click_rounds(method, embedding, truths, settings.clicks).ious[:, [0, -1]])
        names += rows
        image += [photo.place] * len(rows)
    columns = [Grouping(title, tuple(row[n] for row in names)) for n, title in enumerate(titles)]
    columns = [column for column in columns if len(list_groups(column)) > 1]
    if not columns:
        raise NotMeasured(
            f"{one.plan.name} has no two groups of {LEAST_GROUP_MASKS} masks; "
            "give --groups FILE (.csv)"
        )
    last = settings.clicks if "negative_point" in method.spec.accepts else 1
    return describe_fairness(np.concatenate(parts), np.array(image, np.int64), columns, last)


def describe_fairness(
    scores: Floats, image: IntArray, columns: list[Grouping], clicks: int
) -> SetResult:
    """Gaps and a table of groups, from IoUs (N, 2) after the first and the last click."""
    said = ["1 click"] if clicks == 1 else ["1 click", f"{clicks} clicks"]
    figures: list[MetricValue] = []
    rows: list[tuple[str | float, ...]] = []
    notes: list[str] = []
    for column in columns:
        groups = list_groups(column)
        of = np.array(column.names)
        for place, name in enumerate(said):
            values = scores[:, place]
            means = [values_to_metric(g, values[of == g], image[of == g]) for g in groups]
            gap = measure_gap(values, image, of, means, f"{column.title} gap, {name}")
            figures.append(gap)
            for mean in means:
                masks = float((of == mean.name).sum())
                said_of = (column.title, name, mean.name, masks)
                rows.append((*said_of, mean.value, mean.low, mean.high))
            verdict = "under" if gap.value < LARGEST_GAP else "not under"
            zero = "" if gap.low > 0 else "; the interval holds 0"
            notes.append(f"{gap.name}: {100 * gap.value:.1f} points, {verdict} 5{zero}")
    header = ("column", "prompt", "group", "masks", "mean IoU", "low", "high")
    return SetResult(
        figures=tuple(figures),
        tables=(DetailTable(title="groups", header=header, rows=tuple(rows)),),
        notes=tuple(notes),
    )


def list_groups(column: Grouping) -> list[str]:
    """The groups with FEWEST masks or more, in order of appearance."""
    counts = {name: column.names.count(name) for name in dict.fromkeys(column.names) if name}
    return [name for name, count in counts.items() if count >= LEAST_GROUP_MASKS]


def measure_gap(
    values: Floats, image: IntArray, of: np.ndarray, means: list[MetricValue], name: str
) -> MetricValue:
    """The largest difference between two groups' means, and its interval over photos."""
    ordered = sorted(means, key=lambda figure: figure.value)
    worst, best = ordered[0].name, ordered[-1].name
    photos, member = np.unique(image, return_inverse=True)
    n = len(photos)
    draws = draw_photos(n)
    drawn = []
    for group in (best, worst):
        inside = of == group
        sums = np.bincount(member[inside], weights=values[inside], minlength=n)
        counts = np.bincount(member[inside], minlength=n)
        with np.errstate(invalid="ignore"):  # a draw may hold nobody of a group
            drawn.append((draws @ sums) / (draws @ counts))
    low, high = np.nanquantile(drawn[0] - drawn[1], (0.025, 0.975))
    gap = ordered[-1].value - ordered[0].value
    return MetricValue(name=name, value=gap, low=float(low), high=float(high))


# --- where groups stand


@dataclass(frozen=True)
class GroupTable:
    """A CSV file: its columns of groups, and a row of names for an image and a mask (or None)."""

    titles: tuple[str, ...]
    rows: dict[tuple[str, int | None], tuple[str, ...]]

    def of(self, image: str, mask: int) -> tuple[str, ...]:
        """The groups of a mask: its own row, else its photo's; none is "" in every column."""
        nothing = ("",) * len(self.titles)
        return self.rows.get((image, mask), self.rows.get((image, None), nothing))


def read_groups(path: str | Path) -> GroupTable:
    """Read a CSV file of groups; DataError names the file, the line and what is wrong."""
    path = Path(path)
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: wanted a CSV file of groups, cannot read it ({error})") from error
    reader = csv.DictReader(lines)
    header = [name for name in reader.fieldnames or () if name]
    titles = tuple(name for name in header if name not in ("image", "mask"))
    if "image" not in header or not titles:
        raise DataError(
            f"{path}, line 1: wanted columns `image`, perhaps `mask`, and at least one of groups; "
            f"got {', '.join(header) or 'nothing'}"
        )
    rows: dict[tuple[str, int | None], tuple[str, ...]] = {}
    for row in reader:
        mask = (row.get("mask") or "").strip()
        if mask and not mask.isdigit():
            raise DataError(f"{path}, line {reader.line_num}: `mask` is an index, got {mask!r}")
        key = PurePosixPath((row["image"] or "").strip()).name, int(mask) if mask else None
        rows[key] = tuple((row[title] or "").strip() for title in titles)
    return GroupTable(titles, rows)


def _find_groups(sample: AnnotatedImage, mask: int, table: GroupTable | None) -> tuple[str, ...]:
    if table is None:
        return (sample.objects[mask].label or "",)
    return table.of(sample.name, mask)
