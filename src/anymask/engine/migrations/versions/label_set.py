"""Migration: labels get a table of their own, with colours and an order."""

import colorsys

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

NAME = sa.String(400)


def upgrade() -> None:
    """Make the table of the names that were given and of those that masks have."""
    op.create_table(
        "labels",
        sa.Column("name", NAME, nullable=False),
        sa.Column("colour", sa.String(7), nullable=False),
        sa.Column("place", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_labels"),
    )
    connection = op.get_bind()
    projects = sa.table("projects", sa.column("labels", sa.JSON))
    records = sa.table("records", sa.column("label"), sa.column("deleted", sa.Boolean))
    given = connection.execute(sa.select(projects.c.labels)).scalar() or []
    query = sa.select(records.c.label).where(records.c.deleted.is_(False)).distinct()
    used = [label for label in connection.execute(query).scalars() if label]
    names = list(dict.fromkeys([*map(str, given), *sorted(used)]))
    labels = sa.table("labels", sa.column("name"), sa.column("colour"), sa.column("place"))
    for place, name in enumerate(names):
        row = {"name": name, "colour": _colour(place), "place": place}
        connection.execute(sa.insert(labels).values(**row))
    op.drop_column("projects", "labels")


def _colour(number: int) -> str:
    channels = colorsys.hls_to_rgb((number * 137.508 % 360) / 360, 0.6, 0.82)
    return "#" + "".join(f"{int(255 * channel + 0.5):02x}" for channel in channels)


def downgrade() -> None:
    """Make the names a list of the project again."""
    labels = sa.table("labels", sa.column("name"), sa.column("place"))
    connection = op.get_bind()
    names = list(connection.execute(sa.select(labels.c.name).order_by(labels.c.place)).scalars())
    op.add_column("projects", sa.Column("labels", sa.JSON, nullable=False, server_default="[]"))
    projects = sa.table("projects", sa.column("labels", sa.JSON))
    connection.execute(sa.update(projects).values(labels=names))
    op.drop_table("labels")
