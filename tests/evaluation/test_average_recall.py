"""What a method finds by itself."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from anymask.evaluation.everything import GRID_SETTINGS, measure_everything, rank_scores
from anymask.evaluation.protocols import NotMeasured
from anymask.evaluation.selection import EvalSet, EvalSettings, SetPlan
from anymask.formats import load_set
from anymask.masks import ALL_KINDS, Mask, ModelSpec, mask_to_rle
from tests.evaluation.small_sets import perfect, rectangle, write_set

HW = (120, 160)
SMALL, LARGE = (10, 10, 30, 30), (50, 5, 150, 115)


class Finder:
    """Finds the given boxes in every photo, the first one best."""

    spec = ModelSpec(name="finder", accepts=ALL_KINDS)

    def __init__(self, boxes: list[tuple[int, int, int, int]]) -> None:
        self.boxes = boxes
        self.asked: dict[str, Any] = {}

    def encode(self, image: Any) -> Any:
        return image

    def segment(self, embedding: Any, *, prompts: Any, **asked: Any) -> Any:
        raise AssertionError("not asked for prompts")

    def everything(self, image: Any, **grid: Any) -> list[Any]:
        self.asked = grid
        return [
            Mask(mask_to_rle(rectangle(HW, box)), score=1 - n / 100, stability=0.5)
            for n, box in enumerate(self.boxes)
        ]


def small_set(folder: Path) -> EvalSet:
    write_set(folder, [[SMALL, LARGE], [LARGE]], HW)
    return EvalSet(SetPlan(name=folder.name), *load_set(folder))


def measured(method: Any, one: EvalSet, **settings: int) -> dict[str, float]:
    result = measure_everything(method, one, EvalSettings(**settings), lambda *n: None)
    return {figure.name: figure.value for figure in result.figures}


def test_recall_by_rank_and_size(tmp_path: Path) -> None:
    others = [(0, y, 5, y + 1) for y in range(12)]
    figures = measured(Finder([*others, LARGE]), small_set(tmp_path / "set"))
    assert figures["AR@10"] == 0
    assert figures["AR@100"] == figures["AR@1000"] == pytest.approx(2 / 3)
    assert figures["AR@1000 small"] == 0
    assert np.isnan(figures["AR@1000 medium"])
    assert figures["AR@1000 large"] == 1


def test_the_grid_is_asked_without_filters(tmp_path: Path) -> None:
    finder = Finder([LARGE])
    told: list[tuple[int, int]] = []
    one = small_set(tmp_path / "set")
    result = measure_everything(finder, one, EvalSettings(), lambda *n: told.append(n))
    assert told == [(1, 2), (2, 2)]
    assert finder.asked == {**GRID_SETTINGS, "grid": 16, "crop_n_layers": 0}
    assert result.notes == ("16 x 16 clicks, 1 masks per image on average",)
    assert result.curves[0].y.tolist() == pytest.approx([2 / 3] * 10)
    assert result.tables[0].rows[0][:2] == ("all", 3)


def test_masks_are_ranked_by_quality_and_stability() -> None:
    records = Finder([LARGE, SMALL]).everything(None)
    assert rank_scores(records).tolist() == pytest.approx([0.75, 0.745])


def test_what_cannot_find_by_itself_is_not_measured(tmp_path: Path) -> None:
    one = small_set(tmp_path / "set")
    with pytest.raises(NotMeasured, match="does not support automatic mask"):
        measured(perfect(), one)
    boxes = Finder([LARGE])
    boxes.spec = ModelSpec(name="boxes", accepts=frozenset({"box"}))
    with pytest.raises(NotMeasured, match="does not support point prompts"):
        measured(boxes, one)
