"""From sets to scores: which measures a method gets, limits."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from anymask.base import DataError
from anymask.evaluation import FromFunction
from anymask.evaluation.evaluating import evaluate_images
from anymask.evaluation.measures import score_set
from anymask.evaluation.protocols import BOX_KINDS, CLICK, CLICK_KINDS
from anymask.evaluation.selection import EvalSet, EvalSettings, SetPlan
from anymask.formats import load_set
from anymask.masks import Prompt
from tests.evaluation.small_sets import Box, filled_box, perfect, rectangle, same_color, write_set

BOXES: list[list[Box]] = [[(2, 3, 20, 30), (40, 5, 60, 40)], [(0, 0, 64, 48)], [(1, 1, 5, 5)]]


@pytest.fixture
def boxes(tmp_path: Path) -> EvalSet:
    return EvalSet(SetPlan(name="boxes"), *load_set(write_set(tmp_path / "boxes", BOXES)))


def scored(method: FromFunction, one: EvalSet, **settings: int) -> dict[str, tuple[float, ...]]:
    """Mean and interval of each measure."""
    report = evaluate_images(method, [one], **settings)
    return {row["measure"]: (row["mean"], row["low"], row["high"]) for row in report.rows}


def counted(name: str, slow: bool = False) -> tuple[FromFunction, list[Prompt]]:
    """A filled box that keeps what it was asked."""
    asked: list[Prompt] = []

    def fill(image: np.ndarray, prompt: Prompt) -> np.ndarray:
        asked.append(prompt)
        return filled_box(image, prompt)

    return FromFunction(name, BOX_KINDS, fill, slow=slow), asked


def test_every_mask_is_told(boxes: EvalSet) -> None:
    seen: list[tuple[str, int, int]] = []
    scores = score_set([perfect()], boxes, EvalSettings(), progress=lambda *step: seen.append(step))
    assert seen == [("boxes", 2, 4), ("boxes", 3, 4), ("boxes", 4, 4)]
    assert scores.area.tolist() == [486, 700, 3072, 16]


@pytest.mark.parametrize(
    ("accepts", "names"),
    [
        (BOX_KINDS, ("box",)),
        (CLICK, ("1 click",)),
        (CLICK_KINDS, ("1 click", "2 clicks", "harm > 0.1", "harm > 0.02", "noc85", "noc90")),
        (BOX_KINDS | CLICK, ("1 click", "box")),
    ],
)
def test_a_method_is_measured_by_what_it_accepts(
    boxes: EvalSet, accepts: frozenset, names: tuple
) -> None:
    method = FromFunction("any", accepts, same_color)
    plan = SetPlan(name="set", measures=("clicks", "box", "noc"))
    scores = score_set([method], replace(boxes, plan=plan), EvalSettings(clicks=2))
    assert tuple(measure for _, measure in scores.columns) == names


def test_clicks_needed_are_counted_with_the_ignored_rim(tmp_path: Path) -> None:
    from anymask.masks import mask_to_rle, rle_to_string

    rim = rle_to_string(mask_to_rle(rectangle((48, 64), (20, 3, 24, 30))))
    folder = write_set(tmp_path / "rim", [[(2, 3, 20, 30)]], ignore_rle=rim)

    def wide(image: np.ndarray, prompt: Prompt) -> np.ndarray:
        return rectangle((48, 64), (2, 3, 24, 30))

    one = EvalSet(SetPlan(name="rim", measures=("clicks", "noc")), *load_set(folder))
    found = scored(FromFunction("wide", CLICK_KINDS, wide), one)
    assert found["1 click"][0] == found["noc90"][0] == 1


def test_a_set_without_masks_is_refused(tmp_path: Path) -> None:
    empty = EvalSet(SetPlan(name="empty"), *load_set(write_set(tmp_path / "empty", [[]])))
    with pytest.raises(DataError, match="without masks"):
        scored(perfect(), empty)


def test_slow_methods_are_asked_for_a_part_and_the_rest_is_not_a_number(boxes: EvalSet) -> None:
    slow, asked = counted("slow", slow=True)
    scores = score_set([perfect(), slow], boxes, EvalSettings(slow=2))
    values = scores.columns["slow", "box"]
    assert len(asked) == 2
    assert np.isnan(values).sum() == 2
    assert len(scores.select("slow", "box", 0)[0]) == 2
