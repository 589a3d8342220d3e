"""J and F by hand, and the statistics that DAVIS makes of them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra.numpy import arrays

from anymask.base import InputError
from anymask.evaluation import score_track
from anymask.evaluation.video_metrics import (
    TrackScores,
    TrackStatistics,
    mean_track,
    outline_f,
    summarise_track,
)
from tests.evaluation.small_sets import rectangle

HW = (60, 80)  # the diagonal is 100, the tolerance one pixel
masks = arrays(np.bool_, (7, 9))


def slow_outline(mask: np.ndarray) -> set[tuple[int, int]]:
    """Pixels whose right, lower or lower right neighbour in the picture differs."""
    height, width = mask.shape
    return {
        (y, x)
        for y in range(height)
        for x in range(width)
        for v, u in ((y, x + 1), (y + 1, x), (y + 1, x + 1))
        if v < height and u < width and mask[y, x] != mask[v, u]
    }


@given(masks, masks)
def test_f_is_that_of_the_published_definition(found: np.ndarray, truth: np.ndarray) -> None:
    ours, theirs = slow_outline(found), slow_outline(truth)

    def near(point: tuple[int, int], others: set[tuple[int, int]]) -> bool:
        return any((point[0] - y) ** 2 + (point[1] - x) ** 2 <= 4 for y, x in others)

    if not ours or not theirs:
        expected = float(not ours and not theirs)
    else:
        precision = np.mean([near(point, theirs) for point in ours])
        recall = np.mean([near(point, ours) for point in theirs])
        both = precision + recall
        expected = 2 * precision * recall / both if both else 0.0
    assert outline_f(found, truth, share=0.15) == pytest.approx(expected)  # 2 pixels


@pytest.mark.parametrize(("shift", "f"), [(0, 1.0), (1, 1.0), (2, None)])
def test_an_outline_may_be_off_by_the_tolerance(shift: int, f: float | None) -> None:
    truth = rectangle(HW, (20, 20, 50, 40))
    found = rectangle(HW, (20 + shift, 20, 50 + shift, 40))
    value = outline_f(found, truth)
    assert value == f if f is not None else 0.5 < value < 0.7  # only the long sides are found


def test_empty_masks_agree_and_an_object_that_is_lost_scores_nothing() -> None:
    empty, mask = np.zeros(HW, np.bool_), rectangle(HW, (5, 5, 20, 20))
    assert (outline_f(empty, empty), outline_f(empty, mask), outline_f(mask, empty)) == (1, 0, 0)
    assert outline_f(mask, empty, void=mask) == 1


def test_the_ends_do_not_count() -> None:
    mask, empty = rectangle(HW, (5, 5, 25, 25)), np.zeros(HW, np.bool_)
    half = rectangle(HW, (5, 5, 25, 15))
    scores = score_track([empty, mask, half, empty], [mask] * 4)
    assert scores.j == TrackStatistics(mean=0.75, recall=0.5, decay=0.5)
    assert score_track([empty, mask, half, empty], [mask] * 4, skip_ends=False).j.mean == 0.375
    assert scores.j_and_f == pytest.approx((scores.j.mean + scores.f.mean) / 2)


def test_pixels_that_do_not_count_are_left_out() -> None:
    mask = rectangle(HW, (5, 5, 25, 25))
    half = rectangle(HW, (5, 5, 25, 15))
    scores = score_track([half] * 3, [mask] * 3, [mask & ~half] * 3)
    assert (scores.j.mean, scores.f.mean) == (1, 1)


def test_recall_and_decay_are_those_of_davis() -> None:
    values = np.array([0.9, 0.8, 0.8, 0.6, 0.6, 0.5, 0.4, 0.2, 0.1])
    # quarters of nine frames, which share their ends: 1-3, 3-5, 5-7, 7-9
    expected = np.mean([0.9, 0.8, 0.8]) - np.mean([0.4, 0.2, 0.1])
    found = summarise_track(values)
    assert (found.mean, found.recall) == (pytest.approx(values.mean()), pytest.approx(5 / 9))
    assert found.decay == pytest.approx(expected)
    assert summarise_track(np.full(600, 0.7)).decay == pytest.approx(0)
    assert summarise_track(np.array([0.7])) == TrackStatistics(0.7, 1.0, 0.0)


def test_objects_count_alike() -> None:
    one = TrackScores(TrackStatistics(1, 1, 0), TrackStatistics(0.8, 1, 0.2))
    other = TrackScores(TrackStatistics(0, 0, 0.2), TrackStatistics(0.4, 0, 0))
    mean = mean_track([one, other])
    assert mean.j == TrackStatistics(0.5, 0.5, 0.1)
    assert mean.j_and_f == pytest.approx((0.5 + 0.6) / 2)


@pytest.mark.parametrize(
    ("counts", "told"),
    [
        ((3, 4), "each of the 4 frames, but 3"),
        ((4, 4, 2), "but 4 masks and 2 void masks"),
        ((2, 2), "has 2 frames, but 3 are required"),
    ],
)
def test_frames_that_do_not_fit_are_refused(counts: tuple[int, ...], told: str) -> None:
    with pytest.raises(InputError, match=told):
        score_track(*([rectangle(HW, (5, 5, 25, 25))] * count for count in counts))
