"""The review queue is a query: it finds what looking at every mask finds, and reads one."""

from __future__ import annotations

import numpy as np
from sqlalchemy import event

from anymask.masks import Rle, mask_to_rle, rle_to_string
from anymask.studio import Draft
from anymask.studio.review import (
    ReviewItem,
    all_verdicts,
    asked_about,
    give_verdict,
    next_for_review,
)
from anymask.studio.store import Store
from anymask.studio.tables import draw_of


def mask(rng: np.random.Generator) -> Rle:
    return mask_to_rle(rng.random((6, 8)) > 0.5)


def filled(store: Store, count: int = 12) -> Store:
    """Proposals and accepted masks of two photos, some equally sure, one deleted, one rejected."""
    rng = np.random.default_rng(3)
    statuses = ["proposed", "proposed", "accepted"]
    for number in range(count):
        draft = Draft(rle=mask(rng), state=statuses[number % 3], score=(number % 4) / 4)  # type: ignore[arg-type]
        store.add_records(1 + number % 2, [draft], "ann")
    store.add_records(1, [Draft(rle=mask(rng), state="rejected")], "ann")
    (gone,) = store.add_records(1, [Draft(rle=mask(rng), state="proposed")], "ann")
    store.delete_record(gone.id, 1, "ann")
    return store


def slow_next(store: Store, first_draws: dict[int, str]) -> tuple[int, str] | None:
    """The same by looking at everything."""
    said = all_verdicts(store)
    seen = {one.record_id for one in said}
    entries = store.records(None, ("proposed", "accepted"))
    left = [entry for entry in entries if entry.id not in seen]
    if not left:
        return None
    if sum(one.why == "random" for one in said) <= len(said) / 2:
        drawn = [entry for entry in left if entry.state == "proposed"]
        if drawn:  # what people made is not sampled
            return min(drawn, key=lambda entry: (first_draws[entry.id], entry.id)).id, "random"
    unsure = min(left, key=lambda e: (e.state != "proposed", e.score, e.id))
    return unsure.id, "uncertain"


def test_the_queue_finds_what_looking_at_every_mask_finds(store: Store) -> None:
    filled(store)
    rng = np.random.default_rng(4)
    draws = {e.id: draw_of(e.image_id, rle_to_string(e.rle)) for e in store.records()}
    order = []
    while (asked := next_for_review(store)) is not None:
        assert (asked.entry.id, asked.why) == slow_next(store, draws)
        assert asked.entry == store.record(asked.entry.id)
        assert asked_about(store, asked.entry.id).why in (asked.why, "random")
        fixed = mask(rng) if len(order) % 3 == 2 else None  # its draw stays that of the first mask
        verdict = "reject" if len(order) % 3 == 1 else "accept"
        give_verdict(store, asked, "fix" if fixed else verdict, "bob", rle=fixed)  # type: ignore[arg-type]
        order.append(asked.entry.id)
    assert slow_next(store, draws) is None
    assert len(order) == len(set(order)) == 12


def test_a_mask_that_somebody_picked_counts_as_chance_only_where_it_was_its_turn(
    store: Store,
) -> None:
    filled(store)
    turn = next_for_review(store)
    assert isinstance(turn, ReviewItem)
    others = [e.id for e in store.records(None, ("proposed", "accepted")) if e.id != turn.entry.id]
    assert asked_about(store, turn.entry.id).why == "random"
    assert {asked_about(store, number).why for number in others} == {"uncertain"}


def test_the_queue_reads_one_mask_however_many_there_are(store: Store) -> None:
    filled(store, 60)
    told: list[str] = []

    def note(_: object, __: object, statement: str, *rest: object) -> None:
        told.append(statement)

    event.listen(store.database, "before_cursor_execute", note)
    for _ in range(2):  # by chance, then by doubt
        asked = next_for_review(store)
        assert asked is not None
        reads = [text for text in told if "records.rle" in text]
        assert reads
        assert all("LIMIT" in text for text in reads)
        event.remove(store.database, "before_cursor_execute", note)
        give_verdict(store, asked, "accept", "bob")
        event.listen(store.database, "before_cursor_execute", note)
        told.clear()
