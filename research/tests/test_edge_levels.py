"""Many thresholds in one word: bits, counts, thinning."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from skimage.morphology import thin as thin_of_skimage

from research.paper.edge_levels import (
    THRESHOLDS,
    cut,
    pack,
    pixels_per_level,
    thin,
    thin_levels,
    unpack,
)

masks = arrays(np.bool_, st.tuples(st.integers(1, 14), st.integers(1, 14)))


@given(arrays(np.bool_, st.tuples(st.integers(1, 4), st.integers(1, 130))))
def test_flags_come_back_from_their_bits(flags: np.ndarray) -> None:
    assert np.array_equal(unpack(pack(flags), flags.shape[1]), flags)


def test_the_benchmark_cuts_at_each_hundredth() -> None:
    assert len(THRESHOLDS) == 99
    assert (THRESHOLDS[0], THRESHOLDS[-1]) == (0.01, 0.99)


@given(arrays(np.float32, (3, 4), elements=st.floats(0, 1, width=32)))
def test_a_pixel_is_there_from_its_threshold_on(edges: np.ndarray) -> None:
    flags = unpack(cut(edges), 99)
    assert np.array_equal(flags, edges[..., None] >= THRESHOLDS)
    assert pixels_per_level(cut(edges), 99).tolist() == flags.sum(axis=(0, 1)).tolist()


@given(masks)
def test_thinning_is_that_of_scikit_image(mask: np.ndarray) -> None:
    assert np.array_equal(thin(mask), thin_of_skimage(mask))


@given(arrays(np.float32, (9, 11), elements=st.sampled_from([0, 0.2, 0.4, 0.7, 0.9])))
def test_every_threshold_is_thinned_on_its_own(edges: np.ndarray) -> None:
    flags = unpack(thin_levels(cut(edges)), 99)
    for n in (0, 30, 64, 88, 98):
        assert np.array_equal(flags[..., n], thin_of_skimage(edges >= THRESHOLDS[n]))


def test_a_thick_line_becomes_a_line() -> None:
    mask = np.zeros((9, 20), np.bool_)
    mask[2:7, 1:19] = True
    line = thin(mask)
    assert line.sum(axis=0).max() == 1
    assert line.sum() >= 12


def test_the_map_that_is_thinned_stays_as_it_is() -> None:
    bits = cut(np.full((5, 6), 0.5, np.float32))
    before = bits.copy()
    thin_levels(bits)
    assert np.array_equal(bits, before)
