"""`anymask track`: follow objects through a video and write their masks."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from anymask.base import PromptError
from anymask.cli.options import add_model_options, add_options, read_model, read_options
from anymask.cli.prompts import numbers
from anymask.cli.sources import check_not_address

if TYPE_CHECKING:
    from anymask.track import FilePrompt

SUMMARY = "follow objects through a video and write their masks"
NOTE = """\
PLACE is FRAME:OBJECT:, OBJECT: or nothing: which frame of the video, from 0 on, and which object,
by a number of your own choice; the first frame that is looked at and object 1 where nothing is
said. `--point 0:2:500,375` is a click on object 2 in frame 0.

An interrupted run goes on when the same command is given again.
"""
FORMS = {
    "point": ("X,Y", "a click on an object"),
    "negative": ("X,Y", "a click beside it"),
    "box": ("X0,Y0,X1,Y1", "a box around it"),
    "mask": ("FILE", "its mask: a picture, white on black, or a .npy file"),
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    from anymask.track import FrameSampling, MemorySettings, MonitorSettings, TrackSettings

    parser.epilog = NOTE
    told = "a video file, a folder of pictures, or a camera's number"
    parser.add_argument("video", metavar="VIDEO", help=told)
    said = parser.add_argument_group("the objects (pixels of the upright frame)")
    for name, (shape, about) in FORMS.items():
        said.add_argument(
            f"--{name}", metavar=f"[PLACE]{shape}", action="append", default=[],
            help=f"{about}; may be given several times",
        )  # fmt: skip
    out = parser.add_argument_group("the masks")
    out.add_argument(
        "-o", "--output", metavar="OUT", action="append", dest="outputs", required=True,
        help=".json (SA-V), .jsonl (a line a frame), .mp4 .mov .mkv .webm (masks drawn on the "
        "video, sound kept), or a folder (DAVIS palette PNGs); several times",
    )  # fmt: skip
    out.add_argument(
        "--cutout", action="store_true",
        help="films show the objects alone, with alpha (.webm or .mov)",
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
    from anymask.jobs import ModelChoice
    from anymask.models.rules import DEFAULT_MODEL
    from anymask.track import GROUPS, TrackFiles, track_files

    settings = {name: one for group in GROUPS for name, one in read_options(args, group).items()}
    asked = TrackFiles(
        video=args.video, prompts=read_prompts(args), outputs=args.outputs, cutout=args.cutout,
        direction=args.direction, settings=settings,
    )  # fmt: skip
    check_not_address(args.video)
    model = read_model(args) if args.model or args.weights else ModelChoice(DEFAULT_MODEL)
    with ProgressBar("frames", None) as bar:
        report = track_files(model.load, asked, str(model), bar.update)
    for note in report.moved:
        print(f"anymask: {note}", file=sys.stderr)
    print("\n".join(report.notes))


def read_prompts(args: argparse.Namespace) -> dict[tuple[int, int], FilePrompt]:
    """(frame of the source, object) -> what is said. Raises PromptError."""
    from anymask.track import FilePrompt

    found: dict[tuple[int, int], FilePrompt] = {}
    for name, (shape, _) in FORMS.items():
        for text in getattr(args, name):
            (frame, number), rest = split_place(text, args.start or 0)
            one = found.setdefault((frame, number), FilePrompt())
            if name in ("point", "negative"):
                one.points.append(numbers(rest, f"--{name} [PLACE]{shape}", 2))
                one.labels.append(int(name == "point"))
            elif getattr(one, name) is not None:
                raise PromptError(
                    f"wanted one --{name} for object {number} on frame {frame}, got two; give the "
                    f"second object a number: --{name} {number + 1}:..."
                )
            elif name == "box":
                one.box = numbers(rest, f"--box [PLACE]{shape}", 4)
            else:
                one.mask = Path(rest)
    ways = "--point X,Y, --box X0,Y0,X1,Y1 or --mask FILE"
    if not found:
        raise PromptError(f"nothing says which object is meant; give {ways}")
    begun = {number for (_, number), one in found.items() if 1 in one.labels or one.box or one.mask}
    for _, number in found:
        if number not in begun:
            raise PromptError(
                f"--negative takes something away from object {number}, and nothing says what it "
                f"is; add {ways}"
            )
    return found


def split_place(text: str, first: int) -> tuple[tuple[int, int], str]:
    """FRAME:OBJECT:REST, OBJECT:REST or REST -> (frame, object), rest.

    first  the frame where none is named
    """
    parts = text.split(":")
    head: list[int] = []
    while len(head) < 2 and len(parts) > 1 and parts[0].isdecimal():
        head.append(int(parts.pop(0)))
    frame, number = (head if len(head) == 2 else [first, *head]) if head else (first, 1)
    return (frame, number), ":".join(parts)
