"""Data of an evaluation: a suite (TOML), a folder of datasets, or annotations of any format.

A suite is a TOML file:

    name = "zero-shot"
    clicks = 3                        # clicks on every mask
    min_area = 64                     # smaller masks are reported separately
    data = "../sets"                  # data folder, relative to this file; --data overrides it

    [[set]]
    name = "coco_val"                 # a folder in --data
    groups = ["dev"]                  # groups whose means include it
    measures = ["clicks", "box"]      # names of `measures.MEASURES`
    annotators = "first"              # or "all"

    [[set]]
    name = "cityscapes"
    layout = "cityscapes"             # as published (`formats.layouts.LAYOUTS`, or "auto")
    folder = "Cityscapes"             # or a file of annotations; defaults to the name
    split = "val"                     # defaults to that of the layout
"""

from __future__ import annotations

import difflib
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from anymask.base import (
    ConfigError,
    DataError,
    InputError,
    Setting,
    brief,
    check_settings,
    describe_settings,
    parse_toml,
    settings_from_table,
)
from anymask.evaluation.measures import check_measures
from anymask.evaluation.selection import EvalSet, SetPlan
from anymask.formats import (
    LAYOUTS,
    Dataset,
    LossReport,
    ReadSettings,
    SetInfo,
    fitting_layout,
    is_set,
    load_dataset,
    read,
)

SHIPPED = Path(__file__).parents[1] / "assets" / "suites"
_LARGEST = 1_000_000_000  # maximum of numbers in a suite


@brief
@describe_settings
@dataclass(frozen=True, kw_only=True)
class Suite:
    """Datasets that are evaluated together (`sets`), with common settings."""

    name: Annotated[str, Setting("name of the suite")]
    sets: tuple[SetPlan, ...]
    clicks: Annotated[int, Setting("clicks on every mask", least=1, most=_LARGEST)] = 3
    min_area: Annotated[
        int, Setting("area below which masks are reported separately", most=_LARGEST)
    ] = 64
    data: Annotated[Path | None, Setting("data folder, if the suite declares it")] = None

    def __post_init__(self) -> None:
        check_settings(self)


def shipped_suites() -> tuple[str, ...]:
    """Return the names of the bundled suites."""
    return tuple(sorted(path.stem for path in SHIPPED.glob("*.toml")))


def find_suite(word: str) -> Path:
    """Resolve a suite file or the name of a bundled suite. Raises ConfigError."""
    path = Path(word).expanduser()
    if path.is_file():
        return path
    if word in shipped_suites():
        return SHIPPED / f"{word}.toml"
    near = difflib.get_close_matches(word, shipped_suites(), 1)
    guess = f"Did you mean {near[0]!r}? " if near else ""
    raise ConfigError(
        f"{word!r} does not exist. Expected a suite file (.toml), a set folder, a folder of sets "
        f"or a built-in suite. {guess}Built-in suites: {', '.join(shipped_suites())}."
    )


def read_suite(path: str | Path) -> Suite:
    """Read a suite file. Raises ConfigError that names the key and the expected value."""
    path = Path(path)
    try:
        raw = parse_toml(path.read_bytes(), path)
    except FileNotFoundError as error:
        raise ConfigError(
            f"{path} does not exist. Expected a suite file (.toml), a set folder or a folder of "
            "sets."
        ) from error
    rows = raw.pop("set", [])
    tables = isinstance(rows, list) and all(isinstance(row, dict) for row in rows)
    plans = (
        [_plan(row, f"{path}, set {n}") for n, row in enumerate(rows, start=1)] if tables else []
    )
    if isinstance(raw.get("data"), str):
        raw["data"] = path.parent / raw["data"]
    suite = settings_from_table(Suite, {"name": path.stem, **raw}, path, sets=tuple(plans))
    if not plans:
        raise ConfigError(f"{path} has no [[set]] with a name. Add at least one.")
    return suite


def folder_suite(folder: str | Path) -> tuple[Suite, Path]:
    """Create a suite for one set or published dataset, or for all sets in a folder; return it with
    the data folder."""
    folder = Path(folder)
    if is_set(folder):
        return Suite(name=folder.name, sets=(SetPlan(name=folder.name),)), folder.parent
    names = sorted(path.name for path in folder.iterdir() if path.is_dir() and is_set(path))
    if names:
        return Suite(name=folder.name, sets=tuple(SetPlan(name=name) for name in names)), folder
    if layout := fitting_layout(folder):
        plan = SetPlan(name=folder.name, layout=layout)
        return Suite(name=folder.name, sets=(plan,)), folder.parent
    raise ConfigError(
        f"{folder} is not a dataset. Expected a suite file (.toml), a set folder (with "
        "masks.jsonl), a folder of sets or a published dataset (see docs/reference/formats.md)."
    )


def labelled_suite(stream: Dataset) -> tuple[Suite, list[EvalSet]]:
    """Create a suite for one file or folder of annotations; return it with the loaded dataset.

    Raises DataError if the annotations are invalid or empty, or if an image is missing.
    """
    samples = [replace(one, source=stream.picture(one)) for one in stream]
    if not samples:
        raise DataError(
            f"{stream.source} contains no labeled images (read as {stream.form}). Pass a "
            "labeled dataset."
        )
    folder = stream.source if stream.source.is_dir() else stream.source.parent
    info = SetInfo(name=stream.name, folder=folder, source=stream.form)
    plan = SetPlan(name=stream.name, layout=stream.form, folder=str(stream.source))
    return Suite(name=stream.name, sets=(plan,)), [EvalSet(plan, info, samples, stream.settings)]


def open_sets(
    suite: Suite,
    data: str | Path,
    names: Sequence[str] = (),
    reading: ReadSettings | None = None,
) -> list[EvalSet]:
    """Load a suite's datasets (or only `names` of them) from the data folder.

    Raises ConfigError for a name that the suite does not have, DataError for a dataset that is
    missing or invalid.

    Args:
        reading: Handling of invalid records. None raises an error for the first one.
    """
    plans = {plan.name: plan for plan in suite.sets}
    unknown = [name for name in names if name not in plans]
    if unknown:
        raise ConfigError(
            f"Unknown set {unknown[0]!r} in the suite {suite.name!r}. Available sets: "
            f"{', '.join(plans)}."
        )
    chosen = [plans[name] for name in names] if names else list(suite.sets)
    return [_opened(plan, Path(data) / plan.place, reading) for plan in chosen]


def _opened(plan: SetPlan, place: Path, reading: ReadSettings | None) -> EvalSet:
    """Load a dataset; invalid records are skipped and reported as `reading` specifies."""
    report = LossReport(settings=reading)
    info, found = load_dataset(place, plan.layout, plan.split, report)
    samples = []
    for image in found:
        with report.record(image.file_name):
            image.check_file()
            samples.append(image)
    for line in report.lines("not read", place):
        print(line, file=sys.stderr)
    report.check_records(place, sum(len(one.masks) for one in samples))
    return EvalSet(plan, info, samples, reading)


@dataclass(frozen=True, kw_only=True)
class SetQuery:
    """Picklable description of the data to evaluate on.

    Attributes:
        data: File or folder of annotations, folder of datasets, or suite.
        root: Data folder of the suite.
        sets: Names of the suite's datasets; () for all.
        protocol: Names of `MEASURES` that replace those of the suite.
        also: Names of `MEASURES` in addition to those of the suite.
        form: Annotation format.
        images: Folder of the images.
        split: Split of the dataset.
        reading: Handling of invalid records.
    """

    data: str
    root: Path | None = None
    sets: tuple[str, ...] = ()
    protocol: tuple[str, ...] = ()
    also: tuple[str, ...] = ()
    form: str | None = None
    images: Path | None = None
    split: str | None = None
    reading: ReadSettings = ReadSettings()

    def open(self) -> tuple[Suite, list[EvalSet]]:
        """Return the suite and the selected datasets with their measures.

        Raises ConfigError or DataError if something is missing or invalid, InputError if options
        conflict.
        """
        suite, sets = self._find()
        measures = [[*(self.protocol or one.plan.measures), *self.also] for one in sets]
        return suite, [
            replace(one, plan=replace(one.plan, measures=check_measures(names, "measures")))
            for one, names in zip(sets, measures, strict=True)
        ]

    def _find(self) -> tuple[Suite, list[EvalSet]]:
        path = Path(self.data).expanduser()
        about_labels = {"form": self.form, "images": self.images, "split": self.split}
        given = [name for name, value in about_labels.items() if value is not None]
        if path.exists() and path.suffix != ".toml" and (given or not _has_sets(path)):
            stream = read(path, self.form, self.images, self.split, **vars(self.reading))
            stream = stream.with_sizes_checked()
            suite, sets = labelled_suite(stream)
            for line in stream.unread_lines():
                print(line, file=sys.stderr)
            if self.sets and list(self.sets) != [suite.name]:
                raise ConfigError(
                    f"Option `sets` applies only to suites, but {path} is a single set. Omit "
                    "`sets`."
                )
            return suite, sets
        if given:
            raise InputError(
                f"{given[0]} applies only to a single file or folder of labels, but {self.data!r} "
                f"was given. Omit {given[0]}."
            )
        if path.is_dir():
            suite, parent = folder_suite(path)
            return suite, open_sets(suite, parent, self.sets, self.reading)
        file = find_suite(self.data)
        suite = read_suite(file)
        folder = suite.data if self.root is None else self.root.expanduser()
        if folder is None or not folder.is_dir():
            unsaid = folder is None or (self.root is None and file.parent == SHIPPED)
            lost = "" if unsaid else f" ({folder} is not a folder)"
            raise ConfigError(
                f"The data folder of the suite {suite.name!r} is missing{lost}. Set it with "
                "--data DIR."
            )
        return suite, open_sets(suite, folder, self.sets, self.reading)


def _has_sets(path: Path) -> bool:
    """Return whether a path is a set of this project, a folder of sets, or a published dataset."""
    if not path.is_dir():
        return False
    return is_set(path) or any(map(is_set, path.iterdir())) or fitting_layout(path) is not None


def _plan(row: dict[str, Any], where: str) -> SetPlan:
    plan = settings_from_table(SetPlan, row, where)
    if not plan.name:
        raise ConfigError(f"Missing name in {where}. Set name to the folder name of the set.")
    if plan.layout not in ("auto", "set", *LAYOUTS):
        names = ", ".join(LAYOUTS)
        raise ConfigError(
            f"Unknown layout {plan.layout!r} in {where}. Use one of: auto, set, {names}."
        )
    return replace(plan, measures=check_measures(plan.measures, where))
