"""Part or whole: by hand-made candidates, and on a photo with nano."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anymask.base import InputError
from anymask.masks import Geometry
from anymask.segment import Model, Prediction
from anymask.segment.pipeline import order_by_granularity
from tests.masks.strategies import quickly
from tests.segment.fakes import ColorRuntime, discs

MODEL_SIDE = 64
SQUARE = Geometry((64, 64), (MODEL_SIDE, MODEL_SIDE), MODEL_SIDE)


def answer(
    *sides: int, quality: tuple[float, ...] = (), geometry: Geometry | None = None
) -> Prediction:
    """Squares of these sides, of falling quality."""
    logits = np.full((len(sides), 16, 16), -5, np.float32)
    for plane, side in zip(logits, sides, strict=True):
        plane[:side, :side] = 5
    given_ = quality or tuple(0.9 - 0.01 * place for place in range(len(sides)))
    return Prediction.of_logits(
        logits, np.array(given_, np.float32), np.arange(len(sides)), geometry or SQUARE
    )


@pytest.mark.parametrize(
    ("granularity", "order"),
    [
        ("all", [0, 1, 2]), ("part", [1, 0, 2]), ("whole", [2, 0, 1]), (0, [1, 0, 2]),
        (0.5, [0, 1, 2]), (0.24, [1, 0, 2]), (0.76, [2, 0, 1]), (1.0, [2, 0, 1]),
    ],
)  # fmt: skip
def test_the_candidate_that_is_meant_comes_first(granularity: object, order: list[int]) -> None:
    assert order_by_granularity(answer(6, 3, 9), granularity).order.tolist() == order


def test_a_bad_candidate_is_no_choice() -> None:
    assert order_by_granularity(answer(6, 3, 9, quality=(0.9, 0.85, 0.7)), "whole").order[0] == 0
    assert order_by_granularity(answer(6, 3, 9, quality=(0.9, 0.7, 0.85)), "part").order[0] == 0


def test_an_empty_candidate_is_no_choice() -> None:
    assert order_by_granularity(answer(6, 0, 9), "part").order[0] == 0
    assert order_by_granularity(answer(0, 0), "part").order.tolist() == [0, 1]


def test_what_lies_on_the_padding_does_not_count() -> None:
    wide = answer(6, 16, geometry=Geometry((64, 16), (64, 16), MODEL_SIDE))
    assert wide.cells().tolist() == [24, 64]


@quickly
@given(st.lists(st.integers(0, 16), min_size=1, max_size=5), st.floats(0, 1))
def test_candidates_are_only_put_in_another_order(sides: list[int], place: float) -> None:
    first = answer(*sides)
    ranked = order_by_granularity(first, place)
    assert sorted(ranked.order.tolist()) == first.order.tolist()
    np.testing.assert_array_equal(ranked.logits, first.logits[ranked.order])
    np.testing.assert_array_equal(ranked.scores, first.scores[ranked.order])


# A choice that sticks.


def test_a_choice_is_remembered_as_its_place_between_part_and_whole() -> None:
    first = answer(6, 3, 9)
    assert [first.granularity_of(index) for index in range(3)] == [0.5, 0.0, 1.0]
    for index in range(3):
        again = order_by_granularity(first, first.granularity_of(index))
        assert again.order[0] == index


def test_where_there_is_no_choice_nothing_is_remembered() -> None:
    assert answer(6).granularity_of(0) == "all"
    assert answer(6, 0).granularity_of(0) == "all"
    assert answer(6, 0, 3).granularity_of(1) == "all"


def test_a_candidate_that_is_not_there_cannot_be_chosen() -> None:
    with pytest.raises(InputError, match="has candidates 0 to 1"):
        answer(6, 3).granularity_of(2)


IMAGE, _ = discs((90, 120), [(30, 45, 20)])


def test_a_click_is_answered_with_the_part_or_the_whole() -> None:
    model = Model(ColorRuntime())
    sizes = {
        level: model.segment(IMAGE, points=[(30, 45)], granularity=level).cells()
        for level in ("all", "part", "whole")
    }
    assert sizes["part"][0] == min(sizes["all"]) < sizes["whole"][0] == max(sizes["all"])


def test_the_clicks_are_checked_on_the_candidate_that_is_meant() -> None:
    class Nested(ColorRuntime):
        """The tight candidate misses the click."""

        def decode(self, *asked: object) -> tuple[np.ndarray, np.ndarray]:
            logits, quality = super().decode(*asked)
            logits[:, 1] = -5
            logits[:, 1, 0, 0] = 5
            return logits, np.full_like(quality, 0.9)

    model, asked = Model(Nested()), {"points": [(30, 45)], "multimask": True}
    assert model.segment(IMAGE, **asked, granularity="part").violated_points == (0,)
    assert model.segment(IMAGE, **asked, granularity="whole").violated_points == ()
