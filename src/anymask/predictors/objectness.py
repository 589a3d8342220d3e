"""Objectness of a mask: logits and encoder maps in, the chance that it is an object out.

The model's own quality says how well a mask is drawn, not whether anybody would draw it: of a cat
it finds the cat, its ear and the wall behind it, each with a good edge. Objectness is the chance
that a person's mask and the found one overlap with an IoU of .5. It rests on the mask's shape and
numbers (`SHAPE`) and on the encoder's channels, their mean inside the mask and what differs in the
rim around it; a network with few hidden units makes one number of them. Its weights are the table
"objectness" of the model's bundle, learned from training photos by `recipes/fit_objectness.py`.

Letters: n masks, m the side of their logits, h w its cells that are photo, C channels of a map,
F facts, H hidden units.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from anymask.families import Family
from anymask.primitives.spec import Geometry
from anymask.primitives.types import BoolArray, Embedding, FloatArray

Floats = NDArray[np.float64]

SURE = 1.0  # logits from the threshold within which a cell is a doubt
RIM = 3  # cells around a mask that its inside is compared with
MOST = 6.0  # logits that a cell counts at most

SHAPE = (
    "quality",  # the network's own number
    "stability",  # what is surely inside, as a part of what may be inside
    "size",  # logarithm of the share of the photo
    "border",  # share of the outline that lies on the photo's border
    "sides",  # how many of the photo's four sides it touches
    "fill",  # share of its box
    "rough",  # logarithm of the outline's length, squared, in areas
    "certain",  # mean distance of all logits from the threshold
    "whole",  # share of its largest part
    "thick",  # its deepest place, in sides of a mask
)


@dataclass(frozen=True, eq=False)
class ObjectnessWeights:
    """The network that judges a mask; the facts in the order of `Objectness.facts`.

    into  (F, H)        bias  (H,)        out  (H,)        direct  (F,)
    level  of all masks alike        least  chance from which a mask is shown
    """

    into: Floats
    bias: Floats
    out: Floats
    direct: Floats
    level: float
    least: float

    @classmethod
    def of(cls, table: Mapping[str, Any]) -> ObjectnessWeights:
        """From lists and numbers, as a family's table has them."""
        arrays = {name: np.array(table[name]) for name in ("into", "bias", "out", "direct")}
        return cls(**arrays, level=float(table["level"]), least=float(table["least"]))

    def chances(self, facts: Floats) -> Floats:  # (n, F) -> (n,)
        """How likely each mask is an object, 0..1."""
        hidden = np.tanh(facts @ self.into + self.bias)
        score = facts @ self.direct + hidden @ self.out + self.level
        likely: Floats = 1 / (1 + np.exp(-np.clip(score, -30, 30)))
        return likely


def objectness_of(family: Family, place: Embedding) -> Objectness | None:
    """What judges masks of a picture; None for a family that did not learn it."""
    table = family.tables.get("objectness")
    if table is None:
        return None
    maps, weights = [one.values for one in place.maps], ObjectnessWeights.of(table)
    return Objectness(maps, place.geometry, family.spec.mask_threshold, weights)


def least_objectness(family: Family) -> float:
    """From which chance on masks of a model are shown; 0 where it judges none."""
    table = family.tables.get("objectness")
    return 0.0 if table is None else float(table["least"])


class Objectness:
    """Judges the masks of one view.

    maps       the encoder's, (C, m / k, m / k) each with its own whole k
    threshold  logits above it are object
    """

    def __init__(
        self,
        maps: Sequence[FloatArray],
        geometry: Geometry,
        threshold: float,
        weights: ObjectnessWeights | None,
    ) -> None:
        self._maps = [np.asarray(one, np.float32) for one in maps]
        self._geometry, self._threshold, self._weights = geometry, threshold, weights

    def chances(self, logits: FloatArray, quality: FloatArray) -> Floats:  # (n, m, m), (n,)
        """How likely each mask is an object, (n,) in 0..1."""
        assert self._weights is not None
        return self._weights.chances(self.facts(logits, quality))

    def facts(self, logits: FloatArray, quality: FloatArray) -> Floats:  # -> (n, F)
        """`SHAPE`; the mean of each channel inside the mask; the same without that of its rim."""
        side = logits.shape[-1]
        place = self._geometry
        rows, columns = (-(-n * side // place.side) for n in place.input_hw)
        planes = logits[:, :rows, :columns] - np.float32(self._threshold)
        masks = planes > 0
        rims = np.stack([_rim(mask) for mask in masks]) if len(masks) else masks
        inside, around = (
            np.concatenate([_means(part, one, side) for one in self._maps], axis=1)
            for part in (masks, rims)
        )
        shapes = _shape_facts(planes, masks, quality)
        return np.concatenate([shapes, inside, inside - around], axis=1)


def _rim(mask: BoolArray) -> BoolArray:  # (h, w) -> (h, w)
    grown = cv2.dilate(mask.view(np.uint8), np.ones((2 * RIM + 1,) * 2, np.uint8))
    rim: BoolArray = grown.view(np.bool_) & ~mask
    return rim


def _means(masks: BoolArray, channels: FloatArray, side: int) -> Floats:  # (n, h, w), (C, ., .)
    """The mean of each channel over each mask, (n, C); 0 for an empty mask."""
    count, rows, columns = masks.shape
    step = side // channels.shape[-1]
    padded = np.zeros((count, side, side), np.float32)
    padded[:, :rows, :columns] = masks
    across = padded.reshape(count, side // step, step, side // step, step).sum(axis=(2, 4))
    flat = across.reshape(count, -1)
    total = np.maximum(flat.sum(axis=1, keepdims=True), 1)
    means: Floats = ((flat @ channels.reshape(len(channels), -1).T) / total).astype(np.float64)
    return means


def _shape_facts(planes: FloatArray, masks: BoolArray, quality: FloatArray) -> Floats:
    """(n, h, w), (n, h, w), (n,) -> (n, 10) in the order of `SHAPE`."""
    cells = masks.shape[1] * masks.shape[2]
    found = np.zeros((len(masks), len(SHAPE)))
    for row, plane, mask, number in zip(found, planes, masks, quality, strict=True):
        pixels = mask.view(np.uint8)
        area = max(int(np.count_nonzero(mask)), 1)
        inner, outer = (int(np.count_nonzero(plane > at)) for at in (SURE, -SURE))
        padded = np.pad(pixels, 1)
        outline = area - int(np.count_nonzero(cv2.erode(padded, np.ones((3, 3), np.uint8))))
        lines = (pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1])
        rim = np.array([np.count_nonzero(line) for line in lines])
        _, _, parts, _ = cv2.connectedComponentsWithStats(pixels)
        _, _, width, height = cv2.boundingRect(pixels)
        depth = float(cv2.distanceTransform(padded, cv2.DIST_L2, cv2.DIST_MASK_3).max())
        row[:] = (
            number,
            inner / max(outer, 1),
            np.log(area / cells),
            rim.sum() / max(outline, 1),
            np.count_nonzero(rim),
            area / max(width * height, 1),
            np.log(max(outline, 1) ** 2 / area),
            np.minimum(np.abs(plane), MOST).mean(),
            parts[1:, cv2.CC_STAT_AREA].max(initial=1) / area,
            depth / np.sqrt(area),
        )
    return found
