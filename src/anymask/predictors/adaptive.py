"""Which clicks of a grid are worth asking, when most of them find nothing new.

Every third click along each side goes first. Then the clicks are asked that lie on the most
promising masks seen so far: masks that nearly pass the thresholds, as one more click on them often
does, and small ones before large ones, as a click on a large mask may mean anything. What passed
already counts a little less. Where no mask was seen at all, that is a promise as well: something
may be there that no click has met. All of that is multiplied with what the encoder's maps say of
the place (`salience`): most objects that are missed are so small that one click alone meets them,
and no mask near them tells.

The third and the numbers below were found on photos with `nano`; `anymask bench everything` with a
folder of photos measures what they find.

Letters: n clicks along a side, N = n * n, m the side of a low-resolution mask.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from anymask.predictors.grid import Grid
from anymask.predictors.salience import Salience
from anymask.predictors.screening import View
from anymask.primitives.resize import points_to_model
from anymask.primitives.types import FloatArray, IntArray

STEP = 3  # of the first clicks along each side
SHARE = 3  # at most one click of so many is asked
AT_ONCE = 16  # clicks between two looks at what they found
PROMISING = 0.5  # of the wanted quality: masks of less are not looked at
PASSED = 0.8  # what a mask counts that passed, where one that just fails counts 1
UNSEEN = 0.6  # what a place counts on which no mask was seen
LEAST = 0.03  # what every place counts that was not asked, whatever was seen of it
SMALL = 50.0  # a mask of 1 / SMALL of the photo counts 0.7 of a tiny one


def most_clicks(count: int) -> int:
    """Of a grid of N clicks, how many are asked at most."""
    side = round(count**0.5)
    return max(len(_first(side)), -(-count // SHARE))


def _first(side: int) -> IntArray:
    axis = np.arange(min(1, side - 1), side, STEP)
    return (axis[:, None] * side + axis[None, :]).reshape(-1).astype(np.int64)


class Frontier:
    """What is known of every click of a grid.

    clicks  (N, 2) in pixels of the view, row by row
    maps    the encoder's, (C, h, w) each
    """

    def __init__(
        self,
        clicks: NDArray[np.float64],
        view: View,
        settings: Grid,
        maps: Sequence[FloatArray] = (),
    ) -> None:
        self._side = round(len(clicks) ** 0.5)
        self._clicks, self._view, self._settings = clicks, view, settings
        self._salience = Salience(maps, clicks, view.geometry)
        self._promise = np.zeros(len(clicks))
        self._seen = np.zeros(len(clicks), np.bool_)
        self._asked = np.zeros(len(clicks), np.bool_)
        self._left = most_clicks(len(clicks))

    def next(self) -> IntArray:
        """The next clicks to ask, by their place in the grid; none at the end."""
        if not self._asked.any():
            chosen = _first(self._side)
        else:
            promise = np.where(self._seen, self._promise, UNSEEN) + LEAST
            promise *= self._salience.of_clicks()
            promise[self._asked] = 0
            chosen = np.argsort(-promise, kind="stable")[: min(AT_ONCE, self._left)]
        self._asked[chosen] = True
        self._salience.notice(chosen)
        self._left -= len(chosen)
        return chosen

    def worth_a_look(self, quality: FloatArray) -> NDArray[np.bool_]:
        """Which candidates are promising."""
        looked: NDArray[np.bool_] = quality > PROMISING * self._settings.pred_iou_thresh
        return looked

    def learn(self, plane: FloatArray, quality: float) -> None:
        """Take notice of a candidate (m, m)."""
        settings, view = self._settings, self._view
        step = view.geometry.side / len(plane)
        height, width = (max(1, round(side / step)) for side in view.geometry.input_hw)
        seen, middle = plane[:height, :width], view.threshold
        offset = settings.stability_score_offset
        inner, outer = (int((seen > middle + step).sum()) for step in (offset, -offset))
        stability = inner / max(outer, 1)
        value = _part(quality, settings.pred_iou_thresh)
        value *= _part(stability, settings.stability_score_thresh)
        if value >= 1:
            value = PASSED
        inside = seen > middle
        value /= np.sqrt(1 + SMALL * np.count_nonzero(inside) / inside.size)
        cells = (points_to_model(self._clicks, view.geometry) / step).astype(np.intp)
        on = inside[np.minimum(cells[:, 1], height - 1), np.minimum(cells[:, 0], width - 1)]
        self._seen |= on
        self._promise[on] = np.maximum(self._promise[on], value)


def _part(value: float, wanted: float) -> float:
    """How much of what is wanted is there, 0..1."""
    return min(max(value, 0.0) / wanted, 1.0) if wanted > 0 else 1.0
