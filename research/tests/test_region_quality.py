"""Divisions of a photo: covering, Rand index, variation of information."""

from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from skimage.metrics import variation_of_information as by_skimage

from anymask.evaluation import EvalSet, EvalSettings, NotMeasured, SetPlan
from anymask.formats import load_set
from anymask.masks import Mask, mask_to_rle
from research.paper.region_quality import (
    REGION_BASELINES,
    Proposer,
    count_shared_pixels,
    covering,
    measure_regions,
    rand_index,
    records_to_regions,
    region_scores,
    variation_of_information,
)
from tests.evaluation.small_sets import perfect, rectangle, write_set
from tests.evaluation.test_average_recall import HW, LARGE, measured, small_set

pairs = st.tuples(st.integers(1, 5), st.integers(1, 5)).flatmap(
    lambda hw: st.tuples(*[arrays(np.int64, hw, elements=st.integers(0, 4))] * 2)
)


@given(pairs)
def test_covering_is_that_of_a_loop_over_regions(found_drawn: tuple[np.ndarray, ...]) -> None:
    found, drawn = found_drawn
    total = 0.0
    for number in np.unique(drawn):
        one = drawn == number
        fits = [(one & (found == n)).sum() / (one | (found == n)).sum() for n in np.unique(found)]
        total += one.sum() * max(fits)
    assert covering(count_shared_pixels(found, drawn)) == pytest.approx(total / drawn.size)


@given(pairs)
def test_the_rand_index_is_that_of_a_loop_over_pairs(found_drawn: tuple[np.ndarray, ...]) -> None:
    found, drawn = (part.reshape(-1) for part in found_drawn)
    agree = [
        (found[i] == found[j]) == (drawn[i] == drawn[j])
        for i, j in combinations(range(len(found)), 2)
    ]
    expected = np.mean(agree) if agree else 1.0
    assert rand_index(count_shared_pixels(*found_drawn)) == pytest.approx(expected)


@given(pairs)
def test_the_variation_of_information_is_that_of_scikit_image(
    found_drawn: tuple[np.ndarray, ...],
) -> None:
    value = variation_of_information(count_shared_pixels(*found_drawn))
    assert value == pytest.approx(sum(by_skimage(*found_drawn)), abs=1e-9)


def test_several_people_are_averaged() -> None:
    found = np.array([[0, 0, 1, 1]])
    same, one = region_scores(found, [found]), region_scores(found, [np.zeros((1, 4))])
    assert (same.covering, same.rand_index, same.variation) == (1, 1, 0)
    assert (one.covering, one.variation) == (0.5, 1)
    assert one.rand_index == pytest.approx(2 / 6)
    both = region_scores(found, [found, np.zeros((1, 4))])
    assert (both.covering, both.variation) == (0.75, 0.5)


def test_records_share_the_photo_and_the_rest_is_one_region() -> None:
    whole, part = (rectangle((6, 8), box) for box in ((1, 1, 7, 5), (2, 2, 4, 4)))
    records = [Mask(mask_to_rle(mask), score=0.9) for mask in (whole, part)]
    expected = np.zeros((6, 8))
    expected[whole], expected[part] = 1, 2
    assert np.array_equal(records_to_regions(records, (6, 8)), expected)
    assert not records_to_regions([], (6, 8)).any()


def test_a_method_that_finds_nothing_is_not_measured(tmp_path: Path) -> None:
    write_set(tmp_path / "set", [[(2, 2, 9, 9)]])
    one = EvalSet(SetPlan(name="set"), *load_set(tmp_path / "set"))
    with pytest.raises(NotMeasured, match="only answers prompts"):
        measure_regions(perfect(), one, EvalSettings(), lambda *n: None)
    with pytest.raises(NotMeasured, match="who drew them"):
        measure_regions(Proposer("maps", lambda image: []), one, EvalSettings(), lambda *n: None)


def test_a_set_is_divided_photo_by_photo(tmp_path: Path) -> None:
    write_set(tmp_path / "set", [[(0, 0, 32, 48)], [(0, 0, 64, 24)]])
    info, samples = load_set(tmp_path / "set")
    for place, who in enumerate((0, 3)):
        (mask,) = samples[place].masks
        samples[place] = replace(samples[place], masks=(replace(mask, annotator=who),))
    left = np.zeros((48, 64), np.int64)
    left[:, :32] = 1
    told: list[tuple[int, int]] = []
    result = measure_regions(
        Proposer("left", lambda image: [left * 0, left]),
        EvalSet(SetPlan(name="set"), info, samples),
        EvalSettings(),
        lambda *n: told.append(n),
    )
    values = {figure.name: figure.value for figure in result.figures}
    assert told == [(1, 2), (2, 2)]
    assert values["covering"] == pytest.approx((1 + 1 / 3) / 2)
    assert values["VOI"] == pytest.approx((0 + 2) / 2)


def test_divisions_of_the_photo_propose_their_regions(tmp_path: Path) -> None:
    halves = np.zeros(HW, np.int64)
    halves[rectangle(HW, LARGE)] = 7
    figures = measured(Proposer("halves", lambda image: [halves]), small_set(tmp_path / "set"))
    assert figures["AR@10"] == pytest.approx(2 / 3)


@pytest.mark.parametrize("method", REGION_BASELINES, ids=lambda method: method.name)
def test_baselines_find_flat_rectangles(method: Proposer, tmp_path: Path) -> None:
    figures = measured(method, small_set(tmp_path / "set"))
    assert figures["AR@1000"] > 0.3
    with pytest.raises(NotMeasured, match="answers no prompts"):
        method.segment(None, prompts=[], multimask=True)
