"""Who belongs to whom: the pairs of rows and columns with the largest sum.

The assignment problem (Kuhn, 1955), by shortest augmenting paths with potentials (Jonker and
Volgenant, 1987): columns enter one after the other, each by the cheapest chain of exchanges.

Letters: R rows, C columns, R >= C.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from anymask.primitives.errors import InputError
from anymask.primitives.types import Float64Array


def best_rows(values: Float64Array) -> NDArray[np.intp]:  # (R, C) -> (C,)
    """The row of each column, no row twice, so that the sum of the values is as large as can be.

    Raises InputError where there are fewer rows than columns or a value is not finite.
    """
    rows, columns = values.shape
    if rows < columns or not np.isfinite(values).all():
        raise InputError(
            f"wanted finite values with at least as many rows as columns, got {rows} x {columns}"
            "; add rows of the value of no partner"
        )
    cost = -values.T
    prices = np.zeros(rows)  # what a row asks on top, and what a column pays in all
    pays = np.zeros(columns)
    owner = np.full(rows, -1)
    for column in range(columns):
        far, before, last = _cheapest_chain(cost - prices - pays[:, None], owner, column)
        gain = far[last] - np.minimum(far, far[last])
        held = (gain > 0) & (owner >= 0)
        pays[owner[held]] += gain[held]
        pays[column] += far[last]
        prices -= gain
        while last >= 0:
            owner[last] = column if before[last] < 0 else owner[before[last]]
            last = before[last]
    found = np.empty(columns, np.intp)
    found[owner[owner >= 0]] = np.flatnonzero(owner >= 0)
    return found


def _cheapest_chain(
    slack: Float64Array, owner: NDArray[Any], column: int
) -> tuple[Float64Array, NDArray[np.intp], int]:
    """From a column to the nearest row that nobody has: Dijkstra's search over rows.

    Returns how far each row is (R,), the row before it on the way (-1: none), and that row.
    """
    far = np.full(slack.shape[1], np.inf)
    before = np.full(slack.shape[1], -1)
    done = np.zeros(slack.shape[1], np.bool_)
    row, gone = -1, 0.0
    while True:
        way = slack[column] + gone
        better = ~done & (way < far)
        far[better], before[better] = way[better], row
        row = int(np.where(done, np.inf, far).argmin())
        if owner[row] < 0:
            return far, before, row
        done[row], gone, column = True, float(far[row]), int(owner[row])
