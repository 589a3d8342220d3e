"""Search one image for all its masks with a grid of clicks.

Automatic mask generation of the Segment Anything paper (section 5 and appendix B); names, defaults
and order of the steps follow segment-anything's `SamAutomaticMaskGenerator` (Apache-2.0), so that
its settings carry over. Differences: masks are run-length encoded from the start, so memory does
not grow with the image; work that cannot yield a mask is skipped (`cut_mask`,
`runtime.open_sweep`), which changes no mask; a crop without masks is an empty list, not an error.

Letters: N clicks, K candidates of each, m the side of a low-resolution mask, h w its cells without
padding, n masks, C channels of the encoder's first map, F features, H hidden units.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import ArrayLike

from anymask.base import (
    BoolArray,
    FloatArray,
    Floats,
    InputError,
    IntArray,
    OnProgress,
    PromptError,
    UintImage,
    brief,
)
from anymask.masks import (
    NO_POINT,
    Features,
    Geometry,
    Mask,
    ModelPrompts,
    ModelSpec,
    Rle,
    axis_operator,
    box_area,
    box_nms,
    boxes_at_crop_edge,
    crop_boxes,
    crop_to_rle,
    mask_nms,
    mask_to_rle,
    points_to_model,
    remove_small_regions,
    rle_area,
    rle_to_mask,
    window_strips,
)
from anymask.models.rules import DEFAULT_VIDEO_MODEL, Family, adaptive_table
from anymask.runtime import ImageRuntime, Sweep, open_sweep
from anymask.segment.adaptive import (
    CropView,
    Frontier,
    LoggedBatch,
    Observation,
    SearchLog,
    TanhNetwork,
    batch_key,
    most_clicks,
)
from anymask.segment.pipeline import encode_image
from anymask.segment.settings import Grid

CUTTERS = 2  # threads
NEARLY_BEST = 0.8  # of the best rank: shown if no mask passes


def find_everything(
    runtime: ImageRuntime,
    seen: Features | UintImage,
    settings: Grid,
    progress: OnProgress | None = None,
    log: SearchLog | None = None,
    least: float = 0.0,
) -> list[Mask]:
    """All masks that pass, by rank or, with crops, by crop size (smallest first).

    Args:
        runtime: Runtime of the model.
        seen: Image (H, W, 3), or its embedding if there are no crops.
        settings: Settings of the grid.
        progress: Callable (clicks done, all clicks), called after every batch.
        log: Log that stores each batch and returns the stored ones.
        least: Minimum objectness; masks that `best_of` may require are kept.

    Raises PromptError if the model does not support points, InputError for crops of an embedding.
    """
    spec, family = runtime.spec, runtime.family
    if "point" not in spec.accepts:
        raise PromptError(
            f"Automatic mask generation requires point prompts, which {spec.name} does not "
            f'support. Use another model, for example "{DEFAULT_VIDEO_MODEL}".'
        )
    if settings.crop_n_layers and isinstance(seen, Features):
        raise InputError(
            f"crop_n_layers={settings.crop_n_layers} requires the image, but only its "
            "embedding was passed. Pass the image."
        )
    image_hw = seen.image_hw if isinstance(seen, Features) else (seen.shape[0], seen.shape[1])
    windows, layers = crop_boxes(image_hw, settings.crop_n_layers, settings.crop_overlap_ratio)
    grids = [settings.points(layer) for layer in layers]
    exact = settings.mode == "exact"
    clock = Clock(progress, sum(len(g) if exact else most_clicks(len(g)) for g in grids))
    found: list[Mask] = []
    with ThreadPoolExecutor(CUTTERS, "anymask-cut") as cutters:
        for window, grid in zip(windows, grids, strict=True):
            if isinstance(seen, Features):
                place = seen
            else:
                x0, y0, x1, y1 = window
                place = encode_image(runtime, seen[y0:y1, x0:x1])
            view = CropView(window, image_hw, place.geometry, spec.mask_threshold)
            sweep = open_sweep(runtime, place.seen, place.geometry, settings.sweep_precision)
            clicks = grid.astype(np.float64) * place.image_hw[::-1]
            judge = None if exact else objectness_of(family, place, least)
            scan = Scan(sweep, family, view, settings, place, cutters, log, judge)
            found += _whole_in_view(search_view(scan, clicks, clock), view, settings)
    if len(windows) > 1:
        smallness = 1 / box_area([record.crop_box for record in found])
        found = _without_box_duplicates(found, smallness, settings.crop_nms_thresh)
    return _cleaned(found, settings) if settings.min_mask_region_area > 0 else found


@dataclass
class Clock:
    """Progress of the clicks."""

    progress: OnProgress | None = None
    total: int = 0
    done: int = 0

    def add(self, clicks: int) -> None:
        self.done += clicks
        if self.progress is not None:
            self.progress(self.done, self.total)


@dataclass(frozen=True)
class Scan:
    """One view of an image with the state that prompting requires.

    Attributes:
        sweep: Decoder of many clicks.
        family: Rules of the model.
        view: The window that is searched.
        settings: Settings of the grid.
        embedding: Embedding of the view.
        cutters: Threads that resize masks while the model decodes.
        log: Log of all batches, or None.
        judge: Objectness estimator, or None.
    """

    sweep: Sweep
    family: Family
    view: CropView
    settings: Grid
    embedding: Features
    cutters: Executor
    log: SearchLog | None = None
    judge: Objectness | None = None

    def ask(self, clicks: Floats, frontier: Frontier | None = None) -> list[Mask]:
        """Masks of N clicks (N, 2) in pixels of the view.

        Args:
            clicks: Clicks (N, 2).
            frontier: Receives the observations of masks that pass or nearly pass.
        """
        if self.log is None:
            return self._answer(clicks, frontier).records
        key = batch_key(self.embedding.image_hash, self.view.window, clicks)
        batch = self.log.recall(key)
        if batch is None:
            batch = self._answer(clicks, frontier)
            self.log.keep(key, batch)
        elif frontier is not None:
            for lesson in batch.lessons:
                frontier.learn(lesson)
        return batch.records

    def _answer(self, clicks: Floats, frontier: Frontier | None) -> LoggedBatch:
        """Decode a batch."""
        asked = self.sweep.ask(click_prompts(clicks, self.view.geometry, self.family.spec))
        good = good_enough(asked.quality, self.settings)
        looked = good if frontier is None else good | frontier.worth_a_look(asked.quality)
        judged: list[tuple[FloatArray, float, Floats]] = []
        cut: list[Future[list[Mask]]] = []
        lessons: list[Observation] = []
        for (row, mask), plane in zip(np.argwhere(looked), asked.logits(looked), strict=True):
            score, click = float(asked.quality[row, mask]), clicks[row]
            if frontier is not None:
                lessons.append(frontier.lesson(plane, score, click))
                frontier.learn(lessons[-1])
            if good[row, mask] and self.judge is None:
                cut.append(self._cut(plane, score, click))
            elif good[row, mask]:
                judged.append((plane, score, click))
        records = [record for one in cut for record in one.result()]
        if self.judge is not None and judged:
            rows, places = np.nonzero(good)
            chosen = np.eye(good.shape[1], dtype=np.bool_)[places]
            planes = np.stack([plane for plane, _, _ in judged])
            chances = self.judge.of_masks(planes, asked.quality[rows], chosen)
            likely = self.judge.above_threshold(chances)
            for n, future in [(n, self._cut(*judged[n])) for n in likely]:
                records += [replace(one, objectness=float(chances[n])) for one in future.result()]
        return LoggedBatch(records, lessons)

    def _cut(self, plane: FloatArray, score: float, click: Floats) -> Future[list[Mask]]:
        return self.cutters.submit(make_record, plane, score, click, self.view, self.settings)


def search_view(scan: Scan, clicks: Floats, clock: Clock) -> list[Mask]:
    """All masks of one view that pass: of every click (N, 2), or of the selected ones."""
    batch = scan.settings.batch(scan.sweep.bytes_per_prompt)
    found: list[Mask] = []

    def ask(some: Floats, frontier: Frontier | None = None) -> None:
        for start in range(0, len(some), batch):
            part = some[start : start + batch]
            found.extend(scan.ask(part, frontier))
            clock.add(len(part))

    if scan.settings.mode == "exact":
        ask(clicks)
        return found
    weights = TanhNetwork.of(adaptive_table(scan.family))
    maps = [one.values for one in scan.embedding.maps]
    frontier = Frontier(clicks, scan.view, scan.settings, weights, maps)
    left = most_clicks(len(clicks))
    while len(chosen := frontier.next()):
        ask(clicks[chosen], frontier)
        left -= len(chosen)
    clock.add(left)
    return found


def _whole_in_view(found: list[Mask], view: CropView, settings: Grid) -> list[Mask]:
    """Remove masks cut by the view's border, and duplicates."""
    cut_off = boxes_at_crop_edge([r.box for r in found], view.window, view.image_hw)
    whole = [record for record, cut in zip(found, cut_off, strict=True) if not cut]
    return _without_box_duplicates(
        whole, [record.rank for record in whole], settings.box_nms_thresh
    )


def click_prompts(clicks: ArrayLike, geometry: Geometry, spec: ModelSpec) -> ModelPrompts:
    """Prompts of N positive clicks (N, 2) in image pixels, one click each."""
    places = points_to_model(clicks, geometry)
    count, side = len(places), spec.mask_side
    padding = max(int(spec.pad_point), spec.fixed_points - 1, 0)
    coords = np.zeros((count, 1 + padding, 2), np.float32)
    coords[:, 0] = places
    labels = np.full((count, 1 + padding), NO_POINT, np.int64)
    labels[:, 0] = 1
    masks = np.zeros((count, 1, side, side), np.float32)
    return ModelPrompts(coords, labels, masks, np.zeros(count, np.float32))


def _without_box_duplicates(records: list[Mask], scores: ArrayLike, threshold: float) -> list[Mask]:
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


def _cleaned(records: list[Mask], settings: Grid) -> list[Mask]:
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
    return _without_box_duplicates(cleaned, untouched, threshold)


# The filters of a candidate in order of cost: its score requires no mask; its stability is bounded
# on the low-resolution logits, and only candidates that may pass are resized to image resolution,
# within their window, in one pass for all three thresholds.

_WORTH_BOUNDS = 4  # image pixels per logit from which computing the bounds pays off
_SLACK = 1e-6  # rounding error of a mean, relative to the largest logit


def good_enough(score: FloatArray, settings: Grid) -> BoolArray:  # (N, K) -> (N, K)
    """Whether each candidate exceeds the score threshold."""
    if not settings.score:
        return np.ones_like(score, np.bool_)
    good: BoolArray = score > settings.score
    return good


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
    wanted, place = settings.stability, view.geometry
    large = place.image_hw[0] * place.image_hw[1] > _WORTH_BOUNDS * plane.size
    if wanted and large and stability_range(plane, place, middle, offset)[1] < wanted:
        return None
    window, strips = window_strips(plane, place, middle - offset, view.canvas)
    mask = view.canvas.room((window.height, window.width), np.bool_)
    inner = outer = 0
    for top, strip in strips:
        rows = mask[top : top + len(strip)]
        inner += int(np.count_nonzero(np.greater(strip, np.float32(middle + offset), out=rows)))
        outer += int(np.count_nonzero(np.greater(strip, np.float32(middle - offset), out=rows)))
        if top + len(strip) < window.height or inner / max(outer, 1) >= wanted:
            np.greater(strip, np.float32(middle), out=rows)
    stability = inner / max(outer, 1)
    if wanted and stability < wanted:
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
    least: FloatArray = np.minimum(ends, np.take(logits, np.minimum(first + 1, last), axis))
    return least


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
# that an annotated mask overlaps a mask with an IoU of 0.5 from: features of its shape (`SHAPE`),
# the index of the candidate, the scores of all candidates, and the mean of the encoder's first map
# inside the mask, in a ring around it and in the whole image. Each network uses the first features;
# their mean score is converted to the probability. The weights are the table "objectness" of the
# model's bundle, trained by `research/fit_objectness.py`, with the thresholds of the search.

SURE = 1.0  # logits within this distance of the threshold are uncertain
MOST = 6.0  # upper limit of the absolute logits
RING = 2  # width of the ring in cells of the encoder's map

SHAPE = (
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
        networks = [TanhNetwork.of(one) for one in table["networks"]]
        return cls(networks, float(table["least"]))

    @property
    def facts(self) -> int:
        """Number of features F that the networks require."""
        return max(len(one.into) for one in self.networks)

    def chances(self, facts: Floats) -> Floats:  # (n, F) -> (n,)
        """Objectness of each mask, 0..1."""
        score = np.mean([one.scores(facts) for one in self.networks], axis=0)
        likely: Floats = 1 / (1 + np.exp(-np.clip(score, -30, 30)))
        return likely


def objectness_of(family: Family, seen: Features, least: float = 0.0) -> Objectness | None:
    """Create the objectness estimator of an image, or None if the family has none.

    Args:
        family: Rules of the model.
        seen: Embedding of the image.
        least: Minimum objectness, as in `Objectness.above_threshold`.
    """
    table = family.tables.get("objectness")
    if table is None:
        return None
    weights = ObjectnessWeights.of(table)
    return Objectness(seen.geometry, family.spec.mask_threshold, seen.features, weights, least)


def least_objectness(family: Family) -> float:
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
        """Objectness of n masks, (n,) in 0..1; arguments as in `facts`."""
        assert self._weights is not None
        return self._weights.chances(self.facts(logits, quality, chosen))

    def above_threshold(self, chances: Floats) -> list[int]:  # (n,)
        """Indices of masks that may be displayed, given all masks so far.

        Masks pass with the minimum objectness or near the best so far, because the nearly best
        masks are displayed if none has the minimum (`NEARLY_BEST`).
        """
        self._most = max(self._most, float(chances.max(initial=0)))
        least = min(self._least, NEARLY_BEST * self._most)
        return np.flatnonzero(chances >= least).tolist()

    def facts(self, logits: FloatArray, quality: FloatArray, chosen: BoolArray) -> Floats:
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
    """Shape features (n, 10) in the order of `SHAPE`."""
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
