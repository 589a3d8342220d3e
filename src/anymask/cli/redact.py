"""`anymask redact`: hide faces, number plates or other objects in images and videos."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

from anymask.base import InputError, ProgressBar, say
from anymask.cli.command import Argument, Command
from anymask.cli.folders import FOLDER_OPTIONS, run_folder, run_image
from anymask.cli.options import (
    MODEL,
    check_not_address,
    is_video,
    open_sources,
    read_default_model,
    read_example,
    read_model,
    read_options,
    sources,
)
from anymask.cli.outputs import STDOUT, is_stdout, or_stdout, stdout_suffix, write_stdout
from anymask.find import FindSettings
from anymask.images import MaskValues
from anymask.jobs import (
    FolderJob,
    ImageTask,
    Redaction,
    RedactReport,
    beside,
    redact_images,
    write_list,
)
from anymask.masks import counted, image_format

UNDONE = "a blur can be partly reversed; use `solid` for sensitive content"
ROUGH = (
    "detection by the built-in names is rough and misses many objects; --detector "
    "llmdet_tiny finds more"
)
REDACT_NOTE = (
    "Redaction has two steps. With --words, objects are found and written to OUT-review/ for "
    "review. After\nthe review, --labels writes the redacted copies. --force writes them without a "
    "review. Copies have no\nEXIF, GPS or other metadata, and originals are never changed. Images "
    "and frames without a detection\nare listed in OUT-without.csv: check them as well.\n"
)


def run(args: argparse.Namespace) -> None:
    """Find objects, or write redacted copies, and print the next steps. Raises AnymaskError."""
    if args.how == "blur":
        say(f"note: {UNDONE}")
    if is_video(args.sources):
        redact_video_file(args)
        return
    writes = args.labels is not None or args.force
    if writes and args.output is None and or_stdout([], args.sources):
        args.output = Path(STDOUT)
    with open_sources(args.sources, allow_url=args.allow_url) as paths:
        if args.output is not None and is_stdout(str(args.output)):
            redact_to_stdout(args, paths, writes)
            return
        redaction = read_redaction(args, paths)
        report = redact_images(redaction, lambda job, task: _do(job, task, args.json))
    say("\n".join(describe_redaction(redaction, report, args.sources)))


def redact_to_stdout(args: argparse.Namespace, sources: Sequence[Path], writes: bool) -> None:
    """Write the copy of one image to standard output. Raises InputError.

    Args:
        writes: Whether there are labels, or `--force` skips the review.
    """
    if not writes:
        raise InputError("Standard output requires reviewed masks: pass --labels FILE, or --force.")
    if len(sources) > 1 or sources[0].is_dir():
        raise InputError(
            "Only the copy of one image can be written to standard output. Pass a folder: -o out/"
        )
    with tempfile.TemporaryDirectory() as aside:
        args.output = Path(aside, f"stdout{stdout_suffix(str(args.output))}")
        args.list_to = args.list_to or Path(aside, "without.csv")
        redaction = read_redaction(args, sources)
        report = redact_images(redaction, lambda job, task: _do(job, task, args.json))
        if not redaction.out.is_file():
            raise InputError(
                f"{args.labels} has no labels for this image. Pass its labels, or --force."
            )
        write_stdout(redaction.out.read_bytes())
    say(f"wrote standard output, with {counted(report.objects, 'object')} redacted")


def read_redaction(args: argparse.Namespace, sources: Sequence[Path]) -> Redaction:
    """Create the redaction from the options. Raises InputError."""
    single = sources[0] if len(sources) == 1 else None
    return Redaction(
        source=[*sources] if single is None else single,
        out=args.output or default_output(single),
        words=args.words, like=args.like, labels=args.labels,
        mask_values=args.mask_values, how=args.how, color=args.color,
        force=args.force, list_to=args.list_to,
        finding={"model": read_model(args)} | read_options(args, FindSettings),
        sharing=read_options(args, FolderJob),
    )  # fmt: skip


def default_output(source: Path | None) -> Path:
    """Return the default output in the current folder."""
    if source is None:
        return Path("redacted")
    if source.is_dir():
        return Path(f"{source.resolve().name}-redacted")
    suffix = source.suffix.lower()
    return Path(f"{source.stem}.redacted{suffix if image_format(suffix) else '.png'}")


def _do(job: FolderJob, task: ImageTask, summary: Path | None) -> None:
    if job.one:
        run_image(job, task, summary)
    else:
        run_folder(job, task, summary)


def describe_redaction(
    redaction: Redaction, report: RedactReport, typed: Sequence[str]
) -> list[str]:
    """Describe what was found or written, and the next steps."""
    lines = [f"wrote {redaction.list}"]
    if report.without:
        listed = f"{len(report.without)} of {counted(report.images, 'image')}"
        lines.append(
            f"images without a detection: {listed}, listed in {redaction.list}. Check these images"
        )
    objects = counted(report.objects, "object")
    if report.written or redaction.labels is not None:
        return [
            f"wrote {redaction.out}: {objects} redacted in "
            f"{counted(report.written, 'copied image')}",
            *lines,
        ]
    source, review = " ".join(typed), redaction.review
    again = f"anymask redact {source} --labels"
    steps = [
        f"found {objects} in {counted(report.images, 'image')}. No copies are "
        "written before a review",
        *lines,
        *([ROUGH] if redaction.words is not None and "detector" not in redaction.finding else []),
        f"1. check the images in {review}",
        f"2. if all masks are correct: {again} {review} -o {redaction.out}",
    ]
    if isinstance(redaction.images, Path) and redaction.images.is_dir():
        steps += [
            "   if a mask is wrong or missing, correct it in the page first:",
            f"   anymask project init {source} && anymask project import {source} "
            f"{review} --proposals",
            f"   anymask annotate {source} (accept or correct, then finish each image: D)",
            f"   anymask project export {source} -o reviewed.json && {again} reviewed.json -o "
            f"{redaction.out}",
        ]
    return steps


# Videos.


def redact_video_file(args: argparse.Namespace) -> None:
    """Find objects in a video, or write its redacted copy. Raises AnymaskError for user errors."""
    from anymask.track import check_video_output, find_for_review, redact_video

    check_not_address(args.sources[0])
    video = Path(args.sources[0])
    out = args.output or Path(f"{video.stem}.redacted.mp4")
    check_video_output(out, "picture")
    review, tracks = beside(out, "-review"), args.labels
    if tracks is None:
        if args.words is None or args.like:
            raise InputError("A video requires --words, or --labels with tracks.")
        model = read_default_model(args)
        settings: dict[str, Any] = read_options(args, FindSettings)
        with ProgressBar("frames", None) as bar:
            tracks = find_for_review(
                model.load, video, args.words, review, bar.update, device=model.device, **settings
            )
        if not args.force:
            again = f"anymask redact {video} -o {out} --labels"
            say(
                f"no copy is written before a review\n1. check {review / video.stem}.mp4\n2. if "
                f"all masks are correct: {again} {tracks}\n   if a mask is wrong or missing, "
                f"correct the tracks:\n   anymask track {video} --from {tracks} --box "
                f"FRAME:OBJECT:X0,Y0,X1,Y1 -o tracks.jsonl && {again} tracks.jsonl"
            )
            return
    with ProgressBar("frames", None) as bar:
        gaps = redact_video(video, tracks, out, args.how, args.color, bar.update)
    path = args.list_to or beside(out, "-without.csv")
    rows = [(str(gap.frame), f"{gap.seconds:.3f}", gap.reason) for gap in gaps]
    write_list(path, ("frame", "seconds", "reason"), rows)
    say(f"wrote {out}\nwrote {path}")
    if gaps:
        say(
            f"objects are not fully redacted on {counted(len(gaps), 'frame')}, listed "
            f"in {path}; check these frames"
        )


# fmt: off
COMMAND = Command(run, (
    *sources("IMAGE|FOLDER|VIDEO", "; or one folder, including subfolders; or one video"),
    Argument("--words", metavar="WORDS",
        help="names of the objects to redact, as in `anymask find`: 'face, number plate'. With "
             "--labels, the labels of the masks to redact (default: all labels)"),
    Argument("--like", metavar="EXAMPLE", action="append", type=read_example,
        help="exemplar objects, instead of words (not for videos): IMAGE@click:X,Y or "
             "IMAGE@box:X0,Y0,X1,Y1, where IMAGE is the image that shows the exemplar"),
    Argument("--detector", metavar="NAME|FOLDER",
        help="detector that finds objects by arbitrary words, as in `anymask find` (default: "
             "built-in names, which do not include faces)"),
    Argument("--score", metavar="X", type=float,
        help="minimum confidence score of a detection, 0 to 1; a lower score redacts more objects "
             "(default: set by the detector)"),
    Argument("--labels", metavar="FILE|DIR", type=Path, reads=True,
        help="reviewed masks in any format of `anymask convert`; for one image, also a mask "
             "image; for a video, a .jsonl of `anymask track` or `find`"),
    Argument("--mask-values", choices=get_args(MaskValues), default="auto",
        help="how to interpret mask images among the labels: labels (each pixel value is an "
             "object), binary (one object) or colors (each color is an object); auto detects it, "
             "and reports an error if the image is ambiguous (default: auto)"),
    Argument("--force", action="store_true",
        help="write redacted copies without a review; images without a detection are copied "
             "without redaction"),
    Argument("--how", choices=("solid", "pixels", "blur"), default="solid",
        help=f"how to redact: a solid color, large cells of the mean color, or a blur; {UNDONE} "
             "(default: solid)"),
    Argument("--color", metavar="COLOR", default="black",
        help="color for `--how solid` (default: black)"),
    Argument("-o --output", metavar="DIR|FILE", type=Path,
        help="output folder; for one image, also a file, or - for standard output (-.jpg: as "
             "JPEG); for a video, a video file (default: FOLDER-redacted/, IMAGE.redacted.jpg; "
             "with --labels or --force and an image from standard input, standard output)"),
    Argument("--list", metavar="FILE", type=Path, dest="list_to",
        help="output file, .csv or .json, that lists images or frames without a detection "
             "(default: OUT-without.csv)"),
    FOLDER_OPTIONS,
    MODEL,
), epilog=REDACT_NOTE, stdout=True)
# fmt: on
