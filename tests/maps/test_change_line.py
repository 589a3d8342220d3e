"""The radiometric line between two maps is not moved by what changed."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anymask.maps.change import ColorLine, trimmed_line


def ground(seed: int, side: int = 64) -> np.ndarray:
    return np.random.default_rng(seed).integers(40, 200, (side, side, 3)).astype(np.uint8)


def fitted(first: np.ndarray, second: np.ndarray) -> ColorLine:
    return trimmed_line(*(one.reshape(-1, 3).astype(np.float64) for one in (first, second)))


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 1000),
    corner=st.tuples(st.integers(0, 40), st.integers(0, 40)),
    size=st.tuples(st.integers(1, 24), st.integers(1, 24)),
    color=st.tuples(*[st.integers(0, 255)] * 3),
)
def test_equal_pixels_never_change(seed, corner, size, color) -> None:
    first = ground(seed)
    second = first.copy()
    here = np.s_[corner[0] : corner[0] + size[0], corner[1] : corner[1] + size[1]]
    second[here] = color
    changed = fitted(first, second).changed(first, second)
    assert not changed[(first == second).all(axis=2)].any()


def test_the_line_of_equal_maps_with_a_new_roof_is_the_identity() -> None:
    first = ground(0)
    second = first.copy()
    second[10:40, 10:40] = 250  # a fifth of the map
    line = fitted(first, second)
    np.testing.assert_allclose(line.gain, 1, atol=1e-9)
    np.testing.assert_allclose(line.bias, 0, atol=1e-6)
    assert line.changed(first, second)[15:35, 15:35].all()


@pytest.mark.parametrize("share", [0.0, 0.2])
def test_light_and_sensor_are_evened_out_beside_a_change(share: float) -> None:
    second = ground(1)
    first = np.clip(0.8 * second + 20, 0, 255).round().astype(np.uint8)
    first[: int(share * len(first))] = 5
    line = fitted(first, second)
    np.testing.assert_allclose(line.gain, 0.8, atol=0.02)
    np.testing.assert_allclose(line.bias, 20, atol=2)
    changed = line.changed(first, second)
    assert not changed[int(share * len(first)) + 4 :].any()
