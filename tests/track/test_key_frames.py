"""Key frames of masklets by hand: confirmed, drifted, exchanged and ended tracks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import pytest

from anymask.base import BoolArray, UintImage
from anymask.masks import Mask, Masks, Rle, empty_rle, iou, mask_to_rle, rle_to_mask
from anymask.segment import Model
from anymask.track import TrackedFrame
from anymask.track.key_frames import KeyFrames, read_forward, store_forward
from anymask.track.masklets import Segments
from anymask.track.records import ObjectMask
from tests.evaluation.small_sets import rectangle
from tests.segment.fakes import ColorRuntime

HW = (40, 120)
RED, GREEN = (200, 30, 30), (20, 180, 40)


def square(x: int, side: int = 16) -> Rle:
    return mask_to_rle(rectangle(HW, (x, 10, x + side, 10 + side)))


def one(rle: Rle, **more: Any) -> ObjectMask:
    return ObjectMask(rle, 0.9, 0.9, "visible", **more)


def scene(red: int, green: int) -> UintImage:
    """A red and a green square at these columns."""
    image = np.full((*HW, 3), 90, np.uint8)
    for x, color in ((red, RED), (green, GREEN)):
        image[10:26, x : x + 16] = color
    return image


class Told(Model):
    """A model that proposes given masks."""

    proposals: Sequence[Rle] = ()

    def everything(self, image: Any, **_: Any) -> Masks:  # type: ignore[override]
        return Masks([Mask(rle, score=0.9) for rle in self.proposals], image_hw=HW)


class Session:
    """Pictures, masks, prompts and notes in memory. Tracks are set by the test."""

    def __init__(self, images: dict[int, UintImage]) -> None:
        self.images, self.notes = images, dict[str, str]()
        self.masks: dict[int, dict[int, ObjectMask]] = {}
        self.forgotten: list[tuple[int, int]] = []

    @property
    def objects(self) -> list[int]:
        return sorted({number for row in self.masks.values() for number in row})

    def image(self, frame: int) -> UintImage:
        return self.images[frame]

    def metadata(self, name: str, value: str | None = None) -> str | None:
        if value is not None:
            self.notes[name] = value
        return self.notes.get(name)

    def add(self, frame: int, number: int, mask: BoolArray, replace: bool) -> None:
        assert replace
        self.masks.setdefault(frame, {})[number] = one(mask_to_rle(mask), prompted=True)

    def prompts(self, number: int) -> list[int]:
        return [
            at for at, row in sorted(self.masks.items()) if number in row and row[number].prompted
        ]

    def result(self, frame: int) -> TrackedFrame:
        return TrackedFrame(frame, frame, 0.0, dict(self.masks.get(frame, {})))

    def forget_before(self, number: int, frame: int) -> None:
        self.forgotten.append((number, frame))


def step(
    session: Session, model: Told, keys: KeyFrames, frame: int, tracks: dict[int, Rle],
    proposals: Sequence[Rle],
) -> dict[int, Rle]:  # fmt: skip
    """Process a key frame on which the tracker has these masks. Return the masks after it."""
    session.masks[frame] = {number: one(rle) for number, rle in tracks.items()}
    model.proposals = proposals
    keys.process(session.result(frame))
    return {number: mask.rle for number, mask in session.masks[frame].items()}


@pytest.fixture
def model() -> Told:
    return Told(ColorRuntime())


def begun(model: Told, red: int, green: int) -> tuple[Session, KeyFrames]:
    """Objects 1 (red, at column 10) and 2 (green, at 90) on frame 0; frame 5 as given."""
    session = Session({0: scene(10, 90), 5: scene(red, green)})
    keys = KeyFrames(cast(Any, session), model, 0.005, 20)
    assert step(session, model, keys, 0, {}, [square(10), square(90)]) == {
        1: square(10), 2: square(90),
    }  # fmt: skip
    return session, keys


def test_a_drifted_track_is_corrected_and_tracked_again_backward(model: Told) -> None:
    session, keys = begun(model, 20, 70)
    session.masks[3] = {1: one(square(16)), 2: one(square(76, 6))}
    fragment = square(72, 6)
    after = step(session, model, keys, 5, {1: square(19), 2: fragment}, [square(20), square(70)])
    assert after == {1: square(20), 2: square(70)}  # no new object
    assert session.forgotten == [(2, 5)]
    forward = read_forward(cast(Any, session), 2, 5)
    assert {at: mask.rle for at, mask in forward.items()} == {3: square(76, 6)}
    assert read_forward(cast(Any, session), 1, 5) is None


def test_tracks_that_exchanged_their_objects_are_exchanged_back(model: Told) -> None:
    session, keys = begun(model, 60, 30)
    after = step(session, model, keys, 5, {1: square(30), 2: square(60)}, [square(30), square(60)])
    assert after == {1: square(60), 2: square(30)}
    assert sorted(session.forgotten) == [(1, 5), (2, 5)]


def test_a_union_of_two_objects_changes_no_track_and_starts_no_object(model: Told) -> None:
    session, keys = begun(model, 40, 56)
    both = mask_to_rle(rle_to_mask(square(40)) | rle_to_mask(square(56)))
    tracks = {1: square(40), 2: square(56)}
    assert step(session, model, keys, 5, tracks, [both]) == tracks
    assert session.forgotten == []


def test_a_track_that_shows_another_object_is_ended(model: Told) -> None:
    session, keys = begun(model, 20, 70)
    session.images[5][10:26, 70:86] = 90  # the green object has left
    after = step(session, model, keys, 5, {1: square(20), 2: square(22)}, [square(20)])
    assert after == {1: square(20), 2: empty_rle(HW)}


def test_a_resumed_run_knows_the_objects(model: Told) -> None:
    session, _ = begun(model, 60, 30)
    again = KeyFrames(cast(Any, session), model, 0.005, 20)
    assert again.finished == [0]
    after = step(session, model, again, 5, {1: square(30), 2: square(60)}, [square(30), square(60)])
    assert after == {1: square(60), 2: square(30)}


# Segments.


def settled(
    forward: dict[int, Rle], masks: dict[int, Rle], keys: Sequence[int] = (2, 8)
) -> dict[int, ObjectMask]:
    """Settle the red object of a clip that stands; anchors are on frames 2 and 8."""
    session = Session(dict.fromkeys(range(12), scene(20, 90)))
    for at, rle in forward.items():
        session.masks[at] = {1: one(rle)}
    session.masks[2] = session.masks[8] = {1: one(square(20), prompted=True)}
    if forward:
        store_forward(cast(Any, session), 1, 8)
    rows = {at: one(rle) for at, rle in masks.items()}
    rows |= {at: one(square(20), prompted=True) for at in (2, 8)}
    return Segments(cast(Any, session), keys).plausible_masks(1, rows)


GONE = {3: empty_rle(HW)}  # a backward track that does not reach the earlier anchor


def test_of_two_masks_that_agree_the_one_nearer_to_its_anchor_is_kept() -> None:
    found = settled({4: square(19), 7: square(19)}, GONE | {4: square(21), 7: square(21)})
    assert (found[4].rle, found[7].rle) == (square(19), square(21))


def test_of_two_masks_that_differ_the_plausible_one_is_kept() -> None:
    found = settled(
        {4: square(20, 4), 5: square(90), 6: square(90)},  # a fragment, the green object
        GONE | {4: square(20), 5: square(20), 6: square(50)},  # 50: background
    )
    assert (found[4].rle, found[5].rle) == (square(20), square(20))
    assert (found[6].area, found[6].state) == (0, "occluded")


def test_a_mask_much_larger_than_both_anchors_is_removed() -> None:
    larger = {4: square(18, 19), 5: square(18, 20)}  # areas of 361 and 400; the anchors have 256
    found = settled(larger, GONE | larger)
    assert (found[4].area, found[5].area) == (361, 0)


def test_a_backward_track_that_reaches_the_earlier_anchor_is_kept() -> None:
    forward = {at: square(20 + at) for at in range(3, 8)}
    backward = {at: square(18) for at in range(3, 8)}
    assert [settled(forward, backward)[at].rle for at in range(3, 8)] == [square(18)] * 5
    lost = backward | {3: square(60)}
    assert settled(forward, lost)[4].rle == square(24)


def test_a_segment_without_drift_is_kept() -> None:
    masks = {4: square(20, 9), 5: square(60), 6: empty_rle(HW)}
    assert [settled({}, masks)[at].rle for at in masks] == [*masks.values()]
    unconfirmed = settled({}, masks, keys=(2, 5, 8))  # areas of 81 and 256 differ too much
    assert [unconfirmed[at].area for at in masks] == [0, 0, 0]
    assert settled({}, {4: square(20, 12)}, keys=(2, 5, 8))[4].area == 144


def test_beyond_the_outer_anchors_a_track_ends_at_the_first_implausible_mask() -> None:
    found = settled(
        {}, {0: square(20), 1: square(90), 9: square(20), 10: empty_rle(HW), 11: square(50)}
    )
    assert sorted(found) == [2, 8, 9, 10]
    assert iou(found[9].mask, rle_to_mask(square(20))) == 1
