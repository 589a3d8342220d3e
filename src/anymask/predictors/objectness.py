"""Objectness of a mask: its logits and quality in, the overlap with an object to expect out.

The model's own quality says how well a mask is drawn, not whether anybody would draw it: of a cat
it finds the cat, its ear and the wall behind it, each with a good edge. A logistic regression on
ten facts of a mask (`SHAPE`) gives the chance that a person's mask and the found one overlap with
an IoU of .5. Objectness is that chance times the quality. The weights are the table "objectness" of
the model's bundle, learned from training photos by `recipes/fit_objectness.py`.

Letters: n masks, m the side of their logits, h w its cells that are photo, F facts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from anymask.families import Family
from anymask.primitives.spec import Geometry
from anymask.primitives.types import BoolArray, FloatArray

Floats = NDArray[np.float64]

SURE = 1.0  # logits from the threshold within which a cell is a doubt
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
    """A logistic regression on the facts, in the order of `Objectness.facts`.

    direct  (F,)        level  of all masks alike        least  objectness of masks that are shown
    """

    direct: Floats
    level: float
    least: float

    @classmethod
    def of(cls, table: Mapping[str, Any]) -> ObjectnessWeights:
        """From a list and numbers, as a family's table has them."""
        return cls(np.array(table["direct"]), float(table["level"]), float(table["least"]))

    def chances(self, facts: Floats) -> Floats:  # (n, F) -> (n,)
        """How likely each mask is an object, 0..1."""
        score = facts @ self.direct + self.level
        likely: Floats = 1 / (1 + np.exp(-np.clip(score, -30, 30)))
        return likely


def objectness_of(family: Family, place: Geometry) -> Objectness | None:
    """What judges masks of a picture; None for a family that did not learn it."""
    table = family.tables.get("objectness")
    if table is None:
        return None
    return Objectness(place, family.spec.mask_threshold, ObjectnessWeights.of(table))


def least_objectness(family: Family) -> float:
    """From which objectness on masks of a model are shown; 0 where it judges none."""
    table = family.tables.get("objectness")
    return 0.0 if table is None else float(table["least"])


class Objectness:
    """Judges the masks of one view.

    place      how their logits lie over it
    threshold  logits above it are object
    """

    def __init__(
        self, place: Geometry, threshold: float, weights: ObjectnessWeights | None
    ) -> None:
        self._place, self._threshold, self._weights = place, threshold, weights

    def of_masks(self, logits: FloatArray, quality: FloatArray) -> Floats:  # (n, m, m), (n,)
        """The overlap with an object that may be expected of each mask, (n,) in 0..1."""
        assert self._weights is not None
        facts = self.facts(logits, quality)
        return self._weights.chances(facts) * np.clip(quality, 0, 1)

    def facts(self, logits: FloatArray, quality: FloatArray) -> Floats:  # -> (n, F)
        """In the order of `SHAPE`."""
        side, place = logits.shape[-1], self._place
        rows, columns = (-(-n * side // place.side) for n in place.input_hw)
        planes = logits[:, :rows, :columns] - np.float32(self._threshold)
        return _shape_facts(planes, planes > 0, quality)


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
