"""`anymask everything`: the masks of everything in photos, as SA-1B JSON and a picture."""

from __future__ import annotations

import argparse
import json
from dataclasses import Field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from anymask.cli.arrangement import add_arrangement_options, read_arrangement
from anymask.cli.folders import add_folder_options, read_job, run_folder, run_photo
from anymask.cli.outputs import check_outputs
from anymask.cli.pictures import add_picture_options, read_pictures
from anymask.cli.segment import add_model_options, read_model
from anymask.jobs.masks import EverythingTask
from anymask.jobs.photos import find_items

if TYPE_CHECKING:
    from anymask.predictors.grid import GridDict

SUMMARY = "find the masks of everything in photos"

_GRID_HELP = {
    "mode": "exact: every click, as in the paper; adaptive: at most a third of them, those that "
    "are likely to find something",
    "decoder_precision": "model: as it was loaded; mixed: large products in 16 bits where that is "
    "faster; auto: mixed in adaptive mode",
    "memory_limit": "megabytes that a batch of clicks may need",
    "points_per_side": "clicks along each side of the grid",
    "points_per_batch": "clicks decoded at once; without it, as many as the memory allows",
    "pred_iou_thresh": "keep masks of more than this quality; lower finds more",
    "stability_score_thresh": "keep masks whose edge is at least this sure; lower finds more",
    "stability_score_offset": "how far, in logits, the edge is moved to see how sure it is",
    "box_nms_thresh": "of two masks whose boxes overlap more, keep the better",
    "crop_n_layers": "look also at 2 x 2, then 4 x 4, ... crops of the photo, so often",
    "crop_nms_thresh": "of two masks of different crops whose boxes overlap more, keep one",
    "crop_overlap_ratio": "overlap of the crops, as a part of the photo's short side",
    "crop_n_points_downscale_factor": "divide the points along a side by this with each layer",
    "min_mask_region_area": "remove holes and islands of fewer pixels",
}


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
    group = parser.add_argument_group("the grid")
    for setting in fields(Grid):
        group.add_argument(
            f"--{setting.name.replace('_', '-')}",
            help=f"{_GRID_HELP[setting.name]} (default: {defaults(setting)})",
            **_kind(setting.default),
        )
    add_arrangement_options(parser)
    add_folder_options(parser)
    add_picture_options(parser)
    add_model_options(parser)


def _kind(default: Any) -> dict[str, Any]:
    """What an option takes whose default this is; `Grid` says which words are allowed."""
    if isinstance(default, str):
        return {"metavar": "WORD"}
    whole = default is None or isinstance(default, int)
    return {"metavar": "N", "type": int} if whole else {"metavar": "X", "type": float}


def defaults(setting: Field[Any]) -> str:
    """A setting's default, and the bundled model's own where it differs."""
    from anymask.families import DEFAULT_MODEL, default_grid

    own = getattr(default_grid(), setting.name, setting.default)
    told = "automatic" if setting.default is None else f"{setting.default}"
    return told if own == setting.default else f"{told}; {DEFAULT_MODEL}: {own}"


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

    names = [setting.name for setting in fields(Grid) if getattr(args, setting.name) is not None]
    return cast("GridDict", {name: getattr(args, name) for name in names})


def report(path: Path, found: int | None) -> None:
    """How many masks were found, and what to do about none."""
    if found is None:
        print(f"there already: {path}")
    elif found:
        share = 100 * json.loads(path.read_bytes())["anymask"]["coverage"]
        print(f"wrote {path}: {found} mask{'s' if found > 1 else ''}, {share:.0f} % of the photo")
    else:
        print(f"wrote {path}: no mask passed; lower --pred-iou-thresh or --stability-score-thresh")
