"""Post-processing of automatic masks: records in; clean, unique, one level, disjoint records out.

The order of the steps: holes and islands; small masks; what is hardly an object; what lies in a
better mask, or around one; duplicates; edges; the level; the layout. Each but the edges, which need
the photo and are handed in, is a function of records alone, so it can be used on any list of them,
from whatever model or file.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Annotated, Literal, TypedDict, cast

from anymask.base import InputError, Setting, check_settings, describe_settings
from anymask.masks import (
    CLEAN,
    Mask,
    Masks,
    RegionSize,
    clean_rle,
    mask_nms,
    parse_region_size,
    part_tree,
)
from anymask.segment.grid import Grid, GridDict
from anymask.segment.requests import LEVELS, Level, RefineEdges

Refine = Callable[[list[Mask]], list[Mask]]
Layout = Literal["flat", "partition", "tree"]

NEARLY_BEST = 0.8  # of the best rank
LITTLE = 0.1  # IoU
ADAPTIVE_NMS = 0.4  # mask_nms_thresh in adaptive mode; exact mode keeps segment-anything's masks
CONTAINED = 0.9  # contained_nms_thresh, likewise
SURROUNDING = 0.3  # of the photo: a larger mask is what objects lie in, and no rival of theirs
NESTED = frozenset({"granularity", "layout"})  # who chooses these wants parts beside wholes


def check_level(level: object) -> None:
    """Raises InputError for what is no level of a tree."""
    if level not in LEVELS:
        raise InputError(f'granularity must be "part", "whole" or "all", got {level!r}')


class ArrangementDict(TypedDict, total=False):
    """The keyword arguments of `Arrangement`; a test says that the two agree."""

    min_objectness: float
    mask_nms_thresh: float
    contained_nms_thresh: float
    min_mask_area: float
    min_island_area: RegionSize
    max_hole_area: RegionSize
    refine_edges: RefineEdges
    granularity: Level
    layout: Layout


class EverythingDict(GridDict, ArrangementDict, total=False):
    """How masks are found, and what becomes of them."""


def split_settings(given: EverythingDict) -> tuple[GridDict, ArrangementDict]:
    """The keyword arguments of `Grid` (and any that nobody knows), and those of `Arrangement`."""
    ours = {field.name for field in fields(Arrangement)}
    grid = {name: value for name, value in given.items() if name not in ours}
    arrangement = {name: value for name, value in given.items() if name in ours}
    return cast(GridDict, grid), cast(ArrangementDict, arrangement)


@describe_settings
@dataclass(frozen=True, kw_only=True)
class Arrangement:
    """The settings; with all of them left out the masks stay as they were found.

    Raises InputError for values out of range.
    """

    min_objectness: Annotated[
        float,
        Setting(
            "drop masks that are less likely to be an object; 0 keeps all",
            most=1,
            default="the model's own in adaptive mode, 0 in exact mode",
        ),
    ] = 0.0
    mask_nms_thresh: Annotated[
        float,
        Setting(
            "of two masks that overlap with a larger IoU, keep the better; 1 keeps all",
            most=1,
            default=f"1 in exact mode, {ADAPTIVE_NMS} in adaptive mode",
        ),
    ] = 1.0
    contained_nms_thresh: Annotated[
        float,
        Setting(
            "of two masks of which the smaller lies in the other by more than this share, keep the "
            f"better; those of more than {SURROUNDING:.0%} of the photo are left alone; 1 keeps "
            "all: parts beside their wholes",
            most=1,
            default=f"{CONTAINED} in adaptive mode, 1 in exact mode, and where granularity or "
            "layout are chosen",
        ),
    ] = 1.0
    min_mask_area: Annotated[float, Setting("drop masks of fewer pixels", unit="pixels")] = 0
    min_island_area: Annotated[
        RegionSize,
        Setting(
            'remove parts of a mask of less: pixels (50) or a share of the mask (0.05, "5%"), 0 '
            "for none; the largest stays",
            check=partial(parse_region_size, name="min_island_area"),
            form="PIXELS|SHARE",
            default=f"0 in exact mode, {CLEAN} in adaptive mode",
        ),
    ] = 0
    max_hole_area: Annotated[
        RegionSize,
        Setting(
            "fill enclosed holes of less, in the same units",
            check=partial(parse_region_size, name="max_hole_area"),
            form="PIXELS|SHARE",
            default=f"0 in exact mode, {CLEAN} in adaptive mode",
        ),
    ] = 0
    refine_edges: Annotated[
        RefineEdges,
        Setting(
            "put the edges of the masks that stay where the photo has them, as `segment` does; "
            "masks of tiles and of an embedding, and of a model without a network for that, keep "
            'their own; "auto": in adaptive mode'
        ),
    ] = "auto"
    granularity: Annotated[
        Level,
        Setting(
            '"whole": keep masks that are part of no other; "part": keep masks that have no parts; '
            '"all": keep all',
            check=check_level,
        ),
    ] = "all"
    layout: Annotated[
        Layout,
        Setting(
            '"flat": a list; "tree": each record says which mask it is part of; "partition": each '
            "pixel belongs to at most one mask, to a part before its whole, else to the better one "
            "(what is left of a mask is dropped below min_mask_area)"
        ),
    ] = "flat"

    def __post_init__(self) -> None:
        check_settings(self)


def arrangement_of(grid: Grid, given: ArrangementDict, least: float = 0.0) -> Arrangement:
    """The given settings over the defaults of the grid's mode. Raises InputError for bad values.

    least  the model's own min_objectness
    """
    merged = ArrangementDict()
    if grid.mode == "adaptive":
        merged["min_objectness"] = least
        merged["mask_nms_thresh"] = ADAPTIVE_NMS
        if NESTED.isdisjoint(given):
            merged["contained_nms_thresh"] = CONTAINED
        merged["min_island_area"] = merged["max_hole_area"] = CLEAN
    merged.update(given)
    return Arrangement(**merged)


def arrange(
    records: Sequence[Mask], settings: Arrangement, refine: Refine | None = None
) -> list[Mask]:
    """The records that the settings ask for; what stays, stays in its order.

    refine  gives the masks that stay other edges
    """
    kept = [_cleaned(record, settings) for record in records]
    kept = [record for record in kept if record.area >= settings.min_mask_area]
    kept = [record for record in kept if is_likely(record, settings.min_objectness)]
    if settings.contained_nms_thresh < 1:
        kept = without_contained(kept, settings.contained_nms_thresh)
    if settings.mask_nms_thresh < 1:
        kept = without_duplicates(kept, settings.mask_nms_thresh)
    if refine is not None:
        kept = refine(kept)
    kept = keep_level(kept, settings.granularity)
    if settings.layout == "tree":
        return Masks(kept).tree()
    if settings.layout == "partition":
        return Masks(kept).partition().filter(min_area=settings.min_mask_area)
    return kept


def keep_level(records: Sequence[Mask], level: Level) -> list[Mask]:
    """The records of one level, in their order.

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


def parted(
    records: Sequence[Mask], quality: float, objectness: float
) -> tuple[list[Mask], list[Mask]]:
    """The masks that are shown by two least numbers, or the best where none is; and the rest.

    None of those that are shown lies in a better one.
    """
    good = [
        record
        for record in records
        if (record.score > quality or not quality) and is_likely(record, objectness)
    ]
    shown = without_contained(good, CONTAINED) or best_of(records)
    rest = [record for record in records if not any(record is one for one in shown)]
    return shown, rest


def best_of(records: Sequence[Mask]) -> list[Mask]:
    """Of masks that none of the thresholds chose: the best ones that overlap little."""
    most = max((record.rank for record in records), default=0.0)
    good = [record for record in records if record.rank >= NEARLY_BEST * most]
    return without_duplicates(good, LITTLE)


def _cleaned(record: Mask, settings: Arrangement) -> Mask:
    rle = clean_rle(record.rle, settings.max_hole_area, settings.min_island_area)
    return record if rle is record.rle else replace(record, rle=rle)


def without_contained(records: Sequence[Mask], threshold: float) -> list[Mask]:
    """Of two masks of which one lies in the other by a larger share, the one of higher rank.

    Surroundings (see `SURROUNDING`) are left alone.
    """
    objects = [record for record in records if record.coverage <= SURROUNDING]
    kept = {id(record) for record in without_duplicates(objects, threshold, "smaller")}
    return [r for r in records if r.coverage > SURROUNDING or id(r) in kept]


def without_duplicates(
    records: Sequence[Mask],
    threshold: float,
    share_of: Literal["union", "smaller"] = "union",
) -> list[Mask]:
    """Of two masks that overlap more (see `mask_nms`), the one of higher rank; in their order."""
    rank = [record.rank for record in records]
    kept = mask_nms([record.rle for record in records], rank, threshold, share_of)
    return [records[index] for index in sorted(kept.tolist())]
