"""Masklets without prompts: key frames, merging by hand, interruption, files and errors."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from anymask.cli.main import main
from anymask.masks import Mask, Masks, Rle, empty_rle, iou, mask_to_rle
from anymask.segment import Model
from anymask.track import MaskletSettings, TrackedFrame, open_session, propose_masklets
from anymask.track.key_frames import KeyFrames
from anymask.track.masklets import join_tracks, merge_groups, trim
from anymask.track.records import ObjectMask
from tests.evaluation.small_sets import rectangle
from tests.segment.fakes import ColorRuntime
from tests.track.clips import GREEN, RED, moving_discs

HW = (20, 60)
FRAMES = 12
IMAGES, TRUTH = moving_discs(FRAMES, hidden=range(3))  # the red disc appears on frame 3


def square(x: int, side: int = 10) -> Rle:
    return mask_to_rle(rectangle(HW, (x, 0, x + side, side)))


def one(rle: Rle, **more: Any) -> ObjectMask:
    return ObjectMask(rle, more.pop("score", 0.9), 0.9, "visible", **more)


def frames_of(rows: Sequence[dict[int, Rle]]) -> list[TrackedFrame]:
    return [
        TrackedFrame(index, index, 0.0, {number: one(rle) for number, rle in row.items()})
        for index, row in enumerate(rows)
    ]


def test_objects_are_merged_by_their_masks_on_common_frames() -> None:
    left, right, nothing = square(0), square(30), empty_rle(HW)
    rows = [{1: left, 2: right, 3: square(1), 4: nothing}] * 3  # IoU of 1 and 3: 9 / 11
    assert merge_groups(frames_of(rows), 0.8) == [[1, 3]]
    assert merge_groups(frames_of(rows), 0.82) == []
    assert merge_groups(frames_of(rows[:2]), 0.8) == []  # too few common frames
    apart = [*rows, *[{1: left, 3: right}] * 3]  # mean (9 / 11 + 0) / 2
    assert merge_groups(frames_of(apart), 0.8) == []


def test_three_tracks_of_one_object_are_merged_unless_two_of_them_differ() -> None:
    a, b, c = square(0), square(1), square(2)  # 9 / 11, 9 / 11 and 8 / 12
    assert merge_groups(frames_of([{1: a, 2: b, 5: c}] * 3), 0.6) == [[1, 2, 5]]
    (group,) = merge_groups(frames_of([{1: a, 2: b, 5: c}] * 3), 0.7)
    assert len(group) == 2
    in_turn = [{1: a, 2: a}] * 3 + [{2: a, 5: a}] * 3  # 1 and 5 have no common frame
    assert merge_groups(frames_of(in_turn), 0.7) == [[1, 2, 5]]


def test_a_track_begins_after_its_last_gap_and_gaps_of_joined_ones_are_empty() -> None:
    there, gone = one(square(0)), one(empty_rle(HW))
    masks = {0: there, 1: gone, 2: there, 3: there, 4: gone, 5: there}
    assert sorted(trim(masks, 3)) == [2, 3, 4, 5]
    assert sorted(trim(masks, 0)) == [0, 1, 2, 3, 4, 5]
    unsure, sure = one(square(5), doubts=("score",)), one(square(6), score=0.5)
    joined = join_tracks([{0: there, 1: gone, 2: unsure}, {1: there, 2: sure, 4: there}])
    assert [joined[at].area for at in range(5)] == [100, 100, 100, 0, 100]
    assert joined[2] is sure
    assert joined[3].state == "occluded"


class Proposals(Model):
    """A model that proposes the true discs of a frame, and a mask of the whole frame."""

    def everything(self, image: Any, **_: Any) -> Masks:  # type: ignore[override]
        image = image.image  # of an EncodedPhoto
        truth = next(
            truth for source_image, truth in zip(IMAGES, TRUTH, strict=True)
            if np.array_equal(source_image, image)
        )  # fmt: skip
        whole = np.ones(image.shape[:2], np.bool_)
        rles = [mask_to_rle(mask) for mask in (whole, *truth) if mask.any()]
        return Masks([Mask(rle, score=0.9) for rle in rles], image_hw=image.shape[:2])


@pytest.fixture(scope="module")
def model() -> Model:
    return Proposals(ColorRuntime())


SETTINGS = MaskletSettings(key_every=5)


def test_an_object_that_appears_between_key_frames_is_tracked_back(model: Model) -> None:
    seen: list[tuple[int, int | None]] = []
    with open_session(model, IMAGES, tracker="match") as session:
        report = propose_masklets(
            session, model, SETTINGS, lambda done, total: seen.append((done, total))
        )
        assert (report.objects, report.merged, report.short, report.unstable) == (2, 0, 0, 0)
        found = [session.result(frame).objects for frame in range(FRAMES)]
        assert propose_masklets(session, model, SETTINGS) == report  # nothing is computed again
    for frame, objects in enumerate(found):
        assert iou(objects[1].mask, TRUTH[frame][GREEN]) > 0.8, frame
        if frame >= 3:
            assert iou(objects[2].mask, TRUTH[frame][RED]) > 0.8, frame
        else:
            assert 2 not in objects or not objects[2].area
    assert [found[frame][1].prompted for frame in (0, 1)] == [True, False]
    assert seen == sorted(seen)
    assert seen[-1] == (2 * FRAMES, 2 * FRAMES)
    assert seen[-2][0] < 2 * FRAMES


def test_short_and_unstable_objects_are_dropped_and_counted(model: Model) -> None:
    with open_session(model, IMAGES, tracker="match") as session:
        report = propose_masklets(session, model, MaskletSettings(key_every=5, min_frames=10))
        assert (report.objects, report.short) == (1, 1)
        assert session.objects == [1]
    assert str(report) == "1 masklets. Merged duplicates: 0. Dropped: 1 short, 0 unstable"


def test_an_interrupted_run_resumes_with_the_same_result(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_session(model, IMAGES, tracker="match") as session:
        propose_masklets(session, model, SETTINGS)
        expected = [session.result(frame).objects for frame in range(FRAMES)]
    begun: list[int] = []
    whole = KeyFrames.process

    def interrupted(keys: KeyFrames, frame: TrackedFrame) -> None:
        begun.append(frame.index)
        if len(begun) == 2:
            raise KeyboardInterrupt
        whole(keys, frame)

    monkeypatch.setattr(KeyFrames, "process", interrupted)
    kept = tmp_path / "kept.session"
    with (
        pytest.raises(KeyboardInterrupt),
        open_session(model, IMAGES, tracker="match", session=kept) as session,
    ):
        propose_masklets(session, model, SETTINGS)
    with open_session(model, IMAGES, tracker="match", session=kept) as session:
        propose_masklets(session, model, SETTINGS)
        found = [session.result(frame).objects for frame in range(FRAMES)]
    assert begun == [0, 5, 5, 10, 11]  # the interrupted key frame again, the finished one not
    assert found == expected


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--everything", "--box", "1,1,9,9"], "cannot be combined with prompts"),
        (["--everything", "--from", "known.json"], "cannot be combined with prompts"),
        (["--box", "1,1,9,9", "--max-objects", "3"], "--max-objects requires --everything"),
        (["--everything", "--max-objects", "0"], "--max-objects"),
    ],
)
def test_options_that_do_not_fit_are_refused(
    words: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["track", "clip.mkv", *words, "-o", "out.json"]) == 2
    assert told in capsys.readouterr().err
