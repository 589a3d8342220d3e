"""Benchmark of folder jobs: photos and numbers of workers in, photos a second out.

Each contender is the command itself, in a process of its own; all take turns. The rate is that of
the work, from the first photo to the last, without loading models and starting Ray.
"""

from __future__ import annotations

import importlib.util
import json
import shlex
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from anymask.cli.folders import ending_well
from anymask.primitives.errors import AnymaskError, InputError
from anymask.primitives.notation import parse_json
from anymask.primitives.timing import Measurement, Timing, run_process

PHOTOS = 11_000_000  # of SA-1B (Segment Anything, section 5)
MACHINES = 1000
RATE = "photos a second"


@dataclass
class Contender:
    """A way to work through the folder, and what each turn gave."""

    label: str
    words: list[str]
    rates: list[float] = field(default_factory=list)
    starts: list[float] = field(default_factory=list)
    peaks: list[int] = field(default_factory=list)


def folder_figures(
    folder: Path, model: list[str], workers: list[int], rounds: int, options: str
) -> tuple[list[Measurement], list[str]]:
    """Rates, seconds around the work, memory, and the time of 1,000 machines.

    model    words that choose the model
    workers  how many, one contender each; Ray, where installed, gets as many as the largest
    options  further words for `everything`

    Raises InputError for a folder without photos, AnymaskError where nothing could be done.
    """
    if not folder.is_dir():
        raise InputError(f"wanted a folder of photos to measure on, {str(folder)!r} is none")
    contenders, notes = contend(workers)
    told: dict[str, Any] = {}
    words = [str(folder), "--no-overlay", *model, *shlex.split(options)]
    with ending_well():
        for _ in range(rounds):
            for contender in list(contenders):
                try:
                    told = measure(contender, words)
                except AnymaskError as error:
                    notes.append(f"skipped: {contender.label}: {error}")
                    contenders.remove(contender)
    if not contenders:
        raise InputError("nothing could be measured; " + "; ".join(notes))
    notes += [
        f"{told['done']} photos in {str(folder)!r}, {told['made'] / told['done']:.0f} masks each; "
        f"{told['failed']} failed",
        f"weights {told['about']['weights']}, settings {json.dumps(told['about']['grid'])}",
        f"the time of {MACHINES} machines like this one is {PHOTOS} photos / rate / {MACHINES}: "
        "the work alone, without copying photos and without failures",
    ]
    return [figure for contender in contenders for figure in figures_of(contender)], notes


def contend(workers: list[int]) -> tuple[list[Contender], list[str]]:
    """Who takes part, and who is left out and why."""
    contenders = [
        Contender(f"{count} worker{'s' * (count > 1)}", ["--workers", str(count)])
        for count in workers
    ]
    if not importlib.util.find_spec("ray"):
        return contenders, ["skipped: ray: it is not installed"]
    most = str(max(workers))
    contenders.append(Contender(f"ray, {most}", ["--workers", most, "--engine", "ray"]))
    return contenders, []


def measure(contender: Contender, words: list[str]) -> dict[str, Any]:
    """One turn; what the run says of itself. Raises AnymaskError where it did no photo."""
    with tempfile.TemporaryDirectory() as place:
        told = Path(place) / "told.json"
        command = [sys.executable, "-m", "anymask", "everything", *words, *contender.words]
        command += ["-o", str(Path(place) / "out"), "--json", str(told)]
        seconds, peak = 0.0, None
        try:
            run = run_process(command)
            seconds, peak = run.seconds, run.peak
        except AnymaskError:
            if not told.is_file():  # where some photos failed, the others still count
                raise
        summary: dict[str, Any] = parse_json(told.read_bytes(), told)
    if not summary["done"]:
        raise InputError(f"none of the {summary['photos']} photos could be done")
    contender.rates.append(summary["photos_per_second"])
    if seconds:
        contender.starts.append(seconds - summary["seconds"])
    if peak is not None and "ray" not in contender.words:  # whose actors are not our children
        contender.peaks.append(peak)
    return summary


def figures_of(contender: Contender) -> list[Measurement]:
    """One column."""
    label = contender.label
    rate = Timing("", tuple(contender.rates)).median
    hours = PHOTOS / rate / MACHINES / 3600
    figures = [
        Measurement(RATE, label, rate, "", tuple(contender.rates)),
        Measurement(f"{PHOTOS} photos on {MACHINES} machines", label, hours, " hours"),
    ]
    if contender.starts:
        start = Timing("", tuple(contender.starts)).median
        figures.append(Measurement("start and end", label, start, "s", tuple(contender.starts)))
    if contender.peaks:
        figures.append(
            Measurement("memory of the largest process", label, max(contender.peaks), "bytes")
        )
    return figures


def read_workers(text: str) -> list[int]:
    """`1,2` -> [1, 2]. Raises InputError."""
    parts = text.split(",")
    if not all(part.strip().isdecimal() and int(part) > 0 for part in parts):
        raise InputError(f"wanted --workers as numbers of at least 1, such as 1,2; got {text!r}")
    return [int(part) for part in parts]
