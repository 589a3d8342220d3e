"""The tables grow and shrink, on SQLite and on PostgreSQL, and are those of the code."""

from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Engine, inspect, select, text
from sqlalchemy.exc import DBAPIError

from anymask.engine import tables, upgrading
from anymask.engine.database import open_database, reading, writing
from anymask.engine.entries import Action, Draft
from anymask.engine.store import Store
from anymask.primitives.errors import InputError, StoreError
from anymask.primitives.rle import rle_to_string
from tests.engine.small import small_mask


def differences(database: Engine) -> list[object]:
    """What the tables in the database and those in the code do not agree on."""
    with reading(database) as session:
        context = MigrationContext.configure(session.connection(), opts={"compare_type": True})
        return list(compare_metadata(context, tables.Table.metadata))


def test_the_migrations_make_the_tables_of_the_code(database: Engine) -> None:
    assert upgrading.current(database) is None
    upgrading.upgrade(database)
    assert upgrading.current(database) == upgrading.revisions()[-1]
    assert differences(database) == []
    upgrading.upgrade(database)  # once more does nothing


def test_every_revision_goes_down_and_up_again(database: Engine) -> None:
    steps = upgrading.revisions()
    upgrading.upgrade(database)
    for step in [*steps[-2::-1], "base"]:
        upgrading.downgrade(database, step)
        assert upgrading.current(database) == (None if step == "base" else step)
    assert set(inspect(database).get_table_names()) <= {"alembic_version"}
    for step in steps:
        upgrading.upgrade(database, step)
        assert upgrading.current(database) == step
    assert differences(database) == []


def test_masks_of_an_older_project_get_their_place_in_the_queue(store: Store) -> None:
    drafts = [Draft(rle=small_mask(columns)) for columns in (2, 3)]
    entries = store.add_records(1, drafts, "ann")
    upgrading.downgrade(store.database, "0002")
    upgrading.upgrade(store.database)
    with reading(store.database) as session:
        draws = dict(session.execute(select(tables.RecordRow.id, tables.RecordRow.draw)).all())
    assert draws == {e.id: tables.draw_of(1, rle_to_string(e.rle)) for e in entries}


@pytest.mark.parametrize("change", ["UPDATE {} SET who = 'else'", "DELETE FROM {}"])
@pytest.mark.parametrize("table", tables.APPEND_ONLY)
def test_the_database_refuses_to_change_what_is_only_added(
    store: Store, table: str, change: str, one_record: int
) -> None:
    store.add_events(1, [Action(kind="look")], "ann")
    with pytest.raises(DBAPIError, match="only added"), store.database.begin() as connection:
        connection.execute(text(change.format(table)))


def test_a_database_of_a_newer_version_is_left_alone(database: Engine) -> None:
    upgrading.upgrade(database)
    with writing(database) as session:
        session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(StoreError, match=r"newer anymask.*'9999'.*pip install --upgrade anymask"):
        upgrading.upgrade(database)


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("mysql://me@host/x", r"sqlite:///FILE or postgresql://USER@HOST/NAME; got 'mysql'"),
        ("postgresql://me@host:port/x", "is no database address"),
    ],
)
def test_other_databases_are_refused(address: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        open_database(address)


def test_a_file_that_cannot_be_written_says_where_to_look(tmp_path: Path) -> None:
    told = r"wanted a database that can be written, got 'unable to open .*; is its folder there"
    with pytest.raises(StoreError, match=told):
        upgrading.current(open_database(tmp_path / "absent" / "project.db"))


def test_a_server_that_is_not_there_is_a_sentence_without_the_password() -> None:
    database = open_database("postgresql://me:secret@127.0.0.1:9/x?connect_timeout=2")
    with pytest.raises(StoreError, match="does not answer") as caught:
        upgrading.current(database)
    assert "secret" not in str(caught.value)
