"""Adaptive choice of clicks: what a grid's clicks have found in, the clicks to ask next out.

Every fourth click along each side goes first. Then the clicks with the largest expected gain
(`ExpectedGain`), after all that was answered so far, are asked a few at a time.

Letters: n clicks along a side, N = n * n, m the side of a low-resolution mask.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from anymask.predictors.expected_gain import AdaptiveWeights, ExpectedGain
from anymask.predictors.grid import Grid
from anymask.predictors.screening import CropView
from anymask.predictors.search_log import Lesson
from anymask.primitives.resize import points_to_model
from anymask.primitives.types import FloatArray, IntArray

STEP = 4  # of the first clicks along each side
SHARE = 3  # at most one click of so many is asked
AT_ONCE = 8  # clicks between two looks at what they found
PROMISING = 0.5  # of the wanted quality: masks of less are not looked at


def most_clicks(count: int) -> int:
    """Of a grid of N clicks, how many are asked at most."""
    side = round(count**0.5)
    return max(len(_first(side)), count // SHARE)


def _first(side: int) -> IntArray:
    axis = np.arange(min(1, side - 1), side, STEP)
    return (axis[:, None] * side + axis[None, :]).reshape(-1).astype(np.int64)


class Frontier:
    """State of an adaptive search: which clicks of a grid were asked, and what they found.

    clicks   (N, 2) in pixels of the view, row by row
    weights  what judges them
    maps     the encoder's, (C, h, w) each
    """

    def __init__(
        self,
        clicks: NDArray[np.float64],
        view: CropView,
        settings: Grid,
        weights: AdaptiveWeights,
        maps: Sequence[FloatArray] = (),
    ) -> None:
        self._clicks, self._view, self._settings = clicks, view, settings
        self._places = points_to_model(clicks, view.geometry)
        self._gain = ExpectedGain(clicks, view.geometry, maps, weights)
        self._asked = np.zeros(len(clicks), np.bool_)
        self._last = np.zeros(0, np.int64)
        self._left = most_clicks(len(clicks))

    def next(self) -> IntArray:
        """The next clicks to ask, by their place in the grid; none at the end."""
        if not self._asked.any():
            chosen = _first(round(len(self._clicks) ** 0.5))
        elif not self._left:
            return np.zeros(0, np.int64)
        else:
            self._gain.notice(self._last)
            gain = np.where(self._asked, -np.inf, self._gain.of_clicks())
            chosen = np.argsort(-gain, kind="stable")[: min(AT_ONCE, self._left)]
        self._asked[chosen] = True
        self._left -= len(chosen)
        self._last = chosen
        return chosen

    def facts(self) -> NDArray[np.float64]:  # (N, F)
        """What the choice of the next clicks rests on; see `research/fit_adaptive.py`."""
        return self._gain.facts()

    def worth_a_look(self, quality: FloatArray) -> NDArray[np.bool_]:
        """Candidates whose quality is near enough to what is asked for to learn from."""
        looked: NDArray[np.bool_] = quality > PROMISING * self._settings.pred_iou_thresh
        return looked

    def lesson(self, plane: FloatArray, quality: float, click: NDArray[np.float64]) -> Lesson:
        """What is to be learned of a candidate (m, m) and of the click (2,) that found it."""
        settings, view = self._settings, self._view
        step = view.geometry.side / len(plane)
        height, width = (max(1, round(side / step)) for side in view.geometry.input_hw)
        seen, middle = plane[:height, :width], view.threshold
        offset = settings.stability_score_offset
        inner, outer = (int((seen > middle + step).sum()) for step in (offset, -offset))
        value = _part(quality, settings.pred_iou_thresh)
        value *= _part(inner / max(outer, 1), settings.stability_score_thresh)
        inside = seen > middle
        cells = (self._places / step).astype(np.intp)
        on = inside[np.minimum(cells[:, 1], height - 1), np.minimum(cells[:, 0], width - 1)]
        place = int(np.abs(self._clicks - click).sum(1).argmin())
        return Lesson(on, place, value, np.count_nonzero(inside) / inside.size)

    def learn(self, lesson: Lesson) -> None:
        """Take notice of a candidate."""
        self._gain.see(lesson.on, lesson.place, lesson.value, lesson.area)


def _part(value: float, wanted: float) -> float:
    """How much of what is wanted is there, 0..1."""
    return min(max(value, 0.0) / wanted, 1.0) if wanted > 0 else 1.0
