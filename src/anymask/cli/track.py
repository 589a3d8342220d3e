"""`anymask track`: track objects through a video and write their masks."""

from __future__ import annotations

import argparse
from pathlib import Path

from anymask.base import InputError
from anymask.cli.command import Argument, Command, Group, Settings
from anymask.cli.options import (
    MODEL,
    SESSION,
    check_not_address,
    option_of,
    read_default_model,
    read_options,
)
from anymask.cli.outputs import tell
from anymask.cli.prompts import TRACKED_PROMPTS, read_tracked_prompts
from anymask.track import (
    GROUPS,
    CutoutStyle,
    FrameSampling,
    MaskletSettings,
    MemorySettings,
    MonitorSettings,
    TrackFiles,
    TrackSettings,
    track_files,
)

TRACK_NOTE = (
    "PLACE is FRAME:OBJECT: or empty. FRAME is the frame of the video, counted from "
    "0. OBJECT is a number\nof your choice for the object. The default is object 1 in "
    "the first frame that is processed.\n`--point 0:2:500,375` is a point on object 2 "
    "in frame 0.\n\nRun the same command again to resume an interrupted run.\n"
)


def run(args: argparse.Namespace) -> None:
    """Track objects, write the outputs and report. Raises AnymaskError for user errors."""
    from anymask.base import ProgressBar

    settings = {
        name: value for group in GROUPS for name, value in read_options(args, group).items()
    }
    masklets = read_options(args, MaskletSettings)
    if masklets and not args.everything:
        raise InputError(f"{option_of(next(iter(masklets)))} requires --everything. Add it.")
    job = TrackFiles(
        video=args.video, prompts=read_tracked_prompts(args), outputs=args.outputs,
        cutout=CutoutStyle() if args.cutout else None, direction=args.direction, known=args.known,
        masklets=MaskletSettings(**masklets) if args.everything else None, settings=settings,
    )  # fmt: skip
    check_not_address(args.video)
    model = read_default_model(args)
    with ProgressBar("frames", None) as bar:
        notes = track_files(model.load, job, str(model), bar.update)
    tell(notes)


# fmt: off
COMMAND = Command(run, (
    Argument("video", metavar="VIDEO", reads=True,
        help="video file, folder of frames, or camera number"),
    Group(
        "prompts (PLACE is an optional prefix FRAME:OBJECT: ; pixels of the displayed frame)",
        (
            *TRACKED_PROMPTS,
            Argument("--from", metavar="FILE", dest="known", type=Path,
                help="start from the masks in FILE: a .jsonl of this command, or a .json of SA-V "
                     "or YouTube-VIS; prompts correct them"),
            Argument("--everything", action="store_true",
                help="track all objects without prompts: propose the objects of key frames, "
                     "track them in both directions, merge duplicates and drop short or unstable "
                     "objects"),
        ),
    ),
    Group("output options", (
        Argument("-o --output", metavar="OUT", action="append", dest="outputs", required=True,
            help=".json (SA-V), .jsonl (one line per frame), .csv (one row per object and frame: "
                 "area, centroid, box, score), .mp4 .mov .mkv .webm (masks drawn on the video, "
                 "sound kept; NAME.mask.mp4: luma matte; NAME.mask.mov: ProRes), NAME_{n}.png "
                 "(luma matte, numbered NAME_00000.png), or a folder (DAVIS palette PNGs); "
                 "repeatable"),
        Argument("--cutout", action="store_true",
            help="draw only the objects, with soft alpha (.webm, .mov or NAME_{n}.png)"),
        Argument("--direction", choices=("forward", "backward", "both"), default="forward",
            help="tracking direction from the prompts (default: forward)"),
    )),
    Settings(MaskletSettings, "all objects (--everything)", only=("max_objects",)),
    Settings(FrameSampling, "frame options", common=("every", "start", "end"), omit=("fps",)),
    Settings(TrackSettings, "tracking options", common=("tracker", "session"), defaults=SESSION),
    Settings(MonitorSettings, "confidence checks", only=("write_unsure",)),
    Settings(MemorySettings, "memory options", only=("least_quality", "fill_gaps")),
    MODEL,
), epilog=TRACK_NOTE)
# fmt: on
