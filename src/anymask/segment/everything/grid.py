"""Select the crops of an image, and the clicks of a grid that probably find new masks.

Every fourth click along each side is decoded first. Then the clicks with the largest expected gain,
given all predictions so far, are decoded a few at a time (`Frontier`).

A click is useful if it finds a mask that no other click found. A network with four hidden units
estimates this from 16 features (`ExpectedGain.mask_features`): the encoder's maps at the click
(`Saliency`), the value of the masks of nearby and of similar clicks (kernel-weighted means, as in
Nadaraya 1964, "On estimating regression"), the masks that already contain the click, and the number
of clicks so far. Its weights are the table "adaptive" of the model's bundle, trained by
`research/fit_adaptive.py`. Score and stability are relative to the settings, so the weights also
work for other models.

Letters: n clicks along a side or decoded at once, N clicks of the grid, C channels, h w a map, M
maps, F features, H hidden units, m the side of a low-resolution mask.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from anymask.base import BoolArray, FloatArray, Floats, IntArray, brief
from anymask.masks import Canvas, Geometry, Window, points_to_model
from anymask.models.rules import DEFAULT_VIDEO_MODEL, Family, shipped_tables
from anymask.segment.settings import Grid

LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class CropView:
    """A window of an image and its position in model space."""

    window: Window  # Window x0, y0, x1, y1 of the image, x1 and y1 exclusive
    image_hw: tuple[int, int]  # Height and width of the whole image
    geometry: Geometry  # Position of the window in model space
    threshold: float  # Logits above it are foreground
    canvas: Canvas = field(default_factory=Canvas, repr=False, compare=False)  # Reusable buffers


@brief
@dataclass(frozen=True)
class Observation:
    """Features of one mask for the adaptive mode."""

    on: BoolArray  # Whether each click of the grid is inside the mask (N,)
    place: int  # Index of the click that found the mask
    value: float  # Quality relative to the thresholds, 0..1
    area: float  # Share of the image, 0..1


def crop_boxes(
    image_hw: tuple[int, int], n_layers: int, overlap_ratio: float = 512 / 1500
) -> tuple[list[Window], list[int]]:
    """Crops of automatic mask generation: the image (layer 0), then 2^i by 2^i crops per layer i.

    The windows and order of segment-anything's `generate_crop_boxes` (utils/amg.py).

    Args:
        image_hw: Height and width of the image.
        n_layers: Number of layers beyond the image.
        overlap_ratio: Overlap relative to the image's short side, halved from layer to layer.

    Returns:
        The windows, and the layer of each window.
    """
    height, width = image_hw
    boxes: list[Window] = [(0, 0, width, height)]
    layers = [0]
    for layer in range(1, n_layers + 1):
        n = 2**layer
        overlap = int(overlap_ratio * min(height, width) * (2 / n))
        crop_w, crop_h = (math.ceil((overlap * (n - 1) + side) / n) for side in (width, height))
        for column in range(n):
            for row in range(n):
                x0, y0 = (crop_w - overlap) * column, (crop_h - overlap) * row
                boxes.append((x0, y0, min(x0 + crop_w, width), min(y0 + crop_h, height)))
                layers.append(layer)
    return boxes, layers


GRID_MAPS = 2  # feature maps used; later ones represent edges and colors more than objects


class Saliency:
    """Distinctiveness of the encoder's feature maps at the clicks of a grid.

    Few clicks of a grid hit a small object, and the masks of other clicks do not predict it. The
    feature maps at a small object differ from those of the rest of the image, and from those at the
    clicks decoded so far. The first measure is salience as the distance from the mean (Achanta et
    al. 2009, "Frequency-tuned salient region detection"), in standard deviations of each channel.

    Attributes:
        maps: Feature maps (C, h, w) on the model's square. A single map is used twice; without maps
            all clicks are equal.
        clicks: Clicks (N, 2) in pixels of the view.
        unusual: Mean squared distance per channel of each click from the mean (M, N).
        new: Mean squared distance per channel from the nearest decoded click (M, N), initially
            infinite.
    """

    def __init__(self, maps: Sequence[FloatArray], clicks: Floats, geometry: Geometry) -> None:
        places = points_to_model(clicks, geometry) / geometry.side
        sampled = [values_at(features, places) for features in maps[:GRID_MAPS]]
        sampled = sampled or [np.zeros((len(clicks), 1), np.float32)]
        for values in sampled:
            values -= values.mean(0)
            values /= np.maximum(values.std(0), np.float32(1e-6))  # 0 for a constant channel
        self._seen = [sampled[min(index, len(sampled) - 1)] for index in range(GRID_MAPS)]
        self.unusual = np.stack([np.square(values).mean(1) for values in self._seen])
        self.new = np.full_like(self.unusual, np.inf)

    def update(self, decoded: IntArray) -> FloatArray:  # (n,) -> (N, n)
        """Register decoded clicks and return the distances of all clicks to each of them.

        The distances are mean squared distances per channel, averaged over the maps.
        """
        each = np.stack([squares(seen, seen[decoded]) / seen.shape[1] for seen in self._seen])
        np.minimum(self.new, each.min(2, initial=np.inf), out=self.new)
        return each.mean(0)


def values_at(one: FloatArray, places: Floats) -> FloatArray:
    """Sample a map (C, h, w) bilinearly at places (N, 2) in 0..1 -> (N, C)."""
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
    return (above * (1 - down) + below * down).T


def squares(places: FloatArray, others: FloatArray) -> FloatArray:  # (N, C), (n, C) -> (N, n)
    """Pairwise squared distances."""
    lengths = np.square(places).sum(1)[:, None] + np.square(others).sum(1)
    return np.maximum(lengths - 2 * places @ others.T, 0)


GRID_CELLS = 32  # distances are in 32nds of the image's sides, the grid of the training
NEAR_SIGMA, WIDE_SIGMA = 1.5, 3.0  # standard deviations of the spatial kernels
NEAR_MISS_SIGMA = 2.0  # standard deviation of the kernel around clicks whose mask nearly passed
FEATURE_VARIANCE, FEATURE_SIGMA = 0.15, 10.0  # of the kernel: over the maps, and in space
DOUBT = 0.3  # weight of the global mean among clicks with similar features
MIN_WEIGHT_SUM = 1e-3  # lower limit of the sum of weights
AREA_PENALTY = 50.0  # a mask of 1 / AREA_PENALTY of the image has 0.7 of the value of a tiny one
DISTANCE_WEIGHT = 0.02  # weight of a squared spatial distance relative to one of the maps
SALIENCE_OFFSET, AREA_OFFSET, CROWDING_OFFSET = 0.05, 1e-3, 0.1  # offsets inside logarithms
MAX_BORDER_DISTANCE = 4.0  # upper limit of the distance to the image border


@brief
@dataclass(frozen=True, eq=False)
class TanhNetwork:
    """Network with one hidden tanh layer on the first f features."""

    into: Floats  # Hidden weights (f, H)
    bias: Floats  # Hidden bias (H,)
    out: Floats  # Output weights (H,)
    level: float = 0.0  # Output bias

    @classmethod
    def of(cls, table: Mapping[str, Any]) -> TanhNetwork:
        """Create from lists and a number of a model's table."""
        into, bias, out = (np.array(table[name], np.float64) for name in ("into", "bias", "out"))
        return cls(into, bias, out, float(table.get("level", 0.0)))

    def scores(self, mask_features: Floats) -> Floats:  # (n, F) -> (n,)
        """Output for each row of features."""
        output: Floats = (
            np.tanh(mask_features[:, : len(self.into)] @ self.into + self.bias) @ self.out
        )
        return output + self.level


class ExpectedGain:
    """Estimate how likely each click of a grid finds a new mask.

    Args:
        clicks: Clicks (N, 2) in pixels of the view, row by row.
        geometry: Position of the view in model space.
        maps: Feature maps (C, h, w) of the encoder.
        weights: Network on the features in the order of `mask_features`.
    """

    def __init__(
        self, clicks: Floats, geometry: Geometry, maps: Sequence[FloatArray], weights: TanhNetwork
    ) -> None:
        count = len(clicks)
        self._weights = weights
        at = np.divmod(np.arange(count), round(count**0.5))
        self._at = (np.stack(at, 1) * (GRID_CELLS / count**0.5)).astype(np.float32)
        self._salience = Saliency(maps, clicks, geometry)
        self._far = np.full(count, np.inf, np.float32)
        self._smallest = np.ones(count)
        self._nearly, self._passed = np.zeros(count), np.zeros(count)
        self._seen = np.zeros(count, np.bool_)
        self._worth, self._value = np.zeros(count), np.zeros(count)
        self._sums = np.zeros((7, count))
        self._decoded, self._total = 0, 0.0

    def register_mask(self, on: BoolArray, click: int, value: float, area: float) -> None:
        """Register a mask.

        Args:
            on: Whether each click is inside the mask (N,).
            click: Index of the click that found the mask.
            value: Quality relative to the thresholds; 1 if the mask passed.
            area: Share of the image.
        """
        self._seen |= on
        self._smallest[on] = np.minimum(self._smallest[on], area)
        self._value[click] = max(self._value[click], value)
        self._worth[click] = max(self._worth[click], value / np.sqrt(1 + AREA_PENALTY * area))
        if value >= 1:
            self._passed += on
        else:
            apart = squares(self._at[on], self._at[[click]])[:, 0]
            nearly = value * np.exp(-apart / (2 * NEAR_MISS_SIGMA**2))
            self._nearly[on] = np.maximum(self._nearly[on], nearly)

    def update(self, decoded: IntArray) -> None:
        """Register decoded clicks (n,), after `register_mask` for all of their masks."""
        apart = squares(self._at, self._at[decoded])
        unlike = self._salience.update(decoded)
        np.minimum(self._far, apart.min(1, initial=np.inf), out=self._far)
        expected_ious, value = self._worth[decoded], self._value[decoded]
        near, wide = (np.exp(-apart / (2 * width**2)) for width in (NEAR_SIGMA, WIDE_SIGMA))
        alike = np.exp(-unlike / (2 * FEATURE_VARIANCE) - apart / (2 * FEATURE_SIGMA**2))
        for total, weights, of in zip(
            self._sums,
            (near, near, near, wide, wide, alike, alike),
            (None, expected_ious, value, None, expected_ious, None, expected_ious),
            strict=True,
        ):
            total += weights.sum(1) if of is None else weights @ of
        self._decoded += len(decoded)
        self._total += float(expected_ious.sum())

    def of_clicks(self) -> Floats:  # (N,)
        """Score of each click for finding a new mask. Requires at least one `update`."""
        return self._weights.scores(self.mask_features())

    def mask_features(self) -> Floats:  # (N, F)
        """Sixteen features of each click."""
        near, near_worth, near_value, wide, wide_worth, alike, alike_worth = self._sums
        mean = self._total / max(self._decoded, 1)
        count = len(self._at)
        rim = np.minimum(self._at, self._at.max(0) - self._at).min(1)
        return np.stack(
            [
                *np.log(self._salience.new + DISTANCE_WEIGHT * self._far + SALIENCE_OFFSET),
                *np.log(self._salience.unusual + SALIENCE_OFFSET),
                np.where(self._seen, 0.0, 1.0),
                np.log(self._smallest + AREA_OFFSET),
                np.minimum(rim, MAX_BORDER_DISTANCE),
                np.full(count, self._decoded / count),
                np.log1p(self._passed),
                near_worth / (near + MIN_WEIGHT_SUM),
                self._nearly,
                near_value / (near + MIN_WEIGHT_SUM),
                wide_worth / (wide + MIN_WEIGHT_SUM),
                np.log(near + CROWDING_OFFSET),
                np.full(count, mean),
                (alike_worth + DOUBT * mean) / (alike + DOUBT),
            ],
            axis=1,
        )


STEP = 4  # of the first clicks along each side
GRID_DIVISOR = 3  # at most one of this number of clicks is decoded
GRID_BATCH_SIZE = 8  # clicks per batch
PROMISING = 0.5  # of the score threshold: masks with a lower score are not observed


def most_clicks(count: int) -> int:
    """Maximum number of decoded clicks of a grid of N clicks."""
    return max(len(_first(round(count**0.5))), count // GRID_DIVISOR)


def _first(side: int) -> IntArray:
    axis = np.arange(min(1, side - 1), side, STEP)
    return (axis[:, None] * side + axis[None, :]).reshape(-1).astype(np.int64)


class Frontier:
    """State of an adaptive search: decoded clicks of a grid and their results.

    Args:
        clicks: Clicks (N, 2) in pixels of the view, row by row.
        view: The view that is searched.
        settings: Settings of the grid.
        weights: Network that ranks the clicks.
        maps: Feature maps (C, h, w) of the encoder.
    """

    def __init__(
        self,
        clicks: Floats,
        view: CropView,
        settings: Grid,
        weights: TanhNetwork,
        maps: Sequence[FloatArray] = (),
    ) -> None:
        self._clicks, self._view, self._settings = clicks, view, settings
        self._places = points_to_model(clicks, view.geometry)
        self._gain = ExpectedGain(clicks, view.geometry, maps, weights)
        self._decoded = np.zeros(len(clicks), np.bool_)
        self._last = np.zeros(0, np.int64)
        self._left = most_clicks(len(clicks))

    def next(self) -> IntArray:
        """Indices of the next clicks to decode; empty at the end."""
        if not self._decoded.any():
            chosen = _first(round(len(self._clicks) ** 0.5))
        elif not self._left:
            return np.zeros(0, np.int64)
        else:
            self._gain.update(self._last)
            gain = np.where(self._decoded, -np.inf, self._gain.of_clicks())
            chosen = np.argsort(-gain, kind="stable")[: min(GRID_BATCH_SIZE, self._left)]
        self._decoded[chosen] = True
        self._left -= len(chosen)
        self._last = chosen
        return chosen

    def mask_features(self) -> Floats:  # (N, F)
        """Features on which the choice of clicks is based; see `research/fit_adaptive.py`."""
        return self._gain.mask_features()

    def is_observable(self, quality: FloatArray) -> BoolArray:
        """Whether the score of each candidate is high enough for an observation."""
        return quality > PROMISING * self._settings.score

    def observe(self, plane: FloatArray, quality: float, click: Floats) -> Observation:
        """Observation of a candidate (m, m) and the click (2,) that found it."""
        settings, view = self._settings, self._view
        step = view.geometry.side / len(plane)
        height, width = (max(1, round(side / step)) for side in view.geometry.input_hw)
        logits, middle = plane[:height, :width], view.threshold
        offset = settings.stability_score_offset
        inner, outer = (int((logits > middle + step).sum()) for step in (offset, -offset))
        value = _part(quality, settings.score)
        value *= _part(inner / max(outer, 1), settings.stability)
        inside = logits > middle
        cells = (self._places / step).astype(np.intp)
        on = inside[np.minimum(cells[:, 1], height - 1), np.minimum(cells[:, 0], width - 1)]
        index = int(np.abs(self._clicks - click).sum(1).argmin())
        return Observation(on, index, value, np.count_nonzero(inside) / inside.size)

    def learn(self, observation: Observation) -> None:
        """Register the observation of a candidate."""
        self._gain.register_mask(
            observation.on, observation.place, observation.value, observation.area
        )


def _part(value: float, requested: float) -> float:
    """Ratio of a value to its threshold, 0..1."""
    return min(max(value, 0.0) / requested, 1.0) if requested > 0 else 1.0


def adaptive_table(family: Family) -> Mapping[str, Any]:
    """Parameters that select the clicks of adaptive mode: the family's, else the default model's.

    Those of the default model work for any model, because score and stability are relative to the
    settings; their use is logged.
    """
    table: Mapping[str, Any] | None = family.tables.get("adaptive")
    if table is not None:
        return table
    LOG.info(
        "%s has no table for adaptive mode, so the table of %s selects the points. Exact mode "
        "uses all points of the grid.", family.spec.name, DEFAULT_VIDEO_MODEL,
    )  # fmt: skip
    return shipped_tables(DEFAULT_VIDEO_MODEL)["adaptive"]
