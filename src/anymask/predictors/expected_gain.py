"""Expected gain of each click of a grid: the answers so far in, how likely a new mask is out.

A click is worth asking when it finds a mask that no other one found. Sixteen numbers of each click
(`ExpectedGain.facts`) say how likely that is: what the encoder sees there (`saliency`), how
worthwhile the answers were of clicks nearby and of those that look alike (means weighted by a
kernel, as in Nadaraya 1964, "On estimating regression"), which masks lie
on it already, and how much was asked. A network with four hidden units makes one number of them.

Its weights are the table "adaptive" of the model's bundle, learned from training photos by
`research/fit_adaptive.py`. They know quality and stability in units of what the settings want, so
other models can use them.

Letters: N clicks, n of them asked at once, F facts, H hidden units.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anymask.predictors.saliency import Saliency, squares
from anymask.primitives.spec import Geometry
from anymask.primitives.types import BoolArray, FloatArray, IntArray

CELLS = 32  # distances are in 32nds of the photo's sides, the grid that the weights were learned on
NEAR, WIDE = 1.5, 3.0  # deviations of the kernels in the photo
CLOSE = 2.0  # and of how far from its click a mask that nearly passed promises something
ALIKE, ABOUT = 0.15, 10.0  # variance of the kernel of the maps, and its deviation in the photo
DOUBT = 0.3  # what the mean of all answers weighs among those of clicks that look alike
FEWEST = 1e-3  # the least sum of weights
SMALL = 50.0  # a mask of 1 / SMALL of the photo is worth 0.7 of a tiny one
APART = 0.02  # what a squared distance in the photo adds to the squared distance of the maps
LEAST, TINY, CROWD = 0.05, 1e-3, 0.1  # added before logarithms
RIM = 4.0  # from so far inside, the photo's rim does not matter


@dataclass(frozen=True, eq=False)
class AdaptiveWeights:
    """The network that judges a click; the facts in the order of `ExpectedGain.facts`.

    into  (F, H)        bias  (H,)        out  (H,)
    """

    into: NDArray[np.float64]
    bias: NDArray[np.float64]
    out: NDArray[np.float64]

    @classmethod
    def of(cls, table: Mapping[str, Any]) -> AdaptiveWeights:
        """From lists, as a family's table has them."""
        return cls(**{name: np.array(values) for name, values in table.items()})


class ExpectedGain:
    """Estimates how likely each click of a grid finds a mask that is still missing.

    clicks  (N, 2) in pixels of the view, row by row
    maps    the encoder's, (C, h, w) each
    """

    def __init__(
        self,
        clicks: NDArray[np.float64],
        geometry: Geometry,
        maps: Sequence[FloatArray],
        weights: AdaptiveWeights,
    ) -> None:
        count = len(clicks)
        self._weights = weights
        at = np.divmod(np.arange(count), round(count**0.5))
        self._at = (np.stack(at, 1) * (CELLS / count**0.5)).astype(np.float32)
        self._salience = Saliency(maps, clicks, geometry)
        self._far = np.full(count, np.inf, np.float32)
        self._smallest = np.ones(count)
        self._nearly, self._passed = np.zeros(count), np.zeros(count)
        self._seen = np.zeros(count, np.bool_)
        self._worth, self._value = np.zeros(count), np.zeros(count)
        self._sums = np.zeros((7, count))
        self._asked, self._total = 0, 0.0

    def see(self, on: BoolArray, click: int, value: float, area: float) -> None:
        """A mask worth a look: the clicks (N,) that lie on it, and who found it.

        value  0..1, and 1 only where it passed
        area   of the photo
        """
        self._seen |= on
        self._smallest[on] = np.minimum(self._smallest[on], area)
        self._value[click] = max(self._value[click], value)
        self._worth[click] = max(self._worth[click], value / np.sqrt(1 + SMALL * area))
        if value >= 1:
            self._passed += on
        else:
            apart = squares(self._at[on], self._at[[click]])[:, 0]
            nearly = value * np.exp(-apart / (2 * CLOSE**2))
            self._nearly[on] = np.maximum(self._nearly[on], nearly)

    def notice(self, asked: IntArray) -> None:
        """Clicks (n,) that were answered, after `see` of all that they found."""
        apart = squares(self._at, self._at[asked])
        unlike = self._salience.notice(asked)
        np.minimum(self._far, apart.min(1, initial=np.inf), out=self._far)
        worth, value = self._worth[asked], self._value[asked]
        near, wide = (np.exp(-apart / (2 * width**2)) for width in (NEAR, WIDE))
        alike = np.exp(-unlike / (2 * ALIKE) - apart / (2 * ABOUT**2))
        for total, weights, of in zip(
            self._sums,
            (near, near, near, wide, wide, alike, alike),
            (None, worth, value, None, worth, None, worth),
            strict=True,
        ):
            total += weights.sum(1) if of is None else weights @ of
        self._asked += len(asked)
        self._total += float(worth.sum())

    def of_clicks(self) -> NDArray[np.float64]:  # (N,)
        """The larger, the likelier a click finds a new mask; once some answers were noticed."""
        weights = self._weights
        hidden = np.tanh(self.facts() @ weights.into + weights.bias)  # -> (N, H)
        gain: NDArray[np.float64] = hidden @ weights.out
        return gain

    def facts(self) -> NDArray[np.float64]:  # (N, F)
        """Sixteen numbers of each click."""
        near, near_worth, near_value, wide, wide_worth, alike, alike_worth = self._sums
        mean = self._total / max(self._asked, 1)
        count = len(self._at)
        rim = np.minimum(self._at, self._at.max(0) - self._at).min(1)
        return np.stack(
            [
                *np.log(self._salience.new + APART * self._far + LEAST),
                *np.log(self._salience.unusual + LEAST),
                np.where(self._seen, 0.0, 1.0),
                np.log(self._smallest + TINY),
                np.minimum(rim, RIM),
                np.full(count, self._asked / count),
                np.log1p(self._passed),
                near_worth / (near + FEWEST),
                self._nearly,
                near_value / (near + FEWEST),
                wide_worth / (wide + FEWEST),
                np.log(near + CROWD),
                np.full(count, mean),
                (alike_worth + DOUBT * mean) / (alike + DOUBT),
            ],
            axis=1,
        )
