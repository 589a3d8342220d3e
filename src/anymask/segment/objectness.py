"""Objectness of a mask: its logits and what the encoder saw in, how likely it is an object out.

The model's own quality says how well a mask is drawn, not whether anybody would draw it: of a cat
it finds the cat, its ear and the wall behind it, each with a good edge. Small networks on facts of
a mask give the chance that a mask which a person drew overlaps it with an IoU of .5: facts of its
shape (`SHAPE`), which candidate of its click it is, the qualities of all candidates, and the mean
of the encoder's first map inside the mask, in a ring around it and in the whole photo. Each network
takes the first so many facts; the mean of their scores becomes the chance. Their weights are the
table "objectness" of the model's bundle, learned from training photos by
`research/fit_objectness.py`; the same table says with which thresholds to search.

Letters: n masks, K candidates of a click, C channels of the first map, m the side of the masks'
logits, h w its cells that are photo, F facts, H hidden units.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from anymask.base import BoolArray, FloatArray
from anymask.masks import Features, Geometry
from anymask.models.rules import Family
from anymask.segment.postprocess import NEARLY_BEST

Floats = NDArray[np.float64]

SURE = 1.0  # logits from the threshold within which a cell is a doubt
MOST = 6.0  # logits that a cell counts at most
RING = 2  # cells of the encoder's map that a ring is wide

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
class ObjectnessNetwork:
    """One hidden layer on the first f facts.

    into  (f, H)        bias  (H,)        out  (H,)        level  of all masks alike
    """

    into: Floats
    bias: Floats
    out: Floats
    level: float

    @classmethod
    def of(cls, table: Mapping[str, Any]) -> ObjectnessNetwork:
        """From lists and a number, as a family's table has them."""
        into, bias, out = (np.array(table[name], np.float64) for name in ("into", "bias", "out"))
        return cls(into, bias, out, float(table["level"]))

    def scores(self, facts: Floats) -> Floats:  # (n, F) -> (n,)
        """Before they are made chances."""
        found: Floats = np.tanh(facts[:, : len(self.into)] @ self.into + self.bias) @ self.out
        return found + self.level


@dataclass(frozen=True, eq=False)
class ObjectnessWeights:
    """Networks whose scores are averaged, and the least chance of masks that are shown."""

    networks: Sequence[ObjectnessNetwork]
    least: float

    @classmethod
    def of(cls, table: Mapping[str, Any]) -> ObjectnessWeights:
        """From a family's table."""
        networks = [ObjectnessNetwork.of(one) for one in table["networks"]]
        return cls(networks, float(table["least"]))

    @property
    def facts(self) -> int:
        """How many facts of a mask they need, F."""
        return max(len(one.into) for one in self.networks)

    def chances(self, facts: Floats) -> Floats:  # (n, F) -> (n,)
        """How likely each mask is an object, 0..1."""
        score = np.mean([one.scores(facts) for one in self.networks], axis=0)
        likely: Floats = 1 / (1 + np.exp(-np.clip(score, -30, 30)))
        return likely


def objectness_of(family: Family, seen: Features, least: float = 0.0) -> Objectness | None:
    """What judges masks of a picture; None for a family that did not learn it.

    least  chance below which masks are not wanted, as `Objectness.worth_cutting` says
    """
    table = family.tables.get("objectness")
    if table is None:
        return None
    weights = ObjectnessWeights.of(table)
    return Objectness(seen.geometry, family.spec.mask_threshold, seen.features, weights, least)


def least_objectness(family: Family) -> float:
    """From which objectness on masks of a model are shown; 0 where it judges none."""
    table = family.tables.get("objectness")
    return 0.0 if table is None else float(table["least"])


class Objectness:
    """Judges the masks of one view.

    place      how their logits lie over it
    threshold  logits above it are object
    view       the encoder's first map of it, (C, _, _) for the model's whole square
    least      chance below which masks are not wanted
    """

    def __init__(
        self,
        place: Geometry,
        threshold: float,
        view: FloatArray,
        weights: ObjectnessWeights | None,
        least: float = 0.0,
    ) -> None:
        self._place, self._threshold, self._weights = place, threshold, weights
        self._least, self._most = least, 0.0
        rows, columns = self._cells(view.shape[-1])
        self._view = np.ascontiguousarray(view[:, :rows, :columns], np.float32)
        self._whole = self._view.mean(axis=(1, 2))

    def of_masks(self, logits: FloatArray, quality: FloatArray, chosen: BoolArray) -> Floats:
        """The chance that each of n masks is an object, (n,) in 0..1; as `facts` takes them."""
        assert self._weights is not None
        return self._weights.chances(self.facts(logits, quality, chosen))

    def worth_cutting(self, chances: Floats) -> list[int]:  # (n,)
        """Which masks may be shown, after all that were asked about before.

        Those that reach the least chance, and those near the best so far: where none reaches it,
        the nearly best are shown (`NEARLY_BEST`).
        """
        self._most = max(self._most, float(chances.max(initial=0)))
        least = min(self._least, NEARLY_BEST * self._most)
        return np.flatnonzero(chances >= least).tolist()

    def facts(self, logits: FloatArray, quality: FloatArray, chosen: BoolArray) -> Floats:
        """Of each mask its shape, which candidate it is, all qualities, what is seen: (n, F).

        logits   (n, m, m)
        quality  (n, K) of all candidates of each mask's click
        chosen   (n, K) true at the mask's own place among them

        F is 10 + 2 K + 3 C.
        """
        rows, columns = self._cells(logits.shape[-1])
        planes = logits[:, :rows, :columns] - np.float32(self._threshold)
        masks = planes > 0
        shape = _shape_facts(planes, masks, quality[chosen])
        return np.concatenate([shape, chosen, quality, self._seen(masks)], axis=1)

    def _cells(self, side: int) -> tuple[int, int]:
        """Rows and columns of a map of that side that are photo."""
        rows, columns = (-(-n * side // self._place.side) for n in self._place.input_hw)
        return rows, columns

    def _seen(self, masks: BoolArray) -> FloatArray:  # (n, h, w) -> (n, 3 C)
        """Means of the encoder's map: in the mask, around it, in the photo."""
        channels, rows, columns = self._view.shape
        kernel = np.ones((2 * RING + 1, 2 * RING + 1), np.uint8)
        inner = np.zeros((len(masks), rows * columns), np.float32)
        ring = np.zeros_like(inner)
        for inside, around, mask in zip(inner, ring, masks, strict=True):
            share = mask.astype(np.float32)
            share = cv2.resize(share, (columns, rows), interpolation=cv2.INTER_AREA)
            inside[:] = share.ravel()
            grown = cv2.dilate((share > 0).view(np.uint8), kernel).astype(np.float32)
            around[:] = (grown * (1 - share)).ravel()
        cells = self._view.reshape(channels, -1).T
        means = [part @ cells / (part.sum(1, keepdims=True) + 1e-3) for part in (inner, ring)]
        return np.concatenate([*means, np.tile(self._whole, (len(masks), 1))], axis=1)


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
