"""Finds the masks of everything in a photo, in one look or in tiles, and arranges them.

What becomes of the masks that were found: holes and islands; small masks; what is hardly an object;
what lies in a better mask, or around one; duplicates; edges; the level; the layout (`arrange`).
Each but the edges, which need the photo and are handed in, is a function of masks alone, so it can
be used on any list of them, from whatever model or file.

Letters: H W the photo.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

from anymask.base import InputError, Progress, UintImage, pick_teller
from anymask.masks import (
    CLEAN,
    Features,
    Mask,
    Prompt,
    Tile,
    clean_rle,
    nested,
    part_tree,
    partition,
    rle_area,
    rle_iou,
    with_rle,
)
from anymask.runtime import EdgeRefining, ImageRuntime
from anymask.segment.adaptive import SearchLog
from anymask.segment.pipeline import (
    Question,
    RetryTime,
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
    Retry,
    SegmentSettings,
    arrangement_of,
    check_retry,
    grid_of,
    split_settings,
    wider_grid,
)
from anymask.segment.tiles import WindowScanner, count_looks, look_around

Refine = Callable[[list[Mask]], list[Mask]]

LITTLE = 0.1  # IoU
AT_ONCE = 64  # masks whose edges are refined: what they are answered with is memory
SAME = 0.9  # IoU of a mask and the one that its click brings again
AS_SHOWN = SegmentSettings(
    multimask=True,
    ranking="own",
    max_hole_area=CLEAN,
    min_island_area=CLEAN,
    refine_edges=True,
)


class Looks(NamedTuple):
    """How often the photo is looked at, and where what was found is kept (`Model.everything`)."""

    tile: Tile = "auto"
    retry: Retry | None = None
    log: SearchLog | None = None


def find_masks(
    runtime: ImageRuntime,
    photo: UintImage | None,
    features: Features | None,
    given: EverythingDict,
    looks: Looks,
    progress: Progress,
) -> list[Mask]:
    """What `Model.everything` answers.

    photo     (H, W, 3), or smaller where the features say of which size it was; None: features only
    features  None: the photo is encoded where that is needed

    Raises PromptError for a model without clicks, InputError for settings and for what features
    alone cannot do.
    """
    check_retry(looks.retry)
    of_grid, of_arrangement = split_settings(given)
    grid = grid_of(runtime.family, of_grid)
    wanted = arrangement_of(grid, of_arrangement, least_objectness(runtime.family))
    loose = arrangement_of(grid, of_arrangement)
    if features is not None:
        check_features(runtime, features)
        if looks.tile not in ("auto", None) or looks.retry is not None:
            raise InputError(
                f"tiles and retries look at the photo again (tile={looks.tile!r}, "
                f"retry={looks.retry!r}), got only its features; pass the photo instead"
            )
    elif photo is not None:
        once = count_looks(looks.tile, photo.shape[:2]) == 1 and not grid.crop_n_layers
        if once and looks.retry is None and "point" in runtime.spec.accepts:
            features = encode_image(runtime, photo)

    refine = None
    has_edges = runtime.capability(EdgeRefining) is not None and photo is not None
    in_one_look = photo is not None and count_looks(looks.tile, photo.shape[:2]) == 1
    if has_edges and in_one_look and _refines(grid, wanted):
        refine = partial(refine_record_edges, runtime, photo, seen=features)
    look = partial(_look, runtime, photo, features)
    with pick_teller(progress, "everything") as tell:
        every = look(grid, looks, tell, wanted.min_objectness)
        found = arrange(every, wanted, refine) or arrange(best_of(every), loose, refine)
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


def _refines(grid: Grid, wanted: Arrangement) -> bool:
    return grid.mode == "adaptive" if wanted.refine_edges == "auto" else wanted.refine_edges


def _look(
    runtime: ImageRuntime,
    photo: UintImage | None,
    features: Features | None,
    grid: Grid,
    looks: Looks,
    tell: Callable[[int, int], None] | None,
    least: float = 0.0,
) -> list[Mask]:
    """What a grid of clicks finds.

    least  objectness of masks that are wanted; tiles keep all, as each may be part of a larger one
    """
    if features is not None:
        return find_everything(runtime, features, grid, tell, looks.log, least)
    assert photo is not None
    time = None if looks.retry is None else RetryTime.start(looks.retry)
    return look_around(WindowScanner(runtime, grid, time, looks.log), photo, looks.tile, tell)


# What becomes of the masks.


def arrange(
    records: Sequence[Mask], settings: Arrangement, refine: Refine | None = None
) -> list[Mask]:
    """The masks that the settings ask for; what stays, stays in its order.

    refine  gives the masks that stay other edges
    """
    kept = []
    for record in records:
        rle = clean_rle(record.rle, settings.max_hole_area, settings.min_island_area)
        record = record if rle is record.rle else with_rle(record, rle)
        if record.area >= settings.min_mask_area and is_likely(record, settings.min_objectness):
            kept.append(record)
    if settings.contained_nms_thresh < 1:
        kept = without_contained(kept, settings.contained_nms_thresh)
    if settings.mask_nms_thresh < 1:
        kept = without_duplicates(kept, settings.mask_nms_thresh)
    if refine is not None:
        kept = refine(kept)
    kept = keep_level(kept, settings.granularity)
    if settings.layout == "tree":
        return nested(kept)
    if settings.layout == "partition":
        return [share for share in partition(kept) if share.area >= settings.min_mask_area]
    return kept


def keep_level(records: Sequence[Mask], level: Level) -> list[Mask]:
    """The masks of one level, in their order.

    "whole": those that are part of no other; "part": those that have no parts; "all": all.
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
    """Whether a mask may be shown: one that nobody judged may."""
    return record.objectness is None or record.objectness >= least


def without_contained(records: Sequence[Mask], threshold: float) -> list[Mask]:
    """Of two masks of which one lies in the other by a larger share, the one of higher rank.

    Surroundings (see `SURROUNDING`) are left alone.
    """
    objects = [record for record in records if record.coverage <= SURROUNDING]
    kept = {id(record) for record in without_duplicates(objects, threshold, "smaller")}
    return [r for r in records if r.coverage > SURROUNDING or id(r) in kept]


def best_of(records: Sequence[Mask]) -> list[Mask]:
    """Of masks that none of the thresholds chose: the best ones that overlap little."""
    most = max((record.rank for record in records), default=0.0)
    good = [record for record in records if record.rank >= NEARLY_BEST * most]
    return without_duplicates(good, LITTLE)


def split_by_score(
    records: Sequence[Mask], score: float, objectness: float
) -> tuple[list[Mask], list[Mask]]:
    """The masks that are shown by two least numbers, or the best where none is; and the rest.

    None of those that are shown lies in a better one.
    """
    good = [
        record
        for record in records
        if (record.score > score or not score) and is_likely(record, objectness)
    ]
    shown = without_contained(good, CONTAINED) or best_of(records)
    rest = [record for record in records if not any(record is one for one in shown)]
    return shown, rest


def refine_record_edges(
    runtime: ImageRuntime,
    photo: UintImage,
    records: Sequence[Mask],
    seen: Features | None = None,
) -> list[Mask]:
    """The masks in their order, each with its edge where the photo has it.

    Masks are run-lengths, and an edge is moved where the logits are undecided: so each is asked for
    with its click once more. A mask that does not come again (it was found in a crop, or changed
    since) stays as it is.

    photo  (H, W, 3), or smaller where `seen` says of which size it was
    seen   the photo's features, where somebody has them
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
            if alike[best] < SAME:
                continue
            question = Question(runtime, photo, features, prompt, AS_SHOWN)
            rle = refine_edges(answer.picked([best]), question).first.rle()
            if rle_area(rle):
                kept[index] = with_rle(kept[index], rle)
    return kept
