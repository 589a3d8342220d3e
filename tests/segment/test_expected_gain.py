"""What a click of a grid promises follows from what the others were answered with."""

import numpy as np
import pytest

from anymask.masks import geometry, point_grid
from anymask.models.rules import DEFAULT_VIDEO_MODEL, shipped_tables
from anymask.segment.everything.grid import ExpectedGain, TanhNetwork
from tests.segment.fakes import SPEC

SIDE = 16
WEIGHTS = TanhNetwork.of(shipped_tables(DEFAULT_VIDEO_MODEL)["adaptive"])
FEATURES = (
    "new", "new too", "unusual", "unusual too", "unseen", "smallest", "rim", "asked", "passed",
    "worth", "nearly", "value", "wide", "crowd", "mean", "alike",
)  # fmt: skip


def gain(*maps: np.ndarray, side: int = SIDE) -> ExpectedGain:
    clicks = point_grid(side).astype(np.float64) * 128
    return ExpectedGain(clicks, geometry((128, 128), SPEC), maps, WEIGHTS)


def place(row: int, column: int) -> int:
    return row * SIDE + column


def on(*places: int) -> np.ndarray:
    covered = np.zeros(SIDE**2, np.bool_)
    covered[list(places)] = True
    return covered


def fact(known: ExpectedGain, name: str) -> np.ndarray:
    return known.mask_features()[:, FEATURES.index(name)]


@pytest.mark.parametrize("side", [1, 2, 16, 40])
def test_every_click_has_a_finite_promise_whatever_was_asked(side: int) -> None:
    known = gain(np.random.default_rng(0).normal(size=(3, 8, 8)).astype(np.float32), side=side)
    for asked in (np.array([0]), np.arange(side**2)):
        known.register_mask(np.ones(side**2, np.bool_), 0, 1.0, 1.0)
        known.update(asked)
        assert known.of_clicks().shape == (side**2,)
        assert np.isfinite(known.of_clicks()).all()


def test_a_click_beside_a_worthwhile_one_promises_more_than_beside_a_dull_one() -> None:
    known = gain()
    known.register_mask(on(place(4, 4)), place(4, 4), 1.0, 0.01)
    known.update(np.array([place(4, 4), place(12, 12)]))
    beside, away = place(4, 6), place(12, 10)
    for name in ("worth", "value", "wide", "alike"):
        assert fact(known, name)[beside] > fact(known, name)[away]
    assert known.of_clicks()[beside] > known.of_clicks()[away]


def test_a_click_like_a_worthwhile_one_promises_more_than_one_like_a_dull_one() -> None:
    """Three kinds of places: the photo's ground, two spots, two others; one of each was asked."""
    seen = np.zeros((2, SIDE, SIDE), np.float32)
    seen[0, 4, 4] = seen[0, 4, 11] = seen[1, 11, 4] = seen[1, 11, 11] = 1
    known = gain(seen)
    known.register_mask(on(place(4, 4)), place(4, 4), 1.0, 0.001)
    known.update(np.array([place(4, 4), place(11, 4), place(0, 0)]))
    like_a_good_one, like_a_dull_one = place(4, 11), place(11, 11)
    assert fact(known, "alike")[like_a_good_one] > 0.5 > fact(known, "alike")[like_a_dull_one]
    assert known.of_clicks()[like_a_good_one] > known.of_clicks()[like_a_dull_one]


def test_a_mask_that_nearly_passed_promises_close_to_its_click_and_one_that_passed_does_not() -> (
    None
):
    known = gain()
    row = [place(3, column) for column in range(SIDE)]
    known.register_mask(on(*row), place(3, 3), 0.9, 0.05)
    known.register_mask(on(*(place(12, column) for column in range(SIDE))), place(12, 3), 1.0, 0.05)
    known.update(np.array([place(3, 3), place(12, 3)]))
    nearly = fact(known, "nearly").reshape(SIDE, SIDE)
    assert (np.diff(nearly[3, 3:]) < 0).all()
    assert not np.delete(nearly, 3, axis=0).any()
    passed = fact(known, "passed").reshape(SIDE, SIDE)
    assert (passed[12] == np.log(2)).all()
    assert not np.delete(passed, 12, axis=0).any()


def test_of_masks_on_a_click_the_smallest_counts() -> None:
    known = gain()
    for area in (0.5, 0.01, 0.2):
        known.register_mask(on(5), 5, 0.5, area)
    known.update(np.array([5]))
    assert fact(known, "smallest")[5] == pytest.approx(np.log(0.01 + 0.001))
    assert fact(known, "smallest")[6] == pytest.approx(np.log(1 + 0.001))
    assert fact(known, "unseen").tolist() == [float(index != 5) for index in range(SIDE**2)]


def test_clicks_noticed_at_once_or_one_after_the_other_are_the_same() -> None:
    maps = [np.random.default_rng(1).normal(size=(4, 8, 8)).astype(np.float32)]
    asked = np.array([3, 77, 200])
    once, slowly = gain(*maps), gain(*maps)
    for known in (once, slowly):
        for click in asked:
            known.register_mask(on(int(click)), int(click), 0.7, 0.02)
    once.update(asked)
    for click in asked:
        slowly.update(np.array([click]))
    assert np.allclose(once.of_clicks(), slowly.of_clicks(), atol=1e-4)
