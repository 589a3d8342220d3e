"""How much each click of a grid promises before it is asked: by what the encoder sees there.

Small objects are met by few clicks of a grid, often by one alone, and nothing that the other clicks
find tells of them. The encoder does: where something small lies, its maps differ from those of the
rest of the photo, and from those at the clicks that were asked already. The first is old (salience
as the distance from the mean of a picture's colours: Achanta et al. 2009, "Frequency-tuned salient
region detection"), taken here on the maps and in units of each channel's deviation.

Letters: N clicks, C channels, h w the map.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from anymask.primitives.resize import points_to_model
from anymask.primitives.spec import Geometry
from anymask.primitives.types import FloatArray, IntArray

MAPS = 2  # the first maps of an embedding; later ones show edges and colours more than objects
WEIGHT = 0.6  # exponent of all maps together, where what masks promise has 1
LEAST = 0.05  # added to both numbers, so that a dull place is unlikely, never impossible
APART = 0.02  # what a step of the grid, squared, adds to the squared distance of the maps


class Salience:
    """What the encoder's maps say of the clicks of one grid, and which of them are new.

    maps    (C, h, w) each, on the model's square; without any, all clicks are alike
    clicks  (N, 2) in pixels of the view, row by row
    """

    def __init__(
        self, maps: Sequence[FloatArray], clicks: NDArray[np.float64], geometry: Geometry
    ) -> None:
        side = round(len(clicks) ** 0.5)
        self._cells = np.stack(np.divmod(np.arange(len(clicks)), side), 1).astype(np.float32)
        places = points_to_model(clicks, geometry) / geometry.side
        self._seen = [_standard(values_at(one, places)) for one in maps[:MAPS]]
        self._unusual = [_mean_square(seen) for seen in self._seen]
        self._new = [np.full(len(clicks), np.inf, np.float32) for _ in self._seen]

    def notice(self, asked: IntArray) -> None:
        """Take notice of clicks that are asked."""
        apart = APART * _distances(self._cells, self._cells[asked])
        for seen, new in zip(self._seen, self._new, strict=True):
            distance = _distances(seen, seen[asked]) / seen.shape[1] + apart
            np.minimum(new, distance.min(1, initial=np.inf), out=new)

    def of_clicks(self) -> FloatArray:  # (N,), above 0
        """A factor for each click, once some have been noticed."""
        factor = np.ones(len(self._cells), np.float32)
        for unusual, new in zip(self._unusual, self._new, strict=True):
            factor *= ((unusual + LEAST) * (new + LEAST)) ** (WEIGHT / len(self._seen))
        return factor


def values_at(one: FloatArray, places: NDArray[np.float64]) -> FloatArray:
    """A map (C, h, w) at places (N, 2) in 0..1 of its width and height -> (N, C), bilinear."""
    corner, share = [], []
    for along, length in enumerate((one.shape[2], one.shape[1])):
        at = np.clip(places[:, along] * length - 0.5, 0, length - 1)
        first = np.minimum(at.astype(np.intp), max(length - 2, 0))
        corner.append((first, np.minimum(first + 1, length - 1)))
        share.append((at - first).astype(np.float32))
    (left, right), (upper, lower) = corner
    to_right, down = share
    above = one[:, upper, left] * (1 - to_right) + one[:, upper, right] * to_right
    below = one[:, lower, left] * (1 - to_right) + one[:, lower, right] * to_right
    values: FloatArray = (above * (1 - down) + below * down).T
    return values


def _standard(values: FloatArray) -> FloatArray:  # (N, C)
    """Each channel with mean 0 and deviation 1; a channel that is the same everywhere is 0."""
    centred: FloatArray = values - values.mean(0)
    centred /= np.maximum(centred.std(0), np.float32(1e-6))
    return centred


def _mean_square(values: FloatArray) -> FloatArray:
    squares: FloatArray = np.square(values).mean(1)
    return squares


def _distances(places: FloatArray, others: FloatArray) -> FloatArray:  # (N, C), (n, C) -> (N, n)
    """Squared distances."""
    lengths = np.square(places).sum(1)[:, None] + np.square(others).sum(1)
    squares: FloatArray = np.maximum(lengths - 2 * places @ others.T, 0)
    return squares
