"""`anymask bench`: measure speed on this machine, from a cold start to a click.

Runtimes are timed in turns, so that other load affects all of them; the median is reported.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from anymask.base import AnymaskError, InputError, say, this_machine, thread_setting
from anymask.cli.command import Argument, Command
from anymask.cli.options import MODEL, read_count, read_model
from anymask.cli.reports import JSON, write_report
from anymask.evaluation.report import Report, Section, TextTable
from anymask.models.rules import field_rules

IMAGE_HW = (683, 1024)
BENCH_MODES: dict[str, dict[str, Any]] = {
    "exact": {"mode": "exact", "decoder_precision": "model"},
    "mixed": {"mode": "exact", "decoder_precision": "mixed"},
    "adaptive": {"mode": "adaptive"},
}
K = TypeVar("K")


@dataclass(frozen=True)
class Measurement:
    """One cell of the table: row, column, value, its unit ("s", "bytes" or "" for a plain number),
    and the value of each turn if there are several."""

    what: str
    runtime: str
    value: float
    unit: str = "s"
    turns: tuple[float, ...] = ()

    def text(self) -> str:
        """Return the value as shown in the table."""
        if self.unit == "s":
            return f"{self.value * 1000:.1f} ms" if self.value < 1 else f"{self.value:.2f} s"
        return f"{self.value / 2**20:.0f} MiB" if self.unit else f"{self.value:.4g}"


def run(args: argparse.Namespace) -> Report:
    """Measure everything. Raises InputError if nothing can be measured."""
    notes = ["times are medians over several rounds; each round runs every step once"]
    args.model = args.name or args.model
    machine = this_machine()
    with tempfile.TemporaryDirectory() as folder, thread_setting(args.threads):
        pixels = Path(args.image) if args.image else _draw_image(Path(folder) / "photo.jpg")
        if not pixels.is_file():
            raise InputError(
                f"The image {args.image} does not exist. Check the path after --image."
            )
        image = args.image or f"a generated image of {IMAGE_HW[1]} x {IMAGE_HW[0]} pixels"
        parts = "" if args.everything else "cold start, encoding, prompts and "
        rounds = "in every mode" if args.everything else f"{args.rounds} rounds"
        say(
            f"Measuring {read_model(args).model} on {image}: {parts}automatic mask generation, "
            f"{rounds}. This takes a minute or more; nothing is downloaded. Press Ctrl+C to stop."
        )
        figures = [] if args.everything else _measure_processes(args, pixels, Path(folder), notes)
        figures += _measure_steps(args, pixels, notes)
    columns = list(dict.fromkeys(figure.runtime for figure in figures))
    cells = {(figure.what, figure.runtime): figure.text() for figure in figures}
    rows = [
        [what, *(cells.get((what, column), "") for column in columns)]
        for what in dict.fromkeys(figure.what for figure in figures)
    ]
    plain = [dataclasses.asdict(figure) for figure in figures]
    return Report(
        title="bench",
        sections=[Section(tables=[TextTable(["", *columns], rows)])],
        notes=[*notes, f"machine: {machine.line()}"],
        rows=plain,
        data={
            "machine": dataclasses.asdict(machine),
            "model": read_model(args).model,
            "threads": args.threads,
            "notes": notes,
            "figures": plain,
        },
    )


def _draw_image(path: Path) -> Path:
    """Write an image of smooth blobs, equal in every run; returns its path."""
    import cv2
    import numpy as np

    small = np.random.default_rng(0).integers(0, 256, (12, 18, 3), np.uint8)
    image = cv2.resize(small, IMAGE_HW[::-1], interpolation=cv2.INTER_CUBIC)
    path.write_bytes(cv2.imencode(path.suffix, image)[1].tobytes())
    return path


def _measure_processes(
    args: argparse.Namespace, image: Path, folder: Path, notes: list[str]
) -> list[Measurement]:
    """Measure import and `anymask segment` in separate processes, with peak memory."""
    given = [f"--{name}={value}" for name in ("model", "weights") if (value := vars(args)[name])]
    segment = ["-m", "anymask", "segment", str(image), "--point", "40,40"]
    jobs = {
        "python": ["-c", "pass"],
        "import": ["-c", "import anymask"],
        "segment": [*segment, "-o", str(folder / "mask.png"), *given],
    }
    try:  # the first turn fills the disk cache
        turns = [
            {name: run_process([sys.executable, *words]) for name, words in jobs.items()}
            for _ in range(args.rounds + 1)
        ]
    except AnymaskError as error:
        notes.append(f"skipped: cold start: {error}")
        return []
    bare = statistics.median(turn["python"][0] for turn in turns[1:])
    imports = tuple(max(turn["import"][0] - bare, 0.0) for turn in turns[1:])
    starts = tuple(turn["segment"][0] for turn in turns[1:])
    figures = [
        Measurement(what, "process", statistics.median(seconds), turns=seconds)
        for what, seconds in (("import anymask", imports), ("cold start to first mask", starts))
    ]
    peaks = [peak for turn in turns if (peak := turn["segment"][1]) is not None]
    if peaks:
        figures.append(Measurement("peak memory of a cold start", "process", max(peaks), "bytes"))
    return figures


def run_process(words: list[str]) -> tuple[float, int | None]:
    """Run a program; returns seconds and peak resident memory in bytes (None on Windows).

    Raises AnymaskError with the end of its output if it fails. On Linux a process starts with its
    parent's memory as its peak, so the parent must be small.
    """
    with tempfile.TemporaryFile() as stderr:
        start = time.perf_counter()
        process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=stderr)
        peak = None
        try:
            if sys.platform == "win32":
                process.wait()
            else:
                _, status, usage = os.wait4(process.pid, 0)
                process.returncode = os.waitstatus_to_exitcode(status)
                peak = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
        except BaseException:  # Ctrl-C: the program ends its own workers
            process.terminate()
            process.wait()
            raise
        seconds = time.perf_counter() - start
        stderr.seek(0)
        if process.returncode:
            last = stderr.read().decode(errors="replace").strip()[-300:]
            code = process.returncode
            raise AnymaskError(f"{' '.join(words)} failed with exit code {code}: {last}")
    return seconds, peak


def _measure_steps(args: argparse.Namespace, pixels: Path, notes: list[str]) -> list[Measurement]:
    """Measure the steps in this process, for each runtime that can load the model."""
    from anymask.images import load_image
    from anymask.segment import EmbeddingCache

    image = load_image(pixels)
    notes.append(
        f"image: {image.shape[1]} x {image.shape[0]} pixels, loaded before the measurement"
    )
    figures: list[Measurement] = []
    opened, errors = {}, []
    for runtime in ("onnx", "torch") if args.runtime in (None, "auto") else (args.runtime,):
        try:
            start = time.perf_counter()
            model = read_model(args, runtime=runtime).load()
            once = [("load", time.perf_counter() - start)]
            model.recent = EmbeddingCache(10**9)
        except AnymaskError as error:
            notes.append(f"skipped: {runtime}: {error}")
            errors.append(error)
            continue
        start = time.perf_counter()
        opened[runtime] = model, model.encode(image)
        if not args.everything:
            once.append(("first encode", time.perf_counter() - start))
        figures += [Measurement(what, runtime, spent, turns=(spent,)) for what, spent in once]
    if not opened:
        if len({str(error) for error in errors}) == 1:
            raise errors[0]
        raise InputError("Nothing could be measured: " + "; ".join(notes[2:]))
    if not args.everything:
        # Measure the steps of all runtimes in turns, because other load affects all of them.
        of_runtimes = {runtime: _steps(model, image) for runtime, (model, _) in opened.items()}
        whats = list(dict.fromkeys(what for steps in of_runtimes.values() for what in steps))
        steps_of_turn = {
            (what, runtime): steps[what]
            for what in whats
            for runtime, steps in of_runtimes.items()
            if what in steps
        }
        figures += [
            Measurement(what, runtime, statistics.median(seconds), turns=seconds)
            for (what, runtime), seconds in time_in_turns(steps_of_turn, args.rounds).items()
        ]
    modes = BENCH_MODES if args.everything else {"": dict[str, Any]()}
    for runtime, (model, features) in opened.items():
        for mode, settings in modes.items():
            column = f"{runtime}, {mode}" if mode else runtime
            start = time.perf_counter()
            masks = model.everything(
                image if field_rules(model.name).turns > 1 else features,
                **{"grid": args.grid, **settings},
            )
            spent = time.perf_counter() - start
            figures.append(Measurement("everything", column, spent, turns=(spent,)))
            figures.append(Measurement("number of automatic masks", column, len(masks), ""))
    return figures


def time_in_turns(
    steps: Mapping[K, Callable[[], object]],
    rounds: int,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[K, tuple[float, ...]]:
    """Return the seconds of each step in `rounds` turns, after one warm-up turn."""
    seconds: dict[K, list[float]] = {name: [] for name in steps}
    for turn in range(1 + rounds):
        for name, step in steps.items():
            start = clock()
            step()
            if turn:
                seconds[name].append(clock() - start)
    return {name: tuple(spent) for name, spent in seconds.items()}


def _steps(model: Any, image: Any) -> dict[str, Callable[[], object]]:
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

    def masks(of: Any, **options: Any) -> Any:
        return model.segment(of, **options).masks

    def whole() -> Any:
        return masks(model.encode(image), points=points[[100]], multimask=True)

    steps: dict[str, Callable[[], object]] = {
        "encode (with preprocessing)": partial(model.encode, image),
        **{f"{n} prompt{'s' * (n > 1)}": partial(click, n) for n in (1, 16, 64, 256)},
        "further click, with mask": partial(masks, features, **further),
    }
    if "box" in accepts:
        steps["box, with mask"] = partial(masks, features, box=(*points[68], *points[187]))
    again = partial(masks, image, points=points[[100]])  # the warm-up turn encodes the image
    return steps | {"encode + click + masks": whole, "prompt by segment(image), second": again}


# fmt: off
COMMAND = Command(run, (
    Argument("name", metavar="MODEL", nargs="?", help="model to measure; the same as --model"),
    MODEL,
    Argument("--everything", action="store_true", help="measure only automatic mask generation"),
    Argument("--image", metavar="FILE", help="image file (default: a generated image)"),
    Argument("--threads", metavar="N", type=int, help="number of threads (default: all)"),
    Argument("--rounds", metavar="N", type=read_count, default=5,
        help="number of measurement rounds (default: 5)"),
    Argument("--grid", metavar="N", type=int, default=32,
        help="points per side for automatic mask generation (default: 32)"),
    JSON,
), report=write_report)
# fmt: on
