"""Clicks needed, means and their intervals, boundary IoU."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from anymask.evaluation.metrics import (
    boundary_iou,
    clicks_needed,
    cluster_mean,
    inner_rim,
    mean_of_means,
)
from tests.evaluation.small_sets import rectangle

small_masks = arrays(np.bool_, st.tuples(st.integers(1, 8), st.integers(1, 9)))


def test_clicks_needed_is_the_first_click_that_reaches_the_goal() -> None:
    ious = np.array([[0.2, 0.91, 0.5], [0.85, 0.86, 0.99], [0.1, 0.2, 0.3]])
    assert clicks_needed(ious, 0.85).tolist() == [2, 1, 3]
    assert clicks_needed(ious, 0.90).tolist() == [2, 3, 3]
    assert clicks_needed(ious, 0.91).tolist() == [2, 3, 3]


def test_the_mean_weighs_every_mask_and_the_interval_holds_it() -> None:
    values = np.array([1.0, 1.0, 1.0, 0.0])
    mean = cluster_mean(values, np.array([0, 0, 0, 1]))
    assert mean.value == 0.75
    assert mean.low < 0.75 < mean.high


def test_masks_of_one_photo_say_less_than_masks_of_many() -> None:
    values = np.tile([0.0, 1.0], 20)
    apart = cluster_mean(values, np.arange(40))
    together = cluster_mean(values, np.tile([0, 1], 20))
    assert together.high - together.low > 2 * (apart.high - apart.low)


def test_a_mean_of_means_weighs_every_set_alike() -> None:
    big = np.full(100, 1.0), np.arange(100)
    small = np.full(2, 0.0), np.arange(2)
    assert mean_of_means([big, small]).value == 0.5


def test_nothing_measured_has_no_mean() -> None:
    assert np.isnan(cluster_mean(np.zeros(0), np.zeros(0, np.int64)).value)
    assert np.isnan(mean_of_means([]).high)


@given(arrays(np.float64, st.integers(1, 30), elements=st.floats(0, 1)), st.integers(1, 5))
def test_the_interval_lies_within_the_values_and_is_the_same_every_time(
    values: np.ndarray, images: int
) -> None:
    clusters = np.arange(len(values)) % images
    mean = cluster_mean(values, clusters)
    assert values.min() - 1e-9 <= mean.low <= mean.high <= values.max() + 1e-9
    assert cluster_mean(values, clusters) == mean


# Boundary IoU, against a slow way that looks at every pixel's neighbours.


def slow_rim(mask: np.ndarray, width: int) -> np.ndarray:
    """Pixels of the mask with something outside it, or outside the photo, in a square around."""
    height, columns = mask.shape
    rim = np.zeros_like(mask)
    for y, x in np.argwhere(mask):
        rim[y, x] = any(
            not (0 <= v < height and 0 <= u < columns) or not mask[v, u]
            for v in range(y - width, y + width + 1)
            for u in range(x - width, x + width + 1)
        )
    return rim


@given(small_masks, st.integers(1, 4))
def test_the_rim_is_that_of_the_slow_way(mask: np.ndarray, width: int) -> None:
    assert np.array_equal(inner_rim(mask, width), slow_rim(mask, width))


def test_a_large_mask_is_judged_by_its_outline() -> None:
    hw = (300, 400)  # the rim is 10 pixels wide
    truth, found = rectangle(hw, (0, 0, 200, 200)), rectangle(hw, (0, 0, 190, 200))
    frame = 200 * 200 - 180 * 180  # of the truth; the right 10 columns are missed
    common = frame - 10 * 200
    extra = 10 * 180  # what takes their place, further in
    assert boundary_iou(truth, truth) == 1
    assert boundary_iou(found, truth) == pytest.approx(common / (frame + extra))  # their IoU: .95
