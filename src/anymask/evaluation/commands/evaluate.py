"""`anymask evaluate`: measure models on photos or videos with masks, or score files of results."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path
from typing import Any, get_args

from anymask.base import InputError
from anymask.cli import (
    add_model_options,
    add_options,
    read_count,
    read_default_model,
    read_model,
    read_options,
)
from anymask.evaluation.commands import add_report_options, write_report
from anymask.evaluation.evaluating import evaluate
from anymask.evaluation.finding import Way, evaluate_finding
from anymask.evaluation.measures import MEASURES
from anymask.evaluation.selection import EvalSettings
from anymask.evaluation.suite import shipped_suites
from anymask.find import FindSettings, Method
from anymask.formats import ReadSettings
from anymask.jobs import ModelChoice
from anymask.models.rules import default_model
from anymask.track import MemorySettings

WHERE = ("device", "precision", "runtime", "weights")
ACTIONS = {
    "photos": "photos with masks: clicks, boxes, everything (the action when none is named)",
    "videos": "objects followed through annotated videos: J and F",
    "find": "things found by an example or by words: cgF1, AP, mIoU, counting",
    "score": "files that any program wrote, against the truth: J and F, panoptic quality, labels "
    "of scans",
}
KINDS = {"video": "tracks", "panoptic": "panoptic", "volume": "volume"}


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the actions; without one it is `photos`."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION")
    parser.set_defaults(action="photos")
    fill = (configure_photos, _configure_videos, _configure_find, _configure_score)
    for (name, text), options in zip(ACTIONS.items(), fill, strict=True):
        action = actions.add_parser(name, help=text, description=text)
        options(action)
        add_report_options(action)


def configure_photos(parser: argparse.ArgumentParser) -> None:
    """Of `photos`."""
    add = parser.add_argument
    suites = ", ".join(shipped_suites())
    # fmt: off
    add("data", metavar="LABELS|SUITE", help="a file or folder of labels in any format or layout "
        f"of `anymask convert`, a folder of sets, or a suite ({suites}, or a .toml file)")
    add("--data", dest="root", metavar="DIR", help="the folder that holds the suite's sets")
    add("--sets", metavar="A,B", default="", help="only these sets of the suite")
    add("--model", action="append", default=[], metavar="NAME[=WEIGHTS]", help="of `anymask "
        f"models list` (default: {default_model()}); repeated: all in one run")
    add("--peer", action="append", default=[], metavar="MODULE:NAME", help="another project's "
        "code: a callable(image, points, labels, box) -> masks, scores")
    add("--measure", action="append", default=[], metavar="NAME",
        help=f"measure this too, may be repeated: {', '.join(MEASURES)}")
    add("--only", action="store_true", help="nothing but what --measure names")
    add("--refine-edges", action="store_true", help="measure each model a second time with the "
        "photo at hand, as `segment` is asked: looking closer, edges refined")
    add("--mirror", action="store_true", help="that second time about the mirror image, too")
    add("--workers", type=read_count, metavar="N", help="processes, one set each at a time "
        "(default: two on a CPU with enough to do)")
    add("--resume", action="store_true", help="keep the sets that --json FILE has already")
    add_model_options(parser, WHERE)
    add_options(parser, EvalSettings, ("clicks", "limit", "per_image", "grid", "crop_n_layers"),
                {"clicks": "the suite's, 3"})
    add = parser.add_argument_group("labels").add_argument
    add("--from", dest="form", metavar="FORMAT", help="the format; recognised when left out")
    add("--images", metavar="DIR", type=Path, help="where the pictures lie")
    add("--split", metavar="NAME", help="of a published data set, such as val")
    # fmt: on
    add_options(parser, ReadSettings)


def _configure_videos(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    # fmt: off
    add("data", metavar="DIR", help="DAVIS, YouTube-VOS, MOSE, LVOS, SA-V, or VIDEO/images with "
        "VIDEO/masks")
    add("--protocol", choices=("semi", "offline", "online"), default="semi",
        help="semi: the first masks are given (default); clicks instead, offline: on the first "
        "frame, then on the worst of all; online: in one pass, where a mask is bad")
    add("--rounds", type=int, metavar="R", default=3, help="frames with clicks (default: 3)")
    add("--tracker", default="auto", help="auto (default), memory or match")
    add("--split", metavar="NAME", help="the part of the data set, such as val")
    add("--limit", type=read_count, metavar="N", help="videos at most (default: all)")
    add("--refine-edges", action="store_true", help="masks with refined edges")
    add_model_options(parser)
    add_options(parser.add_argument_group("the memory"), MemorySettings)
    # fmt: on


def _configure_find(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    # fmt: off
    add("data", metavar="LABELS", help="photos with labelled masks, in any format or layout of "
        "`anymask convert`; a label counts where two photos have it")
    add("--by", choices=get_args(Way), default="example", help="an example from another photo "
        "(default), the label as words, or a baseline: what has the example's colours, or its name")
    add("--absent", metavar="LABELS", help="photos of another set, without any of these things "
        "(default: those of this one without the label)")
    add("--detector", metavar="NAME|FOLDER", help="as for `anymask find`")
    add("--method", choices=get_args(Method), help="as for `anymask find`")
    add("--score", metavar="X", type=float, help="the least score of a thing")
    add("--limit", type=read_count, metavar="N", help="pairs of photos at most (default: all)")
    add_model_options(parser)
    # fmt: on
    add_options(parser, ReadSettings)


def _configure_score(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    # fmt: off
    add("kind", metavar="KIND", choices=tuple(KINDS), help="video, panoptic or volume")
    add("truth", metavar="TRUTH", type=Path, help="what people drew: DAVIS, or a folder with "
        "VIDEO/00000.png; a panoptic JSON file with the folder of its PNGs beside it; labels of a "
        "scan, or a folder of them")
    add("results", metavar="RESULTS", type=Path, help="what the program found, laid out alike")
    add("--split", metavar="NAME", help="video: the part of the data set, such as val or 2016/val")
    add("--rules", default="davis", help="video: davis (default), all-frames (the first and the "
        "last count, too), unsupervised (up to 20 proposals in any order)")
    add("--tolerance", type=float, metavar="MM", help="volume: that a surface may lie away and "
        "still be right (default: 1)")
    # fmt: on


def run(args: argparse.Namespace) -> None:
    """Measure, print, save. Raises as `anymask.evaluate`."""
    if args.action == "photos":
        report = evaluate(read_methods(args), args.data, **read_photos(args))
    elif args.action == "videos":
        way = "videos" if args.protocol == "semi" else f"videos-{args.protocol}"
        report = evaluate(
            read_default_model(args), args.data, protocol=way, rounds=args.rounds,
            tracker=args.tracker, split=args.split, limit=args.limit,
            refine_edges=args.refine_edges,
            memory=read_options(args, MemorySettings),
        )  # fmt: skip
    elif args.action == "find":
        settings = FindSettings(detector=args.detector, score=args.score, method=args.method)
        model, reading = read_model(args).load(), read_options(args, ReadSettings)
        report = evaluate_finding(
            model, args.data, args.by, args.absent, args.limit, settings, **reading
        )
    else:
        report = evaluate(
            args.results, args.truth, protocol=KINDS[args.kind], rules=args.rules,
            split=args.split, tolerance=args.tolerance,
        )  # fmt: skip
    write_report(report, args)


def read_methods(args: argparse.Namespace) -> list[ModelChoice | str]:
    """What --model, --weights and --peer name. Raises InputError."""
    words = args.model or [default_model()]
    if args.weights and len(words) > 1:
        raise InputError("--weights is for one model; with several, write --model NAME=WEIGHTS")
    for peer in args.peer:
        if ":" not in peer:
            raise InputError(f"a peer is named module:callable, got {peer!r}")
    pairs = [word.partition("=")[::2] for word in words]
    models = [read_model(args, model=name, weights=file or args.weights) for name, file in pairs]
    return [*models, *args.peer]


def read_photos(args: argparse.Namespace) -> dict[str, Any]:
    """The other options of `photos`, as `evaluate` takes them. Raises InputError."""
    if args.only and not args.measure:
        raise InputError("--only leaves what --measure names; give at least one --measure NAME")
    names = {"protocol" if args.only else "also": args.measure}
    typed = ["anymask", *sys.argv[1:]] if sys.argv[1:2] == ["evaluate"] else []
    return names | read_options(args, EvalSettings) | read_options(args, ReadSettings) | {
        "root": args.root, "sets": [name for name in args.sets.split(",") if name],
        "form": args.form, "images": args.images, "split": args.split, "workers": args.workers,
        "refine_edges": args.refine_edges, "mirror": args.mirror, "resume": args.resume,
        "out": args.json, "cases": args.html is not None, "command": shlex.join(typed),
    }  # fmt: skip
