"""What the encoder sees at clicks: unusual, new and alike."""

import cv2
import numpy as np
import pytest

from anymask.masks import geometry, point_grid
from anymask.segment.everything.grid import GRID_MAPS, Saliency, squares, values_at
from tests.segment.fakes import SPEC

SIDE = 8
PLACE = geometry((128, 128), SPEC)
CLICKS = point_grid(SIDE).astype(np.float64) * 128


def with_spots(*spots: tuple[int, int]) -> np.ndarray:
    """A dull map (4, 8, 8), a cell for each click, with spots (row, column) in one channel."""
    dull = np.random.default_rng(0).normal(0, 0.01, (4, SIDE, SIDE)).astype(np.float32)
    for row, column in spots:
        dull[0, row, column] += 5
    return dull


def test_a_spot_is_the_most_unusual_place_and_the_newest() -> None:
    saliency = Saliency([with_spots((2, 5))], CLICKS, PLACE)
    assert np.isinf(saliency.new).all()
    saliency.update(np.array([0, 7, 56, 63]))
    for each in (*saliency.unusual, *saliency.new):
        assert each.argmax() == 2 * SIDE + 5


def test_what_looks_like_an_asked_place_is_less_new() -> None:
    saliency = Saliency([with_spots((2, 5), (6, 1))], CLICKS, PLACE)
    saliency.update(np.array([0]))
    before = saliency.new.copy()
    saliency.update(np.array([2 * SIDE + 5]))
    assert (saliency.new[:, 6 * SIDE + 1] < before[:, 6 * SIDE + 1]).all()
    assert (saliency.new <= before).all()


def test_a_click_is_as_unlike_the_asked_ones_as_their_values_differ() -> None:
    maps = [with_spots((2, 5)), with_spots((1, 1))]
    unlike = Saliency(maps, CLICKS, PLACE).update(np.array([3, 21]))
    slowly = np.zeros((SIDE**2, 2))
    for one in maps:
        values = one.reshape(4, -1).T.astype(np.float64)
        values = (values - values.mean(0)) / values.std(0)
        slowly += ((values[:, None] - values[None, [3, 21]]) ** 2).mean(2) / len(maps)
    assert np.allclose(unlike, slowly, atol=1e-3)


def test_without_maps_all_clicks_are_alike() -> None:
    saliency = Saliency([], CLICKS, PLACE)
    assert not saliency.update(np.array([3])).any()
    assert not saliency.unusual.any()
    assert not saliency.new.any()


@pytest.mark.parametrize("count", [1, 3])
def test_one_map_counts_for_both_and_only_the_first_are_read(count: int) -> None:
    maps = [with_spots((1, 1)), with_spots((5, 5)), with_spots((7, 0))][:count]
    expected = maps[:GRID_MAPS] if count > 1 else maps * GRID_MAPS
    some, others = (Saliency(each, CLICKS, PLACE) for each in (maps, expected))
    assert np.array_equal(some.update(np.array([0])), others.update(np.array([0])))
    assert np.array_equal(some.new, others.new)


def test_squared_distances_are_those_of_every_pair() -> None:
    rng = np.random.default_rng(2)
    some, others = rng.normal(size=(5, 3)), rng.normal(size=(4, 3))
    slowly = ((some[:, None] - others[None]) ** 2).sum(2)
    assert np.allclose(squares(some, others), slowly)


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
