"""`anymask track`: follow objects through a video and write their masks."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anymask.cli.options import add_model_options, add_options, read_model, read_options
from anymask.cli.prompts import numbers
from anymask.cli.sources import check_not_address
from anymask.cli.track_files import read_outputs, session_path, stamp_of, tell_others
from anymask.primitives.errors import DataError, InputError, PromptError

if TYPE_CHECKING:
    from anymask.primitives.types import UintImage
    from anymask.video.backdrop import Backdrop
    from anymask.video.outputs import MaskWriter
    from anymask.video.picks import PickedFrames
    from anymask.video.records import TrackedFrame
    from anymask.video.session import VideoSession

SUMMARY = "follow objects through a video and write their masks"
NOTE = """\
PLACE is FRAME:OBJECT:, OBJECT: or nothing: which frame of the video, from 0 on, and which object,
by a number of your own choice; the first frame that is looked at and object 1 where nothing is
said. `--point 0:2:500,375` is a click on object 2 in frame 0.

An interrupted run goes on when the same command is given again.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.epilog = NOTE
    parser.add_argument("video", metavar="VIDEO", help="a video file, a folder of pictures, or a camera's number")  # fmt: skip  # noqa: E501
    said = parser.add_argument_group("the objects (pixels of the upright frame)")
    for option, shape, about in (
        ("--point", "X,Y", "a click on an object"),
        ("--negative", "X,Y", "a click beside it"),
        ("--box", "X0,Y0,X1,Y1", "a box around it"),
        ("--mask", "FILE", "its mask: a picture, white on black, or a .npy file"),
    ):
        said.add_argument(
            option, metavar=f"[PLACE]{shape}", action="append", default=[],
            help=f"{about}; may be given several times",
        )  # fmt: skip
    out = parser.add_argument_group("the masks")
    out.add_argument(
        "-o", "--output", metavar="OUT", action="append", dest="outputs", required=True,
        help=".json (SA-V), .ytvis.json (COCO of videos), .jsonl (a line a frame), "
        ".mp4 .mov .mkv .webm (masks drawn on the video, sound kept), or a folder (DAVIS palette "
        "PNGs); several times",
    )  # fmt: skip
    out.add_argument(
        "--cutout", action="store_true",
        help="films and folders show the objects alone, with alpha (.webm, .mov or a folder)",
    )  # fmt: skip
    out.add_argument(
        "--background", metavar="WHAT",
        help="films and folders show the objects before something else: blur, blur:SIGMA (in "
        "pixels), a colour (white, #00ff00), or a picture's file",
    )  # fmt: skip
    out.add_argument(
        "--direction", choices=("forward", "backward", "both"), default="forward",
        help="which way to follow them from their prompts (default: forward)",
    )  # fmt: skip
    _configure_settings(parser)
    add_model_options(parser)


def _configure_settings(parser: argparse.ArgumentParser) -> None:
    from anymask.video.memory_settings import MemorySettings
    from anymask.video.opening import TrackSettings
    from anymask.video.picks import FramePicks
    from anymask.video.watch import WatchSettings

    add_options(parser.add_argument_group("which frames"), FramePicks)
    add_options(
        parser.add_argument_group("how they are followed"), TrackSettings,
        defaults={"session": "beside the first output, until the run is complete"},
    )  # fmt: skip
    add_options(parser.add_argument_group("when a mask is doubted"), WatchSettings)
    add_options(parser.add_argument_group("what is remembered"), MemorySettings)


@dataclass
class Said:
    """What the command line says of one object on one frame of the source."""

    points: list[list[float]] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    box: list[float] | None = None
    mask: Path | None = None


def run(args: argparse.Namespace) -> None:
    """Follow, write, tell. Raises AnymaskError for what the user can mend."""
    from anymask.video.backdrop import parse_backdrop
    from anymask.video.opening import GROUPS, open_session

    said = read_prompts(args)
    masks = [one.mask for one in said.values() if one.mask is not None]
    args.outputs = read_outputs(args, masks)
    behind = None if args.background is None else parse_backdrop(args.background)
    settings: dict[str, Any] = {}
    for group in GROUPS:
        settings |= read_options(args, group)
        group(**read_options(args, group))
    check_not_address(args.video)
    video = Path(args.video)
    source: Any = int(args.video) if args.video.isdecimal() and not video.exists() else video
    kept, model = settings.get("session"), read_model(args)
    told = sorted((frame, number, str(one)) for (frame, number), one in said.items())
    words = json.dumps([told, *([] if kept else [str(settings), str(model), args.video])])
    if kept is None:
        words += json.dumps([stamp_of(path) for path in (video, *masks)])
    settings["session"] = path = kept or session_path(args.outputs[0])
    forget_other(path, words, kept=kept is not None)
    leave = path.exists()  # until something new is known, nothing new is left
    try:
        with open_session(model.load(), source, **settings) as session:
            begin(session, said, words)
            leave = True
            doubtful = follow(session, args, behind)
            tell(session, args.outputs, doubtful)
        leave = kept is not None
    finally:
        if not leave:
            path.unlink(missing_ok=True)


def read_prompts(args: argparse.Namespace) -> dict[tuple[int, int], Said]:
    """(frame of the source, object) -> what is said. Raises PromptError."""
    found: dict[tuple[int, int], Said] = {}
    first = args.start or 0
    for option, label in (("point", 1), ("negative", 0)):
        for text in getattr(args, option):
            place, rest = split_place(text, first)
            one = found.setdefault(place, Said())
            one.points.append(numbers(rest, f"--{option} [PLACE]X,Y", 2))
            one.labels.append(label)
    for text in args.box:
        place, rest = split_place(text, first)
        one = found.setdefault(place, Said())
        check_free("box", one.box, place)
        one.box = numbers(rest, "--box [PLACE]X0,Y0,X1,Y1", 4)
    for text in args.mask:
        place, rest = split_place(text, first)
        one = found.setdefault(place, Said())
        check_free("mask", one.mask, place)
        one.mask = Path(rest)
    if not found:
        raise PromptError(
            "nothing says which object is meant; give --point X,Y, --box X0,Y0,X1,Y1 or --mask FILE"
        )
    begun = {number for (_, number), one in found.items() if 1 in one.labels or one.box or one.mask}
    for _, number in found:
        if number not in begun:
            raise PromptError(
                f"--negative takes something away from object {number}, and nothing says what it "
                "is; add --point X,Y, --box X0,Y0,X1,Y1 or --mask FILE"
            )
    return found


def check_free(option: str, given: object, place: tuple[int, int]) -> None:
    """Raises PromptError for a second box or mask of an object on one frame."""
    frame, number = place
    if given is not None:
        raise PromptError(
            f"wanted one --{option} for object {number} on frame {frame}, got two; give the second "
            f"object a number: --{option} {number + 1}:..."
        )


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


def forget_other(path: Path, words: str, *, kept: bool) -> None:
    """Begin anew where the file is of a run with other words.

    kept  the file was named, and is nobody's to throw away: Raises InputError

    Raises DataError for no session.
    """
    from anymask.video.store import SessionStore

    if not path.exists():
        return
    store = SessionStore(path)
    said = store.about("note command")
    store.close()
    same = said == words or (kept and said is None)
    if not same and kept:
        raise InputError(
            f"{path} keeps what another command said of its objects; say the same of them, name "
            "another file for the session, or delete it to begin anew"
        )
    if not same:
        path.unlink()


def begin(session: VideoSession, said: dict[tuple[int, int], Said], words: str) -> None:
    """Hand over the prompts, unless an interrupted run already did."""
    from anymask.data.images import load_mask

    if session.note("command") == words:
        return
    for (frame, number), one in sorted(said.items(), key=lambda pair: pair[0]):
        session.add(
            frame=find_place(session.frames, frame), object=number,
            points=one.points or None, labels=one.labels or None, box=one.box,
            mask=None if one.mask is None else load_mask(one.mask),
        )  # fmt: skip
    session.note("command", words)
    session.checkpoint()


def find_place(frames: PickedFrames, frame: int) -> int:
    """The number, in what is looked at, of a frame of the source, or of the nearest one, which is
    then told. Raises InputError for one before the first or behind the last."""
    length = frames.length
    if length == 0:
        raise InputError(
            f"no frame is left to look at: --start {frames.picks.start} is behind the video's end"
        )
    first = frames.source_frame(0)
    last = None if length is None else frames.source_frame(length - 1)
    if frame < first or (last is not None and frame > last):
        raise InputError(
            f"there is no frame {frame} among those looked at, which are {first} to "
            f"{'...' if last is None else last}"
        )
    place = frames.nearest(frame)
    taken = frames.source_frame(place)
    if taken != frame:
        print(
            f"anymask: frame {frame} is not among those looked at; what is said of it counts on "
            f"frame {taken}", file=sys.stderr,
        )  # fmt: skip
    return place


def follow(session: VideoSession, args: argparse.Namespace, behind: Backdrop | None) -> int:
    """Propagate and write every frame; how many frames a person should look at."""
    from anymask.primitives.progress import ProgressBar

    writers: list[MaskWriter] = []
    written: set[str] = set()
    at_once = args.direction == "forward" and args.paths in (None, 1)
    with ProgressBar("frames", session.frames.length) as bar:
        frames = frames_in_order(session, args.direction, at_once, bar)
        try:
            for frame in frames:
                if not writers:
                    writers = open_outputs(session, frame, args, behind)
                for writer in writers:
                    writer.write(frame, partial(read_picture, session, frame.index))
                written.add(frame.stem)
                bar.update(frame.index + 1)
        except BaseException:
            for writer in writers:
                writer.abandon()
            raise
    for writer in writers:
        writer.close()
        if note := getattr(writer, "note", None):
            print(note)
    for note in tell_others(args.outputs, written):
        print(note)
    return len({frame for frame, _, _ in session.doubtful()})


def read_picture(session: VideoSession, frame: int) -> UintImage:
    """A frame that was followed, once more. Raises DataError where it cannot be read again."""
    image = session.picture(frame)
    if image is None:
        raise DataError(f"frame {frame} cannot be read any more; was the video changed meanwhile?")
    return image


def frames_in_order(
    session: VideoSession, direction: Any, at_once: bool, bar: Any
) -> Iterator[TrackedFrame]:
    """Every frame from the first on: while they are followed, or afterwards, where what comes may
    still change them."""
    if at_once or session.frames.length is None:
        yield from session.propagate("forward", start=0)
        return
    for done, _ in enumerate(session.propagate(direction)):
        bar.update(min(done, (session.frames.length or done + 1) - 1))
    for index in range(session.frames.length or 0):
        yield session.result(index)


def open_outputs(
    session: VideoSession, first: TrackedFrame, args: argparse.Namespace, behind: Backdrop | None
) -> list[MaskWriter]:
    """The writers of all outputs, told what there is to know of the video."""
    from anymask.video.outputs import VideoFacts, open_writers

    picture = read_picture(session, first.index)
    video = Path(args.video)
    facts = VideoFacts(
        name=video.stem or "video",
        hw=(picture.shape[0], picture.shape[1]),
        rate=session.frames.rate,
        objects=tuple(session.objects),
        sound=video if video.is_file() else None,
        begin=first.seconds,
        end=session.frames.seconds_of_end(),
    )
    return open_writers(args.outputs, facts, args.cutout, behind)


def tell(session: VideoSession, outputs: list[Path], doubtful: int) -> None:
    """What was written, what a person should look at, and what was wrong with the video."""
    for path in outputs:
        print(f"wrote {path}")
    if doubtful:
        listed = [
            f"{session.frames.source_frame(frame)} (object {number}: {', '.join(doubts)})"
            for frame, number, doubts in session.doubtful()[:8]
        ]
        more = f" and more, {doubtful} frames in all" if doubtful > 8 else ""
        print(f"look at frames {'; '.join(listed)}{more}")
    if session.frames.fault:
        print(f"{session.frames.fault}; there can be masks up to there")
