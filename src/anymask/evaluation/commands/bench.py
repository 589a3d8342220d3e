"""`anymask bench`: how fast this machine is, from a cold start to the last click."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from anymask.base import (
    AnymaskError,
    InputError,
    this_machine,
    thread_setting,
)
from anymask.cli import add_model_options, read_count, read_model
from anymask.evaluation.commands import write_report
from anymask.evaluation.report import Report, Section, TextTable
from anymask.evaluation.timing import Measurement, TimedCall, Timing, run_process, time_in_turns

SUMMARY = "measure speed and memory on this machine"
PROMPT_COUNTS = (1, 16, 64, 256)
PHOTO_HW = (683, 1024)
MODES: dict[str, dict[str, Any]] = {
    "exact": {"mode": "exact", "decoder_precision": "model"},
    "mixed": {"mode": "exact", "decoder_precision": "mixed"},
    "adaptive": {"mode": "adaptive"},
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    add = parser.add_argument
    # fmt: off
    add("name", metavar="MODEL", nargs="?", help="the model (default: --model)")
    add_model_options(parser)
    add("--everything", action="store_true", help="only automatic masks, in every mode")
    add("--photo", metavar="FILE", help="a photo of yours, else noise of 1024 x 683 pixels")
    add("--threads", metavar="N", type=int, help="threads of the model (default: all)")
    add("--rounds", metavar="N", type=read_count, default=5, help="turns of each step (default: 5)")
    add("--grid", metavar="N", type=int, default=32,
        help="clicks along each side for everything (default: 32)")
    add("--json", metavar="FILE", type=Path, help="write the figures there too")
    # fmt: on


def run(args: argparse.Namespace) -> None:
    """Measure and print one table. Raises InputError where nothing can be measured."""
    notes = ["medians of turns in which all steps alternate"]
    if args.name:
        args.model = args.name
    machine = this_machine()
    with _photo(args.photo) as photo, thread_setting(args.threads):
        figures = [] if args.everything else _process_figures(args, photo, notes)
        figures += _runtime_figures(args, photo, notes)
    columns = list(dict.fromkeys(figure.runtime for figure in figures))
    cells = {(figure.what, figure.runtime): _cell(figure) for figure in figures}
    rows = [
        [what, *(cells.get((what, column), "") for column in columns)]
        for what in dict.fromkeys(figure.what for figure in figures)
    ]
    plain = [dataclasses.asdict(figure) for figure in figures]
    data = {
        "machine": dataclasses.asdict(machine),
        "model": read_model(args).model,
        "threads": args.threads,
    }
    report = Report(
        title="bench",
        sections=[Section(tables=[TextTable(["", *columns], rows)])],
        notes=[*notes, f"machine: {machine.line()}"],
        rows=plain,
        data={**data, "threads": args.threads, "notes": notes, "figures": plain},
    )
    write_report(report, args)


@contextlib.contextmanager
def _photo(given: str | None) -> Iterator[Path]:
    """The photo that was given, or soft blobs, the same every time, for as long as needed."""
    import cv2
    import numpy as np

    if given:
        if not Path(given).is_file():
            raise InputError(f"--photo {given}: wanted a picture file, there is none")
        yield Path(given)
        return
    with tempfile.TemporaryDirectory() as folder:
        small = np.random.default_rng(0).integers(0, 256, (12, 18, 3), np.uint8)
        image = cv2.resize(small, PHOTO_HW[::-1], interpolation=cv2.INTER_CUBIC)
        path = Path(folder) / "photo.jpg"
        path.write_bytes(cv2.imencode(path.suffix, image)[1].tobytes())
        yield path


def _process_figures(args: argparse.Namespace, photo: Path, notes: list[str]) -> list[Measurement]:
    """The import, and a whole `anymask segment` in a process of its own, with its peak memory."""
    given = [f"--{name}={value}" for name in ("model", "weights") if (value := vars(args)[name])]
    with tempfile.TemporaryDirectory() as folder:
        words = ["-m", "anymask", "segment", str(photo), "--point", "40,40", "-o"]
        segment = [*words, str(Path(folder) / "mask.png"), *given]
        jobs = {"python": ["-c", "pass"], "import": ["-c", "import anymask"], "segment": segment}
        try:  # the first turn fills the disk cache
            turns = [
                {name: run_process([sys.executable, *words]) for name, words in jobs.items()}
                for _ in range(args.rounds + 1)
            ]
        except AnymaskError as error:
            notes.append(f"skipped: cold start: {error}")
            return []
    bare = Timing("", tuple(turn["python"].seconds for turn in turns[1:])).median
    imports = tuple(max(turn["import"].seconds - bare, 0.0) for turn in turns[1:])
    starts = tuple(turn["segment"].seconds for turn in turns[1:])
    figures = [
        Measurement(what, "process", Timing("", seconds).median, "s", seconds)
        for what, seconds in (("import anymask", imports), ("cold start to first mask", starts))
    ]
    peaks = [peak for turn in turns if (peak := turn["segment"].peak) is not None]
    if peaks:
        figures.append(Measurement("peak memory of that", "process", max(peaks), "bytes"))
    return figures


def _runtime_figures(args: argparse.Namespace, photo: Path, notes: list[str]) -> list[Measurement]:
    """Every step inside this process, for each runtime that can open the model."""
    from anymask.images import load_image

    image = load_image(photo)
    notes.append(f"photo: {image.shape[1]} x {image.shape[0]} pixels, in memory")
    figures: list[Measurement] = []
    asked = args.runtime or "auto"
    for runtime in ("onnx", "torch") if asked == "auto" else (asked,):
        try:
            model, loading = _timed("load", read_model(args, runtime=runtime).load)
        except AnymaskError as error:
            notes.append(f"skipped: {runtime}: {error}")
            continue
        timings = [loading]
        if not args.everything:
            timings.append(_timed("first encode", partial(model.encode, image))[1])
            timings += time_in_turns(_steps(model, image), args.rounds)
        figures += [Measurement(t.name, runtime, t.median, "s", t.seconds) for t in timings]
        features = model.encode(image)
        for mode, settings in (MODES if args.everything else {"": {}}).items():
            column = f"{runtime}, {mode}" if mode else runtime
            settings = {"grid": args.grid, **settings}
            found, timing = _timed("everything", partial(model.everything, features, **settings))
            figures.append(Measurement(timing.name, column, timing.median, "s", timing.seconds))
            figures.append(Measurement("masks of everything", column, len(found), ""))
    if not figures:
        raise InputError("nothing could be measured; " + "; ".join(notes[2:]))
    return figures


def _timed(name: str, call: Callable[[], Any]) -> tuple[Any, Timing]:
    """What a call returns, and how long it took."""
    start = time.perf_counter()
    result = call()
    return result, Timing(name, (time.perf_counter() - start,))


def _steps(model: Any, image: Any) -> list[TimedCall]:
    """What is timed in turns."""
    from anymask.masks import Prompt, point_grid

    points = point_grid(16) * (image.shape[1], image.shape[0])
    features = model.encode(image)
    accepts = model.spec.accepts
    before = model.segment(features, points=points[[100]], multimask=True)
    further = {"points": points[[100, 200]], "multimask": False,
               "point_labels": [1, 0] if "negative_point" in accepts else [1, 1],
               "mask": before.logits[0] if "mask" in accepts else None}  # fmt: skip

    def click(count: int) -> Any:
        step = len(points) // count
        prompts = [Prompt.of(points=[point]) for point in points[step // 2 :: step][:count]]
        return model.segment(features, prompts=prompts, multimask=True)

    def masks(of: Any, **asked: Any) -> Any:
        return model.segment(of, **asked).masks

    steps = [
        TimedCall("encode (with preprocessing)", partial(model.encode, image)),
        *(TimedCall(f"{n} prompt{'s' * (n > 1)}", partial(click, n)) for n in PROMPT_COUNTS),
        TimedCall("a further click, with its mask", partial(masks, features, **further)),
    ]
    if "box" in accepts:
        box = (*points[68], *points[187])
        steps.append(TimedCall("a box, with its mask", partial(masks, features, box=box)))
    whole = partial(masks, image, points=points[[100]], multimask=True)
    return [*steps, TimedCall("encode + click + masks", whole)]


def _cell(figure: Measurement) -> str:
    value = figure.value
    if value is None:
        return ""
    if figure.unit == "s":
        return f"{value * 1000:.1f} ms" if value < 1 else f"{value:.2f} s"
    return f"{value / 2**20:.0f} MiB" if figure.unit == "bytes" else f"{value:.4g}{figure.unit}"
