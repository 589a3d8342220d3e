"""A click in a mask's middle keeps its quality; one near the edge lowers it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

import anymask
from anymask.predictors.central import EDGE_COST, central_quality, click_depth


@given(arrays(np.bool_, (12, 9)), st.integers(0, 8), st.integers(0, 11))
def test_the_depth_is_the_distance_to_the_edge_as_a_part_of_the_largest(
    mask: np.ndarray, x: int, y: int
) -> None:
    depth = ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    wanted = depth[y, x] / depth.max() if mask[y, x] else 0.0
    assert click_depth(mask, (x, y)) == pytest.approx(wanted, abs=0.04)  # a 5 x 5 approximation


def qualities(numbers: list[float], masks: list[np.ndarray], click: tuple[float, float]) -> list:
    """As `central_quality` gives them, for nano: clicks in 512, masks in 128 pixels."""
    logits = np.where(np.stack(masks), 3.0, -3.0).astype(np.float32)
    spec = anymask.load().spec
    given_click = np.array(click, np.float32)
    return central_quality(np.array(numbers, np.float32), logits, given_click, spec).tolist()


def test_of_two_masks_the_one_with_the_click_in_its_middle_comes_first() -> None:
    part, whole = np.zeros((2, 128, 128), bool)
    part[4:13, 4:13] = True
    whole[4:36, 4:36] = True
    found = qualities([0.7, 0.8], [part, whole], (34, 34))  # the middle of cell 8, 8
    assert found[0] == pytest.approx(0.7)
    assert found[1] == pytest.approx(0.8 - EDGE_COST * (1 - 5 / 16), abs=0.01)


def test_a_mask_that_the_click_is_off_loses_the_whole_cost_and_none_falls_below_zero() -> None:
    empty = np.zeros((128, 128), bool)
    found = qualities([0.1, 0.5], [empty, empty], (512, 512))
    assert found == [0.0, pytest.approx(0.5 - EDGE_COST)]
