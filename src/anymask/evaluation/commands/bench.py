"""`anymask bench`: how fast this machine is, from a cold start to the last click.

anymask bench [MODEL]               every step a user waits for
anymask bench everything [MODEL]    automatic masks of one photo, by the modes of `everything`
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from anymask.base import AnymaskError, InputError, Machine, this_machine, thread_setting, write_json
from anymask.evaluation.pages import markdown_table
from anymask.evaluation.timing import Measurement, TimedCall, Timing, run_process, time_in_turns
from anymask.jobs import ModelChoice
from anymask.models.rules import default_model

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
    add(
        "what",
        metavar="everything",
        nargs="?",
        default="model",
        help="only automatic masks, in every mode (default: every step, once)",
    )
    add("name", metavar="MODEL", nargs="?", help="the model (default: --model)")
    add("--model", default=default_model(), help="a name of `anymask models list`")
    add("--weights", metavar="FILE", help="a checkpoint or an exported folder instead")
    add("--runtime", default="auto", help="onnx, torch, or auto: every one that can open it")
    add("--photo", metavar="FILE", help="a photo of yours, else noise of 1024 x 683 pixels")
    add("--threads", metavar="N", type=int, help="threads of the model (default: all)")
    add("--rounds", metavar="N", type=int, default=5, help="turns of each step (default: 5)")
    add(
        "--points-per-side",
        metavar="N",
        type=int,
        default=32,
        help="clicks along each side for everything (default: 32)",
    )
    add("--json", metavar="FILE", help="write the figures there too")  # fmt: skip


def run(args: argparse.Namespace) -> None:
    """Measure and print one table. Raises InputError where nothing can be measured."""
    notes: list[str] = []
    if args.rounds < 1:
        raise InputError(f"--rounds must be at least 1, got {args.rounds}")
    if args.what not in ("model", "everything"):
        if args.name:
            raise InputError(f"wanted `bench MODEL` or `bench everything MODEL`, got {args.what!r}")
        args.what, args.name = "model", args.what
    args.model = args.name or args.model
    machine = this_machine()
    with _photo(args.photo) as photo, thread_setting(args.threads):
        figures = _process_figures(args, photo, notes) if args.what == "model" else []
        figures += _runtime_figures(args, photo, notes)
    print(to_markdown(figures, notes, machine), end="")
    if args.json:
        raw = {
            "machine": dataclasses.asdict(machine),
            "model": args.model,
            "notes": notes,
            "threads": args.threads,
            "figures": [dataclasses.asdict(one) for one in figures],
        }
        write_json(Path(args.json), raw, indent=2)  # fmt: skip


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
    with tempfile.TemporaryDirectory() as folder:
        segment = [
            *("-m", "anymask", "segment", str(photo), "--point", "40,40"),
            *("-o", str(Path(folder) / "mask.png"), "--model", args.model),
            *(("--weights", args.weights) if args.weights else ()),
        ]
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
    rows = (("import anymask", imports), ("cold start to first mask", starts))
    figures = [
        Measurement(what, "process", Timing("", seconds).median, "s", seconds)
        for what, seconds in rows
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
    for runtime in ("onnx", "torch") if args.runtime == "auto" else (args.runtime,):
        choice = ModelChoice(model=args.model, weights=args.weights, runtime=runtime)
        try:
            model, loading = _timed("load", choice.load)
        except AnymaskError as error:
            notes.append(f"skipped: {runtime}: {error}")
            continue
        timings = [loading]
        if args.what == "model":
            timings.append(_timed("first encode", lambda model=model: model.encode(image))[1])  # type: ignore[misc]
            timings += time_in_turns(_steps(model, image), args.rounds)
        figures += [Measurement(t.name, runtime, t.median, "s", t.seconds) for t in timings]
        embedding = model.encode(image)
        for mode, settings in (MODES if args.what == "everything" else {"": {}}).items():
            column = f"{runtime}, {mode}" if mode else runtime
            settings = {"grid": args.points_per_side, **settings}
            found, timing = _timed("everything", partial(model.everything, embedding, **settings))
            figures.append(Measurement(timing.name, column, timing.median, "s", timing.seconds))
            figures.append(Measurement("masks of everything", column, len(found), ""))
    if not figures:
        raise InputError("nothing could be measured; " + "; ".join(notes[1:]))
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
    embedding = model.encode(image)
    accepts = model.spec.accepts
    before = model.segment(embedding, points=points[[100]], multimask=True)
    further = {"points": points[[100, 200]], "multimask": False,
               "labels": [1, 0] if "negative_point" in accepts else [1, 1],
               "mask": before.logits[0] if "mask" in accepts else None}  # fmt: skip

    def click(count: int) -> Any:
        step = len(points) // count
        prompts = [Prompt.of(points=[point]) for point in points[step // 2 :: step][:count]]
        return model.segment(embedding, prompts=prompts, multimask=True)

    steps = [TimedCall("encode (with preprocessing)", lambda: model.encode(image))]
    for count in PROMPT_COUNTS:
        name = f"{count} prompt{'s' * (count > 1)}"
        steps.append(TimedCall(name, lambda count=count: click(count)))  # type: ignore[misc]
    steps.append(
        TimedCall(
            "a further click, with its mask", lambda: model.segment(embedding, **further).masks
        )
    )
    if "box" in accepts:
        box = (*points[68], *points[187])
        steps.append(
            TimedCall("a box, with its mask", lambda: model.segment(embedding, box=box).masks)
        )
    whole = lambda: model.segment(image, points=points[[100]], multimask=True).masks  # noqa: E731
    return [*steps, TimedCall("encode + click + masks", whole)]


def to_markdown(figures: Sequence[Measurement], notes: Sequence[str], machine: Machine) -> str:
    """A row a step, a column a runtime; then where it was measured."""
    columns = list(dict.fromkeys(figure.runtime for figure in figures))
    rows = dict.fromkeys(figure.what for figure in figures)
    cells = {(figure.what, figure.runtime): _cell(figure) for figure in figures}
    table = [[what, *(cells.get((what, column), "") for column in columns)] for what in rows]
    said = ["medians of turns in which all steps alternate", *notes, f"machine: {machine.line()}"]
    lines = [markdown_table(["", *columns], table), "", *(f"- {line}" for line in said)]
    return "\n".join(lines) + "\n"


def _cell(figure: Measurement) -> str:
    if figure.value is None:
        return ""
    if figure.unit == "s":
        return f"{figure.value * 1000:.1f} ms" if figure.value < 1 else f"{figure.value:.2f} s"
    if figure.unit == "bytes":
        return f"{figure.value / 2**20:.0f} MiB"
    return f"{figure.value:.4g}{figure.unit}"
