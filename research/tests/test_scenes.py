"""Composed scenes: exact masks that do not overlap."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from research.nano import scenes

SIDE = 96


def photo() -> np.ndarray:
    return np.random.default_rng(5).integers(0, 256, (60, 80, 3), dtype=np.uint8)


def cut_out() -> tuple[np.ndarray, np.ndarray]:
    mask = np.ones((30, 20), np.uint8)
    mask[:5] = 0
    return np.full((30, 20, 3), 200, np.uint8), mask


@given(st.integers(0, 2**31), st.sampled_from([32, 97, 128]))
def test_every_scene_has_masks_of_visible_size_that_do_not_overlap(seed: int, side: int) -> None:
    image, masks = scenes.compose(side, np.random.default_rng(seed), photo, cut_out)
    assert image.shape == (side, side, 3)
    assert image.dtype == np.uint8
    assert masks.shape[1:] == (side, side)
    assert masks.sum(0).max(initial=0) <= 1
    assert (masks.sum((1, 2)) >= scenes.MINIMUM).all()


@pytest.mark.parametrize("kind", [scenes.shapes, scenes.crowd, scenes.page])
def test_each_kind_shows_something(kind: Callable[..., scenes.Scene]) -> None:
    found = [len(kind(SIDE, np.random.default_rng(seed), photo)[1]) for seed in range(12)]
    assert max(found) >= 1


def test_a_pasted_object_is_where_its_mask_says() -> None:
    image, masks = scenes.pasted(
        SIDE, np.random.default_rng(3), lambda: np.zeros((50, 50, 3), np.uint8), cut_out
    )
    painted = image.max(-1) > 100
    assert (painted == masks.any(0)).mean() > 0.97
