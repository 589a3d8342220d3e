"""Masks are named by close-ups; one's own names are learned from a few."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from anymask.base import BoolArray, DataError, InputError, ModelError, PromptError, UintImage
from anymask.masks import Mask, Masks, mask_to_rle
from anymask.runtime import mask_vectors
from anymask.segment import write_own_names
from anymask.segment.labels import read_own_names, suggest_labels, with_labels
from tests.evaluation.small_sets import rectangle
from tests.segment.fakes import ColorNaming

HW = (40, 60)


class StandIn:
    """A runtime that names, or does not."""

    def __init__(self, naming: ColorNaming | None, tables: dict[str, Any] | None = None) -> None:
        self.naming = naming
        self.spec = type("Spec", (), {"name": "stand-in"})()
        self.family = type("Rules", (), {"tables": tables or {}})()


def square(x: int, y: int, side: int = 10) -> BoolArray:
    return rectangle(HW, (x, y, x + side, y + side))


@pytest.fixture
def photo() -> UintImage:
    """Gray, with a red and a dark blue square."""
    made = np.full((*HW, 3), 90, np.uint8)
    made[5:15, 5:15] = (250, 10, 10)
    made[20:30, 40:50] = (5, 5, 70)
    return made


RED, BLUE = square(5, 5), square(40, 20)


def record(mask: BoolArray, quality: float, objectness: float | None) -> Mask:
    made = Mask(mask_to_rle(mask), score=quality, stability=0.9)
    return replace(made, objectness=objectness)


@pytest.mark.parametrize("given", [lambda m: m, lambda m: [record(one, 0.9, None) for one in m]])
def test_masks_get_the_names_of_what_they_show(
    photo: UintImage, given: Callable[[BoolArray], Any]
) -> None:
    masks = given(np.stack([RED, BLUE]))
    told = suggest_labels(StandIn(ColorNaming()), photo, masks, None, 2)  # type: ignore[arg-type]
    assert [row[0].label for row in told] == ["red", "blue"]
    assert all(len(row) == 2 and row[0].probability > 0.9 for row in told)


def test_records_are_labelled_and_empty_ones_are_not(photo: UintImage) -> None:
    runtime: Any = StandIn(ColorNaming())
    found = Masks([record(RED, 0.9, None), record(RED & BLUE, 0.9, None)], image_hw=HW)
    named = with_labels(runtime, photo, found, ["green", "red"])
    assert [one.label for one in named] == ["red", None]
    assert named[0].label_probability is not None
    assert named[1].label_probability is None
    assert [one.label for one in found] == [None, None]
    assert with_labels(runtime, photo, Masks(image_hw=HW), None) == []


@pytest.mark.parametrize(
    ("masks", "error", "says"),
    [
        (np.zeros((3, 4), np.bool_), PromptError, "Pass the image to which the masks belong"),
        (np.zeros(HW), PromptError, "Invalid masks of type float64"),
        (np.zeros((2, 2, *HW), np.bool_), PromptError, "type bool and shape (2, 2, 40, 60)"),
    ],
)
def test_masks_of_another_photo_or_shape_are_refused(
    photo: UintImage, masks: Any, error: type[Exception], says: str
) -> None:
    with pytest.raises(error) as caught:
        suggest_labels(StandIn(ColorNaming()), photo, masks, None, 1)  # type: ignore[arg-type]
    assert says in str(caught.value)


def test_a_model_without_names_and_a_wrong_number_are_refused(photo: UintImage) -> None:
    runtime: Any = StandIn(None)
    with pytest.raises(ModelError, match="does not support mask naming"):
        suggest_labels(runtime, photo, RED, None, 1)
    with pytest.raises(InputError, match="Invalid top 0"):
        suggest_labels(runtime, photo, RED, None, 0)


def test_own_names_are_the_nearest_examples(photo: UintImage, tmp_path: Path) -> None:
    runtime: Any = StandIn(ColorNaming())
    table = runtime.naming.table
    examples = [
        (label, mask_vectors(runtime, photo, [mask_to_rle(mask)]))
        for label, mask in (("rust", RED), ("sea", BLUE), ("rust", RED))
    ]
    path = tmp_path / "mine.json"
    assert write_own_names(path, table, examples) == {"rust": 2, "sea": 1}
    told = suggest_labels(runtime, photo, np.stack([BLUE, RED]), path, 1)
    assert [row[0].label for row in told] == ["sea", "rust"]
    with pytest.raises(InputError, match="another version of the name model"):
        read_own_names(path, replace(table, network="another"))
    with pytest.raises(InputError, match="does not exist. Create it"):
        read_own_names(tmp_path / "none.json", table)
    path.write_text("{}")
    with pytest.raises(DataError, match="is not a names file"):
        read_own_names(path, table)
    with pytest.raises(InputError, match="No masks with labels"):
        write_own_names(path, table, [])
