"""Migration: the first tables."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

WORD = sa.String(20)
TEXT = sa.String(400)
LONG = sa.String(1000)


def upgrade() -> None:
    """Make the tables."""
    _make_places()
    _make_records()
    _make_events()
    _make_reviews()


def _make_places() -> None:
    op.create_table(
        "projects",
        sa.Column("id", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("name", TEXT, nullable=False),
        sa.Column("labels", sa.JSON, nullable=False),
        sa.Column("stage", WORD, nullable=False),
        sa.Column("arm", WORD, nullable=False),
        sa.Column("settings", sa.JSON, nullable=False),
        sa.Column("made", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_projects"),
    )
    op.create_table(
        "images",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("name", LONG, nullable=False),
        sa.Column("height", sa.Integer, nullable=False),
        sa.Column("width", sa.Integer, nullable=False),
        sa.Column("group_name", TEXT),
        sa.Column("status", WORD, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_images"),
        sa.UniqueConstraint("name", name="uq_images_name"),
    )


def _make_records() -> None:
    op.create_table(
        "records",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("image_id", sa.Integer, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("who", TEXT, nullable=False),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("counts", sa.Text, nullable=False),
        sa.Column("area", sa.Integer, nullable=False),
        sa.Column("label", TEXT),
        sa.Column("status", WORD, nullable=False),
        sa.Column("quality", sa.Double, nullable=False),
        sa.Column("stability", sa.Double, nullable=False),
        sa.Column("seconds", sa.Double, nullable=False),
        sa.Column("client_id", TEXT),
        sa.Column("provenance", sa.JSON, nullable=False),
        sa.Column("deleted", sa.Boolean, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_records"),
        sa.ForeignKeyConstraint(["image_id"], ["images.id"], name="fk_records_image_id"),
        sa.UniqueConstraint("image_id", "client_id", name="uq_records_image_id_client_id"),
    )
    op.create_index("ix_records_image_id_status", "records", ["image_id", "status"])
    op.create_table(
        "versions",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("record_id", sa.Integer, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("who", TEXT, nullable=False),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("state", sa.JSON, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_versions"),
        sa.ForeignKeyConstraint(["record_id"], ["records.id"], name="fk_versions_record_id"),
        sa.UniqueConstraint("record_id", "version", name="uq_versions_record_id_version"),
    )


def _make_events() -> None:
    op.create_table(
        "events",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("who", TEXT, nullable=False),
        sa.Column("kind", TEXT, nullable=False),
        sa.Column("tool", TEXT),
        sa.Column("seconds", sa.Double, nullable=False),
        sa.Column("image_id", sa.Integer),
        sa.Column("record_id", sa.Integer),
        sa.Column("detail", sa.JSON, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_events"),
        sa.ForeignKeyConstraint(["image_id"], ["images.id"], name="fk_events_image_id"),
    )
    for column in ("at", "kind", "image_id"):
        op.create_index(f"ix_events_{column}", "events", [column])


def _make_reviews() -> None:
    op.create_table(
        "verdicts",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("record_id", sa.Integer, nullable=False),
        sa.Column("who", TEXT, nullable=False),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("verdict", WORD, nullable=False),
        sa.Column("why", WORD, nullable=False),
        sa.Column("agreed", sa.Double, nullable=False),
        sa.Column("seconds", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_verdicts"),
        sa.ForeignKeyConstraint(["record_id"], ["records.id"], name="fk_verdicts_record_id"),
    )
    op.create_index("ix_verdicts_record_id", "verdicts", ["record_id"])
    op.create_table(
        "weights",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("round", sa.Integer, nullable=False),
        sa.Column("place", LONG, nullable=False),
        sa.Column("model_hash", sa.String(100), nullable=False),
        sa.Column("promoted", sa.Boolean, nullable=False),
        sa.Column("figures", sa.JSON, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_weights"),
    )


def downgrade() -> None:
    """Drop every table."""
    for name in ("weights", "verdicts", "events", "versions", "records", "images", "projects"):
        op.drop_table(name)
