"""`nano`'s answers: four masks and their quality in, ordered candidates out.

Every one of `nano`'s four tokens learned from every kind of prompt, so all of them compete.

A lone click is answered with three of them, each cut to the connected part under the click. Fifteen
facts of each (`FACTS`) go through a network with eight hidden units, which also sees their mean,
and give the chance that this mask is meant (`chances`). The mask with the largest expected IoU with
the one that is meant comes first (`worth`); the one that the others can best do without is left
out: an unlikely one, or a near duplicate. The weights are the table "ranking", learned from
training photos by `research/fit_ranking.py`. The score that is told of each is the IoU that may be
expected of a first mask with the network's own number (`expected_iou`; the table "scores" of the
same program).

A clear prompt is answered with the one of the four that agrees best with the others (`likeliest`):
its expected IoU is the largest, where each is as likely as its quality says. Small parts that no
click lies in go before that (`without_parts`). A bare box is asked a second time, with the first
answer and a click at its deepest cell, as `nano` learned to better its own answers
(`training/interaction.py`).

Letters: N prompts, P points, T masks of the decoder, K candidates, m the side of a mask, F facts,
h w the cells of a mask that the photo fills.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import cv2
import numpy as np

from anymask.base import BoolArray, FloatArray, Floats
from anymask.masks import (
    ONE_OR_THREE,
    CloserLook,
    Geometry,
    GridDefaults,
    ModelPrompts,
    ModelSpec,
    TokenRoles,
)
from anymask.models.rules.family import (
    CLEAR,
    CORNERS,
    NO_POINT,
    POSITIVE,
    Decode,
    Multimask,
    Ordered,
    Ranking,
    Tables,
    by_quality,
    in_order,
    lone_clicks,
    wants_many,
)

LEAST_PART = 0.2  # of a mask's largest part
SURE = 1.0  # logits within it of the threshold are a doubt
LEAST_NUMBER = 1e-4  # of the network, and as far from 1
FARTHEST = 2.0  # of the distances between click and middle, in sides of a mask

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
class RankingWeights:
    """Of the ranking network: direct and out are added, each hidden unit is a tanh.

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
    def of(cls, table: Mapping[str, Any]) -> RankingWeights:
        """Of lists, as the table has them."""
        return cls(**{name: np.array(values) for name, values in table.items()})


@dataclass(frozen=True)
class NanoFamily:
    """See `family.Family`; `tables` holds "ranking" and "scores"."""

    spec: ModelSpec
    grid: GridDefaults
    tables: Tables
    closer: CloserLook | None = None
    roles: TokenRoles = ONE_OR_THREE

    @cached_property
    def weights(self) -> RankingWeights:
        """Of the network that orders a lone click's masks."""
        return RankingWeights.of(self.tables["ranking"])

    def candidates(self, logits: FloatArray, quality: FloatArray) -> tuple[FloatArray, FloatArray]:
        """(N, T, m, m), (N, T) -> the three of the highest quality, in the model's order."""
        rows = np.arange(len(logits))[:, None]
        best = np.sort(np.argsort(-quality, axis=1, kind="stable")[:, :3], axis=1)
        return logits[rows, best], quality[rows, best]

    def answer(
        self,
        decode: Decode,
        prompts: ModelPrompts,
        place: Geometry,
        multimask: Multimask,
        ranking: Ranking,
    ) -> list[Ordered]:
        """See `family.Family.answer`."""
        logits, quality = decode(prompts)
        if multimask is not True:
            logits, quality = self._ask_boxes_again(decode, prompts, (logits, quality))
        rows = zip(wants_many(prompts, multimask), lone_clicks(prompts), strict=True)
        answers = []
        for row, (many, lone) in enumerate(rows):
            if many and lone and ranking == "expected":
                ordered = self.ranked(logits[row], quality[row], prompts.coords[row, 0], place)
            elif many:
                masks, numbers = self.candidates(logits[row : row + 1], quality[row : row + 1])
                ordered = by_quality(masks[0], numbers[0])
            else:
                clicks = prompts.coords[row, prompts.labels[row] == POSITIVE]
                cells = [clicked_cell(click, place, self.spec) for click in clicks]
                ordered = by_quality(*likeliest(logits[row], quality[row], cells, self.spec))
            answers.append(ordered)
        return answers

    def ranked(
        self, logits: FloatArray, quality: FloatArray, click: FloatArray, place: Geometry
    ) -> Ordered:  # (T, m, m), (T,), (2,) in model pixels
        """The three masks of a lone click that are worth the most, in the learned order."""
        cells = [clicked_cell(click, place, self.spec)]
        logits = without_parts(logits, cells, np.inf, self.spec.mask_threshold)
        found, shared = facts(quality, logits, click, place, self.spec)
        shown = order_masks(chances(found, self.weights), shared)[:3]
        kept = sorted(shown)
        scores = expected_iou(quality[kept], self.tables.get("scores"))
        return in_order(logits[kept], scores, [kept.index(token) for token in shown])

    def _ask_boxes_again(
        self, decode: Decode, prompts: ModelPrompts, answer: tuple[FloatArray, FloatArray]
    ) -> tuple[FloatArray, FloatArray]:
        """The same answer with those to bare boxes replaced by a second one."""
        logits, quality = answer
        bare = ((prompts.labels == NO_POINT) | np.isin(prompts.labels, CORNERS)).all(axis=1)
        boxed = np.isin(prompts.labels, CORNERS).any(axis=1)
        rows = np.flatnonzero(bare & boxed & (prompts.has_mask == 0))
        if not len(rows):
            return answer
        part = replace(
            prompts,
            coords=prompts.coords[rows],
            labels=prompts.labels[rows],
            masks=prompts.masks[rows],
            has_mask=prompts.has_mask[rows],
        )
        again = with_middle_clicks(part, logits[rows], quality[rows], self.spec)
        logits, quality = logits.copy(), quality.copy()
        logits[rows], quality[rows] = decode(again)
        return logits, quality


# --- one mask for a clear prompt


def likeliest(
    logits: FloatArray, quality: FloatArray, cells: Sequence[tuple[int, int]], spec: ModelSpec
) -> tuple[FloatArray, FloatArray]:  # (T, m, m), (T,) -> (1, m, m), (1,)
    """Of masks without small parts the one of the largest expected IoU; qualities are its chances.

    cells  x, y of those that are clicked
    """
    logits = without_parts(logits, cells, LEAST_PART, spec.mask_threshold)
    shared = iou_of_pairs(common_cells(logits > spec.mask_threshold))
    best = int(worth(np.maximum(quality, 0), shared).argmax())
    return logits[best : best + 1], quality[best : best + 1]


def without_parts(
    logits: FloatArray, cells: Sequence[tuple[int, int]], least: float, threshold: float
) -> FloatArray:  # (T, m, m) -> (T, m, m)
    """Each mask without the connected parts that no cell x, y lies in and that are too small.

    least  share of the largest part; at least one part stays. What the network adds elsewhere is
           mostly another thing.
    """
    kept = logits.copy()
    for plane in kept:
        mask = (plane > threshold).view(np.uint8)
        _, labels, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=4)
        sizes = stats[1:, cv2.CC_STAT_AREA]  # the first is what is no mask
        if len(sizes) < 2:
            continue
        stays = np.zeros(len(stats), np.bool_)
        stays[1:] = sizes >= least * sizes.max()
        stays[[labels[y, x] for x, y in cells]] = True
        stays[0] = False
        if not stays.any():
            stays[1 + sizes.argmax()] = True
        plane[(labels > 0) & ~stays[labels]] = threshold - CLEAR
    return kept


def with_middle_clicks(
    given: ModelPrompts, logits: FloatArray, quality: FloatArray, spec: ModelSpec
) -> ModelPrompts:  # P points -> P + 1 points
    """N prompts with the masks that answered them, each clicked at its deepest cell."""
    answers = zip(logits, quality, strict=True)
    masks = np.concatenate([likeliest(*answer, (), spec)[0] for answer in answers])
    clicks = [deepest_cell(mask > spec.mask_threshold, spec) for mask in masks]
    places = np.array([click or (0.0, 0.0) for click in clicks], np.float32)[:, None]
    labels = np.array([POSITIVE if click else NO_POINT for click in clicks], np.int64)[:, None]
    return replace(
        given,
        coords=np.concatenate([given.coords, places], axis=1),
        labels=np.concatenate([given.labels, labels], axis=1),
        masks=masks[:, None],
        has_mask=np.ones(len(masks), np.float32),
    )


def deepest_cell(mask: BoolArray, spec: ModelSpec) -> tuple[float, float] | None:  # (m, m)
    """Where a mask is thickest, x and y in model pixels; None where it is empty."""
    if not mask.any():
        return None
    rounded = np.round(depths(mask), 3)  # equal depths are equal, whatever the steps' order
    y, x = np.unravel_index(int(rounded.argmax()), mask.shape)
    cell = spec.image_side / spec.mask_side
    return (float(x) + 0.5) * cell, (float(y) + 0.5) * cell


def depths(mask: BoolArray) -> FloatArray:  # (h, w) -> (h, w)
    """How far each cell lies from the mask's edge, in cells; the border of the grid is an edge."""
    padded = np.pad(mask.astype(np.uint8), 1)
    depth = cv2.distanceTransform(padded, cv2.DIST_L2, cv2.DIST_MASK_5)
    inner: FloatArray = depth[1:-1, 1:-1].astype(np.float32, copy=False)
    return inner


# --- the order of a lone click's masks


def clicked_cell(click: FloatArray, place: Geometry, spec: ModelSpec) -> tuple[int, int]:
    """The cell x, y of a mask that a click lies in, one of those that the photo fills."""
    rows, columns = place.filled_cells(spec.mask_side)
    x, y = np.clip(click * (spec.mask_side / spec.image_side), 0, (columns - 1, rows - 1))
    return int(x), int(y)


def order_masks(likely: Floats, shared: Floats) -> list[int]:  # (T,), (T, T)
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


def chances(found: Floats, weights: RankingWeights) -> Floats:  # (T, F) -> (T,)
    """How likely each mask is the one that is meant; they sum to 1."""
    hidden = np.tanh(found @ weights.own + found.mean(axis=0) @ weights.mean + weights.bias)
    score = found @ weights.direct + hidden @ weights.out
    chance = np.exp(score - score.max())
    likely: Floats = chance / chance.sum()
    return likely


def expected_iou(quality: FloatArray, table: Mapping[str, float] | None) -> FloatArray:
    """What the network's own numbers of a lone click's masks are worth: (K,) -> (K,) in 0..1.

    table  "factor" and "shift" of their logits (Platt's scaling); None: they stay as they are
    """
    if table is None:
        return quality
    sure = np.clip(quality, LEAST_NUMBER, 1 - LEAST_NUMBER)
    odds = np.exp(table["shift"]) * (sure / (1 - sure)) ** table["factor"]
    expected: FloatArray = odds / (1 + odds)
    return expected.astype(np.float32)


def facts(
    quality: FloatArray, logits: FloatArray, click: FloatArray, place: Geometry, spec: ModelSpec
) -> tuple[Floats, Floats]:  # (T,), (T, m, m), (2,) in model pixels -> (T, F), (T, T)
    """What is known of each mask, in the order of `FACTS`, and the IoU of every two."""
    rows, columns = place.filled_cells(spec.mask_side)
    planes = logits[:, :rows, :columns] - np.float32(spec.mask_threshold)
    masks = planes > 0
    x, y = clicked_cell(click, place, spec)
    both = common_cells(masks)
    area = np.maximum(np.diag(both), 1)
    sides = np.sqrt(area)
    inner, outer = (np.count_nonzero(planes > at, axis=(1, 2)) for at in (SURE, -SURE))
    outline = np.count_nonzero(masks[:, 1:] != masks[:, :-1], axis=(1, 2))
    outline = outline + np.count_nonzero(masks[:, :, 1:] != masks[:, :, :-1], axis=(1, 2))
    deep = [depths(mask) for mask in masks]
    deepest = np.array([depth.max() for depth in deep])
    box, middle = box_cells(masks)
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
    return found, iou_of_pairs(both)


def box_cells(masks: BoolArray) -> tuple[Floats, Floats]:  # (T, h, w) -> (T,), (T, 2)
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


def common_cells(masks: BoolArray) -> Floats:  # (T, h, w) -> (T, T)
    """The cells that every pair of masks shares."""
    flat = masks.reshape(len(masks), -1).astype(np.float32)
    both: Floats = (flat @ flat.T).astype(np.float64)
    return both


def iou_of_pairs(both: Floats) -> Floats:  # (T, T) -> (T, T)
    """The IoU of every two masks, of the cells that they share; 1 of each with itself."""
    areas = np.diag(both)
    shared: Floats = both / np.maximum(np.add.outer(areas, areas) - both, 1)
    np.fill_diagonal(shared, 1)
    return shared
