"""Places that look unusual and new come first."""

import cv2
import numpy as np
import pytest

from anymask.predictors.salience import MAPS, Salience, values_at
from anymask.primitives.clicks import point_grid
from anymask.primitives.resize import geometry
from tests.predictors.fakes import SPEC

SIDE = 8
PLACE = geometry((128, 128), SPEC)
CLICKS = point_grid(SIDE).astype(np.float64) * 128


def with_spots(*spots: tuple[int, int]) -> np.ndarray:
    """A dull map (4, 8, 8), a cell for each click, with spots (row, column) in one channel."""
    dull = np.random.default_rng(0).normal(0, 0.01, (4, SIDE, SIDE)).astype(np.float32)
    for row, column in spots:
        dull[0, row, column] += 5
    return dull


def test_an_unusual_place_comes_before_the_dull_ones() -> None:
    salience = Salience([with_spots((2, 5))], CLICKS, PLACE)
    salience.notice(np.array([0, 7, 56, 63]))
    assert salience.of_clicks().argmax() == 2 * SIDE + 5


def test_what_looks_like_an_asked_place_is_less_promising() -> None:
    salience = Salience([with_spots((2, 5), (6, 1))], CLICKS, PLACE)
    salience.notice(np.array([0]))
    before = salience.of_clicks()
    salience.notice(np.array([2 * SIDE + 5]))
    after = salience.of_clicks()
    assert after[6 * SIDE + 1] < before[6 * SIDE + 1]
    assert (after <= before).all()
    assert (after > 0).all()


def test_of_two_places_that_look_alike_the_one_further_away_is_newer() -> None:
    salience = Salience([np.zeros((4, SIDE, SIDE), np.float32)], CLICKS, PLACE)
    salience.notice(np.array([0]))
    assert salience.of_clicks().argmax() == SIDE * SIDE - 1


def test_noticing_no_click_changes_nothing() -> None:
    salience = Salience([with_spots((2, 5))], CLICKS, PLACE)
    salience.notice(np.array([0]))
    before = salience.of_clicks()
    salience.notice(np.array([], np.int64))
    assert np.array_equal(salience.of_clicks(), before)


def test_without_maps_all_clicks_are_alike() -> None:
    salience = Salience([], CLICKS, PLACE)
    salience.notice(np.array([3]))
    assert salience.of_clicks().tolist() == [1] * SIDE**2


def test_only_the_first_maps_are_read() -> None:
    maps = [with_spots((1, 1)), with_spots((5, 5)), with_spots((7, 0))]
    both = [Salience(some, CLICKS, PLACE) for some in (maps, maps[:MAPS])]
    for salience in both:
        salience.notice(np.array([0]))
    assert np.array_equal(both[0].of_clicks(), both[1].of_clicks())


@pytest.mark.parametrize("hw", [(1, 1), (1, 5), (6, 9)])
def test_values_between_cells_are_those_of_opencv(hw: tuple[int, int]) -> None:
    rng = np.random.default_rng(1)
    one = rng.normal(size=(3, *hw)).astype(np.float32)
    places = np.concatenate([rng.random((20, 2)), [[0, 0], [1, 1]]])
    at = (places * hw[::-1] - 0.5).astype(np.float32)
    expected = cv2.remap(
        one.transpose(1, 2, 0).copy(), at[:, :1].copy(), at[:, 1:].copy(), cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )[:, 0]  # fmt: skip
    # OpenCV rounds places to 1/32 of a cell.
    assert np.abs(values_at(one, places) - expected).max() < 0.15
    assert np.allclose(
        values_at(one, (np.mgrid[:1, :1].reshape(1, 2) + 0.5) / hw[::-1]), one[:, 0, 0]
    )
