"""`anymask evaluate`: measure models on annotated images or videos, or score result files."""

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
    "photos": "evaluate prompts and automatic mask generation on labeled images (default)",
    "videos": "evaluate tracking on annotated videos (J and F)",
    "find": "evaluate text and exemplar prompts (precision, recall, AP50, mIoU)",
    "score": (
        "score result files of any program against the ground truth (J and F for videos, "
        "panoptic quality, Dice and surface distances for volumes)"
    ),
}
KINDS = {"video": "tracks", "panoptic": "panoptic", "volume": "volume"}


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the actions; default `photos`."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION")
    parser.set_defaults(action="photos")
    fill = (configure_photos, _configure_videos, _configure_find, _configure_score)
    for (name, text), options in zip(ACTIONS.items(), fill, strict=True):
        action = actions.add_parser(name, help=text, description=text)
        options(action)
        add_report_options(action)


def configure_photos(parser: argparse.ArgumentParser) -> None:
    """Add the options of `photos`."""
    add = parser.add_argument
    suites = ", ".join(shipped_suites())
    # fmt: off
    add("data", metavar="LABELS|SUITE", help=(
        "labeled dataset in any format that `anymask convert` reads, a folder of sets, or a "
        f"suite ({suites}, or a .toml file)"
    ))
    add("--data", dest="root", metavar="DIR", help="folder with the sets of the suite")
    add("--sets", metavar="A,B", default="", help="evaluate only these sets of the suite")
    add("--model", action="append", default=[], metavar="NAME[=WEIGHTS]", help=(
        f"model name (see `anymask models list`; default: {default_model()}); repeat the "
        "option to evaluate several models"
    ))
    add("--peer", action="append", default=[], metavar="MODULE:NAME", help=
        "other implementation to evaluate: callable(image, points, labels, box) that returns "
        "masks and scores")
    add("--measure", action="append", default=[], metavar="NAME",
        help=f"additional measure; repeat the option for several: {', '.join(MEASURES)}")
    add("--only", action="store_true", help="run only the measures given with --measure")
    add("--refine-edges", action="store_true", help="also evaluate the model with refined edges")
    add(
        "--mirror",
        action="store_true",
        help="with --refine-edges, also average the predictions for the mirrored image",
    )
    add("--workers", type=read_count, metavar="N",
        help="number of worker processes (default: 1 or 2)")
    add("--resume", action="store_true", help="skip sets that the --json file already contains")
    add_model_options(parser, WHERE)
    add_options(parser, EvalSettings, ("clicks", "limit", "per_image", "grid", "crop_n_layers"),
                {"clicks": "the value in the suite, or 3"})
    add = parser.add_argument_group("labels").add_argument
    add("--from", dest="form", metavar="FORMAT", help="annotation format (default: detected)")
    add("--images", metavar="DIR", type=Path, help="folder or archive of the images")
    add("--split", metavar="NAME", help="split of a published dataset, such as val")
    # fmt: on
    add_options(parser, ReadSettings)


def _configure_videos(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    # fmt: off
    add("data", metavar="DIR", help=(
        "DAVIS, YouTube-VOS, MOSE, LVOS or SA-V dataset, or a folder with VIDEO/images and "
        "VIDEO/masks"
    ))
    add("--protocol", choices=("semi", "offline", "online"), default="semi",
        help=(
            "semi (default): start from the masks of the first frame; offline: click on the "
            "first frame, then in each round on the worst frame of the video; online: one "
            "pass, click on frames with a low IoU"
        ))
    add("--rounds", type=int, metavar="R", default=3,
        help="number of frames with clicks (default: 3)")
    add("--tracker", default="auto", help="tracker: auto (default), memory or match")
    add("--split", metavar="NAME", help="dataset split, such as val")
    add("--limit", type=read_count, metavar="N", help="maximum number of videos (default: all)")
    add("--refine-edges", action="store_true", help="refine the mask edges")
    add_model_options(parser)
    add_options(parser.add_argument_group("memory"), MemorySettings)
    # fmt: on


def _configure_find(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    # fmt: off
    add("data", metavar="LABELS", help=(
        "labeled images in any format that `anymask convert` reads; exemplar prompts use "
        "labels that occur in at least two images"
    ))
    add("--by", choices=get_args(Way), default="example", help=(
        "type of prompt: an exemplar from another image (default), the label as text, or a "
        "baseline by color or name"
    ))
    add("--absent", metavar="LABELS", help=(
        "images from another set that contain none of these objects (default: images of this "
        "set without the label)"
    ))
    add("--detector", metavar="NAME|FOLDER", help="detector, as for `anymask find`")
    add("--method", choices=get_args(Method), help="detection method, as for `anymask find`")
    add("--score", metavar="X", type=float, help="minimum confidence score")
    add("--limit", type=read_count, metavar="N",
        help="maximum number of image-label pairs (default: all)")
    add_model_options(parser)
    # fmt: on
    add_options(parser, ReadSettings)


def _configure_score(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    # fmt: off
    add("kind", metavar="KIND", choices=tuple(KINDS),
        help="type of the files: video, panoptic or volume")
    add("truth", metavar="TRUTH", type=Path, help=(
        "ground truth: a DAVIS folder or a folder with VIDEO/00000.png; a panoptic JSON file next "
        "to its PNG folder; a label volume, or a folder of volumes"
    ))
    add("results", metavar="RESULTS", type=Path,
        help="result files, in the same layout as the ground truth")
    add("--split", metavar="NAME", help="for video: dataset split, such as val or 2016/val")
    add("--rules", default="davis", help=(
        "for video: davis (default), all-frames (also scores the first and the last frame) or "
        "unsupervised (up to 20 proposals in any order)"
    ))
    add("--tolerance", type=float, metavar="MM",
        help="for volume: surface tolerance in mm (default: 1)")
    # fmt: on
    add_options(parser.add_argument_group("panoptic"), ReadSettings, ("on_bad",))


def run(args: argparse.Namespace) -> None:
    """Evaluate, print and save. Raises as `anymask.evaluate`."""
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
            split=args.split, tolerance=args.tolerance, **read_options(args, ReadSettings),
        )  # fmt: skip
    write_report(report, args)


def read_methods(args: argparse.Namespace) -> list[ModelChoice | str]:
    """Return the models of --model, --weights and --peer. Raises InputError."""
    words = args.model or [default_model()]
    if args.weights and len(words) > 1:
        raise InputError(
            "--weights applies to a single model. For several models, give the weights of "
            "each with --model NAME=WEIGHTS."
        )
    for peer in args.peer:
        if ":" not in peer:
            raise InputError(f"Invalid peer {peer!r}. Use the form module:callable.")
    pairs = [word.partition("=")[::2] for word in words]
    models = [read_model(args, model=name, weights=file or args.weights) for name, file in pairs]
    return [*models, *args.peer]


def read_photos(args: argparse.Namespace) -> dict[str, Any]:
    """Return the other options of `photos` as arguments of `evaluate`. Raises InputError."""
    if args.only and not args.measure:
        raise InputError("--only requires at least one --measure NAME.")
    names = {"protocol" if args.only else "also": args.measure}
    typed = ["anymask", *sys.argv[1:]] if sys.argv[1:2] == ["evaluate"] else []
    return names | read_options(args, EvalSettings) | read_options(args, ReadSettings) | {
        "root": args.root, "sets": [name for name in args.sets.split(",") if name],
        "form": args.form, "images": args.images, "split": args.split, "workers": args.workers,
        "refine_edges": args.refine_edges, "mirror": args.mirror, "resume": args.resume,
        "out": args.json, "cases": args.html is not None, "command": shlex.join(typed),
    }  # fmt: skip
