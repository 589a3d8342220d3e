"""A setting is declared once: what is taken, what is refused, what the docstring says."""

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
import pytest

from anymask.base import InputError, Setting, describe_settings, list_settings


def check_even(value: object) -> None:
    if value != 2:
        raise InputError(f"even must be 2, got {value!r}")


@describe_settings
@dataclass(frozen=True, kw_only=True)
class Shape:
    """A shape."""

    side: Annotated[int, Setting("pixels along each side", ge=1)] = 32
    share: Annotated[float, Setting("of the photo", lt=1)] = 1 / 3
    area: Annotated[float, Setting("of the shape", gt=0, unit="pixels")] = 1.0
    patience: Annotated[float | None, Setting("how long", lt=None)] = None
    color: Annotated[Literal["red", "blue"], Setting("of the shape")] = "red"
    smooth: Annotated[bool | Literal["auto"], Setting("its edge")] = "auto"
    even: Annotated[int, Setting("a number", check=check_even)] = 2
    draw: Annotated[Callable[[], int] | None, Setting("anything")] = None
    secret: int = 0


@pytest.mark.parametrize(
    "good",
    [
        {"side": 1}, {"share": 0}, {"share": 0.999}, {"area": 1e-9}, {"patience": math.inf},
        {"patience": None}, {"color": "blue"}, {"smooth": True}, {"smooth": "auto"},
        {"draw": print}, {"secret": "anything"},
    ],
)  # fmt: skip
def test_values_of_the_type_and_range_are_taken(good: dict[str, Any]) -> None:
    ((name, value),) = good.items()
    assert getattr(Shape(**good), name) is value


@pytest.mark.parametrize(
    ("name", "given", "taken"),
    [
        ("side", np.int64(7), 7), ("side", np.uint8(7), 7), ("share", np.float32(0.25), 0.25),
        ("area", np.float64(2), 2.0), ("area", np.int32(2), 2), ("smooth", np.bool_(True), True),
        ("even", np.int16(2), 2),
    ],
)  # fmt: skip
def test_numbers_of_numpy_are_taken_as_python_s(name: str, given: object, taken: object) -> None:
    value = getattr(Shape(**{name: given}), name)
    assert value == taken
    assert type(value) is type(taken)


@pytest.mark.parametrize(
    ("bad", "told"),
    [
        ({"side": 0}, "side must be a whole number of at least 1, got 0"),
        ({"side": 1.5}, "side must be a whole number of at least 1, got 1.5"),
        ({"side": True}, "side must be a whole number of at least 1, got True"),
        ({"side": np.int64(0)}, "side must be a whole number of at least 1, got 0"),
        ({"side": np.float32(2)}, "side must be a whole number of at least 1, got 2.0"),
        ({"share": 1}, "share must be a number, 0 or more and less than 1, got 1"),
        ({"share": math.nan}, "share must be a number, 0 or more and less than 1, got nan"),
        ({"area": 0}, "area must be a number of pixels above 0, got 0"),
        ({"area": math.inf}, "area must be a number of pixels above 0, got inf"),
        ({"area": None}, "area must be a number of pixels above 0, got None"),
        ({"patience": -1}, "patience must be a number, 0 or more or None, got -1"),
        ({"color": "green"}, 'color must be "red" or "blue", got \'green\''),
        ({"color": ["red"]}, 'color must be "red" or "blue", got [\'red\']'),
        ({"smooth": 1}, 'smooth must be True, False or "auto", got 1'),
        ({"even": 3}, "even must be 2, got 3"),
    ],
)
def test_others_are_refused_with_what_is_wanted(bad: dict[str, Any], told: str) -> None:
    with pytest.raises(InputError) as caught:
        Shape(**bad)
    assert str(caught.value) == told + ("" if told.startswith("even") else ".")


def test_fields_without_a_declaration_are_no_settings() -> None:
    assert "secret" not in [setting.name for setting in list_settings(Shape)]


def test_the_docstring_and_the_signature_are_readable() -> None:
    lines = inspect.getdoc(Shape).splitlines()
    assert lines[:4] == ["A shape.", "", "Attributes:", "    side: Pixels along each side."]
    assert str(inspect.signature(Shape).parameters["side"]) == "side: int = 32"
