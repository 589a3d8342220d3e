"""The masks of everything as a folder job: photos in, SA-1B JSON and a picture of each out."""

from __future__ import annotations

import difflib
import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack, cast

from anymask.base import InputError
from anymask.jobs.choices import (
    ArrangementChoice,
    LookChoice,
    ModelChoice,
    PictureChoice,
    model_choice,
)
from anymask.jobs.folder import FolderDict, OnProgress, Photos, Summary, make_job, run_job
from anymask.jobs.names import NamesChoice
from anymask.jobs.photo_records import PhotoFile, read_made, write_made
from anymask.jobs.photos import PhotoItem, write_overlay
from anymask.jobs.processing import OnStep

if TYPE_CHECKING:
    from anymask.masks import Mask, Tile
    from anymask.segment import EverythingDict, GridDict, Model

    class MaskDict(EverythingDict, total=False):
        """The settings of `Model.everything`, in plain values."""

        tile: Tile
        retry_seconds: float
        retry_quality: float
        retry_model: str
        names: tuple[str, ...] | Path


def everything(
    source: Photos,
    output: str | Path,
    *,
    model: str | ModelChoice | None = None,
    settings: MaskDict | None = None,
    overlay: bool = True,
    on_progress: OnProgress | None = None,
    **how: Unpack[FolderDict],
) -> Summary:
    """Find the masks of everything in the photos of a folder; the same call again goes on.

    source       a folder of photos with its sub-folders; or one photo, or a list of photos
    output       the folder for a .json (SA-1B records) and a .png (the masks drawn) of each photo
    model        a name, or `ModelChoice(model, weights, device, precision)`
    settings     those of `Model.everything` by name (grid, layout, tile, ...), and
                 retry_seconds, retry_quality, retry_model, names
    overlay      whether the .png is made
    on_progress  called with a `JobProgress` after each photo, in this process
    how          workers, engine, shard, output_shards (see `FolderJob`); pictures, a
                 `PictureChoice(bands, page, stretch)`

    A photo that fails is counted, listed in the summary and in `errors.jsonl` of the output; the
    rest goes on. Raises InputError for settings that make no sense, a folder without photos or one
    that another run works in, and whatever would make every photo fail.
    """
    job, pictures = make_job(source, output, how)
    given: dict[str, Any] = dict(settings or {})
    named = NamesChoice(given.pop("names", None))
    grid, arrangement = split_mask_settings(cast("MaskDict", given))
    task = EverythingTask(model_choice(model), grid, overlay, pictures, arrangement, named)
    return run_job(job, task, on_progress)


def split_mask_settings(given: MaskDict) -> tuple[GridDict, ArrangementChoice]:
    """Settings by name -> those of the grid, and the rest. Raises InputError."""
    from anymask.segment import Arrangement, Grid, split_settings

    looks = [one.name for one in fields(LookChoice)]
    known = ["names", *looks, *(one.name for kind in (Grid, Arrangement) for one in fields(kind))]
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            remedy = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known)}"
            raise InputError(f"there is no setting {name!r}; {remedy}")
    rest = {name: value for name, value in given.items() if name not in looks}
    grid, arrangement = split_settings(cast("EverythingDict", rest))
    chosen: dict[str, Any] = {name: given[name] for name in looks if name in given}  # type: ignore[literal-required]  # names of MaskDict
    return grid, ArrangementChoice(arrangement, LookChoice(**chosen))


@dataclass(frozen=True)
class EverythingTask:
    """What is done with each photo.

    model     which model
    given     the settings that differ from the model's own
    overlay   whether a picture is drawn too
    pictures  how photos are read
    arranged  how large photos are looked at, and what becomes of the masks
    named     what they are called

    Raises InputError for settings out of range.
    """

    model: ModelChoice = ModelChoice()
    given: GridDict = field(default_factory=lambda: cast("GridDict", {}))
    overlay: bool = True
    pictures: PictureChoice = PictureChoice()
    arranged: ArrangementChoice = field(default_factory=ArrangementChoice)
    named: NamesChoice = NamesChoice()

    def __post_init__(self) -> None:
        from anymask.segment import Grid

        Grid(**self.given)

    def open(self) -> EverythingWork:
        """Load the model. Raises AnymaskError."""
        return EverythingWork(self.model.load(), self)


class EverythingWork:
    """A photo's records, and a picture of them."""

    def __init__(self, model: Model, task: EverythingTask) -> None:
        from anymask.segment import grid_of, wider_grid

        self.model, self.overlay, self.pictures = model, task.overlay, task.pictures
        self.given = task.given
        grid = grid_of(model.runtime.family, task.given)
        self.widens = wider_grid(grid, task.given) is not None
        self.arranged = task.arranged.open()
        self.names = task.named.open(model)
        about = {
            "model": model.name,
            "weights": model.runtime.weights_hash,
            "grid": asdict(grid),
            "arrangement": task.arranged.about(),
            **task.named.about(model),
        }
        self.about: dict[str, Any] = json.loads(json.dumps(about))  # as it will be read again

    def __call__(self, item: PhotoItem, on_step: OnStep | None = None) -> int | None:
        """Write what is missing and count the masks; None where nothing is missing.

        The records come last: they say that the photo is done. Older ones go first, so that a
        picture never lies beside records of other settings.
        """
        records_path, picture_path = item.output(".json"), item.output(".png")
        photo = PhotoFile(item, self.pictures, self.model.spec.channels)
        records = self._records_there(records_path, photo)
        if records is not None and (picture_path.is_file() or not self.overlay):
            return None
        fresh = records is None
        if records is None:
            records_path.unlink(missing_ok=True)
            records = self._search(records_path, photo, on_step)
        if self.overlay:
            write_overlay(picture_path, photo.shown, records)
        if fresh:
            write_made(records_path, photo, self.about | {"widens": self.widens}, records)
        return len(records)

    def _search(self, path: Path, photo: PhotoFile, on_step: OnStep | None) -> list[Mask]:
        """The masks of a photo; a search that was killed goes on from the file beside `path`."""
        from anymask.segment import SearchLog

        place = path.with_name(f".{path.name}.search")
        log = SearchLog(place, self.about | {"image": photo.pixels_hash})
        done = False
        try:
            records = self.model.everything(
                photo.pixels, progress=on_step, log=log, **self.given, **self.arranged
            )
            done = True
        finally:
            log.close(done=done)
        if self.names is None:
            return records
        return self.model.with_labels(photo.pixels, records, names=self.names)

    def _records_there(self, path: Path, photo: PhotoFile) -> list[Mask] | None:
        """What an earlier run made of the same pixels with the same settings; None otherwise."""
        found = read_made(path, photo, self.about)
        if found is None:
            return None
        made_from, records = found
        if made_from.get("widens", self.widens and bool(records)) != self.widens:
            return None  # another answer, where nothing passed
        return records
