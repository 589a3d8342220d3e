"""`anymask track`: follow objects through a video and write their masks."""

from __future__ import annotations

import argparse
from pathlib import Path

from anymask.cli.options import add_model_options, add_options, read_default_model, read_options
from anymask.cli.prompts import TRACKED, add_mask_values, read_tracked_prompts
from anymask.cli.sources import check_not_address
from anymask.cli.streams import say, tell

NOTE = """\
PLACE is FRAME:OBJECT: or nothing: which frame of the video, from 0 on, and which object, by a
number of your own choice; the first frame that is looked at and object 1 where nothing is said.
`--point 0:2:500,375` is a click on object 2 in frame 0.

An interrupted run goes on when the same command is given again.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    from anymask.track import FrameSampling, MemorySettings, MonitorSettings, TrackSettings

    parser.epilog = NOTE
    told = "a video file, a folder of pictures, or a camera's number"
    parser.add_argument("video", metavar="VIDEO", help=told)
    said = parser.add_argument_group("the objects (pixels of the upright frame)")
    for name, (shape, about) in TRACKED.items():
        said.add_argument(
            f"--{name}", metavar=f"[PLACE]{shape}", action="append", default=[],
            help=f"{about}; may be given several times",
        )  # fmt: skip
    add_mask_values(said)
    said.add_argument(
        "--from", metavar="FILE", dest="known", type=Path,
        help="masks that are known already: a .jsonl of this command, a .json of SA-V or of "
        "YouTube-VIS; what else is said corrects them",
    )  # fmt: skip
    out = parser.add_argument_group("the masks")
    out.add_argument(
        "-o", "--output", metavar="OUT", action="append", dest="outputs", required=True,
        help=".json (SA-V), .jsonl (a line a frame), .csv (a row an object a frame: area, centre, "
        "box, score), .mp4 .mov .mkv .webm (masks drawn on the video, sound kept; NAME.mask.mp4: "
        "white on black), NAME_{n}.png (white on black, numbered NAME_00000.png), or a folder "
        "(DAVIS palette PNGs); several times",
    )  # fmt: skip
    out.add_argument(
        "--cutout", action="store_true",
        help="films and NAME_{n}.png show the objects alone, with soft alpha (.webm, .mov or .png)",
    )  # fmt: skip
    out.add_argument(
        "--direction", choices=("forward", "backward", "both"), default="forward",
        help="which way to follow them from their prompts (default: forward)",
    )  # fmt: skip
    kept = {"session": "beside the first output, until the run is complete"}
    add_options(parser.add_argument_group("which frames"), FrameSampling)
    group = parser.add_argument_group("how they are followed")
    add_options(group, TrackSettings, defaults=kept)
    add_options(parser.add_argument_group("when a mask is doubted"), MonitorSettings)
    add_options(parser.add_argument_group("what is remembered"), MemorySettings)
    add_model_options(parser)


def run(args: argparse.Namespace) -> None:
    """Follow, write, tell. Raises AnymaskError for what the user can mend."""
    from anymask.base import ProgressBar
    from anymask.track import GROUPS, CutoutLook, TrackFiles, track_files

    settings = {name: one for group in GROUPS for name, one in read_options(args, group).items()}
    asked = TrackFiles(
        video=args.video, prompts=read_tracked_prompts(args), outputs=args.outputs,
        cutout=CutoutLook() if args.cutout else None, direction=args.direction, known=args.known,
        settings=settings,
    )  # fmt: skip
    check_not_address(args.video)
    model = read_default_model(args)
    with ProgressBar("frames", None) as bar:
        report = track_files(model.load, asked, str(model), bar.update)
    for note in report.moved:
        say(f"anymask: {note}")
    tell(report.notes)
