"""The rows of the paper in the table of measures: how a method is asked, and what comes back."""

from collections.abc import Iterator

import numpy as np
import pytest

from anymask.evaluation import (
    BOX,
    MASK_MEASURES,
    MEASURES,
    EvalSettings,
    FromFunction,
    TruthMask,
    read_suite,
)
from anymask.masks import ALL_KINDS
from research.paper.__main__ import SUITES, main
from research.paper.baselines import filled_box
from research.paper.measures import refine_scores, register
from research.paper.perturbation import PERTURBATIONS, perturb_mask
from tests.evaluation.small_sets import rectangle

SQUARE = rectangle((60, 80), (20, 20, 40, 40))


@pytest.fixture(autouse=True)
def tables() -> Iterator[None]:
    """The rows of the paper, for one test."""
    before = [(table, dict(table)) for table in (MEASURES, MASK_MEASURES)]
    register()
    yield
    for table, rows in before:
        table.clear()
        table.update(rows)


def test_hard_scenes_are_measured_with_baselines_beside(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["hard", "--sets", "wires,low contrast", "--limit", "1", "--measure", "noisy-box"]
    assert main([*words, "--only", "--baselines"]) == 0
    text = capsys.readouterr().out
    assert "| set | method | box ±5% | box ±10% | box ±20% |" in text
    assert "| wires | grabcut |" in text


def test_the_paper_s_suite_names_its_23_data_sets() -> None:
    suite = read_suite(SUITES / "paper.toml")
    assert len({group for plan in suite.sets for group in plan.groups if group != "paper"}) == 23
    assert all("paper" in plan.groups for plan in suite.sets)


def test_refining_is_asked_with_the_spoiled_mask_and_scored_before_and_after() -> None:
    asked = []

    def right(image: object, prompt: object) -> np.ndarray:
        asked.append(prompt)
        return SQUARE

    method = FromFunction("right", ALL_KINDS, right)
    before, after = refine_scores(method, None, [TruthMask(SQUARE)], "eroded")
    assert before.tolist() == [256 / 400]
    assert after.tolist() == [1.0]
    assert np.array_equal(np.asarray(asked[0].mask) > 0, perturb_mask(SQUARE, "eroded"))


def test_a_method_with_refine_is_asked_by_it() -> None:
    class Refines(FromFunction):
        def refine(self, embedding: object, mask: np.ndarray) -> object:
            (answer,) = self.segment(embedding, prompts=[mask], multimask=False)
            return answer

    method = Refines("same", ALL_KINDS, lambda image, mask: mask)
    before, after = refine_scores(method, None, [TruthMask(SQUARE)], "dilated")
    assert before.tolist() == after.tolist() != [1.0]


@pytest.mark.parametrize(("accepts", "names"), [(BOX, ()), (ALL_KINDS, PERTURBATIONS)])
def test_only_who_takes_masks_refines(accepts: frozenset, names: tuple) -> None:
    columns = MASK_MEASURES["refine"].columns(accepts, EvalSettings())
    assert columns == tuple(name for spoil in names for name in (spoil, f"{spoil}, refined"))


def test_noisy_boxes_are_asked_at_three_levels() -> None:
    method = FromFunction("filled box", BOX, filled_box)
    measure = MASK_MEASURES["noisy-box"]
    assert measure.columns(method.accepts, EvalSettings()) == ("box ±5%", "box ±10%", "box ±20%")
    image = np.zeros((60, 80, 3), np.uint8)
    scores = measure.score(method, image, [TruthMask(SQUARE)], EvalSettings())
    assert [len(column) for column in scores] == [1, 1, 1]
    assert scores[0][0] > scores[2][0] > 0.4
