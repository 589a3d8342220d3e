"""`anymask everything`: the masks of everything in photos, as SA-1B JSON and a picture."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

from anymask.base import InputError, list_settings, parse_json
from anymask.cli.folders import add_folder_options, read_job, run_folder, run_photo
from anymask.cli.options import (
    add_model_options,
    add_options,
    add_picture_options,
    read_model,
    read_options,
    read_pictures,
    report_pages,
)
from anymask.cli.outputs import Target, check_outputs, is_file_name, plan_targets
from anymask.cli.sources import add_sources, open_sources
from anymask.jobs import ArrangementChoice, EverythingTask, FolderJob, LookChoice, NamesChoice

if TYPE_CHECKING:
    from anymask.masks import Masks
    from anymask.segment import ArrangementDict, GridDict

SUMMARY = "find the masks of everything in photos"
OTHERS = ("csv", "svg", "geojson", "cvat", "yolo", "npy")
ENDING = ".everything"  # of results that lie in the working folder


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options; the names and defaults are segment-anything's."""
    from anymask.segment import Arrangement, Grid

    add_sources(parser, "PHOTO|FOLDER", "; or one folder with its sub-folders")
    parser.add_argument(
        "-o", "--output", metavar="DIR|FILE", action="append", dest="outputs", default=[],
        help="where a .json (SA-1B records) and a .png (the photo with its masks) go for each "
        "photo; those of the same pixels, model and settings are not made again; for one photo "
        "also files: .json, .png and other pictures, .csv measurements, .svg, .geojson, .txt, "
        ".npy, or - for the records on standard output; may be given several times (default: "
        "PHOTO.everything.json and .png in the working folder, FOLDER-everything/ for a folder)",
    )  # fmt: skip
    parser.add_argument(
        "--overlay", action=argparse.BooleanOptionalAction, default=True,
        help="draw the .png (default), or write the records only",
    )  # fmt: skip
    add_options(parser.add_argument_group("the grid"), Grid, defaults=model_defaults())
    add_options(parser.add_argument_group("what becomes of the masks"), Arrangement)
    add_options(parser.add_argument_group("names"), NamesChoice)
    add_options(parser.add_argument_group("large photos and masks of low quality"), LookChoice)
    add_folder_options(parser)
    add_picture_options(parser)
    add_model_options(parser)


def model_defaults() -> dict[str, str]:
    """The defaults of the grid that are others for the bundled model, in words."""
    from anymask.models.rules import DEFAULT_MODEL, default_grid
    from anymask.segment import Grid

    own = default_grid()
    return {
        setting.name: f"{setting.default_in_words}; {DEFAULT_MODEL}: {value}"
        for setting in list_settings(Grid)
        if (value := getattr(own, setting.name, setting.default)) != setting.default
    }


def read_arrangement(args: argparse.Namespace) -> ArrangementChoice:
    """What becomes of the masks. Raises InputError, before anything is opened."""
    from anymask.segment import Arrangement

    given = cast("ArrangementDict", read_options(args, Arrangement))
    return ArrangementChoice(given, LookChoice(**read_options(args, LookChoice)))


def run(args: argparse.Namespace) -> None:
    """Work through the photos. Raises DataError at the end when some failed."""
    task = EverythingTask(
        read_model(args),
        read_grid(args),
        args.overlay,
        read_pictures(args),
        read_arrangement(args),
        NamesChoice(**read_options(args, NamesChoice)),
    )
    with (
        open_sources(args.sources, allow_url=args.allow_url) as sources,
        tempfile.TemporaryDirectory() as aside,
    ):
        files = [output for output in args.outputs if is_file_name(output)]
        if not files:
            run_to_folder(args, task, read_job(args, sources, args.outputs, ENDING))
            return
        if len(files) < len(args.outputs):
            raise InputError("-o is either one folder or files of one photo, got both")
        job = read_job(args, sources, [aside], ENDING)
        if not job.one:
            raise InputError(
                f"-o {files[0]} is a file, and there are several photos or pages; name a folder, "
                "such as out/"
            )
        run_to_files(args, task, job, files)


def run_to_folder(args: argparse.Namespace, task: EverythingTask, job: FolderJob) -> None:
    """Records and a picture for each photo, side by side in a folder."""
    if not job.one:
        run_folder(job, task, args.json)
        return
    item = job.item()
    check_outputs([item.output(".json"), item.output(".png")], item.photo)
    if item.page is None:
        report_pages(item.photo, print, task.model)
    report(item.output(".json"), run_photo(job, task, args.json, "searched"))


@dataclass(frozen=True)
class Files:
    """The outputs of one photo that have names of their own.

    others   of the masks in another format: .svg, .geojson, .xml, .txt, .npy, .csv
    printed  whether the records go to standard output
    """

    records: Path | None
    picture: Path | None
    others: tuple[Path, ...] = ()
    printed: bool = False

    @property
    def first(self) -> Path | None:
        """The one that is told."""
        return self.records or self.picture or next(iter(self.others), None)


def read_files(outputs: Sequence[str], photo: Path) -> Files:
    """What each `-o` is. Raises InputError."""
    targets = plan_targets(outputs, photo.stem, "overlay", several=False)
    check_outputs([target.path for target in targets if target.path], photo)
    records: list[Target] = [one for one in targets if one.kind == "sa1b"]
    pictures = [one for one in targets if one.kind == "overlay" and one.path]
    others = [one.path for one in targets if one.kind in OTHERS and one.path]
    if outputs == ["-"]:
        return Files(None, None, printed=True)
    known = len(records) + len(pictures) + len(others)
    if len(records) > 1 or len(pictures) > 1 or known < len(targets):
        raise InputError(
            "wanted a folder, one .json, one picture such as .png, .csv, .svg, .geojson, .xml, "
            f".txt or .npy, got {', '.join(outputs)}; anymask convert makes other formats of .json"
        )
    return Files(
        records[0].path if records else None,
        pictures[0].path if pictures else None,
        tuple(others),
        printed=any(one.path is None for one in records),
    )


def run_to_files(
    args: argparse.Namespace, task: EverythingTask, job: FolderJob, outputs: Sequence[str]
) -> None:
    """One photo's records and picture, under the names that were given."""
    item = job.item()
    files = read_files(outputs, item.photo)
    named = [(".json", files.records), (".png", files.picture)]
    job = replace(job, named=tuple((suffix, path) for suffix, path in named if path is not None))
    item = job.item()
    if item.page is None:
        report_pages(item.photo, lambda line: print(line, file=sys.stderr), task.model)
    found = run_photo(job, replace(task, overlay=files.picture is not None), args.json, "searched")
    for path in files.others:
        read_records(item.output(".json")).save(path)
    if files.printed:
        sys.stdout.write(item.output(".json").read_text("utf-8") + "\n")
        return
    report(item.output(".json"), found, shown=files.first)


def read_records(path: Path) -> Masks:
    """The records that were written, with the name of their photo."""
    from anymask.images import PictureFile
    from anymask.masks import Mask, Masks

    document = parse_json(path.read_bytes(), path)
    records = [Mask.from_sa1b(row) for row in document["annotations"]]
    about = document["image"]
    picture = PictureFile(Path(about["file_name"]))
    return Masks(records, image_hw=(about["height"], about["width"]), picture=picture)


def read_grid(args: argparse.Namespace) -> GridDict:
    """The settings that were given."""
    from anymask.segment import Grid

    return cast("GridDict", read_options(args, Grid))


def report(path: Path, found: int | None, shown: Path | None = None) -> None:
    """How many masks were found, and what to do about none.

    path   of the records
    shown  the file that is named; the records when left out
    """
    name = shown or path
    if found is None:
        print(f"there already: {name}")
    elif found:
        share = 100 * parse_json(path.read_bytes(), path)["anymask"]["coverage"]
        print(f"wrote {name}: {found} mask{'s' if found > 1 else ''}, {share:.0f} % of the photo")
    else:
        print(f"wrote {name}: no mask passed; lower --pred-iou-thresh or --stability-score-thresh")
