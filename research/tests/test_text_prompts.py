"""Words to masks."""

import json
from pathlib import Path

import numpy as np
import pytest

from anymask.data.sets import load_set
from anymask.evaluation.adapters import FromFunction
from anymask.evaluation.selection import EvalSet, EvalSettings, SetPlan
from anymask.evaluation.set_results import NotMeasured
from anymask.primitives.errors import InputError
from anymask.primitives.spec import ALL_KINDS
from research.paper.text_prompts import list_phrases, measure_text
from tests.evaluation.small_sets import perfect, rectangle, same_colour, write_set

HW = (48, 64)


class Finder(FromFunction):
    """Answers "cat" with a rectangle and everything else with nothing."""

    asked: list[str]

    def segment_text(self, image: np.ndarray, phrase: str) -> np.ndarray:
        self.__dict__.setdefault("asked", []).append(phrase)
        return rectangle(HW, (0, 0, 20, 10)) if phrase == "cat" else np.zeros(HW, np.bool_)


@pytest.fixture
def named(tmp_path: Path) -> EvalSet:
    """Two cats of 100 pixels, side by side, and a dog of 400 in one photo."""
    folder = write_set(
        tmp_path / "named", [[(0, 0, 10, 10), (10, 0, 20, 10), (30, 10, 50, 30)], [(0, 0, 9, 9)]]
    )
    path = folder / "masks.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    for mask, label in zip(rows[0]["masks"], ("cat", "cat", "dog"), strict=True):
        mask["label"] = label
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return EvalSet(SetPlan(name="named"), *load_set(folder))


def test_all_masks_of_a_label_are_one_truth(named: EvalSet) -> None:
    found = dict(list_phrases(named.samples[0], [0, 2]))
    assert {phrase: int(mask.sum()) for phrase, mask in found.items()} == {"cat": 200, "dog": 400}


def test_cumulative_iou_is_of_sums_and_mean_iou_of_questions(named: EvalSet) -> None:
    finder = Finder("finder", ALL_KINDS, same_colour)
    found = {
        figure.name: figure.value for figure in measure_text(finder, named, EvalSettings()).figures
    }
    assert finder.__dict__["asked"] == ["cat", "dog"]
    assert found == {
        "cumulative IoU": pytest.approx(200 / 600),
        "mean IoU": 0.5,
        "Pr@0.5": 0.5,
        "Pr@0.7": 0.5,
        "Pr@0.9": 0.5,
    }


def test_what_takes_no_words_is_not_measured(named: EvalSet) -> None:
    with pytest.raises(NotMeasured, match="it has no `segment_text`"):
        measure_text(perfect(), named, EvalSettings())


def test_a_set_without_labels_is_not_measured(tmp_path: Path) -> None:
    one = EvalSet(SetPlan(name="bare"), *load_set(write_set(tmp_path / "bare", [[(0, 0, 9, 9)]])))
    with pytest.raises(NotMeasured, match="bare has no labels"):
        measure_text(Finder("finder", ALL_KINDS, same_colour), one, EvalSettings())


def test_a_wrong_answer_is_a_sentence(named: EvalSet) -> None:
    class Wrong(Finder):
        def segment_text(self, image: np.ndarray, phrase: str) -> np.ndarray:
            return np.zeros((3, 4), np.float32)

    with pytest.raises(InputError, match=r"wrong: segment_text must return a bool mask"):
        measure_text(Wrong("wrong", ALL_KINDS, same_colour), named, EvalSettings())
