"""`anymask bench`: how fast this machine is, from a cold start to the last click.

anymask bench                       the bundled model, every step a user waits for
anymask bench encoder mobile_sam    one encoder: ONNX Runtime beside torch eager
anymask bench everything            automatic masks: our ways beside the plain one
anymask bench folder photos/        photos a second of `anymask everything`, by workers
anymask bench video clips/          trackers beside baselines, or --long N frames of a made scene
anymask bench memory edgetam        a tracked frame of a video model: our ways beside the plain one
anymask bench serve                 a server under load: clicks, new photos, everything
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from anymask.cli.options import option_of
from anymask.families import DEFAULT_MODEL
from anymask.jobs.choices import ModelChoice
from anymask.primitives.errors import AnymaskError, InputError
from anymask.primitives.machine import Machine, this_machine
from anymask.primitives.storage import write_json
from anymask.primitives.threads import thread_setting
from anymask.primitives.timing import (
    Measurement,
    ProcessRun,
    TimedCall,
    Timing,
    run_process,
    time_in_turns,
)
from anymask.reports.tables import markdown_table

SUMMARY = "measure speed and memory on this machine"
PROMPT_COUNTS = (1, 16, 64, 256)
BOX = "a box, with its mask"
PHOTO_HW = (683, 1024)


# what each benchmark takes, with the default where there is one
OF_ALL = {"model": DEFAULT_MODEL, "weights": None, "threads": None}
TAKEN: dict[str, dict[str, Any]] = {
    "model": {**OF_ALL, "runtime": "auto", "also": (), "photo": None, "rounds": 5},
    "encoder": {**OF_ALL, "threads": 2, "rounds": 5},
    "everything": {**OF_ALL, "photo": None, "threads": 2, "points_per_side": 32, "plain": True},
    "folder": {**OF_ALL, "rounds": 2, "workers": "1,2", "options": ""},
    "video": {**OF_ALL, "threads": 2, "frames": 1000, "long": None, "tracker": None},
    "memory": {**OF_ALL, "threads": 2, "rounds": 3},
    "serve": {**OF_ALL, "points_per_side": 32, "requests": 1000, "clients": 16},
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of all benchmarks; `take_options` refuses those of another one."""
    parser.add_argument(
        "what", metavar="WHAT", nargs="?", default="model", choices=tuple(TAKEN),
        help=f"{', '.join(TAKEN)} (default: model)",
    )  # fmt: skip
    parser.add_argument(
        "name",
        metavar="NAME|FOLDER",
        nargs="?",
        help="the model (default: --model), or the folder of `bench folder` and `video`",
    )
    for name, said in (
        ("model", {"help": "a name of `anymask models list`"}),
        ("weights", {"metavar": "FILE", "help": "a checkpoint or an exported folder instead"}),
        ("runtime", {"help": "onnx, torch, or auto: every one that can open the model"}),
        ("also", {"metavar": "DIR", "action": "append", "help": "an exported model beside it"}),
        ("photo", {"metavar": "FILE", "help": "a photo of yours, else noise of 1024 x 683 pixels"}),
        ("threads", {"metavar": "N", "type": int, "help": "threads of the model, else all"}),
        ("rounds", {"metavar": "N", "type": int, "help": "turns of each task"}),
        ("points_per_side", {"metavar": "N", "type": int, "help": "clicks along each side"}),
        ("frames", {"metavar": "N", "type": int, "help": "of each video, at most"}),
        ("long", {"metavar": "N", "type": int,
                  "help": "instead of a folder: memory over so many frames of a made scene"}),
        ("tracker", {"help": "auto, match or memory: this one alone, without baselines"}),
        ("requests", {"metavar": "N", "type": int, "help": "that are sent"}),
        ("clients", {"metavar": "N", "type": int, "help": "that ask at the same time"}),
        ("plain", {"action": argparse.BooleanOptionalAction,
                   "help": "run the plain way as well, which takes minutes"}),
        ("workers", {"metavar": "N,...", "help": "processes, one contender each"}),
        ("options", {"metavar": "WORDS", "help": "for `anymask everything`, in quotes"}),
    ):  # fmt: skip
        _add_option(parser, name, **said)
    parser.add_argument("--json", metavar="FILE", help="write the figures there too")


def _add_option(parser: argparse.ArgumentParser, name: str, **said: Any) -> None:
    """One option, which says which benchmarks take it and with which default."""
    takers = [f"{what}: {taken[name]}" if taken[name] else what
              for what, taken in TAKEN.items() if name in taken]  # fmt: skip
    said["help"] += f" ({', '.join(takers)})"
    parser.add_argument(option_of(name), default=None, **said)


def take_options(args: argparse.Namespace) -> None:
    """Fill in the defaults of the benchmark. Raises InputError for an option of another one."""
    taken = TAKEN[args.what]
    for name in dict.fromkeys(name for options in TAKEN.values() for name in options):
        if name in taken:
            setattr(args, name, taken[name] if (value := getattr(args, name)) is None else value)
        elif getattr(args, name) is not None:
            takers = " and ".join(f"`bench {what}`" for what, of in TAKEN.items() if name in of)
            raise InputError(
                f"`bench {args.what}` takes no {option_of(name)}, which belongs to {takers}; "
                "leave it out"
            )
    if "rounds" in taken and args.rounds < 1:
        raise InputError(f"--rounds must be at least 1, got {args.rounds}")


def run(args: argparse.Namespace) -> None:
    """Measure and print one table."""
    take_options(args)
    machine = this_machine()
    if args.what not in ("folder", "video"):
        args.model = args.name or args.model
    with thread_setting(args.threads):
        figures, notes = measure(args)
    print(to_markdown(figures, notes, machine), end="")
    if args.json:
        raw = {
            "machine": dataclasses.asdict(machine),
            "model": args.model,
            "threads": args.threads,
            "figures": [dataclasses.asdict(figure) for figure in figures],
            "notes": notes,
        }
        write_json(Path(args.json), raw, indent=2)


def measure(args: argparse.Namespace) -> tuple[list[Measurement], list[str]]:
    """The figures of what was asked for, and the notes below them."""
    if args.what == "encoder":
        from anymask.cli.bench_encoder import encoder_figures

        return encoder_figures(args.model, args.weights, args.threads, args.rounds)
    if args.what == "memory":
        from anymask.cli.bench_memory import memory_figures

        return memory_figures(args.model, args.weights, args.threads, args.rounds)
    if args.what == "everything":
        return measure_everything(args)
    if args.what == "serve":
        return measure_server(args)
    if args.what == "video":
        return measure_video(args)
    if args.what == "folder":
        from anymask.cli.bench_folder import folder_figures, read_workers

        if not args.name:
            raise InputError("name a folder of photos: anymask bench folder PHOTOS")
        model = ["--model", args.model, *(("--weights", args.weights) if args.weights else ())]
        workers = read_workers(args.workers)
        return folder_figures(Path(args.name), model, workers, args.rounds, args.options)
    return model_figures(args)


def measure_server(args: argparse.Namespace) -> tuple[list[Measurement], list[str]]:
    """A server of its own, and clients that ask it."""
    from anymask.cli.bench_serve import LoadPlan, serve_figures

    if args.requests < 1 or args.clients < 1:
        raise InputError(
            f"wanted 1 or more --requests and --clients, got {args.requests} and {args.clients}"
        )
    model = ["--model", args.model, *(("--weights", args.weights) if args.weights else ())]
    return serve_figures(model, LoadPlan(args.requests, args.clients, args.points_per_side))


def measure_video(args: argparse.Namespace) -> tuple[list[Measurement], list[str]]:
    """Trackers beside baselines, or memory over a long video."""
    if args.long is not None:
        from anymask.cli.bench_long_video import long_figures

        return long_figures(args.model, args.weights, args.tracker or "auto", args.long)
    from anymask.cli.bench_video import video_figures

    return video_figures(args.name, (args.model, args.weights), args.frames, args.tracker)


def measure_everything(args: argparse.Namespace) -> tuple[list[Measurement], list[str]]:
    """Automatic masks of a photo or of a folder of them."""
    from anymask.cli.bench_everything import Bench, everything_figures

    bench = Bench(points_per_side=args.points_per_side, plain=args.plain, threads=args.threads)
    with _photo(args) as photo:
        return everything_figures(args.model, args.weights, photo, bench)


# --- one model, as a user meets it


def model_figures(args: argparse.Namespace) -> tuple[list[Measurement], list[str]]:
    """Processes first, while this one is small; then every runtime in turns."""
    with tempfile.TemporaryDirectory() as folder, _photo(args) as photo:
        if not photo.is_file():
            raise InputError(f"--photo {photo}: wanted a picture file, there is none")
        figures, notes = _process_figures(args, photo, Path(folder))
        more_figures, more_notes = _runtime_figures(args, photo)
    return figures + more_figures, notes + more_notes


@contextlib.contextmanager
def _photo(args: argparse.Namespace) -> Iterator[Path]:
    """The photo that was given, or one that is made up for as long as it is needed."""
    if args.photo:
        yield Path(args.photo)
        return
    with tempfile.TemporaryDirectory() as folder:
        yield _noise_photo(Path(folder) / "photo.jpg")


def _process_figures(
    args: argparse.Namespace, photo: Path, folder: Path
) -> tuple[list[Measurement], list[str]]:
    """Start-up: python alone, the import, and a whole `anymask segment`."""
    segment = [
        *("-m", "anymask", "segment", str(photo), "--point", "40,40"),
        *("-o", str(folder / "mask.png"), "--model", args.model),
        *(("--weights", args.weights) if args.weights else ()),
    ]
    jobs = {"python": ["-c", "pass"], "import": ["-c", "import anymask"], "segment": segment}
    runs: dict[str, list[ProcessRun]] = {name: [] for name in jobs}
    notes = []
    for _ in range(args.rounds + 1):  # the first one fills the disk cache
        for name, words in list(jobs.items()):
            try:
                runs[name].append(run_process([sys.executable, *words]))
            except AnymaskError as error:
                notes.append(f"skipped: {name}: {error}")
                del jobs[name]
    bare = Timing("", tuple(done.seconds for done in runs["python"][1:])).median
    figures = []
    for name, what in (("import", "import anymask"), ("segment", "cold start to first mask")):
        less = bare if name == "import" else 0.0
        turns = tuple(max(done.seconds - less, 0.0) for done in runs[name][1:])
        if turns:
            figures.append(Measurement(what, "process", Timing("", turns).median, "s", turns))
    peaks = [done.peak for done in runs["segment"] if done.peak is not None]
    if peaks:
        figures.append(Measurement("peak memory of that", "process", max(peaks), "bytes"))
    return figures, notes


def _runtime_figures(args: argparse.Namespace, photo: Path) -> tuple[list[Measurement], list[str]]:
    """Every step inside one process, all runtimes in turns."""
    import anymask

    image = anymask.load_image(photo)
    figures: list[Measurement] = []
    notes = [f"photo: {image.shape[1]} x {image.shape[0]} pixels, in memory"]
    tasks: list[tuple[str, TimedCall]] = []
    for label, choice in _contenders(args):
        try:
            contender = _Contender(label, choice, image)
        except AnymaskError as error:
            notes.append(f"skipped: {label}: {error}")
            continue
        figures += contender.first
        tasks += [(label, task) for task in contender.tasks()]
    if not tasks:
        raise InputError("nothing could be measured; " + "; ".join(notes[1:]))
    timings = time_in_turns([task for _, task in tasks], args.rounds)
    for (label, _), timing in zip(tasks, timings, strict=True):
        figures.append(Measurement(timing.name, label, timing.median, "s", timing.seconds))
    return figures, notes


def _contenders(args: argparse.Namespace) -> Iterator[tuple[str, ModelChoice]]:
    """A label and a model for everything to be compared."""
    for runtime in ("onnx", "torch") if args.runtime == "auto" else (args.runtime,):
        yield runtime, ModelChoice(model=args.model, weights=args.weights, runtime=runtime)
    for folder in args.also:
        yield Path(folder).name, ModelChoice(model=folder, runtime="onnx")


class _Contender:
    """One opened model, the figures of its first calls, and its tasks."""

    def __init__(self, label: str, choice: ModelChoice, image: Any) -> None:
        from anymask.primitives.clicks import point_grid

        self.image, self.label = image, label
        height, width = image.shape[:2]
        self.points = point_grid(16) * (width, height)
        opened: list[Any] = []
        load = TimedCall("load", lambda: opened.append(choice.load()))
        first = time_in_turns([load], 1, 0)
        self.model = opened[0]
        first += time_in_turns([TimedCall("first encode", self._embed)], 1, 0)
        self.embedding = self._embed()
        first += time_in_turns([TimedCall("first decode", lambda: self._click(1))], 1, 0)
        self.first = [Measurement(one.name, label, one.median, "s", one.seconds) for one in first]
        self.before = self._click(1)[0]

    def tasks(self) -> list[TimedCall]:
        """What is timed in turns."""
        counts = [
            TimedCall(f"{n} prompt{'s' * (n > 1)}", lambda n=n: self._click(n))  # type: ignore[misc]
            for n in PROMPT_COUNTS
        ]
        return [
            TimedCall("encode (with preprocessing)", self._embed),
            *counts,
            TimedCall("a further click, with its mask", self._further),
            *([TimedCall(BOX, self._box)] if "box" in self.model.spec.accepts else []),
            TimedCall("encode + click + masks", self._whole),
        ]

    def _embed(self) -> Any:
        return self.model.embed(self.image)

    def _click(self, n: int) -> Any:
        from anymask.primitives.prompts import Prompt

        step = len(self.points) // n
        prompts = [Prompt.of(points=[point]) for point in self.points[step // 2 :: step][:n]]
        return self.model.segment(self.embedding, prompts=prompts, multimask=True)

    def _further(self) -> Any:
        accepts = self.model.spec.accepts
        mask = self.before.logits[0] if "mask" in accepts else None
        labels = [1, 0] if "negative_point" in accepts else [1, 1]
        points = self.points[[100, 200]]
        answer = self.model.segment(
            self.embedding, points=points, labels=labels, mask=mask, multimask=False
        )
        return answer.masks

    def _box(self) -> Any:
        (x0, y0), (x1, y1) = self.points[[68, 187]]
        return self.model.segment(self.embedding, box=(x0, y0, x1, y1)).masks

    def _whole(self) -> Any:
        return self.model.segment(self.image, points=self.points[[100]], multimask=True).masks


# --- shared


def to_markdown(figures: Sequence[Measurement], notes: Sequence[str], machine: Machine) -> str:
    """A row a step, a column a runtime; then where it was measured."""
    columns = list(dict.fromkeys(figure.runtime for figure in figures))
    rows = dict.fromkeys(figure.what for figure in figures)
    cells = {(figure.what, figure.runtime): _cell(figure) for figure in figures}
    table = [[what, *(cells.get((what, column), "") for column in columns)] for what in rows]
    lines = [markdown_table(["", *columns], table)]
    lines += ["", "- medians of turns in which all contenders alternate"]
    lines += [f"- {note}" for note in notes]
    return "\n".join([*lines, f"- machine: {machine.line()}"]) + "\n"


def _cell(figure: Measurement) -> str:
    if figure.value is None:
        return ""
    if figure.unit == "s":
        return f"{figure.value * 1000:.1f} ms" if figure.value < 1 else f"{figure.value:.2f} s"
    if figure.unit == "bytes":
        return f"{figure.value / 2**20:.0f} MiB"
    return f"{figure.value:.3g}{figure.unit}"


def _noise_photo(path: Path) -> Path:
    """Something to look at: soft blobs, the same every time."""
    import cv2
    import numpy as np

    small = np.random.default_rng(0).integers(0, 256, (12, 18, 3), np.uint8)
    image = cv2.resize(small, PHOTO_HW[::-1], interpolation=cv2.INTER_CUBIC)
    path.write_bytes(cv2.imencode(path.suffix, image)[1].tobytes())
    return path
