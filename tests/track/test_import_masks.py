"""Objects that were followed elsewhere: their masks are taken up, corrected, and followed on."""

from __future__ import annotations

import numpy as np
import pytest

from anymask.base import InputError
from anymask.masks import empty_rle, mask_to_rle
from anymask.segment import Model
from anymask.track import ObjectMask, VideoSession, open_session
from tests.segment.fakes import ColorRuntime, iou
from tests.track.clips import HW, moving_discs

FRAMES = 8
IMAGES, TRUTH = moving_discs(FRAMES)


def begin(source: object = IMAGES) -> VideoSession:
    return open_session(Model(ColorRuntime()), source)


@pytest.fixture(scope="module")
def known() -> dict[int, ObjectMask]:
    """The first disc on every frame."""
    with begin() as session:
        session.add(frame=0, id=1, points=[(30, 30)])
        return {frame.index: frame.objects[1] for frame in session}


def wrong(known: dict[int, ObjectMask]) -> dict[int, ObjectMask]:
    """The same, lost from frame 4 on to the other disc."""
    other = {n: mask_to_rle(TRUTH[n][1]) for n in range(4, FRAMES)}
    return known | {n: ObjectMask(rle, 0.9, 0.9, "visible") for n, rle in other.items()}


def test_what_is_taken_up_is_known_and_nothing_is_left_to_do(known: dict[int, ObjectMask]) -> None:
    with begin() as session:
        session.import_masks(5, known)
        assert (session.objects, session.prompts(5), session.frame_ranges(5)) == (
            [5],
            [0],
            [(0, 7)],
        )
        assert [frame.objects[5] for frame in session] == list(known.values())


def test_a_correction_is_followed_from_its_frame_on_and_what_was_before_stays(
    known: dict[int, ObjectMask],
) -> None:
    with begin() as session:
        session.import_masks(1, wrong(known))
        session.add(frame=4, id=1, points=[(38, 30), (100, 70)], labels=[1, 0])
        assert session.frame_ranges(1) == [(0, 4)]
        frames = list(session.propagate(start=4))
        assert [frame.index for frame in frames] == [4, 5, 6, 7]
        for frame in session.results():
            assert iou(frame.masks[1], TRUTH[frame.index][0]) > 0.7, frame.index
        assert [session.result(n).objects[1] for n in range(4)] == [known[n] for n in range(4)]


def test_the_prompt_before_a_correction_stays_remembered(known: dict[int, ObjectMask]) -> None:
    with begin() as session:
        session.import_masks(1, wrong(known))
        session.add(frame=4, id=1, points=[(38, 30), (100, 70)], labels=[1, 0])
        next(session.propagate(start=4))
        (live,) = session._live.values()
        assert [glimpse.frame for glimpse in live.state.anchors] == [0, 4]


def test_a_click_on_a_prompted_frame_changes_its_mask(
    known: dict[int, ObjectMask], monkeypatch: pytest.MonkeyPatch
) -> None:
    with begin() as session:
        session.import_masks(1, known)
        asked, answer = list[object](), session.tracker.answer
        monkeypatch.setattr(
            session.tracker, "answer", lambda *said: asked.append(said[2]) or answer(*said)
        )
        session.add(frame=0, id=1, points=[(30, 30)], replace=True)
        assert asked == [known[0].rle]


def test_without_a_prompt_the_first_mask_with_pixels_is_one() -> None:
    hidden = ObjectMask(empty_rle(HW), 0.1, 0.1, "occluded")
    disc = ObjectMask(mask_to_rle(TRUTH[2][0]), 0.9, 0.9, "visible")
    with begin() as session:
        session.import_masks(1, {1: hidden, 2: disc, 3: disc})
        assert session.prompts(1) == [2]
        assert [session.result(n).objects[1].prompted for n in (1, 2, 3)] == [False, True, False]


def test_a_stream_goes_on_from_what_is_taken_up(known: dict[int, ObjectMask]) -> None:
    with begin(None) as session:
        session.step(IMAGES[0])
        session.step(IMAGES[1])
        session.import_masks(1, {0: known[0]})
        session.add(frame=1, id=1, points=[(32, 30)])
        found = session.step(IMAGES[2])
        assert iou(found.masks[1], TRUTH[2][0]) > 0.7


@pytest.mark.parametrize(
    ("masks", "complaint"),
    [
        ({}, "Invalid masks: 0 masks with 0 different sizes"),
        ({0: (4, 4), 1: (5, 4)}, "Invalid masks: 2 masks with 2 different sizes"),
        ({0: None}, "at least one non-empty mask"),
        ({8: HW}, "frames 8 to 8, but the video has frames 0 to 7"),
        ({-1: HW}, "frames -1 to -1"),
    ],
)
def test_masks_that_do_not_fit_are_refused_and_the_object_stays(
    known: dict[int, ObjectMask], masks: dict[int, tuple[int, int] | None], complaint: str
) -> None:
    rows = {
        frame: ObjectMask(
            empty_rle(HW) if hw is None else mask_to_rle(np.ones(hw, np.bool_)), 1, 1, "visible"
        )
        for frame, hw in masks.items()
    }
    with begin() as session:
        session.import_masks(1, known)
        with pytest.raises(InputError, match=complaint):
            session.import_masks(1, rows)
        assert session.frame_ranges(1) == [(0, 7)]
