"""Every object of a photo, found by a regular grid of clicks.

Automatic mask generation of the Segment Anything paper (section 5 and appendix B); names, defaults
and order of the steps follow segment-anything's `SamAutomaticMaskGenerator` (Apache-2.0), so that
its settings carry over. Deviation: masks are run lengths from the start, and stability is counted
on them, so memory does not grow with the photo.

Letters: N clicks, K masks for each, m the side of a low-resolution mask.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TypedDict

import numpy as np
from numpy.typing import ArrayLike

from anymask.predictors.prompts import NO_POINT
from anymask.primitives.boxes import box_nms
from anymask.primitives.clicks import point_grid
from anymask.primitives.errors import InputError, PromptError
from anymask.primitives.masks import remove_small_regions
from anymask.primitives.records import MaskRecord, record_from_rle
from anymask.primitives.resize import logits_to_rles, points_to_model
from anymask.primitives.rle import mask_to_rle, rle_area, rle_to_mask
from anymask.primitives.spec import Geometry, ModelSpec
from anymask.primitives.types import Embedding, FloatArray, ModelPrompts
from anymask.runtimes.answers import choose
from anymask.runtimes.protocol import ImageRuntime

CLEANED_NMS = 0.7  # segment-anything's crop_nms_thresh, which its clean-up step uses as a floor


class GridDict(TypedDict, total=False):
    """The keyword arguments of `Grid`."""

    points_per_side: int
    points_per_batch: int
    pred_iou_thresh: float
    stability_score_thresh: float
    stability_score_offset: float
    box_nms_thresh: float
    min_mask_region_area: int


# nano's quality and stability run lower than SAM's, whose thresholds leave hardly a mask of it.
NANO_GRID = GridDict(pred_iou_thresh=0.45, stability_score_thresh=0.65)


def grid_of(spec: ModelSpec, given: GridDict) -> Grid:
    """The given settings over the model's own defaults. Raises InputError for bad values."""
    merged = GridDict(**NANO_GRID) if spec.answer == "four" else GridDict()
    merged.update(given)
    return Grid(**merged)


@dataclass(frozen=True, kw_only=True)
class Grid:
    """The settings, with segment-anything's names and defaults.

    points_per_side         clicks along each side; their square in all
    points_per_batch        clicks decoded at once; bounds the memory, changes nothing else
    pred_iou_thresh         masks must have more than this quality; 0 keeps all
    stability_score_thresh  and at least this IoU between their stricter and looser cut; 0 keeps all
    stability_score_offset  logits by which the cuts differ from the mask's own threshold
    box_nms_thresh          of two masks whose boxes overlap more, the better one stays
    min_mask_region_area    holes and islands below so many pixels are removed, and what has become
                            a duplicate then; it does not drop small masks

    Raises InputError for values out of range.
    """

    points_per_side: int = 32
    points_per_batch: int = 64
    pred_iou_thresh: float = 0.88
    stability_score_thresh: float = 0.95
    stability_score_offset: float = 1.0
    box_nms_thresh: float = 0.7
    min_mask_region_area: int = 0

    def __post_init__(self) -> None:
        for name in ("points_per_side", "points_per_batch"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise InputError(f"{name} must be a whole number of at least 1, got {value!r}")
        for name in (
            "pred_iou_thresh", "stability_score_thresh", "stability_score_offset",
            "box_nms_thresh", "min_mask_region_area",
        ):  # fmt: skip
            value = getattr(self, name)
            if not isinstance(value, int | float) or not value >= 0:
                raise InputError(f"{name} must be a number, 0 or more, got {value!r}")


def find_everything(
    runtime: ImageRuntime,
    embedding: Embedding,
    settings: Grid,
    progress: Callable[[int, int], None] | None = None,
) -> list[MaskRecord]:
    """All masks that pass, best quality first. Raises PromptError for a model without clicks.

    progress  told (clicks done, all clicks) after every batch
    """
    spec = runtime.spec
    if "point" not in spec.accepts:
        raise PromptError(
            f"everything needs a model that takes clicks, {spec.name} does not; take another one, "
            'for example "nano"'
        )
    height, width = embedding.image_hw
    clicks = point_grid(settings.points_per_side).astype(np.float64) * (width, height)
    maps = (embedding.features, *embedding.extras)
    found: list[MaskRecord] = []
    for start in range(0, len(clicks), settings.points_per_batch):
        batch = clicks[start : start + settings.points_per_batch]
        prompts = click_prompts(batch, embedding.geometry, spec)
        logits, quality = choose(spec, *runtime.decode(maps, prompts), True)
        for place, (x, y) in enumerate(batch.tolist()):
            good = quality[place] > settings.pred_iou_thresh
            if not settings.pred_iou_thresh:
                good[:] = True
            planes, numbers = logits[place, good], quality[place, good]
            made = _records(planes, numbers, embedding.geometry, spec, settings)
            found += [replace(record, points=((x, y),)) for record in made]
        if progress is not None:
            progress(min(start + settings.points_per_batch, len(clicks)), len(clicks))
    kept = _without_duplicates(found, [record.quality for record in found], settings.box_nms_thresh)
    if settings.min_mask_region_area <= 0:
        return kept
    return _cleaned(kept, settings)


def click_prompts(clicks: ArrayLike, geometry: Geometry, spec: ModelSpec) -> ModelPrompts:
    """N positive clicks in image pixels (N, 2), one prompt each."""
    places = points_to_model(clicks, geometry)
    count, side = len(places), spec.mask_side
    padding = max(int(spec.pad_point), spec.fixed_points - 1, 0)
    coords = np.zeros((count, 1 + padding, 2), np.float32)
    coords[:, 0] = places
    labels = np.full((count, 1 + padding), NO_POINT, np.int64)
    labels[:, 0] = 1
    masks = np.zeros((count, 1, side, side), np.float32)
    return ModelPrompts(coords, labels, masks, np.zeros(count, np.float32))


def _records(
    logits: FloatArray, quality: FloatArray, geometry: Geometry, spec: ModelSpec, settings: Grid
) -> Iterator[MaskRecord]:  # (K, m, m), (K,)
    """The masks of one click that are stable enough."""
    middle, offset = spec.mask_threshold, settings.stability_score_offset
    for plane, number in zip(logits, quality, strict=True):
        inner, outer = (
            rle_area(logits_to_rles(plane[None], geometry, middle + step)[0])
            for step in (offset, -offset)
        )
        stability = inner / max(outer, 1)
        if stability >= settings.stability_score_thresh or not settings.stability_score_thresh:
            rle = logits_to_rles(plane[None], geometry, middle)[0]
            yield record_from_rle(rle, quality=float(number), stability=stability)


def _without_duplicates(
    records: list[MaskRecord], scores: list[float], threshold: float
) -> list[MaskRecord]:
    """Greedy suppression on the boxes, the highest score first."""
    kept = box_nms([record.box_xyxy for record in records], scores, threshold)
    return [records[index] for index in kept]


def _cleaned(records: list[MaskRecord], settings: Grid) -> list[MaskRecord]:
    """Small holes and islands removed; then duplicates, where untouched masks go first."""
    cleaned: list[MaskRecord] = []
    untouched: list[float] = []
    area = settings.min_mask_region_area
    for record in records:
        mask, filled = remove_small_regions(rle_to_mask(record.rle), area, "holes")
        mask, dropped = remove_small_regions(mask, area, "islands")
        changed = filled or dropped
        untouched.append(float(not changed))
        if changed:
            fresh = record_from_rle(mask_to_rle(mask))
            record = replace(record, rle=fresh.rle, box_xyxy=fresh.box_xyxy, area=fresh.area)
        cleaned.append(record)
    threshold = max(settings.box_nms_thresh, CLEANED_NMS)
    return _without_duplicates(cleaned, untouched, threshold)
