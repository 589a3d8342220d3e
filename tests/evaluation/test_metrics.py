"""Overlap, clicks needed, means and their intervals."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from anymask.evaluation.metrics import clicks_needed, cluster_mean, iou, mean_of_means
from anymask.primitives.rle import mask_to_rle, rle_iou

masks = arrays(np.bool_, (7, 5))


def test_iou_is_the_shared_part_of_the_joined_part() -> None:
    truth = np.array([[1, 1, 1, 0]], np.bool_)
    prediction = np.array([[0, 1, 1, 1]], np.bool_)
    assert iou(prediction, truth) == pytest.approx(2 / 4)


def test_ignored_pixels_count_neither_as_right_nor_as_wrong() -> None:
    truth = np.array([[1, 1, 1, 0]], np.bool_)
    prediction = np.array([[0, 1, 1, 1]], np.bool_)
    ignore = np.array([[1, 1, 0, 0]], np.bool_)
    assert iou(prediction, truth, ignore) == pytest.approx(1 / 2)


def test_two_empty_masks_agree() -> None:
    empty = np.zeros((2, 2), np.bool_)
    assert iou(empty, empty) == 1.0
    assert iou(~empty, ~empty, ~empty) == 1.0
    assert iou(empty, ~empty) == 0.0


@given(masks, masks, masks)
def test_iou_with_ignored_pixels_is_iou_of_what_is_left(
    first: np.ndarray, second: np.ndarray, ignore: np.ndarray
) -> None:
    assert iou(first, second, ignore) == iou(first[~ignore], second[~ignore])


@given(masks, masks)
def test_iou_agrees_with_run_lengths(first: np.ndarray, second: np.ndarray) -> None:
    if first.any() or second.any():
        expected = rle_iou([mask_to_rle(first)], [mask_to_rle(second)])[0, 0]
        assert iou(first, second) == pytest.approx(expected)


@given(masks, masks)
def test_iou_leaves_its_arguments_alone(first: np.ndarray, second: np.ndarray) -> None:
    before = first.copy(), second.copy()
    iou(first, second, first)
    assert np.array_equal(first, before[0])
    assert np.array_equal(second, before[1])


def test_clicks_needed_is_the_first_click_that_reaches_the_goal() -> None:
    ious = np.array([[0.2, 0.91, 0.5], [0.85, 0.86, 0.99], [0.1, 0.2, 0.3]])
    assert clicks_needed(ious, 0.85).tolist() == [2, 1, 3]
    assert clicks_needed(ious, 0.90).tolist() == [2, 3, 3]


def test_a_goal_of_exactly_the_iou_is_reached() -> None:
    assert clicks_needed(np.array([[0.5, 0.9]]), 0.9).tolist() == [2]


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


def test_one_photo_has_an_interval_of_no_width() -> None:
    mean = cluster_mean(np.array([0.2, 0.4]), np.array([7, 7]))
    assert (mean.value, mean.low, mean.high) == pytest.approx((0.3, 0.3, 0.3))


def test_a_mean_of_means_weighs_every_set_alike() -> None:
    big = np.full(100, 1.0), np.arange(100)
    small = np.full(2, 0.0), np.arange(2)
    assert mean_of_means([big, small]).value == 0.5


def test_nothing_measured_has_no_mean() -> None:
    assert np.isnan(cluster_mean(np.zeros(0), np.zeros(0, np.int64)).value)
    assert np.isnan(mean_of_means([]).high)


@given(arrays(np.float64, st.integers(1, 30), elements=st.floats(0, 1)), st.integers(1, 5))
def test_the_interval_lies_within_the_values_and_is_the_same_every_time(
    values: np.ndarray, photos: int
) -> None:
    clusters = np.arange(len(values)) % photos
    mean = cluster_mean(values, clusters)
    assert values.min() - 1e-9 <= mean.low <= mean.high <= values.max() + 1e-9
    assert cluster_mean(values, clusters) == mean
