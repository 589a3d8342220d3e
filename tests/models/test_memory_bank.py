"""Which memories and pointers a frame reads: the rules of sam2's own code, written out."""

import numpy as np
import pytest

from anymask.models.rules import (
    Memory,
    MemoryBank,
    MemorySelection,
    TrackingSettings,
    VideoMoment,
    longest_pointer,
)


def memory(frame: int) -> Memory:
    return Memory(frame, np.full((1, 2, 4), float(frame)), np.full((1, 8), float(frame)))


def bank(prompted: list[int], tracked: list[int]) -> MemoryBank:
    return MemoryBank({f: memory(f) for f in prompted}, {f: memory(f) for f in tracked})


def frames(selection: MemorySelection) -> list[tuple[int, int]]:
    return [(steps, one.frame) for steps, one in selection.memories]


def pointers(selection: MemorySelection) -> list[tuple[int, int]]:
    return [(age, int(pointer[0, 0])) for age, pointer in selection.pointers]


def test_a_frame_reads_the_prompted_frame_and_the_six_before_it() -> None:
    chosen = bank([0], list(range(1, 10))).select(VideoMoment(10), TrackingSettings())
    assert frames(chosen) == [(0, 0), (6, 4), (5, 5), (4, 6), (3, 7), (2, 8), (1, 9)]
    assert pointers(chosen) == [(10, 0), *((age, 10 - age) for age in range(1, 10))]


def test_backwards_it_reads_what_comes_after_and_no_pointer_of_the_past() -> None:
    chosen = bank([0], [5, 6, 7]).select(VideoMoment(4, backward=True), TrackingSettings())
    assert frames(chosen) == [(0, 0), (3, 7), (2, 6), (1, 5)]
    assert pointers(chosen) == [(1, 5), (2, 6), (3, 7)]


@pytest.mark.parametrize(("backward", "ages"), [(False, [10, -2]), (True, [2, -10])])
def test_pointers_of_later_prompts_are_read_when_the_settings_say_so(
    backward: bool, ages: list[int]
) -> None:
    known = bank([0, 12], [])
    read = known.select(VideoMoment(10, backward), TrackingSettings(future_pointers=True))
    assert sorted(age for age, _ in pointers(read)) == sorted(ages)
    distances = TrackingSettings(future_pointers=True, pointer_times="distance")
    assert {age for age, _ in pointers(known.select(VideoMoment(10, backward), distances))} == {
        2,
        10,
    }
    assert len(known.select(VideoMoment(10, backward), TrackingSettings()).pointers) == 1


def test_with_a_stride_the_last_frame_and_every_third_before_it_are_read() -> None:
    settings = TrackingSettings(frames=4, stride=3)
    forward = bank([0], list(range(1, 20))).select(VideoMoment(20), settings)
    assert frames(forward) == [(0, 0), (3, 15), (2, 18), (1, 19)]
    backward = bank([30], list(range(1, 30))).select(VideoMoment(7, backward=True), settings)
    assert frames(backward) == [(0, 30), (3, 12), (2, 9), (1, 8)]


def test_of_many_prompted_frames_the_last_the_next_and_the_nearest_are_read() -> None:
    settings = TrackingSettings(prompted_limit=3, frames=3)
    chosen = bank([0, 4, 8, 9, 30], []).select(VideoMoment(10), settings)
    # The prompted frame 8 was passed over, so it counts as an ordinary one two steps ago.
    assert frames(chosen) == [(0, 9), (0, 30), (0, 8)]
    chosen = bank([0, 4, 8, 9, 11, 30], []).select(VideoMoment(10), settings)
    assert frames(chosen) == [(0, 9), (0, 11), (0, 8)]
    chosen = bank([0, 8, 9, 11], []).select(VideoMoment(10), TrackingSettings(prompted_limit=2))
    assert frames(chosen) == [(0, 9), (0, 11), (2, 8)]


def test_a_short_video_limits_the_age_of_pointers() -> None:
    assert longest_pointer(VideoMoment(3, length=6), TrackingSettings()) == 5
    assert longest_pointer(VideoMoment(3, length=600), TrackingSettings()) == 15
    assert longest_pointer(VideoMoment(3), TrackingSettings()) == 15


def test_a_prompted_frame_takes_the_place_of_a_tracked_one() -> None:
    known = bank([0], [1, 2]).with_prompted(memory(2))
    assert (set(known.prompted), set(known.tracked)) == ({0, 2}, {1})
    assert set(known.with_tracked(memory(3)).without([1]).tracked) == {3}


@pytest.mark.parametrize("backward", [False, True])
def test_what_is_kept_gives_every_later_frame_the_same_selection(backward: bool) -> None:
    settings = TrackingSettings()
    known, at = bank([50], list(range(100))), VideoMoment(50, backward)
    kept = known.kept(at, settings)
    assert len(kept.tracked) == settings.pointers
    for steps in range(1, 30):
        later = VideoMoment(at.before(-steps), backward)
        seen = known.without(f for f in known.tracked if at.age(f) < 0)
        assert frames(kept.select(later, settings)) == frames(seen.select(later, settings))
        assert pointers(kept.select(later, settings)) == pointers(seen.select(later, settings))


def test_gaps_are_filled_by_the_newest_memories_when_the_settings_say_so() -> None:
    """Frames 6 to 9 were not remembered: of the six places, none but the oldest two is filled."""
    known = bank([0], [1, 2, 3, 4, 5])
    assert frames(known.select(VideoMoment(10), TrackingSettings())) == [(0, 0), (6, 4), (5, 5)]
    filled = known.select(VideoMoment(10), TrackingSettings(fill_gaps=True))
    assert frames(filled) == [(0, 0), (5, 1), (4, 2), (3, 3), (2, 4), (1, 5)]
    three = TrackingSettings(fill_gaps=True, frames=4)
    assert frames(known.select(VideoMoment(10), three)) == [(0, 0), (3, 3), (2, 4), (1, 5)]


@pytest.mark.parametrize("backward", [False, True])
def test_what_fills_gaps_is_kept_however_old_it_grows(backward: bool) -> None:
    """A long stretch in which nothing was sure: the last memories before it are still there."""
    settings = TrackingSettings(fill_gaps=True)
    known, at = bank([50], list(range(45, 56))), VideoMoment(50, backward)
    kept = known.kept(at, settings)
    late = VideoMoment(at.before(-500), backward)
    seen = known.without(f for f in known.tracked if at.age(f) < 0)
    assert len(kept.select(late, settings).memories) == 7
    assert frames(kept.select(late, settings)) == frames(seen.select(late, settings))
    assert len(kept.kept(late, settings).tracked) <= settings.frames
