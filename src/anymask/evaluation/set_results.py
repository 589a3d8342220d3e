"""Results of measures of whole sets: values of masks in, metrics, curves, tables and JSON out.

The report prints, plots and averages findings without knowing what they mean. Letters: I photos.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from anymask.base import Floats, IntArray
from anymask.evaluation.metrics import NAN, Mean, Shares, mean_of_shares, sum_by_photo


class NotMeasured(Exception):
    """A method or a set cannot be measured so; the text is the reason that the report gives."""


@dataclass(frozen=True, eq=False, kw_only=True)
class MetricValue:
    """One number of a result.

    name    its column in the tables, such as "AR@100"
    value   NaN where nothing could be measured
    low     of the 95 % interval, NaN without one
    high    of the same
    shares  what each photo gives to the value; with them the report also has the figure of a group
            of sets with its interval, without them only the mean of the sets' values
    digits  after the point, in tables
    """

    name: str
    value: float
    low: float = NAN
    high: float = NAN
    shares: Shares | None = None
    digits: int = 3


@dataclass(frozen=True, eq=False, kw_only=True)
class Curve:
    """A line to plot: x and y of equal length, and what the axes are.

    Curves of one set and one title share a plot, one line a method.
    """

    title: str
    x: Floats
    y: Floats
    x_label: str
    y_label: str


@dataclass(frozen=True, kw_only=True)
class DetailTable:
    """Details below the figures: every row as long as the header."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str | float, ...], ...]


@dataclass(frozen=True, kw_only=True)
class SetResult:
    """All that one measure says of one method on one set."""

    figures: tuple[MetricValue, ...]
    curves: tuple[Curve, ...] = ()
    tables: tuple[DetailTable, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class MethodResult:
    """A result with its place in the report; `reason` says why there is none."""

    method: str
    measure: str
    result: SetResult | None = None
    reason: str = ""


def shares_to_metric(name: str, shares: Shares, digits: int = 3) -> MetricValue:
    """The sum of tops over the sum of bottoms, with an interval that draws whole photos."""
    mean = mean_of_shares([shares])
    return MetricValue(
        name=name, value=mean.value, low=mean.low, high=mean.high, shares=shares, digits=digits
    )


def values_to_metric(name: str, values: Floats, image: IntArray, digits: int = 3) -> MetricValue:
    """The mean of values (N,) without the NaN among them; `image` (N,) says whose they are."""
    there = ~np.isnan(values)
    return shares_to_metric(name, sum_by_photo(image[there], values[there]), digits)


def mean_over_sets(figures: Sequence[MetricValue]) -> Mean:
    """One figure over several sets, each set counting alike."""
    there = [figure for figure in figures if not np.isnan(figure.value)]
    shares = [figure.shares for figure in there if figure.shares is not None]
    if len(shares) == len(there):
        return mean_of_shares(shares)
    return Mean(float(np.mean([figure.value for figure in there])), NAN, NAN)


# --- JSON


def result_to_json(found: MethodResult) -> dict[str, Any]:
    """Plain values; NaN becomes null."""
    raw: dict[str, Any] = {"method": found.method, "measure": found.measure}
    if found.result is None:
        return raw | {"reason": found.reason}
    result = found.result
    return raw | {
        "figures": [_plain(dataclasses.asdict(figure)) for figure in result.figures],
        "curves": [_plain(dataclasses.asdict(curve)) for curve in result.curves],
        "tables": [_plain(dataclasses.asdict(table)) for table in result.tables],
        "notes": list(result.notes),
    }


def result_from_json(raw: dict[str, Any]) -> MethodResult:
    """What `result_to_json` wrote; KeyError, TypeError or ValueError for anything else."""
    found = MethodResult(method=str(raw["method"]), measure=str(raw["measure"]))
    if "reason" in raw:
        return replace(found, reason=str(raw["reason"]))
    result = SetResult(
        figures=tuple(_metric_from_json(row) for row in raw["figures"]),
        curves=tuple(_curve_from_json(row) for row in raw["curves"]),
        tables=tuple(
            DetailTable(
                title=row["title"],
                header=tuple(row["header"]),
                rows=tuple(tuple(NAN if cell is None else cell for cell in r) for r in row["rows"]),
            )
            for row in raw["tables"]
        ),
        notes=tuple(raw["notes"]),
    )
    return replace(found, result=result)


def _metric_from_json(row: dict[str, Any]) -> MetricValue:
    value, low, high = (NAN if row[key] is None else row[key] for key in ("value", "low", "high"))
    shares = None
    if row["shares"] is not None:
        rows = (row["shares"][key] for key in ("top", "bottom", "count"))
        shares = Shares(*(np.array(values, np.float64) for values in rows))
    return MetricValue(
        name=row["name"], value=value, low=low, high=high, shares=shares, digits=row["digits"]
    )


def _curve_from_json(row: dict[str, Any]) -> Curve:
    x, y = (np.array(row[key], np.float64) for key in ("x", "y"))  # null becomes NaN
    return Curve(title=row["title"], x=x, y=y, x_label=row["x_label"], y_label=row["y_label"])


def _plain(value: Any) -> Any:
    """Arrays as lists, numbers with six digits after the point, NaN as None."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, (float, np.floating)):
        return None if np.isnan(value) else round(float(value), 6)
    return value
