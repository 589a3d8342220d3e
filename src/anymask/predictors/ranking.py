"""Which of nano's masks of a lone click come first, when any of them may be meant.

Fifteen facts of each mask (`FACTS`) say how likely it is the one that is meant: how near its middle
the click lies, its size, outline and doubts, what lies within what, its place in the model's order.
A network with eight hidden units, which also sees the mean facts of all masks, makes a chance of
each.

A mask that overlaps the likely ones is a good answer whichever is right. So its worth is the
overlap with the mask that is meant, as it may be expected (`worth`), and the most worth comes
first. Of the others, the one goes that the rest can best do without: the unlikely, or the twin.

The quality stays the network's own number, which is right on the mean but ranks badly: the highest
number goes to the first mask, the next to the next.

The weights (`assets/ranking.json`) were learned by `recipes/fit_ranking.py` from the masks of
training photos.

Letters: T masks of the decoder, m the side of a low-resolution mask, F facts, h w the cells of a
mask that the photo fills.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anymask.predictors.central import depths
from anymask.primitives.masks import common_pixels
from anymask.primitives.spec import Geometry, ModelSpec
from anymask.primitives.types import BoolArray, FloatArray

SHIPPED = Path(__file__).parents[1] / "assets" / "ranking.json"
SURE = 1.0  # logits within it of the threshold are a doubt
FARTHEST = 2.0  # of the distances between click and middle, in sides of a mask

Floats = NDArray[np.float64]
FACTS = (
    "quality",  # the network's own number
    "depth",  # of the click, as a part of the mask's deepest place
    "size",  # logarithm of the share of the photo
    "stability",  # what is surely inside, as a part of what may be inside
    "certain",  # chance that the click's cell is inside
    "rough",  # logarithm of the outline's length in sides of the mask
    "fill",  # share of its box
    "thick",  # its deepest place, in sides
    "aside",  # from the click to the mask's mean place, in sides
    "within",  # mean share of it that lies inside another mask
    "doubt",  # cells in doubt for each cell of the outline
    "first",  # its place in the model's order
    "second",
    "third",
    "fourth",
)


@dataclass(frozen=True, eq=False)
class Weights:
    """Of the network: direct and out are added, each hidden unit is a tanh.

    direct  (F,) from the facts
    own     (F, 8) from the facts to the hidden units
    mean    (F, 8) from their mean over the T masks
    bias    (8,)
    out     (8,)
    """

    direct: Floats
    own: Floats
    mean: Floats
    bias: Floats
    out: Floats

    @classmethod
    def of(cls, table: Mapping[str, Any]) -> Weights:
        """Of lists, as the file has them."""
        return cls(**{name: np.array(values) for name, values in table.items()})


@cache
def shipped() -> Weights:
    """The weights that were learned with nano."""
    return Weights.of(json.loads(SHIPPED.read_text(encoding="utf-8")))


def ranked_quality(
    quality: FloatArray, logits: FloatArray, click: FloatArray, place: Geometry, spec: ModelSpec
) -> FloatArray:  # (T,), (T, m, m), (2,) in model pixels -> (T,)
    """The same numbers, dealt so that the masks to show are those of the highest, best first."""
    found, shared = facts(quality, logits, click, place, spec)
    likely = chances(found, shipped())
    order = order_of(likely, shared)
    dealt = np.empty_like(quality)
    dealt[order] = np.sort(quality)[::-1]
    return dealt


def order_of(likely: Floats, shared: Floats) -> list[int]:  # (T,), (T, T)
    """The masks, the one of the most worth first, the one that can be spared last."""
    value = worth(likely, shared)
    first = int(value.argmax())
    apart = 1 - np.where(np.eye(len(likely), dtype=np.bool_), -np.inf, shared).max(axis=1)
    loss = likely * apart
    loss[first] = np.inf
    spared = int(loss.argmin())
    return sorted(range(len(likely)), key=lambda n: (n == spared, n != first, -value[n]))


def worth(likely: Floats, shared: Floats) -> Floats:  # (T,), (T, T) -> (T,)
    """The IoU of each mask with the one that is meant, as it may be expected."""
    value: Floats = shared @ likely
    return value


def chances(found: Floats, weights: Weights) -> Floats:  # (T, F) -> (T,)
    """How likely each mask is the one that is meant; they sum to 1."""
    hidden = np.tanh(found @ weights.own + found.mean(axis=0) @ weights.mean + weights.bias)
    score = found @ weights.direct + hidden @ weights.out
    chance = np.exp(score - score.max())
    likely: Floats = chance / chance.sum()
    return likely


def facts(
    quality: FloatArray, logits: FloatArray, click: FloatArray, place: Geometry, spec: ModelSpec
) -> tuple[Floats, Floats]:  # (T,), (T, m, m), (2,) in model pixels -> (T, F), (T, T)
    """What is known of each mask, in the order of `FACTS`, and the IoU of every two."""
    rows, columns = (-(-n * spec.mask_side // spec.image_side) for n in place.input_hw)
    planes = logits[:, :rows, :columns] - np.float32(spec.mask_threshold)
    masks = planes > 0
    most = (columns - 1, rows - 1)
    x, y = np.clip(click * (spec.mask_side / spec.image_side), 0, most).astype(int)
    both = common_pixels(masks, masks)
    area = np.maximum(np.diag(both), 1)
    sides = np.sqrt(area)
    inner, outer = (np.count_nonzero(planes > at, axis=(1, 2)) for at in (SURE, -SURE))
    outline = np.count_nonzero(masks[:, 1:] != masks[:, :-1], axis=(1, 2))
    outline = outline + np.count_nonzero(masks[:, :, 1:] != masks[:, :, :-1], axis=(1, 2))
    deep = [depths(mask) for mask in masks]
    deepest = np.array([depth.max() for depth in deep])
    box, middle = _boxes(masks)
    found = np.empty((len(quality), len(FACTS)))
    found[:, :11] = np.stack(
        [
            quality,
            np.array([depth[y, x] for depth in deep]) / np.maximum(deepest, 1),
            np.log(area / (rows * columns)),
            inner / np.maximum(outer, 1),
            1 / (1 + np.exp(-planes[:, y, x])),
            np.log((outline + 4) / sides),
            np.diag(both) / box,
            deepest / sides,
            np.minimum(np.hypot(*(middle - (x, y)).T) / sides, FARTHEST),
            (both.sum(axis=1) - np.diag(both)) / (area * (len(area) - 1)),
            (outer - inner) / np.maximum(outline, 1),
        ],
        axis=1,
    )
    found[:, 11:] = np.eye(len(quality))
    shared = both / np.maximum(np.add.outer(np.diag(both), np.diag(both)) - both, 1)
    np.fill_diagonal(shared, 1)
    return found, shared


def _boxes(masks: BoolArray) -> tuple[Floats, Floats]:  # (T, h, w) -> (T,), (T, 2)
    """Cells of each mask's box, at least 1, and its mean place (x, y); (0, 0) of an empty one."""
    sizes, means = [], []
    for axis in (1, 2):
        counts = np.count_nonzero(masks, axis=axis)  # over the columns, then over the rows
        filled = counts > 0
        last = counts.shape[1] - filled[:, ::-1].argmax(axis=1)
        sizes.append(last - filled.argmax(axis=1))
        means.append(counts @ np.arange(counts.shape[1]) / np.maximum(counts.sum(axis=1), 1))
    box = np.where(masks.any(axis=(1, 2)), sizes[0] * sizes[1], 1)
    return box.astype(np.float64), np.stack(means, axis=1)
