"""Recall after each step, on masks drawn by hand."""

from dataclasses import replace

import numpy as np
import pytest

from anymask.masks import Mask, mask_to_rle
from anymask.segment import MaskFilter
from research.measure_selection import STEPS, hits, steps, table


def square(x: int, y: int, side: int, objectness: float) -> Mask:
    mask = np.zeros((100, 100), np.bool_)
    mask[y : y + side, x : x + side] = True
    return replace(Mask(mask_to_rle(mask), score=0.9), objectness=objectness)


OBJECT, COPY, PART = square(0, 0, 20, 0.9), square(1, 0, 20, 0.5), square(5, 5, 10, 0.08)
WALL, WEAK = square(50, 50, 30, 0.01), square(0, 50, 20, 0.11)
SETTINGS = MaskFilter(min_objectness=0.05, max_containment=0.9, nms_iou=0.4)


def test_each_step_removes_its_masks() -> None:
    found = [OBJECT, COPY, PART, WALL, WEAK]
    left = steps(found, SETTINGS)
    assert [len(some) for some in left] == [5, 4, 3, 2, 2]
    assert left[1] == [OBJECT, COPY, PART, WEAK]
    assert left[2] == [OBJECT, COPY, WEAK]  # the part has less than a tenth of 0.9
    assert left[3] == [OBJECT, WEAK]
    clear = [replace(one, objectness=0.9) for one in (square(70, 0, 20, 1), square(70, 70, 20, 1))]
    assert steps([*clear, *found], SETTINGS)[-1] == [*clear, OBJECT]  # 0.6 * 0.7025^3 > 0.11


def test_an_object_is_found_from_an_iou_of_a_half() -> None:
    truth = square(0, 0, 10, 1.0).rle
    grid = np.zeros((100, 100), np.bool_)
    grid[:10, :5] = True
    assert hits([mask_to_rle(grid)], [truth]).tolist() == [True]
    grid[9, 4] = False
    assert hits([mask_to_rle(grid)], [truth]).tolist() == [False]
    assert hits([], [truth]).tolist() == [False]


def test_the_table_counts_objects_by_size() -> None:
    small, large = [0.001, *[1.0] * 8], [0.3, 1, 1, 1, 0, 0, 1, 0, 1]
    text = table(np.array([small, large, large]), [[9, 7, 5, 3, 1], [11, 9, 7, 5, 3]])
    lines = text.splitlines()
    assert lines[2].startswith("| 0.0% to 100.0% | 3 | 1.000 | 1.000 | 1.000 | 0.333 | 0.333 |")
    assert lines[3].startswith("| 0.0% to 0.2% | 1 | 1.000")
    assert lines[4].startswith("| 5.0% to 100.0% | 2 | 1.000 | 1.000 | 1.000 | 0.000 | 0.000 |")
    assert lines[5] == "| masks per image |  | 10.0 | 8.0 | 6.0 | 4.0 | 2.0 |  |  |  |"
    assert len({line.count("|") for line in lines}) == 1


@pytest.mark.parametrize("name", STEPS)
def test_the_columns_are_named(name: str) -> None:
    assert name in table(np.zeros((1, 9)), [[0] * 5])
