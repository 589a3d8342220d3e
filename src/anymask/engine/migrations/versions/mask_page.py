"""Masks lie on a page of their photo's file; those of before on the first one."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the page."""
    op.add_column("records", sa.Column("page", sa.Integer, nullable=False, server_default="0"))


def downgrade() -> None:
    """Take it away again: masks of every page are then on the first one."""
    op.drop_column("records", "page")
