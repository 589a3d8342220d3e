"""Projects: a folder of images with a database of masks, settings and training rounds.

    DIR/                      images of the user; never modified
    DIR/.anymask/project.json URL of the database, if it is not project.db
    DIR/.anymask/project.db   SQLite
    DIR/.anymask/rounds/N/    weights of each training round

Except for a database server, no files outside of DIR are read or written. DIR may be untrusted and
contain links or URLs that point to other files. These are checked before a project is opened.
"""

from __future__ import annotations

import filecmp
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, get_args

from sqlalchemy import select

from anymask.base import (
    AnymaskError,
    DataError,
    InputError,
    NotFoundError,
    StoreError,
    preview_html,
    refuse_text,
    whole_file,
)
from anymask.formats import metadata, read_hw, read_json, to_json, write_files
from anymask.images import VIDEO_SUFFIXES, find_images
from anymask.masks import Rle
from anymask.models.rules import default_model
from anymask.studio.database import create_tables, is_prepared, open_database, reading, writing
from anymask.studio.exchange import import_masks, project_terms
from anymask.studio.exports import accept_rest, export_masks
from anymask.studio.labels import LabelSet
from anymask.studio.options import ExportSettings, Stage, State, Tuning
from anymask.studio.places import (
    ADDRESS,
    DATABASE,
    PROJECT_FOLDER,
    check_own_files,
    lies_in_folder,
    own_address,
    own_file,
)
from anymask.studio.proposals import HINT_SECONDS, ProjectSettings, run_stage
from anymask.studio.records import ImageEntry, StoredMask, Verdict, one_of
from anymask.studio.report import Figures, measure
from anymask.studio.retraining import RoundOutcome, judge_on, retrain, trainer
from anymask.studio.review import (
    BatchState,
    ReviewItem,
    batch_states,
    give_verdict,
    next_for_review,
)
from anymask.studio.searching import find_in_project
from anymask.studio.store import Store
from anymask.studio.tables import ProjectRow, WeightsRow
from anymask.studio.tracks import Tracks


class Project:
    """An annotation project: a folder of images with masks, reviews, training rounds and exports.

    Args:
        folder: Folder of the project. `create_project` creates a project.
        clock: Function that returns the time in seconds since 1970.

    Raises:
        InputError: The folder is not a project.
        DataError, StoreError: The database cannot be used.

    Example:
        project = anymask.Project("photos")
        for image in project.images:
            print(image.name, len(project.masks(image.id)))
        project.export("masks.json", "coco")
    """

    def __init__(self, folder: str | Path, *, clock: Callable[[], float] = time.time) -> None:
        self.folder = Path(folder)
        check_own_files(self.folder)
        address = _address(self.folder)
        database = open_database(address)
        try:
            if not is_prepared(database) and isinstance(address, str):
                raise StoreError(
                    f"{folder}: {database.url.render_as_string()} contains no project. Remove "
                    f"{self.inside / ADDRESS}, then run: anymask project init {folder}"
                )
            create_tables(database)
        except AnymaskError:
            database.dispose()
            raise
        self.store = Store(database, clock)

    def __repr__(self) -> str:
        return f"<Project {self.folder.name!r}>"

    def _repr_html_(self) -> str:
        """Preview with the numbers of images and masks by status."""
        figures = self.figures()
        return preview_html(
            repr(self), [f"photos: {figures.images}", f"masks: {figures.masks}"], None
        )

    def close(self) -> None:
        """Close the database."""
        self.store.database.dispose()

    # Masks: import, review, export.

    @property
    def images(self) -> list[ImageEntry]:
        """All images."""
        return list(self.store.all_images())

    def masks(self, image: int | None = None, *states: State) -> list[StoredMask]:
        """Masks of an image by ID, or of all images, optionally only with these states."""
        return self.store.records(image, states)

    import_masks = import_masks
    run = run_stage
    find = find_in_project
    accept_rest = accept_rest

    def next_review(self) -> ReviewItem | None:
        """Return the next mask to review and the reason, or None if all are reviewed."""
        return next_for_review(self.store)

    def judge(
        self, item: ReviewItem, verdict: Verdict, who: str, *, rle: Rle | None = None
    ) -> StoredMask:
        """Accept, fix (with the corrected mask `rle`) or reject a reviewed mask.

        Raises:
            InputError: The verdict is invalid.
            Conflict: The mask has changed since.
        """
        return give_verdict(self.store, item, verdict, who, rle=rle)

    def batches(self) -> list[BatchState]:
        """State of each batch of proposals under the acceptance rule."""
        return batch_states(self.store, self.settings)

    def retrain(
        self, tuning: Tuning | None = None, report: Callable[[dict[str, Any]], None] | None = None
    ) -> RoundOutcome:
        """Fine-tune on accepted masks, evaluate on held-out images, and promote a better model.

        An interrupted round is resumed.

        Args:
            tuning: Fine-tuning settings.
            report: Called with each row of the training log.

        Raises:
            InputError: There are too few images to train or evaluate, or the terms of the data
                forbid training and `accept_terms` of the settings is not set.
            ModelError, WeightsError: The model cannot be loaded.
            MissingExtra: Training requires PyTorch.
        """
        tuning = tuning or Tuning()
        if not tuning.accept_terms:
            metadata.check_training(
                str(self.folder), metadata.restrictions_of(project_terms(self).info)
            )
        return retrain(self, trainer(tuning, report), judge_on(self.folder))

    def export(self, target: str | Path, format: str = "coco", **settings: Any) -> list[str]:
        """Export the accepted masks. Returns messages about exported, skipped and lost data.

        Args:
            format: Format of `anymask convert`.
            settings: Fields of `exports.ExportSettings`: only, proposals, images, shares, ...

        Raises:
            NotAllowedError: Proposals do not meet the acceptance rule.
            InputError, DataError: The export is not possible.
        """
        return export_masks(self, Path(target), format, ExportSettings(**settings))

    @property
    def inside(self) -> Path:
        """The folder `.anymask`."""
        return self.folder / PROJECT_FOLDER

    # Project settings.

    def _row(self) -> ProjectRow:
        with reading(self.store.database) as session:
            row = session.get(ProjectRow, 1)
        if row is None:
            raise NotFoundError(
                f"{self.folder} contains no project. Run: anymask project init {self.folder}"
            )
        return row

    @property
    def name(self) -> str:
        """Name of the project."""
        return self._row().name

    @property
    def settings(self) -> ProjectSettings:
        """Settings of the project."""
        return ProjectSettings.from_json(self._row().settings)

    @property
    def stage(self) -> Stage:
        """Stage in which the page opens."""
        return self._row().stage  # type: ignore[return-value]  # validated on write

    @property
    def labels(self) -> LabelSet:
        """Classes of the project."""
        return LabelSet(self.store.database, self.store.clock)

    @property
    def tracks(self) -> Tracks:
        """Videos of the project and their tracks."""
        return Tracks(self.store.database, self.store.clock)

    def describe(self, user: str) -> dict[str, Any]:
        """Data that the page loads first."""
        row = self._row()
        return {
            "name": row.name,
            "made": row.made,
            "labels": [asdict(label) for label in self.labels.all()],
            "stage": row.stage,
            "user": user,
            "hint_seconds": HINT_SECONDS,
            "counts": self.store.counts(),
        }

    def change(self, *, stage: Stage | None = None, settings: dict[str, Any] | None = None) -> None:
        """Change the given settings. Raises InputError."""
        if stage is not None:
            one_of("stage", stage, get_args(Stage))
        with writing(self.store.database) as session:
            row = session.get_one(ProjectRow, 1)
            row.stage = stage or row.stage
            row.settings = ProjectSettings.from_json({**row.settings, **(settings or {})}).to_json()

    # Images.

    def add_folder(self, failed: Callable[[str, str], None] | None = None) -> int:
        """Add new images of the folder. Returns their number.

        Args:
            failed: Called with name and reason of images that cannot be read, which are skipped.
        """
        fresh = []
        known = self.store.image_names()
        for path in self._images(failed):
            name = path.relative_to(self.folder).as_posix()
            if name in known:
                continue  # reading the sizes of many files is slow
            try:
                if path.is_symlink():
                    self.file(name)
                fresh.append((name, read_hw(path, None), None))
            except (NotFoundError, DataError) as error:
                if failed is not None:
                    failed(name, str(error))
        return self.store.add_images(fresh)

    def new_videos(self) -> list[str]:
        """Names of videos in the folder that are not clips of the project."""
        known = {clip.name for clip in self.tracks.clips()}
        paths = find_images(self.folder, suffixes=VIDEO_SUFFIXES)
        names = (path.relative_to(self.folder).as_posix() for path in paths)
        return [name for name in names if name.isprintable() and name not in known]

    def keep_video(self, source: Path, name: str) -> str:
        """Copy a video to the folder, unless it is already there. Returns its name.

        Raises:
            InputError: The name is not valid for a video, or another file has it.
        """
        if lies_in_folder(source, self.folder):
            return source.resolve().relative_to(self.folder.resolve()).as_posix()
        target = self.folder / name
        plain = target.name == name and not name.startswith(".")
        if not plain or target.suffix.lower() not in VIDEO_SUFFIXES:
            raise InputError(f"{name[:80]!r} is not a valid video file name. Use clip.mp4.")
        if target.is_symlink() or target.exists():
            if lies_in_folder(target, self.folder) and filecmp.cmp(source, target, shallow=False):
                return name
            raise InputError(f"The project already has a file named {name!r}. Rename the video.")
        with source.open("rb") as content, whole_file(target) as copy:
            shutil.copyfileobj(content, copy, 1 << 20)
        return name

    def file(self, name: str) -> Path:
        """File of an image by name. Raises NotFoundError, also if it is outside of the folder."""
        path = self.folder / name
        if not lies_in_folder(path, self.folder):
            raise NotFoundError(
                f"The file {name!r} is missing from the project's folder, or is a link to a file "
                "outside it. Copy the image itself into the folder."
            )
        return path.resolve()

    def image_names(self) -> Iterator[str]:
        """Names of the image files in the folder."""
        return (path.relative_to(self.folder).as_posix() for path in self._images(None))

    def _images(self, failed: Callable[[str, str], None] | None) -> Iterator[Path]:
        """Image files of the folder with valid text names, which a database can store."""
        for path in find_images(self.folder):
            name = path.relative_to(self.folder).as_posix()
            if name.isprintable() or name.encode("utf-8", "ignore").decode() == name:
                yield path
            elif failed is not None:
                failed(ascii(name)[1:-1], "The file name is not valid UTF-8. Rename the file.")

    def image_path(self, image_id: int) -> Path:
        """File of an image by ID. Raises NotFoundError, also if it is outside of the folder."""
        return self.file(self.store.image(image_id).name)

    def records(self, image_id: int, who: str | None = None) -> list[StoredMask]:
        """Masks of an image. On images labeled independently, only those of this annotator."""
        every = self.settings.double_every
        entries = self.store.records(image_id)
        if who is None or not every or image_id % every:
            return entries
        return [e for e in entries if e.author == who or e.provenance.kind != "human"]

    def figures(self) -> Figures:
        """Compute the report."""
        return measure(self.store, self.settings, self.name)

    # Weights.

    def current_model(self) -> str:
        """Current model for `anymask.load`: the promoted bundle, or the default image model.

        Raises InputError if the bundle is outside of the project.
        """
        query = select(WeightsRow).where(WeightsRow.promoted).order_by(WeightsRow.id.desc())
        with reading(self.store.database) as session:
            row = session.scalars(query).first()
        return (
            default_model() if row is None else str(own_file(self.inside / row.place, self.folder))
        )

    def rounds(self) -> list[dict[str, Any]]:
        """All training rounds with their figures, oldest first."""
        with reading(self.store.database) as session:
            return [
                {"round": row.round, "place": row.place, "hash": row.model_hash,
                 "promoted": row.promoted, **row.figures}
                for row in session.scalars(select(WeightsRow).order_by(WeightsRow.id))
            ]  # fmt: skip

    def record_weights(
        self, number: int, place: Path, model_hash: str, promoted: bool, figures: dict[str, Any]
    ) -> None:
        """Store the weights of a round. `place` is in the `.anymask` folder."""
        row = WeightsRow(
            at=self.store.clock(), round=number, place=place.relative_to(self.inside).as_posix(),
            figures=figures, model_hash=model_hash, promoted=promoted,
        )  # fmt: skip
        with writing(self.store.database) as session:
            session.add(row)


def create_project(
    folder: str | Path,
    *,
    name: str | None = None,
    labels: Sequence[str] = (),
    database: str | None = None,
    settings: dict[str, Any] | None = None,
    failed: Callable[[str, str], None] | None = None,
    clock: Callable[[], float] = time.time,
) -> Project:
    """Create a project in a folder of images, or open it, and add its new images.

    Args:
        database: Database URL such as postgresql://me@localhost/masks. Default: SQLite in the
            folder.
        failed: Called for images that cannot be read; see `Project.add_folder`.

    Raises:
        InputError: The folder does not exist, or is a project with another database.
        StoreError: The database does not respond.
    """
    refuse_text("a list", labels=labels)
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{str(folder)!r} is not a folder. Pass a folder with images.")
    row = ProjectRow(
        id=1, name=name or folder.resolve().name, stage="assisted", made=clock(),
        settings=ProjectSettings.from_json(settings or {}).to_json(),
    )  # fmt: skip
    inside = folder / PROJECT_FOLDER
    if not any((inside / file).exists() for file in (ADDRESS, DATABASE)):
        check_own_files(folder)
        created = open_database(own_address(database or str(inside / DATABASE), folder))
        inside.mkdir(exist_ok=True)
        create_tables(created)  # fails if the database does not respond
        created.dispose()
        files = [(inside / ".gitignore", b"*\n")]
        if database is not None:
            files.append((inside / ADDRESS, to_json({"database": database})))
        write_files(files, inside)
    elif database is not None and own_address(database, folder) != (there := _address(folder)):
        address = open_database(there).url.render_as_string()
        raise InputError(f"{str(folder)!r} already has the database {address!r}. Omit --database.")
    project = Project(folder, clock=clock)
    with writing(project.store.database) as session:
        begun = session.get(ProjectRow, 1)
        if begun is None:
            session.add(row)
        elif name:
            begun.name = name
    if settings:
        project.change(settings=settings)
    for label in labels:
        project.labels.add(label)
    project.add_folder(failed)
    return project


def _address(folder: Path) -> str | Path:
    """Path or URL of the database of a folder. Raises InputError, DataError."""
    path = folder / PROJECT_FOLDER / ADDRESS
    if not path.is_file():
        if not (folder / PROJECT_FOLDER / DATABASE).is_file():
            raise InputError(
                f"{folder} is not a project. Create one with: anymask project init {folder}"
            )
        return (folder / PROJECT_FOLDER / DATABASE).absolute()
    document = read_json(path)
    address = document.get("database") if isinstance(document, dict) else None
    if not isinstance(address, str):
        raise DataError(f'{path} is invalid. It must contain {{"database": URL}}.')
    return own_address(address, folder)
