"""`anymask everything`: the masks of everything in photos, as SA-1B JSON and a picture."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, cast

from anymask.cli.arrangement import add_arrangement_options, read_arrangement
from anymask.cli.folders import add_folder_options, read_job, run_folder, run_photo
from anymask.cli.options import add_model_options, add_options, read_model, read_options
from anymask.cli.outputs import check_outputs
from anymask.cli.pictures import add_picture_options, read_pictures
from anymask.jobs.masks import EverythingTask
from anymask.jobs.photos import find_items
from anymask.primitives.setting import list_settings

if TYPE_CHECKING:
    from anymask.predictors.grid import GridDict

SUMMARY = "find the masks of everything in photos"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options; the names and defaults are segment-anything's."""
    from anymask.predictors.grid import Grid

    parser.add_argument("source", metavar="PHOTO|FOLDER", type=Path)
    parser.add_argument(
        "-o", "--output", metavar="DIR", type=Path, required=True,
        help="where a .json (SA-1B records) and a .png (the photo with its masks) go for each "
        "photo; those of the same pixels, model and settings are not made again",
    )  # fmt: skip
    parser.add_argument(
        "--overlay", action=argparse.BooleanOptionalAction, default=True,
        help="draw the .png (default), or write the records only",
    )  # fmt: skip
    add_options(parser.add_argument_group("the grid"), Grid, defaults=model_defaults())
    add_arrangement_options(parser)
    add_folder_options(parser)
    add_picture_options(parser)
    add_model_options(parser)


def model_defaults() -> dict[str, str]:
    """The defaults of the grid that are others for the bundled model, in words."""
    from anymask.families import DEFAULT_MODEL, default_grid
    from anymask.predictors.grid import Grid

    own = default_grid()
    return {
        setting.name: f"{setting.default_in_words}; {DEFAULT_MODEL}: {value}"
        for setting in list_settings(Grid)
        if (value := getattr(own, setting.name, setting.default)) != setting.default
    }


def run(args: argparse.Namespace) -> None:
    """Work through the photos. Raises DataError at the end when some failed."""
    task = EverythingTask(
        read_model(args),
        read_grid(args),
        args.overlay,
        read_pictures(args),
        read_arrangement(args),
    )
    job = read_job(args)
    if job.source.is_dir():
        run_folder(job, task, args.json)
        return
    (item,) = find_items(job.source, job.output)
    check_outputs([item.output(".json"), item.output(".png")], item.photo)
    report(item.output(".json"), run_photo(job, task, args.json, "searched"))


def read_grid(args: argparse.Namespace) -> GridDict:
    """The settings that were given."""
    from anymask.predictors.grid import Grid

    return cast("GridDict", read_options(args, Grid))


def report(path: Path, found: int | None) -> None:
    """How many masks were found, and what to do about none."""
    if found is None:
        print(f"there already: {path}")
    elif found:
        share = 100 * json.loads(path.read_bytes())["anymask"]["coverage"]
        print(f"wrote {path}: {found} mask{'s' if found > 1 else ''}, {share:.0f} % of the photo")
    else:
        print(f"wrote {path}: no mask passed; lower --pred-iou-thresh or --stability-score-thresh")
