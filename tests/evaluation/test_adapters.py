"""Other people's code as a segmenter."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from anymask.base import ConfigError, InputError
from anymask.evaluation import FromFunction, Peer
from anymask.evaluation.adapters import PEER_PROMPTS, RenamedSegmenter, open_peer
from anymask.evaluation.protocols import BOX
from anymask.masks import Prompt
from tests.evaluation.small_sets import filled_box, perfect

IMAGE = np.zeros((4, 6, 3), np.uint8)

CODE = """
import numpy as np

def two(image, points, labels, box):
    masks = np.zeros((2, *image.shape[:2]), np.uint8)
    x, y = points[0]
    masks[0, int(y), int(x)] = 1
    return masks, [0.25, 0.75]

def words(image, points, labels, box):
    seen.append((image, points, labels, box))
    return np.ones((1, 4, 6), bool), None

words.accepts = {"box"}
words.encode = lambda image: "prepared"
seen = []
number = 3

def odd(image, points, labels, box): ...
odd.accepts = {"smell"}
"""


@pytest.fixture
def theirs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module in the working folder, of a name that no other test uses."""
    name = f"theirs_{abs(hash(tmp_path))}"
    (tmp_path / f"{name}.py").write_text(CODE, encoding="utf-8")
    (tmp_path / f"{name}_broken.py").write_text("import there_is_no_such_module", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return name


def test_a_function_answers_as_it_says(theirs: str) -> None:
    found = open_peer(f"{theirs}:two")
    assert found.spec.name == f"{theirs}:two"
    assert found.spec.accepts == PEER_PROMPTS
    (answer,) = found.segment(found.encode(IMAGE), prompts=[Prompt.of(points=[(2, 1)])])
    assert answer.masks.dtype == np.bool_
    assert np.argwhere(answer.masks).tolist() == [[0, 1, 2]]
    assert answer.scores.tolist() == [0.25, 0.75]


def test_it_may_say_what_it_takes_and_look_at_a_photo_once(theirs: str) -> None:
    import importlib

    found = open_peer(f"{theirs}:words")
    assert found.spec.accepts == {"box"}
    prompts = [Prompt.of(box=(0, 0, 2, 2)), Prompt.of(box=(1, 1, 3, 3))]
    answers = found.segment(found.encode(IMAGE), prompts=prompts)
    assert all(answer.masks.all() and answer.scores is None for answer in answers)
    seen = importlib.import_module(theirs).seen
    assert [call[:3] for call in seen] == [("prepared", None, None)] * 2
    assert seen[1][3].tolist() == [1, 1, 3, 3]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no_colon", "Invalid peer 'no_colon'"),
        ("json:loads", "json:loads does not accept four arguments"),
        ("there_is_none:x", "Cannot import the peer module .*there_is_none"),
        ("{}_broken:x", "Cannot import the peer module"),
        ("{}:absent", "has no 'absent'"),
        ("{}:number", "of type int"),
        ("{}:odd", "contains 'smell'. Supported values: box, negative_point, point"),
    ],
)
def test_what_cannot_be_a_peer_is_a_sentence(theirs: str, name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        open_peer(name.format(theirs))


@pytest.mark.parametrize(
    ("said", "message"),
    [
        (
            None,
            (
                r"Peer 'p' must return \(masks, scores\) with masks of shape \(K, 4, 6\), but it "
                "returned a value of type NoneType"
            ),
        ),
        ((np.zeros((4, 6)), None), r"returned masks of shape \(4, 6\)"),
        ((np.zeros((0, 4, 6)), None), r"returned masks of shape \(0, 4, 6\)"),
        ((np.zeros((2, 4, 6)), [1]), "returned 2 masks and 1 scores"),
    ],
)
def test_a_wrong_answer_names_the_peer(said: object, message: str) -> None:
    wrong = Peer("p", lambda *_: said)
    with pytest.raises(InputError, match=message):
        wrong.segment(wrong.encode(IMAGE), prompts=[Prompt.of(box=(0, 0, 1, 1))])


def test_an_object_that_is_a_segmenter_is_used_as_it_is() -> None:
    found = open_peer("tests.evaluation.test_adapters:SEGMENTER")
    assert isinstance(found, RenamedSegmenter)
    assert found.spec.name == "tests.evaluation.test_adapters:SEGMENTER"
    assert found.spec.accepts == BOX
    (answer,) = found.segment(found.encode(IMAGE), prompts=[Prompt.of(box=(0, 0, 1, 1))])
    assert answer.masks.sum() == 1
    assert found.slow is False


SEGMENTER = FromFunction("box", BOX, filled_box)


def test_a_new_name_leaves_the_old_one_alone() -> None:
    inner = perfect("a")
    assert (RenamedSegmenter(inner, "b").spec.name, inner.spec.name) == ("b", "a")


def test_a_renamed_model_takes_the_settings_of_the_one_that_it_renames() -> None:
    class Ranks(FromFunction):
        def segment(self, embedding: Any, *, ranking: str = "", **asked: Any) -> Any:
            return [ranking]

    method = RenamedSegmenter(Ranks("a", BOX, filled_box), "b")
    assert method.segment(None, prompts=[], ranking="own") == ["own"]
