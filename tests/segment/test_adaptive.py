"""Adaptive mode asks little, where it matters."""

import numpy as np
import pytest

from anymask.masks import geometry, point_grid
from anymask.models.rules import DEFAULT_VIDEO_MODEL, shipped_tables
from anymask.segment import Grid, Model
from anymask.segment.everything.grid import CropView, Frontier, TanhNetwork, most_clicks
from tests.segment.fakes import SPEC, ColorRuntime, discs, iou

WEIGHTS = TanhNetwork.of(shipped_tables(DEFAULT_VIDEO_MODEL)["adaptive"])
EASY = {"score": 0.3, "stability": 0.3}
IMAGE, MASKS = discs((90, 120), [(30, 45, 20), (90, 45, 22), (60, 10, 8)])


def frontier(side: int = 9, **grid: float) -> Frontier:
    view = CropView((0, 0, 128, 128), (128, 128), geometry((128, 128), SPEC), 0.0)
    return Frontier(point_grid(side).astype(np.float64) * 128, view, Grid(**grid), WEIGHTS)


def square(x0: int, y0: int, x1: int, y1: int) -> np.ndarray:
    plane = np.full((64, 64), -9, np.float32)
    plane[y0:y1, x0:x1] = 9
    return plane


def test_every_object_is_found_with_a_third_of_the_clicks() -> None:
    runtime = ColorRuntime()
    told: list[tuple[int, int]] = []
    records = Model(runtime).everything(
        IMAGE, **EASY, grid=18, progress=lambda *now: told.append(now)
    )
    assert sum(count for count, _ in runtime.calls) <= 18 * 18 / 3
    assert told[-1] == (108, 108)
    for truth in MASKS:
        assert sum(iou(record.mask, truth) > 0.7 for record in records) == 1


def test_exact_asks_every_click() -> None:
    runtime = ColorRuntime()
    Model(runtime).everything(IMAGE, **EASY, grid=9, mode="exact")
    assert sum(count for count, _ in runtime.calls) == 81


@pytest.mark.parametrize("side", [1, 2, 3, 4, 10, 32])
def test_the_first_clicks_are_every_fourth_and_the_rest_stays_within_the_limit(side: int) -> None:
    asking = frontier(side)
    first = asking.next()
    assert 1 <= len(first) <= most_clicks(side * side) <= side * side
    everywhere = np.full((64, 64), 9, np.float32)
    asking.learn(asking.observe(everywhere, 0.8, np.zeros(2)))
    asked = list(first)
    while len(more := asking.next()):
        asked += more.tolist()
    assert len(asked) == len(set(asked)) == most_clicks(side * side)


def test_what_the_encoder_sees_decides_between_places_of_equal_promise() -> None:
    spot = np.zeros((2, 9, 9), np.float32)
    spot[1, 6, 6] = 1
    view = CropView((0, 0, 128, 128), (128, 128), geometry((128, 128), SPEC), 0.0)
    asking = Frontier(point_grid(9).astype(np.float64) * 128, view, Grid(), WEIGHTS, [spot])
    asking.next()
    assert asking.next()[0] == 6 * 9 + 6


def test_clicks_on_a_mask_that_nearly_passed_go_first_and_of_them_those_close_by() -> None:
    asking = frontier(18, score=0.8, stability=0.9)
    asking.next()
    asking.learn(
        asking.observe(square(0, 0, 64, 64), 0.41, np.array([64.0, 64.0]))
    )  # every place was seen
    click = (np.array([5, 9]) + 0.5) / 18 * 128
    asking.learn(asking.observe(square(0, 31, 64, 36), 0.79, click))  # row 9 of the grid
    chosen = asking.next()
    assert chosen[0] // 18 == 9
    assert abs(chosen[0] % 18 - 5) == 1


def test_what_is_learned_belongs_to_the_click_that_found_it() -> None:
    asking = frontier(9)
    for place, click in enumerate(point_grid(9) * 128):
        assert asking.observe(square(0, 0, 9, 9), 0.5, click).place == place
