"""Ranking and calibration against cases worked out by hand."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from anymask.evaluation import FromFunction
from anymask.evaluation.protocols import BOX_KINDS, CLICK_KINDS, NotMeasured
from anymask.evaluation.results import SetResult
from anymask.evaluation.selection import EvalSet, EvalSettings, SetPlan
from anymask.formats import load_set
from anymask.masks import ALL_KINDS, ModelSpec, Prompt
from research.paper.calibration import RankedCandidates, describe_calibration, measure_calibration
from tests.evaluation.small_sets import filled_box, perfect, same_color, write_set


def figures(result: SetResult) -> dict[str, float]:
    return {figure.name: figure.value for figure in result.figures}


def ranked(ious: list[list[float]], quality: list[list[float]]) -> RankedCandidates:
    return RankedCandidates(np.array(ious), np.array(quality), np.arange(len(ious)))


def test_the_figures_are_those_of_a_table_made_by_hand() -> None:
    """The first mask picks .6 of (.2, .6, .4), the second .1 of (.9, .1, .5)."""
    found = figures(
        describe_calibration(
            ranked([[0.2, 0.6, 0.4], [0.9, 0.1, 0.5]], [[0.1, 0.9, 0.5], [0.2, 0.8, 0.5]])
        )
    )
    assert found["picks the best"] == 0.5
    assert found["argmax"] == pytest.approx(0.35)
    assert found["random"] == pytest.approx((0.4 + 0.5) / 2)
    assert found["oracle"] == pytest.approx(0.75)
    assert found["gap closed"] == pytest.approx((0.35 - 0.45) / (0.75 - 0.45))
    assert found["pairs in order"] == pytest.approx(3 / 6)


def test_a_model_that_puts_another_candidate_first_is_measured_by_that_one() -> None:
    table = ranked([[0.2, 0.6, 0.4], [0.9, 0.1, 0.5]], [[0.1, 0.9, 0.5], [0.2, 0.8, 0.5]])
    found = figures(describe_calibration(replace(table, first=np.array([0, 0]))))
    assert found["argmax"] == pytest.approx((0.2 + 0.9) / 2)
    assert found["picks the best"] == 0.5
    assert found["pairs in order"] == pytest.approx(3 / 6)  # the quality is judged as it is


def test_what_an_order_adds_to_the_networks_own_number() -> None:
    """It picks .6 and .9 of at most .8 and .9, where the number alone would pick .4 and .5."""
    table = ranked([[0.8, 0.6, 0.4], [0.9, 0.1, 0.5]], [[0.1, 0.9, 0.5], [0.8, 0.2, 0.5]])
    found = figures(describe_calibration(replace(table, own=np.array([[0.4, 0.7], [0.5, 0.8]]))))
    assert found["own argmax"] == pytest.approx(0.45)
    assert found["own oracle"] == pytest.approx(0.75)
    assert found["own gap closed"] == pytest.approx((0.75 - 0.45) / (0.75 - 0.45))
    assert found["whole gap closed"] == pytest.approx((0.75 - 0.45) / (0.85 - 0.45))
    assert "own argmax" not in figures(describe_calibration(table))


def test_the_calibration_error_is_the_weighted_gap_of_the_bins() -> None:
    """Bins: .95 said twice (was 1 and .8), .15 said once (was .35), 1.2 said once falls into .9."""
    nan = np.nan
    result = describe_calibration(
        ranked([[1.0, 0.8], [0.35, nan], [0.9, nan]], [[0.95] * 2, [0.15, nan], [1.2, nan]])
    )
    said, was = (0.95 + 0.95 + 1.2) / 3, (1 + 0.8 + 0.9) / 3
    assert figures(result)["ECE"] == pytest.approx((3 * (said - was) + 0.2) / 4)
    firsts = ((0.95 + 1.2) - (1 + 0.9) + 0.2) / 3
    assert figures(result)["ECE first"] == pytest.approx(firsts)
    (table,) = result.tables
    assert [row[:2] for row in table.rows] == [("0.1–0.2", 1.0), ("0.9–1.0", 3.0)]
    assert result.curves[0].x.tolist() == pytest.approx([0.15, said])


def test_a_perfect_ranking_closes_the_whole_gap_and_a_reversed_one_opens_it() -> None:
    ious = np.random.default_rng(0).random((40, 3))
    image = np.repeat(np.arange(10), 4)
    best = figures(describe_calibration(RankedCandidates(ious, ious, image)))
    assert (best["picks the best"], best["gap closed"], best["ECE"]) == (1, 1, 0)
    assert best["pairs in order"] == 1
    worst = figures(describe_calibration(RankedCandidates(ious, -ious, image)))
    assert worst["picks the best"] == 0
    assert worst["gap closed"] < 0


@dataclass
class Said:
    masks: np.ndarray
    scores: np.ndarray
    logits: None = None


@pytest.fixture
def boxes(tmp_path: Path) -> EvalSet:
    images = [[(2, 3, 20, 30), (40, 5, 60, 40)], [(1, 1, 30, 30)], [(1, 1, 5, 5)]]
    return EvalSet(SetPlan(name="boxes"), *load_set(write_set(tmp_path / "boxes", images)))


class ThreeMasks:
    """Nothing, the object and everything, with qualities that put the object first."""

    spec = ModelSpec(name="three", accepts=ALL_KINDS)

    def encode(self, image: np.ndarray) -> np.ndarray:
        return image

    def segment(self, embedding, *, prompts: Sequence[Prompt], **asked: Any) -> list[Said]:
        masks = [same_color(embedding, prompt) for prompt in prompts]
        return [
            Said(np.stack([mask & False, mask, mask | True]), np.array([0.1, 0.9, 0.2]))
            for mask in masks
        ]


def test_a_model_is_asked_for_every_large_mask(boxes: EvalSet) -> None:
    told = []
    result = measure_calibration(
        ThreeMasks(), boxes, EvalSettings(), lambda *step: told.append(step)
    )
    found = figures(result)
    assert (found["picks the best"], found["gap closed"]) == (1, 1)
    assert told == [(1, 2), (2, 2)]
    assert result.figures[0].shares.count.tolist() == [2, 1]


@pytest.mark.parametrize(
    ("method", "reason"),
    [
        (FromFunction("box", BOX_KINDS, filled_box), "it takes no clicks"),
        (FromFunction("one", CLICK_KINDS, same_color), "says no quality"),
    ],
)
def test_what_cannot_be_ranked_is_not_measured(
    boxes: EvalSet, method: FromFunction, reason: str
) -> None:
    with pytest.raises(NotMeasured, match=reason):
        measure_calibration(method, boxes, EvalSettings())


def test_a_set_of_specks_is_not_measured(boxes: EvalSet) -> None:
    with pytest.raises(NotMeasured, match="boxes has no mask of at least 9999 pixels"):
        measure_calibration(perfect(), boxes, EvalSettings(min_area=9999))
