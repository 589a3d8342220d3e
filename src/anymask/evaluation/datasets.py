"""Data of an evaluation: annotations of any format, a dataset, or a folder of datasets."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from anymask.base import DataError
from anymask.evaluation.measures import check_measures
from anymask.evaluation.selection import EvalSet, SetPlan
from anymask.formats import (
    LossReport,
    ReadSettings,
    SetInfo,
    fitting_layout,
    is_set,
    load_dataset,
    read,
)


def open_set(
    plan: SetPlan,
    folder: Path,
    reading: ReadSettings | None = None,
    layout: str = "auto",
    split: str | None = None,
) -> EvalSet:
    """Load a dataset. Raises DataError if it is missing or invalid.

    Args:
        reading: Handling of invalid records. None raises an error for the first one.
        layout: Layout, as in `load_dataset`.
        split: Split. Defaults to that of the layout.
    """
    report = LossReport(settings=reading)
    info, images = load_dataset(folder, layout, split, report)
    samples = []
    for image in images:
        with report.record(image.file_name):
            image.check_file()
            samples.append(image)
    for line in report.lines("not read", folder):
        print(line, file=sys.stderr)
    report.check_records(folder, sum(len(sample.masks) for sample in samples))
    return EvalSet(plan, info, samples, reading)


def with_measures(one: EvalSet, only: Sequence[str], also: Sequence[str]) -> EvalSet:
    """Replace the measures of a dataset by `only`, and add `also`. Raises ConfigError."""
    names = check_measures([*(only or one.plan.measures), *also], "measures")
    return replace(one, plan=replace(one.plan, measures=names))


@dataclass(frozen=True, kw_only=True)
class SetQuery:
    """Picklable description of the data to evaluate on."""

    data: str  # File or folder of annotations, or folder of datasets
    protocol: tuple[str, ...] = ()  # Names of `MEASURES` that replace the default ones
    also: tuple[str, ...] = ()  # Names of `MEASURES` in addition
    format: str | None = None  # Annotation format
    images: Path | None = None  # Folder of the images
    split: str | None = None  # Split of the dataset
    reading: ReadSettings = ReadSettings()  # Handling of invalid records

    def open(self) -> list[EvalSet]:
        """Return the datasets with their measures.

        Raises ConfigError for an unknown measure, DataError if the data are missing or invalid.
        """
        return [with_measures(dataset, self.protocol, self.also) for dataset in self._find()]

    def _find(self) -> list[EvalSet]:
        path = Path(self.data).expanduser()
        folders = [] if self.format or self.images or self.split else _datasets(path)
        if folders:
            return [open_set(SetPlan(name=folder.name), folder, self.reading) for folder in folders]
        # Load one file or folder of annotations.
        stream = read(path, self.format, self.images, self.split, **vars(self.reading))
        stream = stream.with_sizes_checked()
        samples = [replace(image, source=stream.image_path(image)) for image in stream]
        if not samples:
            raise DataError(
                f"{stream.source} contains no labeled images (read as {stream.format}). Label some."
            )
        for line in stream.unread_lines():
            print(line, file=sys.stderr)
        if self.split is None and len(stream.splits) > 1:
            print(
                f"evaluating all splits ({', '.join(stream.splits)}); --split selects one",
                file=sys.stderr,
            )
        folder = stream.source if stream.source.is_dir() else stream.source.parent
        info = SetInfo(name=stream.name, folder=folder, source=stream.format)
        return [EvalSet(SetPlan(name=stream.name), info, samples, stream.settings)]


def _datasets(path: Path) -> list[Path]:
    """Return a dataset itself, or the sets of this project in a folder; [] for annotations."""
    if not path.is_dir():
        return []
    if is_set(path):
        return [path]
    sets = sorted(filter(is_set, path.iterdir()))
    return sets or [path] * (fitting_layout(path) is not None)
