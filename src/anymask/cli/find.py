"""`anymask find`: what words or an example mean in photos or a video, with masks and labels."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from anymask.base import InputError
from anymask.cli.everything_files import work_through
from anymask.cli.folders import add_folder_options
from anymask.cli.maps import add_map_options, search_map, wants_map
from anymask.cli.options import (
    add_model_options,
    add_picture_options,
    read_count,
    read_default_model,
    read_model,
    read_pictures,
)
from anymask.cli.sources import add_sources, check_not_address, read_example
from anymask.cli.streams import tell
from anymask.images import VIDEO_SUFFIXES
from anymask.jobs import FindTask

if TYPE_CHECKING:
    from anymask.find import Phrase

ENDINGS = (".found", "-found")  # of results in the working folder; of a folder of them


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    from anymask.find import DEFAULT_DETECTOR, Method, known_detectors

    parser.usage = "%(prog)s PHOTO|FOLDER|VIDEO [PHOTO ...] WORDS|--like EXAMPLE [options]"
    more = (
        "; or folders with their subfolders, or one video. Then what to find, with , ; | . or "
        "line ends between: 'helmet, red cup'; 'lorry = truck' looks for the left and labels with "
        "the right, 'helmet @ 0.4' has a score of its own; or a file of such words; none with "
        "--like"
    )
    add_sources(parser, "PHOTO|FOLDER|VIDEO|WORDS", more)
    add = parser.add_argument
    # fmt: off
    add("--like", metavar="EXAMPLE", action="append", type=read_example, default=[],
        help="an example instead of words: PHOTO@click:X,Y, PHOTO@box:X0,Y0,X1,Y1 or "
        "PHOTO@mask:FILE (white is the thing); several times for several examples")
    add("--unlike", metavar="EXAMPLE", action="append", type=read_example, default=[],
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
    add("--every", metavar="N", type=read_count,
        help="of a video, or of a folder that holds the frames of one: look for the words on every "
        "N-th frame and follow what was found in between; -o is then .json (COCO; group_id is a "
        "thing's number), .jsonl, .csv, .mp4 .mov .mkv .webm, NAME_{n}.png (white on black), or a "
        "folder (palette PNGs and things.json) (default: 10 for a video file)")
    add("--overlay", action=argparse.BooleanOptionalAction, default=True,
        help="draw the .png (default), or write the records only")
    # fmt: on
    add_map_options(parser)
    add_folder_options(parser)
    add_picture_options(parser)
    add_model_options(parser)
    parser.set_defaults(stdout=True)


def run(args: argparse.Namespace) -> None:
    """Work through the photos. Raises DataError at the end when some failed."""
    from anymask.find import NOTHING, FindSettings, read_phrases

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
        if args.every is not None or is_video(args.sources):
            follow(args, file if is_file else words, given)
            return
    elif args.every is not None or is_video(args.sources):
        raise InputError("a video is searched by words; an example is looked for in photos")
    like, unlike = (given or None for given in (args.like, args.unlike))
    task = FindTask(phrases, settings, model, read_pictures(args), args.overlay, like, unlike)
    if wants_map(args):
        search_map(args, task)
    else:
        work_through(args, task, NOTHING, ENDINGS)


def is_video(sources: list[str]) -> bool:
    """Whether the only source is a video's file, by its name."""
    return len(sources) == 1 and Path(sources[0]).suffix.lower() in VIDEO_SUFFIXES


def follow(args: argparse.Namespace, words: str | Path, given: dict[str, Any]) -> None:
    """Find and follow things in one video. Raises AnymaskError for what the user can mend."""
    from anymask.base import ProgressBar
    from anymask.track import check_paths, find_in_video, write_finds

    if len(args.sources) != 1:
        raise InputError(f"--every is about one video, got {len(args.sources)} sources; name one")
    check_not_address(args.sources[0])
    video = Path(args.sources[0])
    paths = [Path(text) for text in args.outputs] or [Path(f"{video.stem}{ENDINGS[1]}")]
    check_paths(paths)
    model, every = read_default_model(args), {} if args.every is None else {"every": args.every}
    with (
        ProgressBar("frames", None) as bar,
        find_in_video(model.load(), video, words, device=model.device, **given, **every) as finds,
    ):
        notes = write_finds(finds, video, paths, bar.update)
    tell(notes)
