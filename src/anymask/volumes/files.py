"""Track objects through a scan and write label files.

An unfinished run is saved next to its first output, and the same call resumes it. A session file
chosen by the user is kept, and later prompts correct it.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from anymask.base import InputError, OnProgress, brief, claimed_file, refuse_inputs
from anymask.masks import Prompt
from anymask.segment import Model
from anymask.track import review_text
from anymask.volumes.dicom_labels import series_of
from anymask.volumes.reading import read_volume
from anymask.volumes.session import AXIS_LETTERS, VolumeSession, VolumeSettings, open_volume_session
from anymask.volumes.volume import Volume
from anymask.volumes.writing import check_label_path, measure_labels, write_labels


@brief
@dataclass(frozen=True, kw_only=True)
class VolumeFiles:
    """Inputs, outputs and settings of a run.

    Raises InputError if an output is not supported, is also an input or is repeated, or a setting
    is invalid.
    """

    scan: Path  # As for `read_volume`
    prompts: Sequence[Prompt]  # Prompts with the number of the slice and the object
    outputs: Sequence[Path]  # As for `write_labels`
    axis: int = 0  # Axis across which the slices lie: 0 is z, 1 is y, 2 is x
    names: Mapping[int, str] = field(default_factory=dict)  # Object number to name
    frame: int | None = None  # Time point or channel of the file
    series: str | None = None  # DICOM series
    settings: Mapping[str, Any] = field(default_factory=dict)  # As for `Model.volume`

    def __post_init__(self) -> None:
        VolumeSettings(**self.settings)
        if len(set(map(os.path.realpath, self.outputs))) < len(self.outputs):
            raise InputError("Duplicate outputs. Use a different name for each output.")
        read = [Path(prompt.source) for prompt in self.prompts if prompt.source]
        for path in self.outputs:
            check_label_path(path)
            refuse_inputs(path, self.scan, *read)

    def words(self, model: str) -> str:
        """Key that identifies the run."""
        prompts = [prompt.to_json() for prompt in self.prompts]
        stat = self.scan.stat()
        about = [str(self.scan), stat.st_size, stat.st_mtime_ns, self.frame, self.series, model]
        settings = {name: str(value) for name, value in self.settings.items() if name != "session"}
        return json.dumps([prompts, self.axis, about, sorted(settings.items())])


def track_volume_file(
    load: Callable[[], Model], job: VolumeFiles, model: str = "", progress: OnProgress | None = None
) -> list[str]:
    """Track objects through a scan and write their labels. Returns messages about the run.

    Args:
        load: Function that loads the model, called after the scan was read.
        model: Identifier of the model. A run is resumed only with the same one.
        progress: Called with the number of processed slices, and of all slices of their axes.

    Raises:
        InputError: Another run writes the same output. Otherwise as `Model.volume`, `read_volume`
            and `write_labels`.
    """
    with claimed_file(job.outputs[0]):
        scan = read_volume(job.scan, frame=job.frame, series=job.series)
        if any(output.name.lower().endswith(".dcm") for output in job.outputs):
            series_of(scan)  # fail before tracking
        first, kept, words = job.outputs[0], job.settings.get("session"), job.words(model)
        path = first.with_name(f".{first.name}.session") if kept is None else Path(kept)
        settings: dict[str, Any] = {**job.settings, "session": path}
        opened, stored = load(), None
        if kept is None and path.exists():
            stored = "of another model or scan"
            with (
                contextlib.suppress(InputError),
                open_volume_session(opened, scan, **settings) as earlier,
            ):
                stored = earlier.metadata("command")
        if stored not in (None, words):
            _forget(path)
        with open_volume_session(opened, scan, **settings) as session:
            if session.metadata("command") != words:  # else an interrupted run has added them
                for prompt in job.prompts:
                    session.add(
                        prompt.frame or 0, prompt.object_id or 1, axis=job.axis,
                        points=prompt.points, labels=prompt.labels, box=prompt.box,
                        mask=prompt.mask, lasso=prompt.lasso,
                    )  # fmt: skip
                session.metadata("command", words)
                session.checkpoint()
            axes = {axis for number in session.objects for axis, _ in session.prompts(number)}
            total, seen = sum(scan.shape[axis] for axis in axes), set[tuple[int, int]]()
            for tracked in session.propagate():
                seen.add((tracked.axis, tracked.index))
                if progress is not None:
                    progress(len(seen), total)
            labels = session.labels(job.names)
            for output in job.outputs:
                write_labels(output, labels, scan)
            written = [f"wrote {output}" for output in job.outputs]
            notes = written + _summary_lines(session, labels)
        if kept is None:
            _forget(path)
        return notes


def _forget(path: Path) -> None:
    for name in (path.name, *(f"{path.name}.{letter}" for letter in AXIS_LETTERS[1:])):
        with contextlib.suppress(FileNotFoundError):
            path.with_name(name).unlink()


def volume_text(millilitres: float) -> str:
    """Format a volume in ml, or in mm3 or um3 if it is small."""
    cubes = 1000 * millilitres
    for value, unit in ((millilitres, "ml"), (cubes, "mm³")):
        if value >= 0.1:
            return f"{value:.2f} {unit}"
    return f"{1e9 * cubes:,.0f} µm³"


def depth_text(millimeters: float) -> str:
    """Format a depth in mm, or in um if it is small."""
    return f"{millimeters:.1f} mm" if millimeters >= 0.1 else f"{1000 * millimeters:.3g} µm"


def _summary_lines(session: VolumeSession, labels: Volume) -> list[str]:
    """Messages about each object, and the slices to review."""
    measured = {measure.label: measure for measure in measure_labels(labels)}
    notes = []
    for number in session.objects:
        name = labels.names.get(number, f"object {number}")
        if number not in measured:
            notes.append(f"{name}: nothing found")
            continue
        measure, depth = measured[number], labels.spacing[0]
        z = (labels.array == number).any(axis=(1, 2)).nonzero()[0]
        notes.append(
            f"{name}: {volume_text(measure.volume_ml)}, z slices {z[0]} to {z[-1]} "
            f"({depth_text(len(z) * depth)})"
        )
        if ends := session.ends(number):
            notes.append(
                f"{name}: tracking stopped at {' and '.join(ends)}. If the object continues there, "
                "pass --stop no, or add a prompt."
            )
    review = session.slices_to_review()
    for axis, letter in enumerate(AXIS_LETTERS):
        if rows := [row[1:] for row in review if row[0] == axis]:
            notes.append(f"Low confidence, check slices {letter} {review_text(rows)}")
    if not review:
        notes.append("No slice has low confidence. Check them anyway: not every error is found.")
    return notes
