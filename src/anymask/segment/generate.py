"""Automatic mask generation: a photo and a grid of clicks in, records of all its objects out.

Automatic mask generation of the Segment Anything paper (section 5 and appendix B); names, defaults
and order of the steps follow segment-anything's `SamAutomaticMaskGenerator` (Apache-2.0), so that
its settings carry over. Deviations: masks are run lengths from the start, so memory does not grow
with the photo; work that no record can come from is left out (`screening`, `runtime.sweep`), which
changes no record; a crop without masks is an empty list, not an error.

Letters: N clicks, K masks for each, m the side of a low-resolution mask.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from anymask.base import BoolArray, FloatArray, InputError, PromptError, UintImage
from anymask.masks import (
    Features,
    Geometry,
    Mask,
    ModelPrompts,
    ModelSpec,
    Window,
    box_area,
    box_nms,
    boxes_at_crop_edge,
    crop_boxes,
    mask_to_rle,
    points_to_model,
    remove_small_regions,
    rle_to_mask,
)
from anymask.models.rules import DEFAULT_MODEL, NO_POINT, Family, adaptive_table
from anymask.runtime import ImageRuntime, Sweep, open_sweep
from anymask.segment.adaptive import (
    AdaptiveWeights,
    Frontier,
    Lesson,
    LoggedBatch,
    SearchLog,
    batch_key,
    most_clicks,
)
from anymask.segment.grid import CropView, Grid, good_enough, make_record
from anymask.segment.objectness import Objectness, objectness_of
from anymask.segment.pipeline import encode_image

Told = Callable[[int, int], None]

CUTTERS = 2  # threads


def find_everything(
    runtime: ImageRuntime,
    seen: Features | UintImage,
    settings: Grid,
    progress: Told | None = None,
    log: SearchLog | None = None,
    least: float = 0.0,
) -> list[Mask]:
    """All masks that pass, those of the highest rank first, or those of the smallest crops first.

    seen      a photo (H, W, 3), or its embedding, which is enough without crops
    progress  told (clicks done, all clicks) after every batch
    log       keeps every batch, and answers those that it has kept
    least     objectness below which masks are left out, but for those that `best_of` may want

    Raises PromptError for a model without clicks, InputError for crops of an embedding.
    """
    _check(runtime.spec, seen, settings)
    image_hw = seen.image_hw if isinstance(seen, Features) else (seen.shape[0], seen.shape[1])
    windows, layers = crop_boxes(image_hw, settings.crop_n_layers, settings.crop_overlap_ratio)
    grids = [settings.points(layer) for layer in layers]
    exact = settings.mode == "exact"
    clock = Clock(progress, sum(len(g) if exact else most_clicks(len(g)) for g in grids))
    found: list[Mask] = []
    with ThreadPoolExecutor(CUTTERS, "anymask-cut") as cutters:
        for window, grid in zip(windows, grids, strict=True):
            place = seen if isinstance(seen, Features) else _embed_window(runtime, seen, window)
            view = CropView(window, image_hw, place.geometry, runtime.spec.mask_threshold)
            sweep = open_sweep(runtime, place.seen, place.geometry, settings.sweep_precision)
            clicks = grid.astype(np.float64) * place.image_hw[::-1]
            judge = None if exact else objectness_of(runtime.family, place, least)
            scan = Scan(sweep, runtime.family, view, settings, place, cutters, log, judge)
            found += _find_in(scan, clicks, clock)
    if len(windows) > 1:
        smallness = 1 / box_area([record.crop_box for record in found])
        found = _without_duplicates(found, smallness, settings.crop_nms_thresh)
    return _cleaned(found, settings) if settings.min_mask_region_area > 0 else found


def _check(spec: ModelSpec, seen: Features | UintImage, settings: Grid) -> None:
    if "point" not in spec.accepts:
        raise PromptError(
            f"everything needs a model that takes clicks, {spec.name} does not; take another one, "
            f'for example "{DEFAULT_MODEL}"'
        )
    if settings.crop_n_layers and isinstance(seen, Features):
        raise InputError(
            f"crops look at the photo again (crop_n_layers={settings.crop_n_layers}), got only its "
            "embedding; pass the photo instead"
        )


def _embed_window(runtime: ImageRuntime, photo: UintImage, window: Window) -> Features:
    x0, y0, x1, y1 = window
    return encode_image(runtime, photo[y0:y1, x0:x1])


@dataclass
class Clock:
    """Tells how many clicks of all are done."""

    progress: Told | None = None
    total: int = 0
    done: int = 0

    def add(self, clicks: int) -> None:
        self.done += clicks
        if self.progress is not None:
            self.progress(self.done, self.total)


@dataclass(frozen=True)
class Scan:
    """One view of a photo, with all that is needed to ask about it.

    cutters  threads that cut masks out while the model goes on
    log      of all batches; None: nobody keeps them
    judge    of masks; None: nobody judges them
    """

    sweep: Sweep
    family: Family
    view: CropView
    settings: Grid
    embedding: Features
    cutters: Executor
    log: SearchLog | None = None
    judge: Objectness | None = None

    def ask(self, clicks: ArrayLike, frontier: Frontier | None = None) -> list[Mask]:
        """The records that N clicks (N, 2), in pixels of the view, lead to.

        frontier  learns from what passes and from what nearly does
        """
        places = np.asarray(clicks, np.float64).reshape(-1, 2)
        if self.log is None:
            return self._answer(places, frontier).records
        key = batch_key(self.embedding.image_hash, self.view.window, places)
        batch = self.log.recall(key)
        if batch is None:
            batch = self._answer(places, frontier)
            self.log.keep(key, batch)
        elif frontier is not None:
            for lesson in batch.lessons:
                frontier.learn(lesson)
        return batch.records

    def _answer(self, places: NDArray[np.float64], frontier: Frontier | None) -> LoggedBatch:
        """Ask the model."""
        asked = self.sweep.ask(click_prompts(places, self.view.geometry, self.family.spec))
        good = good_enough(asked.quality, self.settings)
        looked = good if frontier is None else good | frontier.worth_a_look(asked.quality)
        jobs: list[tuple[FloatArray, float, NDArray[np.float64]]] = []
        cut: list[Future[list[Mask]]] = []
        lessons: list[Lesson] = []
        for (row, mask), plane in zip(np.argwhere(looked), asked.logits(looked), strict=True):
            quality, click = float(asked.quality[row, mask]), places[row]
            if frontier is not None:
                lessons.append(frontier.lesson(plane, quality, click))
                frontier.learn(lessons[-1])
            if good[row, mask] and self.judge is None:
                cut.append(self._cut(plane, quality, click))
            elif good[row, mask]:
                jobs.append((plane, quality, click))
        records = [record for one in cut for record in one.result()]
        return LoggedBatch(records + self._likely(jobs, asked.quality, good), lessons)

    def _cut(
        self, plane: FloatArray, quality: float, click: NDArray[np.float64]
    ) -> Future[list[Mask]]:
        return self.cutters.submit(make_record, plane, quality, click, self.view, self.settings)

    def _likely(
        self,
        jobs: list[tuple[FloatArray, float, NDArray[np.float64]]],
        quality: FloatArray,
        good: BoolArray,
    ) -> list[Mask]:
        """Of n candidates, the good ones of (N, K), the records of those that may be objects."""
        if self.judge is None or not jobs:
            return []
        rows, places = np.nonzero(good)
        chosen = np.eye(good.shape[1], dtype=np.bool_)[places]
        chances = self.judge.of_masks(np.stack([job[0] for job in jobs]), quality[rows], chosen)
        cut = [(self._cut(*jobs[n]), float(chances[n])) for n in self.judge.worth_cutting(chances)]
        return [
            replace(record, objectness=chance)
            for records, chance in cut
            for record in records.result()
        ]


def search_view(scan: Scan, clicks: NDArray[np.float64], clock: Clock) -> list[Mask]:
    """All masks of one view that pass: those of each click (N, 2), or of those worth asking."""
    batch = scan.settings.batch(scan.sweep.bytes_per_prompt)
    if scan.settings.mode == "adaptive":
        return list(_explore(scan, clicks, batch, clock))
    found: list[Mask] = []
    for part in _parts(clicks, batch):
        found += scan.ask(part)
        clock.add(len(part))
    return found


def _find_in(scan: Scan, clicks: NDArray[np.float64], clock: Clock) -> list[Mask]:
    """The masks of one view that pass, without what its border cuts off and without duplicates."""
    settings, view = scan.settings, scan.view
    found = search_view(scan, clicks, clock)
    cut_off = boxes_at_crop_edge([r.box for r in found], view.window, view.image_hw)
    whole = [record for record, cut in zip(found, cut_off, strict=True) if not cut]
    rank = [record.rank for record in whole]
    return _without_duplicates(whole, rank, settings.box_nms_thresh)


def _explore(scan: Scan, clicks: NDArray[np.float64], batch: int, clock: Clock) -> Iterator[Mask]:
    """Adaptive mode: what the clicks find that are worth asking."""
    weights = AdaptiveWeights.of(adaptive_table(scan.family))
    maps = [one.values for one in scan.embedding.maps]
    frontier = Frontier(clicks, scan.view, scan.settings, weights, maps)
    left = most_clicks(len(clicks))
    while len(chosen := frontier.next()):
        for part in _parts(clicks[chosen], batch):
            yield from scan.ask(part, frontier)
            clock.add(len(part))
        left -= len(chosen)
    clock.add(left)


def _parts(clicks: NDArray[np.float64], most: int) -> Iterator[NDArray[np.float64]]:
    return (clicks[start : start + most] for start in range(0, len(clicks), most))


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


def _without_duplicates(records: list[Mask], scores: ArrayLike, threshold: float) -> list[Mask]:
    """Greedy suppression on the boxes, the highest score first."""
    kept = box_nms([record.box for record in records], scores, threshold)
    return [records[index] for index in kept]


def _cleaned(records: list[Mask], settings: Grid) -> list[Mask]:
    """Small holes and islands removed; then duplicates, where untouched masks go first."""
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
    return _without_duplicates(cleaned, untouched, threshold)
