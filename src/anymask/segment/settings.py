"""Settings of `Model.segment` and `Model.everything`, with their values and descriptions.

Settings of segment-anything's grid have its names and defaults: Segment Anything, section 5 and
appendix B; `SamAutomaticMaskGenerator` (Apache-2.0).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Annotated, Literal, cast

import numpy as np

from anymask.base import FloatArray, Setting, describe_settings
from anymask.masks import (
    CLEAN,
    MinArea,
    Multimask,
    Ranking,
    RegionSize,
    parse_region_size,
    point_grid,
)
from anymask.models.rules import GRID_IN_WORDS, Family, field_rules

if TYPE_CHECKING:
    from anymask.keywords import EverythingDict, GridDict, MaskFilterDict
    from anymask.runtime import SweepPrecision

Level = Literal["part", "whole", "all"]
Granularity = Level | float
Zoom = bool | Literal["auto"]
RefineEdges = bool | Literal["auto"]


# Settings of `segment`.


def _check_area(name: str) -> Callable[[object], object]:
    return lambda given: given == "auto" or parse_region_size(given, name)


@describe_settings
@dataclass(frozen=True, kw_only=True)
class SegmentSettings:
    """Settings of `Model.segment`.

    Raises:
        InputError: A value is out of range.
    """

    multimask: Annotated[
        Multimask,
        Setting(
            'candidate masks per prompt; "auto": three masks for a single click, one mask for '
            "other prompts, and negative points are enforced; True: three masks; False: one mask"
        ),
    ] = "auto"
    zoom: Annotated[
        Zoom,
        Setting(
            'also predict from a crop around the object. "auto": for models whose '
            'accuracy it improves, if multimask="auto"; True: for every model, and the mask from '
            "the crop is used if its score is higher; False: off. Requires the image, not Features"
        ),
    ] = "auto"
    mirror: Annotated[
        bool,
        Setting(
            "average the predictions for the image and its mirror image, for better "
            "masks in twice the time. Requires the image, not Features"
        ),
    ] = False
    granularity: Annotated[
        Granularity,
        Setting(
            'which candidate mask comes first. "all": the mask with the highest '
            'score; "part" or "whole": the smallest or largest mask with a similar '
            "score; or a number from 0 (part) to 1 (whole), as "
            "`Prediction.granularity_of` returns",
            le=1,
        ),
    ] = "all"
    ranking: Annotated[
        Ranking,
        Setting(
            'order of the candidate masks for a single click. "expected": by expected '
            'IoU, for models with a learned ranking; "own": by the score of the '
            "network"
        ),
    ] = "expected"
    max_hole_area: Annotated[
        RegionSize,
        Setting(
            "fill enclosed holes smaller than this: a number of pixels (50) or a "
            'share of the mask (0.05, "5%"); 0: none; "auto": 5% of the mask with '
            'multimask="auto", else 0. A hole with a negative point is not filled',
            check=_check_area("max_hole_area"),
            metavar="PIXELS|SHARE",
        ),
    ] = "auto"
    min_island_area: Annotated[
        RegionSize,
        Setting(
            "remove separate parts of a mask smaller than this: a number of pixels "
            '(50) or a share of the mask (0.05, "5%"), 0 for none. The largest part '
            "and parts with positive points are kept",
            check=_check_area("min_island_area"),
            metavar="PIXELS|SHARE",
        ),
    ] = "auto"
    refine_edges: Annotated[
        RefineEdges,
        Setting(
            "refine the edge of the mask on the image, if the model has a network for it. "
            '"auto": with multimask="auto"; True; False: off. Requires the image, not Features'
        ),
    ] = "auto"

    @cached_property
    def min_areas(self) -> tuple[MinArea, MinArea]:
        """Minimum areas of holes and islands."""
        usual = CLEAN if self.multimask == "auto" else 0
        holes, islands = (
            parse_region_size(usual if area == "auto" else area, "area")
            for area in (self.max_hole_area, self.min_island_area)
        )
        return holes, islands


DEFAULT_SETTINGS = SegmentSettings()


# Settings of the search of `everything`.

Mode = Literal["adaptive", "exact", "instances"]
GridPrecision = Literal["auto", "model", "mixed"]

WIDER = 0.5  # of the score threshold, for the second attempt
MAX_AT_ONCE = 64  # clicks per batch; larger batches are not faster


@describe_settings
@dataclass(frozen=True, kw_only=True)
class Grid:
    """Settings of the grid; those of segment-anything have its names and defaults.

    Raises:
        InputError: A value is out of range.
    """

    mode: Annotated[
        Mode,
        Setting(
            "search strategy; "
            '"exact": decode every point of the grid, as in the SAM paper; '
            '"adaptive": decode a coarse grid, then points that are likely to find '
            "missing objects, at most a third of the grid in total; "
            '"instances": no points, but the instance head of a model for one field, '
            "which has this default"
        ),
    ] = "adaptive"
    decoder_precision: Annotated[
        GridPrecision,
        Setting(
            '"model": the precision with which the model was loaded; "mixed": large '
            'matrix products of PyTorch models in 16 bits, if that is faster; "auto": '
            "mixed in adaptive mode"
        ),
    ] = "auto"
    memory_limit: Annotated[
        float,
        Setting(
            "memory limit for one batch of points, in megabytes, in addition to the "
            "memory for the model and the image",
            gt=0,
            unit="megabytes",
        ),
    ] = 500.0
    grid: Annotated[
        int, Setting("number of grid points along each side of the image", ge=1, le=1024)
    ] = 32
    points_per_batch: Annotated[
        int | None,
        Setting(
            "number of points in one batch; affects only memory and speed",
            ge=1,
            default=f"limited by memory_limit, at most {MAX_AT_ONCE}",
        ),
    ] = None
    score: Annotated[
        float,
        Setting(
            "minimum confidence score of a mask; 0 keeps all masks",
            lt=2,
            default=GRID_IN_WORDS["score"],
        ),
    ] = 0.88
    stability: Annotated[
        float,
        Setting(
            "minimum stability of a mask: IoU of the masks at a stricter and a looser "
            "threshold; 0 keeps all masks",
            le=1,
            default=GRID_IN_WORDS["stability"],
        ),
    ] = 0.95
    stability_score_offset: Annotated[
        float,
        Setting(
            "difference between each of the two thresholds for the stability and the mask "
            "threshold, in logits",
            unit="logits",
        ),
    ] = 1.0
    box_nms_thresh: Annotated[
        float,
        Setting(
            "if the boxes of two masks have an IoU above this (in adaptive mode: the masks "
            "themselves), remove the mask with the lower score",
            le=1,
        ),
    ] = 0.7
    crop_n_layers: Annotated[
        int,
        Setting(
            "number of crop layers: 0: only the whole image; n: also 2 x 2, 4 x 4, "
            "... 2^n x 2^n overlapping crops; requires the image",
            le=6,
        ),
    ] = 0
    crop_nms_thresh: Annotated[
        float,
        Setting(
            "like box_nms_thresh, for masks from different crops; the mask from the "
            "smaller crop is kept",
            le=1,
        ),
    ] = 0.7
    crop_overlap_ratio: Annotated[
        float,
        Setting(
            "overlap of neighboring crops as a share of the shorter image side; "
            "halved in each layer",
            lt=1,
        ),
    ] = 512 / 1500
    crop_n_points_downscale_factor: Annotated[
        int, Setting("factor by which points_per_side is divided in each crop layer", ge=1)
    ] = 1
    min_mask_region_area: Annotated[
        int,
        Setting(
            "fill holes and remove disconnected parts smaller than this, in pixels, then "
            "remove masks that have become duplicates, as in segment-anything; masks "
            "that are small as a whole are kept",
            unit="pixels",
        ),
    ] = 0

    def batch(self, bytes_per_prompt: int) -> int:
        """Number of clicks per batch, given the memory per click."""
        if self.points_per_batch is not None:
            return self.points_per_batch
        return int(min(max(1, self.memory_limit * 1e6 // bytes_per_prompt), MAX_AT_ONCE))

    @property
    def sweep_precision(self) -> SweepPrecision:
        """Precision for `runtime.open_sweep`."""
        if self.decoder_precision == "auto":
            return "mixed" if self.mode == "adaptive" else "model"
        return self.decoder_precision

    def points(self, layer: int) -> FloatArray:
        """Clicks in a crop of a layer (0: the image), (n * n, 2) in 0..1."""
        side = self.grid / self.crop_n_points_downscale_factor**layer
        return point_grid(max(1, int(side))).astype(np.float32)


def grid_of(family: Family, given: GridDict) -> Grid:
    """Settings of the user, with the defaults of the model.

    In adaptive mode, a model with objectness has its own thresholds in that table. A model with an
    instance head has the mode "instances".

    Raises:
        InputError: A setting is invalid.
    """
    judging = family.tables.get("objectness")
    mode = given.get("mode", "instances" if "instances" in family.tables else "adaptive")
    if mode == "instances":
        least = field_rules(family.spec.name).score, 0.0
    elif judging is None or mode != "adaptive":
        least = family.grid.score, family.grid.stability
    else:
        least = float(judging["quality"]), float(judging["stability"])
    merged: GridDict = {"mode": mode, "score": least[0], "stability": least[1]}
    merged.update(given)
    return Grid(**merged)


def wider_grid(tried: Grid, given: GridDict) -> Grid | None:
    """Grid for a second attempt if no mask passed: half the score threshold, any stability.

    Args:
        tried: Grid of the first attempt.
        given: Settings of the user. None is returned if they have a threshold, and in other modes.
    """
    if tried.mode != "adaptive" or {"score", "stability"} & set(given):
        return None
    return replace(tried, score=WIDER * tried.score, stability=0.0)


# Settings of the filters of `everything`.

Structure = Literal["flat", "partition", "tree"]

ADAPTIVE_NMS = 0.4  # nms_iou in adaptive mode; exact mode keeps segment-anything's masks
CONTAINED = 0.9  # default of max_containment in adaptive mode
SURROUNDING = 0.3  # share of the image: larger masks are background and are not compared
NESTED = frozenset({"granularity", "layout"})  # settings that require parts and wholes


@describe_settings
@dataclass(frozen=True, kw_only=True)
class MaskFilter:
    """Filters, level and layout of masks. The defaults of the class change nothing.

    Raises:
        InputError: A value is out of range.
    """

    min_objectness: Annotated[
        float,
        Setting(
            "minimum probability that a mask is an object; 0 keeps all masks",
            le=1,
            default="chosen for each image in adaptive mode, 0 in exact mode",
        ),
    ] = 0.0
    nms_iou: Annotated[
        float,
        Setting(
            ("if two masks have an IoU above this, remove the worse one; 1 keeps all masks"),
            le=1,
            default=f"1 in exact mode, {ADAPTIVE_NMS} in adaptive mode",
        ),
    ] = 1.0
    max_containment: Annotated[
        float,
        Setting(
            "if more than this share of a smaller mask is inside a larger one, remove the worse "
            "of the two, unless it is at least a tenth as likely to be an object; masks of more "
            f"than {SURROUNDING:.0%} of the image are not compared; 1 keeps parts and wholes",
            le=1,
            default=f"{CONTAINED} in adaptive mode, 1 in exact mode and with granularity or layout",
        ),
    ] = 1.0
    min_mask_area: Annotated[float, Setting("minimum area of a mask", unit="pixels")] = 0
    min_island_area: Annotated[
        RegionSize,
        Setting(
            "remove separate parts of a mask smaller than this: a number of pixels "
            '(50) or a share of the mask (0.05, "5%"), 0 for none; the largest part '
            "is kept",
            check=partial(parse_region_size, name="min_island_area"),
            metavar="PIXELS|SHARE",
            default=f"0 in exact mode, {CLEAN} in adaptive mode",
        ),
    ] = 0
    max_hole_area: Annotated[
        RegionSize,
        Setting(
            ("fill holes in a mask smaller than this: a number of pixels or a share of the mask"),
            check=partial(parse_region_size, name="max_hole_area"),
            metavar="PIXELS|SHARE",
            default=f"0 in exact mode, {CLEAN} in adaptive mode",
        ),
    ] = 0
    refine_edges: Annotated[
        RefineEdges,
        Setting(
            "align the edges of the final masks with image edges, as in `segment`. Not "
            "supported for tiles, embeddings and models without an edge network. "
            '"auto": only in adaptive mode'
        ),
    ] = "auto"
    dominant_kind: Annotated[
        bool,
        Setting(
            "keep only objects of the most frequent kind, each once: background and outliers are "
            "removed, touching objects are split, and missing objects are added; requires the image"
        ),
    ] = False
    granularity: Annotated[
        Level,
        Setting(
            '"whole": only masks that are not part of another mask; "part": only '
            'masks without parts; "all": all masks'
        ),
    ] = "all"
    layout: Annotated[
        Structure,
        Setting(
            "overlaps of the masks; "
            '"flat": overlaps are allowed; "tree": a list in which each record names the mask that '
            'contains it; "partition": each pixel belongs to at most one mask (parts '
            "have priority over wholes, then the better mask; masks of which less "
            "than min_mask_area remains are removed)"
        ),
    ] = "flat"


def mask_filter_of(grid: Grid, given: MaskFilterDict, least: float = 0.0) -> MaskFilter:
    """Settings of the user, with the defaults of the grid's mode. Raises InputError if invalid.

    Args:
        grid: The grid.
        given: Settings of the user.
        least: Default min_objectness of the model.
    """
    merged: MaskFilterDict = {}
    if grid.mode == "adaptive":
        merged["min_objectness"] = least
        merged["nms_iou"] = ADAPTIVE_NMS
        if NESTED.isdisjoint(given):
            merged["max_containment"] = CONTAINED
        merged["min_island_area"] = merged["max_hole_area"] = CLEAN
    merged.update(given)
    return MaskFilter(**merged)


# Settings of `parts`.


@describe_settings
@dataclass(frozen=True, kw_only=True)
class PartSettings:
    """Settings of `Model.parts`.

    Raises:
        InputError: A value is out of range.
    """

    min_share: Annotated[float, Setting("minimum area of a part as a share of the mask", le=1)] = (
        0.001
    )
    max_parts: Annotated[int, Setting("maximum number of parts of a mask", ge=1)] = 50
    nms_iou: Annotated[
        float,
        Setting(
            "if two parts have an IoU above this, remove the worse one; 1 keeps all parts", le=1
        ),
    ] = ADAPTIVE_NMS
    grid: Annotated[
        int,
        Setting(
            "number of grid points along each side of the box of the mask; points outside the "
            "mask are not used",
            ge=1,
            le=1024,
        ),
    ] = 16
    granularity: Annotated[
        Level,
        Setting(
            '"whole": only parts that are not inside another part; "part": only parts without '
            'further parts; "all": all parts'
        ),
    ] = "all"


def split_settings(given: EverythingDict) -> tuple[GridDict, MaskFilterDict]:
    """Split keywords into those of `Grid` (including unknown ones) and of `MaskFilter`."""
    ours = {field.name for field in fields(MaskFilter)}
    grid = {name: value for name, value in given.items() if name not in ours}
    arrangement = {name: value for name, value in given.items() if name in ours}
    return cast("GridDict", grid), cast("MaskFilterDict", arrangement)
