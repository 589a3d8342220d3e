"""Whether another mask of the decoder shows a second object, on masks of a few cells."""

from __future__ import annotations

import numpy as np

from anymask.runtimes.rivals import is_distinct, nearness

SIDE = 20


def boxes(*places: tuple[int, int, int, int]) -> np.ndarray:
    """A mask of rectangles x0, y0, x1, y1, ends excluded."""
    mask = np.zeros((SIDE, SIDE), np.bool_)
    for x0, y0, x1, y1 in places:
        mask[y0:y1, x0:x1] = True
    return mask


ANSWER = boxes((2, 2, 6, 6))  # 16 cells


def test_masks_within_the_answers_box_are_no_rivals() -> None:
    others = np.stack([boxes((3, 3, 5, 5)), boxes((2, 2, 6, 4)), boxes()])
    assert nearness(ANSWER, others) == 1


def test_the_largest_further_part_counts() -> None:
    """The large part reaches to x = 12: 4 x 4 cells of 10 x 4. The speck far off does not count."""
    other = boxes((2, 2, 6, 6), (8, 2, 12, 6), (18, 18, 19, 19))
    assert nearness(ANSWER, other[None]) == 16 / 40


def test_the_mask_that_reaches_farthest_counts() -> None:
    others = np.stack([boxes((6, 2, 7, 6)), boxes((6, 6, 12, 12))])
    assert nearness(ANSWER, others) == 16 / 100


def test_a_frame_is_distinct_where_the_answer_is_good_and_there_is_a_rival() -> None:
    rival, none = boxes((10, 2, 14, 6))[None], boxes((2, 2, 5, 5))[None]
    assert is_distinct(ANSWER, rival, 0.9)
    assert not is_distinct(ANSWER, rival, 0.7)
    assert not is_distinct(ANSWER, none, 0.9)
    assert not is_distinct(boxes(), rival, 0.9)
