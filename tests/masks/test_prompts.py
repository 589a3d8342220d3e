"""A prompt: what it keeps, its kinds, and what is refused."""

import json
from dataclasses import fields

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from anymask.base import PromptError
from anymask.masks import Prompt, mask_to_rle, rle_to_string
from tests.evaluation.small_sets import rectangle


def test_a_prompt_keeps_what_was_given() -> None:
    prompt = Prompt(
        points=[(1, 2), (3, 4)], labels=[1, 0], box=(0, 0, 9, 9), mask=np.ones((2, 2), bool),
        words=" a red car ", example=(1, 1, 4, 4), object_id=3, frame=0,
    )  # type: ignore[arg-type]  # fmt: skip
    assert (prompt.points.dtype, prompt.labels.dtype) == (np.float32, np.int64)
    assert prompt.points.tolist() == [[1, 2], [3, 4]]
    assert prompt.labels.tolist() == [1, 0]
    assert prompt.box.tolist() == [0, 0, 9, 9]
    assert prompt.mask.all()
    assert prompt.words == "a red car"
    assert prompt.example.tolist() == [1, 1, 4, 4]
    assert (prompt.object_id, prompt.frame) == (3, 0)
    assert len(prompt.kinds) == 6


@pytest.mark.parametrize(
    ("given", "kinds"),
    [
        ({"points": [(1, 2)]}, {"point"}),
        ({"points": [(1, 2)], "labels": [0]}, {"negative_point"}),
        ({"box": (0, 0, 2, 2), "points": [(1, 1), (2, 2)], "labels": [1, 0]},
         {"point", "negative_point", "box"}),
        ({"mask": np.ones((3, 3))}, {"mask"}),
        ({"words": "leaf"}, {"words"}),
        ({"example": (0, 0, 2, 2)}, {"example"}),
    ],
)  # fmt: skip
def test_kinds_are_those_of_the_parts(given: dict[str, object], kinds: set[str]) -> None:
    assert Prompt(**given).kinds == kinds  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"words": "  "}, "must have 1 to 1000 characters"),
        ({"words": 7}, "Invalid text prompt"),
        ({"example": (3, 3, 3, 9)}, "Invalid example"),
        ({"points": [(1, 1)], "frame": -1}, "Invalid frame"),
        ({"points": [(1, 1)], "object_id": True}, "Invalid object_id"),
    ],
)
def test_what_makes_no_sense_is_refused(given: dict[str, object], says: str) -> None:
    with pytest.raises(PromptError, match=says):
        Prompt(**given)  # type: ignore[arg-type]


@pytest.mark.filterwarnings("ignore:__array__ implementation")  # of pycocotools
def test_a_prompt_is_the_same_after_its_json() -> None:
    mask = rectangle((9, 7), (3, 2, 6, 5))
    whole = Prompt(
        points=[(1.3, 2)], labels=[0], box=(1, 2, 3.5, 4), mask=mask, words="cup", object_id=3,
        example=(0, 0, 2, 2), embedding=[0.1, 0.2], frame=0, lasso=[(1, 1), (5, 1), (5, 5)],
        source="m.png", label="cup",
    )  # type: ignore[arg-type]  # fmt: skip
    record = json.loads(json.dumps(whole.to_json()))
    again = Prompt.from_json(record)
    for name in (field.name for field in fields(Prompt)):
        np.testing.assert_array_equal(getattr(again, name), getattr(whole, name), name)
    assert record["points"] == [[1.3, 2.0]]  # the shortest decimals of float32
    assert coco_mask.decode(record["mask"]).astype(bool).tolist() == mask.tolist()
    assert Prompt.from_json({"scribble": [(0, 0), (12, 0)]}).points.shape == (6, 2)  # type: ignore[union-attr]
    with pytest.raises(PromptError, match=r"Unknown field 'poinst'.*Known fields: .*points"):
        Prompt.from_json({"poinst": [[1, 2]]})
    with pytest.raises(PromptError, match="empty"):
        Prompt.from_json({"mask": None})


def test_the_mask_of_a_session_of_version_0_1_is_read() -> None:
    rle = mask_to_rle(np.eye(4, dtype=np.bool_))
    read = Prompt.from_json({"mask": f"4 4 {rle_to_string(rle)}"})
    assert read.mask is not None
    assert (read.mask == np.eye(4)).all()
