"""Conversion between rows of the database and the values of `entries`."""

from __future__ import annotations

from dataclasses import fields

from sqlalchemy.orm import Session

from anymask.base import DataError, InputError, NotFoundError, StoreError
from anymask.masks import rle_area, rle_to_string, string_to_rle
from anymask.studio.checks import checked_text, is_id
from anymask.studio.entries import Action, Draft, ImageEntry, Provenance, StoredMask
from anymask.studio.notes import MaskNotes
from anymask.studio.tables import EventRow, ImageRow, RecordRow, VersionRow


def image_row(session: Session, image_id: int, lock: bool = False) -> ImageRow:
    """A photo's row. Raises NotFoundError."""
    known = is_id(image_id)
    row = session.get(ImageRow, image_id, with_for_update=lock) if known else None
    if row is None:
        raise NotFoundError(f"the project has no image {image_id}; GET /api/images lists them")
    return row


def record_row(session: Session, record_id: int, lock: bool = False) -> RecordRow:
    """A mask's row. Raises NotFoundError, also for one that was deleted."""
    known = is_id(record_id)
    row = session.get(RecordRow, record_id, with_for_update=lock) if known else None
    if row is None or row.deleted:
        raise NotFoundError(f"the project has no record {record_id}, or it was deleted")
    return row


def fill_row(row: RecordRow, draft: Draft, who: str, now: float) -> None:
    """Write what a draft says into a row; name and page are those that the row was made with."""
    held = {one.name: getattr(draft, one.name) for one in fields(Draft)}
    held |= {"provenance": draft.provenance.to_json(), "notes": draft.notes.to_json()}
    held |= {"counts": rle_to_string(draft.rle), "area": rle_area(draft.rle)}
    for name in _STATE[:-1]:
        setattr(row, name, held[name])
    row.who, row.at = who, now


_STATE = (  # what a version keeps of a mask
    "counts", "area", "label", "status", "quality", "stability", "seconds", "provenance", "notes",
    "deleted",
)  # fmt: skip


def restore_row(row: RecordRow, old: VersionRow, who: str, now: float) -> None:
    """Make a record what it was in a version; its seconds stay."""
    for name in _STATE:
        if name != "seconds":
            setattr(row, name, old.state[name])
    row.who, row.at = who, now


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


def mask_of(row: RecordRow, image: ImageRow) -> StoredMask:
    """A row as a value. Raises StoreError where the row holds what no mask can be."""
    plain = {one.name for one in fields(StoredMask)} - {"rle", "provenance", "notes"}
    try:
        return StoredMask(
            rle=string_to_rle(row.counts, (image.height, image.width)),
            provenance=Provenance.from_json(row.provenance),
            notes=MaskNotes.from_json(row.notes),
            **{name: getattr(row, name) for name in plain},
        )
    except (DataError, InputError) as error:
        raise StoreError(
            f"the database is damaged: record {row.id} holds no mask ({error}); copy it again"
        ) from error


def remember(session: Session, row: RecordRow, kind: str, seconds: float) -> None:
    """Write the change, the record's new version and the event."""
    checked_text("a user's name", row.who)
    session.flush()
    state = {name: getattr(row, name) for name in _STATE}
    session.add(
        VersionRow(record_id=row.id, version=row.version, who=row.who, at=row.at, state=state)
    )
    tool = row.provenance.get("tool")
    action = Action(kind=kind, tool=tool, seconds=seconds, record_id=row.id)
    session.add(event_row(action, row.image_id, row.who, row.at))
