"""`anymask everything`: the masks of everything in photos, as SA-1B JSON and a picture."""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Callable
from dataclasses import Field, asdict, dataclass, fields
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from anymask.cli.arrangement import (
    ArrangementChoice,
    add_arrangement_options,
    read_arrangement,
)
from anymask.cli.folders import add_folder_options, read_division, work_on_one, work_through
from anymask.cli.outputs import (
    check_outputs,
    sa1b_document,
    write_overlay,
)
from anymask.cli.photos import Job, find_jobs
from anymask.cli.pictures import PictureChoice, add_picture_options, read_pictures
from anymask.cli.progress import Progress
from anymask.cli.segment import ModelChoice, add_model_options, read_model
from anymask.primitives.errors import DataError
from anymask.primitives.storage import write_json

if TYPE_CHECKING:
    from anymask.predictors.everything import GridDict
    from anymask.predictors.image import Model
    from anymask.primitives.records import MaskRecord
    from anymask.primitives.types import UintImage

SUMMARY = "find the masks of everything in photos"
OVERLAY_SIDE = 1600  # pixels of the picture's longest side at most
HASH_DIGITS = 32  # of a photo's file

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
    from anymask.predictors.everything import Grid

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
    """A setting's default, and `nano`'s own where it differs."""
    from anymask.predictors.everything import NANO_GRID

    name, default = setting.name, setting.default
    told = "automatic" if default is None else f"{default}"
    return f"{told}; nano: {NANO_GRID[name]}" if name in NANO_GRID else told  # type: ignore[literal-required]


def run(args: argparse.Namespace) -> None:
    """Work through the photos. Raises DataError at the end when some failed."""
    task = EverythingTask(
        read_model(args),
        read_grid(args),
        args.overlay,
        read_pictures(args),
        read_arrangement(args),
    )
    if args.source.is_dir():
        work_through(task, args, "photos")
        return
    read_division(args)  # says that it is for folders
    (job,) = find_jobs(args.source, args.output)
    check_outputs([job.output(".json"), job.output(".png")], job.photo)
    work = task.open()
    with Progress("searched", work.grid.points_per_side**2) as progress:
        found = work_on_one(partial(work, progress=progress.update), job, work.about, args)
    report(job.output(".json"), found)


def read_grid(args: argparse.Namespace) -> GridDict:
    """The settings that were given. Raises InputError, before anything is opened."""
    from anymask.predictors.everything import Grid

    names = [setting.name for setting in fields(Grid) if getattr(args, setting.name) is not None]
    given = cast("GridDict", {name: getattr(args, name) for name in names})
    Grid(**given)
    return given


def report(path: Path, found: int | None) -> None:
    """How many masks were found, and what to do about none."""
    if found is None:
        print(f"there already: {path}")
    elif found:
        share = 100 * json.loads(path.read_bytes())["anymask"]["coverage"]
        print(f"wrote {path}: {found} mask{'s' if found > 1 else ''}, {share:.0f} % of the photo")
    else:
        print(f"wrote {path}: no mask passed; lower --pred-iou-thresh or --stability-score-thresh")


@dataclass(frozen=True)
class EverythingTask:
    """What is done with each photo.

    model     which model
    given     the settings that differ from the model's own
    overlay   whether a picture is drawn too
    pictures  how photos are read
    arranged  how large photos are looked at, and what becomes of the masks
    """

    model: ModelChoice
    given: GridDict
    overlay: bool = True
    pictures: PictureChoice = PictureChoice()
    arranged: ArrangementChoice = ArrangementChoice()

    def open(self) -> EverythingWork:
        """Load the model. Raises AnymaskError."""
        return EverythingWork(self.model.load(), self)


class EverythingWork:
    """A photo's records, and a picture of them."""

    def __init__(self, model: Model, task: EverythingTask) -> None:
        from anymask.predictors.everything import grid_of

        self.model, self.overlay, self.pictures = model, task.overlay, task.pictures
        self.grid = grid_of(model.spec, task.given)
        self.arranged = task.arranged.open()
        about = {
            "model": model.name,
            "weights": model.runtime.weights_hash,
            "grid": asdict(self.grid),
            "arrangement": task.arranged.about(),
        }
        self.about: dict[str, Any] = json.loads(json.dumps(about))  # as it will be read again

    def __call__(self, job: Job, progress: Callable[[int, int], None] | None = None) -> int | None:
        """Write what is missing and count the masks; None where nothing is missing.

        The records come last: they say that the photo is done. Older ones go first, so that a
        picture never lies beside records of other settings.
        """
        records_path, picture_path = job.output(".json"), job.output(".png")
        photo = Photo(job.photo, self.pictures)
        records = self._records_there(records_path, photo)
        if records is not None and (picture_path.is_file() or not self.overlay):
            return None
        fresh = records is None
        if records is None:
            records_path.unlink(missing_ok=True)
            records = self.model.everything(
                photo.pixels, progress=progress, **asdict(self.grid), **self.arranged
            )
        if self.overlay:
            write_overlay(picture_path, photo.pixels, records, OVERLAY_SIDE)
        if fresh:
            self._write_records(records_path, photo, records)
        return len(records)

    def _write_records(self, path: Path, photo: Photo, records: list[MaskRecord]) -> None:
        from anymask.primitives.layout import coverage

        height, width = photo.pixels.shape[:2]
        document = sa1b_document(photo.path, (height, width), records)
        made_from = self.about | {"image": photo.pixels_hash, "file": photo.file_hash}
        made_from |= {"coverage": coverage(records)}
        write_json(path, document | {"anymask": made_from})

    def _records_there(self, path: Path, photo: Photo) -> list[MaskRecord] | None:
        """What an earlier run made of the same pixels with the same settings; None otherwise."""
        from anymask.primitives.records import MaskRecord

        try:
            document = json.loads(path.read_bytes())
            made_from = document["anymask"]
            if any(made_from[name] != value for name, value in self.about.items()):
                return None
            if not photo.is_file_of(made_from) and made_from["image"] != photo.pixels_hash:
                return None
            return [MaskRecord.from_sa1b(record) for record in document["annotations"]]
        except (FileNotFoundError, ValueError, LookupError, TypeError, DataError):
            return None  # there is none, or it is damaged


class Photo:
    """A photo's file, read and decoded when somebody asks."""

    def __init__(self, path: Path, pictures: PictureChoice) -> None:
        self.path, self.pictures = path, pictures

    @cached_property
    def file_hash(self) -> str:
        """Of its bytes, with how they are read; "" where they cannot be, which `pixels` says."""
        try:
            with self.path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()[:HASH_DIGITS]
            return digest + self.pictures.mark
        except OSError:
            return ""

    @cached_property
    def pixels(self) -> UintImage:
        """(H, W, 3). Raises ImageError."""
        return self.pictures.load(self.path)

    @cached_property
    def pixels_hash(self) -> str:
        """Of the decoded picture, which survives a copy into another format without loss."""
        from anymask.predictors.decoding import image_hash

        return image_hash(self.pixels)

    def is_file_of(self, made_from: dict[str, Any]) -> bool:
        """Whether records say that they were made of these very bytes; nothing is decoded then."""
        return bool(self.file_hash) and made_from.get("file") == self.file_hash
