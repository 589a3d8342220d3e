"""Connection to a project's database by SQLite path or URL.

SQLite uses WAL mode: readers never wait, and committed data survive a crash. Writing transactions
start with `BEGIN IMMEDIATE`, so that concurrent writers queue instead of failing. PostgreSQL
requires the extra [postgres].
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, create_engine, event, inspect, make_url, select
from sqlalchemy import Engine as Database
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, NoSuchModuleError
from sqlalchemy.exc import OperationalError as Unreachable
from sqlalchemy.orm import Session
from sqlalchemy.orm.exc import StaleDataError

from anymask.base import (
    AnymaskError,
    Conflict,
    DataError,
    DiskFull,
    InputError,
    MissingExtra,
    StoreError,
    parse_json,
)
from anymask.studio.tables import SCHEMA, SchemaRow, Table

PRAGMAS = ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON")  # per SQLite connection
_FULL = ("SQLITE_FULL", "53100")  # SQLite error name, PostgreSQL SQLSTATE
_SHUT = ("SQLITE_CANTOPEN", "SQLITE_READONLY", "SQLITE_PERM")  # read-only folder
DRIVERS = {
    "sqlite": "sqlite+pysqlite", "postgresql": "postgresql+psycopg",
    "postgres": "postgresql+psycopg",
}  # fmt: skip


def open_database(address: str | Path) -> Database:
    """Create an engine for a SQLite path or a URL (sqlite:///..., postgresql://...).

    It connects on first use. Raises InputError for other URLs, MissingExtra without psycopg.
    """
    remedy = "Use sqlite:///FILE or postgresql://USER@HOST/NAME."
    if isinstance(address, Path) or "://" not in address:
        url = make_url("sqlite+pysqlite://").set(database=str(address))
    else:
        try:
            url = make_url(address)
        except (ArgumentError, ValueError) as error:
            raise InputError(f"{address!r} is no database. {remedy}") from error
        kind = url.drivername.partition("+")[0]
        if kind not in DRIVERS:
            raise InputError(f"Databases of type {kind!r} are not supported. {remedy}")
        url = url.set(drivername=DRIVERS[kind])
    try:
        if url.get_backend_name() == "sqlite":
            return _open_sqlite(url)
        return create_engine(url, pool_pre_ping=True, json_deserializer=_json_value)
    except ModuleNotFoundError as error:
        raise MissingExtra("psycopg", "postgres", "a PostgreSQL database") from error


def _json_value(text: str) -> Any:
    """Parse a JSON column. Raises ValueError, which `_explained` converts."""
    try:
        return parse_json(text, "a value")
    except DataError as error:
        raise ValueError(str(error)) from error


def _open_sqlite(url: Any) -> Database:
    database = create_engine(
        url,
        connect_args={"timeout": 15.0},  # seconds to wait for a lock
        json_deserializer=_json_value,
    )

    @event.listens_for(database, "connect")
    def _prepare(connection: Any, _: Any) -> None:
        connection.isolation_level = None  # disable implicit transactions of pysqlite
        for pragma in PRAGMAS:
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(database, "begin")
    def _begin(connection: Connection) -> None:
        writing = connection.get_execution_options().get("writing", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")

    return database


class DatabasePart:
    """Values of one kind in the database of a project.

    Args:
        clock: Function that returns seconds since 1970.
    """

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self.database, self.clock = database, clock

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {Path(self.database.url.database or 'memory').name!r}>"


@contextmanager
def reading(database: Database) -> Iterator[Session]:
    """Open a read-only session."""
    with _explained(database), Session(database, expire_on_commit=False) as session:
        yield session


@contextmanager
def writing(database: Database) -> Iterator[Session]:
    """Open a session that commits at the end, or rolls back on an error."""
    options = database.execution_options(writing=True)
    with _explained(database), Session(options, expire_on_commit=False) as session, session.begin():
        yield session


def create_tables(database: Database) -> None:
    """Create the tables of a project if they do not exist.

    Raises StoreError if they belong to another version of anymask or another application.
    """
    with writing(database) as session:
        if _is_prepared(session):
            return
        Table.metadata.create_all(session.connection())
        session.add(SchemaRow(version=SCHEMA))


def is_prepared(database: Database) -> bool:
    """Whether a database has the tables of a project. False if it has no tables.

    Raises StoreError if they belong to another version of anymask or another application.
    """
    with reading(database) as session:
        return _is_prepared(session)


def _is_prepared(session: Session) -> bool:
    connection = session.connection()
    names = inspect(connection).get_table_names()
    if not names:
        return False
    where = connection.engine.url.render_as_string(hide_password=True)
    if SchemaRow.__tablename__ not in names:
        raise StoreError(
            f"{where}: the database belongs to another application (tables "
            f"{', '.join(sorted(names))[:80]}). Use an empty database."
        )
    version = session.scalars(select(SchemaRow.version)).first()
    if version == SCHEMA:
        return True
    newer = version is not None and version > SCHEMA
    remedy = "Export its masks with that older version, and import them here."
    remedy = "Upgrade with: pip install --upgrade anymask" if newer else remedy
    raise StoreError(
        f"{where}: the database has schema version {version}, not {SCHEMA} as required. {remedy}"
    )


@contextmanager
def _explained(database: Database) -> Iterator[None]:
    """Convert driver exceptions to anymask errors."""
    where = database.url.render_as_string(hide_password=True)
    try:
        yield
    except AnymaskError:
        raise
    except StaleDataError as error:
        raise Conflict("The entry was changed by another request. Read it again.") from error
    except IntegrityError as error:
        raise Conflict(
            f"{where}: the entry already exists, or another request deleted it. Read it again."
        ) from error
    except DBAPIError as error:
        name = getattr(error.orig, "sqlite_errorname", "")
        if name in _FULL or getattr(error.orig, "sqlstate", None) in _FULL:
            raise DiskFull(f"{where}: the disk is full. Free some space and try again.") from error
        what = "rejected the request. See the log of the database server"
        if name.startswith(_SHUT):
            what = "cannot be written. Check that its folder exists and is writable"
        elif isinstance(error, Unreachable):
            what = "does not respond. Check that its server is running"
        raise StoreError(f"{where}: the database {what}.") from error
    except NoSuchModuleError as error:
        raise InputError(
            f"{where}: the driver is missing. Run: pip install 'anymask[postgres]'"
        ) from error
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise StoreError(
            f"{where}: the database is corrupted. Restore it from a backup."
        ) from error
