"""What somebody sends is refused where no database or format could hold it, and never stored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import JSON, Text, column, event, table, update

from anymask.base import DiskFull, InputError, NotFoundError, StoreError
from anymask.masks import Rle, rle_to_string
from anymask.studio import Draft
from anymask.studio.database import create_tables, open_database, reading, writing
from anymask.studio.records import Action, Provenance
from anymask.studio.review import asked_about
from anymask.studio.store import Store
from anymask.studio.tables import RecordRow
from tests.studio.small import small_mask

NAN, HUGE = float("nan"), 10**400
BAD_PROMPTS: list[Any] = [
    {"points": [[1]]}, {"points": "ab"}, {"points": [1, 2]}, {"points": [["a", "b"]]},
    {"points": {}}, {"points": [[NAN, 1]]}, {"points": [[HUGE, 1]]}, {"points": [[True, 1]]},
    {"lasso": [[1, float("inf")]]}, {"box": [1, 2, 3]}, {"box": 7}, {"labels": [2]},
    {"labels": [HUGE]}, {"labels": "01"}, {"text": "cat"}, [], 7, None,
]  # fmt: skip


@pytest.mark.parametrize("prompt", BAD_PROMPTS, ids=lambda prompt: repr(prompt)[:30])
def test_a_prompt_that_makes_no_sense_is_refused(prompt: Any) -> None:
    with pytest.raises(InputError, match="prompts"):
        Provenance(prompts=[prompt])


def test_what_the_page_sends_passes() -> None:
    prompt = {"points": [[1, 2.5]], "labels": [1, 0], "box": [0, 0, 9, 9], "lasso": [[1, 2]]}
    kept = Provenance(kind="human", tool="box", prompts=[prompt, {}])
    assert kept.to_json()["prompts"] == [prompt, {}]


@pytest.mark.parametrize("text", ["\ud800", "a\0b", "x" * 401, 7, ["a"]])
@pytest.mark.parametrize("name", ["model", "model_hash", "tool", "source"])
def test_text_that_cannot_be_stored_is_refused(name: str, text: Any) -> None:
    with pytest.raises(InputError, match=name):
        Provenance(**{name: text})


@pytest.mark.parametrize(
    "change",
    [
        {"label": "\ud800"}, {"label": "a\0"}, {"client_id": "\udcff"}, {"seconds": 1e10},
        {"seconds": NAN}, {"score": NAN}, {"stability": float("inf")},
    ],
)  # fmt: skip
def test_a_mask_with_such_values_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="must be"):
        Draft(rle=small_mask(2), **change)


def nested(depth: int) -> Any:
    return [] if depth == 0 else [nested(depth - 1)]


@pytest.mark.parametrize(
    "detail",
    [
        {"a": nested(900)}, {"a": nested(8)}, {"a": [0] * 50_001}, {"a": "x" * 100_001},
        {"a": NAN}, {"a": 10**5000}, {"a": "\0"}, {"a": {1}},
        {"\ud800": 1},
    ],
)  # fmt: skip
def test_details_of_events_are_plain_and_small(detail: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="must be JSON with at most 8 nested levels"):
        Action(kind="click", detail=detail)
    assert Action(kind="click", detail={"a": [{"b": [1, None, True, "é"]}]}).detail


@pytest.mark.parametrize("number", [0, -1, 2**31, 2**63, 10**30])
def test_numbers_that_no_photo_or_mask_can_have_are_absent(store: Store, number: int) -> None:
    for ask in (
        store.image, store.record, store.history,
        lambda n: store.mark_image(n, "done", "ann"), lambda n: store.delete_record(n, 1, "ann"),
        lambda n: store.add_records(n, [], "ann"), lambda n: asked_about(store, n),
    ):  # fmt: skip
        with pytest.raises(NotFoundError):
            ask(number)
    assert store.images(after=max(number, 0)) == store.images(after=number if number > 0 else 0)


def test_a_user_whose_name_cannot_be_stored_is_refused(store: Store) -> None:
    with pytest.raises(InputError, match="a user's name must be"):
        store.add_records(1, [Draft(rle=small_mask(2))], "\udcff")
    assert store.records() == []


# What a damaged or altered file holds.

RECORDS = table("records", column("provenance", JSON), column("notes", JSON), column("rle", Text))


@pytest.mark.parametrize(
    "values",
    [
        {"provenance": {"kind": "human", "prompts": [{"points": [[1]]}]}},
        {"provenance": {"stage": 7}},
        {"provenance": []},
        {"provenance": "text"},
        {"provenance": {"tool": ["a"]}},
        {"provenance": {"prompts": {"a": 1}}},
        {"notes": {"level": "high"}},
        {"rle": "6x8 " + rle_to_string(Rle(np.array([2**58] * 63 + [2**58 + 48]), (6, 8)))},
        {"rle": "no mask"},
        {"rle": ""},
    ],
)
def test_a_stored_mask_that_can_be_none_is_told_as_damage(
    store: Store, values: dict[str, Any]
) -> None:
    store.add_records(1, [Draft(rle=small_mask(2))], "ann")
    with writing(store.database) as session:
        session.execute(update(RECORDS).values(**values))
    with pytest.raises(StoreError, match="corrupted"):
        store.records()


# Disks.


def test_a_full_disk_is_told_as_such(tmp_path: Path) -> None:
    database = open_database(tmp_path / "project.db")
    create_tables(database)
    store = Store(database)
    store.add_images([("a.jpg", (6, 8), None)])
    database.dispose()

    @event.listens_for(database, "connect")
    def _fill(connection: Any, _: Any) -> None:
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {pages}")

    many = [Draft(rle=small_mask(n % 8), client_id=f"{n:0400}") for n in range(500)]
    with pytest.raises(DiskFull, match=r"disk is full.*Free some space"):
        store.add_records(1, many, "ann")
    with reading(database) as session:
        assert session.query(RecordRow).count() == 0
    database.dispose()
