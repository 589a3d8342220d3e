"""Of four masks of a lone click, the one of the most expected overlap comes first."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage
from scipy.special import expit, logit, softmax

from anymask.masks import OPENCV, Geometry, ModelSpec, pairwise_box_iou
from anymask.masks.answer import (
    CHOICE_FEATURES,
    expected_iou,
    expected_ious,
    mask_features,
    probabilities,
    rank_masks,
    without_parts,
)
from anymask.models.rules import NanoFamily, open_family

SPEC = ModelSpec(name="small", image_side=64, mask_side=16, family="nano")
NANO = open_family(SPEC)
assert isinstance(NANO, NanoFamily)
WHOLE = Geometry((64, 64), (64, 64), 64)
WIDE = Geometry((90, 160), (36, 64), 64)  # fills 9 of 16 rows of cells
QUALITY = np.array([0.3, 0.9, 0.5, 0.7], np.float32)


def squares(*boxes: tuple[int, int, int, int]) -> np.ndarray:
    """Sure logits of x0, y0, x1, y1 in cells."""
    logits = np.full((len(boxes), 16, 16), -4.0, np.float32)
    for plane, (x0, y0, x1, y1) in zip(logits, boxes, strict=True):
        plane[y0:y1, x0:x1] = 4.0
    return logits


def test_the_facts_of_squares_are_those_of_a_ruler() -> None:
    boxes = [(0, 0, 8, 8), (2, 2, 6, 6), (0, 0, 16, 16), (9, 9, 9, 9)]
    found, shared = mask_features(
        QUALITY, squares(*boxes), np.array([16.5, 16.5], np.float32), WHOLE, SPEC, OPENCV
    )
    table = {name: found[:, n] for n, name in enumerate(CHOICE_FEATURES)}
    assert table["quality"] == pytest.approx(QUALITY)
    assert table["depth"] == pytest.approx([1, 1, 5 / 8, 0], abs=0.02)
    assert table["size"] == pytest.approx(np.log([64 / 256, 16 / 256, 1, 1 / 256]))
    assert table["stability"].tolist() == [1, 1, 1, 0]
    assert table["certain"] == pytest.approx(1 / (1 + np.exp([-4, -4, -4, 4])))
    assert table["rough"] == pytest.approx(np.log([20 / 8, 20 / 4, 4 / 16, 4]))
    assert table["fill"].tolist() == [1, 1, 1, 0]
    assert table["thick"] == pytest.approx([4 / 8, 2 / 4, 8 / 16, 0], abs=0.02)
    away = np.hypot(0.5, 0.5)
    assert table["aside"] == pytest.approx([away / 8, away / 4, np.hypot(3.5, 3.5) / 16, 2])
    assert table["within"] == pytest.approx([(16 / 64 + 1) / 3, 2 / 3, (64 + 16) / 256 / 3, 0])
    assert table["doubt"].tolist() == [0, 0, 0, 0]
    assert found[:, 11:].tolist() == np.eye(4).tolist()
    expected = pairwise_box_iou(np.array(boxes, np.float32), np.array(boxes, np.float32))
    np.fill_diagonal(expected, 1)
    assert shared == pytest.approx(expected)


@given(arrays(np.bool_, (4, 16, 16)), st.integers(0, 15), st.integers(0, 15))
def test_depth_and_middle_are_those_of_scipy(masks: np.ndarray, x: int, y: int) -> None:
    logits = np.where(masks, 3.0, -3.0).astype(np.float32)
    click = np.array([4 * x + 2, 4 * y + 2], np.float32)
    found, _ = mask_features(QUALITY, logits, click, WHOLE, SPEC, OPENCV)
    for mask, row in zip(masks, found, strict=True):
        depth = ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
        assert row[1] == pytest.approx(depth[y, x] / max(depth.max(), 1), abs=0.06)
        if mask.any():
            middle = np.array(ndimage.center_of_mass(mask))[::-1]
            away = np.hypot(*(middle - (x, y))) / np.sqrt(mask.sum())
            assert row[8] == pytest.approx(min(away, 2))


def test_what_lies_beyond_the_photo_does_not_count() -> None:
    boxes = [(0, 0, 4, 4), (2, 2, 9, 9), (0, 0, 16, 9), (5, 1, 6, 9)]
    inside = squares(*boxes)
    beyond = inside.copy()
    beyond[:, 9:] = 7.0
    click = np.array([12, 30], np.float32)
    for one, other in zip(
        *(mask_features(QUALITY, logits, click, WIDE, SPEC, OPENCV) for logits in (inside, beyond)),
        strict=True,
    ):
        assert one == pytest.approx(other)


def test_a_cell_near_the_threshold_is_a_doubt() -> None:
    logits = squares(*[(4, 4, 8, 8)] * 4)
    logits[1, 4, 4:8] = 0.5
    logits[2, 3, 4:8] = -0.5
    found, _ = mask_features(QUALITY, logits, np.array([24, 24], np.float32), WHOLE, SPEC, OPENCV)
    assert found[:, 10] == pytest.approx([0, 4 / 16, 4 / 16, 0])
    assert found[:, 3] == pytest.approx([1, 12 / 16, 16 / 20, 1])


def test_the_chances_are_a_softmax_of_a_network() -> None:
    weights, found = NANO.weights, np.random.default_rng(0).normal(size=(4, len(CHOICE_FEATURES)))
    score = []
    for row in found:
        hidden = [
            np.tanh(
                sum(row * weights.own[:, n])
                + sum(found.mean(0) * weights.mean[:, n])
                + weights.bias[n]
            )
            for n in range(len(weights.bias))
        ]
        score.append(sum(row * weights.direct) + sum(hidden * weights.out))
    assert probabilities(found, weights) == pytest.approx(softmax(score))


def test_two_masks_that_agree_outweigh_a_lone_one_of_slightly_more_chance() -> None:
    shared = np.eye(4)
    shared[1, 2] = shared[2, 1] = 0.9
    likely = np.array([0.4, 0.3, 0.25, 0.05])
    assert expected_ious(likely, shared) == pytest.approx([0.4, 0.525, 0.52, 0.05])
    assert rank_masks(likely, shared)[0] == 1


def test_a_twin_of_the_first_is_spared_before_one_that_stands_alone() -> None:
    shared = np.eye(4)
    shared[0, 1] = shared[1, 0] = 0.95
    assert rank_masks(np.array([0.5, 0.3, 0.1, 0.1]), shared) == [0, 2, 3, 1]


@given(arrays(np.float32, (4, 16, 16), elements=st.floats(-5, 5, width=32)))
def test_masks_come_by_worth_and_so_do_their_scores(logits: np.ndarray) -> None:
    click = np.array([9, 9], np.float32)
    planes, scores, order = NANO.ranked(logits, QUALITY, click, WHOLE)
    parts = without_parts(logits, [(2, 2)], np.inf, SPEC.mask_threshold, OPENCV)
    found, shared = mask_features(QUALITY, parts, click, WHOLE, SPEC, OPENCV)
    likely = probabilities(found, NANO.weights)
    shown = rank_masks(likely, shared)[:3]
    value = expected_ious(likely, shared)
    np.testing.assert_array_equal(planes, parts[shown])
    assert [sorted(shown)[place] for place in order] == shown
    assert value[shown[0]] == value.max()
    assert (np.diff(scores) <= 0).all()
    np.testing.assert_array_equal(scores, expected_iou(QUALITY[shown], value[shown], NANO.tables))


SHARES = arrays(np.float32, 3, elements=st.floats(0, 1, width=32))


@given(SHARES, SHARES, st.floats(0.5, 2), st.floats(-2, 2))
def test_a_score_is_a_logistic_fit_in_this_and_in_earlier_bundles(
    numbers: np.ndarray, value: np.ndarray, factor: float, shift: float
) -> None:
    logits, of_worth = logit(np.clip([numbers, value], 1e-4, 1 - 1e-4).astype(float))
    tables = {"scores": {"factor": factor, "shift": shift}}
    assert expected_iou(numbers, value, tables) == pytest.approx(
        expit(factor * logits + shift), abs=1e-4
    )
    tables["expected"] = {"quality": factor, "worth": 1.5, "shift": shift}
    assert expected_iou(numbers, value, tables) == pytest.approx(
        expit(factor * logits.mean() + 1.5 * of_worth + shift), abs=1e-4
    )
    np.testing.assert_array_equal(expected_iou(numbers, value, {}), numbers)
