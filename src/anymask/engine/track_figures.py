"""Figures of a project's clips: its tracks in; how many, how far, and seconds a track out."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select

from anymask.engine.database import reading
from anymask.engine.tables import TrackRow
from anymask.engine.tracks import Tracks


@dataclass(frozen=True)
class ClipShare:
    """The tracks of one clip.

    frames    None where nobody knows how many
    doubtful  frames that a person should look at, of tracks that nobody has looked at
    seconds   that people spent on its tracks
    seconds_a_track  by those that were accepted; NaN without one
    """

    name: str
    frames: int | None
    proposals: int
    accepted: int
    rejected: int
    doubtful: int
    seconds: float
    seconds_a_track: float


def clip_shares(tracks: Tracks) -> list[ClipShare]:
    """A row for each clip, by their numbers."""
    doubtful: Counter[int] = Counter()
    seconds: dict[int, float] = defaultdict(float)
    query = select(TrackRow.clip_id, TrackRow.status, TrackRow.doubtful, TrackRow.seconds)
    with reading(tracks.database) as session:
        for clip_id, status, frames, spent in session.execute(query):
            doubtful[clip_id] += frames if status == "proposal" else 0
            seconds[clip_id] += spent
    return [
        ClipShare(
            clip.name, clip.frames, clip.proposals, clip.accepted, clip.rejected,
            doubtful[clip.id], seconds[clip.id],
            seconds[clip.id] / clip.accepted if clip.accepted else math.nan,
        )
        for clip in tracks.clips()
    ]  # fmt: skip


def track_counts(clips: Sequence[ClipShare]) -> dict[str, int]:
    """Status -> how many tracks are so, of those that there are."""
    counts = {
        "accepted": sum(clip.accepted for clip in clips),
        "proposal": sum(clip.proposals for clip in clips),
        "rejected": sum(clip.rejected for clip in clips),
    }
    return {status: count for status, count in counts.items() if count}


def verdict_counts(tracks: Tracks) -> dict[str, int]:
    """Verdict -> how many tracks were judged so."""
    return dict(sorted(Counter(one.verdict for one in tracks.verdicts()).items()))
