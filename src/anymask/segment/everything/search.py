"""Search an image for all its masks, at once or in tiles, with a grid of clicks.

Automatic mask generation of the Segment Anything paper (section 5 and appendix B); names, defaults
and order of the steps follow segment-anything's `SamAutomaticMaskGenerator` (Apache-2.0), so that
its settings carry over. Differences: masks are run-length encoded from the start, so memory does
not grow with the image; work that cannot yield a mask is skipped (`cut_mask`,
`runtime.open_sweep`), which changes no mask; a crop without masks is an empty list, not an error.

Letters: N clicks, K candidates of each, m the side of a low-resolution mask, h w its cells without
padding, n masks, C channels of the encoder's first map, F features, H hidden units.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from anymask.base import (
    FloatArray,
    Floats,
    InputError,
    IntArray,
    OnProgress,
    Progress,
    PromptError,
    UintImage,
    choose_progress,
)
from anymask.masks import (
    NO_POINT,
    Features,
    Geometry,
    Mask,
    ModelPrompts,
    ModelSpec,
    Prompt,
    Tile,
    box_area,
    boxes_at_crop_edge,
    check_features,
    points_to_model,
    tile_side,
)
from anymask.models.rules import DEFAULT_VIDEO_MODEL, Family, field_rules
from anymask.runtime import ImageRuntime, Sweep, open_sweep, require
from anymask.segment.everything.edges import refine_record_edges
from anymask.segment.everything.filter import (
    Objectness,
    Refine,
    best_of,
    clean_small_regions,
    default_min_objectness,
    filter_masks,
    good_enough,
    make_record,
    objectness_of,
    without_box_duplicates,
    without_duplicates,
)
from anymask.segment.everything.grid import (
    CropView,
    Frontier,
    Observation,
    TanhNetwork,
    adaptive_table,
    crop_boxes,
    most_clicks,
)
from anymask.segment.everything.log import LoggedBatch, SearchLog, batch_key
from anymask.segment.everything.magnify import magnifying_side
from anymask.segment.everything.tiles import find_in_tiles, require_image
from anymask.segment.pipeline import decode_prompts, encode_image, image_hash
from anymask.segment.settings import (
    Grid,
    SegmentSettings,
    grid_of,
    mask_filter_of,
    split_settings,
    wider_grid,
)

if TYPE_CHECKING:
    from anymask.keywords import EverythingDict

# Instances from predicted distances: seeds, then a watershed, instead of a grid of clicks.
#
# The automatic instance segmentation of micro-sam (Archit et al. 2025, "Segment Anything for
# Microscopy", Methods): seeds are the connected regions where the distance to the center and the
# distance to the boundary are both small, and a watershed of the boundary distance on the
# foreground assigns every cell to a seed. Differences: the mask of an instance is interpolated from
# the foreground probability, so its edge is not limited to cells, and each instance has a score.
#
# Letters: h w the cells of the planes, H W the image, n instances.

FOREGROUND = 0.5  # minimum probability of the foreground
DISTANCE_SIGMA = 0.8  # standard deviation of the smoothing of the distances, in cells
LEVELS = 64  # of the boundary distance in the watershed
MIN_INSTANCE_CELLS = 6  # cells of the smallest instance
OUTSIDE_LOGIT = -10.0  # logit outside an instance
CROSS = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))


class Distances(NamedTuple):
    """Planes (h, w) in 0..1 without padding, as `models.instance_head` predicts them."""

    foreground: FloatArray  # Probability of the foreground
    center: FloatArray  # Distance to the instance's center, relative to its largest
    boundary: FloatArray  # 1 minus the distance to the instance's boundary, relative to its largest


def find_instances(
    runtime: ImageRuntime, places: Sequence[Features], view: CropView, settings: Grid
) -> list[Mask]:
    """Find all instances in a view of an image.

    Args:
        runtime: Runtime of the model.
        places: Embeddings of the view and of its next quarter turns, whose planes are averaged.
        view: The view.
        settings: Settings of the search; `score` and `stability` filter the instances.

    Raises ModelError if the model has no instance head.
    """
    read, every = require(runtime, runtime.instance_planes, "instance planes"), list[FloatArray]()
    for turn, features in enumerate(places):
        planes = read(features.encoder_output)
        side = planes.shape[-1]
        rows, columns = features.geometry.filled_cells(side)
        every.append(np.rot90(planes[:, :rows, :columns], -turn, (1, 2)))
    distances = Distances(*np.mean(every, axis=0))
    labels = separate(distances, field_rules(runtime.spec.name).seed)
    (rows, columns), image_hw = labels.shape, places[0].image_hw
    # Cells of other instances are outside. The background beside an instance keeps its own
    # probability, so that the edge lies where the probability crosses `FOREGROUND`.
    p = np.clip(distances.foreground, 1e-4, 1 - 1e-4)
    logits = np.log(p / (1 - p)).astype(np.float32)
    masks: list[Mask] = []
    for number in range(1, int(labels.max(initial=0)) + 1):
        own = labels == number
        score = float(distances.foreground[own].mean()) * (1 - float(distances.center[own].min()))
        if score <= settings.score and settings.score:
            continue
        ys, xs = np.nonzero(own)
        top, bottom, left, right = ys.min(), ys.max() + 1, xs.min(), xs.max() + 1
        window = np.s_[max(top - 1, 0) : bottom + 1, max(left - 1, 0) : right + 1]
        near = cv2.dilate(own[window].view(np.uint8), np.ones((3, 3), np.uint8)) > 0
        near &= own[window] | (labels[window] == 0)
        plane = np.full((side, side), OUTSIDE_LOGIT, np.float32)
        plane[:rows, :columns][window][near] = logits[window][near]
        if bottom == rows:  # the padding continues the image, so that the edge is not rounded
            plane[rows : rows + 2] = plane[rows - 1]
        if right == columns:
            plane[:, columns : columns + 2] = plane[:, columns - 1 : columns]
        middle = distances.center[own].argmin()
        x, y = float(xs[middle]) + 0.5, float(ys[middle]) + 0.5
        click = np.array([x / columns * image_hw[1], y / rows * image_hw[0]])
        masks += make_record(plane, score, click, view, settings)
    return masks


def separate(distances: Distances, seed: float = 0.5) -> IntArray:  # -> (h, w)
    """Separate instances: 0 in the background, instances numbered from 1.

    Args:
        seed: Maximum center and boundary distance of a seed.
    """
    inside = distances.foreground > FOREGROUND
    center, boundary = (
        np.asarray(cv2.GaussianBlur(plane, (0, 0), DISTANCE_SIGMA), np.float32)
        for plane in (distances.center, distances.boundary)
    )
    seeds = inside & (center < seed) & (boundary < seed)
    _, regions = cv2.connectedComponents(inside.view(np.uint8), connectivity=4)
    seeds |= inside & ~np.isin(regions, regions[seeds])  # regions without a seed are one
    _, numbered_seeds = cv2.connectedComponents(seeds.view(np.uint8), connectivity=4)
    labels = _flood(np.asarray(numbered_seeds, np.int32), boundary, inside)
    kept = np.bincount(labels.ravel()) >= MIN_INSTANCE_CELLS
    kept[0] = False
    return (np.cumsum(kept) * kept)[labels].astype(np.int64)


def _flood(
    labels: NDArray[np.int32], height: FloatArray, inside: NDArray[np.bool_]
) -> NDArray[np.int32]:
    """Extend seeds over the cells inside, in the order of their height (h, w) in 0..1."""
    levels = np.where(inside, np.clip(height * LEVELS, 0, LEVELS - 1).astype(np.int32), LEVELS)
    flooded = labels.astype(np.float32)  # cv2.dilate does not support 32-bit integers
    for level in range(LEVELS):
        reached = levels <= level
        while True:
            free = reached & (flooded == 0)
            if not free.any():
                break
            grown = cv2.dilate(flooded, CROSS)
            if not grown[free].any():
                break
            flooded[free] = grown[free]
    return flooded.astype(np.int32)


CUTTERS = 2  # threads


def find_everything(
    runtime: ImageRuntime,
    features: Features | UintImage,
    settings: Grid,
    progress: OnProgress | None = None,
    log: SearchLog | None = None,
    least: float = 0.0,
) -> list[Mask]:
    """All masks that pass, by rank or, with crops, by crop size (smallest first).

    Args:
        runtime: Runtime of the model.
        features: Image (H, W, 3), or its embedding if there are no crops.
        settings: Settings of the grid.
        progress: Callable (clicks done, all clicks), called after every batch.
        log: Log that stores each batch and returns the stored ones.
        least: Minimum objectness; masks that `best_of` may require are kept.

    Raises PromptError if the model does not support points, InputError for crops of an embedding.
    """
    spec, family = runtime.spec, runtime.family
    turns = field_rules(spec.name).turns if settings.mode == "instances" else 1
    check_clicks(spec)
    if settings.crop_n_layers and isinstance(features, Features):
        raise InputError(
            f"crop_n_layers={settings.crop_n_layers} requires the image, but only its "
            "embedding was passed. Pass the image."
        )
    image_hw = features.image_hw if isinstance(features, Features) else features.shape[:2]
    windows, layers = crop_boxes(image_hw, settings.crop_n_layers, settings.crop_overlap_ratio)
    grids = [settings.points(layer) for layer in layers]
    exact = settings.mode != "adaptive"
    most = (len(g) if exact else most_clicks(len(g)) for g in grids)
    clock, kept = ProgressCounter(progress, sum(most)), list[Mask]()
    with ThreadPoolExecutor(CUTTERS, "anymask-cut") as cutters:
        for window, grid in zip(windows, grids, strict=True):
            if isinstance(features, Features):
                embeddings = [features]
            else:
                x0, y0, x1, y1 = window
                turned = (np.rot90(features[y0:y1, x0:x1], turn) for turn in range(turns))
                embeddings = [encode_image(runtime, np.ascontiguousarray(crop)) for crop in turned]
            embedding = embeddings[0]
            view = CropView(window, image_hw, embedding.geometry, spec.mask_threshold)
            if settings.mode == "instances":
                masks = find_instances(runtime, embeddings, view, settings)
                clock.add(len(grid))
            else:
                sweep = open_sweep(
                    runtime, embedding.encoder_output, embedding.geometry, settings.sweep_precision
                )
                judge = None if exact else objectness_of(family, embedding, least)
                scan = ViewDecoder(sweep, family, view, settings, embedding, cutters, log, judge)
                masks = search_view(scan, grid.astype(np.float64) * embedding.image_hw[::-1], clock)
            cut_off = boxes_at_crop_edge([record.box for record in masks], window, image_hw)
            whole = [record for record, cut in zip(masks, cut_off, strict=True) if not cut]
            if exact:
                ranks = [record.rank for record in whole]
                kept += without_box_duplicates(whole, ranks, settings.box_nms_thresh)
            else:
                kept += without_duplicates(whole, settings.box_nms_thresh)
    if len(windows) > 1:
        smallness = 1 / box_area([record.crop_box for record in kept])
        kept = without_box_duplicates(kept, smallness, settings.crop_nms_thresh)
    return clean_small_regions(kept, settings) if settings.min_mask_region_area > 0 else kept


def check_clicks(spec: ModelSpec) -> None:
    """Raise PromptError if the model does not support points."""
    if "point" not in spec.accepts:
        raise PromptError(
            f"Automatic mask generation requires point prompts, which {spec.name} does not "
            f'support. Use another model, for example "{DEFAULT_VIDEO_MODEL}".'
        )


@dataclass
class ProgressCounter:
    """Progress of the clicks."""

    progress: OnProgress | None = None
    total: int = 0
    done: int = 0

    def add(self, clicks: int) -> None:
        self.done += clicks
        if self.progress is not None:
            self.progress(self.done, self.total)


@dataclass(frozen=True)
class ViewDecoder:
    """One view of an image with the state that prompting requires."""

    sweep: Sweep  # Decoder of many clicks
    family: Family  # Rules of the model
    view: CropView  # The window that is searched
    settings: Grid  # Settings of the grid
    embedding: Features  # Embedding of the view
    cutters: Executor  # Threads that resize masks while the model decodes
    log: SearchLog | None = None  # Log of all batches, or None
    judge: Objectness | None = None  # Objectness estimator, or None

    def decode(self, clicks: Floats, frontier: Frontier | None = None) -> list[Mask]:
        """Masks of N clicks (N, 2) in pixels of the view.

        Args:
            clicks: Clicks (N, 2).
            frontier: Receives the observations of masks that pass or nearly pass.
        """
        if self.log is None:
            return self._decode(clicks, frontier).records
        key = batch_key(self.embedding.image_hash, self.view.window, clicks)
        batch = self.log.recall(key)
        if batch is None:
            batch = self._decode(clicks, frontier)
            self.log.keep(key, batch)
        elif frontier is not None:
            for observation in batch.observations:
                frontier.learn(observation)
        return batch.records

    def _decode(self, clicks: Floats, frontier: Frontier | None) -> LoggedBatch:
        """Decode a batch."""
        decoded = self.sweep.decode(grid_prompts(clicks, self.view.geometry, self.family.spec))
        good = good_enough(decoded.quality, self.settings)
        looked = good if frontier is None else good | frontier.is_observable(decoded.quality)
        judged: list[tuple[FloatArray, float, Floats]] = []
        cut: list[Future[list[Mask]]] = []
        observations: list[Observation] = []
        for (row, mask), plane in zip(np.argwhere(looked), decoded.logits(looked), strict=True):
            score, click = float(decoded.quality[row, mask]), clicks[row]
            if frontier is not None:
                observations.append(frontier.observe(plane, score, click))
                frontier.learn(observations[-1])
            if good[row, mask] and self.judge is None:
                cut.append(self._cut(plane, score, click))
            elif good[row, mask]:
                judged.append((plane, score, click))
        records = [record for future in cut for record in future.result()]
        if self.judge is not None and judged:
            rows, places = np.nonzero(good)
            chosen = np.eye(good.shape[1], dtype=np.bool_)[places]
            planes = np.stack([plane for plane, _, _ in judged])
            probabilities = self.judge.of_masks(planes, decoded.quality[rows], chosen)
            likely = self.judge.above_threshold(probabilities)
            for n, future in [(n, self._cut(*judged[n])) for n in likely]:
                records += [
                    replace(mask, objectness=float(probabilities[n])) for mask in future.result()
                ]
        return LoggedBatch(records, observations)

    def _cut(self, plane: FloatArray, score: float, click: Floats) -> Future[list[Mask]]:
        return self.cutters.submit(make_record, plane, score, click, self.view, self.settings)


def search_view(scan: ViewDecoder, clicks: Floats, clock: ProgressCounter) -> list[Mask]:
    """All masks of one view that pass: of every click (N, 2), or of the selected ones."""
    if scan.settings.mode == "exact":
        return _in_batches(scan, clicks, clock)
    weights = TanhNetwork.of(adaptive_table(scan.family))
    maps = [layer.values for layer in scan.embedding.maps]
    frontier = Frontier(clicks, scan.view, scan.settings, weights, maps)
    left = most_clicks(len(clicks))
    masks: list[Mask] = []
    while len(chosen := frontier.next()):
        masks += _in_batches(scan, clicks[chosen], clock, frontier)
        left -= len(chosen)
    clock.add(left)
    return masks


def _in_batches(
    scan: ViewDecoder, clicks: Floats, clock: ProgressCounter, frontier: Frontier | None = None
) -> list[Mask]:
    """Masks of clicks (N, 2) that pass."""
    batch = scan.settings.batch(scan.sweep.bytes_per_prompt)
    masks: list[Mask] = []
    for start in range(0, len(clicks), batch):
        part = clicks[start : start + batch]
        masks += scan.decode(part, frontier)
        clock.add(len(part))
    return masks


def grid_prompts(clicks: ArrayLike, geometry: Geometry, spec: ModelSpec) -> ModelPrompts:
    """Prompts of N positive clicks (N, 2) in image pixels."""
    places = points_to_model(clicks, geometry)
    count, padding = len(places), max(int(spec.pad_point), spec.fixed_points - 1, 0)
    coords = np.zeros((count, 1 + padding, 2), np.float32)
    coords[:, 0] = places
    labels = np.full((count, 1 + padding), NO_POINT, np.int64)
    labels[:, 0] = 1
    masks = np.zeros((count, 1, spec.mask_side, spec.mask_side), np.float32)
    return ModelPrompts(coords, labels, masks, np.zeros(count, np.float32))


AS_FOUND = SegmentSettings(multimask=True, ranking="own")  # the masks of a grid's clicks


@dataclass(frozen=True)
class WindowScanner:
    """Search of one tile, or of the downscaled image."""

    runtime: ImageRuntime  # Runtime of the model
    settings: Grid  # Settings of the grid
    log: SearchLog | None = None  # Log from which an interrupted search resumes, or None

    def everything(
        self, image: UintImage, scale: float = 1.0, progress: OnProgress | None = None
    ) -> list[Mask]:
        """All masks of an image; an instance head finds none in a downscaled image.

        Args:
            image: Tile or downscaled image.
            scale: Pixels of the original image per pixel of this one; areas refer to the original.
            progress: Callable (clicks done, all clicks), called after every batch.
        """
        if scale > 1 and self.settings.mode == "instances":
            return []
        window = (0, 0, image.shape[1], image.shape[0])
        key = batch_key(image_hash(image), window, np.array([scale]))
        if self.log is not None and (known := self.log.recall(key)) is not None:
            return known.records
        area = int(self.settings.min_mask_region_area / scale**2)
        settings = replace(self.settings, min_mask_region_area=area)
        masks = find_everything(self.runtime, image, settings, progress, self.log)
        if self.log is not None:
            self.log.keep(key, LoggedBatch(masks, []))
        return masks

    def clicks(self, image: UintImage, clicks: Sequence[tuple[float, float]]) -> list[list[Mask]]:
        """Masks of each click that pass; an instance head returns all of its masks."""
        if self.settings.mode == "instances":
            return [self.everything(image)] * len(clicks)
        prompts = [Prompt.of(points=[click]) for click in clicks]
        answers = decode_prompts(self.runtime, encode_image(self.runtime, image), prompts, AS_FOUND)
        return [
            [
                record
                for record in replace(answer, prompt=prompt)
                if record.score > self.settings.score
                and (record.stability or 0.0) >= self.settings.stability
                and record.area
            ]
            for prompt, answer in zip(prompts, answers, strict=True)
        ]


def find_masks(
    runtime: ImageRuntime,
    image: UintImage | None,
    features: Features | None,
    given: EverythingDict,
    tile: Tile,
    log: SearchLog | None,
    progress: Progress,
) -> list[Mask]:
    """Implementation of `Model.everything`.

    Args:
        runtime: Runtime of the model.
        image: Image (H, W, 3), possibly smaller than the image of the features, or None.
        features: Embedding, or None to encode the image.
        given: Settings passed by the user.
        tile: As for `Model.everything`.
        log: Log of the search, or None.
        progress: True for a progress bar, or a callable.

    Raises PromptError if the model does not support points, InputError for invalid settings and for
    settings that require the image.
    """
    of_grid, of_arrangement = split_settings(given)
    grid = grid_of(runtime.family, of_grid)
    requested = mask_filter_of(grid, of_arrangement, default_min_objectness(runtime.family))
    loose = mask_filter_of(grid, of_arrangement)
    relative = grid.mode == "adaptive" and "min_objectness" not in of_arrangement
    reads, rules = grid.mode == "instances", field_rules(runtime.spec.name)
    trained_side = (rules.side or runtime.spec.image_side) if reads else None
    magnifies = reads and rules.sizes and tile == "auto" and not grid.crop_n_layers
    turns = reads and rules.turns > 1
    if features is None:
        assert image is not None
        image_hw = (image.shape[0], image.shape[1])
    else:
        image_hw = features.image_hw
    searched_whole = features is not None and tile == "auto" and trained_side is None
    side = None if searched_whole else tile_side(tile, image_hw, trained_side)
    side_if_empty, side = side, None if magnifies else side
    if features is not None:
        check_features(features, runtime.spec, runtime.weights_hash)
        if side is not None or turns:
            require_image(image, image_hw, runtime.spec.name if turns else f"tile={side}")
            features = None
    whole = image if side is None else None
    once = not grid.crop_n_layers and not turns and "point" in runtime.spec.accepts
    if features is None and whole is not None and once:
        features = encode_image(runtime, whole)

    refine, refines = None, requested.refine_edges
    refines = grid.mode == "adaptive" if refines == "auto" else refines
    if refines and whole is not None and runtime.refine_edge is not None:
        refine = partial(refine_record_edges, runtime, whole, encoded=features)
    if requested.dominant_kind:
        refine = partial(_keep_dominant_kind, image, refine)
    search = partial(_search, runtime, image, features, side)
    if magnifies and trained_side and features is not None:
        search = partial(_search_magnified, runtime, image, features, (trained_side, side_if_empty))
    with choose_progress(progress, "everything") as tell:
        every = search(grid, log, tell, requested.min_objectness)
        masks = filter_masks(every, requested, refine, relative)
        masks = masks or filter_masks(best_of(every), loose, refine)
        if not masks and (wider := wider_grid(grid, of_grid)):
            masks = filter_masks(best_of(search(wider, None, tell)), loose, refine)
    if runtime.spec.classes and masks:
        from anymask.segment.labels import label_masks  # few models need it

        if features is None and image is not None:
            features = encode_image(runtime, image)
        assert features is not None
        masks = label_masks(runtime, features, masks)
    return masks


def _keep_dominant_kind(
    image: UintImage | None, refine: Refine | None, masks: list[Mask]
) -> list[Mask]:
    """Apply `only_alike` after edge refinement. Raises InputError without an image."""
    from anymask.segment.everything.alike import only_alike  # few calls need it

    if image is None:
        raise InputError(
            "dominant_kind requires the image, but only its embedding was passed. Pass the image."
        )
    return only_alike(image, masks if refine is None else refine(masks))


def _search(
    runtime: ImageRuntime,
    image: UintImage | None,
    features: Features | None,
    side: int | None,
    grid: Grid,
    log: SearchLog | None,
    tell: OnProgress | None,
    least: float = 0.0,
) -> list[Mask]:
    """Masks found by a grid of clicks.

    Args:
        side: Side of the tiles, or None.
        least: Minimum objectness. Tiles keep all masks, because each may be part of a larger one.
    """
    if features is not None:
        return find_everything(runtime, features, grid, tell, log, least)
    assert image is not None
    scanner = WindowScanner(runtime, grid, log)
    if side is None:
        return scanner.everything(image, progress=tell)
    return find_in_tiles(scanner, image, side, tell)


def _search_magnified(
    runtime: ImageRuntime,
    image: UintImage | None,
    features: Features,
    sides: tuple[int, int | None],
    grid: Grid,
    log: SearchLog | None,
    tell: OnProgress | None,
    least: float = 0.0,
) -> list[Mask]:
    """Masks of the whole image, or of tiles in which small objects have the usual size.

    Args:
        sides: Side of the training images, and of the tiles of an image in which nothing is found.
    """
    masks = find_everything(runtime, features, grid, None, log, least)
    image_hw, (trained_side, side) = features.image_hw, sides
    if masks and (sizes := field_rules(runtime.spec.name).sizes):
        scanner = WindowScanner(runtime, grid)
        side = magnifying_side(scanner, image, image_hw, masks, sizes, trained_side)
    if side is not None:
        image = require_image(image, image_hw, f"tile={side}")
        return _search(runtime, image, None, side, grid, log, tell)
    if tell is not None:
        tell(1, 1)
    return masks
