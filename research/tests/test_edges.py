"""The boundary benchmark: counts by hand, figures against a slow way to compute them."""

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from anymask.evaluation.protocols import NotMeasured
from anymask.evaluation.selection import EvalSet, EvalSettings, SetPlan
from anymask.formats import load_set
from anymask.masks import mask_to_rle, rle_to_string
from research.paper.edge_levels import THRESHOLDS
from research.paper.edges import (
    EDGE_BASELINES,
    EdgeCounts,
    EdgeDetector,
    average_precision,
    benchmark_figures,
    benchmark_values,
    best_f,
    count_edges,
    measure_edges,
    recall_at_half,
    sample_to_edges,
)
from tests.evaluation.small_sets import perfect, rectangle, write_set

HW = (100, 120)  # the tolerance is 1.17 pixels


def line(column: int) -> np.ndarray:
    """A vertical line from top to bottom."""
    mask = np.zeros(HW, np.bool_)
    mask[:, column] = True
    return mask


def at(counts: np.ndarray, threshold: float) -> list[float]:
    """One threshold's counts: drawn and matched, drawn, found and right, found."""
    return counts[:, round(threshold * 100) - 1].tolist()


def test_a_found_line_is_right_when_anybody_drew_it() -> None:
    found = (line(20) * 0.9 + line(60) * 0.5 + line(100) * 0.3).astype(np.float32)
    counts = count_edges(found, [line(20), line(21), line(60)])
    assert at(counts, 0.6) == [200, 300, 100, 100]
    assert at(counts, 0.5) == [300, 300, 200, 200]
    assert at(counts, 0.2) == [300, 300, 200, 300]
    assert at(counts, 0.95) == [0, 300, 0, 0]


@pytest.mark.parametrize(("shift", "matched"), [(1, 100), (2, 0)])
def test_a_line_may_be_off_by_the_tolerance(shift: int, matched: int) -> None:
    counts = count_edges(line(50).astype(np.float32), [line(50 + shift)])
    assert at(counts, 0.5) == [matched, 100, matched, 100]


def slow_scores(counts: np.ndarray) -> tuple[float, float, float]:
    """ODS, OIS and AP of (I, 4, L) counts, number by number."""

    def measures(matched: float, drawn: float, right: float, found: float) -> tuple[float, ...]:
        recall = matched / drawn if drawn else 0.0
        precision = right / found if found else 0.0
        both = precision + recall
        return recall, precision, 2 * precision * recall / both if both else 0.0

    total = [measures(*counts[:, :, k].sum(axis=0)) for k in range(counts.shape[2])]
    ods = 0.0
    for (r0, p0, _), (r1, p1, _) in pairwise(total):
        for share in np.linspace(0, 1, 100):
            recall, precision = r0 + share * (r1 - r0), p0 + share * (p1 - p0)
            if recall + precision:
                ods = max(ods, 2 * recall * precision / (recall + precision))
    best = np.zeros(4)
    for image in counts:
        fs = [measures(*image[:, k])[2] for k in range(image.shape[1])]
        best += image[:, fs.index(max(fs))]
    places = sorted({r: p for r, p, _ in reversed(total)}.items())
    ap = 0.0
    for step in range(101 if len(places) > 1 else 0):
        recall = step / 100
        for (r0, p0), (r1, p1) in pairwise(places):
            if r0 <= recall <= r1:
                ap += (p0 + (recall - r0) / (r1 - r0) * (p1 - p0)) / 100
                break
    return ods, measures(*best)[2], ap


@given(arrays(np.int64, (3, 4, 6), elements=st.integers(0, 20)))
def test_the_figures_are_those_of_the_slow_way(counts: np.ndarray) -> None:
    counts[:, 1] = counts[:, 1, :1] + 20  # drawn: the same at each threshold
    counts[:, 3] += counts[:, 2]
    counts[:, [0, 2, 3]] = -np.sort(-counts[:, [0, 2, 3]], axis=-1)
    once = np.ones((1, 3), np.int64)
    ((ods, ois, ap, _),) = benchmark_values(EdgeCounts(*counts.transpose(1, 0, 2)), once)
    assert (ods, ois, ap) == pytest.approx(slow_scores(counts), abs=1e-9)


def test_ods_lies_between_thresholds() -> None:
    precision, recall = np.array([0.0, 1.0]), np.array([1.0, 0.0])
    assert best_f(precision, recall) == pytest.approx(0.5, abs=1e-4)


def test_average_precision_stops_where_the_curve_stops() -> None:
    assert average_precision(np.array([0.5, 0.5]), np.array([1.0, 0.0])) == pytest.approx(0.505)
    assert average_precision(np.array([0.8, 0.8]), np.array([0.5, 0.0])) == pytest.approx(0.408)
    assert average_precision(np.array([0.8]), np.array([0.5])) == 0


def test_recall_at_half_precision() -> None:
    recall = np.array([0.9, 0.5, 0.1])
    assert recall_at_half(np.array([0.25, 0.75, 0.9]), recall) == pytest.approx(0.7)
    assert recall_at_half(np.array([0.6, 0.7, 0.9]), recall) == pytest.approx(0.9)
    assert recall_at_half(np.array([0.1, 0.2, 0.3]), recall) == 0
    assert recall_at_half(np.array([0.4, 0.6, 0.4]), recall) == pytest.approx(0.7)
    assert recall_at_half(np.array([0.6, 0.4, 0.9]), recall) == pytest.approx(0.9)


@pytest.mark.parametrize("plateau", [0.5, 0.6])
@given(jitter=arrays(np.int64, 5, elements=st.integers(-4, 4)))
def test_the_last_bit_of_a_plateau_changes_nothing(plateau: float, jitter: np.ndarray) -> None:
    recall = np.array([0.9, 0.7, 0.5, 0.3, 0.1])
    precision = plateau + jitter * np.finfo(np.float64).eps
    assert recall_at_half(precision, recall) == pytest.approx(0.9, abs=1e-6)
    below = np.concatenate([[plateau - 0.2], precision])
    start = np.interp(0.5, [plateau - 0.2, plateau], [1, 0.9])
    assert recall_at_half(below, np.concatenate([[1], recall])) == pytest.approx(start, abs=1e-6)


def test_intervals_hold_the_figures() -> None:
    rng = np.random.default_rng(1)
    hundreds = np.sort(rng.integers(1, 500, (20, 9)), axis=1)[:, ::-1]
    drawn = np.full((20, 9), 60000)
    counts = EdgeCounts(hundreds * 60, drawn, hundreds * 70, hundreds * 100)
    ods, ois, ap, r50 = benchmark_figures(counts)
    for figure in (ods, ois, ap, r50):
        assert figure.low <= figure.value <= figure.high
        assert figure.high - figure.low < 0.4
    # All precisions are .7, so R50 is the recall of the lowest threshold, of every draw as well.
    share = hundreds[:, 0] * 60 / 60000
    assert r50.value == pytest.approx(share.mean())
    spread = share.std() / np.sqrt(len(share))
    assert [r50.low, r50.high] == pytest.approx(share.mean() + np.array([-2, 2]) * spread, abs=0.02)


def two_people(folder: Path) -> EvalSet:
    """One photo that one person cut into halves and another into thirds."""
    write_set(folder, [[(0, 0, 30, 100)]], HW)
    cuts = {0: [(0, 60), (60, 120)], 1: [(0, 40), (40, 80), (80, 120)]}
    masks = [
        {"rle": rle_to_string(mask_to_rle(rectangle(HW, (x0, 0, x1, 100)))), "annotator": person}
        for person, parts in cuts.items()
        for x0, x1 in parts
    ]
    row = {"image": "images/0.png", "hw": list(HW), "masks": masks}
    (folder / "masks.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")
    info, samples = load_set(folder)
    return EvalSet(SetPlan(name=folder.name), info, samples)


def test_people_draw_the_borders_of_their_regions(tmp_path: Path) -> None:
    halves, thirds = sample_to_edges(two_people(tmp_path / "set").samples[0])
    assert np.array_equal(halves, line(59))
    assert np.array_equal(thirds, line(39) | line(79))


def test_a_detector_is_measured_on_a_whole_set(tmp_path: Path) -> None:
    one = two_people(tmp_path / "set")
    found = (line(59) + line(39) + line(10)).astype(np.float32)
    told: list[tuple[int, int]] = []
    result = measure_edges(
        EdgeDetector("lines", lambda image: found), one, EvalSettings(), lambda *n: told.append(n)
    )
    figures = {figure.name: figure.value for figure in result.figures}
    assert told == [(1, 1)]
    assert (figures["ODS"], figures["OIS"]) == pytest.approx((2 / 3, 2 / 3))
    (curve,) = result.curves
    assert len(curve.x) == len(curve.y) == len(THRESHOLDS)
    assert (curve.x[0], curve.y[0]) == pytest.approx((2 / 3, 2 / 3))


def test_what_cannot_be_measured_says_why(tmp_path: Path) -> None:
    folder = write_set(tmp_path / "plain", [[(2, 2, 9, 9)]])
    plain = EvalSet(SetPlan(name="plain"), *load_set(folder))
    with pytest.raises(NotMeasured, match="who drew them"):
        measure_edges(EDGE_BASELINES[0], plain, EvalSettings(), lambda *n: None)
    with pytest.raises(NotMeasured, match="edges, not masks"):
        EDGE_BASELINES[0].segment(None, prompts=[])
    with pytest.raises(NotMeasured, match="masks without logits"):
        measure_edges(perfect(), two_people(tmp_path / "two"), EvalSettings(), lambda *n: None)
