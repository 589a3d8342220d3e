"""Outputs of `everything` and `find`: a folder, or named files of one image."""

from __future__ import annotations

import argparse
import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from anymask.base import InputError, ProgressBar, parse_json, say
from anymask.cli.folders import read_job, run_folder, run_image
from anymask.cli.options import open_sources
from anymask.cli.outputs import (
    STDOUT,
    Target,
    check_outputs,
    is_file_name,
    plan_targets,
    write_objects,
    write_stdout,
)
from anymask.formats import has_place
from anymask.jobs import EverythingTask, FindTask, FolderJob, ImageItem, ImageSettings
from anymask.masks import counted

SEARCH_LOG = ".search"  # suffix of the file from which an interrupted search resumes
EVERYTHING_ENDINGS = (".everything", "-everything")  # of results, and of a folder of results


@dataclass(frozen=True)
class Files:
    """Named outputs of one image."""

    records: Path | None  # JSON file of the masks, or None
    source_image: Path | None  # Image with the masks drawn on it, or None
    # Other outputs: .svg, .geojson, .xml, .txt, .npy, .csv, cut-outs, ...
    others: tuple[Target, ...] = ()
    # Temporary file of `records` or `picture` that is written to standard output
    printed: Path | None = None
    inputs: frozenset[Path] = frozenset()  # Resolved paths of files that the command reads


@contextlib.contextmanager
def open_job(
    args: argparse.Namespace, endings: tuple[str, str] = EVERYTHING_ENDINGS
) -> Iterator[tuple[FolderJob, Files | None]]:
    """Yield the job of a command line, and the files of one image if `-o` names files.

    Raises InputError if outputs conflict or are the input image.

    Args:
        endings: Name endings of results in the current folder, and of an output folder.
    """
    files = [output for output in args.outputs if is_file_name(output)]
    with (
        open_sources(args.sources, allow_url=args.allow_url) as sources,
        tempfile.TemporaryDirectory() as aside,
    ):
        if not files:
            job = read_job(args, sources, args.outputs, endings)
            if job.one:
                item = job.item()
                check_outputs([item.output(".json"), item.output(".png")], item.image, *args.read)
            yield job, None
            return
        if len(files) < len(args.outputs):
            raise InputError(
                "-o must be one folder, or one or more files for a single image, not both."
            )
        job = read_job(args, sources, [aside], endings)
        if not job.one:
            raise InputError(
                f"-o {files[0]} is a file, but there are several images. Pass a folder: out/"
            )
        named = read_files(files, job.item().image, Path(aside), frozenset(args.read))
        own = ((".json", named.records), (".png", named.source_image))
        pairs = [(suffix, path) for suffix, path in own if path is not None]
        places = [out.path for out in named.others if out.path] + [path for _, path in pairs]
        first = (places or [Path(aside, "stdout")])[0]
        log = first.with_name(f".{first.name}{SEARCH_LOG}")
        yield replace(job, named=(*pairs, (SEARCH_LOG, log))), named
        log.unlink(missing_ok=True)  # everything is written


def read_files(outputs: Sequence[str], image: Path, aside: Path, inputs: frozenset[Path]) -> Files:
    """Parse the `-o` options of one image. Raises InputError.

    Args:
        aside: Temporary folder for standard output; `-` means the records.
        inputs: Resolved paths of files that the command reads.
    """
    words = ["-.json" if output == STDOUT else output for output in outputs]
    targets = plan_targets(words, image.stem, "overlay", several=False, many=True)
    check_outputs([target.path for target in targets if target.path], image)
    own = [target for target in targets if target.kind in ("sa1b", "overlay")]
    others = [target for target in targets if target not in own]
    printed = [aside / f"stdout{target.suffix}" for target in own if target.path is None]
    records, image_settings = (
        [target.path or printed[0] for target in own if target.kind == kind]
        for kind in ("sa1b", "overlay")
    )
    if len(records) > 1 or len(image_settings) > 1:
        raise InputError(
            f"-o cannot write {', '.join(outputs)}. Expected a folder, one .json, one "
            "image such as .png, .csv, .svg, .geojson, .xml, .txt or .npy. To write "
            "other formats, convert the .json with anymask convert."
        )
    for other in others:
        if other.kind == "cutout" and other.path and not has_place(other.path):
            raise InputError(
                f"-o {other.path} names a single cut-out. Add {{n}} or {{label}} to the name."
            )
    return Files(
        records[0] if records else None,
        image_settings[0] if image_settings else None,
        tuple(others),
        printed[0] if printed else None,
        inputs,
    )


def write_others(files: Files, item: ImageItem, image_settings: ImageSettings) -> list[str]:
    """Write the other outputs from the existing records; return the file names."""
    if not files.others:
        return []
    from anymask.formats import read_sa1b
    from anymask.images import ImageFile
    from anymask.masks import Masks

    path = item.output(".json")
    document = parse_json(path.read_bytes(), path)
    records = read_sa1b(document["annotations"])
    about = document["image"]
    image = ImageFile(item.image, item.page or 0, about["file_name"])
    masks = Masks(records, image_hw=(about["height"], about["width"]), source_image=image)
    is_shown = any(target.shows_image for target in files.others)
    shown = image_settings.load(item.image, item.page, alpha=True) if is_shown else None
    with ProgressBar("write"):
        return [
            name
            for target in files.others
            for name in write_objects(target, masks, shown, (), files.inputs)
        ]


def process_files(
    args: argparse.Namespace,
    task: EverythingTask | FindTask,
    nothing: str,
    endings: tuple[str, str] = EVERYTHING_ENDINGS,
) -> None:
    """Process the images of a command line, to a folder or to named files of one image.

    Raises DataError at the end if some images failed.

    Args:
        nothing: Message for an image without masks.
        endings: As in `open_job`.
    """
    with open_job(args, endings) as (job, files):
        if not job.one:
            run_folder(job, task, args.json, each="mask")
            return
        item = job.item()
        task = task if files is None else replace(task, overlay=files.source_image is not None)
        count = run_image(job, task, args.json, "search")
        named = [item.output(".json"), *([item.output(".png")] if task.overlay else [])]
        written: list[str] = []
        if files is not None:
            written = write_others(files, item, task.image_settings)
            paths = (files.records, files.source_image)
            named = [path for path in paths if path is not None and path != files.printed]
            if files.printed is not None:
                write_stdout(files.printed.read_bytes())
        if count is None:
            lines = [*(f"exists: {path}" for path in named), *(f"wrote {path}" for path in written)]
        else:
            lines = [f"wrote {path}" for path in [*named, *written] or ["standard output"]]
            described = nothing
            if count:
                path = item.output(".json")
                share = 100 * parse_json(path.read_bytes(), path)["anymask"]["coverage"]
                described = f"{counted(count, 'mask')} covering {share:.0f} % of the image"
            lines[0] += f": {described}"
        say("\n".join(lines))
