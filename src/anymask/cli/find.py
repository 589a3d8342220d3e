"""`anymask find`: everything in photos that words mean, as SA-1B JSON with labels and a picture."""

from __future__ import annotations

import argparse
from pathlib import Path

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

SUMMARY = "find things by their names in photos"
ENDINGS = (".found", "-found")  # of results in the working folder; of a folder of them
NOTHING = "nothing of the kind is there; --score 0.1 finds what is less sure"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    from anymask.find import DEFAULT_DETECTOR, known_detectors

    add_sources(parser, "PHOTO|FOLDER", "; or one folder with its sub-folders")
    add = parser.add_argument
    # fmt: off
    add("words", metavar="WORDS",
        help="what to find, with , ; | . or line ends between: 'helmet, red cup'; 'lorry = truck' "
        "looks for the left and labels with the right, 'helmet @ 0.4' has a score of its own; or a "
        "file of such words")
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
        for name in ("detector", "score", "top_k", "iou", "side")
        if (value := getattr(args, name)) is not None
    }
    if "detector" in given and Path(args.detector).is_dir():
        given["detector"] = Path(args.detector).absolute()
    model = read_model(args)
    settings = FindSettings(device=model.device, **given)
    file = Path(args.words)
    is_file = "\n" not in args.words and file.suffix and file.is_file()
    phrases = read_phrases(file if is_file else args.words, settings.score)
    task = FindTask(phrases, settings, model, read_pictures(args), args.overlay)
    work_through(args, task, NOTHING, ENDINGS)
