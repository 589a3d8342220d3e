"""Migrations of a project's database: a database in, the same at the wanted revision out."""

from __future__ import annotations

import importlib.resources

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine as Database
from sqlalchemy import inspect

from anymask.engine.database import reading
from anymask.primitives.errors import StoreError


def upgrade(database: Database, revision: str = "head") -> None:
    """Add what is missing; does nothing to a database that is up to date.

    Raises StoreError for a database that a newer version of anymask has written.
    """
    known = revisions()
    found = current(database)
    if found is not None and found not in known:
        raise StoreError(
            f"the project was written by a newer anymask (its tables are at {str(found)[:40]!r}, "
            f"this version knows {known[-1]!r}); run: pip install --upgrade anymask"
        )
    if found != known[-1] or revision != "head":
        _run(database, command.upgrade, revision)


def downgrade(database: Database, revision: str) -> None:
    """Go back to an earlier revision; "base" leaves no table."""
    _run(database, command.downgrade, revision)


def current(database: Database) -> str | None:
    """The revision of the tables, None where there are none."""
    with reading(database) as session:
        return MigrationContext.configure(session.connection()).get_current_revision()


def is_empty(database: Database) -> bool:
    """Whether a database has no table at all."""
    with reading(database) as session:
        return not inspect(session.connection()).get_table_names()


def revisions() -> list[str]:
    """All revisions, the first one first."""
    scripts = ScriptDirectory.from_config(_config())
    return [script.revision for script in scripts.walk_revisions()][::-1]


def _config() -> Config:
    config = Config()
    folder = importlib.resources.files("anymask.engine") / "migrations"
    config.set_main_option("script_location", str(folder).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


def _run(database: Database, change: object, revision: str) -> None:
    config = _config()
    assert callable(change)
    with database.execution_options(writing=True).begin() as connection:
        config.attributes["connection"] = connection
        change(config, revision)
