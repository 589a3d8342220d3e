"""Conversion of database rows: rows in, the values of `entries.py` out, and back."""

from __future__ import annotations

from dataclasses import replace

from sqlalchemy.orm import Session

from anymask.engine.checks import checked_text, is_id
from anymask.engine.entries import Action, Draft, ImageEntry, Provenance, RecordEntry
from anymask.engine.notes import MaskNotes
from anymask.engine.tables import EventRow, ImageRow, RecordRow, VersionRow
from anymask.primitives.errors import DataError, NotFoundError
from anymask.primitives.rle import Rle, empty_rle, rle_area, rle_to_string, string_to_rle


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
    """Write what a draft says into a row."""
    row.who, row.at = who, now
    row.counts, row.area = rle_to_string(draft.rle), rle_area(draft.rle)
    row.label, row.status, row.seconds = draft.label, draft.status, draft.seconds
    row.quality, row.stability = draft.quality, draft.stability
    row.provenance, row.notes = draft.provenance.to_json(), draft.notes.to_json()


_STATE = (
    "counts", "area", "label", "status", "quality", "stability", "seconds", "provenance", "notes",
    "deleted",
)  # fmt: skip


def state_of(row: RecordRow) -> dict[str, object]:
    """What a version keeps of a record."""
    return {name: getattr(row, name) for name in _STATE}


def restore_row(row: RecordRow, old: VersionRow, who: str, now: float) -> None:
    """Make a record what it was in a version; its seconds stay."""
    for name in _STATE:
        if name in old.state and name != "seconds":
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


def entry_of(row: RecordRow, image: ImageRow) -> RecordEntry:
    """A row as a value."""
    return RecordEntry(
        id=row.id,
        image_id=row.image_id,
        version=row.version,
        who=row.who,
        at=row.at,
        rle=_stored_rle(row.counts, (image.height, image.width)),
        label=row.label,
        status=row.status,  # type: ignore[arg-type]  # a draft has been checked
        quality=row.quality,
        stability=row.stability,
        seconds=row.seconds,
        client_id=row.client_id,
        page=row.page,
        provenance=Provenance.from_stored(row.provenance),
        notes=MaskNotes.from_json(row.notes or {}),
    )


def _stored_rle(counts: str, size: tuple[int, int]) -> Rle:
    """The mask of a row; empty where an earlier version let in runs that are no mask."""
    try:
        return string_to_rle(counts, size)
    except DataError:
        return empty_rle(size)


def draft_of(entry: RecordEntry, **changes: object) -> Draft:
    """A mask of the database as a draft, to change it; its seconds start at 0."""
    draft = Draft(
        rle=entry.rle,
        label=entry.label,
        status=entry.status,
        quality=entry.quality,
        stability=entry.stability,
        client_id=entry.client_id,
        page=entry.page,
        provenance=entry.provenance,
        notes=entry.notes,
    )
    return replace(draft, **changes)  # type: ignore[arg-type]  # the names are Draft's


def remember(session: Session, row: RecordRow, kind: str, seconds: float) -> None:
    """Write the change, the record's new version and the event."""
    checked_text("a user's name", row.who)
    session.flush()
    session.add(
        VersionRow(
            record_id=row.id, version=row.version, who=row.who, at=row.at, state=state_of(row)
        )
    )
    tool = Provenance.from_stored(row.provenance).tool
    action = Action(kind=kind, tool=tool, seconds=seconds, record_id=row.id)
    session.add(event_row(action, row.image_id, row.who, row.at))
