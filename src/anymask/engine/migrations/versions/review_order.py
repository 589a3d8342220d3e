"""Migration: the order of random samples becomes a column, so that the queue is a query."""

import hashlib

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column and the indexes of both ends of the queue."""
    op.add_column("records", sa.Column("draw", sa.String(16), nullable=False, server_default=""))
    records = sa.table(
        "records", sa.column("id"), sa.column("image_id"), sa.column("counts"), sa.column("draw")
    )
    connection = op.get_bind()
    rows = connection.execute(sa.select(records.c.id, records.c.image_id, records.c.counts))
    for number, image_id, counts in rows.all():
        draw = hashlib.sha256(f"review {image_id} {counts}".encode()).hexdigest()[:16]
        connection.execute(sa.update(records).where(records.c.id == number).values(draw=draw))
    op.create_index("ix_records_draw", "records", ["draw"])
    op.create_index("ix_records_status_quality", "records", ["status", "quality"])


def downgrade() -> None:
    """Take them away."""
    op.drop_index("ix_records_status_quality", "records")
    op.drop_index("ix_records_draw", "records")
    op.drop_column("records", "draw")
