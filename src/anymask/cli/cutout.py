"""`anymask cutout`: cut out the main subject, or the prompted object, of images and videos."""

from __future__ import annotations

import argparse
import contextlib
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from anymask.base import InputError, ProgressBar, file_suffix, say
from anymask.cli.command import Argument, Command, Settings
from anymask.cli.folders import FOLDER_OPTIONS, read_job, run_folder, run_image
from anymask.cli.options import (
    IMAGES,
    MODEL,
    check_not_address,
    is_video,
    open_sources,
    read_count,
    read_default_model,
    read_example,
    read_images,
    read_model,
    read_options,
    sources,
)
from anymask.cli.outputs import (
    NAME_FIELD,
    check_outputs,
    is_file_name,
    is_stdout,
    or_stdout,
    stdout_suffix,
    tell,
    write_stdout,
)
from anymask.cli.prompts import ONE_PROMPT, read_one_prompt
from anymask.edit import CutoutSettings
from anymask.find import FindSettings
from anymask.formats import output_kind
from anymask.jobs import CutoutTask, FolderJob

NO_SUBJECT = "No main subject found in this image. Pass --box, --point or --words."
NO_OBJECT = "No object found in this image. Pass other words or exemplars, --box or --point."


def run(args: argparse.Namespace) -> None:
    """Process images or a video. Raises DataError at the end if some failed."""
    if is_video(args.sources):
        cut_video(args)
        return
    args.outputs = or_stdout(args.outputs, args.sources)
    settings: dict[str, Any] = {
        **read_options(args, CutoutSettings),
        **read_one_prompt(args),
        "words": args.words,
        "like": args.like,
        "unlike": args.unlike,
        "detector": args.detector,
        "score": args.score,
        "top_k": args.top_k,
        "model": read_model(args),
        "image_settings": read_images(args),
    }
    if args.detector and not args.words:
        raise InputError("--detector requires --words.")
    if (args.score, args.top_k) != (None, None) and not (args.words or args.like):
        raise InputError("--score and --top-k require --words or --like.")
    if args.unlike and not args.like:
        raise InputError("--unlike requires an exemplar: --like")
    task = CutoutTask.plan("", settings)[1]
    with _job(args) as (job, suffix):
        task = replace(task, suffix=suffix)
        nothing = NO_OBJECT if args.words or args.like else NO_SUBJECT
        if not job.one:
            run_folder(job, task, args.json, nothing)
            return
        item = job.item()
        check_outputs([item.output(suffix)], item.image, *args.read)
        count = run_image(job, task, args.json)
        if count == 0:
            raise InputError(f"{item.image}: {nothing}")
        if any(map(is_stdout, args.outputs)):
            write_stdout(item.output(suffix).read_bytes())
        else:
            say(f"{'exists:' if count is None else 'wrote'} {item.output(suffix)}")


def cut_video(args: argparse.Namespace) -> None:
    """Cut out the subject of a video. Raises AnymaskError for user errors."""
    from anymask.masks import Prompt
    from anymask.track import CutoutStyle, TrackFiles, cut_words, track_files

    if args.like:
        raise InputError("--like does not support videos. Pass --words or a prompt.")
    check_not_address(args.sources[0])
    video, prompt, model = Path(args.sources[0]), read_one_prompt(args), read_default_model(args)
    style = CutoutStyle(read_options(args, CutoutSettings), folders=True)
    outputs = args.outputs or [f"{video.stem}.cut.webm"]
    with ProgressBar("frames", None) as bar:
        if args.words is not None:
            if prompt:
                raise InputError(
                    "Objects are selected by --words or by a prompt, not by both. Remove one."
                )
            settings: Any = read_options(args, FindSettings)
            paths = [Path(text) for text in outputs]
            notes = cut_words(model.load, video, args.words, paths, style, bar.update, **settings)
        else:
            fields = {
                {"point_labels": "labels"}.get(name, name): value for name, value in prompt.items()
            }
            prompts = [Prompt.of(**fields)] if prompt else []
            job = TrackFiles(
                video=str(video), prompts=prompts, outputs=outputs, cutout=style, subject=not prompt
            )
            notes = track_files(model.load, job, str(model), bar.update)
    tell(notes)


@contextlib.contextmanager
def _job(args: argparse.Namespace) -> Iterator[tuple[FolderJob, str]]:
    """Yield the job and the suffix of its images. Raises InputError."""
    outputs: list[str] = args.outputs
    with (
        open_sources(args.sources, allow_url=args.allow_url) as paths,
        tempfile.TemporaryDirectory() as aside,
    ):
        single = len(paths) == 1 and not paths[0].is_dir()
        if len(outputs) == 1 and NAME_FIELD in Path(outputs[0]).name:
            _check_image(outputs[0])
            suffix = file_suffix(outputs[0])
            yield read_job(args, paths, outputs, ("", ""), suffix), suffix
        elif len(outputs) == 1 and is_file_name(outputs[0]):
            _check_image(outputs[0])
            if not single:
                suffix = "" if is_stdout(outputs[0]) else file_suffix(outputs[0])
                raise InputError(
                    f"-o {outputs[0]} is one file, but there are several images. Pass "
                    f"a folder, or -o '{NAME_FIELD}{suffix or '.png'}'"
                )
            job = read_job(args, paths, [aside], ("", ""))
            if is_stdout(outputs[0]):
                yield job, stdout_suffix(outputs[0])
                return
            suffix = file_suffix(outputs[0])
            yield replace(job, named=((suffix, Path(outputs[0])),)), suffix
        elif not outputs and single:
            job = read_job(args, paths, [aside], ("", ""))
            yield replace(job, named=((".png", Path(paths[0].stem + ".cut.png")),)), ".png"
        else:
            yield read_job(args, paths, outputs, (".cut", "-cutouts")), ".png"


def _check_image(output: str) -> None:
    name = f"stdout{stdout_suffix(output)}" if is_stdout(output) else output
    if output_kind(Path(name)) != "cutout":
        raise InputError(
            f"-o {output} is not an image file. Use a suffix such as .png, .webp or .jpg."
        )


# fmt: off
COMMAND = Command(run, (
    *sources(
        "IMAGE|FOLDER|VIDEO",
        "; or folders, including subfolders; or one video, in which the subject is tracked",
    ),
    Argument("-o --output", metavar="DIR|FILE", action="append", dest="outputs", default=[],
        help="image with alpha (.png, .webp, ...; .jpg on white), or a folder; its .masks/ holds "
             "the masks, and existing results are skipped. OUT/{name}.webp sets the suffix; - is "
             "standard output (-.webp: as WebP). For a video: .webm or .mov with alpha and "
             "sound, NAME_{n}.png (numbered NAME_00000.png), or a folder of PNG frames (default: "
             "IMAGE.cut.png or VIDEO.cut.webm in the current folder, FOLDER-cutouts/ for a "
             "folder; standard output for an image from standard input)"),
    Argument("--words", metavar="WORDS",
        help="names of the objects to cut out, as in `anymask find`: 'cup, spoon'"),
    Argument("--like", metavar="EXAMPLE", action="append", type=read_example,
        help="exemplar object, instead of words: IMAGE@click:X,Y, IMAGE@box:X0,Y0,X1,Y1 or "
             "IMAGE@mask:FILE; repeatable"),
    Argument("--unlike", metavar="EXAMPLE", action="append", type=read_example,
        help="negative exemplar: objects similar to it are excluded"),
    Argument("--detector", metavar="NAME|FOLDER",
        help="detector for arbitrary words, as in `anymask find`"),
    Argument("--score", metavar="X", type=float,
        help="minimum confidence score of objects found by words or exemplars, 0 to 1 (default: "
             "set by the detector)"),
    Argument("--top-k", metavar="N", type=read_count,
        help="maximum number of objects, highest score first (default: all)"),
    ONE_PROMPT,
    Settings(CutoutSettings, "output image", common=("soft", "background", "crop")),
    FOLDER_OPTIONS,
    IMAGES,
    MODEL,
), stdout=True)
# fmt: on
