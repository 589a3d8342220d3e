"""Order of review of tracks: a clip and a track that is left for later in, the next track out.

The proposal with the most doubtful frames comes first, that of the open clip before those of
others, so that a reviewer stays in one video.
"""

from __future__ import annotations

from sqlalchemy import ColumnElement, and_, or_, select, true
from sqlalchemy.orm import Session

from anymask.engine.tables import TrackRow


def next_proposal(session: Session, clip_id: int | None, after: TrackRow | None) -> TrackRow | None:
    """The proposal that should be looked at next; None where there is none.

    clip_id  those of this clip come first
    after    those behind it come first, then those of other clips, then it begins anew
    """
    here: ColumnElement[bool] = true() if clip_id is None else TrackRow.clip_id == clip_id
    turns = [here, true()]
    if after is not None:
        turns = [and_(here, _behind(after)), ~here, TrackRow.id != after.id, true()]
    for turn in turns:
        query = select(TrackRow).where(TrackRow.status == "proposal", turn)
        row = session.scalars(query.order_by(TrackRow.doubtful.desc(), TrackRow.id)).first()
        if row is not None:
            return row
    return None


def _behind(after: TrackRow) -> ColumnElement[bool]:
    return or_(
        TrackRow.doubtful < after.doubtful,
        and_(TrackRow.doubtful == after.doubtful, TrackRow.id > after.id),
    )
