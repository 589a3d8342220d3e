"""Wrong arguments of public methods: an error with the right word, and no other change."""

from __future__ import annotations

import functools
import inspect
import math
from typing import Any

import numpy as np
import pytest

from anymask.base import InputError, check_number, explain_keywords
from anymask.masks import Features, LabelMap, Mask, Masks
from anymask.segment import Model, Prediction
from anymask.track import VideoSession
from anymask.volumes import Volume, VolumeSession

CLASSES = (Mask, Masks, Features, LabelMap, Model, Prediction, VideoSession, Volume, VolumeSession)


@explain_keywords
class Shelf:
    """A class with methods of each kind."""

    def put(self, book: str, *, place: int = 0) -> tuple[str, int]:
        """Put a book."""
        return book, place

    def any(self, **given: object) -> int:
        """Take all keywords."""
        return len(given)


def test_methods_work_as_before_and_name_the_right_keyword() -> None:
    shelf: Any = Shelf()
    assert shelf.put("a", place=2) == ("a", 2)
    assert shelf.any(x=1) == 1
    assert (
        str(inspect.signature(Shelf.put))
        == "(self, book: 'str', *, place: 'int' = 0) -> 'tuple[str, int]'"
    )
    assert Shelf.put.__doc__ == "Put a book."
    with pytest.raises(InputError, match="Unknown argument 'plaec'. Did you mean 'place'?"):
        shelf.put("a", plaec=2)
    with pytest.raises(TypeError, match="missing 1 required"):
        shelf.put()


@pytest.mark.parametrize("cls", CLASSES)
def test_every_public_method_refuses_unknown_keywords(cls: type) -> None:
    for name, method in vars(cls).items():
        if inspect.isfunction(method) and not name.startswith("_"):
            takes_any = inspect.unwrap(method).__code__.co_flags & inspect.CO_VARKEYWORDS
            if not takes_any:
                with pytest.raises(InputError, match="Unknown argument 'bogus'"):
                    method(None, bogus=1)


ENDLESS: list[Any] = functools.reduce(lambda inner, _: [inner] * 10, range(40), [])  # as text


@pytest.mark.parametrize(
    "value",
    [None, "0.5", math.nan, -1, 2, [1], object(), 10**5000, ENDLESS],
    ids=lambda one: type(one).__name__,
)
def test_what_is_no_number_of_a_range_is_refused(value: object) -> None:
    with pytest.raises(InputError, match="alpha must be a number from 0 to 1. Given: "):
        check_number("alpha", value, 0, 1)
    for good in (0, 1, 0.5, np.float32(0.3), True):
        check_number("alpha", good, 0, 1)
