"""Alembic's environment: runs migrations on the connection that `engine.upgrading` hands in."""

from alembic import context

from anymask.engine.tables import Table

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Table.metadata,
    render_as_batch=True,  # SQLite cannot alter a table in place
    transaction_per_migration=True,
)
with context.begin_transaction():
    context.run_migrations()
