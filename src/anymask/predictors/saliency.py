"""Saliency of clicks: an encoder's maps and a grid in, how unusual and how new each place is out.

Small objects are met by few clicks of a grid, often by one alone, and nothing that the other clicks
find tells of them. The encoder does: where something small lies, its maps differ from those of the
rest of the photo, and from those at the clicks that were asked already. The first is old (salience
as the distance from the mean of a picture's colours: Achanta et al. 2009, "Frequency-tuned salient
region detection"), taken here on the maps and in units of each channel's deviation.

Letters: N clicks, n of them asked, C channels, h w the map, M maps.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from anymask.primitives.resize import points_to_model
from anymask.primitives.spec import Geometry
from anymask.primitives.types import FloatArray, IntArray

MAPS = 2  # the first maps of an embedding; later ones show edges and colours more than objects


class Saliency:
    """What the encoder's maps say of the clicks of one grid.

    maps     (C, h, w) each, on the model's square; one alone counts for both, and without any all
             clicks are alike
    clicks   (N, 2) in pixels of the view
    unusual  (M, N) squared distance of each click from the mean of all, a channel
    new      (M, N) squared distance from the nearest click that was asked; infinite at first
    """

    def __init__(
        self, maps: Sequence[FloatArray], clicks: NDArray[np.float64], geometry: Geometry
    ) -> None:
        places = points_to_model(clicks, geometry) / geometry.side
        seen = [_standard(values_at(one, places)) for one in maps[:MAPS]]
        seen = seen or [np.zeros((len(clicks), 1), np.float32)]
        self._seen = [seen[min(index, len(seen) - 1)] for index in range(MAPS)]
        self.unusual = np.stack([np.square(values).mean(1) for values in self._seen])
        self.new = np.full_like(self.unusual, np.inf)

    def notice(self, asked: IntArray) -> FloatArray:  # (n,) -> (N, n)
        """Take notice of clicks that are asked: how unlike each of them every click is, 0 and up.

        The squared distances, a channel, as the mean of the maps.
        """
        each = np.stack([squares(seen, seen[asked]) / seen.shape[1] for seen in self._seen])
        np.minimum(self.new, each.min(2, initial=np.inf), out=self.new)
        unlike: FloatArray = each.mean(0)
        return unlike


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


def squares(places: FloatArray, others: FloatArray) -> FloatArray:  # (N, C), (n, C) -> (N, n)
    """Squared distances."""
    lengths = np.square(places).sum(1)[:, None] + np.square(others).sum(1)
    apart: FloatArray = np.maximum(lengths - 2 * places @ others.T, 0)
    return apart


def _standard(values: FloatArray) -> FloatArray:  # (N, C)
    """Each channel with mean 0 and deviation 1; a channel that is the same everywhere is 0."""
    centred: FloatArray = values - values.mean(0)
    centred /= np.maximum(centred.std(0), np.float32(1e-6))
    return centred
