"""What an evaluation found: scores a mask, means a set and a group, as a table and as JSON.

Letters: N masks of a set.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from anymask.evaluation.machine import Machine
from anymask.evaluation.metrics import Floats, Ints, Mean, cluster_mean, mean_of_means
from anymask.evaluation.suite import Settings
from anymask.primitives.errors import DataError

FORMAT = 1


@dataclass(frozen=True, eq=False)
class Column:
    """One method by one measure: a value a mask, NaN where it was not measured."""

    method: str
    measure: str
    values: Floats


@dataclass(frozen=True, eq=False, kw_only=True)
class SetScores:
    """A set's masks, (N,) each: which photo, which of its masks, how many pixels; and scores."""

    name: str
    groups: tuple[str, ...]
    image: Ints
    mask: Ints
    area: Ints
    columns: tuple[Column, ...]

    def values(self, method: str, measure: str) -> Floats | None:
        """A column's values, or None when the method was not measured so."""
        for column in self.columns:
            if (column.method, column.measure) == (method, measure):
                return column.values
        return None

    def picked(
        self, method: str, measure: str, min_area: int, small: bool = False
    ) -> tuple[Floats, Ints]:
        """Values and photos of the masks of at least `min_area` pixels (or of the smaller ones)."""
        values = self.values(method, measure)
        if values is None:
            return np.zeros(0), np.zeros(0, np.int64)
        keep = ((self.area < min_area) == small) & ~np.isnan(values)
        return values[keep], self.image[keep]


@dataclass(frozen=True, eq=False, kw_only=True)
class Report:
    """A finished or interrupted run.

    suite         its name, or ""
    subject       the model that was measured; its columns carry this name
    weights_hash  of the model, or ""
    settings      what was measured, on how many masks
    machine       where
    sets          what is finished
    skipped       (baseline, reason) of those that could not run
    """

    suite: str
    subject: str
    weights_hash: str
    settings: Settings
    machine: Machine
    sets: tuple[SetScores, ...]
    skipped: tuple[tuple[str, str], ...] = ()

    @property
    def groups(self) -> tuple[str, ...]:
        """Names of the groups, in order of appearance; "all" when no set has one."""
        names = dict.fromkeys(group for scores in self.sets for group in scores.groups)
        return tuple(names) or ("all",)

    def members(self, group: str) -> list[SetScores]:
        """The sets of a group; every set of "all"."""
        return [scores for scores in self.sets if group == "all" or group in scores.groups]

    def mean(self, measure: str, *, group: str = "all", method: str | None = None) -> Mean:
        """The mean over a group's sets of each set's mean, of the subject or another method."""
        name, area = method or self.subject, self.settings.min_area
        return mean_of_means([scores.picked(name, measure, area) for scores in self.members(group)])

    def set_mean(
        self, name: str, measure: str, *, method: str | None = None, small: bool = False
    ) -> Mean:
        """One set's mean; of its small masks when asked."""
        scores = next(scores for scores in self.sets if scores.name == name)
        area = self.settings.min_area
        return cluster_mean(*scores.picked(method or self.subject, measure, area, small))

    def pairs(self) -> list[tuple[str, str]]:
        """Every (method, measure) that some set has, in order of appearance."""
        keys = ((c.method, c.measure) for scores in self.sets for c in scores.columns)
        return list(dict.fromkeys(keys))


# --- JSON


def report_to_json(report: Report) -> dict[str, Any]:
    """Everything, with the means that the table shows; NaN becomes null."""
    return {
        "format": FORMAT,
        "suite": report.suite,
        "subject": report.subject,
        "weights_hash": report.weights_hash,
        "settings": dataclasses.asdict(report.settings),
        "machine": dataclasses.asdict(report.machine),
        "skipped": [list(pair) for pair in report.skipped],
        "means": [
            {"group": group, "method": method, "measure": measure} | _mean_row(mean)
            for group in report.groups
            for method, measure in report.pairs()
            if not np.isnan((mean := report.mean(measure, group=group, method=method)).value)
        ],
        "sets": [_set_to_json(report, scores) for scores in report.sets],
    }


def sets_from_json(raw: dict[str, Any]) -> tuple[SetScores, ...]:
    """The finished sets of a written report; DataError when it is none."""
    try:
        return tuple(_set_from_json(row) for row in raw["sets"])
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"not a report of `anymask eval` ({error!r}); write a new one") from error


def write_json(report: Report, path: str | Path) -> None:
    """Write the report whole or not at all."""
    path = Path(path)
    part = path.with_name(path.name + ".part")
    part.write_text(json.dumps(report_to_json(report)) + "\n", encoding="utf-8")
    part.replace(path)


def _set_to_json(report: Report, scores: SetScores) -> dict[str, Any]:
    large = scores.area >= report.settings.min_area
    return {
        "name": scores.name,
        "groups": list(scores.groups),
        "masks": int(large.sum()),
        "small_masks": int((~large).sum()),
        "image": scores.image.tolist(),
        "mask": scores.mask.tolist(),
        "area": scores.area.tolist(),
        "columns": [
            {"method": column.method, "measure": column.measure}
            | _mean_row(report.set_mean(scores.name, column.measure, method=column.method))
            | {"values": [_number(value, 5) for value in column.values]}
            for column in scores.columns
        ],
    }


def _set_from_json(row: dict[str, Any]) -> SetScores:
    return SetScores(
        name=str(row["name"]),
        groups=tuple(row["groups"]),
        image=np.array(row["image"], np.int64),
        mask=np.array(row["mask"], np.int64),
        area=np.array(row["area"], np.int64),
        columns=tuple(
            Column(
                str(column["method"]),
                str(column["measure"]),
                np.array(column["values"], np.float64),  # null becomes NaN
            )
            for column in row["columns"]
        ),
    )


def _mean_row(mean: Mean) -> dict[str, float | None]:
    return {
        "mean": _number(mean.value, 5),
        "low": _number(mean.low, 5),
        "high": _number(mean.high, 5),
    }


def _number(value: float, digits: int) -> float | None:
    return None if np.isnan(value) else round(float(value), digits)


# --- Markdown


def report_to_markdown(report: Report) -> str:
    """Tables for people: the main one, clicks to a goal, small masks; then how it was measured."""
    parts = [_main_table(report), _noc_table(report), _small_table(report), _notes(report)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _main_table(report: Report) -> str:
    pairs = [pair for pair in report.pairs() if _is_shown(report, pair)]
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
    return _table(header, rows)


def _noc_table(report: Report) -> str:
    pairs = [pair for pair in report.pairs() if pair[1].startswith("noc")]
    if not pairs:
        return ""
    header = ["clicks to an IoU", "masks"] + [
        f"{method} NoC@{measure[3:]}" for method, measure in pairs
    ]
    rows = []
    for scores in report.sets:
        means = [report.set_mean(scores.name, pair[1], method=pair[0]) for pair in pairs]
        if not all(np.isnan(mean.value) for mean in means):
            cells = ["" if np.isnan(m.value) else f"{m.value:.2f}" for m in means]
            rows.append([scores.name, str(len(scores.area)), *cells])
    return _table(header, rows)


def _small_table(report: Report) -> str:
    pairs = [pair for pair in report.pairs() if _is_shown(report, pair)]
    rows = []
    for scores in report.sets:
        small = int((scores.area < report.settings.min_area).sum())
        if small:
            means = [
                report.set_mean(scores.name, pair[1], method=pair[0], small=True) for pair in pairs
            ]
            rows.append([scores.name, str(small)] + [_cell(mean.value) for mean in means])
    header = [f"under {report.settings.min_area} pixels", "masks"]
    return _table(header + [_title(report, pair) for pair in pairs], rows) if rows else ""


def _notes(report: Report) -> str:
    settings = report.settings
    limits = [
        f"at most {count} masks a {what}"
        for count, what in ((settings.limit, "set"), (settings.per_image, "photo"))
        if count is not None
    ]
    lines = [
        f"- model: {report.subject}, weights {report.weights_hash or 'without a hash'}",
        f"- mean IoU of masks of at least {settings.min_area} pixels"
        + (", " + ", ".join(limits) if limits else "")
        + "; intervals: bootstrap over photos, 95 %",
        f"- machine: {report.machine.line()}",
    ]
    if len(report.pairs()) and any(method != report.subject for method, _ in report.pairs()):
        slow = "all masks" if settings.slow is None else f"at most {settings.slow} masks a set"
        lines.append(f"- baselines by GrabCut: {slow}, drawn at random, the same ones every time")
    lines += [f"- skipped: {name}: {reason}" for name, reason in report.skipped]
    return "\n".join(lines)


def _is_shown(report: Report, pair: tuple[str, str]) -> bool:
    """The table leaves out the clicks between the first and the last, and what NoC shows."""
    last = f"{report.settings.clicks} clicks"
    return pair[1] in ("1 click", "oracle", "box", last)


def _title(report: Report, pair: tuple[str, str]) -> str:
    method, measure = pair
    return measure if method == report.subject else f"{method}: {measure}"


def _cell(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.3f}"


def _bold(text: str) -> str:
    return text and f"**{text}**"


def _interval(mean: Mean) -> str:
    return "" if np.isnan(mean.value) else f"{mean.low:.3f}–{mean.high:.3f}"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines)
