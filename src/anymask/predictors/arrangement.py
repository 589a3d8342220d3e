"""What becomes of the masks that everything finds: clean, each once, of one level, laid out.

The order of the steps: holes and islands; small masks; duplicates; the level; the layout. Each is a
function of records alone, so it can be used on any list of them, from whatever model or file.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Literal, TypedDict, cast

from anymask.predictors.granularity import Level, check_level, keep_level
from anymask.predictors.grid import Grid, GridDict
from anymask.primitives.errors import InputError
from anymask.primitives.layout import nested, partition, with_rle
from anymask.primitives.masks import mask_nms
from anymask.primitives.records import MaskRecord
from anymask.primitives.rle_windows import clean_rle

Layout = Literal["flat", "partition", "tree"]

LAYOUTS = ("flat", "partition", "tree")
ADAPTIVE_NMS = 0.9  # mask_nms_thresh in adaptive mode; exact mode keeps segment-anything's masks


class ArrangementDict(TypedDict, total=False):
    """The keyword arguments of `Arrangement`."""

    mask_nms_thresh: float
    min_mask_area: float
    min_island_area: float
    max_hole_area: float
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


@dataclass(frozen=True, kw_only=True)
class Arrangement:
    """The settings; with all of them left out the masks stay as they were found.

    mask_nms_thresh  of two masks that overlap with a larger IoU, the better one stays; 1 keeps all
                     (`ADAPTIVE_NMS` where everything is found in adaptive mode)
    min_mask_area    masks of fewer pixels are dropped
    min_island_area  parts of a mask of fewer pixels are removed; the largest part stays
    max_hole_area    holes of fewer pixels are filled
    granularity      "whole": masks that are part of no other; "part": masks that have no parts;
                     "all" (see `primitives.layout` for what part means)
    layout           "flat": a list; "tree": each record has its `parent` and `depth`; "partition":
                     each pixel belongs to at most one mask, to a part before its whole, else to the
                     better one (what is left of a mask is dropped below min_mask_area)

    Raises InputError for values out of range.
    """

    mask_nms_thresh: float = 1.0
    min_mask_area: float = 0
    min_island_area: float = 0
    max_hole_area: float = 0
    granularity: Level = "all"
    layout: Layout = "flat"

    def __post_init__(self) -> None:
        for name in ("mask_nms_thresh", "min_mask_area", "min_island_area", "max_hole_area"):
            value = getattr(self, name)
            if not isinstance(value, int | float) or not 0 <= value < math.inf:
                raise InputError(f"{name} must be a number, 0 or more, got {value!r}")
        check_level(self.granularity)
        if self.layout not in LAYOUTS:
            raise InputError(f'layout must be "flat", "partition" or "tree", got {self.layout!r}')


def arrangement_of(grid: Grid, given: ArrangementDict) -> Arrangement:
    """The given settings over the defaults of the grid's mode. Raises InputError for bad values."""
    merged = ArrangementDict()
    if grid.mode == "adaptive":
        merged["mask_nms_thresh"] = ADAPTIVE_NMS
    merged.update(given)
    return Arrangement(**merged)


def arrange(records: Sequence[MaskRecord], settings: Arrangement) -> list[MaskRecord]:
    """The records that the settings ask for; what stays, stays in its order."""
    kept = [_cleaned(record, settings) for record in records]
    kept = [record for record in kept if record.area >= settings.min_mask_area]
    if settings.mask_nms_thresh < 1:
        kept = without_duplicates(kept, settings.mask_nms_thresh)
    kept = keep_level(kept, settings.granularity)
    if settings.layout == "tree":
        return nested(kept)
    if settings.layout == "partition":
        return [share for share in partition(kept) if share.area >= settings.min_mask_area]
    return kept


def _cleaned(record: MaskRecord, settings: Arrangement) -> MaskRecord:
    rle = clean_rle(record.rle, settings.max_hole_area, settings.min_island_area)
    return record if rle is record.rle else with_rle(record, rle)


def without_duplicates(records: Sequence[MaskRecord], threshold: float) -> list[MaskRecord]:
    """Of two masks that overlap with a larger IoU, the one of higher quality; in their order."""
    kept = mask_nms(
        [record.rle for record in records], [record.quality for record in records], threshold
    )
    return [records[index] for index in sorted(kept.tolist())]
