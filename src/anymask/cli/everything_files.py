"""Outputs of `everything` and `find`: a folder, or files of one photo under names of their own."""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from anymask.base import InputError, parse_json
from anymask.cli.folders import read_job, run_folder, run_photo
from anymask.cli.options import report_pages
from anymask.cli.outputs import Target, check_outputs, is_file_name, plan_targets, write_objects
from anymask.cli.sources import open_sources
from anymask.formats import has_place
from anymask.jobs import EverythingTask, FindTask, FolderJob, PhotoItem, PictureChoice

if TYPE_CHECKING:
    from anymask.masks import Masks

ENDINGS = (".everything", "-everything")  # of results in the working folder; of a folder of them


@dataclass(frozen=True)
class Files:
    """The outputs of one photo that have names of their own.

    others   what else is made of the masks: .svg, .geojson, .xml, .txt, .npy, .csv, cut-outs, ...
    printed  whether the records go to standard output
    """

    records: Path | None
    picture: Path | None
    others: tuple[Target, ...] = ()
    printed: bool = False


@contextlib.contextmanager
def open_job(
    args: argparse.Namespace, endings: tuple[str, str] = ENDINGS
) -> Iterator[tuple[FolderJob, Files | None]]:
    """The job of a command line, and the files of one photo where `-o` names files.

    endings  of results in the working folder, and of a folder of them

    Raises InputError for outputs that do not go together, or are the photo itself.
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
                check_outputs([item.output(".json"), item.output(".png")], item.photo)
            yield job, None
            return
        if len(files) < len(args.outputs):
            raise InputError("-o is either one folder or files of one photo, got both")
        job = read_job(args, sources, [aside], endings)
        if not job.one:
            raise InputError(
                f"-o {files[0]} is a file, and there are several photos or pages; name a folder, "
                "such as out/"
            )
        named = read_files(files, job.item().photo)
        own = ((".json", named.records), (".png", named.picture))
        pairs = tuple((suffix, path) for suffix, path in own if path is not None)
        yield replace(job, named=pairs), named


def read_files(outputs: Sequence[str], photo: Path) -> Files:
    """What each `-o` is. Raises InputError."""
    targets = plan_targets(outputs, photo.stem, "overlay", several=False, many=True)
    check_outputs([target.path for target in targets if target.path], photo)
    if list(outputs) == ["-"]:
        return Files(None, None, printed=True)
    records = [one for one in targets if one.kind == "sa1b"]
    pictures = [one.path for one in targets if one.kind == "overlay" and one.path]
    others = [one for one in targets if one.kind not in ("sa1b", "overlay") and one.path]
    known = len(records) + len(pictures) + len(others)
    if len(records) > 1 or len(pictures) > 1 or known < len(targets):
        raise InputError(
            "wanted a folder, one .json, one picture such as .png, .csv, .svg, .geojson, .xml, "
            f".txt or .npy, got {', '.join(outputs)}; anymask convert makes other formats of .json"
        )
    for one in others:
        if one.kind == "cutout" and one.path and not has_place(one.path):
            raise InputError(
                f"-o {one.path} is a cut-out of one thing; put {{n}} or {{label}} into the name"
            )
    return Files(
        records[0].path if records else None,
        pictures[0] if pictures else None,
        tuple(others),
        printed=any(one.path is None for one in records),
    )


def write_others(files: Files, item: PhotoItem, pictures: PictureChoice) -> list[str]:
    """Write what else is made of the records that are there: the names of the files."""
    if not files.others:
        return []
    masks, shown = read_records(item), None
    if any(target.shows_photo for target in files.others):
        shown = pictures.load(item.photo, item.page, None)
    return [name for one in files.others for name in write_objects(one, masks, shown, ())]


def read_records(item: PhotoItem) -> Masks:
    """The records that were written of a photo, with the photo."""
    from anymask.images import PictureFile
    from anymask.masks import Mask, Masks

    path = item.output(".json")
    document = parse_json(path.read_bytes(), path)
    records = [Mask.from_sa1b(row) for row in document["annotations"]]
    about = document["image"]
    picture = PictureFile(item.photo, item.page or 0, about["file_name"])
    return Masks(records, image_hw=(about["height"], about["width"]), picture=picture)


def work_through(
    args: argparse.Namespace,
    task: EverythingTask | FindTask,
    nothing: str,
    endings: tuple[str, str] = ENDINGS,
) -> None:
    """Do the photos of a command line, into a folder or into the files of one photo.

    nothing  what is said where a photo gave no mask
    endings  as for `open_job`

    Raises DataError at the end when some photos failed.
    """
    with open_job(args, endings) as (job, files):
        if not job.one:
            run_folder(job, task, args.json)
            return
        item = job.item()
        if item.page is None:
            tell = sys.stdout if files is None else sys.stderr
            report_pages(item.photo, lambda line: print(line, file=tell), task.model)
        task = task if files is None else replace(task, overlay=files.picture is not None)
        found = run_photo(job, task, args.json, "searched")
        written = [] if files is None else write_others(files, item, task.pictures)
        if files is not None and files.printed:
            sys.stdout.write(item.output(".json").read_text("utf-8") + "\n")
            return
        named = [] if files is None else [files.records, files.picture, *map(Path, written)]
        report(item, found, next((one for one in named if one is not None), None), nothing)


def report(item: PhotoItem, found: int | None, shown: Path | None, nothing: str) -> None:
    """How many masks were found, and what to do about none.

    shown  the file that is named; the records when left out
    """
    path = item.output(".json")
    name = shown or path
    if found is None:
        print(f"there already: {name}")
    elif found:
        share = 100 * parse_json(path.read_bytes(), path)["anymask"]["coverage"]
        print(f"wrote {name}: {found} mask{'s' if found > 1 else ''}, {share:.0f} % of the photo")
    else:
        print(f"wrote {name}: {nothing}")
