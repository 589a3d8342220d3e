"""Counts of ghosts and switches, by hand, and the truth of made clips."""

import numpy as np
import pytest

from anymask.masks import Rle, mask_to_rle
from research.made_clips import MadeScene, Sprite, line, scenes, textured
from research.measure_tracks import FrameTruth, IdentityCounts, count_identities


def square(x: int, side: int = 10) -> Rle:
    mask = np.zeros((20, 60), np.bool_)
    mask[:side, x : x + side] = True
    return mask_to_rle(mask)


A, B = square(0), square(20)  # two objects that stand


def test_a_clip_counted_by_hand() -> None:
    truth = FrameTruth({1: A, 2: B})
    frames = [
        (truth, {7: A, 8: B}),
        (truth, {7: A, 8: B, 9: square(40)}),  # 9 never has an object: background
        (truth, {7: B, 8: A}),  # both switch
        (truth, {7: B, 8: square(40)}),  # object 1 missed; 8 is a ghost
        (truth, {5: A, 7: B, 8: square(1)}),  # object 1 switches to 5; 8 is its double, a ghost
    ]
    counts = count_identities(frames)
    assert (counts.frames, counts.required, counts.missed) == (5, 10, 1)
    assert (counts.switches, counts.ghosts) == (3, 2)
    assert counts.tracks == {1: [7, 8, 5], 2: [8, 7]}
    assert count_identities(frames, exhaustive=True).ghosts == 3
    assert "40.00 ghosts and 60.00 switches per 100 frames, 10.0 % of 10" in str(counts)
    whole = IdentityCounts()
    for _ in range(2):
        whole.add(counts)
    assert (whole.frames, whole.ghosts, whole.switches, whole.missed) == (10, 4, 6, 2)


def test_a_part_of_an_object_is_a_ghost_of_any_track() -> None:
    truth = FrameTruth({1: A})
    frames = [
        (truth, {7: A, 8: square(0, 5)}),
        (truth, {7: A, 8: square(6)}),
    ]  # 25 of 25, 40 of 100
    assert count_identities(frames).ghosts == 1


def test_a_pair_stays_together_though_another_track_is_closer() -> None:
    truth = FrameTruth({1: A})
    frames = [(truth, {7: square(2)}), (truth, {7: square(2), 8: A})]
    counts = count_identities(frames)
    assert (counts.switches, counts.ghosts) == (0, 1)  # 8 is a duplicate
    assert counts.tracks == {1: [7]}


def test_an_optional_object_is_neither_missed_nor_a_ghost() -> None:
    hidden = FrameTruth({1: square(0, 3)}, frozenset({1}))
    frames = [(FrameTruth({1: A}), {7: A}), (hidden, {7: square(0, 4)}), (hidden, {})]
    assert count_identities(frames).missed == 0
    assert count_identities(frames).required == 1
    assert count_identities(frames).ghosts == 0
    away = [(FrameTruth({1: A}), {7: A}), (hidden, {7: square(40)})]
    assert count_identities(away).ghosts == 1


def test_a_sprite_in_front_hides_the_one_behind() -> None:
    ground = np.zeros((40, 80, 3), np.uint8)
    back = Sprite(*textured("box", 24, 60, 0), line((20.5, 20.5), (0, 0)), 1)
    front = Sprite(*textured("disc", 24, 120, 1), line((60.5, 20.5), (-4, 0)), 2)
    scene = MadeScene("two", {0: ground}, {0: (back, front)}, 11)
    alone, behind = scene.masks(0), scene.masks(10)
    assert alone[1].sum() == (back.alpha > 0.5).sum()
    assert not (behind[1] & behind[2]).any()
    assert (behind[1] | behind[2]).sum() == (alone[1] | behind[2]).sum()
    assert scene.optional(0) == set()
    assert scene.optional(10) == {1}
    np.testing.assert_array_equal(scene.image(3), scene.image(3))


@pytest.mark.parametrize("scene", scenes(), ids=lambda scene: scene.name)
def test_the_scenes_have_what_they_are_named_for(scene: MadeScene) -> None:
    seen = [set(scene.masks(frame)) for frame in range(scene.frames)]
    if scene.name == "leaving":
        gone = [1 not in numbers for numbers in seen]
        assert (gone[0], gone[15], gone[36]) == (False, True, False)
    elif scene.name == "entering":
        assert (seen[0], seen[36]) == ({1}, {1, 2})
    elif scene.name == "shots":
        assert (seen[29], seen[30]) == ({1}, {2})
    else:
        areas = [int(scene.masks(frame)[1].sum()) for frame in range(scene.frames)]
        assert min(areas) < 0.7 * max(areas)


def test_a_part_turns_with_its_object_and_joins_its_mask() -> None:
    whole = textured("box", 20, 60, 1)
    shape = whole[1] > 0.5
    parts = [
        Sprite(*whole, line((20.5 + 30 * n, 20.5), (0, 0)), 1, lambda frame: (90.0 * frame, 1.0))
        for n in range(2)
    ]
    scene = MadeScene("parts", {0: np.zeros((60, 80, 3), np.uint8)}, {0: tuple(parts)})
    for frame in range(2):
        expected = np.zeros((60, 80), np.bool_)
        for left in (11, 41):
            expected[11:31, left : left + 20] = np.rot90(shape, frame)
        assert (scene.masks(frame)[1] == expected).all()
