"""Projects get videos: clips, tracks of objects in them, their masks, and verdicts on them."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

WORD, NAME, LONG = sa.String(20), sa.String(400), sa.String(1000)


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "clips",
        _number("id"), _text("name", LONG), _number("height"), _number("width"),
        sa.Column("frames", sa.Integer), _real("rate"),
        sa.PrimaryKeyConstraint("id", name="pk_clips"),
        sa.UniqueConstraint("name", name="uq_clips_name"),
    )  # fmt: skip
    op.create_table(
        "tracks",
        _number("id"), _number("clip_id"), _number("object"), _number("version"),
        _text("who", NAME), _real("at"), sa.Column("label", NAME), _text("status", WORD),
        _real("seconds"), _number("doubtful"), sa.Column("provenance", sa.JSON, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_tracks"),
        sa.ForeignKeyConstraint(["clip_id"], ["clips.id"], name="fk_tracks_clip_id"),
        sa.UniqueConstraint("clip_id", "object", name="uq_tracks_clip_id_object"),
    )  # fmt: skip
    op.create_index("ix_tracks_status_doubtful", "tracks", ["status", "doubtful"])
    op.create_table(
        "track_masks",
        _number("id"), _number("track_id"), _number("frame"), _number("since"),
        sa.Column("until", sa.Integer), _text("counts", sa.Text()), _real("score"),
        _text("state", WORD), _text("doubts", NAME),
        sa.Column("prompted", sa.Boolean, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_track_masks"),
        sa.ForeignKeyConstraint(["track_id"], ["tracks.id"], name="fk_track_masks_track_id"),
        sa.UniqueConstraint(
            "track_id", "frame", "since", name="uq_track_masks_track_id_frame_since"
        ),
    )  # fmt: skip
    op.create_table(
        "track_verdicts",
        _number("id"), _number("track_id"), _text("who", NAME), _real("at"),
        _text("verdict", WORD), sa.Column("frame", sa.Integer), _number("version"),
        _real("agreed"), _real("seconds"),
        sa.PrimaryKeyConstraint("id", name="pk_track_verdicts"),
        sa.ForeignKeyConstraint(["track_id"], ["tracks.id"], name="fk_track_verdicts_track_id"),
    )  # fmt: skip
    op.create_index("ix_track_verdicts_track_id", "track_verdicts", ["track_id"])


def _number(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.Integer, nullable=False)


def _real(name: str) -> sa.Column[float]:
    return sa.Column(name, sa.Double, nullable=False)


def _text(name: str, kind: sa.types.TypeEngine[str]) -> sa.Column[str]:
    return sa.Column(name, kind, nullable=False)


def downgrade() -> None:
    """Take them away, with what they hold."""
    for table in ("track_verdicts", "track_masks", "tracks", "clips"):
        op.drop_table(table)
