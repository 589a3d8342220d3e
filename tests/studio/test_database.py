"""The tables of a project, on SQLite and on PostgreSQL, and databases that are none."""

from pathlib import Path

import pytest
from sqlalchemy import Engine, inspect, text
from sqlalchemy.exc import DBAPIError

from anymask.base import InputError, StoreError
from anymask.studio import tables
from anymask.studio.database import create_tables, is_prepared, open_database, writing
from anymask.studio.records import Action
from anymask.studio.store import Store


def test_the_tables_are_made_once(database: Engine) -> None:
    assert not is_prepared(database)
    create_tables(database)
    assert is_prepared(database)
    assert set(inspect(database).get_table_names()) == set(tables.Table.metadata.tables)
    create_tables(database)  # once more does nothing


@pytest.mark.parametrize("change", ["UPDATE {} SET id = id + 1", "DELETE FROM {}"])
@pytest.mark.parametrize("table", tables.APPEND_ONLY)
def test_the_database_refuses_to_change_what_is_only_added(
    store: Store, table: str, change: str, one_record: int
) -> None:
    store.add_events(1, [Action(kind="look")], "ann")
    with pytest.raises(DBAPIError, match="only added"), store.database.begin() as connection:
        connection.execute(text(change.format(table)))


@pytest.mark.parametrize(
    ("version", "told"),
    [
        (9999, "Upgrade with: pip install --upgrade"),
        (0, "Export its masks with that older version"),
    ],
)
def test_tables_of_another_version_are_left_alone(
    database: Engine, version: int, told: str
) -> None:
    create_tables(database)
    with writing(database) as session:
        session.execute(text(f"UPDATE schema SET version = {version}"))
    for use in (create_tables, is_prepared):
        with pytest.raises(StoreError, match=rf"schema version {version}.* {told}"):
            use(database)


def test_tables_of_another_program_are_left_alone(database: Engine) -> None:
    with writing(database) as session:
        session.execute(text("CREATE TABLE cookies (id INTEGER)"))
    with pytest.raises(StoreError, match="another application .tables cookies"):
        create_tables(database)


@pytest.mark.parametrize(
    ("address", "message"),
    [
        (
            "mysql://me@host/x",
            r"type 'mysql' are not supported. Use sqlite:///FILE or postgresql://USER@HOST/NAME",
        ),
        ("postgresql://me@host:port/x", "is no database"),
    ],
)
def test_other_databases_are_refused(address: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        open_database(address)


def test_a_file_that_cannot_be_written_says_where_to_look(tmp_path: Path) -> None:
    told = r"cannot be written. Check that its folder exists"
    with pytest.raises(StoreError, match=told):
        is_prepared(open_database(tmp_path / "absent" / "project.db"))


def test_a_server_that_is_not_there_is_a_sentence_without_the_password() -> None:
    database = open_database("postgresql://me:secret@127.0.0.1:9/x?connect_timeout=2")
    with pytest.raises(StoreError, match="does not respond") as caught:
        is_prepared(database)
    assert "secret" not in str(caught.value)
