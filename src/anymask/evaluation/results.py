"""Results of an evaluation: scores of masks, metrics of datasets, their means, and JSON.

Letters: N masks of a dataset, I images.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from anymask.base import DataError, Floats, IntArray, Machine, brief
from anymask.evaluation.metrics import (
    NAN,
    Mean,
    Shares,
    cluster_mean,
    mean_of_means,
    mean_of_shares,
    sum_by_image,
)
from anymask.evaluation.selection import DEFAULT_MEASURES, EvalSettings

RESULTS_FORMAT = 2  # 2 added `measures` and `found`


@dataclass(frozen=True, eq=False, kw_only=True)
class MetricValue:
    """Single metric of a result."""

    name: str  # Column name in tables, such as "AR@100"
    value: float  # Value, NaN if undefined
    low: float = NAN  # Lower end of the 95 % interval, NaN if unknown
    high: float = NAN  # Upper end of the interval
    # Contribution of each image. With shares, the metric of a group of datasets has an interval;
    # without, it is only the mean of the datasets' values.
    shares: Shares | None = None
    digits: int = 3  # Decimal places in tables


@brief
@dataclass(frozen=True, eq=False, kw_only=True)
class Curve:
    """Curve to plot, with x and y of equal length and axis labels.

    Curves of one dataset with the same title share a plot, one line for each method.
    """

    title: str
    x: Floats
    y: Floats
    x_label: str
    y_label: str


@brief
@dataclass(frozen=True, kw_only=True)
class DetailTable:
    """Detail table below the metrics; every row is as long as the header."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str | float, ...], ...]


@brief
@dataclass(frozen=True, kw_only=True)
class SetResult:
    """Result of one measure for one method on one dataset."""

    figures: tuple[MetricValue, ...] = ()
    curves: tuple[Curve, ...] = ()
    tables: tuple[DetailTable, ...] = ()
    notes: tuple[str, ...] = ()
    method: str = ""  # Name of the method, which `score_set` sets like the name of the measure
    measure: str = ""
    reason: str = ""  # Why there is no result


def shares_to_metric(name: str, shares: Shares, digits: int = 3) -> MetricValue:
    """Return the ratio of sums, with an interval that resamples images."""
    return MetricValue(name=name, **vars(mean_of_shares([shares])), shares=shares, digits=digits)


def values_to_metric(name: str, values: Floats, image: IntArray, digits: int = 3) -> MetricValue:
    """Return the mean of values (N,), ignoring NaN; `image` (N,) is the image of each value."""
    there = ~np.isnan(values)
    return shares_to_metric(name, sum_by_image(image[there], values[there]), digits)


def mean_over_sets(figures: Sequence[MetricValue]) -> Mean:
    """Return the mean of a metric over datasets with equal weights."""
    there = [figure for figure in figures if not np.isnan(figure.value)]
    shares = [figure.shares for figure in there if figure.shares is not None]
    if len(shares) == len(there):
        return mean_of_shares(shares)
    return Mean(float(np.mean([figure.value for figure in there])), NAN, NAN)


@brief
@dataclass(frozen=True, eq=False, kw_only=True)
class SetScores:
    """Scores of a dataset with N masks."""

    name: str
    groups: tuple[str, ...]
    measures: tuple[str, ...] = DEFAULT_MEASURES  # Names of the measures
    image: IntArray  # (N,) index of the image
    mask: IntArray  # (N,) index of the mask in its image
    area: IntArray  # (N,) area in pixels
    # (N,) values by method and column, NaN for masks that were not evaluated
    columns: dict[tuple[str, str], Floats]
    found: tuple[SetResult, ...] = ()  # Results of measures per dataset

    def select(
        self, method: str, measure: str, min_area: int, small: bool = False
    ) -> tuple[Floats, IntArray]:
        """Return values and images of masks of at least `min_area` pixels, or of smaller ones."""
        if (values := self.columns.get((method, measure))) is None:
            return np.zeros(0), np.zeros(0, np.int64)
        keep = ((self.area < min_area) == small) & ~np.isnan(values)
        return values[keep], self.image[keep]


@brief
@dataclass(frozen=True, eq=False, kw_only=True)
class Evaluation:
    """Finished or interrupted evaluation run."""

    data: str  # Name of the data, or ""
    subject: str  # Name of the evaluated model
    weights_hash: str  # Hash of the model's weights, or ""
    settings: EvalSettings  # Settings of the run
    machine: Machine  # Machine that it ran on
    sets: tuple[SetScores, ...]  # Finished datasets
    # (name, weights hash) of the other models, without baselines
    peers: tuple[tuple[str, str], ...] = ()
    command: str = ""  # Command line, or ""
    skipped: tuple[tuple[str, str], ...] = ()  # (baseline, reason) of baselines that could not run

    @property
    def groups(self) -> tuple[str, ...]:
        """Names of the groups, in order of appearance; "all" if there are none."""
        names = dict.fromkeys(group for scores in self.sets for group in scores.groups)
        return tuple(names) or ("all",)

    def members(self, group: str) -> list[SetScores]:
        """Return the datasets of a group; "all" for every dataset."""
        return [scores for scores in self.sets if group == "all" or group in scores.groups]

    def mean(self, measure: str, *, group: str = "all", method: str | None = None) -> Mean:
        """Return the mean over a group's datasets of their means, by default of the subject."""
        name, area = method or self.subject, self.settings.min_area
        return mean_of_means([scores.select(name, measure, area) for scores in self.members(group)])

    def set_mean(
        self, name: str, measure: str, *, method: str | None = None, small: bool = False
    ) -> Mean:
        """Return the mean of one dataset, or of its small masks."""
        scores = next(scores for scores in self.sets if scores.name == name)
        return cluster_mean(
            *scores.select(method or self.subject, measure, self.settings.min_area, small)
        )

    def pairs(self) -> list[tuple[str, str]]:
        """Return every (method, measure) of any dataset, in order of appearance."""
        return list(dict.fromkeys(pair for scores in self.sets for pair in scores.columns))


def evaluation_to_json(run: Evaluation) -> dict[str, Any]:
    """Convert a run to JSON values, including means; NaN becomes null."""
    sets = []
    for scores in run.sets:
        large = scores.area >= run.settings.min_area
        columns = [
            {"method": method, "measure": measure}
            | _mean_to_json(run.set_mean(scores.name, measure, method=method))
            | {"values": _plain(values, 5)}
            for (method, measure), values in scores.columns.items()
        ]
        sets.append(
            {
                "name": scores.name, "groups": list(scores.groups),
                "measures": list(scores.measures), "masks": int(large.sum()),
                "small_masks": int((~large).sum()), "image": scores.image.tolist(),
                "mask": scores.mask.tolist(), "area": scores.area.tolist(), "columns": columns,
                "found": [_result_to_json(result) for result in scores.found],
            }
        )  # fmt: skip
    means = [
        {"group": group, "method": method, "measure": measure} | _mean_to_json(mean)
        for group in run.groups
        for method, measure in run.pairs()
        if not np.isnan((mean := run.mean(measure, group=group, method=method)).value)
    ]
    return {
        "format": RESULTS_FORMAT,
        "data": run.data,
        "subject": run.subject,
        "weights_hash": run.weights_hash,
        "peers": [{"name": name, "weights_hash": weights} for name, weights in run.peers],
        "command": run.command,
        "settings": dataclasses.asdict(run.settings),
        "machine": dataclasses.asdict(run.machine),
        "skipped": [list(pair) for pair in run.skipped],
        "means": means,
        "sets": sets,
    }


def _mean_to_json(mean: Mean) -> dict[str, Any]:
    return dict(_plain({"mean": mean.value, "low": mean.low, "high": mean.high}, 5))


def _result_to_json(found: SetResult) -> dict[str, Any]:
    row: dict[str, Any] = _plain(dataclasses.asdict(found))
    keys = row.keys() & {"method", "measure", "reason"} if found.reason else row.keys() - {"reason"}
    return {key: row[key] for key in ("method", "measure", *row) if key in keys}


def _plain(value: Any, digits: int = 6) -> Any:
    """Convert arrays to lists, round numbers, and replace NaN by None."""
    if isinstance(value, dict):
        return {key: _plain(item, digits) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return _plain(value.tolist(), digits)
    if isinstance(value, (list, tuple)):
        return [_plain(item, digits) for item in value]
    if isinstance(value, (float, np.floating)):
        return None if np.isnan(value) else round(float(value), digits)
    return value


def sets_from_json(raw: dict[str, Any]) -> tuple[SetScores, ...]:
    """Return the finished datasets of a written report. Raises DataError if it is invalid."""
    try:
        return tuple(
            SetScores(
                **{key: np.array(row[key], np.int64) for key in ("image", "mask", "area")},
                name=str(row["name"]),
                groups=tuple(row["groups"]),
                measures=tuple(row["measures"]),
                columns={
                    (str(column["method"]), str(column["measure"])): np.array(
                        column["values"], np.float64
                    )
                    for column in row["columns"]
                },
                found=tuple(_result_from_json(result) for result in row["found"]),
            )
            for row in raw["sets"]
        )
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            "This is not a report of `anymask evaluate`. Create a new report."
        ) from error


def _result_from_json(raw: dict[str, Any]) -> SetResult:
    """Convert the output of `_result_to_json` back; null becomes NaN."""
    whose: dict[str, Any] = {key: str(raw[key]) for key in ("method", "measure")}
    if "reason" in raw:
        return SetResult(**whose, reason=str(raw["reason"]))
    figures = []
    for row in raw["figures"]:
        numbers = {key: NAN if row[key] is None else row[key] for key in ("value", "low", "high")}
        parts = row["shares"] and [row["shares"][key] for key in ("top", "bottom", "count")]
        shares = Shares(*(np.array(part, np.float64) for part in parts)) if parts else None
        figures.append(MetricValue(**row | numbers | {"shares": shares}))
    curves = (
        Curve(**row | {axis: np.array(row[axis], np.float64) for axis in ("x", "y")})
        for row in raw["curves"]
    )
    tables = []
    for row in raw["tables"]:
        cells = tuple(tuple(NAN if cell is None else cell for cell in r) for r in row["rows"])
        tables.append(DetailTable(title=row["title"], header=tuple(row["header"]), rows=cells))
    return SetResult(
        **whose, figures=tuple(figures), curves=tuple(curves), tables=tuple(tables),
        notes=tuple(raw["notes"]),
    )  # fmt: skip
