"""Filters of automatic mask generation: score, stability, objectness, duplicates, levels.

`make_record` filters the candidates of a click, `filter_masks` the masks of an image: holes and
islands; small masks; unlikely objects; masks contained in better ones; duplicates; edges, and one
kind of object; the level; the layout. Except edges and kind, which require the image and are passed
in, each step of `filter_masks` is a function of masks only, of any model or file.

Letters: H W an image, N clicks, K candidates of each, m the side of a low-resolution mask, h w its
cells without padding, n masks, C channels of the encoder's first map, F features, H hidden units.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import ArrayLike

from anymask.base import BoolArray, FloatArray, Floats, IntArray, brief
from anymask.masks import (
    Features,
    Geometry,
    Mask,
    Masks,
    Rle,
    axis_operator,
    box_nms,
    clean_rle,
    crop_to_rle,
    mask_nms,
    mask_to_rle,
    part_tree,
    remove_small_regions,
    rle_area,
    rle_iou,
    rle_to_mask,
    window_strips,
)
from anymask.models.rules import Family
from anymask.segment.everything.grid import CropView, TanhNetwork
from anymask.segment.settings import CONTAINED, SURROUNDING, Grid, MaskFilter

Refine = Callable[[list[Mask]], list[Mask]]

NEARLY_BEST = 0.8  # of the best rank: shown if no mask passes
LITTLE = 0.1  # IoU
PART_OBJECTNESS = 0.1  # of the surrounding mask's objectness, from which a contained mask is kept
BEST_COUNT, MEAN_SHARE, MEAN_POWER = 10, 0.5, 3.0  # threshold of `without_unlikely`
SPREAD = 0.4  # squared IoU at which `without_unlikely` divides the objectness by e


# The filters of a candidate in order of cost: its score requires no mask; its stability is bounded
# on the low-resolution logits, and only candidates that may pass are resized to image resolution,
# within their window, in one pass for all three thresholds.

_WORTH_BOUNDS = 4  # image pixels per logit from which computing the bounds pays off
_SLACK = 1e-6  # rounding error of a mean, relative to the largest logit


def good_enough(score: FloatArray, settings: Grid) -> BoolArray:  # (N, K) -> (N, K)
    """Whether each candidate exceeds the score threshold."""
    if not settings.score:
        return np.ones_like(score, np.bool_)
    return score > settings.score


def make_record(
    plane: FloatArray, score: float, click: Floats, view: CropView, settings: Grid
) -> list[Mask]:  # (m, m), (2,) in pixels of the view
    """Mask of a candidate in the image, or an empty list if it is empty or not stable."""
    cut = cut_mask(plane, view, settings)
    if cut is None or not rle_area(cut[0]):
        return []
    rle, stability = cut
    x, y = (click + view.window[:2]).tolist()
    left, top, right, bottom = map(float, view.window)
    crop = (left, top, right, bottom)
    return [Mask(rle, score=score, stability=stability, points=((x, y),), crop_box=crop)]


def cut_mask(
    plane: FloatArray, view: CropView, settings: Grid
) -> tuple[Rle, float] | None:  # (m, m)
    """Mask in the image and its stability, or None if that is too low."""
    middle, offset = view.threshold, settings.stability_score_offset
    requested, geometry = settings.stability, view.geometry
    large = geometry.image_hw[0] * geometry.image_hw[1] > _WORTH_BOUNDS * plane.size
    if requested and large and stability_range(plane, geometry, middle, offset)[1] < requested:
        return None
    window, strips = window_strips(plane, geometry, middle - offset, view.canvas)
    mask = view.canvas.room((window.height, window.width), np.bool_)
    inner = outer = 0
    for top, strip in strips:
        rows = mask[top : top + len(strip)]
        inner += int(np.count_nonzero(np.greater(strip, np.float32(middle + offset), out=rows)))
        outer += int(np.count_nonzero(np.greater(strip, np.float32(middle - offset), out=rows)))
        if top + len(strip) < window.height or inner / max(outer, 1) >= requested:
            np.greater(strip, np.float32(middle), out=rows)
    stability = inner / max(outer, 1)
    if requested and stability < requested:
        return None
    corner = (view.window[0] + window.x, view.window[1] + window.y)
    return crop_to_rle(mask, corner, view.image_hw), stability


def stability_range(
    plane: FloatArray, geometry: Geometry, threshold: float, offset: float
) -> tuple[float, float]:  # (h, w)
    """Lower and upper bound of the stability (see `masks.stability_score`).

    Every image pixel is a mean of at most 3 x 3 logits. If all of them are on one side of a
    threshold, so is the pixel. Only pixels between the minimum and the maximum are undecided, and
    for a clear mask these are only those along its edge.
    """
    low, high = plane, plane
    weights = []
    for axis in (0, 1):
        first, last, count = _groups(plane.shape[axis], geometry, axis)
        low, high = _least(low, first, last, axis), -_least(-high, first, last, axis)
        weights.append(count)
    slack = _SLACK * float(np.abs(plane).max(initial=0))
    inner, outer = threshold + offset, threshold - offset
    least, most = (
        [float(weights[0] @ (logits > cut + sign * slack) @ weights[1]) for cut in (inner, outer)]
        for logits, sign in ((low, 1), (high, -1))
    )
    # Pixels missing in the inner mask may also be missing in the outer one: use the worst case of
    # each.
    return least[0] / max(most[1], 1), min(1.0, most[0] / max(least[1], 1))


def _least(logits: FloatArray, first: IntArray, last: IntArray, axis: int) -> FloatArray:
    """Minimum of each group's logits along an axis; a group spans at most three of them."""
    ends = np.minimum(np.take(logits, first, axis), np.take(logits, last, axis))
    return np.minimum(ends, np.take(logits, np.minimum(first + 1, last), axis))


@lru_cache(maxsize=16)
def _groups(length: int, geometry: Geometry, axis: int) -> tuple[IntArray, IntArray, Floats]:
    """Pixels along an axis that start with the same logit: first, last logit and count."""
    _, first, last = axis_operator(
        length, geometry.side, geometry.input_hw[axis], geometry.image_hw[axis]
    )
    starts, inverse, counts = np.unique(first, return_inverse=True, return_counts=True)
    ends = starts.copy()
    np.maximum.at(ends, inverse, last)
    return starts, ends, counts.astype(np.float64)


# Objectness: the probability that a mask is an object.
#
# The predicted IoU measures how well a mask is drawn, not whether it is an object: for a cat, the
# cat, its ear and the wall behind it all have good edges. Small networks predict the probability
# that an annotated mask overlaps a mask with an IoU of 0.5 from: features of its shape
# (`SHAPE_FEATURES`), the index of the candidate, the scores of all candidates, and the mean of the
# encoder's first map inside the mask, in a ring around it and in the image. Each network uses the
# first features; their mean score is converted to the probability. The weights are the table
# "objectness" of the bundle, trained by `research/fit_objectness.py` with the search's thresholds.

UNSURE_LOGIT = 1.0  # logits within this distance of the threshold are uncertain
MAX_ABS_LOGIT = 6.0  # upper limit of the absolute logits
RING_CELLS = 2  # width of the ring in cells of the encoder's map

SHAPE_FEATURES = (
    "quality",  # predicted IoU
    "stability",  # certain area relative to possible area
    "size",  # logarithm of the share of the image
    "border",  # share of the outline on the image border
    "sides",  # number of image sides it touches
    "fill",  # share of its box
    "rough",  # logarithm of the squared outline length relative to the area
    "certain",  # mean absolute distance of the logits from the threshold
    "whole",  # share of its largest part
    "thick",  # its maximum depth relative to the square root of its area
)


@brief
@dataclass(frozen=True, eq=False)
class ObjectnessWeights:
    """Networks whose outputs are averaged, and the minimum objectness of displayed masks."""

    networks: Sequence[TanhNetwork]
    least: float

    @classmethod
    def of(cls, table: Mapping[str, Any]) -> ObjectnessWeights:
        """Create from a family's table."""
        return cls([TanhNetwork.of(row) for row in table["networks"]], float(table["least"]))

    @property
    def mask_features(self) -> int:
        """Number of features F that the networks require."""
        return max(len(network.into) for network in self.networks)

    def probabilities(self, mask_features: Floats) -> Floats:  # (n, F) -> (n,)
        """Objectness of each mask, 0..1."""
        score = np.mean([network.scores(mask_features) for network in self.networks], axis=0)
        return 1 / (1 + np.exp(-np.clip(score, -30, 30)))


def objectness_of(family: Family, features: Features, least: float = 0.0) -> Objectness | None:
    """Create the objectness estimator of an image, or None if the family has none.

    Args:
        family: Rules of the model.
        features: Embedding of the image.
        least: Minimum objectness, as in `Objectness.above_threshold`.
    """
    table = family.tables.get("objectness")
    if table is None:
        return None
    weights = ObjectnessWeights.of(table)
    return Objectness(
        features.geometry, family.spec.mask_threshold, features.features, weights, least
    )


def default_min_objectness(family: Family) -> float:
    """Minimum objectness of displayed masks; 0 if the model does not predict it."""
    table = family.tables.get("objectness")
    return 0.0 if table is None else float(table["least"])


class Objectness:
    """Estimate the objectness of the masks of one view.

    Args:
        place: Position of the view in model space.
        threshold: Logits above it are foreground.
        view: First feature map (C, _, _) of the model's whole square.
        weights: The networks.
        least: Minimum objectness.
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
        rows, columns = self._place.filled_cells(view.shape[-1])
        self._view = np.ascontiguousarray(view[:, :rows, :columns], np.float32)
        self._whole = self._view.mean(axis=(1, 2))

    def of_masks(self, logits: FloatArray, quality: FloatArray, chosen: BoolArray) -> Floats:
        """Objectness of n masks, (n,) in 0..1; arguments as in `mask_features`."""
        assert self._weights is not None
        return self._weights.probabilities(self.mask_features(logits, quality, chosen))

    def above_threshold(self, probabilities: Floats) -> list[int]:  # (n,)
        """Indices of masks that may be displayed, given all masks so far.

        Masks pass with the minimum objectness or near the best so far, because the nearly best
        masks are displayed if none has the minimum (`NEARLY_BEST`).
        """
        self._most = max(self._most, float(probabilities.max(initial=0)))
        least = min(self._least, NEARLY_BEST * self._most)
        return np.flatnonzero(probabilities >= least).tolist()

    def mask_features(self, logits: FloatArray, quality: FloatArray, chosen: BoolArray) -> Floats:
        """Features of each mask: shape, candidate index, all scores, embedding. (n, F).

        F is 10 + 2 K + 3 C.

        Args:
            logits: Logits (n, m, m).
            quality: Predicted IoU (n, K) of all candidates of each mask's click.
            chosen: (n, K), True at the mask's own index.
        """
        rows, columns = self._place.filled_cells(logits.shape[-1])
        planes = logits[:, :rows, :columns] - np.float32(self._threshold)
        masks = planes > 0
        shape = _shape_facts(planes, masks, quality[chosen])
        return np.concatenate([shape, chosen, quality, self._seen(masks)], axis=1)

    def _seen(self, masks: BoolArray) -> FloatArray:  # (n, h, w) -> (n, 3 C)
        """Mean of the feature map inside each mask, around it, and in the image."""
        channels, rows, columns = self._view.shape
        kernel = np.ones((2 * RING_CELLS + 1, 2 * RING_CELLS + 1), np.uint8)
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
    """Shape features (n, 10) in the order of `SHAPE_FEATURES`."""
    cells = masks.shape[1] * masks.shape[2]
    facts = np.zeros((len(masks), len(SHAPE_FEATURES)))
    for row, plane, mask, number in zip(facts, planes, masks, quality, strict=True):
        pixels = mask.view(np.uint8)
        area = max(int(np.count_nonzero(mask)), 1)
        inner, outer = (int(np.count_nonzero(plane > at)) for at in (UNSURE_LOGIT, -UNSURE_LOGIT))
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
            np.minimum(np.abs(plane), MAX_ABS_LOGIT).mean(),
            parts[1:, cv2.CC_STAT_AREA].max(initial=1) / area,
            depth / np.sqrt(area),
        )
    return facts


# Filters of the masks of an image.


def without_box_duplicates(records: list[Mask], scores: ArrayLike, threshold: float) -> list[Mask]:
    """Non-maximum suppression by boxes, highest score first."""
    kept = box_nms([record.box for record in records], scores, threshold)
    return [records[index] for index in kept]


def without_duplicates(
    records: Sequence[Mask],
    threshold: float,
    share_of: Literal["union", "smaller"] = "union",
    weaker: float = 1.0,
) -> list[Mask]:
    """Remove the lower-ranked of two overlapping masks (see `mask_nms`); keeps the order."""
    rank = [record.rank for record in records]
    kept = mask_nms([record.rle for record in records], rank, threshold, share_of, weaker)
    return [records[index] for index in sorted(kept.tolist())]


def clean_small_regions(records: list[Mask], settings: Grid) -> list[Mask]:
    """Remove small holes and islands, then duplicates, preferring unchanged masks."""
    cleaned: list[Mask] = []
    untouched: list[float] = []
    area = settings.min_mask_region_area
    for record in records:
        mask, filled = remove_small_regions(rle_to_mask(record.rle), area, "holes")
        mask, dropped = remove_small_regions(mask, area, "islands")
        changed = filled or dropped
        untouched.append(float(not changed))
        if changed:
            record = replace(record, rle=mask_to_rle(mask))
        cleaned.append(record)
    threshold = max(settings.box_nms_thresh, settings.crop_nms_thresh)
    return without_box_duplicates(cleaned, untouched, threshold)


def filter_masks(
    records: Sequence[Mask],
    settings: MaskFilter,
    refine: Refine | None = None,
    relative: bool = False,
) -> list[Mask]:
    """Filter masks by the settings and keep their order.

    Args:
        records: Masks of one image.
        settings: Filters, level and layout.
        refine: Function that refines the edges of the remaining masks.
        relative: Also remove masks by `without_unlikely`.
    """
    kept = []
    for record in records:
        rle = clean_rle(record.rle, settings.max_hole_area, settings.min_island_area)
        record = record if rle is record.rle else replace(record, rle=rle)
        if record.area >= settings.min_mask_area and is_likely(record, settings.min_objectness):
            kept.append(record)
    if settings.max_containment < 1:
        kept = without_contained(kept, settings.max_containment)
    if settings.nms_iou < 1:
        kept = without_duplicates(kept, settings.nms_iou)
    if relative:
        kept = without_unlikely(kept, settings.min_objectness)
    if refine is not None:
        kept = refine(kept)
    if settings.granularity != "all":
        tree = part_tree([record.rle for record in kept])
        wholes = {node.parent for node in tree}
        kept = [
            record
            for index, (record, node) in enumerate(zip(kept, tree, strict=True))
            if (node.parent is None if settings.granularity == "whole" else index not in wholes)
        ]
    if settings.layout == "tree":
        return Masks(kept).tree()
    if settings.layout == "partition":
        return [mask for mask in Masks(kept).partition() if mask.area >= settings.min_mask_area]
    return kept


def is_likely(record: Mask, least: float) -> bool:
    """Whether the objectness of a mask is at least `least` or unknown."""
    return record.objectness is None or record.objectness >= least


def without_contained(records: Sequence[Mask], threshold: float) -> list[Mask]:
    """Of two masks of which one contains a larger share of the other, keep the higher rank.

    Backgrounds (see `SURROUNDING`) are kept. If objectness is known, the other mask is also kept if
    its objectness is at least `PART_OBJECTNESS` of the better one's: a person on a horse.
    """
    objects = [record for record in records if record.coverage <= SURROUNDING]
    weaker = PART_OBJECTNESS if all(record.objectness is not None for record in objects) else 1.0
    kept = {id(record) for record in without_duplicates(objects, threshold, "smaller", weaker)}
    return [r for r in records if r.coverage > SURROUNDING or id(r) in kept]


def without_unlikely(records: Sequence[Mask], least: float = 0.0) -> list[Mask]:
    """Remove masks whose objectness is low, given better masks that they overlap.

    The objectness of a mask is multiplied by exp(-IoU^2 / `SPREAD`) for each better mask that is
    kept: soft non-maximum suppression (Bodla et al. 2017), in the order of the objectness. The
    threshold of the product is `MEAN_SHARE` of the mean of the `BEST_COUNT` best, raised to
    `MEAN_POWER`: high in an image of clear objects, low in one of many uncertain ones. Chosen on
    coco_val and on sets where every object is labelled (docs/reference/results-automatic.md).

    Args:
        records: Masks; those of unknown objectness are kept.
        least: Minimum of the product.
    """
    known = [(record.objectness, record) for record in records if record.objectness is not None]
    kept: list[Mask] = []
    left = list[float]()
    boxes = np.zeros((len(known), 4))
    for objectness, record in sorted(known, key=lambda one: -one[0]):
        mine, others = np.array(record.box), boxes[: len(kept)]
        apart = (others[:, 2:] < mine[:2]) | (others[:, :2] > mine[2:])
        close = [kept[index].rle for index in np.flatnonzero(~apart.any(axis=1))]
        overlaps = rle_iou([record.rle], close)
        product = objectness * float(np.exp(-np.square(overlaps).sum() / SPREAD))
        if product >= least:
            boxes[len(kept)] = mine
            kept.append(record)
            left.append(product)
    best = sorted(left)[-BEST_COUNT:]
    threshold = MEAN_SHARE * float(np.mean(best)) ** MEAN_POWER if best else 0.0
    likely = {
        id(record) for record, product in zip(kept, left, strict=True) if product >= threshold
    }
    return [record for record in records if record.objectness is None or id(record) in likely]


def best_of(records: Sequence[Mask]) -> list[Mask]:
    """Fallback if no mask passes the thresholds: the best masks that overlap little."""
    most = max((record.rank for record in records), default=0.0)
    good = [record for record in records if record.rank >= NEARLY_BEST * most]
    return without_duplicates(good, LITTLE)


def split_by_score(
    records: Sequence[Mask], score: float, objectness: float
) -> tuple[list[Mask], list[Mask]]:
    """Split masks by two thresholds into shown masks (the best if none passes) and the rest.

    No shown mask is contained in a better one.
    """
    good = [
        record
        for record in records
        if (record.score > score or not score) and is_likely(record, objectness)
    ]
    shown = without_unlikely(without_contained(good, CONTAINED), objectness) or best_of(records)
    rest = [record for record in records if not any(record is other for other in shown)]
    return shown, rest
