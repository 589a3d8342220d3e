"""Automatic mask generation: find all masks of an image, at once or in tiles, and filter them.

`find_masks` runs all steps. `arrange` filters the masks: holes and islands; small masks; unlikely
objects; masks contained in better ones; duplicates; edges, and one kind of object; the level; the
layout. Except edges and kind, which require the image and are passed in, each step is a function of
masks only, of any model or file.

Letters: H W an image.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import numpy as np

from anymask.base import InputError, OnProgress, Progress, UintImage, choose_progress
from anymask.masks import (
    CLEAN,
    Features,
    Mask,
    Masks,
    Prompt,
    Tile,
    clean_rle,
    part_tree,
    rle_area,
    rle_iou,
    tile_side,
)
from anymask.runtime import EdgeRefining, ImageRuntime
from anymask.segment.adaptive import SearchLog
from anymask.segment.pipeline import (
    PromptContext,
    check_features,
    decode_prompts,
    encode_image,
    refine_edges,
)
from anymask.segment.search import (
    NEARLY_BEST,
    find_everything,
    least_objectness,
    without_duplicates,
)
from anymask.segment.settings import (
    CONTAINED,
    SURROUNDING,
    Arrangement,
    EverythingDict,
    Grid,
    Level,
    SegmentSettings,
    arrangement_of,
    grid_of,
    split_settings,
    wider_grid,
)
from anymask.segment.tiles import WindowScanner, find_in_tiles

Refine = Callable[[list[Mask]], list[Mask]]

LITTLE = 0.1  # IoU
PART = 0.2  # of the surrounding mask's objectness, from which a contained mask is kept
TYPICAL, SHARE, POWER = 10, 0.6, 2.5  # parameters of `without_unlikely`
AT_ONCE = 64  # masks per batch of edge refinement, to limit memory
AGAIN = 0.9  # minimum IoU of a mask and the prediction for its click
AS_SHOWN = SegmentSettings(
    multimask=True,
    ranking="own",
    max_hole_area=CLEAN,
    min_island_area=CLEAN,
    refine_edges=True,
)


class Looks(NamedTuple):
    """Tiling, and the log of a search (`Model.everything`)."""

    tile: Tile = "auto"
    log: SearchLog | None = None


def find_masks(
    runtime: ImageRuntime,
    photo: UintImage | None,
    features: Features | None,
    given: EverythingDict,
    looks: Looks,
    progress: Progress,
) -> list[Mask]:
    """Implementation of `Model.everything`.

    Args:
        runtime: Runtime of the model.
        photo: Image (H, W, 3), possibly smaller than the image of the features, or None.
        features: Embedding, or None to encode the image.
        given: Settings passed by the user.
        looks: Tiling and log.
        progress: True for a progress bar, or a callable.

    Raises PromptError if the model does not support points, InputError for invalid settings and for
    settings that require the image.
    """
    of_grid, of_arrangement = split_settings(given)
    grid = grid_of(runtime.family, of_grid)
    wanted = arrangement_of(grid, of_arrangement, least_objectness(runtime.family))
    loose = arrangement_of(grid, of_arrangement)
    relative = grid.mode == "adaptive" and "min_objectness" not in of_arrangement
    if features is not None:
        check_features(runtime, features)
        if looks.tile not in ("auto", None):
            raise InputError(
                f"tile={looks.tile!r} requires the image, but only its embedding was "
                "passed. Pass the image."
            )
    whole = photo if photo is not None and tile_side(looks.tile, photo.shape[:2]) is None else None
    once = not grid.crop_n_layers and "point" in runtime.spec.accepts
    if features is None and whole is not None and once:
        features = encode_image(runtime, whole)

    refine, refines = None, wanted.refine_edges
    refines = grid.mode == "adaptive" if refines == "auto" else refines
    if refines and whole is not None and runtime.capability(EdgeRefining) is not None:
        refine = partial(refine_record_edges, runtime, whole, seen=features)
    if wanted.alike:
        refine = partial(_alike, photo, refine)
    look = partial(_look, runtime, photo, features)
    with choose_progress(progress, "everything") as tell:
        every = look(grid, looks, tell, wanted.min_objectness)
        found = arrange(every, wanted, refine, relative)
        found = found or arrange(best_of(every), loose, refine)
        if not found and (wider := wider_grid(grid, of_grid)):
            again = look(wider, looks._replace(log=None), tell)
            found = arrange(best_of(again), loose, refine)
    if runtime.spec.classes and found:
        from anymask.segment.labels import label_masks  # few models need it

        if features is None and photo is not None:
            features = encode_image(runtime, photo)
        assert features is not None
        found = label_masks(runtime, features, found)
    return found


def _alike(photo: UintImage | None, refine: Refine | None, masks: list[Mask]) -> list[Mask]:
    """Apply `only_alike` after edge refinement. Raises InputError without an image."""
    from anymask.segment.alike import only_alike  # few calls need it

    if photo is None:
        raise InputError(
            "alike=True requires the image, but only its embedding was passed. Pass the image."
        )
    return only_alike(photo, masks if refine is None else refine(masks))


def _look(
    runtime: ImageRuntime,
    photo: UintImage | None,
    features: Features | None,
    grid: Grid,
    looks: Looks,
    tell: OnProgress | None,
    least: float = 0.0,
) -> list[Mask]:
    """Masks found by a grid of clicks.

    Args:
        least: Minimum objectness. Tiles keep all masks, because each may be part of a larger one.
    """
    if features is not None:
        return find_everything(runtime, features, grid, tell, looks.log, least)
    assert photo is not None
    eye = WindowScanner(runtime, grid, looks.log)
    side = tile_side(looks.tile, photo.shape[:2])
    if side is None:
        return eye.everything(photo, progress=tell)
    return find_in_tiles(eye, photo, side, tell)


# Filters.


def arrange(
    records: Sequence[Mask],
    settings: Arrangement,
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
    if settings.contained < 1:
        kept = without_contained(kept, settings.contained)
    if settings.iou < 1:
        kept = without_duplicates(kept, settings.iou)
    if relative:
        kept = without_unlikely(kept)
    if refine is not None:
        kept = refine(kept)
    kept = keep_level(kept, settings.granularity)
    if settings.layout == "tree":
        return Masks(kept).tree()
    if settings.layout == "partition":
        return [one for one in Masks(kept).partition() if one.area >= settings.min_mask_area]
    return kept


def keep_level(records: Sequence[Mask], level: Level) -> list[Mask]:
    """Masks of one level in their order.

    "whole": masks that are not part of another; "part": masks without parts; "all": all.
    """
    if level == "all":
        return list(records)
    tree = part_tree([record.rle for record in records])
    wholes = {place.parent for place in tree}
    return [
        record
        for index, (record, place) in enumerate(zip(records, tree, strict=True))
        if (place.parent is None if level == "whole" else index not in wholes)
    ]


def is_likely(record: Mask, least: float) -> bool:
    """Whether the objectness of a mask is at least `least` or unknown."""
    return record.objectness is None or record.objectness >= least


def without_contained(records: Sequence[Mask], threshold: float) -> list[Mask]:
    """Of two masks of which one contains a larger share of the other, keep the higher rank.

    Backgrounds (see `SURROUNDING`) are kept. If objectness is known, the other mask is also kept if
    its objectness is at least `PART` of the better one's: a person on a horse is an object.
    """
    objects = [record for record in records if record.coverage <= SURROUNDING]
    judged = all(record.objectness is not None for record in objects)
    weaker = PART if judged else 1.0
    kept = {id(record) for record in without_duplicates(objects, threshold, "smaller", weaker)}
    return [r for r in records if r.coverage > SURROUNDING or id(r) in kept]


def without_unlikely(records: Sequence[Mask]) -> list[Mask]:
    """Remove masks whose objectness is low compared with the best masks of the image.

    The threshold is `SHARE` of the mean objectness of the `TYPICAL` best masks, raised to `POWER`:
    high in an image of clear objects, low in one of many uncertain ones. The three numbers were
    chosen on coco_val for a recall of 0.4 with few masks, and on sets where every object is
    labelled for precision (docs/reference/results.md).
    """
    known = sorted(r.objectness for r in records if r.objectness is not None)
    least = SHARE * float(np.mean(known[-TYPICAL:])) ** POWER if known else 0.0
    return [record for record in records if is_likely(record, least)]


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
    shown = without_unlikely(without_contained(good, CONTAINED)) or best_of(records)
    rest = [record for record in records if not any(record is one for one in shown)]
    return shown, rest


def refine_record_edges(
    runtime: ImageRuntime,
    photo: UintImage,
    records: Sequence[Mask],
    seen: Features | None = None,
) -> list[Mask]:
    """Refine the edges of masks on the image, in their order.

    Edge refinement requires logits, so each mask is predicted again from its click. A mask that the
    click does not reproduce (it was found in a crop, or has changed) is kept unchanged.

    Args:
        runtime: Runtime of the model.
        photo: Image (H, W, 3), possibly smaller than the image of `seen`.
        records: Masks of the image.
        seen: Embedding of the image, or None to encode it.
    """
    kept = list(records)
    asked = [index for index, record in enumerate(kept) if record.points]
    if not asked:
        return kept
    features = encode_image(runtime, photo) if seen is None else seen
    for start in range(0, len(asked), AT_ONCE):
        some = asked[start : start + AT_ONCE]
        prompts = [Prompt.of(points=kept[index].points[:1]) for index in some]
        answers = decode_prompts(runtime, features, prompts, AS_SHOWN)
        for index, prompt, answer in zip(some, prompts, answers, strict=True):
            alike = rle_iou(answer.rles(), [kept[index].rle])[:, 0]
            best = int(alike.argmax())
            if alike[best] < AGAIN:
                continue
            question = PromptContext(runtime, photo, features, prompt, AS_SHOWN)
            rle = refine_edges(answer.picked([best]), question).first.rle()
            if rle_area(rle):
                kept[index] = replace(kept[index], rle=rle)
    return kept
