"""Tables of a project's database, and conversion of rows to values of `records`.

    projects   one row: name, stage, settings
    labels     the classes of masks, with colors, in order
    images     the images
    records    the current masks; `version` protects every change
    versions   all versions of each record; append-only
    events     actions: who, when, tool, seconds; append-only
    verdicts   verdicts of reviewers, with the IoU of the mask before and after a fix
    weights    the models of the project, and whether they were promoted
    clips      the videos
    tracks     objects tracked through a clip; `version` protects every change
    track_masks     their masks, each with the track versions in which it is valid
    track_verdicts  verdicts of reviewers on tracks

    schema     one row: the version of these tables

The columns of a mask are the fields of `records.StoredMask` (`MaskColumns`, also used by
`versions`), those of a track's mask the fields of `records.TrackMask`. Triggers in the database
prevent updates and deletions in `versions` and `events`. Times are seconds since 1970, UTC.
"""

from __future__ import annotations

import hashlib
from dataclasses import fields
from typing import Any, TypeVar

from sqlalchemy import (
    DDL,
    JSON,
    Boolean,
    Dialect,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Text,
    UniqueConstraint,
    event,
    type_coerce,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
from sqlalchemy.types import TypeDecorator

from anymask.base import DataError, InputError, NotFoundError, StoreError
from anymask.masks import Rle, rle_to_string, string_to_rle
from anymask.studio.records import (
    Action,
    Draft,
    ImageEntry,
    JsonColumn,
    MaskNotes,
    Provenance,
    StoredMask,
    checked_text,
    is_id,
)

NAMING_CONVENTION = {  # names of indexes and constraints, the same in every database
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s",
    "pk": "pk_%(table_name)s",
}
APPEND_ONLY = ("versions", "events")
SCHEMA = 1  # increase with every change of a table


def _damaged(what: object, value: object) -> StoreError:
    return StoreError(f"The database is corrupted: {what} is {str(value)[:40]!r}. Restore it.")


def mask_of_text(value: Any) -> Rle:
    """Parse the mask in a `RleColumn`. Raises StoreError for other values."""
    try:
        size, counts = value.split(" ", 1)
        height, width = map(int, size.split("x"))
        return string_to_rle(counts, (height, width))
    except (AttributeError, TypeError, ValueError, DataError, InputError) as error:
        raise _damaged("a mask", value) from error


class RleColumn(TypeDecorator[Rle]):
    """Mask as text: "HEIGHTxWIDTH", a space, and compressed COCO run-lengths."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Rle | None, dialect: Dialect) -> str | None:
        return value if value is None else "{}x{} ".format(*value.size) + rle_to_string(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> Rle | None:
        return mask_of_text(value)


class Document(TypeDecorator[Any]):
    """A `records.JsonColumn` as a JSON object."""

    impl = JSON
    cache_ok = True

    def __init__(self, kept: type[JsonColumn]) -> None:
        super().__init__()
        self.kept = kept

    def process_bind_param(self, value: Any, dialect: Dialect) -> Any:
        return value.to_json()

    def process_result_value(self, value: Any, dialect: Dialect) -> Any:
        try:
            return self.kept(**value)
        except (InputError, TypeError) as error:
            raise _damaged(f"{self.kept.__name__} of a mask", value) from error


class Words(TypeDecorator[tuple[str, ...]]):
    """Words separated by spaces."""

    impl = String(400)
    cache_ok = True

    def process_bind_param(self, value: tuple[str, ...] | None, dialect: Dialect) -> str:
        return " ".join(value or ())

    def process_result_value(self, value: Any, dialect: Dialect) -> tuple[str, ...]:
        if not isinstance(value, str):
            raise _damaged("a list of words", value)
        return tuple(value.split())


class Table(DeclarativeBase):
    """Base class of all tables."""

    metadata = MetaData(naming_convention=NAMING_CONVENTION)
    type_annotation_map = {  # noqa: RUF012  # as required by SQLAlchemy
        float: Double(),
        dict[str, Any]: JSON(),
        Rle: RleColumn(),
        Provenance: Document(Provenance),
        MaskNotes: Document(MaskNotes),
        tuple[str, ...]: Words(),
    }


class SchemaRow(Table):
    """Version of the tables: SCHEMA of the program that created them."""

    __tablename__ = "schema"
    version: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)


class ProjectRow(Table):
    """The project, in a single row with ID 1."""

    __tablename__ = "projects"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    name: Mapped[str] = mapped_column(String(400))
    stage: Mapped[str] = mapped_column(String(20))
    settings: Mapped[dict[str, Any]]
    made: Mapped[float]


class NumberedTable(Table):
    """Base class of tables whose rows have an ID."""

    __abstract__ = True
    id: Mapped[int] = mapped_column(primary_key=True, sort_order=-1)


class LabelRow(Table):
    """A class of masks."""

    __tablename__ = "labels"
    name: Mapped[str] = mapped_column(String(400), primary_key=True)
    color: Mapped[str] = mapped_column("colour", String(7))
    place: Mapped[int]


class ImageRow(NumberedTable):
    """An image."""

    __tablename__ = "images"
    __table_args__ = (UniqueConstraint("name"),)
    name: Mapped[str] = mapped_column(String(1000))
    height: Mapped[int]
    width: Mapped[int]
    group_name: Mapped[str | None] = mapped_column(String(400))
    status: Mapped[str] = mapped_column(String(20))
    version: Mapped[int] = mapped_column()

    __mapper_args__ = {"version_id_col": version}  # noqa: RUF012  # SQLAlchemy's own way


class MaskColumns:
    """Columns of a version of a mask, as in `records.StoredMask`, except its ID."""

    image_id: Mapped[int] = mapped_column(ForeignKey("images.id"))
    author: Mapped[str] = mapped_column(String(400))
    created: Mapped[float]
    rle: Mapped[Rle]
    label: Mapped[str | None] = mapped_column(String(400))
    state: Mapped[str] = mapped_column(String(20))
    score: Mapped[float | None]
    stability: Mapped[float | None]
    seconds: Mapped[float]
    client_id: Mapped[str | None] = mapped_column(String(400))
    page: Mapped[int]
    provenance: Mapped[Provenance]
    notes: Mapped[MaskNotes]
    # Whether the mask was deleted. Its versions are kept.
    deleted: Mapped[bool] = mapped_column(Boolean)


class RecordRow(MaskColumns, NumberedTable):
    """Current mask. `draw` is its position in the random order of samples (`draw_of`)."""

    __tablename__ = "records"
    __table_args__ = (
        UniqueConstraint("image_id", "client_id"),
        Index(None, "image_id", "state"),
        Index(None, "state", "score"),
    )
    version: Mapped[int] = mapped_column()
    draw: Mapped[str] = mapped_column(String(16), index=True)

    __mapper_args__ = {"version_id_col": version}  # noqa: RUF012  # SQLAlchemy's own way


# Query columns of fields in the JSON of `RecordRow.provenance`.
KIND = type_coerce(RecordRow.provenance, JSON)["kind"].as_string()
STAGE = type_coerce(RecordRow.provenance, JSON)["stage"].as_string()


def draw_of(image_id: int, counts: str, page: int = 0) -> str:
    """Pseudorandom sort key of a mask, independent of its quality and reproducible."""
    key = f"{image_id} page {page}" if page else str(image_id)
    return hashlib.sha256(f"review {key} {counts}".encode()).hexdigest()[:16]


class VersionRow(MaskColumns, NumberedTable):
    """Version of a mask after a change."""

    __tablename__ = "versions"
    __table_args__ = (UniqueConstraint("record_id", "version"),)
    record_id: Mapped[int] = mapped_column(ForeignKey("records.id"))
    version: Mapped[int]


class EventRow(NumberedTable):
    """An action of a user, with its time and duration."""

    __tablename__ = "events"
    at: Mapped[float] = mapped_column(index=True)
    who: Mapped[str] = mapped_column(String(400))
    kind: Mapped[str] = mapped_column(String(400), index=True)
    tool: Mapped[str | None] = mapped_column(String(400))
    seconds: Mapped[float]
    image_id: Mapped[int | None] = mapped_column(ForeignKey("images.id"), index=True)
    record_id: Mapped[int | None] = mapped_column(Integer)
    detail: Mapped[dict[str, Any]]


def _refuse_changes() -> None:
    """Create triggers that reject updates and deletions in append-only tables."""
    message = "rows of this table are only added"
    function = (
        "CREATE OR REPLACE FUNCTION only_added() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN RAISE EXCEPTION '{message}'; END $$"
    )
    for name in APPEND_ONLY:
        trigger = f"CREATE TRIGGER {name}_only_added BEFORE UPDATE OR DELETE ON {name} "
        on_postgresql = [function, f"{trigger} FOR EACH ROW EXECUTE FUNCTION only_added()"]
        on_sqlite = [
            f"CREATE TRIGGER {name}_no_{change.lower()} BEFORE {change} ON {name} "
            f"BEGIN SELECT RAISE(ABORT, '{message}'); END"
            for change in ("UPDATE", "DELETE")
        ]
        for dialect, statements in (("postgresql", on_postgresql), ("sqlite", on_sqlite)):
            for statement in statements:
                made = DDL(statement.replace("%", "%%")).execute_if(dialect=dialect)  # type: ignore[no-untyped-call]  # SQLAlchemy's
                event.listen(Table.metadata.tables[name], "after_create", made)


_refuse_changes()


class VerdictColumns(NumberedTable):
    """Columns of a verdict of a reviewer."""

    __abstract__ = True
    who: Mapped[str] = mapped_column(String(400))
    at: Mapped[float]
    verdict: Mapped[str] = mapped_column(String(20))
    version: Mapped[int]  # Reviewed version of the record or track
    # IoU of the mask before and after a fix, or mean of replaced frames; 1 if accepted, 0 if
    # rejected
    agreed: Mapped[float]
    seconds: Mapped[float]


class VerdictRow(VerdictColumns):
    """Verdict of a reviewer on a record."""

    __tablename__ = "verdicts"
    record_id: Mapped[int] = mapped_column(ForeignKey("records.id"), index=True)
    why: Mapped[str] = mapped_column(String(20))


class WeightsRow(NumberedTable):
    """Model of the project: training round, evaluation, and whether it was promoted."""

    __tablename__ = "weights"
    at: Mapped[float]
    round: Mapped[int]
    place: Mapped[str] = mapped_column(String(1000))
    model_hash: Mapped[str] = mapped_column(String(100))
    promoted: Mapped[bool] = mapped_column(Boolean)
    figures: Mapped[dict[str, Any]]


class ClipRow(NumberedTable):
    """Video in the project folder. `frames` may be unknown (None)."""

    __tablename__ = "clips"
    __table_args__ = (UniqueConstraint("name"),)
    name: Mapped[str] = mapped_column(String(1000))
    height: Mapped[int]
    width: Mapped[int]
    frames: Mapped[int | None]
    rate: Mapped[float]


class TrackRow(NumberedTable):
    """Object tracked through a clip. `object` is its number, `doubtful` the number of
    low-confidence frames."""

    __tablename__ = "tracks"
    __table_args__ = (UniqueConstraint("clip_id", "object"), Index(None, "state", "doubtful"))
    clip_id: Mapped[int] = mapped_column(ForeignKey("clips.id"))
    object: Mapped[int]
    version: Mapped[int] = mapped_column()
    author: Mapped[str] = mapped_column(String(400))
    created: Mapped[float]
    label: Mapped[str | None] = mapped_column(String(400))
    state: Mapped[str] = mapped_column(String(20))
    seconds: Mapped[float]
    doubtful: Mapped[int]
    provenance: Mapped[Provenance]


class TrackMaskRow(NumberedTable):
    """Mask of a track on one frame, as in `records.TrackMask`."""

    __tablename__ = "track_masks"
    __table_args__ = (UniqueConstraint("track_id", "frame", "since"),)
    track_id: Mapped[int] = mapped_column(ForeignKey("tracks.id"))
    since: Mapped[int]  # First track version in which it is valid
    # First track version in which it is no longer valid; None: still valid
    until: Mapped[int | None]
    frame: Mapped[int]
    rle: Mapped[Rle]
    score: Mapped[float]
    state: Mapped[str] = mapped_column(String(20))
    doubts: Mapped[tuple[str, ...]]
    prompted: Mapped[bool] = mapped_column(Boolean)


class TrackVerdictRow(VerdictColumns):
    """Verdict of a reviewer on a track."""

    __tablename__ = "track_verdicts"
    track_id: Mapped[int] = mapped_column(ForeignKey("tracks.id"), index=True)
    frame: Mapped[int | None]  # First corrected frame; None for other verdicts


# Conversion of rows, and writing of events and versions.

_CHANGING = [field.name for field in fields(Draft) if field.name not in ("client_id", "page")]
_JOURNAL = [name for name in VersionRow.__table__.columns.keys() if name not in ("id", "record_id")]  # noqa: SIM118  # SQLAlchemy's names
R = TypeVar("R", bound="Table")


def get_row(session: Session, kind: type[R], number: int, lock: bool = False) -> R:
    """Row of an image, mask, clip or track. Raises NotFoundError, also if it was deleted."""
    row = session.get(kind, number, with_for_update=lock) if is_id(number) else None
    if row is None or getattr(row, "deleted", False):
        noun = kind.__tablename__.removesuffix("s")
        raise NotFoundError(f"The project has no {noun} {number}.")
    return row


def image_entry(row: ImageRow, records: int) -> ImageEntry:
    """Convert an image row. `records` is the number of its masks."""
    same = {
        name: getattr(row, name) for name in ("id", "name", "width", "height", "status", "version")
    }
    return ImageEntry(**same, records=records, group=row.group_name)


def mask_of(row: RecordRow | VersionRow) -> StoredMask:
    """Convert a mask row. Raises StoreError if it does not contain a valid mask."""
    number = row.record_id if isinstance(row, VersionRow) else row.id
    held = {field.name: getattr(row, field.name) for field in fields(StoredMask)}
    try:
        return StoredMask(**held | {"id": number})
    except InputError as error:
        raise _damaged("record", number) from error


def fill_row(row: RecordRow, draft: Draft, who: str, now: float) -> None:
    """Copy a draft to a row, except `client_id` and `page`, which never change."""
    for name in _CHANGING:
        setattr(row, name, getattr(draft, name))
    row.author, row.created = who, now


def restore_row(row: RecordRow, old: VersionRow, who: str, now: float) -> None:
    """Restore a version of a record. Its time is kept."""
    for name in _CHANGING:
        if name != "seconds":
            setattr(row, name, getattr(old, name))
    row.deleted, row.author, row.created = old.deleted, who, now


def remember(session: Session, row: RecordRow, kind: str, seconds: float) -> None:
    """Write a change: the record, its new version and the event."""
    checked_text("a user's name", row.author)
    session.flush()
    session.add(VersionRow(record_id=row.id, **{name: getattr(row, name) for name in _JOURNAL}))
    action = Action(kind=kind, tool=row.provenance.tool, seconds=seconds, record_id=row.id)
    session.add(event_row(action, row.image_id, row.author, row.created))


def event_row(action: Action, image_id: int | None, who: str, now: float) -> EventRow:
    """Create the row of an event."""
    checked_text("a user's name", who)
    return EventRow(
        at=now, who=who, kind=action.kind, tool=action.tool, seconds=action.seconds,
        image_id=image_id, record_id=action.record_id, detail=dict(action.detail),
    )  # fmt: skip
