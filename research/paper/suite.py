"""Suites: files that name datasets, their groups and what is measured on them.

clicks = 3                   # optional settings of `anymask.evaluation`: clicks and min_area
data = "../sets"             # data folder, relative to the file; --data overrides it

[[set]]
name = "coco_val"
groups = ["dev"]             # groups whose means include it
measures = ["clicks", "box"]
annotators = "first"         # or "all"
layout = "cityscapes"        # a name of `anymask.formats.all_layouts()`; default: "set"
folder = "Cityscapes"        # in the data folder; default: the name
split = "val"                # default: that of the layout
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anymask.base import parse_toml
from anymask.evaluation.datasets import open_set
from anymask.evaluation.selection import EvalSet, SetPlan
from anymask.formats import ReadSettings

SUITES = Path(__file__).parent / "suites"


@dataclass(frozen=True, kw_only=True)
class SuiteSet:
    """A dataset of a suite, and its place in the data folder."""

    plan: SetPlan
    place: str
    layout: str = "set"
    split: str | None = None

    def open(self, root: Path, reading: ReadSettings | None = None) -> EvalSet:
        """Load the dataset. Raises DataError."""
        return open_set(self.plan, root / self.place, reading, self.layout, self.split)


@dataclass(frozen=True, kw_only=True)
class Suite:
    """Datasets that are evaluated together, with their settings and data folder."""

    name: str
    sets: tuple[SuiteSet, ...]
    settings: dict[str, Any]
    data: Path | None


def read_suite(name: str) -> Suite:
    """Read a suite by name."""
    path = SUITES / f"{name}.toml"
    raw = parse_toml(path.read_bytes(), path)
    sets = tuple(_suite_set(row) for row in raw.pop("set"))
    data = raw.pop("data", None)
    return Suite(name=name, sets=sets, settings=raw, data=data and SUITES / data)


def _suite_set(row: dict[str, Any]) -> SuiteSet:
    where = {key: row.pop(key) for key in ("layout", "split") if key in row}
    place = row.pop("folder", row["name"])
    plan = {key: tuple(value) if isinstance(value, list) else value for key, value in row.items()}
    return SuiteSet(plan=SetPlan(**plan), place=place, **where)
