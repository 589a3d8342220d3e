"""The record of an evaluation: scores of masks in, means of sets and groups, and JSON, out.

Letters: N masks of a set.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np

from anymask.base import (
    DataError,
    Floats,
    IntArray,
    Machine,
)
from anymask.evaluation.metrics import Mean, cluster_mean, mean_of_means
from anymask.evaluation.selection import DEFAULT_MEASURES, EvalSettings
from anymask.evaluation.set_results import MethodResult, result_from_json, result_to_json

REPORT_FORMAT = 2  # 2: `measures` and `found`


@dataclass(frozen=True, eq=False)
class ScoreColumn:
    """One method by one measure: a value a mask, NaN where it was not measured."""

    method: str
    measure: str
    values: Floats


@dataclass(frozen=True, eq=False, kw_only=True)
class SetScores:
    """A set's masks, (N,) each: which photo, which of its masks, how many pixels; and scores.

    measures  the names of what was measured
    columns   values mask by mask
    found     what measures of whole sets said
    """

    name: str
    groups: tuple[str, ...]
    measures: tuple[str, ...] = DEFAULT_MEASURES
    image: IntArray
    mask: IntArray
    area: IntArray
    columns: tuple[ScoreColumn, ...]
    found: tuple[MethodResult, ...] = ()

    def values(self, method: str, measure: str) -> Floats | None:
        """A column's values, or None when the method was not measured so."""
        for column in self.columns:
            if (column.method, column.measure) == (method, measure):
                return column.values
        return None

    def select(
        self, method: str, measure: str, min_area: int, small: bool = False
    ) -> tuple[Floats, IntArray]:
        """Values and photos of the masks of at least `min_area` pixels (or of the smaller ones)."""
        values = self.values(method, measure)
        if values is None:
            return np.zeros(0), np.zeros(0, np.int64)
        keep = ((self.area < min_area) == small) & ~np.isnan(values)
        return values[keep], self.image[keep]


@dataclass(frozen=True, eq=False, kw_only=True)
class EvalReport:
    """A finished or interrupted run.

    suite         its name, or ""
    subject       the model that was measured; its columns carry this name
    weights_hash  of the model, or ""
    settings      what was measured, on how many masks
    machine       where
    peers         (name, weights hash) of the other models, without the baselines
    command       what was typed, or ""
    sets          what is finished
    skipped       (baseline, reason) of those that could not run
    """

    suite: str
    subject: str
    weights_hash: str
    settings: EvalSettings
    machine: Machine
    sets: tuple[SetScores, ...]
    peers: tuple[tuple[str, str], ...] = ()
    command: str = ""
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
        return mean_of_means([scores.select(name, measure, area) for scores in self.members(group)])

    def set_mean(
        self, name: str, measure: str, *, method: str | None = None, small: bool = False
    ) -> Mean:
        """One set's mean; of its small masks when asked."""
        scores = next(scores for scores in self.sets if scores.name == name)
        area = self.settings.min_area
        return cluster_mean(*scores.select(method or self.subject, measure, area, small))

    def pairs(self) -> list[tuple[str, str]]:
        """Every (method, measure) that some set has, in order of appearance."""
        keys = ((c.method, c.measure) for scores in self.sets for c in scores.columns)
        return list(dict.fromkeys(keys))


# --- JSON


def report_to_json(report: EvalReport) -> dict[str, Any]:
    """Everything, with the means that the table shows; NaN becomes null."""
    return {
        "format": REPORT_FORMAT,
        "suite": report.suite,
        "subject": report.subject,
        "weights_hash": report.weights_hash,
        "peers": [{"name": name, "weights_hash": weights} for name, weights in report.peers],
        "command": report.command,
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
        raise DataError(
            f"not a report of `anymask evaluate` ({error!r}); write a new one"
        ) from error


def _set_to_json(report: EvalReport, scores: SetScores) -> dict[str, Any]:
    large = scores.area >= report.settings.min_area
    return {
        "name": scores.name,
        "groups": list(scores.groups),
        "measures": list(scores.measures),
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
        "found": [result_to_json(found) for found in scores.found],
    }


def _set_from_json(row: dict[str, Any]) -> SetScores:
    return SetScores(
        name=str(row["name"]),
        groups=tuple(row["groups"]),
        measures=tuple(row["measures"]),
        image=np.array(row["image"], np.int64),
        mask=np.array(row["mask"], np.int64),
        area=np.array(row["area"], np.int64),
        columns=tuple(
            ScoreColumn(
                str(column["method"]),
                str(column["measure"]),
                np.array(column["values"], np.float64),  # null becomes NaN
            )
            for column in row["columns"]
        ),
        found=tuple(result_from_json(found) for found in row["found"]),
    )


def _mean_row(mean: Mean) -> dict[str, float | None]:
    return {
        "mean": _number(mean.value, 5),
        "low": _number(mean.low, 5),
        "high": _number(mean.high, 5),
    }


def _number(value: float, digits: int) -> float | None:
    return None if np.isnan(value) else round(float(value), digits)
