"""Which sets are measured, how, and which of their masks.

A suite is a TOML file:

    name = "zero-shot"
    clicks = 3                        # clicks on every mask
    min_area = 64                     # smaller masks are reported apart
    data = "../sets"                  # where the sets lie, from this file; --data says otherwise

    [[set]]
    name = "coco_val"                 # a folder under --data
    groups = ["dev"]                  # means that it belongs to
    measures = ["clicks", "box"]      # names of `measures.MEASURES`
    annotators = "first"              # or "all"

    [[set]]
    name = "cityscapes"
    layout = "cityscapes"             # as published (`data.layouts.LAYOUTS`, or "auto")
    folder = "Cityscapes"             # or a file of annotations; the name when left out
    split = "val"                     # the layout's own choice when left out
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np

from anymask.data.layouts import LAYOUTS, fitting_layout, load_dataset
from anymask.data.sets import Sample, SetInfo, is_set
from anymask.evaluation.hard_scenes import SCENES, scene_set
from anymask.evaluation.measures import DEFAULT, check_measures
from anymask.evaluation.metrics import Ints
from anymask.primitives.errors import ConfigError
from anymask.primitives.notation import parse_toml
from anymask.primitives.rle import rle_area

Annotators = Literal["first", "all"]
RENDERED = "rendered"
_LARGEST = 1_000_000_000  # of the numbers in a suite


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What holds for a whole run.

    clicks     clicks on every mask
    min_area   pixels; smaller masks are reported apart
    limit      masks of a set at most, None for all
    per_image  masks of a photo at most, None for all
    slow       masks of a set at most for slow baselines (GrabCut), None for all
    groups     a CSV file of groups for `fairness`, None for the sets' labels
    """

    clicks: int = 3
    min_area: int = 64
    limit: int | None = None
    per_image: int | None = None
    slow: int | None = 100
    groups: str | None = None


@dataclass(frozen=True, kw_only=True)
class SetPlan:
    """How one set is measured.

    name        its folder under the data folder
    groups      the means that it belongs to
    measures    what is measured: names of `measures.MEASURES`
    annotators  where several people drew a photo: the first one's masks, or all
    layout      how its publisher laid it out; "set" for a set of our own, "rendered" for a scene
                that `hard_scenes` draws, named by the set's name
    folder      where it lies under the data folder; "" means `name`
    split       which part is measured; None leaves it to the layout
    """

    name: str
    groups: tuple[str, ...] = ()
    measures: tuple[str, ...] = DEFAULT
    annotators: Annotators = "first"
    layout: str = "set"
    folder: str = ""
    split: str | None = None

    @property
    def place(self) -> str:
        """Where it lies under the data folder."""
        return self.folder or self.name


@dataclass(frozen=True, kw_only=True)
class Suite:
    """Sets that are measured together, and what holds for all of them.

    data  the folder that holds them, when the suite says it
    """

    name: str
    sets: tuple[SetPlan, ...]
    clicks: int = 3
    min_area: int = 64
    data: Path | None = None


@dataclass(frozen=True)
class EvalSet:
    """A plan and what was read for it."""

    plan: SetPlan
    info: SetInfo
    samples: list[Sample]


@dataclass(frozen=True)
class Chosen:
    """The masks of a set that are measured, (N,) each.

    image  index of the photo
    mask   index among the photo's masks
    area   pixels
    rank   place in the draw: those below n are what a limit of n draws
    """

    image: Ints
    mask: Ints
    area: Ints
    rank: Ints


def read_suite(path: str | Path) -> Suite:
    """Read a suite file; ConfigError names the key and what it should be."""
    path = Path(path)
    try:
        raw = parse_toml(path.read_bytes(), path)
    except FileNotFoundError as error:
        raise ConfigError(
            f"{path}: wanted a suite file (.toml), a set folder or a folder of sets; there is none"
        ) from error
    known = {"name": str, "clicks": int, "min_area": int, "data": str, "set": list}
    _check(raw, known, str(path))
    rows = raw.get("set", [])
    if not rows or not all(isinstance(row, dict) for row in rows):
        raise ConfigError(f"{path}: a suite needs at least one [[set]] with a name")
    suite = Suite(
        name=raw.get("name", path.stem),
        sets=tuple(_plan(row, f"{path}, set {n + 1}") for n, row in enumerate(rows)),
        clicks=raw.get("clicks", 3),
        min_area=raw.get("min_area", 64),
        data=path.parent / raw["data"] if "data" in raw else None,
    )
    for name, least in (("clicks", 1), ("min_area", 0)):
        value = getattr(suite, name)
        if value < least:
            raise ConfigError(f"{path}: {name} must be at least {least}, got {str(value)[:30]}")
        if value > _LARGEST:
            raise ConfigError(f"{path}: {name} must be at most {_LARGEST}, got {str(value)[:30]}")
    return suite


def folder_suite(folder: str | Path) -> tuple[Suite, Path]:
    """The suite of one set or published data set, or of all sets in a folder; and the folder that
    holds them."""
    folder = Path(folder)
    if is_set(folder):
        return Suite(name=folder.name, sets=(SetPlan(name=folder.name),)), folder.parent
    names = sorted(path.name for path in folder.iterdir() if path.is_dir() and is_set(path))
    if not names and (layout := fitting_layout(folder)):
        return Suite(
            name=folder.name, sets=(SetPlan(name=folder.name, layout=layout),)
        ), folder.parent
    if not names:
        raise ConfigError(
            f"{folder}: wanted a suite file (.toml), a set folder (with masks.jsonl), a folder of "
            "sets or a published data set; got none of them (docs/formats.md lists the layouts)"
        )
    return Suite(name=folder.name, sets=tuple(SetPlan(name=name) for name in names)), folder


def hard_suite() -> Suite:
    """Every kind of rendered scene; it needs no files."""
    plans = (SetPlan(name=name, groups=("hard",), layout=RENDERED) for name in SCENES)
    return Suite(name="hard", sets=tuple(plans))


def open_sets(suite: Suite, data: str | Path, names: Sequence[str] = ()) -> list[EvalSet]:
    """Read a suite's sets (or only `names` of them) from the folder that holds them.

    Raises ConfigError for a name that the suite does not have, DataError for a set that is absent
    or broken.
    """
    plans = {plan.name: plan for plan in suite.sets}
    unknown = [name for name in names if name not in plans]
    if unknown:
        raise ConfigError(
            f"suite {suite.name!r} has no set {unknown[0]!r}; it has {', '.join(plans)}"
        )
    chosen = [plans[name] for name in names] if names else list(suite.sets)
    return [
        EvalSet(plan, *scene_set(plan.name))
        if plan.layout == RENDERED
        else EvalSet(plan, *load_dataset(Path(data) / plan.place, plan.layout, plan.split))
        for plan in chosen
    ]


def choose_masks(
    plan: SetPlan, samples: Sequence[Sample], limit: int | None = None, per_image: int | None = None
) -> Chosen:
    """The masks to measure: at most `per_image` of a photo and `limit` of the set.

    Masks without a pixel are left out. A limit draws at random but the same ones every time, and a
    smaller limit draws a part of what a larger one draws.
    """
    rng = np.random.default_rng(zlib.crc32(plan.name.encode()))
    rows: list[tuple[int, int, int]] = []
    for image, sample in enumerate(samples):
        found = [
            (image, mask, area)
            for mask, rle in enumerate(sample.masks)
            if (area := rle_area(rle)) and _counts(plan, sample, mask)
        ]
        order = rng.permutation(len(found))
        rows += [found[n] for n in sorted(order[:per_image])]
    rank = rng.permutation(len(rows))
    drawn = [(*row, int(place)) for row, place in zip(rows, rank, strict=True)]
    if limit is not None:
        drawn = [row for row in drawn if row[3] < limit]
    table = np.array(drawn, np.int64).reshape(-1, 4)
    return Chosen(*table.T)


def _counts(plan: SetPlan, sample: Sample, mask: int) -> bool:
    """Whether this annotator's masks are measured."""
    if plan.annotators == "all" or sample.annotators[mask] is None:
        return True
    return sample.annotators[mask] == min(a for a in sample.annotators if a is not None)


def _plan(row: dict[str, Any], where: str) -> SetPlan:
    texts = ("name", "annotators", "layout", "folder", "split")
    _check(row, {"groups": list, "measures": list} | dict.fromkeys(texts, str), where)
    if not row.get("name"):
        raise ConfigError(f"{where}: wanted a name (the set's folder), got none")
    groups = row.get("groups", [])
    if not all(isinstance(group, str) for group in groups):
        raise ConfigError(f"{where}: groups must be a list of names, got {groups!r}")
    annotators = row.get("annotators", "first")
    if annotators not in ("first", "all"):
        raise ConfigError(f'{where}: annotators must be "first" or "all", got {annotators!r}')
    layout = row.get("layout", "set")
    if layout not in ("auto", "set", RENDERED, *LAYOUTS):
        names = ", ".join((RENDERED, *LAYOUTS))
        raise ConfigError(f"{where}: layout must be auto, set, {names}, got {layout!r}")
    if layout == RENDERED and row["name"] not in SCENES:
        raise ConfigError(
            f"{where}: there is no scene {row['name']!r} to render; there are {', '.join(SCENES)}"
        )
    return SetPlan(
        name=row["name"],
        groups=tuple(groups),
        measures=check_measures(row.get("measures", DEFAULT), where),
        annotators=cast(Annotators, annotators),
        layout=layout,
        folder=row.get("folder", ""),
        split=row.get("split"),
    )


def _check(raw: dict[str, Any], known: dict[str, type], where: str) -> None:
    for key, value in raw.items():
        if key not in known:
            raise ConfigError(f"{where}: unknown key {key!r}; known are {', '.join(known)}")
        if type(value) is not known[key]:
            raise ConfigError(
                f"{where}: {key} must be {known[key].__name__}, got {repr(value)[:60]}"
            )
