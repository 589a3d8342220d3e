"""Keywords that a call lacks: one error with the nearest, in place of a TypeError."""

from collections.abc import Callable
from inspect import signature
from typing import Any

import pytest

import anymask
from anymask.base import (
    OTHER_WORDS,
    TAKERS,
    InputError,
    check_keywords,
    name_all_keywords,
    name_keywords,
    our_word,
)
from anymask.segment import BatchKeywords, EverythingKeywords, Model


@name_keywords
def ask(photo: str, width: int = 1, *, points: tuple[int, ...] = ()) -> tuple[Any, ...]:
    """An example."""
    return photo, width, points


@name_all_keywords
class Asked:
    """An example."""

    def __init__(self, width: int = 1) -> None:
        self.width = width

    @classmethod
    def of(cls, width: int = 1) -> int:
        """A class method."""
        return width

    @staticmethod
    def plain(width: int = 1) -> int:
        """A static method, which stays as it is."""
        return width

    def area(self, height: int = 1, **more: int) -> int:
        """Takes any other keyword."""
        return self.width * height + sum(more.values())


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: ask("a", widht=2), "there is no keyword 'widht'; did you mean 'width'?"),
        (lambda: ask("a", point_coords=2), "'point_coords'; here it is points=[(x, y), ...]"),
        (lambda: ask("a", xyzzy=2), "there are photo, width, points"),
        (lambda: ask("a", tile=2), "everything takes it"),
        (lambda: ask("a", verbose=2), "everything takes it, as progress=True"),
        (lambda: ask("a", photo="b"), "photo was given twice, by its place and by its name"),
        (lambda: Asked(widht=2), "did you mean 'width'?"),
        (lambda: Asked.of(widht=2), "did you mean 'width'?"),
        (lambda: Asked().area(1, height=2), "height was given twice"),
        (lambda: check_keywords(["a"], []), "there are none"),
    ],
)
def test_what_is_wrong_is_named_with_a_remedy(call: Callable[[], object], told: str) -> None:
    with pytest.raises(InputError) as error:
        call()
    assert told in str(error.value)


def test_right_calls_and_what_python_says_itself_stay() -> None:
    assert ask("a", 2, points=(3,)) == ("a", 2, (3,))
    assert ask.__doc__ == "An example."
    assert list(signature(ask).parameters) == ["photo", "width", "points"]
    assert (Asked(3).area(2), Asked(3).area(2, other=1), Asked.of(4), Asked.plain(5)) == (
        6,
        7,
        4,
        5,
    )
    with pytest.raises(TypeError, match="missing 1 required"):
        ask()  # type: ignore[call-arg]  # what a user may try


def test_the_calls_that_are_named_take_the_words() -> None:
    takes = {
        "segment": {*signature(Model.segment).parameters, *BatchKeywords.__optional_keys__},
        "everything": {
            *signature(Model.everything).parameters,
            *EverythingKeywords.__optional_keys__,
        },
        "suggest_labels": set(signature(Model.suggest_labels).parameters),
        "anymask.load": set(signature(anymask.load).parameters),
    }
    assert takes.keys() == TAKERS.keys()
    for call, words in TAKERS.items():
        assert set(words) <= takes[call]
    assert {our_word(other) for other in OTHER_WORDS} <= set().union(*takes.values())


SURFACE: list[tuple[Callable[[], Callable[..., Any]], dict[str, Any], str]] = [
    (lambda: anymask.load, {"checkpoint": "x.pth"}, "here it is weights="),
    (lambda: anymask.Prompt.of, {"point_coords": [(1, 2)]}, "here it is points="),
    (lambda: anymask.Prompt, {"bbox": (1, 2, 3, 4)}, "here it is box="),
    (lambda: anymask.Masks().filter, {"min_aera": 5}, "did you mean 'min_area'?"),
    (lambda: anymask.load_image, {"band": 1}, "did you mean 'bands'?"),
    (lambda: anymask.list_photos, {"wher": 1}, "did you mean 'where'?"),
    (lambda: anymask.read, {"splitt": 1}, "did you mean 'split'?"),
    (lambda: anymask.convert, {"stict": 1}, "did you mean 'strict'?"),
    (lambda: anymask.sample, {"nam": "cat"}, "did you mean 'name'?"),
    (lambda: anymask.Retry, {"secnds": 1}, "did you mean 'seconds'?"),
    (lambda: anymask.Prediction(()).save, {"imge": 1}, "did you mean 'image'?"),
    (lambda: anymask.Prediction(()).polygons, {"tolerence": 1}, "did you mean 'tolerance'?"),
    (lambda: anymask.Mask, {"scoore": 1}, "did you mean 'score'?"),
]


@pytest.mark.parametrize(("called", "given", "told"), SURFACE)
def test_every_public_call_says_it(
    called: Callable[[], Callable[..., Any]], given: dict[str, Any], told: str
) -> None:
    with pytest.raises(InputError) as error:
        called()(**given)
    assert told in str(error.value)
