"""The best pairs: those of every order tried, and those of scipy."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.optimize import linear_sum_assignment

from anymask.base import InputError
from anymask.evaluation import best_rows

sizes = st.tuples(st.integers(1, 5), st.integers(0, 5)).map(lambda pair: (sum(pair), pair[0]))
tables = sizes.flatmap(lambda hw: arrays(np.float64, hw, elements=st.integers(-3, 3).map(float)))


@given(tables)
def test_the_sum_is_the_largest_of_all_orders(values: np.ndarray) -> None:
    rows, columns = values.shape
    found = best_rows(values)
    assert len(set(found.tolist())) == columns
    orders = itertools.permutations(range(rows), columns)
    best = max(sum(values[row, column] for column, row in enumerate(order)) for order in orders)
    assert values[found, range(columns)].sum() == best


@pytest.mark.parametrize("seed", range(20))
def test_scipy_finds_no_better_pairs(seed: int) -> None:
    chance = np.random.default_rng(seed)
    columns = int(chance.integers(1, 20))
    values = chance.random((columns + int(chance.integers(0, 10)), columns))
    values[chance.random(values.shape) < 0.5] = 0
    theirs = values[linear_sum_assignment(values, maximize=True)].sum()
    assert values[best_rows(values), range(columns)].sum() == pytest.approx(theirs)


def test_the_best_pair_is_given_up_for_a_better_whole() -> None:
    np.testing.assert_array_equal(best_rows(np.array([[0.6, 0.4], [0.4, 0.0]])), [1, 0])
    assert best_rows(np.zeros((3, 0))).tolist() == []


@pytest.mark.parametrize("values", [np.zeros((1, 2)), np.array([[np.nan]])])
def test_other_tables_are_refused(values: np.ndarray) -> None:
    with pytest.raises(InputError, match="at least as many rows as columns"):
        best_rows(values)
