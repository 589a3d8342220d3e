"""Nothing is lost: not by two annotators, not by sending twice, not by kill -9."""

import signal
import subprocess
import sys
import threading
from dataclasses import replace

import numpy as np
import pytest
from sqlalchemy import text

from anymask.base import Conflict, InputError, NotFoundError
from anymask.masks import mask_to_rle
from anymask.studio import Draft
from anymask.studio.database import open_database, reading, writing
from anymask.studio.proposals import ProjectSettings
from anymask.studio.records import MaskNotes, Provenance
from anymask.studio.report import measure
from anymask.studio.review import compare_annotators
from anymask.studio.store import Store
from anymask.studio.tables import RecordRow
from tests.studio.small import count_events, small_mask


def test_sent_twice_it_is_kept_once(store: Store) -> None:
    draft = Draft(rle=small_mask(3), client_id="stroke-1")
    (first,) = store.add_records(1, [draft], "ann")
    (again,) = store.add_records(1, [draft], "ann")
    assert first == again
    (elsewhere,) = store.add_records(2, [draft], "ann")
    assert elsewhere.id != first.id
    assert len(store.records()) == 2


def test_the_newest_masks_that_people_named_are_listed(store: Store) -> None:
    guess = MaskNotes(label_probability=0.6)
    drafts = [
        Draft(rle=small_mask(3), label="fox", client_id="first"),
        Draft(rle=small_mask(4), label="fox", client_id="second", page=2),
        Draft(rle=small_mask(5), label="fox", client_id="a guess", notes=guess),
        Draft(rle=small_mask(5), label="fox", client_id="not yet", state="proposed"),
        Draft(rle=small_mask(5), label="hen", client_id="another"),
        Draft(rle=small_mask(0), label="fox", client_id="empty"),
    ]
    store.add_records(1, drafts, "ann")
    (third,) = store.add_records(2, [Draft(rle=small_mask(6), label="fox")], "bob")
    assert [one.client_id for one in store.labeled("fox", 9)] == [None, "second", "first"]
    assert [one.id for one in store.labeled("fox", 1)] == [third.id]
    store.delete_record(third.id, 1, "bob")
    assert [one.client_id for one in store.labeled("fox", 9)] == ["second", "first"]
    assert store.labeled("wolf", 9) == []


def test_a_deleted_mask_that_is_sent_again_is_there_again(store: Store) -> None:
    """As a page sends it that undoes a deletion."""
    draft = Draft(rle=small_mask(3), client_id="stroke-1", seconds=2.0, label="fox")
    (first,) = store.add_records(1, [draft], "ann")
    store.delete_record(first.id, 1, "ann")
    (again,) = store.add_records(1, [replace(draft, seconds=0.5, label="cat")], "bob")
    assert (again.id, again.version, again.author) == (first.id, 3, "bob")
    assert (again.label, again.seconds) == ("cat", 2.5)
    assert store.records(1) == [again] == [store.record(first.id)]
    changed = store.change_record(again.id, 3, again.draft(label="dog"), "bob")
    assert (changed.version, changed.label) == (4, "dog")
    assert count_events(store, "record restored") == 1
    assert len(store.history(first.id)) == 4


def test_a_change_needs_the_version_that_it_was_made_from(store: Store, one_record: int) -> None:
    before = store.record(one_record)
    after = store.change_record(one_record, 1, before.draft(rle=small_mask(5)), "bob")
    assert (after.version, after.author, after.rle) == (2, "bob", small_mask(5))
    with pytest.raises(Conflict, match="changed by 'bob'") as caught:
        store.change_record(one_record, 1, before.draft(rle=small_mask(7)), "ann")
    assert caught.value.current == after
    with pytest.raises(Conflict):
        store.delete_record(one_record, 1, "ann")
    assert store.record(one_record) == after


def test_every_state_stays_in_the_history(store: Store, one_record: int) -> None:
    entry = store.record(one_record)
    entry = store.change_record(one_record, 1, entry.draft(rle=small_mask(5), seconds=2), "bob")
    store.delete_record(one_record, 2, "cid")
    with pytest.raises(NotFoundError, match="no record"):
        store.record(one_record)
    assert store.records(1) == []
    states = store.history(one_record)
    assert [(state.version, state.author) for state in states] == [
        (1, "ann"),
        (2, "bob"),
        (3, "cid"),
    ]
    assert [state.rle for state in states] == [small_mask(2), small_mask(5), small_mask(5)]
    kinds = ["record added", "record changed", "record deleted"]
    assert [count_events(store, kind) for kind in kinds] == [1, 1, 1]


def test_photos_are_listed_in_pages_with_their_masks_counted(store: Store) -> None:
    store.add_images([(f"{n:02}.jpg", (6, 8), None) for n in range(5)])
    rejected = Draft(rle=small_mask(1), state="rejected")
    store.add_records(2, [Draft(rle=small_mask(1)), rejected], "ann", status="proposed")
    page = store.images(limit=3)
    assert [(image.id, image.records, image.status) for image in page] == [
        (1, 0, "new"), (2, 1, "proposed"), (3, 0, "new"),
    ]  # fmt: skip
    assert [image.id for image in store.images(after=3, limit=3)] == [4, 5, 6]
    assert len(list(store.all_images())) == 7
    assert store.add_images([("a.jpg", (6, 8), None)]) == 0
    assert store.mark_image(1, "done", "ann", version=1).version == 2
    with pytest.raises(Conflict, match="has version 2"):
        store.mark_image(1, "new", "bob", version=1)


def test_what_does_not_fit_is_refused_whole(store: Store) -> None:
    wrong = Draft(rle=replace(small_mask(2), size=(8, 6)))
    with pytest.raises(InputError, match=r"the size \(6, 8\), not \(8, 6\)"):
        store.add_records(1, [Draft(rle=small_mask(2)), wrong], "ann")
    assert store.records() == []
    with pytest.raises(NotFoundError, match="no image 77"):
        store.add_records(77, [], "ann")
    with pytest.raises(NotFoundError, match="no record 77"):
        store.record(77)


# Two at once.


def test_of_two_changes_at_the_same_moment_one_wins_and_one_is_told(
    store: Store, one_record: int
) -> None:
    before, start = store.record(one_record), threading.Barrier(2)
    outcomes: dict[str, object] = {}

    def annotate(who: str, columns: int) -> None:
        own = Store(open_database(address_of(store)))
        start.wait()
        try:
            draft = before.draft(rle=small_mask(columns))
            outcomes[who] = own.change_record(one_record, 1, draft, who)
        except Conflict as error:
            outcomes[who] = error
        own.database.dispose()

    run_together([(annotate, ("ann", 4)), (annotate, ("bob", 6))])
    losers = [who for who, outcome in outcomes.items() if isinstance(outcome, Conflict)]
    assert len(losers) == 1
    (winner,) = {"ann", "bob"} - set(losers)
    now = store.record(one_record)
    assert now == outcomes[winner]
    assert outcomes[losers[0]].current == now  # type: ignore[attr-defined]
    assert len(store.history(one_record)) == 2


def test_a_change_under_an_open_session_is_seen_at_the_latest_when_written(
    store: Store, one_record: int
) -> None:
    with reading(store.database) as slow:
        row = slow.get(RecordRow, one_record)
        assert row is not None
        seen = row.version
    store.delete_record(one_record, seen, "quick")
    row.label = "late"
    with pytest.raises(Conflict), writing(store.database) as session:
        session.add(row)


def address_of(store: Store) -> str:
    return store.database.url.render_as_string(hide_password=False)


def run_together(work: list) -> None:
    threads = [threading.Thread(target=target, args=args) for target, args in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


# Killed.

CHILD = """
import sys
from sqlalchemy import text
from anymask.studio.database import open_database, reading
from anymask.studio import Draft
from anymask.studio.store import Store
from tests.studio.small import count_events, small_mask

store = Store(open_database(sys.argv[1]))
with reading(store.database) as session:
    sqlite = store.database.dialect.name == "sqlite"
    print(session.scalar(text("PRAGMA synchronous")) if sqlite else 2, flush=True)
for number in range(10_000):
    (entry,) = store.add_records(1, [Draft(rle=small_mask(number % 8))], "ann")
    entry = store.change_record(entry.id, 1, Draft(rle=small_mask(7), label=str(number)), "ann")
    print(entry.id, flush=True)
"""


def test_killed_at_any_moment_only_the_unfinished_stroke_is_lost(
    store: Store, repository: object
) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, address_of(store)],
        stdout=subprocess.PIPE, text=True, cwd=str(repository),
    )  # fmt: skip
    assert child.stdout is not None
    assert int(child.stdout.readline()) == 2  # FULL: what is committed survives a power cut, too
    told = [int(child.stdout.readline()) for _ in range(5)]
    child.send_signal(signal.SIGKILL)
    told += [int(line) for line in child.stdout.read().split("\n")[:-1]]
    assert child.wait() == -signal.SIGKILL
    child.stdout.close()
    kept = {entry.id: entry for entry in store.records()}
    assert set(told) <= set(kept)
    assert all(kept[number].version == 2 and kept[number].label for number in told)
    assert len(kept) <= len(told) + 2  # one whose line was cut off, one without its change
    assert count_events(store, "record added") == len(kept)
    assert all(len(store.history(number)) == kept[number].version for number in kept)
    if store.database.dialect.name == "sqlite":
        with reading(store.database) as session:
            assert session.scalar(text("PRAGMA integrity_check")) == "ok"
            assert session.scalar(text("PRAGMA journal_mode")) == "wal"
    (after,) = store.add_records(1, [Draft(rle=small_mask(1))], "ann")
    assert after.id not in kept


def test_the_report_counts_as_a_slow_count_does(store: Store) -> None:
    rng = np.random.default_rng(5)
    states, names = ("accepted", "proposed", "rejected"), ("cat", "dog", None)
    for number in range(40):
        rle = mask_to_rle(rng.random((6, 8)) < rng.choice([0.0, 0.1, 0.5, 1.0]))
        kind, stage = rng.choice(["human", "model"]), rng.choice(["assisted", "semi"])
        draft = Draft(
            rle=rle, label=names[rng.integers(3)], state=states[rng.integers(3)],
            page=int(rng.integers(2)), seconds=float(number),
            provenance=Provenance(kind=kind, stage=stage),
        )  # fmt: skip
        store.add_records(int(rng.integers(1, 3)), [draft], str(rng.choice(["ann", "ben"])))
    gone = store.records()[3]
    store.delete_record(gone.id, gone.version, "ann")
    masks, images = store.records(), {image.id: image for image in store.all_images()}
    counted = [mask for mask in masks if mask.state != "rejected"]
    figures = measure(store, ProjectSettings(batch=1), "shelf")

    for name_of, shares in (
        (lambda mask: mask.label or "(no label)", figures.labels),
        (lambda mask: images[mask.image_id].group or "(no group)", figures.groups),
    ):
        assert {share.name for share in shares} == {name_of(mask) for mask in counted}
        for share in shares:
            mine = [mask for mask in counted if name_of(mask) == share.name]
            pages = {(mask.image_id, mask.page) for mask in mine}
            covered = sum(
                np.logical_or.reduce([m.mask for m in mine if (m.image_id, m.page) == page]).sum()
                for page in pages
            )
            assert (share.masks, share.images) == (len(mine), len({image for image, _ in pages}))
            assert share.pixels == pytest.approx(covered / (48 * len(pages)))
    for pace in figures.paces:
        mine = [mask for mask in masks if mask.provenance.stage == pace.stage]
        assert pace.masks == sum(mask.state == "accepted" for mask in mine)
        assert pace.seconds == sum(mask.seconds for mask in mine)
        assert pace.images == len({mask.image_id for mask in mine})
    assert figures.masks == {s: sum(mask.state == s for mask in masks) for s in states}
    drawn = [
        (m.image_id, m.page, m.author, m.rle)
        for m in masks if m.state == "accepted" and m.provenance.kind == "human"
    ]  # fmt: skip
    assert figures.agreements == tuple(compare_annotators(drawn))
    assert figures.images == {"new": 2}
    by_model = [m for m in counted if m.state == "proposed" or m.provenance.kind == "model"]
    assert {batch.batch for batch in figures.batches} == {mask.image_id for mask in by_model}
    for batch in figures.batches:
        mine = [mask for mask in by_model if mask.image_id == batch.batch]
        opened = sum(mask.state == "proposed" for mask in mine)
        assert (batch.masks, batch.open) == (len(mine), opened)
    assert store.counts() == {"images": 2, "done": 0, "records": len(counted)}
    assert [image.records for image in images.values()] == [
        sum(mask.image_id == image for mask in counted) for image in images
    ]
