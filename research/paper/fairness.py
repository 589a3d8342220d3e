"""Fairness: the mean IoU of each group of masks, and the largest gap between two groups.

The paper (Segment Anything, section 6 and table 2) compares people by perceived gender, age and
skin tone: mean IoU of one and of several clicks, with 95 % intervals. Groups come from a CSV file
(`--groups FILE`), or without one from the labels of the set:

    image,mask,gender,age          `image` is a file name; `mask` is the index among the masks of
    a.jpg,0,feminine,young         the image, and is omitted where all its masks are of one group;
    a.jpg,1,masculine,old          an empty cell is no group

The gap is the difference between the means of the best and the worst group; its interval resamples
images and keeps these two groups. Groups always differ by chance: an interval that contains 0 shows
no gap. Letters: N masks, G groups, I images.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from anymask.base import DataError, Floats, IntArray, OnProgress, parse_text, read_csv
from anymask.evaluation.metrics import draw_images
from anymask.evaluation.protocols import PROMPTS_A_CALL, NotMeasured, Segmenter, click_rounds
from anymask.evaluation.results import DetailTable, MetricValue, SetResult, values_to_metric
from anymask.evaluation.selection import EvalSet, EvalSettings
from research.shared import iterate_images

LARGEST_GAP = 0.05
LEAST_MASKS = 10  # of a group that is reported
HEADER = ("column", "prompt", "group", "masks", "mean IoU", "low", "high")


@dataclass(frozen=True, eq=False)
class Grouping:
    """One way to divide the masks.

    Attributes:
        title: Name of the column.
        names: Group of each mask (N,), "" for none.
    """

    title: str
    names: tuple[str, ...]

    def groups(self) -> list[str]:
        """Groups of at least LEAST_MASKS masks, in order of appearance."""
        counts = {name: self.names.count(name) for name in dict.fromkeys(self.names) if name}
        return [name for name, count in counts.items() if count >= LEAST_MASKS]


@dataclass(frozen=True)
class GroupTable:
    """A CSV file of groups: its columns, and the groups of an image and a mask (or None)."""

    titles: tuple[str, ...]
    rows: dict[tuple[str, int | None], tuple[str, ...]]

    def of(self, image: str, mask: int) -> tuple[str, ...]:
        """Groups of a mask: from its row, else from its image, else empty strings."""
        name, nothing = PurePosixPath(image).name, ("",) * len(self.titles)
        return self.rows.get((name, mask), self.rows.get((name, None), nothing))


def read_groups(path: Path) -> GroupTable:
    """Read a CSV file of groups. Raises DataError if it is invalid."""
    if not path.is_file():
        raise DataError(f"File of groups not found: {path}. Check the path.")
    header, *rows = read_csv(parse_text(path.read_bytes(), path), path) or [[]]
    titles = tuple(name for name in header if name not in ("image", "mask"))
    if "image" not in header or not titles:
        raise DataError(
            f"{path}: Expected the columns image, optionally mask, and at least one of groups. "
            f"Given: {', '.join(header) or 'no rows'}."
        )
    found: dict[tuple[str, int | None], tuple[str, ...]] = {}
    for number, cells in enumerate(rows, start=2):
        filled = [cell.strip() for cell in [*cells, *[""] * len(header)][: len(header)]]
        row = dict(zip(header, filled, strict=True))
        mask = row.get("mask", "")
        if mask and not (mask.isascii() and mask.isdigit()):
            raise DataError(f"{path}, line {number}: mask must be an index, got {mask!r}.")
        key = PurePosixPath(row["image"]).name, int(mask) if mask else None
        found[key] = tuple(row[title] for title in titles)
    return GroupTable(titles, found)


def measure_fairness(
    method: Segmenter,
    one: EvalSet,
    settings: EvalSettings,
    progress: OnProgress | None = None,
    *,
    groups: Path | None = None,
) -> SetResult:
    """Measure one method on one set (a `SetMeasure`), by one click and by several.

    Args:
        groups: CSV file of groups. Defaults to the labels of the set.

    Raises:
        NotMeasured: The method takes no clicks, or the set has no two groups.
        DataError: The CSV file is invalid.
    """
    if "point" not in method.spec.accepts:
        raise NotMeasured("it takes no clicks")
    table = read_groups(groups) if groups else None
    titles = table.titles if table else ("label",)
    names: list[tuple[str, ...]] = []
    parts: list[Floats] = []
    image: list[int] = []
    for pixels in iterate_images(method, one, settings, progress):
        rows = [
            table.of(pixels.sample.name, mask) if table
            else (pixels.sample.objects[mask].label or "",)
            for mask in pixels.masks.tolist()
        ]  # fmt: skip
        if not any(map(any, rows)):
            continue
        embedding = method.encode(pixels.image)
        for start in range(0, len(rows), PROMPTS_A_CALL):
            truths = pixels.truths(pixels.masks[start : start + PROMPTS_A_CALL])
            ious = click_rounds(method, embedding, truths, settings.clicks).ious
            parts.append(ious[:, [0, -1]])
        names += rows
        image += [pixels.place] * len(rows)
    columns = [Grouping(title, tuple(row[n] for row in names)) for n, title in enumerate(titles)]
    columns = [column for column in columns if len(column.groups()) > 1]
    if not columns:
        raise NotMeasured(
            f"{one.plan.name} has no two groups of {LEAST_MASKS} masks; pass --groups FILE.csv"
        )
    clicks = settings.clicks if "negative_point" in method.spec.accepts else 1
    return describe_fairness(np.concatenate(parts), np.array(image, np.int64), columns, clicks)


def describe_fairness(
    scores: Floats, image: IntArray, columns: list[Grouping], clicks: int
) -> SetResult:
    """Gaps and a table of groups, from IoUs (N, 2) after the first and the last click."""
    prompts = ["1 click"] if clicks == 1 else ["1 click", f"{clicks} clicks"]
    figures: list[MetricValue] = []
    rows: list[tuple[str | float, ...]] = []
    notes: list[str] = []
    for column in columns:
        of = np.array(column.names)
        for prompt, values in zip(prompts, scores.T, strict=False):
            means = [
                values_to_metric(name, values[of == name], image[of == name])
                for name in column.groups()
            ]
            # Difference between the best and the worst group, with an interval over images.
            worst, *_, best = sorted(means, key=lambda mean: mean.value)
            images, member = np.unique(image, return_inverse=True)
            draws = draw_images(len(images))
            drawn = []
            for group in (best.name, worst.name):
                inside = of == group
                sums = np.bincount(member[inside], weights=values[inside], minlength=len(images))
                counts = np.bincount(member[inside], minlength=len(images))
                with np.errstate(invalid="ignore"):  # a draw may contain no mask of a group
                    drawn.append((draws @ sums) / (draws @ counts))
            low, high = np.nanquantile(drawn[0] - drawn[1], (0.025, 0.975))
            gap = MetricValue(
                name=f"{column.title} gap, {prompt}",
                value=best.value - worst.value,
                low=float(low),
                high=float(high),
            )
            figures.append(gap)
            for mean in means:
                count = float((of == mean.name).sum())
                row = (column.title, prompt, mean.name, count, mean.value, mean.low, mean.high)
                rows.append(row)
            verdict = (
                "below" if gap.high < LARGEST_GAP
                else "not below" if gap.low >= LARGEST_GAP
                else "not shown to be below"
            )  # fmt: skip
            zero = "" if gap.low > 0 else "; the interval contains 0"
            notes.append(f"{gap.name}: {100 * gap.value:.1f} points, {verdict} 5{zero}")
    return SetResult(
        figures=tuple(figures),
        tables=(DetailTable(title="groups", header=HEADER, rows=tuple(rows)),),
        notes=tuple(notes),
    )
