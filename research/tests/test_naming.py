"""Right names are counted among the labels that a method knows."""

import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from anymask.data.sets import load_set
from anymask.evaluation.protocols import PlainAnswer
from anymask.evaluation.selection import EvalSet, EvalSettings, SetPlan
from anymask.evaluation.set_results import NotMeasured
from anymask.primitives.errors import InputError
from anymask.primitives.name_table import LabelSuggestion
from anymask.primitives.rle import mask_to_rle, rle_to_string
from research.paper.naming import measure_names

HW = (32, 32)


def write_set(folder: Path, labels: Sequence[str | None]) -> EvalSet:
    """A photo with a square for each label."""
    (folder / "images").mkdir(parents=True)
    Image.fromarray(np.zeros((*HW, 3), np.uint8)).save(folder / "images" / "a.png")
    masks = []
    for number, label in enumerate(labels):
        mask = np.zeros(HW, np.bool_)
        mask[2:12, 10 * number : 10 * number + 9] = True
        row: dict[str, Any] = {"rle": rle_to_string(mask_to_rle(mask))}
        masks.append(row if label is None else row | {"label": label})
    line = {"image": "images/a.png", "hw": list(HW), "masks": masks}
    (folder / "masks.jsonl").write_text(json.dumps(line))
    info, samples = load_set(folder)
    return EvalSet(SetPlan(name="small"), info, samples)


class Namesake:
    """Calls every mask of people a cat, then a dog; what it drew itself a dog, then a cat."""

    spec = SimpleNamespace(name="namesake", accepts=("box",))
    known = ("cat", "dog")

    def embed(self, image: Any) -> None:
        return None

    def segment(self, embedding: None, *, prompts: Sequence[Any], **_: Any) -> list[PlainAnswer]:
        full = np.ones((1, *HW), np.bool_)
        return [PlainAnswer(full, np.ones(1, np.float32)) for _ in prompts]

    def suggest_labels(
        self, image: Any, masks: Any, *, names: Sequence[str], top: int
    ) -> list[list[LabelSuggestion]]:
        for name in names:
            if name not in self.known:
                raise InputError(f"{name} is not known")
        planes = np.asarray(masks).reshape(-1, np.asarray(masks).shape[-1] ** 2)
        told = []
        for plane in planes:
            order = sorted(names, reverse=bool(plane.all()))
            told.append([LabelSuggestion(name, 0.5) for name in order[:top]])
        return told


def test_drawn_masks_and_answers_are_named_apart(tmp_path: Path) -> None:
    """Of a cat, a dog and something that is not known two count."""
    one = write_set(tmp_path / "set", ["cat", "dog", "thing"])
    found = measure_names(Namesake(), one, EvalSettings(), lambda *n: None)  # type: ignore[arg-type]
    figures = {figure.name: figure.value for figure in found.figures}
    assert figures == {
        "top 1, drawn": 0.5, "top 5, drawn": 1.0, "top 1, box": 0.5, "top 5, box": 1.0,
    }  # fmt: skip
    assert found.notes == ("2 names, 2 masks",)


@pytest.mark.parametrize(
    ("labels", "says"),
    [([None, None], "the set has no labels"), (["thing"], "it knows none of the labels")],
)
def test_a_set_without_known_labels_is_not_measured(
    labels: list[str | None], says: str, tmp_path: Path
) -> None:
    one = write_set(tmp_path / "set", labels)
    with pytest.raises(NotMeasured, match=says):
        measure_names(Namesake(), one, EvalSettings(), lambda *n: None)  # type: ignore[arg-type]


def test_a_method_that_names_nothing_is_not_measured(tmp_path: Path) -> None:
    one = write_set(tmp_path / "set", ["cat"])
    plain: Any = SimpleNamespace(spec=Namesake.spec, embed=None, segment=None)
    with pytest.raises(NotMeasured, match="it names nothing"):
        measure_names(plain, one, EvalSettings(), lambda *n: None)
