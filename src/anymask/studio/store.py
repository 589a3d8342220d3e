"""Storage of images and masks, with versions and events.

A change names the version that it is based on. If the record has changed since, nothing is written
and `Conflict` contains the current record. Each call is one transaction, on disk when it returns.

The time of a mask is the sum of its drafts. Each second is in exactly one event.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from sqlalchemy import Select, func, insert, select
from sqlalchemy.orm import Session

from anymask.base import AnymaskError, Conflict, InputError, NotFoundError
from anymask.masks import rle_to_string
from anymask.studio.database import DatabasePart, reading, writing
from anymask.studio.labels import current_label, learn_label
from anymask.studio.options import State
from anymask.studio.records import MAX_ID, Action, Draft, ImageEntry, StoredMask, is_id
from anymask.studio.tables import (
    EventRow,
    ImageRow,
    RecordRow,
    Table,
    VersionRow,
    draw_of,
    event_row,
    fill_row,
    get_row,
    image_entry,
    mask_of,
    remember,
)

MAX_LISTED_IMAGES = 1000
BEGUN = "image begun"  # event: a run has claimed an image
SEARCHED = "image searched"  # event: an image was searched; `tool` is the key of the search
SEARCH_EVENT = "search asked"  # event: a search of all images was started
COUNTED = (RecordRow.deleted.is_(False), RecordRow.state != "rejected")  # counted masks


class Store(DatabasePart):
    """Storage of one project. All writes go through it."""

    # Images.

    def add_images(self, images: Iterable[tuple[str, tuple[int, int], str | None]]) -> int:
        """Add new images, each as (name, (H, W), group). Returns their number."""
        with writing(self.database) as session:
            known = set(session.scalars(select(ImageRow.name)))
            fresh = {name: (hw, group) for name, hw, group in images if name not in known}
            rows = [
                {"name": name, "height": hw[0], "width": hw[1], "group_name": group}
                for name, (hw, group) in fresh.items()
            ]
            if rows:
                session.execute(insert(ImageRow).values(status="new", version=1), rows)
        return len(fresh)

    def image_names(self) -> dict[str, int]:
        """IDs of all images by name."""
        with reading(self.database) as session:
            return dict(session.execute(select(ImageRow.name, ImageRow.id)).all())

    def counts(self) -> dict[str, int]:
        """Numbers of images, of images marked as done, and of masks that are not rejected."""
        images = select(ImageRow.status, func.count()).group_by(ImageRow.status)
        with reading(self.database) as session:
            by_status = dict(session.execute(images).all())
            records = session.scalars(select(func.count(RecordRow.id)).where(*COUNTED)).one()
        done = by_status.get("done", 0)
        return {"images": sum(by_status.values()), "done": done, "records": records}

    def resize_image(self, image_id: int, hw: tuple[int, int]) -> bool:
        """Update the size of an image. False if it has, or had, masks. Raises NotFoundError."""
        with writing(self.database) as session:
            row = get_row(session, ImageRow, image_id, lock=True)
            query = select(RecordRow.id).where(RecordRow.image_id == image_id).limit(1)
            if session.scalars(query).first() is not None:
                return False
            row.height, row.width = hw
        return True

    def images(self, after: int = 0, limit: int = MAX_LISTED_IMAGES) -> list[ImageEntry]:
        """Images in order of their IDs, after the ID `after`."""
        counts = (
            select(func.count())
            .where(RecordRow.image_id == ImageRow.id, *COUNTED)
            .scalar_subquery()
        )
        query = (
            select(ImageRow, counts)
            .where(ImageRow.id > min(after, MAX_ID))
            .order_by(ImageRow.id)
            .limit(max(1, min(limit, MAX_LISTED_IMAGES)))
        )
        with reading(self.database) as session:
            return [image_entry(row, int(count)) for row, count in session.execute(query)]

    def all_images(self) -> Iterator[ImageEntry]:
        """All images, read in pages."""
        after = 0
        while page := self.images(after):
            yield from page
            after = page[-1].id

    def image(self, image_id: int) -> ImageEntry:
        """Image by ID. Raises NotFoundError."""
        images = self.images(image_id - 1, 1) if is_id(image_id) else []
        if not images or images[0].id != image_id:
            raise NotFoundError(f"The project has no image {image_id}.")
        return images[0]

    def group_images(self, groups: Mapping[str, str]) -> int:
        """Set the group of images by name. Returns the number of images found."""
        with writing(self.database) as session:
            rows = list(session.scalars(select(ImageRow).where(ImageRow.name.in_(list(groups)))))
            for row in rows:
                row.group_name = groups[row.name]
        return len(rows)

    def mark_image(
        self, image_id: int, status: str, who: str, seconds: float = 0.0, version: int | None = None
    ) -> ImageEntry:
        """Set the status to "new", "proposed" or "done". Raises NotFoundError, Conflict."""
        with writing(self.database) as session:
            row = get_row(session, ImageRow, image_id)
            if version is not None and row.version != version:
                raise Conflict(
                    f"Image {image_id} has version {row.version}. Read it again.",
                    image_entry(row, 0),
                )
            row.status = status
            action = Action(kind=f"image {status}", seconds=seconds)
            session.add(event_row(action, image_id, who, self.clock()))
        return self.image(image_id)

    def claim_image(self, image_id: int, who: str) -> bool:
        """Claim a new image for a run. False if it is not new or already claimed.

        Only one of several concurrent calls returns True. Raises NotFoundError.
        """
        with writing(self.database) as session:
            row = get_row(session, ImageRow, image_id, lock=True)
            query = select(EventRow.id).where(EventRow.image_id == image_id, EventRow.kind == BEGUN)
            if row.status != "new" or session.scalars(query).first() is not None:
                return False
            session.add(event_row(Action(kind=BEGUN), image_id, who, self.clock()))
        return True

    # Records.

    def records(
        self, image_id: int | None = None, states: Sequence[State] = ()
    ) -> list[StoredMask]:
        """Masks of an image, or of all, oldest first, including rejected ones."""
        query = select(RecordRow).where(RecordRow.deleted.is_(False)).order_by(RecordRow.id)
        if image_id is not None:
            query = query.where(RecordRow.image_id == (image_id if is_id(image_id) else 0))
        if states:
            query = query.where(RecordRow.state.in_(states))
        with reading(self.database) as session:
            return [mask_of(row) for row in session.scalars(query)]

    def changes(self, image_id: int) -> int:
        """Number of changes to the masks of an image so far. Never decreases."""
        query = select(func.coalesce(func.sum(RecordRow.version), 0)).where(
            RecordRow.image_id == (image_id if is_id(image_id) else 0)
        )
        with reading(self.database) as session:
            return int(session.scalars(query).one())

    def labeled(self, label: str, most: int) -> list[StoredMask]:
        """Newest accepted masks whose label a person chose, at most `most`.

        Labels suggested by a model and empty masks are excluded.
        """
        query = select(RecordRow).where(
            RecordRow.label == label, RecordRow.state == "accepted", RecordRow.deleted.is_(False)
        )
        masks: list[StoredMask] = []
        with reading(self.database) as session:
            for row in session.scalars(query.order_by(RecordRow.id.desc())).yield_per(most):
                entry = mask_of(row)
                if entry.area and not entry.notes.label_probability:
                    masks.append(entry)
                if len(masks) == most:
                    break
        return masks

    def record(self, record_id: int) -> StoredMask:
        """Mask by ID. Raises NotFoundError, also if it was deleted."""
        with reading(self.database) as session:
            return mask_of(get_row(session, RecordRow, record_id))

    def add_records(
        self,
        image_id: int,
        drafts: Sequence[Draft],
        who: str,
        *,
        status: str | None = None,
        only_new: bool = False,
        seconds_logged: bool = False,
    ) -> list[StoredMask]:
        """Add masks to an image, all or none.

        A draft with a known `client_id` is not stored again; the existing mask is returned. If that
        mask was deleted, it is restored with the draft, so that a page can undo a deletion. Raises
        NotFoundError for the image, InputError for a mask of another size.

        Args:
            status: New status of the image, set in the same transaction.
            only_new: Raise Conflict and store nothing if the image is not new.
            seconds_logged: Other events contain the seconds, so the new event contains none.
        """
        with writing(self.database) as session:
            image = get_row(session, ImageRow, image_id, lock=only_new)
            if only_new and image.status != "new":
                raise Conflict(
                    f"The status of image {image_id} is now {image.status}. Read it again.",
                    image_entry(image, 0),
                )
            entries = [self._add(session, image, draft, who, seconds_logged) for draft in drafts]
            if status is not None:
                image.status = status
        return entries

    def _add(
        self, session: Session, image: ImageRow, draft: Draft, who: str, seconds_logged: bool
    ) -> StoredMask:
        if draft.rle.size != (size := (image.height, image.width)):
            raise InputError(f"The mask must have the size {size}, not {draft.rle.size}.")
        row = RecordRow(image_id=image.id, client_id=draft.client_id, page=draft.page)
        if draft.client_id is not None:
            known = session.scalar(
                select(RecordRow).where(
                    RecordRow.image_id == image.id, RecordRow.client_id == draft.client_id
                )
            )
            if known is not None and not known.deleted:
                return mask_of(known)
            row = known or row
        draft = _named_now(session, draft, seconds_logged)
        kind = "record restored" if row.deleted else "record added"
        earlier, row.deleted = row.seconds or 0.0, False
        fill_row(row, draft, who, self.clock())
        row.seconds += earlier
        row.draw = draw_of(image.id, rle_to_string(row.rle), row.page)
        if draft.state == "accepted":  # a search that is rejected leaves no class
            learn_label(session, draft.label)
        session.add(row)
        remember(session, row, kind, 0.0 if seconds_logged else draft.seconds)
        return mask_of(row)

    def keep_found(
        self,
        image_id: int,
        fresh: Sequence[Draft],
        named: Sequence[tuple[Draft, StoredMask]],
        key: str,
        once: bool,
    ) -> list[StoredMask]:
        """Store the results of a search in an image, and mark it as searched.

        Args:
            named: Changed drafts of existing masks.
            key: Key of the search.
            once: Store nothing if this search has already processed the image.
        """
        who = "search"
        with writing(self.database) as session:
            image = get_row(session, ImageRow, image_id, lock=True)
            if once and session.scalars(_searches(key, image_id)).first() is not None:
                return []
            entries = [self._add(session, image, draft, who, False) for draft in fresh]
            for draft, known in named:
                entries.append(self._change(session, (known.id, known.version), draft, who, False))
            if entries and image.status == "new":
                image.status = "proposed"
            action = Action(kind=SEARCHED, tool=key, detail={"found": len(entries)})
            session.add(event_row(action, image_id, who, self.clock()))
        return entries

    def searched(self, key: str) -> dict[int, int]:
        """Images that a search has processed, and the number of results in each."""
        with reading(self.database) as session:
            rows = session.scalars(_searches(key))
            return {row.image_id: row.detail["found"] for row in rows if row.image_id is not None}

    def last_asked(self) -> Mapping[str, object] | None:
        """Latest search of all images, or None."""
        query = select(EventRow).where(EventRow.kind == SEARCH_EVENT).order_by(EventRow.id.desc())
        with reading(self.database) as session:
            row = session.scalars(query.limit(1)).first()
            return None if row is None else row.detail

    def change_record(
        self,
        record_id: int,
        version: int | None,
        draft: Draft,
        who: str,
        beside: Sequence[Table] = (),
        *,
        seconds_logged: bool = False,
    ) -> StoredMask:
        """Replace a mask if it has `version` (None: any). Its page does not change.

        Raises NotFoundError, Conflict, InputError.

        Args:
            beside: Rows of other tables to write in the same transaction.
            seconds_logged: As for `add_records`.
        """
        with writing(self.database) as session:
            entry = self._change(session, (record_id, version), draft, who, seconds_logged)
            session.add_all(beside)
            return entry

    def _change(
        self,
        session: Session,
        at: tuple[int, int | None],
        draft: Draft,
        who: str,
        seconds_logged: bool,
    ) -> StoredMask:
        row = self._at_version(session, *at)
        if draft.rle.size != row.rle.size:
            raise InputError(f"The mask must have the size {row.rle.size}, not {draft.rle.size}.")
        earlier = row.seconds
        draft = _named_now(session, draft, seconds_logged)
        fill_row(row, draft, who, self.clock())
        row.seconds = earlier + draft.seconds
        if draft.state == "accepted":
            learn_label(session, draft.label)
        remember(session, row, "record changed", 0.0 if seconds_logged else draft.seconds)
        return mask_of(row)

    def save_records(
        self, image_id: int, changes: Sequence[tuple[Draft, tuple[int, int] | None]], who: str
    ) -> list[StoredMask | AnymaskError]:
        """Add or replace masks of an image in one transaction, each independently.

        A rejected change is returned as its error; the others are stored.

        Args:
            changes: Drafts, each with the ID and version of the mask to replace, or None.
        """
        with writing(self.database) as session:
            image = get_row(session, ImageRow, image_id)

            def one(draft: Draft, at: tuple[int, int] | None) -> StoredMask | AnymaskError:
                try:
                    with session.begin_nested():
                        if at is None:
                            return self._add(session, image, draft, who, True)
                        return self._change(session, at, draft, who, True)
                except (Conflict, NotFoundError, InputError) as error:
                    return error

            return [one(draft, at) for draft, at in changes]

    def delete_record(self, record_id: int, version: int | None, who: str) -> None:
        """Delete a mask. Its versions are kept. Raises NotFoundError, Conflict."""
        with writing(self.database) as session:
            row = self._at_version(session, record_id, version)
            row.deleted, row.author, row.created = True, who, self.clock()
            remember(session, row, "record deleted", 0.0)

    def _at_version(self, session: Session, record_id: int, version: int | None) -> RecordRow:
        row = get_row(session, RecordRow, record_id, lock=True)
        if version not in (None, row.version):
            raise Conflict(
                f"Record {record_id} was changed by {row.author!r}. Read it again.", mask_of(row)
            )
        return row

    def history(self, record_id: int) -> list[StoredMask]:
        """All versions of a mask, oldest first, also of a deleted one."""
        with reading(self.database) as session:
            query = select(VersionRow).where(VersionRow.record_id == record_id)
            known = is_id(record_id)
            rows = session.scalars(query.order_by(VersionRow.version)).all() if known else ()
        if not rows:
            raise NotFoundError(f"The project has no record {record_id}.")
        return [mask_of(row) for row in rows]

    # Events.

    def add_events(self, image_id: int | None, actions: Sequence[Action], who: str) -> int:
        """Append events. Returns their number. Raises NotFoundError."""
        with writing(self.database) as session:
            if image_id is not None:
                get_row(session, ImageRow, image_id)
            now = self.clock()
            session.add_all(event_row(action, image_id, who, now) for action in actions)
        return len(actions)


def _searches(key: str, image_id: int | None = None) -> Select[EventRow]:
    """Events of images that a search has processed."""
    query = select(EventRow).where(EventRow.kind == SEARCHED, EventRow.tool == key)
    return query if image_id is None else query.where(EventRow.image_id == image_id)


def _named_now(session: Session, draft: Draft, seconds_logged: bool) -> Draft:
    """Apply renamed classes to a draft of the page. Imported drafts do not change."""
    return replace(draft, label=current_label(session, draft.label)) if seconds_logged else draft
