"""`anymask evaluate`: measure models on annotated images or videos, or score result files."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path
from typing import Any, get_args

from anymask.base import InputError
from anymask.cli.command import Argument, Command, Group, Settings
from anymask.cli.options import (
    MODEL,
    SPLIT,
    read_count,
    read_default_model,
    read_model,
    read_options,
)
from anymask.cli.reports import REPORT_OPTIONS, report_form, write_report
from anymask.evaluation.evaluating import evaluate
from anymask.evaluation.finding import Way, evaluate_finding
from anymask.evaluation.measures import MEASURES
from anymask.evaluation.report import Report
from anymask.evaluation.selection import EvalSettings
from anymask.find import ExemplarMethod, FindSettings
from anymask.formats import ReadSettings
from anymask.jobs import ModelSettings
from anymask.models.rules import default_model
from anymask.track import MemorySettings

WHERE = ("device", "precision", "runtime", "weights")
DOCUMENT_TASKS = {"video": "tracks", "volume": "volume", "concepts": "concepts", "masks": "masks"}


def evaluate_images(args: argparse.Namespace) -> Report:
    """Evaluate prompts and automatic mask generation."""
    return evaluate(read_methods(args), args.data, **read_images(args))


def evaluate_videos(args: argparse.Namespace) -> Report:
    """Evaluate tracking."""
    return evaluate(
        read_default_model(args), args.data, rounds=args.rounds,
        protocol="videos" if args.protocol == "semi" else f"videos-{args.protocol}",
        tracker=args.tracker, split=args.split, limit=args.limit,
        refine_edges=args.refine_edges, memory=read_options(args, MemorySettings),
    )  # fmt: skip


def evaluate_find(args: argparse.Namespace) -> Report:
    """Evaluate text and exemplar prompts."""
    settings = FindSettings(**read_options(args, FindSettings))
    model, reading = read_model(args).load(), read_options(args, ReadSettings)
    return evaluate_finding(
        model, args.data, args.by, args.absent, args.limit, settings, args.split, **reading
    )


def score_files(args: argparse.Namespace) -> Report:
    """Score result files."""
    return evaluate(
        args.results, args.truth, protocol=DOCUMENT_TASKS[args.kind], rules=args.rules,
        split=args.split, tolerance=args.tolerance,
    )  # fmt: skip


def read_methods(args: argparse.Namespace) -> list[ModelSettings]:
    """Return the models of --model and --weights. Raises InputError."""
    words = args.model or [default_model()]
    if args.weights and len(words) > 1:
        raise InputError(
            "--weights applies to a single model. For several, use --model NAME=WEIGHTS."
        )
    pairs = [word.partition("=")[::2] for word in words]
    return [read_model(args, model=name, weights=file or args.weights) for name, file in pairs]


def read_images(args: argparse.Namespace) -> dict[str, Any]:
    """Return the other options of `images` as arguments of `evaluate`. Raises InputError."""
    if args.only and not args.measure:
        raise InputError("--only requires at least one --measure NAME.")
    names = {"protocol" if args.only else "also": args.measure}
    typed = ["anymask", *sys.argv[1:]] if sys.argv[1:2] == ["evaluate"] else []
    out = args.report if args.report and report_form(args.report) == "json" else None
    return names | read_options(args, EvalSettings) | read_options(args, ReadSettings) | {
        "format": args.format, "images": args.images, "split": args.split, "workers": args.workers,
        "refine_edges": args.refine_edges, "mirror": args.mirror, "resume": args.resume,
        "out": out, "cases": args.html is not None, "command": shlex.join(typed),
    }  # fmt: skip


# fmt: off
ACTIONS = {
    "images": Command(evaluate_images, (
        Argument("data", metavar="LABELS",
            help="labeled dataset in any format that `anymask convert` reads, or a folder of sets"),
        Argument("--model", action="append", default=[], metavar="NAME[=WEIGHTS]",
            help=f"model name (see `anymask models list`; default: {default_model()}); repeat the "
                 "option to evaluate several models"),
        Argument("--measure", action="append", default=[], metavar="NAME",
            help=f"additional measure; repeat the option for several: {', '.join(MEASURES)}"),
        Argument("--only", action="store_true", help="run only the measures given with --measure"),
        Argument("--refine-edges", action="store_true",
            help="also evaluate the model with refined edges"),
        Argument("--mirror", action="store_true",
            help="with --refine-edges, also average the predictions for the mirrored image"),
        Argument("--workers", type=read_count, metavar="N",
            help="number of worker processes (default: 1 or 2)"),
        Argument("--resume", action="store_true",
            help="skip sets that the --json file (.json) already contains"),
        Settings(ModelSettings, "model options", only=WHERE),
        Settings(EvalSettings, only=("clicks", "limit", "per_image", "grid", "crop_n_layers"),
                 common=("clicks", "limit", "grid")),
        Group("labels", (
            Argument("--from", dest="format", metavar="FORMAT",
                help="annotation format (default: detected)"),
            Argument("--images", metavar="DIR", type=Path, help="folder or archive of the images"),
            SPLIT,
        )),
        Settings(ReadSettings),
        REPORT_OPTIONS,
    ), summary="evaluate prompts and automatic mask generation on labeled images (default)",
       report=write_report),
    "videos": Command(evaluate_videos, (
        Argument("data", metavar="DIR",
            help="DAVIS, YouTube-VOS, MOSE, LVOS or SA-V dataset, or a folder with VIDEO/images "
                 "and VIDEO/masks"),
        Argument("--protocol", choices=("semi", "offline", "online"), default="semi",
            help="semi (default): start from the masks of the first frame; offline: click on the "
                 "first frame, then in each round on the worst frame of the video; online: one "
                 "pass, click on frames with a low IoU"),
        Argument("--rounds", type=int, metavar="R", default=3,
            help="number of frames with clicks (default: 3)"),
        Argument("--tracker", default="auto",
            help="tracker: auto (default), memory, match or points"),
        Argument("--split", metavar="NAME", help="dataset split, such as val"),
        Argument("--limit", type=read_count, metavar="N",
            help="maximum number of videos (default: all)"),
        Argument("--refine-edges", action="store_true", help="refine the mask edges"),
        MODEL,
        Settings(MemorySettings, "memory options", only=("least_quality", "fill_gaps")),
        REPORT_OPTIONS,
    ), summary="evaluate tracking on annotated videos (J and F)", report=write_report),
    "find": Command(evaluate_find, (
        Argument("data", metavar="LABELS",
            help="labeled images in any format that `anymask convert` reads; exemplar prompts use "
                 "labels that occur in at least two images"),
        Argument("--by", choices=get_args(Way), default="example",
            help="type of prompt: an exemplar from another image (default), the label as text, or "
                 "a baseline by color or name"),
        Argument("--absent", metavar="LABELS",
            help="images from another set that contain none of these objects (default: images of "
                 "this set without the label)"),
        Argument("--detector", metavar="NAME|FOLDER", help="detector, as for `anymask find`"),
        Argument("--method", choices=get_args(ExemplarMethod),
            help="detection method, as for `anymask find`"),
        Argument("--score", metavar="X", type=float, help="minimum confidence score"),
        Argument("--limit", type=read_count, metavar="N",
            help="maximum number of image-label pairs (default: all)"),
        SPLIT,
        MODEL,
        Settings(ReadSettings),
        REPORT_OPTIONS,
    ), summary="evaluate text and exemplar prompts (precision, recall, AP50, mIoU)",
       report=write_report),
    "score": Command(score_files, (
        Argument("kind", metavar="KIND", choices=tuple(DOCUMENT_TASKS),
            help="type of the files: video, volume, concepts (phrases, as SA-Co) or masks (COCO)"),
        Argument("truth", metavar="TRUTH", type=Path, reads=True,
            help="ground truth: a DAVIS folder or a folder with VIDEO/00000.png; a label "
                 "volume, or a folder of volumes; a JSON file of SA-Co or COCO"),
        Argument("results", metavar="RESULTS", type=Path, reads=True,
            help="result files, in the same layout as the ground truth; for masks a result list "
                 "of COCO, for concepts also one of COCO or YouTube-VIS"),
        Argument("--split", metavar="NAME",
            help="for video: dataset split, such as val or 2016/val"),
        Argument("--rules", default="davis",
            help="for video: davis (default), all-frames (also scores the first and the last "
                 "frame) or unsupervised (up to 20 proposals in any order)"),
        Argument("--tolerance", type=float, metavar="MM",
            help="for volume: surface tolerance in mm (default: 1)"),
        REPORT_OPTIONS,
    ), summary="score result files of any program against the ground truth (J and F for videos, "
                "Dice and surface distances for volumes, cgF1 and pHOTA for concepts, AP for "
                "masks)",
       report=write_report),
}
COMMAND = Command(actions=ACTIONS, default_action="images")
# fmt: on
