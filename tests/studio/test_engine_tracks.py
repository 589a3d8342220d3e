"""Tracks of clips: kept, accepted, corrected from a frame on, rejected; nothing is lost."""

from dataclasses import asdict

import numpy as np
import pytest
from sqlalchemy import select

from anymask.base import Conflict, InputError, NotFoundError
from anymask.masks import Rle, empty_rle, mask_to_rle, rle_area
from anymask.studio import TrackDraft, TrackMask
from anymask.studio.database import reading
from anymask.studio.proposals import ProjectSettings
from anymask.studio.records import Provenance
from anymask.studio.report import measure, to_report
from anymask.studio.store import Store
from anymask.studio.tables import EventRow, LabelRow
from anymask.studio.tracks import Tracks

HW, FRAMES = (6, 8), 5


def strip(columns: int) -> Rle:
    """A mask of the first columns of a frame."""
    mask = np.zeros(HW, np.bool_)
    mask[:, :columns] = True
    return mask_to_rle(mask)


def run_of(columns: int, first: int = 0, last: int = FRAMES - 1) -> list[TrackMask]:
    return [TrackMask(frame=frame, rle=strip(columns)) for frame in range(first, last + 1)]


@pytest.fixture
def tracks(store: Store) -> Tracks:
    found = Tracks(store.database)
    found.add_clip("drive.mp4", HW, FRAMES, 25.0)
    return found


@pytest.fixture
def one(tracks: Tracks) -> int:
    """A track of two columns."""
    draft = TrackDraft(
        object=1, masks=run_of(2), label="car", seconds=4.0, provenance=Provenance(kind="model")
    )
    return tracks.add_track(1, draft, "ann").id


def areas(tracks: Tracks, track_id: int) -> list[int]:
    return [int(mask.rle.counts[1::2].sum()) // HW[0] for mask in tracks.masks(track_id)]


def proposal(tracks: Tracks, clip_id: int, number: int, doubts: int) -> int:
    """A track with so many doubtful frames."""
    masks = [
        TrackMask(frame=n, rle=strip(1), doubts=("jump",) if n < doubts else ())
        for n in range(FRAMES)
    ]
    return tracks.add_track(clip_id, TrackDraft(object=number, masks=masks), "ann").id


def test_a_reviewer_stays_in_a_clip_and_what_is_left_for_later_comes_last(tracks: Tracks) -> None:
    other = tracks.add_clip("walk.mp4", HW, FRAMES, 25.0).id
    a, b, c = (proposal(tracks, 1, number, 5 - number) for number in (1, 2, 3))
    d, e = (proposal(tracks, other, number, 5) for number in (1, 2))

    def following(clip: int | None, after: int | None = None) -> int | None:
        asked = tracks.next_asked(clip, after)
        return None if asked is None else asked.id

    assert [following(None), following(1), following(other)] == [d, a, d]
    assert [following(1, one) for one in (a, b, c, d)] == [b, c, d, a]
    assert [following(None, one) for one in (d, e, a, c)] == [e, a, b, d]
    for one in (b, c, d, e):
        tracks.give_verdict(one, "reject", 1, "ann")
    assert [following(1, a), following(other), following(None, 99)] == [a, a, a]
    tracks.give_verdict(a, "accept", 1, "ann")
    assert [following(1, a), following(None)] == [None, None]


def test_the_report_counts_clips_and_tracks(tracks: Tracks, store: Store, one: int) -> None:
    tracks.add_clip("walk.mp4", HW, None, 25.0)
    figures = measure(store, ProjectSettings(), "shelf")
    assert (figures.tracks, figures.track_verdicts) == ({"proposed": 1}, {})
    proposal(tracks, 1, 2, doubts=3)
    tracks.give_verdict(one, "correct", 1, "bob", run_of(4, first=2), seconds=4.0)
    tracks.give_verdict(one, "accept", 2, "bob", seconds=2.0)
    figures = measure(store, ProjectSettings(), "shelf")
    drive, walk = figures.clips
    assert asdict(drive) == {
        "name": "drive.mp4", "frames": FRAMES, "proposals": 1, "accepted": 1, "rejected": 0,
        "doubtful": 3, "seconds": 10.0, "seconds_a_track": 10.0,
    }  # fmt: skip
    assert (walk.name, walk.frames, walk.proposals) == ("walk.mp4", None, 0)
    assert figures.tracks == {"accepted": 1, "proposed": 1}
    assert figures.track_verdicts == {"accept": 1, "correct": 1}
    assert figures.to_json()["clips"][1]["seconds_a_track"] is None
    assert "clips: 2; tracks: 1 accepted, 1 proposed" in to_report(figures).about
    rows = [line for line in str(to_report(figures)).splitlines() if ".mp4" in line]
    assert [[cell.strip() for cell in row.strip("|").split("|")] for row in rows] == [
        ["drive.mp4", "5", "1", "1", "0", "3", "10.0"],
        ["walk.mp4", "-", "0", "0", "0", "0", "-"],
    ]


def test_a_corrected_track_has_the_old_masks_before_and_is_verified_again(
    tracks: Tracks, one: int
) -> None:
    kept = tracks.give_verdict(one, "correct", 1, "bob", run_of(4, first=2))
    assert (kept.state, kept.version) == ("proposed", 2)
    assert areas(tracks, one) == [2, 2, 4, 4, 4]
    (verdict,) = tracks.verdicts()
    assert (verdict.verdict, verdict.frame, verdict.agreed) == ("correct", 2, 0.5)
    asked = tracks.next_asked()
    assert asked is not None
    assert asked.id == one
    assert tracks.give_verdict(one, "accept", 2, "ann").state == "accepted"


def test_a_verdict_is_taken_back_with_its_masks(tracks: Tracks, one: int) -> None:
    tracks.give_verdict(one, "correct", 1, "bob", run_of(4, first=2))
    kept = tracks.withdraw_verdict(one, "bob")
    assert (kept.state, kept.version) == ("proposed", 3)
    assert areas(tracks, one) == [2, 2, 2, 2, 2]
    assert tracks.verdicts() == []
    tracks.give_verdict(one, "reject", 3, "bob")
    assert tracks.clip(1).tracks == 0
    assert tracks.withdraw_verdict(one, "bob").state == "proposed"
    with pytest.raises(NotFoundError, match="has no review decision"):
        tracks.withdraw_verdict(one, "bob")


def test_a_track_gets_another_name_and_its_verdict_can_still_be_taken_back(
    tracks: Tracks, one: int
) -> None:
    was, masks = tracks.give_verdict(one, "accept", 1, "bob").label, areas(tracks, one)
    kept = tracks.rename(one, "bus", was, "ann")
    assert (kept.label, kept.author, kept.version, kept.state) == ("bus", "ann", 2, "accepted")
    assert areas(tracks, one) == masks
    with reading(tracks.database) as session:
        assert session.get(LabelRow, "bus") is not None
        kinds = session.scalars(select(EventRow.kind).order_by(EventRow.id)).all()
    assert kinds == ["track added", "track accepted", "track renamed"]
    assert tracks.withdraw_verdict(one, "bob").label == "bus"
    with pytest.raises(Conflict, match="its name is 'bus'"):
        tracks.rename(one, "van", "car", "ann")
    assert tracks.rename(one, None, "bus", "ann").label is None
    with pytest.raises(InputError, match="a label has"):
        tracks.rename(one, "x" * 100_000, None, "ann")


def test_who_comes_too_late_gets_the_track_as_it_is_now(tracks: Tracks, one: int) -> None:
    now = tracks.give_verdict(one, "accept", 1, "bob")
    with pytest.raises(Conflict, match=r"changed by 'bob': it has version 2, not 1") as late:
        tracks.give_verdict(one, "reject", 1, "ann")
    assert late.value.current == now
    assert tracks.track(one).state == "accepted"


@pytest.mark.parametrize(
    ("masks", "complaint"),
    [
        ([], "at least one mask"),
        ([TrackMask(frame=n, rle=strip(1)) for n in (2, 0)], "at most one per frame, in order"),
        ([TrackMask(frame=n, rle=strip(1)) for n in (1, 1)], "at most one per frame, in order"),
        ([TrackMask(frame=n, rle=strip(1)) for n in (0, 5000)], "in a row may have no mask"),
        ([TrackMask(frame=5, rle=strip(1))], "Frame 5 is out of range"),
        ([TrackMask(frame=0, rle=empty_rle((3, 3)))], r"\(H, W\) = \(6, 8\)\. Given: \(3, 3\)"),
    ],
)
def test_masks_that_do_not_fit_the_clip_are_refused(
    tracks: Tracks, masks: list[TrackMask], complaint: str
) -> None:
    with pytest.raises(InputError, match=complaint):
        tracks.add_track(1, TrackDraft(object=1, masks=masks), "ann")
    assert tracks.tracks(1) == []


def test_frames_that_are_damaged_get_empty_masks(tracks: Tracks) -> None:
    """A session has no mask on a frame that cannot be decoded."""
    masks = [TrackMask(frame=n, rle=strip(2)) for n in (0, 1, 4)]
    entry = tracks.add_track(1, TrackDraft(object=3, masks=masks), "ann")
    found = tracks.masks(entry.id)
    assert [(one.frame, rle_area(one.rle), one.state) for one in found] == [
        (0, 12, "visible"), (1, 12, "visible"), (2, 0, "occluded"), (3, 0, "occluded"),
        (4, 12, "visible"),
    ]  # fmt: skip


def test_a_verdict_that_makes_no_sense_changes_nothing(tracks: Tracks, one: int) -> None:
    with pytest.raises(InputError, match="'correct' takes masks"):
        tracks.give_verdict(one, "correct", 1, "bob")
    with pytest.raises(InputError, match="Given: 'accept' with 5"):
        tracks.give_verdict(one, "accept", 1, "bob", run_of(1))
    with pytest.raises(InputError, match="verdict must be one of accept, correct, reject"):
        tracks.give_verdict(one, "fix", 1, "ann")  # type: ignore[arg-type]
    short = tracks.add_track(1, TrackDraft(object=3, masks=run_of(1, 0, 1)), "ann")
    with pytest.raises(InputError, match="correction of frames 3 to 4 leaves a gap"):
        tracks.give_verdict(short.id, "correct", 1, "bob", run_of(1, 3, 4))
    assert (tracks.track(short.id), tracks.track(one).version) == (short, 1)
    with pytest.raises(Conflict, match="already has the object 3"):
        tracks.add_track(1, TrackDraft(object=3, masks=run_of(1)), "ann")


@pytest.mark.parametrize("number", [0, 99, 2**70])
def test_what_is_not_there_is_told(tracks: Tracks, number: int) -> None:
    with pytest.raises(NotFoundError, match=f"no track {number}"):
        tracks.track(number)
    with pytest.raises(NotFoundError, match=f"no clip {number}"):
        tracks.tracks(number)
