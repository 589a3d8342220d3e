"""`anymask find`: what words or an example mean in photos, as SA-1B JSON and a picture."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from anymask.base import InputError
from anymask.cli.everything_files import work_through
from anymask.cli.folders import add_folder_options
from anymask.cli.options import (
    add_model_options,
    add_picture_options,
    read_count,
    read_model,
    read_pictures,
)
from anymask.cli.sources import add_sources
from anymask.jobs import FindTask

if TYPE_CHECKING:
    from anymask.find import Phrase

SUMMARY = "find things by their names, or like an example, in photos"
ENDINGS = (".found", "-found")  # of results in the working folder; of a folder of them
NOTHING = "nothing of the kind is there; --score 0.1 finds what is less sure"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    from anymask.find import DEFAULT_DETECTOR, Method, known_detectors

    parser.usage = "%(prog)s PHOTO|FOLDER [PHOTO ...] WORDS|--like EXAMPLE [options]"
    more = (
        "; or one folder with its sub-folders. Then what to find, with , ; | . or line ends "
        "between: 'helmet, red cup'; 'lorry = truck' looks for the left and labels with the right, "
        "'helmet @ 0.4' has a score of its own; or a file of such words; none with --like"
    )
    add_sources(parser, "PHOTO|FOLDER|WORDS", more)
    add = parser.add_argument
    # fmt: off
    add("--like", metavar="EXAMPLE", action="append", default=[],
        help="an example instead of words: PHOTO@click:X,Y, PHOTO@box:X0,Y0,X1,Y1 or "
        "PHOTO@mask:FILE (white is the thing); several times for several examples")
    add("--unlike", metavar="EXAMPLE", action="append", default=[],
        help="likewise, what is not meant")
    add("--method", choices=get_args(Method),
        help="with an example: likeness of a bundled model's features, or PerSAM with a SAM-type "
        "model on torch (default: what the model has)")
    add("-o", "--output", metavar="DIR|FILE", action="append", dest="outputs", default=[],
        help="as for `anymask everything`: a folder for a .json (SA-1B records with labels) and a "
        ".png of each photo, or files of one photo (default: PHOTO.found.json and .png in the "
        "working folder, FOLDER-found/ for a folder)")
    add("--detector", metavar="NAME|FOLDER",
        help=f"what reads any words: {', '.join(known_detectors())}, or a folder that holds one; "
        f"{DEFAULT_DETECTOR} is a good one (default: none; words are names that the model knows)")
    add("--score", metavar="X", type=float,
        help="the least score of a thing, 0 to 1 (default: the detector's own)")
    add("--top-k", metavar="N", type=read_count, help="the best N of each label (default: all)")
    add("--iou", metavar="X", type=float,
        help="masks that overlap more are one thing (default: 0.7)")
    add("--side", metavar="PIXELS", type=int,
        help="the longer side of what the detector sees (default: its own; on a processor 640)")
    add("--overlay", action=argparse.BooleanOptionalAction, default=True,
        help="draw the .png (default), or write the records only")
    # fmt: on
    add_folder_options(parser)
    add_picture_options(parser)
    add_model_options(parser)


def run(args: argparse.Namespace) -> None:
    """Work through the photos. Raises DataError at the end when some failed."""
    from anymask.find import FindSettings, read_phrases

    given = {
        name: value
        for name in ("detector", "score", "top_k", "iou", "side", "method")
        if (value := getattr(args, name)) is not None
    }
    if "detector" in given and Path(args.detector).is_dir():
        given["detector"] = Path(args.detector).absolute()
    model = read_model(args)
    settings = FindSettings(device=model.device, **given)
    phrases: tuple[Phrase, ...] = ()
    if not args.like:
        if args.unlike or args.method:
            raise InputError("--unlike and --method are about examples; give one: --like")
        if len(args.sources) < 2:
            raise InputError(
                "wanted a photo or a folder, and then what to find: words, or --like "
                f"example.jpg@click:320,200; got {args.sources[0]!r} alone"
            )
        words = args.sources.pop()
        file = Path(words)
        is_file = "\n" not in words and file.suffix and file.is_file()
        phrases = read_phrases(file if is_file else words, settings.score)
    like, unlike = (given or None for given in (args.like, args.unlike))
    task = FindTask(phrases, settings, model, read_pictures(args), args.overlay, like, unlike)
    work_through(args, task, NOTHING, ENDINGS)
