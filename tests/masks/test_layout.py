"""Trees and partitions of masks against pixels, and cases worked out by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anymask.base import InputError
from anymask.formats import read_sa1b
from anymask.masks import Mask, Masks, mask_to_rle, part_tree, rle_to_mask
from anymask.masks.relations import Nesting, divide
from tests.formats.truth import box
from tests.masks.strategies import Pixels, mask_lists, quickly, thoroughly


def record(mask: Pixels, quality: float = 0.5) -> Mask:
    return Mask(mask_to_rle(mask), score=quality)


CAR, WHEEL, BOLT, TREE = box(2, 2, 20, 15), box(4, 8, 10, 14), box(6, 10, 8, 12), box(22, 0, 29, 9)


# The tree.


def test_parts_of_parts_hang_in_their_order() -> None:
    rles = [mask_to_rle(mask) for mask in (WHEEL, TREE, CAR, BOLT)]
    assert part_tree(rles) == [Nesting(2, 1), Nesting(None, 0), Nesting(None, 0), Nesting(0, 2)]


def test_a_part_may_stick_out_a_little() -> None:
    mirror = mask_to_rle(box(15, 4, 22, 7))  # five of its seven columns on the car
    car = mask_to_rle(CAR)
    assert part_tree([car, mirror])[1] == Nesting(None, 0)
    assert part_tree([car, mirror], share=0.7)[1] == Nesting(0, 1)


def test_equal_masks_are_no_parts_of_each_other() -> None:
    assert part_tree([mask_to_rle(CAR)] * 2) == [Nesting(None, 0)] * 2


def test_records_carry_their_place_in_the_tree() -> None:
    records = Masks([record(WHEEL), record(CAR)]).tree()
    assert [(r.parent, r.depth) for r in records] == [(1, 1), (None, 0)]
    assert [r.to_sa1b(1).get("parent") for r in records] == [1, None]
    assert [Mask.from_sa1b(r.to_sa1b()) for r in records] == records
    assert "depth" not in record(CAR).to_sa1b()
    rows = records.to_sa1b()
    assert [row.get("parent") for row in rows] == [2, None]  # ids count from 1
    assert read_sa1b(rows) == [*records]
    assert read_sa1b(rows[:1])[0].parent is None


@quickly
@given(mask_lists(most=7), st.sampled_from([0.3, 0.5, 0.8, 1.0]))
def test_the_tree_is_that_of_the_pixels(masks: list[Pixels], share: float) -> None:
    tree = part_tree([mask_to_rle(mask) for mask in masks], share)
    for index, mask in enumerate(masks):
        wholes = [
            (int(other.sum()), place)
            for place, other in enumerate(masks)
            if 0 < mask.sum() < other.sum() and (mask & other).sum() >= share * mask.sum()
        ]
        parent = min(wholes)[1] if wholes else None
        assert tree[index].parent == parent
        assert tree[index].depth == (0 if parent is None else tree[parent].depth + 1)


@pytest.mark.parametrize("share", [0, -1, 1.1, float("nan")])
def test_a_share_that_makes_no_sense_is_refused(share: float) -> None:
    with pytest.raises(InputError, match="Invalid share"):
        part_tree([], share)


# The partition.


@thoroughly
@given(mask_lists(most=6), st.randoms(use_true_random=False))
def test_each_pixel_goes_to_the_first_that_holds_it(masks: list[Pixels], random: object) -> None:
    order = list(range(len(masks)))
    random.shuffle(order)
    shares = divide([mask_to_rle(mask) for mask in masks], order)
    taken = np.zeros(masks[0].shape, np.bool_)
    for index in order:
        np.testing.assert_array_equal(rle_to_mask(shares[index]), masks[index] & ~taken)
        taken |= masks[index]


@quickly
@given(mask_lists(most=6), st.lists(st.floats(0, 1), min_size=6, max_size=6))
def test_a_partition_is_disjoint_and_covers_what_was_covered(
    masks: list[Pixels], qualities: list[float]
) -> None:
    given_ = [record(mask, quality) for mask, quality in zip(masks, qualities, strict=False)]
    shares = Masks(given_).partition()
    times = np.sum([share.mask for share in shares], axis=0)
    np.testing.assert_array_equal(times, np.any(masks, axis=0))
    assert all(share.area == share.mask.sum() > 0 for share in shares)
    assert Masks(shares).coverage == Masks(given_).coverage == np.any(masks, axis=0).mean()
    assert Masks(shares).partition() == shares


def test_a_part_goes_before_its_whole_whatever_its_quality() -> None:
    car, wheel, bolt = Masks([record(CAR, 0.9), record(WHEEL, 0.5), record(BOLT, 0.1)]).partition()
    assert bolt.mask.sum() == BOLT.sum()
    np.testing.assert_array_equal(wheel.mask, WHEEL & ~BOLT)
    np.testing.assert_array_equal(car.mask, CAR & ~WHEEL)
    assert wheel.box == (4, 8, 9, 13)
    assert wheel.score == 0.5


def test_else_the_better_quality_goes_first_and_then_the_smaller_mask() -> None:
    left, right = box(0, 0, 10, 9), box(7, 0, 15, 9)
    worse, better = Masks([record(left, 0.4), record(right, 0.6)]).partition()
    np.testing.assert_array_equal(better.mask, right)
    np.testing.assert_array_equal(worse.mask, left & ~right)
    larger, smaller = Masks([record(left), record(right)]).partition()
    np.testing.assert_array_equal(smaller.mask, right)
    np.testing.assert_array_equal(larger.mask, left & ~right)


def test_no_masks_have_no_layout() -> None:
    assert part_tree([]) == Masks().tree() == Masks().partition() == divide([], []) == []
    assert Masks().coverage == 0
