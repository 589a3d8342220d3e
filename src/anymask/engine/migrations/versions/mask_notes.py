"""Migration: masks get notes, scores may be absent, verdicts say what they were about."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

SCORES = ("quality", "stability")


def upgrade() -> None:
    """Add the notes; let the scores be absent, as they are where nobody gave one."""
    op.add_column("records", sa.Column("notes", sa.JSON, nullable=False, server_default="{}"))
    op.add_column("verdicts", sa.Column("version", sa.Integer, nullable=True))
    _remake_scores(nullable=True)
    for name in SCORES:
        op.execute(sa.text(f"UPDATE records SET {name} = NULL WHERE {name} = 0"))


def downgrade() -> None:
    """Take the notes away; an absent score is 0 again."""
    for name in SCORES:
        op.execute(sa.text(f"UPDATE records SET {name} = 0 WHERE {name} IS NULL"))
    _remake_scores(nullable=False)
    op.drop_column("verdicts", "version")
    op.drop_column("records", "notes")


def _remake_scores(nullable: bool) -> None:
    """SQLite changes no column in place, and its table has others that point at it."""
    if op.get_bind().dialect.name == "postgresql":
        for name in SCORES:
            op.alter_column("records", name, nullable=nullable)
        return
    op.drop_index("ix_records_status_quality", "records")
    for name in SCORES:
        default = None if nullable else "0"
        op.add_column(
            "records", sa.Column("remade", sa.Double, nullable=nullable, server_default=default)
        )
        op.execute(sa.text(f"UPDATE records SET remade = {name}"))
        op.execute(sa.text(f"ALTER TABLE records DROP COLUMN {name}"))
        op.execute(sa.text(f"ALTER TABLE records RENAME COLUMN remade TO {name}"))
    op.create_index("ix_records_status_quality", "records", ["status", "quality"])
