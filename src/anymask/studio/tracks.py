"""Tracks of objects through clips: storage, review and corrections.

A track is a proposal until a person accepts, rejects or corrects it. A correction from a frame on
makes it a proposal again, for another review. Replaced masks stay in the database with the track
versions in which they were valid.

Source of the loop: Ravi et al. 2024 (SAM 2, arXiv:2408.00714, section 5.1: masklets are verified,
refined and verified again, or rejected).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import fields
from itertools import pairwise
from typing import Any, get_args

from sqlalchemy import ColumnElement, and_, func, or_, select, true
from sqlalchemy.orm import Session

from anymask.base import Conflict, InputError, NotFoundError
from anymask.masks import empty_rle, rle_iou
from anymask.studio.database import DatabasePart, reading, writing
from anymask.studio.labels import learn_label
from anymask.studio.records import (
    MAX_RATE,
    MAX_SECONDS,
    Action,
    ClipEntry,
    TrackDraft,
    TrackEntry,
    TrackMask,
    TrackSaying,
    checked_number,
    checked_text,
    is_id,
    one_of,
)
from anymask.studio.tables import (
    ClipRow,
    TrackMaskRow,
    TrackRow,
    TrackVerdictRow,
    event_row,
    get_row,
)

# verdict -> new state, event
_BECOMES = {
    "accept": ("accepted", "track accepted"),
    "reject": ("rejected", "track rejected"),
    "correct": ("proposed", "track corrected"),
}

MAX_MISSING = 1000  # maximum number of consecutive damaged frames in a track


class Tracks(DatabasePart):
    """Clips and tracks of one project. Each call is one transaction."""

    # Clips.

    def add_clip(
        self, name: str, hw: tuple[int, int], frames: int | None, rate: float
    ) -> ClipEntry:
        """Add a video by its name in the project folder, or return the existing clip.

        Raises Conflict if the existing clip has other frames.
        """
        checked_text("a clip's name", name)
        checked_number("a clip's rate", rate, 0, MAX_RATE)
        with writing(self.database) as session:
            row = session.scalar(select(ClipRow).where(ClipRow.name == name))
            if row is None:
                row = ClipRow(name=name, height=hw[0], width=hw[1], frames=frames, rate=rate)
                session.add(row)
                session.flush()
            held = _clip_entry(session, row)
            if (held.hw, held.frames or frames) != (hw, frames):
                raise Conflict(
                    f"The video of clip {name!r} was replaced: it has {frames} frames of "
                    f"(H, W) = {hw}, not {held.frames} of {held.hw}. Restore or rename it."
                )
            return held

    def clips(self) -> list[ClipEntry]:
        """All clips by ID."""
        with reading(self.database) as session:
            rows, counts = session.scalars(select(ClipRow).order_by(ClipRow.id)), _counts(session)
            return [_clip_entry(session, row, counts) for row in rows.all()]

    def clip(self, clip_id: int) -> ClipEntry:
        """Clip by ID. Raises NotFoundError."""
        with reading(self.database) as session:
            return _clip_entry(session, get_row(session, ClipRow, clip_id))

    # Tracks.

    def add_track(self, clip_id: int, draft: TrackDraft, who: str) -> TrackEntry:
        """Store the masks of an object as a proposal.

        Raises NotFoundError for the clip, InputError if the masks do not match it, Conflict if the
        clip already has an object with this number.
        """
        with writing(self.database) as session:
            clip = get_row(session, ClipRow, clip_id)
            masks = _checked_run(draft.masks, _clip_entry(session, clip))
            query = select(TrackRow).where(
                TrackRow.clip_id == clip.id, TrackRow.object == draft.object
            )
            if (known := session.scalar(query)) is not None:
                raise Conflict(
                    f"The clip {clip.name!r} already has the object {draft.object} (track "
                    f"{known.id}). Correct that track, or use another object number.",
                    _entry(session, known),
                )
            learn_label(session, draft.label)
            row = TrackRow(
                clip_id=clip.id, object=draft.object, version=1, label=draft.label,
                state="proposed", seconds=draft.seconds, provenance=draft.provenance,
                doubtful=0, author=who, created=self.clock(),
            )  # fmt: skip
            session.add(row)
            session.flush()
            session.add_all(_mask_row(row, mask) for mask in masks)
            return _remember(session, row, "track added", draft.seconds)

    def tracks(self, clip_id: int) -> list[TrackEntry]:
        """Tracks of a clip by object, including rejected ones. Raises NotFoundError."""
        with reading(self.database) as session:
            clip = get_row(session, ClipRow, clip_id)
            query = select(TrackRow).where(TrackRow.clip_id == clip.id).order_by(TrackRow.object)
            return [_entry(session, row) for row in session.scalars(query).all()]

    def track(self, track_id: int) -> TrackEntry:
        """Track by ID. Raises NotFoundError."""
        with reading(self.database) as session:
            return _entry(session, get_row(session, TrackRow, track_id))

    def masks(self, track_id: int, first: int = 0, last: int | None = None) -> list[TrackMask]:
        """Current masks of a track in a range of frames. Raises NotFoundError."""
        with reading(self.database) as session:
            return [
                TrackMask(**{name: getattr(row, name) for name in _MASK_FIELDS})
                for row in _current(session, get_row(session, TrackRow, track_id), first, last)
            ]

    # Review.

    def next_asked(self, clip_id: int | None = None, after: int | None = None) -> TrackEntry | None:
        """Proposal with the most low-confidence frames; None if all tracks are reviewed.

        Args:
            clip_id: Tracks of this clip come first, so that a reviewer stays in one video.
            after: Track to skip for now. Continues with the tracks after it; returned only if it
                is the last one.
        """
        here: ColumnElement[bool] = true() if clip_id is None else TrackRow.clip_id == clip_id
        turns = [here, true()]
        with reading(self.database) as session:
            left = session.get(TrackRow, after) if after is not None and is_id(after) else None
            if left is not None:  # the tracks after it, then other clips, then from the start
                behind = or_(
                    TrackRow.doubtful < left.doubtful,
                    and_(TrackRow.doubtful == left.doubtful, TrackRow.id > left.id),
                )
                turns = [and_(here, behind), ~here, TrackRow.id != left.id, true()]
            for turn in turns:
                query = select(TrackRow).where(TrackRow.state == "proposed", turn)
                row = session.scalars(query.order_by(TrackRow.doubtful.desc(), TrackRow.id)).first()
                if row is not None:
                    return _entry(session, row)
        return None

    def give_verdict(
        self,
        track_id: int,
        verdict: TrackSaying,
        version: int,
        who: str,
        masks: Sequence[TrackMask] = (),
        seconds: float = 0.0,
    ) -> TrackEntry:
        """Store a verdict on `version` of a track, and apply it.

        Raises NotFoundError, Conflict if the track has another version, InputError if masks do not
        match the clip or leave a gap in the track.

        Args:
            masks: For the verdict "correct": new masks, from the corrected frame on.
        """
        one_of("verdict", verdict, get_args(TrackSaying))
        checked_number("seconds", seconds, 0, MAX_SECONDS)
        if (verdict == "correct") != bool(masks):
            raise InputError(
                f"Only the verdict 'correct' takes masks. Given: {verdict!r} with {len(masks)}."
            )
        with writing(self.database) as session:
            row = get_row(session, TrackRow, track_id, lock=True)
            _check_version(session, row, version)
            state, event = _BECOMES[verdict]
            row.version, row.state = row.version + 1, state
            row.author, row.created = who, self.clock()
            row.seconds += seconds
            session.add(
                TrackVerdictRow(
                    track_id=row.id, who=who, at=row.created, verdict=verdict,
                    agreed=_replace(session, row, masks) if masks else float(verdict == "accept"),
                    frame=masks[0].frame if masks else None, version=version, seconds=seconds,
                )
            )  # fmt: skip
            return _remember(session, row, event, seconds)

    def withdraw_verdict(self, track_id: int, who: str) -> TrackEntry:
        """Undo the last verdict on a track: it becomes a proposal with its previous masks.

        Its time is kept. Raises NotFoundError without a verdict, Conflict if the track has changed
        since.
        """
        with writing(self.database) as session:
            row = get_row(session, TrackRow, track_id, lock=True)
            query = select(TrackVerdictRow).where(TrackVerdictRow.track_id == row.id)
            verdict = session.scalars(query.order_by(TrackVerdictRow.id.desc())).first()
            if verdict is None:
                raise NotFoundError(f"Track {track_id} has no review decision.")
            _check_version(session, row, verdict.version + 1)
            row.version, row.state = row.version + 1, "proposed"
            row.author, row.created = who, self.clock()
            # Restore the masks that this version replaced
            of_track = select(TrackMaskRow).where(TrackMaskRow.track_id == row.id)
            replaced = verdict.version + 1
            for mask in session.scalars(of_track.where(TrackMaskRow.since == replaced)).all():
                mask.until = row.version
            for mask in session.scalars(of_track.where(TrackMaskRow.until == replaced)).all():
                session.add(_mask_row(row, mask))
            session.delete(verdict)
            return _remember(session, row, "track verdict taken back", 0.0)

    def rename(self, track_id: int, label: str | None, was: str | None, who: str) -> TrackEntry:
        """Change the label of a track. Its masks, version and verdicts do not change.

        Raises NotFoundError, InputError, and Conflict if its label has changed since.

        Args:
            was: Label that the client last read.
        """
        checked_text("a label", label)
        with writing(self.database) as session:
            row = get_row(session, TrackRow, track_id, lock=True)
            if row.label != was:
                raise Conflict(
                    f"Track {row.id} was changed by {row.author!r}: its name is "
                    f"{row.label!r}, not {was!r}. Read it again.",
                    _entry(session, row),
                )
            learn_label(session, label)
            row.label, row.author, row.created = label, who, self.clock()
            return _remember(session, row, "track renamed", 0.0)

    def verdicts(self) -> list[TrackVerdictRow]:
        """All verdicts, oldest first."""
        with reading(self.database) as session:
            return list(session.scalars(select(TrackVerdictRow).order_by(TrackVerdictRow.id)))


def _checked_run(masks: Sequence[TrackMask], clip: ClipEntry) -> list[TrackMask]:
    """Validate masks of consecutive frames in a clip. Raises InputError.

    Missing frames in between, which are damaged, get empty masks.
    """
    frames = [mask.frame for mask in masks]
    steps = [after - before for before, after in pairwise(frames)]
    if not frames or min(steps, default=1) < 1:
        raise InputError(
            "A track must have at least one mask, and at most one per frame, in order."
        )
    if max(steps, default=1) > MAX_MISSING:
        raise InputError(
            f"At most {MAX_MISSING} frames of a track in a row may have no mask. Given: "
            f"{max(steps) - 1}. Pass empty masks where the object is hidden."
        )
    if clip.frames is not None and frames[-1] >= clip.frames:
        raise InputError(
            f"Frame {frames[-1]} is out of range: this clip has frames 0 to {clip.frames - 1}."
        )
    for mask in masks:
        if mask.rle.size != clip.hw:
            raise InputError(
                f"The masks must have the size of the clip, (H, W) = {clip.hw}. Given: "
                f"{mask.rle.size} on frame {mask.frame}."
            )
    there = {mask.frame: mask for mask in masks}
    return [
        there.get(frame)
        or TrackMask(frame=frame, rle=empty_rle(clip.hw), score=0.0, state="occluded")
        for frame in range(frames[0], frames[-1] + 1)
    ]


def _replace(session: Session, row: TrackRow, masks: Sequence[TrackMask]) -> float:
    """Replace masks from this version on. Returns the mean IoU with the replaced ones."""
    masks = _checked_run(masks, _clip_entry(session, session.get_one(ClipRow, row.clip_id)))
    held, (first, last) = _entry(session, row), (masks[0].frame, masks[-1].frame)
    if first > held.last + 1 or last < held.first - 1:
        raise InputError(
            f"The correction of frames {first} to {last} leaves a gap to the track, which has "
            f"frames {held.first} to {held.last}. Send the frames in between as well."
        )
    old = {mask.frame: mask for mask in _current(session, row, first, last)}
    ious = []
    for mask in masks:
        if (before := old.get(mask.frame)) is not None:
            before.until = row.version
            ious.append(float(rle_iou([before.rle], [mask.rle])[0, 0]))
    session.add_all(_mask_row(row, mask) for mask in masks)
    return sum(ious) / len(ious) if ious else 0.0


_MASK_FIELDS = [field.name for field in fields(TrackMask)]  # fields shared with the mask rows


def _remember(session: Session, row: TrackRow, kind: str, seconds: float) -> TrackEntry:
    """Update the number of low-confidence frames, and write the event."""
    checked_text("a user's name", row.author)
    session.flush()
    row.doubtful = sum(bool(mask.doubts) for mask in _current(session, row, 0, None))
    detail: dict[str, Any] = {"clip": row.clip_id, "track": row.id, "version": row.version}
    action = Action(kind=kind, tool="track", seconds=seconds, detail=detail)
    session.add(event_row(action, None, row.author, row.created))
    session.flush()
    return _entry(session, row)


def _current(
    session: Session, row: TrackRow, first: int, last: int | None
) -> Sequence[TrackMaskRow]:
    query = select(TrackMaskRow).where(
        TrackMaskRow.track_id == row.id, TrackMaskRow.until.is_(None), TrackMaskRow.frame >= first
    )
    if last is not None:
        query = query.where(TrackMaskRow.frame <= last)
    return session.scalars(query.order_by(TrackMaskRow.frame)).all()


def _check_version(session: Session, row: TrackRow, version: int) -> None:
    if row.version != version:
        raise Conflict(
            f"Track {row.id} was changed by {row.author!r}: it has version {row.version}, "
            f"not {version}. Read it again.",
            _entry(session, row),
        )


def _mask_row(row: TrackRow, mask: TrackMask | TrackMaskRow) -> TrackMaskRow:
    """Mask row that is valid from the current track version on."""
    held = {name: getattr(mask, name) for name in _MASK_FIELDS}
    return TrackMaskRow(track_id=row.id, since=row.version, until=None, **held)


def _counts(session: Session, clip_id: int | None = None) -> Counter[tuple[int, str]]:
    """Number of tracks by clip and state, of one clip or of all."""
    query = select(TrackRow.clip_id, TrackRow.state, func.count())
    if clip_id is not None:
        query = query.where(TrackRow.clip_id == clip_id)
    rows = session.execute(query.group_by(TrackRow.clip_id, TrackRow.state))
    return Counter({(clip, state): count for clip, state, count in rows})


def _clip_entry(
    session: Session, row: ClipRow, counts: Counter[tuple[int, str]] | None = None
) -> ClipEntry:
    counts = _counts(session, row.id) if counts is None else counts
    proposed, accepted, rejected = (
        counts[row.id, state] for state in ("proposed", "accepted", "rejected")
    )
    return ClipEntry(
        id=row.id, name=row.name, width=row.width, height=row.height, frames=row.frames,
        rate=row.rate,
        tracks=proposed + accepted, proposals=proposed, accepted=accepted, rejected=rejected,
    )  # fmt: skip


def _entry(session: Session, row: TrackRow) -> TrackEntry:
    reach = select(func.min(TrackMaskRow.frame), func.max(TrackMaskRow.frame)).where(
        TrackMaskRow.track_id == row.id, TrackMaskRow.until.is_(None)
    )
    first, last = session.execute(reach).one()
    plain = {field.name for field in fields(TrackEntry)} - {"first", "last"}
    return TrackEntry(
        first=first or 0, last=last or 0, **{name: getattr(row, name) for name in plain}
    )
