"""Of several masks that may be meant, the one that overlaps the likely ones comes first."""

import numpy as np
import pytest

from anymask.predictors.expected import DOUBT, expected_quality, overlaps
from anymask.primitives.boxes import pairwise_box_iou


def squares(*sides: int, at: tuple[int, int] = (0, 0)) -> np.ndarray:
    logits = np.full((len(sides), 16, 16), -4.0, np.float32)
    for plane, side in zip(logits, sides, strict=True):
        plane[at[1] : at[1] + side, at[0] : at[0] + side] = 4.0
    return logits


def test_overlaps_are_those_of_boxes() -> None:
    boxes = np.array([[0, 0, 4, 4], [0, 0, 8, 8], [0, 0, 10, 10]], np.float32)
    wanted = pairwise_box_iou(boxes, boxes)
    assert overlaps(squares(4, 8, 10) > 0) == pytest.approx(wanted)


def test_an_empty_mask_overlaps_only_itself() -> None:
    assert overlaps(squares(0, 4, 0) > 0).tolist() == np.eye(3).tolist()


def test_two_masks_that_agree_outweigh_a_lone_one_of_slightly_higher_quality() -> None:
    quality = np.array([0.72, 0.7, 0.7], np.float32)
    found = expected_quality(quality, squares(2, 12, 12), 0.0)
    assert found.argmax() in (1, 2)
    chances = np.exp((quality - 0.72) / DOUBT)
    chances /= chances.sum()
    small = (2 * 2) / (12 * 12)
    alone = chances[0] * 0.72 + small * (chances[1] + chances[2]) * 0.7
    agreed = (chances[1] + chances[2]) * 0.7 + small * chances[0] * 0.72
    assert found == pytest.approx([0.72 * alone / agreed, 0.72, 0.72], rel=1e-5)


def test_a_mask_of_far_higher_quality_stays_first() -> None:
    found = expected_quality(np.array([0.95, 0.4, 0.4], np.float32), squares(2, 12, 12), 0.0)
    assert found.argmax() == 0
    assert found.max() == pytest.approx(0.95)


def test_nothing_of_any_quality_stays_as_it_is() -> None:
    assert expected_quality(np.zeros(3, np.float32), squares(2, 3, 4), 0.0).tolist() == [0, 0, 0]
