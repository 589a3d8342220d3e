"""Parts of a mask: made images whose parts are drawn by the test."""

import numpy as np
import pytest

import anymask
from anymask.base import InputError, PromptError
from anymask.segment import Model
from tests.segment.fakes import DRAWN_HW as HW
from tests.segment.fakes import SQUARES, ColorRuntime, drawn, iou


@pytest.mark.parametrize("encoded", [False, True])
def test_squares_on_a_disc_are_its_parts(encoded: bool) -> None:
    image, disc, squares = drawn(SQUARES)
    model = anymask.load("nano")
    found = model.parts(model.encode(image) if encoded else image, disc)
    for square in squares:
        assert max(iou(part.mask, square) for part in found) > 0.8
    assert not any((part.mask & ~disc).any() for part in found)
    assert [part.rank for part in found] == sorted((part.rank for part in found), reverse=True)
    assert len(found) <= 8


def test_a_plain_disc_has_hardly_any_parts() -> None:
    image, disc, _ = drawn([])
    assert len(anymask.load("nano").parts(image, disc)) <= 1


def test_settings_limit_the_number_and_the_size() -> None:
    image, disc, squares = drawn(SQUARES)
    model = anymask.load("nano")
    assert len(model.parts(image, disc, max_parts=2)) == 2
    large = model.parts(image, disc, min_share=0.2)
    assert all(part.area >= 0.2 * disc.sum() for part in large)


@pytest.mark.parametrize(
    ("mask", "told"),
    [
        (np.zeros(HW, np.bool_), "The mask is empty, so it has no parts"),
        (
            np.ones((24, 32), np.bool_),
            r"size \(H, W\) = \(24, 32\), but the image has \(240, 320\)",
        ),
        (np.ones((2, *HW), np.bool_), "in one mask, but 2 were passed"),
        (np.ones(HW, np.float32), "Invalid masks of type float32"),
    ],
)
def test_a_mask_that_is_none_is_an_error(mask: np.ndarray, told: str) -> None:
    with pytest.raises(PromptError, match=told):
        Model(ColorRuntime()).parts(drawn([])[0], mask)


@pytest.mark.parametrize(
    "given", [{"max_parts": 0}, {"nms_iou": 2}, {"granularity": "big"}, {"gird": 3}]
)
def test_wrong_settings_are_errors(given: dict[str, object]) -> None:
    image, disc, _ = drawn([])
    with pytest.raises(InputError):
        Model(ColorRuntime()).parts(image, disc, **given)  # type: ignore[arg-type]
