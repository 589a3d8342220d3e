"""`anymask everything`: the masks of everything in photos, as SA-1B JSON and a picture."""

from __future__ import annotations

import argparse
import json
from dataclasses import Field, asdict, fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from anymask.cli.outputs import json_bytes, sa1b_document, whole_file, write_overlay
from anymask.cli.photos import Job, find_jobs, work_through
from anymask.cli.progress import Progress
from anymask.cli.segment import add_model_options, load_model

if TYPE_CHECKING:
    from anymask.predictors.everything import Grid
    from anymask.predictors.image import Model
    from anymask.primitives.types import UintImage

SUMMARY = "find the masks of everything in photos"
OVERLAY_SIDE = 1600  # pixels of the picture's longest side at most

_GRID_HELP = {
    "points_per_side": "clicks along each side of the grid",
    "points_per_batch": "clicks decoded at once; bounds the memory",
    "pred_iou_thresh": "keep masks of more than this quality; lower finds more",
    "stability_score_thresh": "keep masks whose edge is at least this sure; lower finds more",
    "stability_score_offset": "how far, in logits, the edge is moved to see how sure it is",
    "box_nms_thresh": "of two masks whose boxes overlap more, keep the better",
    "min_mask_region_area": "remove holes and islands of fewer pixels",
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options; the names and defaults are segment-anything's."""
    from anymask.predictors.everything import Grid

    parser.add_argument("source", metavar="PHOTO|FOLDER", type=Path)
    parser.add_argument(
        "-o", "--output", metavar="DIR", type=Path, required=True,
        help="where a .json (SA-1B records) and a .png (the photo with its masks) go for each "
        "photo; those of the same pixels, model and grid are not made again",
    )  # fmt: skip
    group = parser.add_argument_group("the grid")
    for setting in fields(Grid):
        kind = int if isinstance(setting.default, int) else float
        group.add_argument(
            f"--{setting.name.replace('_', '-')}",
            metavar="N" if kind is int else "X",
            type=kind,
            help=f"{_GRID_HELP[setting.name]} (default: {defaults(setting)})",
        )
    add_model_options(parser)


def defaults(setting: Field[Any]) -> str:
    """A setting's default, and `nano`'s own where it differs."""
    from anymask.predictors.everything import NANO_GRID

    name, default = setting.name, setting.default
    return f"{default}; nano: {NANO_GRID[name]}" if name in NANO_GRID else f"{default}"  # type: ignore[literal-required]


def run(args: argparse.Namespace) -> None:
    """Work through the photos. Raises DataError at the end when some failed."""
    from anymask.predictors.everything import Grid, GridDict, grid_of

    names = [setting.name for setting in fields(Grid) if getattr(args, setting.name) is not None]
    given = cast(GridDict, {name: getattr(args, name) for name in names})
    Grid(**given)  # says what is wrong before anything is opened
    jobs = find_jobs(args.source, args.output)
    model = load_model(args)
    grid = grid_of(model.spec, given)
    if len(jobs) > 1:
        work_through(jobs, "photos", lambda job: segment_photo(model, grid, job) is not None)
        return
    with Progress("clicks", grid.points_per_side**2) as progress:
        found = segment_photo(model, grid, jobs[0], progress)
    report(jobs[0].output(".json"), found)


def report(path: Path, found: int | None) -> None:
    """How many masks were found, and what to do about none."""
    if found is None:
        print(f"there already: {path}")
    elif found:
        print(f"wrote {path}: {found} mask{'s' if found > 1 else ''}")
    else:
        print(f"wrote {path}: no mask passed; lower --pred-iou-thresh or --stability-score-thresh")


def segment_photo(
    model: Model, grid: Grid, job: Job, progress: Progress | None = None
) -> int | None:
    """Write one photo's records and picture and count them; None where both are there already."""
    from anymask.data.images import load_image

    image = load_image(job.photo)
    records_path, picture_path = job.output(".json"), job.output(".png")
    made_from = provenance(model, grid, image)
    if picture_path.is_file() and read_provenance(records_path) == made_from:
        return None
    update = None if progress is None else partial(progress.update)
    records = model.everything(image, progress=update, **asdict(grid))
    write_overlay(picture_path, image, records, OVERLAY_SIDE)
    document = sa1b_document(job.photo, (image.shape[0], image.shape[1]), records)
    with whole_file(records_path) as file:  # last: it says that the photo is done
        file.write(json_bytes(document | {"anymask": made_from}))
    return len(records)


def provenance(model: Model, grid: Grid, image: UintImage) -> dict[str, Any]:
    """What the records depend on."""
    from anymask.predictors.decoding import image_hash

    return {
        "model": model.name,
        "weights": model.runtime.weights_hash,
        "image": image_hash(image),
        "grid": asdict(grid),
    }


def read_provenance(path: Path) -> Any:
    """What an earlier run wrote about itself; None where there is none or it is damaged."""
    try:
        return json.loads(path.read_bytes()).get("anymask")
    except (OSError, ValueError, AttributeError):
        return None
