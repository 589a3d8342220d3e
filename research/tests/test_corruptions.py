"""Masks made wrong are wrong in the way that is named."""

import numpy as np
import pytest

from research.audit.corruptions import CORRUPTIONS, corrupt
from tests.evaluation.small_sets import rectangle

HW = (80, 100)
MASK = rectangle(HW, (20, 20, 60, 50))
OTHERS = (rectangle(HW, (70, 20, 95, 50)), rectangle(HW, (0, 70, 90, 80)))


def made(kind: str, mask: np.ndarray = MASK, others: tuple = OTHERS) -> object:
    elsewhere = rectangle((40, 50), (0, 0, 10, 10))
    return corrupt(kind, mask, others, elsewhere, np.random.default_rng(1))


@pytest.mark.parametrize("kind", CORRUPTIONS)
def test_every_kind_changes_the_mask_and_leaves_the_original(kind: str) -> None:
    before = MASK.copy()
    mask = before.copy()
    if kind == "coarse":
        mask[25, 60:64] = True  # a thorn that a coarse outline cuts off
        before = mask.copy()
    found = made(kind, mask)
    assert found.mask.shape == HW
    assert found.mask.any()
    assert (found.mask != mask).any()
    np.testing.assert_array_equal(mask, before)


def test_sizes_are_as_named() -> None:
    assert made("dilated").mask.sum() > MASK.sum() > made("eroded").mask.sum()
    half = made("halved").mask
    assert not (half & ~MASK).any()
    assert 0.4 < half.sum() / MASK.sum() < 0.6
    moved = made("shifted").mask
    assert moved.sum() == MASK.sum()
    distance = np.hypot(*(np.argwhere(moved).mean(0) - np.argwhere(MASK).mean(0)))
    assert distance == pytest.approx(0.25 * np.sqrt(MASK.sum()), abs=1)


def test_a_merged_neighbour_is_gone() -> None:
    found = made("merged")
    np.testing.assert_array_equal(found.mask, MASK | OTHERS[0])
    assert len(found.others) == 1
    np.testing.assert_array_equal(found.others[0], OTHERS[1])
    assert made("merged", others=()) is None


def test_a_mask_of_another_photo_takes_its_place_there() -> None:
    np.testing.assert_array_equal(made("swapped").mask, rectangle(HW, (0, 0, 20, 20)))
    assert corrupt("swapped", MASK, (), None, np.random.default_rng(1)) is None
