"""`anymask evaluate`: measure models on sets of photos with masks."""

from __future__ import annotations

import argparse
import dataclasses
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from anymask.base import (
    ConfigError,
    DataError,
    InputError,
    ProgressBar,
    parse_json,
    pick_threads,
    this_machine,
    write_json,
    write_whole,
)
from anymask.cli import add_model_options, add_options, read_count, read_model, read_options
from anymask.evaluation.adapters import EdgesRefined, RenamedSegmenter, open_peer
from anymask.evaluation.measures import MEASURES
from anymask.evaluation.protocols import Segmenter
from anymask.evaluation.report import EvalReport, SetScores, report_to_json, sets_from_json
from anymask.evaluation.report_page import report_to_html
from anymask.evaluation.report_tables import report_to_markdown
from anymask.evaluation.running import (
    VIDEOS,
    SetScorer,
    asked_sets,
    configure_labels,
    configure_videos,
    read_sets,
    refuse_video_options,
    run_videos,
    score_here,
    score_in_workers,
)
from anymask.evaluation.scoring import weights_hash
from anymask.evaluation.selection import EvalSet, EvalSettings, choose_masks
from anymask.evaluation.suite import Suite, shipped_suites
from anymask.evaluation.worst_cases import CasePicture, draw_worst_cases
from anymask.models.rules import default_model

SUMMARY = "measure a model by clicks and boxes, and by what it finds itself"
OPTIONS = ("clicks", "limit", "per_image", "grid", "crop_n_layers")
MANY = 1000  # masks from which a second process is worth its start


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    add = parser.add_argument
    add(
        "what",
        metavar="LABELS|SUITE",
        help="a file or folder of labels in any format or layout of `anymask convert`, a folder of "
        f"sets, a suite ({', '.join(shipped_suites())}, or a .toml file), or {VIDEOS!r}: "
        "objects followed through the videos of --data",
    )
    add("--data", metavar="DIR", help="the folder that holds the suite's sets")
    add("--sets", metavar="A,B", default="", help="only these sets of the suite")
    add(
        "--model",
        action="append",
        metavar="NAME[=WEIGHTS]",
        help=f"of `anymask models list` (default: {default_model()}); repeated: all in one run",
    )
    add(
        "--peer",
        action="append",
        default=[],
        metavar="MODULE:NAME",
        help="another project's code: a callable(image, points, labels, box) -> masks, qualities",
    )
    add_model_options(parser, ("weights", "device", "precision", "runtime"))
    add_options(parser, EvalSettings, OPTIONS, {"clicks": "the suite's, 3"})
    _configure_measures(parser)
    _configure_run(parser)
    configure_labels(parser)
    configure_videos(parser)


def _configure_measures(parser: argparse.ArgumentParser) -> None:
    """What is measured."""
    add = parser.add_argument
    add(
        "--measure",
        action="append",
        default=[],
        metavar="NAME",
        help=f"measure this too, may be repeated: {', '.join(MEASURES)}",
    )
    add(
        "--refine-edges",
        action="store_true",
        help="measure each model a second time with the photo at hand, as `segment` is asked: "
        "looking closer, edges refined (otherwise one look, the model's own edges)",
    )
    add(
        "--mirror",
        action="store_true",
        help="with --refine-edges: that second time about the photo's mirror image, too",
    )
    add("--only", action="store_true", help="nothing but what --measure names")


def _configure_run(parser: argparse.ArgumentParser) -> None:
    """How much at once, and where it is written."""
    add = parser.add_argument
    add(
        "--workers",
        type=read_count,
        metavar="N",
        help="processes, one set each at a time (default: two on a CPU with enough to do)",
    )
    add("--json", metavar="FILE", help="write everything there, after every set")
    add("--markdown", metavar="FILE", help="write the tables there, too")
    add("--html", metavar="FILE", help="one page of tables, plots and the worst cases as pictures")
    add("--resume", action="store_true", help="keep the sets that --json FILE has already")


def run(args: argparse.Namespace) -> None:
    """Measure, set by set; print the tables."""
    if args.what == VIDEOS:
        run_videos(args)
        return
    refuse_video_options(args)
    suite, sets = asked_sets(read_sets(args))
    evaluate(args, suite, sets)


def evaluate(
    args: argparse.Namespace,
    suite: Suite,
    sets: Sequence[EvalSet],
    more: Sequence[Segmenter] = (),
    skipped: Sequence[tuple[str, str]] = (),
) -> None:
    """Measure what the options name on these sets; print the tables.

    more     methods beside the models, which cannot be opened in another process
    skipped  (method, reason) of those that could not run
    """
    if args.resume and not args.json:
        raise InputError("--resume continues a file; give it with --json FILE")
    read_settings(args, suite)  # before a model is opened
    models, peers = find_methods(args)
    methods = [*models, *peers, *more]
    report = replace(empty_report(args, suite, models, peers), skipped=tuple(skipped))
    known = finished(Path(args.json), report, methods, sets) if args.resume else {}
    counts = count_masks(sets, report.settings)
    names = [one.plan.name for one in sets]
    places = [place for place, name in enumerate(names) if name not in known]
    workers = 1 if more else pick_workers(args, [counts[place] for place in places])
    ready = (
        score_in_workers(EvalTask(args, report.settings), names, places, workers)
        if workers > 1
        else score_here(SetScorer(methods, sets, report.settings), places)
    )
    for place, scores in ready:
        known[names[place]] = scores
        report = replace(report, sets=tuple(known[name] for name in names if name in known))
        if args.json:
            write_json(Path(args.json), report_to_json(report))
    report = replace(report, sets=tuple(known[name] for name in names))
    if args.json:
        write_json(Path(args.json), report_to_json(report))
    write_texts(report, args, methods[0], sets)


def pick_workers(args: argparse.Namespace, counts: Sequence[int]) -> int:
    """What --workers says; else two, where there are two cores and enough to do for them.

    counts  masks of each set that is to be measured
    """
    if args.workers:
        return int(min(args.workers, len(counts)))
    if args.device not in (None, "auto", "cpu") or len(counts) < 2:
        return 1
    return min(2, pick_threads()) if sum(counts) >= MANY else 1


def count_masks(sets: Sequence[EvalSet], settings: EvalSettings) -> list[int]:
    """How many masks of each set are measured. Raises DataError where there are none."""
    counts = []
    for one in sets:
        chosen = choose_masks(one.plan, one.samples, settings.limit, settings.per_image)
        if not len(chosen.mask):
            raise DataError(
                f"{one.info.folder}: {len(one.samples)} photos and no mask with a pixel; is it "
                "the right folder?"
            )
        counts.append(len(chosen.mask))
    return counts


@dataclass(frozen=True)
class EvalTask:
    """A run in plain values, for another process to open."""

    args: argparse.Namespace
    settings: EvalSettings

    def open(self) -> SetScorer:
        """Load methods and sets."""
        models, peers = find_methods(self.args)
        return SetScorer([*models, *peers], asked_sets(read_sets(self.args))[1], self.settings)


def write_texts(
    report: EvalReport, args: argparse.Namespace, subject: Segmenter, sets: Sequence[EvalSet]
) -> None:
    """Print the tables; write them and the page where asked."""
    text = report_to_markdown(report)
    if args.markdown:
        write_whole(Path(args.markdown), text)
    if args.html:
        area = report.settings.min_area
        with ProgressBar("worst cases", len(sets)) as progress:
            shots: dict[str, list[CasePicture]] = {}
            for done, (one, scores) in enumerate(zip(sets, report.sets, strict=True), start=1):
                shots[scores.name] = draw_worst_cases(subject, one, scores, area)
                progress.update(done)
        write_whole(Path(args.html), report_to_html(report, shots))
    print(text, end="")


def find_methods(args: argparse.Namespace) -> tuple[list[Segmenter], list[Segmenter]]:
    """Open what the options name: models, other projects' code. Raises InputError or ModelError."""
    peers = [open_peer(name) for name in args.peer]
    return open_models(args), peers


def empty_report(
    args: argparse.Namespace, suite: Suite, models: Sequence[Segmenter], peers: Sequence[Segmenter]
) -> EvalReport:
    """The report of a run that begins: what is measured, how, and where."""
    return EvalReport(
        suite=suite.name,
        subject=models[0].spec.name,
        weights_hash=weights_hash(models[0]),
        settings=read_settings(args, suite),
        machine=this_machine(),
        sets=(),
        peers=tuple((one.spec.name, weights_hash(one)) for one in [*models[1:], *peers]),
        command=typed_command(),
    )


def read_settings(args: argparse.Namespace, suite: Suite) -> EvalSettings:
    """What was given, over what the suite says. Raises InputError."""
    of_suite = {"clicks": suite.clicks, "min_area": suite.min_area}
    return EvalSettings(**(of_suite | read_options(args, EvalSettings)))


def open_models(args: argparse.Namespace) -> list[Segmenter]:
    """The models in the order given, each under a name of its own.

    Raises InputError for --weights with several models, the same model twice, --mirror alone.
    """
    words = args.model or [default_model()]
    if args.weights and len(words) > 1:
        raise InputError("--weights is for one model; with several, write --model NAME=WEIGHTS")
    if len(set(words)) < len(words):
        raise InputError(f"a model is given twice: {', '.join(words)}; name each once")
    if args.mirror and not args.refine_edges:
        raise InputError("--mirror goes with --refine-edges: add that, or leave it out")
    found: list[Segmenter] = []
    for word in words:
        name, _, weights = word.partition("=")
        model = read_model(args, model=name, weights=weights or args.weights).load()
        taken = model.spec.name in [other.spec.name for other in found]
        found.append(RenamedSegmenter(model, word) if taken else model)
        if args.refine_edges:
            refined = EdgesRefined(model, mirror=args.mirror)
            name = f"{word}, {refined.words}"
            found.append(RenamedSegmenter(refined, name) if taken else refined)
    return found


def typed_command() -> str:
    """The command line, without the folder that the program lies in."""
    return shlex.join(["anymask", *sys.argv[1:]]) if sys.argv[1:2] == ["evaluate"] else ""


def finished(
    path: Path, report: EvalReport, methods: Sequence[Segmenter], asked: Sequence[EvalSet]
) -> dict[str, SetScores]:
    """The sets that an earlier run of the same measurement wrote.

    Raises ConfigError when the file is of another model, other settings or other methods.
    """
    if not path.is_file():
        return {}
    try:
        raw: dict[str, Any] = parse_json(path.read_bytes(), path)
        sets = {scores.name: scores for scores in sets_from_json(raw)}
    except (ValueError, AttributeError, TypeError, DataError) as error:
        raise DataError(f"{path}: not a report to resume ({error}); leave out --resume") from error
    wanted = {
        "subject": report.subject,
        "weights_hash": report.weights_hash,
        "peers": [{"name": name, "weights_hash": weights} for name, weights in report.peers],
        "settings": dataclasses.asdict(report.settings),
    }
    for key, value in wanted.items():
        if raw.get(key) != value:
            raise ConfigError(
                f"{path}: cannot resume, its {key} is {raw.get(key)!r}, now it is {value!r}; "
                "repeat the options of that run, or write to another file"
            )
    plans = {one.plan.name: one.plan for one in asked}
    return {
        name: scores
        for name, scores in sets.items()
        if name in plans
        and scores.measures == plans[name].measures
        and _asked(methods, scores.measures)
        == {c.method for c in scores.columns} | {found.method for found in scores.found}
    }


def _asked(methods: Sequence[Segmenter], measures: Sequence[str]) -> set[str]:
    """The methods that a set with these measures has something of: without prompts, only those of
    a whole set."""
    whole = any(MEASURES[name].function for name in measures)
    return {method.spec.name for method in methods if whole or method.spec.accepts}
