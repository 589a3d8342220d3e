"""Objects followed through a video: whatever is said, and whenever, the masks are the discs."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import anymask
from anymask.base import InputError, PromptError
from anymask.segment import Model
from anymask.track import TrackedFrame, VideoSession, open_session, review_text
from tests.segment.fakes import ColorRuntime, iou
from tests.track.clips import moving_discs, write_video
from tests.track.holdings import held_by

MODEL = Model(ColorRuntime())
IMAGES, TRUTH = moving_discs(16)
START = (30, 30)  # on the first disc in frame 0
OTHER = (100, 70)  # on the second one


def begin(source: object = None, **settings: object) -> VideoSession:
    return open_session(MODEL, IMAGES if source is None else source, **settings)


def rles(frames: list[TrackedFrame]) -> list[dict[int, object]]:
    return [{number: one.rle for number, one in frame.objects.items()} for frame in frames]


def assert_followed(frames: list[TrackedFrame], objects: dict[int, int]) -> None:
    """Args:
    objects: Object number -> index of the disc.
    """
    for frame in frames:
        assert set(frame.objects) == set(objects)
        for number, disc in objects.items():
            assert iou(frame.masks[number], TRUTH[frame.index][disc]) > 0.7, (frame.index, number)


def test_files_lists_generators_and_steps_give_the_same_masks(tmp_path: Path) -> None:
    def followed(source: object) -> list[dict[int, object]]:
        with begin(source) as session:
            session.add(frame=0, points=[START])
            return rles(list(session))

    expected = followed(IMAGES)
    assert followed(write_video(tmp_path / "clip.mkv", IMAGES)) == expected
    assert followed(iter(IMAGES)) == expected
    with open_session(MODEL, None) as session:
        first = session.step(IMAGES[0])
        assert first.objects == {}
        session.add(frame=0, points=[START])
        last_step = [session.result(0), *(session.step(image) for image in IMAGES[1:])]
    assert rles(last_step) == expected


def test_an_object_that_is_added_later_leaves_the_others_alone() -> None:
    with begin() as session:
        session.add(frame=0, id=1, points=[START])
        alone = rles(list(session))
        session.add(frame=6, id=2, box=(79, 55, 110, 86))
        both = list(session)
    assert [frame[1] for frame in rles(both)] == [frame[1] for frame in alone]
    assert [frame.index for frame in both if 2 in frame.objects] == list(range(6, 16))
    assert_followed(both[6:], {1: 0, 2: 1})


def test_a_removed_object_is_gone_and_the_other_one_stays() -> None:
    with begin() as session:
        session.add(frame=0, id=1, points=[START])
        session.add(frame=0, id=2, points=[OTHER])
        before = rles(list(session))
        session.remove(1)
        after = rles(list(session))
    assert [set(frame) for frame in after] == [{2}] * 16
    assert [frame[2] for frame in after] == [frame[2] for frame in before]


def test_a_correction_counts_from_its_frame_to_the_next_prompt() -> None:
    """On frame 5 the first object is said to be the second disc; on frame 10 the first again."""
    with begin() as session:
        session.add(frame=0, points=[START])
        session.add(frame=10, mask=TRUTH[10][0])
        before = rles(list(session))
        session.add(frame=5, mask=TRUTH[5][1])
        after = list(session)
    assert rles(after)[:2] == before[:2]  # nearer to frame 0; the next ones are tracked back
    assert rles(after)[10:] == before[10:]
    for frame in after[4:10]:
        assert iou(frame.masks[1], TRUTH[frame.index][1]) > 0.7


def test_a_correction_is_carried_back_to_the_prompt_before_it() -> None:
    """On frame 8 the first object is said to be the second disc: 1 to 7 follow it backwards."""
    with begin() as session:
        session.add(frame=0, id=1, points=[START])
        list(session)
        session.add(frame=8, id=1, mask=TRUTH[8][1])
        list(session)
        session.forget_before(1, 8)
        assert session.frame_ranges(1) == [(0, 0), (8, 15)]
        seen = [frame.index for frame in session.propagate("backward")]
        frames = list(session.results())
        with pytest.raises(InputError, match=r"no prompt on frame 3. It has prompts on \[0, 8\]"):
            session.forget_before(1, 3)
    assert set(range(1, 8)) <= set(seen)
    assert_followed(frames[:1], {1: 0})
    assert_followed(frames[1:], {1: 1})


def test_a_session_goes_on_in_another_thread() -> None:
    with begin() as session, ThreadPoolExecutor(1) as elsewhere:
        session.add(frame=0, points=[START])
        alone = rles(list(session.propagate(stop=4)))
        assert elsewhere.submit(lambda: rles(list(session.propagate(stop=4)))).result() == alone
        elsewhere.submit(session.add, frame=0, id=2, points=[OTHER]).result()
        assert_followed(list(session), {1: 0, 2: 1})


def test_only_what_a_correction_changed_is_looked_at_again() -> None:
    looked: list[int] = []

    class Counting(ColorRuntime):
        def encode_images(self, images: np.ndarray) -> list:
            looked.append(len(looked))
            return super().encode_images(images)

    with open_session(Model(Counting()), IMAGES) as session:
        session.add(frame=0, points=[START])
        list(session)
        assert len(looked) == 16
        list(session)
        assert len(looked) == 16
        session.add(frame=12, mask=TRUTH[12][1])
        list(session)
    assert len(looked) <= 16 + 4 + 16  # frames 12 to 15, and back from 12 to 0


def test_a_prompt_that_is_taken_back_is_forgotten() -> None:
    with begin() as session:
        session.add(frame=0, points=[START])
        before = rles(list(session))
        session.add(frame=5, mask=TRUTH[5][1])
        list(session)
        session.remove_prompts(1, 5)
        assert rles(list(session)) == before
        with pytest.raises(InputError, match=r"Object 1 has no prompt on frame 5.*\[0\]"):
            session.remove_prompts(1, 5)


def test_a_killed_session_goes_on_from_its_last_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("anymask.track.session.CHECKPOINT_FRAMES", 4)
    with begin() as session:
        session.add(frame=0, points=[START])
        expected = rles(list(session))
    path = tmp_path / "clip.session"
    killed = begin(session=path)
    killed.add(frame=0, points=[START])
    frames = killed.propagate()
    for _ in range(10):
        next(frames)
    monkeypatch.setattr(killed, "checkpoint", lambda: None)
    killed._store.close()  # nothing is written any more, as after a kill
    with begin(session=path) as session:
        done = max(session._store.frames())
        assert 4 <= done < 10
        assert rles(list(session)) == expected


def test_another_model_does_not_go_on_with_a_session(tmp_path: Path) -> None:
    path = tmp_path / "clip.session"
    begin(session=path).close()
    with pytest.raises(InputError, match="Load the same model"):
        anymask.load().track(IMAGES, session=path, tracker="match")


def test_a_hidden_object_is_occluded_then_lost_then_back() -> None:
    images, truth = moving_discs(16, hidden=range(5, 10))
    with begin(images, lost_after=3) as session:
        session.add(frame=0, points=[START])
        frames = list(session)
        doubts = {frame: doubts for frame, _, doubts in session.frames_to_review()}
    states = [frame.objects[1].state for frame in frames]
    assert states[:5] == ["visible"] * 5
    assert states[5:7] == ["occluded"] * 2
    assert states[7:10] == ["lost"] * 3
    assert states[10] == "back"
    assert all(frame.objects[1].area == 0 for frame in frames[5:10])
    for frame in frames[10:]:
        assert iou(frame.masks[1], truth[frame.index][0]) > 0.7
    assert "gone" in doubts[5]
    assert "back" in doubts[10]


def test_another_shot_is_told() -> None:
    other = [np.roll(255 - image, 40, axis=0) for image in IMAGES[8:]]
    with begin([*IMAGES[:8], *other]) as session:
        session.add(frame=0, points=[START])
        frames = list(session)
    cut = [frame.index for frame in frames if "cut" in frame.objects[1].doubts]
    assert cut == [8]


def test_a_long_stream_keeps_nothing_that_grows() -> None:
    def endless() -> Iterator[np.ndarray]:
        return itertools.islice(itertools.cycle([*IMAGES, *reversed(IMAGES)]), 100)

    with begin(endless()) as session:
        session.add(frame=0, points=[START])
        for frame in session:
            if frame.index == 40:
                early = held_by(session)
        assert early.count > 10
        assert held_by(session) == early


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"frame": 99, "points": [START]}, "Frame 99 is not available: frames 0 to 15"),
        ({"frame": -1, "points": [START]}, "Invalid frame"),
        ({"frame": 0}, "prompt is empty"),
        ({"id": 1.5, "points": [START]}, "Invalid id 1.5"),
    ],
)
def test_a_wrong_prompt_is_refused(wrong: dict[str, object], message: str) -> None:
    with begin() as session, pytest.raises((InputError, PromptError), match=message):
        session.add(**wrong)


def test_following_nothing_is_refused() -> None:
    with begin() as session, pytest.raises(InputError, match="No object to track"):
        list(session)
    with begin() as session, pytest.raises(InputError, match="Invalid direction"):
        list(session.propagate("sideways"))  # type: ignore[arg-type]


def test_a_resolution_that_changes_is_followed() -> None:
    """Odd sizes, and an alpha channel, too."""
    large = [np.repeat(np.repeat(image, 2, axis=0), 2, axis=1)[:-1, :-1] for image in IMAGES]
    mixed = [*IMAGES[:3], *large[3:6]]
    mixed[1] = np.dstack([mixed[1], np.full(mixed[1].shape[:2], 255, np.uint8)])
    with begin(mixed) as session:
        session.add(frame=0, points=[START])
        frames = list(session)
    assert [frame.masks[1].shape for frame in frames] == [(96, 128)] * 3 + [(191, 255)] * 3
    for frame in frames[:3]:
        assert iou(frame.masks[1], TRUTH[frame.index][0]) > 0.7
    for frame in frames[3:]:
        assert iou(frame.masks[1][::2, ::2], TRUTH[frame.index][0]) > 0.7
        assert frame.objects[1].doubts == ()


def test_the_threads_of_a_model_are_shared_between_the_frame_and_the_next_one() -> None:
    runtime = anymask.load().runtime
    assert runtime.threads
    for threads, each in ((1, 1), (2, 1), (3, 2)):
        with open_session(Model(runtime.with_threads(threads)), IMAGES) as session:
            assert session.tracker.model.runtime.threads == each  # type: ignore[attr-defined]


def test_masks_that_disagree_with_looks_and_motion_are_told_and_learned_from() -> None:
    found = []
    for least in (0.0, 1.0):
        with begin(least_agreement=least) as session:
            session.add(frame=0, points=[START])
            found.append(list(session))
    never, always = found
    assert not any("unclear" in frame.objects[1].doubts for frame in never)
    assert all("unclear" in frame.objects[1].doubts for frame in always[1:])
    for one, other in zip(never, always, strict=True):
        np.testing.assert_array_equal(one.masks[1], other.masks[1])


def test_several_clicks_are_decoded_one_after_the_other_as_for_a_photo() -> None:
    """At once or one by one, in a clip and on a slice: the mask is that of `Model.segment`."""
    model = anymask.load("nano")
    image = np.random.default_rng(5).integers(0, 60, (96, 128, 3), dtype=np.uint8)
    image[20:70, 30:90] += 150
    image[40:50, 30:90, :] -= 90
    clicks, kinds = [(40, 30), (80, 60), (60, 45)], [1, 1, 0]
    at_once = model.segment(image, points=clicks, point_labels=kinds)
    with open_session(model, [image]) as session:
        one = session.add(0, points=clicks, labels=kinds)
        assert iou(one.mask, at_once.masks[0]) > 0.99
        for number, (click, kind) in enumerate(zip(clicks, kinds, strict=True)):
            last = session.add(0, 2, points=[click], labels=[kind], replace=not number)
        assert (last.mask == one.mask).all()


def test_frames_to_review_are_told_as_ranges() -> None:
    rows = [(16, 1, ("unclear",)), (17, 1, ("unclear",)), (18, 2, ("area",)), (21, 1, ("area",))]
    rows += [(frame, 1, ("unclear",)) for frame in range(22, 26)]
    assert review_text(rows) == (
        "16-17, 22-25 (object 1: unclear); 18 (object 2: area); 21 (object 1: area)"
    )
    odd = [(frame, 1, ("unclear",)) for frame in range(1, 24, 2)]  # all twelve: nothing is cut
    assert review_text(odd) == "1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23 (object 1: unclear)"
