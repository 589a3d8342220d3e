"""Detect whether an image or video file was replaced after its masks were drawn.

The content hash of a file is stored as an event whenever it changes. If the time of an image
changed, it is hashed again, so that a copied folder counts as unchanged; a video always is.
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import select

from anymask.base import Conflict, DataError, StoreError, brief
from anymask.formats import read_hw
from anymask.studio.database import reading, writing
from anymask.studio.records import Action, ClipEntry, IdAsText
from anymask.studio.tables import EventRow, RecordRow, event_row

if TYPE_CHECKING:
    from anymask.studio.project import Project

HASHED = "image file"  # event with the hash of an image file
SEEN_CLIP = "video file"  # event with the hash and frame fingerprints of a video
WRITER = "anymask"
MAX_READ = 1 << 25  # number of bytes to hash


@dataclass(frozen=True)
class CurrentFile:
    """Current state of an image file."""

    mark: str  # Version of the content
    # Whether masks were drawn on an earlier content, and the image was not marked as done since
    replaced: bool


def image_file(project: Project, image_id: int) -> CurrentFile:
    """State of an image file. Raises NotFoundError, DataError."""
    path = project.image_path(image_id)
    query = select(EventRow).where(EventRow.image_id == image_id, EventRow.kind == HASHED)
    with reading(project.store.database) as session:
        events = list(session.scalars(query.order_by(EventRow.id)))
    try:
        about = path.stat()
        last = events[-1].detail if events else {}
        now = {"bytes": about.st_size, "time": about.st_mtime_ns}
        same = all(last.get(name) == value for name, value in now.items())
        if same:
            mark = last["sha256"]
        else:
            with path.open("rb") as file:
                mark = hashlib.sha256(file.read(MAX_READ)).hexdigest()
    except OSError as error:
        raise DataError(
            f"{path.name} cannot be read. Check that the file exists and is readable."
        ) from error
    if not same:
        detail = now | {"sha256": mark}
        row = event_row(Action(kind=HASHED, detail=detail), image_id, WRITER, project.store.clock())
        events.append(row)
        # A read-only project must still show its images.
        with suppress(StoreError), writing(project.store.database) as session:
            session.add(row)
            session.flush()
            session.expunge(row)
    return CurrentFile(mark[:16], _is_replaced(project, image_id, events))


def _is_replaced(project: Project, image_id: int, seen: list[EventRow]) -> bool:
    """Whether a mask is older than the last change of content, and the image was not done since.

    Only the content counts, not the time of the file.
    """
    changes = [
        after
        for before, after in pairwise(seen)
        if before.detail["sha256"] != after.detail["sha256"]
    ]
    if not changes:
        return False
    at = changes[-1].at
    older = select(RecordRow.id).where(
        RecordRow.image_id == image_id, RecordRow.deleted.is_(False), RecordRow.created < at
    )
    finished = select(EventRow.id).where(
        EventRow.image_id == image_id, EventRow.kind == "image done", EventRow.at >= at
    )
    with reading(project.store.database) as session:
        drawn = session.scalars(older.limit(1)).first() is not None
        return drawn and session.scalars(finished.limit(1)).first() is None


@brief
@dataclass(frozen=True)
class FolderNews:
    """The changes in the project folder."""

    added: int  # Number of images that were added
    gone: list[IdAsText]  # IDs of images whose files are missing; their masks are kept
    unreadable: dict[str, str]  # Names of image files that were skipped, each with the reason


def scan_folder(project: Project) -> FolderNews:
    """Add new images of the folder, and list missing ones. Raises StoreError."""
    unreadable: dict[str, str] = {}
    added = project.add_folder(unreadable.__setitem__)
    names = set(project.image_names())
    gone = [number for name, number in project.store.image_names().items() if name not in names]
    return FolderNews(added, gone, unreadable)


def checked_image(project: Project, image_id: int) -> Path:
    """Image file, after a check of its size.

    If the size has changed, it is updated if the image never had a mask. Raises NotFoundError,
    DataError; Conflict if masks were drawn on the previous file.
    """
    image, path = project.store.image(image_id), project.image_path(image_id)
    hw = read_hw(path, None)
    if hw != image.hw and not project.store.resize_image(image_id, hw):
        before, now = (f"{width} x {height} pixels" for height, width in (image.hw, hw))
        raise Conflict(
            f"{image.name} was replaced: it had {before}, now {now}. Restore it, or rename it."
        )
    return path


def clip_of_file(project: Project, name: str) -> ClipEntry:
    """Clip of a video in the project folder, which is added if it is new.

    A video with another hash is the same if its frames are, such as after encoding it again. Older
    clips have no hash yet. Raises NotFoundError, DataError; Conflict if it was replaced.
    """
    from anymask.track import read_facts

    numbers = {clip.name: clip.id for clip in project.tracks.clips()}
    query = select(EventRow.detail).where(
        EventRow.kind == SEEN_CLIP, EventRow.tool == str(numbers.get(name))
    )
    with reading(project.store.database) as session:
        seen = session.scalars(query.order_by(EventRow.id.desc())).first() or {}
        fingerprints = [(int(n), str(hw), bytes.fromhex(x)) for n, hw, x in seen.get("frames", ())]
    facts, (content, fingerprints), changed = read_facts(
        project.file(name), seen.get("sha256"), fingerprints
    )
    clip = project.tracks.add_clip(name, *facts)
    if changed is not None:
        raise Conflict(f"The video {name!r} was replaced: frame {changed} differs. Restore it.")
    if content != seen.get("sha256"):
        frames = [[n, hw, cells.hex()] for n, hw, cells in fingerprints]
        detail = {"sha256": content, "frames": frames}
        action = Action(kind=SEEN_CLIP, tool=str(clip.id), detail=detail)
        with suppress(StoreError), writing(project.store.database) as session:
            session.add(event_row(action, None, WRITER, project.store.clock()))
    return clip
