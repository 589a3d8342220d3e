"""Boxes against slow loops, OpenCV and shapely."""

import cv2
import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from anymask.masks import boxes as B
from anymask.masks import mask_to_rle, rle_box_xyxy
from tests.masks.strategies import Pixels, boxes, mask_lists, quickly, thoroughly

Array = NDArray[np.float64]


@quickly
@given(boxes(), boxes())
def test_overlaps_equal_shapely(first: Array, second: Array) -> None:
    iou = B.pairwise_box_iou(first, second)
    assert iou.shape == (len(first), len(second))
    for i, a in enumerate(first):
        for j, b in enumerate(second):
            one, two = shapely.box(*a), shapely.box(*b)
            union = one.area + two.area - one.intersection(two).area
            assert iou[i, j] == pytest.approx(one.intersection(two).area / union if union else 0)


@thoroughly
@given(mask_lists())
def test_mask_boxes_equal_the_slow_truth_and_the_run_lengths(given_masks: list[Pixels]) -> None:
    stack = np.stack(given_masks)
    for mask, box in zip(stack, B.mask_to_box(stack), strict=True):
        rows, columns = np.nonzero(mask)
        truth = (columns.min(), rows.min(), columns.max(), rows.max()) if len(rows) else (0,) * 4
        assert tuple(box) == truth == rle_box_xyxy(mask_to_rle(mask))
        np.testing.assert_array_equal(B.mask_to_box(mask), box)


def test_masks_without_pixels_have_boxes_of_zeros() -> None:
    assert B.mask_to_box(np.zeros((2, 0, 5), np.bool_)).tolist() == [[0] * 4] * 2
    assert B.mask_to_box(np.zeros((0, 3, 5), np.bool_)).shape == (0, 4)


def slow_nms(given_boxes: Array, scores: Array, threshold: float) -> list[int]:
    kept: list[int] = []
    for index in sorted(range(len(scores)), key=lambda at: (-scores[at], at)):
        rivals = given_boxes[kept].reshape(-1, 4)
        if (B.pairwise_box_iou(given_boxes[index][None], rivals) <= threshold).all():
            kept.append(index)
    return kept


@quickly
@given(boxes(), st.sampled_from([0.0, 0.3, 0.5, 0.9]), st.integers(0, 999))
def test_suppression_equals_the_slow_truth(given_boxes: Array, limit: float, seed: int) -> None:
    scores = np.random.default_rng(seed).integers(0, 4, len(given_boxes)) / 4  # with ties
    kept = B.box_nms(given_boxes, scores, limit)
    assert kept.tolist() == slow_nms(given_boxes, scores, limit)


def test_suppression_equals_opencv_on_many_boxes() -> None:
    rng = np.random.default_rng(1)
    corners = rng.uniform(0, 300, (400, 2))
    given_boxes = np.concatenate([corners, corners + rng.uniform(5, 80, (400, 2))], axis=1)
    scores = rng.permutation(400) / 400
    xywh = np.hstack([corners, given_boxes[:, 2:] - corners]).tolist()
    theirs = cv2.dnn.NMSBoxes(xywh, (scores + 0.01).tolist(), 0.0, 0.5)
    assert B.box_nms(given_boxes, scores, 0.5).tolist() == np.ravel(theirs).tolist()


def test_only_borders_inside_the_photo_cut_objects_off() -> None:
    crop, image = (0, 0, 100, 100), (100, 300)
    touching = B.boxes_at_crop_edge(
        [[0, 30, 60, 60], [50, 30, 95, 60], [30, 30, 60, 60]], crop, image, tolerance=20
    )
    assert touching.tolist() == [False, True, False]


def test_empty_lists_are_fine() -> None:
    assert B.box_area([]).shape == (0,)
    assert B.pairwise_box_iou([], [[0, 0, 1, 1]]).shape == (0, 1)
    assert B.box_nms([], [], 0.5).shape == (0,)
    assert B.boxes_at_crop_edge([], (0, 0, 1, 1), (1, 1)).shape == (0,)
