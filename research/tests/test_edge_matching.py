"""Matching edge pixels one to one, against other people's matching algorithms."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.optimize import linear_sum_assignment
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import maximum_bipartite_matching

from research.paper.edge_levels import pack, unpack
from research.paper.edge_matching import match_levels

RADII = (0.0, 1.0, 1.5, 2.9, 4.34)
sizes = st.tuples(st.integers(1, 9), st.integers(1, 9))
maps = arrays(np.bool_, sizes)
pairs = maps.flatmap(lambda found: st.tuples(st.just(found), arrays(np.bool_, found.shape)))


def largest_matching(found: np.ndarray, truth: np.ndarray, radius: float) -> int:
    """The number of pairs of two (H, W) edge maps."""
    bits = found[..., None].astype(np.uint64)
    return int((match_levels(bits, truth, radius, 1) > 0).sum())


def close(found: np.ndarray, truth: np.ndarray, radius: float) -> np.ndarray:  # -> (N, M) bool
    """Which pairs may be matched, from all the distances."""
    steps = np.argwhere(found)[:, None, :] - np.argwhere(truth)[None, :, :]
    return (steps**2).sum(axis=-1) <= radius**2


def slow_count(may: np.ndarray) -> int:
    """The size of a largest matching, by scipy (Hopcroft and Karp)."""
    if not may.any():
        return 0
    return int((maximum_bipartite_matching(csr_matrix(may), perm_type="column") >= 0).sum())


@given(pairs, st.sampled_from(RADII))
def test_as_many_pixels_are_matched_as_can_be(
    found_truth: tuple[np.ndarray, np.ndarray], radius: float
) -> None:
    found, truth = found_truth
    assert largest_matching(found, truth, radius) == slow_count(close(found, truth, radius))


@given(pairs, st.sampled_from(RADII))
def test_the_count_is_that_of_a_cheapest_assignment(
    found_truth: tuple[np.ndarray, np.ndarray], radius: float
) -> None:
    found, truth = found_truth
    may = close(found, truth, radius)
    rows, columns = linear_sum_assignment(np.where(may, 0.0, 1.0))
    assert largest_matching(found, truth, radius) == int(may[rows, columns].sum())


@given(
    sizes.flatmap(
        lambda hw: st.tuples(
            arrays(np.int64, hw, elements=st.integers(0, 70)), arrays(np.bool_, hw)
        )
    ),
    st.sampled_from(RADII),
)
def test_every_threshold_has_a_largest_matching_of_its_own_pixels(
    level_truth: tuple[np.ndarray, np.ndarray], radius: float
) -> None:
    level, truth = level_truth
    found = (level[..., None] + np.arange(70)) % 71 > 35  # neither growing nor shrinking
    matched = unpack(match_levels(pack(found), truth, radius, 70), 70)
    assert not (matched & ~found).any()
    for n in range(0, 70, 23):
        expected = slow_count(close(found[..., n], truth, radius))
        assert matched[..., n].sum() == expected
        assert slow_count(close(matched[..., n], truth, radius)) == expected


def test_the_nearest_pixel_is_matched() -> None:
    found = np.array([[1, 0, 1, 1, 0, 0]], np.bool_)
    truth = np.array([[0, 0, 0, 1, 0, 0]], np.bool_)
    matched = match_levels(pack(found[..., None]), truth, 3.0, 1)[..., 0]
    assert matched.tolist() == [[0, 0, 0, 1, 0, 0]]


def test_a_pixel_gives_way_where_another_has_no_choice() -> None:
    found = np.array([[0, 1, 0, 1, 0, 0]], np.bool_)
    truth = np.array([[0, 0, 1, 0, 1, 0]], np.bool_)
    assert largest_matching(found, truth, 1.0) == 2


@pytest.mark.parametrize(("column", "pairs"), [(5, 1), (6, 0)])
def test_the_radius_itself_is_within_reach(column: int, pairs: int) -> None:
    found, truth = np.zeros((5, 8), np.bool_), np.zeros((5, 8), np.bool_)
    found[0, column] = truth[4, 2] = True
    assert largest_matching(found, truth, 5.0) == pairs


def test_nothing_matches_nothing() -> None:
    empty = np.zeros((3, 4), np.bool_)
    assert largest_matching(empty, ~empty, 2.0) == 0
    assert largest_matching(~empty, empty, 2.0) == 0
    assert largest_matching(empty[:1, :1], ~empty[:1, :1], 2.0) == 0


def test_a_long_line_beside_a_long_line_is_matched_whole() -> None:
    found, truth = np.zeros((60, 90), np.bool_), np.zeros((60, 90), np.bool_)
    found[20], truth[23] = True, True
    truth[:, 40] = True
    assert largest_matching(found, truth, 3.0) == 90
    assert largest_matching(found, truth, 2.9) == 5
