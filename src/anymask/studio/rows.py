"""Rows of the database as values of `records`, and back; how events and versions are written."""

from __future__ import annotations

from dataclasses import fields

from sqlalchemy.orm import Session

from anymask.base import InputError, NotFoundError, StoreError
from anymask.studio.checks import checked_text, is_id
from anymask.studio.records import Action, Draft, ImageEntry, StoredMask
from anymask.studio.tables import EventRow, ImageRow, RecordRow, VersionRow

_FIXED = ("client_id", "page")  # of a mask, from its first version on
_CHANGING = [one.name for one in fields(Draft) if one.name not in _FIXED]
_JOURNAL = [name for name in VersionRow.__table__.columns.keys() if name not in ("id", "record_id")]  # noqa: SIM118  # SQLAlchemy's names


def image_row(session: Session, image_id: int, lock: bool = False) -> ImageRow:
    """A photo's row. Raises NotFoundError."""
    known = is_id(image_id)
    row = session.get(ImageRow, image_id, with_for_update=lock) if known else None
    if row is None:
        raise NotFoundError(f"the project has no image {image_id}; GET /api/images lists them")
    return row


def image_entry(row: ImageRow, records: int) -> ImageEntry:
    """A photo as a value; `records` counts its masks."""
    return ImageEntry(
        id=row.id,
        name=row.name,
        hw=(row.height, row.width),
        status=row.status,  # type: ignore[arg-type]  # only this floor writes it
        version=row.version,
        records=records,
        group=row.group_name,
    )


def record_row(session: Session, record_id: int, lock: bool = False) -> RecordRow:
    """A mask's row. Raises NotFoundError, also for one that was deleted."""
    known = is_id(record_id)
    row = session.get(RecordRow, record_id, with_for_update=lock) if known else None
    if row is None or row.deleted:
        raise NotFoundError(f"the project has no record {record_id}, or it was deleted")
    return row


def mask_of(row: RecordRow | VersionRow) -> StoredMask:
    """A row as a value. Raises StoreError where the row holds what no mask can be."""
    number = row.record_id if isinstance(row, VersionRow) else row.id
    held = {one.name: getattr(row, one.name) for one in fields(StoredMask)}
    try:
        return StoredMask(**held | {"id": number})
    except InputError as error:
        raise StoreError(
            f"the database is damaged: record {number} holds no mask ({error}); copy it again"
        ) from error


def fill_row(row: RecordRow, draft: Draft, who: str, now: float) -> None:
    """Write what a draft says into a row; name and page are those that the row was made with."""
    for name in _CHANGING:
        setattr(row, name, getattr(draft, name))
    row.author, row.created = who, now


def restore_row(row: RecordRow, old: VersionRow, who: str, now: float) -> None:
    """Make a record what it was in a version; its seconds stay."""
    for name in _CHANGING:
        if name != "seconds":
            setattr(row, name, getattr(old, name))
    row.deleted, row.author, row.created = old.deleted, who, now


def remember(session: Session, row: RecordRow, kind: str, seconds: float) -> None:
    """Write the change, the record's new version and the event."""
    checked_text("a user's name", row.author)
    session.flush()
    state = {name: getattr(row, name) for name in _JOURNAL}
    session.add(VersionRow(record_id=row.id, **state))
    action = Action(kind=kind, tool=row.provenance.tool, seconds=seconds, record_id=row.id)
    session.add(event_row(action, row.image_id, row.author, row.created))


def event_row(action: Action, image_id: int | None, who: str, now: float) -> EventRow:
    """An action as it is written down."""
    checked_text("a user's name", who)
    return EventRow(
        at=now,
        who=who,
        kind=action.kind,
        tool=action.tool,
        seconds=action.seconds,
        image_id=image_id,
        record_id=action.record_id,
        detail=dict(action.detail),
    )
