"""`anymask find`: segment every object that matches a text or exemplar prompt."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from anymask.base import InputError
from anymask.cli.command import Argument, Command, Settings
from anymask.cli.everything_files import process_files
from anymask.cli.folders import FOLDER_OPTIONS
from anymask.cli.options import (
    IMAGES,
    MODEL,
    OVERLAY,
    check_not_address,
    is_video,
    map_options,
    read_count,
    read_default_model,
    read_example,
    read_images,
    read_model,
    read_options,
    sources,
    wants_map,
)
from anymask.cli.outputs import tell
from anymask.find import (
    DEFAULT_DETECTOR,
    NO_MATCH,
    FindSettings,
    Phrase,
    known_detectors,
    read_phrases,
)
from anymask.jobs import FindTask

MORE = (
    ", and then WORDS, the names of the objects, as in 'red cup'; instead of images also folders "
    "with their subfolders, or one video. Separate several names by , ; | . or line breaks, or "
    "pass a text file of names; pass none with --like. 'lorry = truck' finds the left name and "
    "labels it with the right one, 'helmet @ 0.4' sets its own score threshold"
)
FIND_ENDINGS = (".found", "-found")  # suffixes of results, and of an output folder


def run(args: argparse.Namespace) -> None:
    """Process all images. Raises DataError at the end if some failed."""
    options = read_options(args, FindSettings)
    if "detector" in options and Path(args.detector).is_dir():
        options["detector"] = Path(args.detector).absolute()
    model = read_model(args)
    settings = FindSettings(device=model.device, **options)
    phrases: tuple[Phrase, ...] = ()
    if not args.like:
        if args.unlike or args.method:
            raise InputError("--unlike and --method require an exemplar: --like")
        if len(args.sources) < 2:
            raise InputError(
                f"The object to find is missing: only {args.sources[0]!r} was passed. Pass an "
                "image or a folder, and then text, or --like example.jpg@click:320,200."
            )
        words = args.sources.pop()
        file = Path(words)
        is_file = "\n" not in words and file.suffix and file.is_file()
        phrases = read_phrases(file if is_file else words, settings.score)
        if args.every is not None or is_video(args.sources):
            follow(args, file if is_file else words, options)
            return
    elif args.every is not None or is_video(args.sources):
        raise InputError("--like does not support videos. Pass text to search a video.")
    like, unlike = (examples or None for examples in (args.like, args.unlike))
    task = FindTask(phrases, settings, model, read_images(args), args.overlay, like, unlike)
    if wants_map(args):
        from anymask.cli.maps import search_map

        search_map(args, task)
    else:
        process_files(args, task, NO_MATCH, FIND_ENDINGS)


def follow(args: argparse.Namespace, words: str | Path, given: dict[str, Any]) -> None:
    """Find and track objects in one video. Raises AnymaskError for user errors."""
    from anymask.base import ProgressBar
    from anymask.track import check_paths, find_in_video, write_finds

    if len(args.sources) != 1:
        raise InputError(
            f"--every supports one video, but {len(args.sources)} sources were passed."
        )
    check_not_address(args.sources[0])
    video = Path(args.sources[0])
    paths = [Path(text) for text in args.outputs] or [Path(f"{video.stem}{FIND_ENDINGS[1]}")]
    check_paths(paths)
    model, every = read_default_model(args), {} if args.every is None else {"every": args.every}
    with (
        ProgressBar("frames", None) as bar,
        find_in_video(model.load(), video, words, device=model.device, **given, **every) as finds,
    ):
        notes = write_finds(finds, video, paths, bar.update)
    tell(notes)


# fmt: off
COMMAND = Command(run, (
    *sources("IMAGE|FOLDER|VIDEO|WORDS", MORE),
    Argument("--like", metavar="EXAMPLE", action="append", type=read_example, default=[],
        help="exemplar object, instead of WORDS, as IMAGE@click:X,Y, IMAGE@box:X0,Y0,X1,Y1 or "
             "IMAGE@mask:FILE; repeatable. The object is white in the mask"),
    Argument("--unlike", metavar="EXAMPLE", action="append", type=read_example, default=[],
        help="negative exemplar: objects similar to it are excluded"),
    Settings(FindSettings, only=("method",), common=("method",)),
    Argument("-o --output", metavar="DIR|FILE", action="append", dest="outputs", default=[],
        help="as for `anymask everything`: folder for two files per image, a .json (SA-1B records "
             "with labels) and a .png; or file names for one image (default: IMAGE.found.json and "
             ".png in the current folder, FOLDER-found/ for a folder)"),
    Argument("--detector", metavar="NAME|FOLDER",
        help=f"detector that finds objects by arbitrary words: {', '.join(known_detectors())}, or "
             f"a folder with a detector; {DEFAULT_DETECTOR} is a good choice (default: none; only "
             "the built-in names are found)"),
    Settings(FindSettings, only=("score", "top_k"), common=("score", "top_k")),
    Settings(FindSettings, only=("nms_iou", "side")),
    Argument("--every", metavar="N", type=read_count,
        help="detect on every N-th frame of a video, and track in between; of a folder of frames, "
             "too. -o is then .json (COCO; group_id is the object number), .jsonl, .csv, .mp4 .mov "
             ".mkv .webm, NAME_{n}.png (luma matte), or a folder (palette PNGs and "
             "things.json) (default: 10 for a video file)"),
    OVERLAY,
    map_options(),
    FOLDER_OPTIONS,
    IMAGES,
    MODEL,
), usage="%(prog)s IMAGE|FOLDER|VIDEO [IMAGE ...] WORDS|--like EXAMPLE [options]", stdout=True)
# fmt: on
