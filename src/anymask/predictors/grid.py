"""Settings of automatic mask generation: keyword arguments in; grids, thresholds, batches out.

Source: Segment Anything, section 5 and appendix B; `SamAutomaticMaskGenerator` (Apache-2.0).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Literal, TypedDict

import numpy as np

from anymask.families import Family
from anymask.primitives.clicks import point_grid
from anymask.primitives.setting import Setting, check_settings, describe_settings
from anymask.primitives.types import FloatArray
from anymask.runtimes.sweep import SweepPrecision

Mode = Literal["adaptive", "exact"]
GridPrecision = Literal["auto", "model", "mixed"]

WIDER = 0.5  # of the quality that nothing reached
MOST_AT_ONCE = 64  # clicks; larger batches are no faster


class GridDict(TypedDict, total=False):
    """The keyword arguments of `Grid`; a test says that the two agree."""

    mode: Mode
    decoder_precision: GridPrecision
    memory_limit: float
    points_per_side: int
    points_per_batch: int | None
    pred_iou_thresh: float
    stability_score_thresh: float
    stability_score_offset: float
    box_nms_thresh: float
    crop_n_layers: int
    crop_nms_thresh: float
    crop_overlap_ratio: float
    crop_n_points_downscale_factor: int
    min_mask_region_area: int


def grid_of(family: Family, given: GridDict) -> Grid:
    """The given settings over the model's own defaults. Raises InputError for bad values.

    In adaptive mode a model that judges how likely a mask is an object searches with the thresholds
    of that table.
    """
    judging = family.tables.get("objectness")
    if judging is None or given.get("mode", "adaptive") != "adaptive":
        least = family.grid.pred_iou_thresh, family.grid.stability_score_thresh
    else:
        least = float(judging["quality"]), float(judging["stability"])
    merged = GridDict(pred_iou_thresh=least[0], stability_score_thresh=least[1])
    merged.update(given)
    return Grid(**merged)


def wider_grid(tried: Grid, given: GridDict) -> Grid | None:
    """What to look with where nothing passed: half the quality, any stability.

    given  what the user said; None where that includes a threshold, and in exact mode
    """
    own = not {"pred_iou_thresh", "stability_score_thresh"} & set(given)
    if tried.mode == "exact" or not own:
        return None
    return replace(tried, pred_iou_thresh=WIDER * tried.pred_iou_thresh, stability_score_thresh=0.0)


@describe_settings
@dataclass(frozen=True, kw_only=True)
class Grid:
    """The settings; those that segment-anything has too bear its names and defaults.

    Raises InputError for values out of range.
    """

    mode: Annotated[
        Mode,
        Setting(
            '"exact": every click of the grid, as in the paper; "adaptive": a coarse grid first, '
            "then clicks that are likely to find what is missing, at most a third of all"
        ),
    ] = "adaptive"
    decoder_precision: Annotated[
        GridPrecision,
        Setting(
            '"model": as the model was loaded; "mixed": the large products of torch models in 16 '
            'bits, where the machine is faster with them; "auto": mixed in adaptive mode'
        ),
    ] = "auto"
    memory_limit: Annotated[
        float,
        Setting(
            "megabytes that a batch of clicks may need beside model and photo",
            above=0,
            unit="megabytes",
        ),
    ] = 500.0
    points_per_side: Annotated[
        int,
        Setting("clicks along each side of the grid; their square in all", least=1, most=1024),
    ] = 32
    points_per_batch: Annotated[
        int | None,
        Setting(
            "clicks decoded at once; changes nothing but memory and speed",
            least=1,
            default=f"as many as memory_limit allows, at most {MOST_AT_ONCE}",
        ),
    ] = None
    pred_iou_thresh: Annotated[
        float,
        Setting("keep masks of more than this quality; lower finds more, 0 keeps all", below=2),
    ] = 0.88
    stability_score_thresh: Annotated[
        float,
        Setting(
            "keep masks with at least this IoU between their stricter and looser cut; lower finds "
            "more, 0 keeps all",
            most=1,
        ),
    ] = 0.95
    stability_score_offset: Annotated[
        float,
        Setting("logits by which the cuts differ from the mask's own threshold", unit="logits"),
    ] = 1.0
    box_nms_thresh: Annotated[
        float,
        Setting("of two masks whose boxes overlap with a larger IoU, keep the better", most=1),
    ] = 0.7
    crop_n_layers: Annotated[
        int,
        Setting(
            "0: search the photo alone; n: also 2 x 2, then 4 x 4, ... 2^n x 2^n overlapping crops "
            "of it, which needs the photo: an embedding is not enough",
            most=6,
        ),
    ] = 0
    crop_nms_thresh: Annotated[
        float,
        Setting("the same as box_nms_thresh between crops; the smaller crop's mask stays", most=1),
    ] = 0.7
    crop_overlap_ratio: Annotated[
        float,
        Setting(
            "of neighbouring crops, as a part of the photo's short side, halved in each layer",
            below=1,
        ),
    ] = 512 / 1500
    crop_n_points_downscale_factor: Annotated[
        int,
        Setting(
            "in layer n the grid has points_per_side / factor^n clicks along each side", least=1
        ),
    ] = 1
    min_mask_region_area: Annotated[
        int,
        Setting(
            "remove holes and islands of fewer pixels as segment-anything does, and what becomes a "
            "duplicate by that; drops no small mask",
            unit="pixels",
        ),
    ] = 0

    def __post_init__(self) -> None:
        check_settings(self)

    def batch(self, bytes_per_prompt: int) -> int:
        """How many clicks are decoded at once, for what each of them needs."""
        if self.points_per_batch is not None:
            return self.points_per_batch
        return int(min(max(1, self.memory_limit * 1e6 // bytes_per_prompt), MOST_AT_ONCE))

    @property
    def sweep_precision(self) -> SweepPrecision:
        """As `runtimes.sweep.open_sweep` takes it."""
        if self.decoder_precision == "auto":
            return "mixed" if self.mode == "adaptive" else "model"
        return self.decoder_precision

    def points(self, layer: int) -> FloatArray:
        """The clicks in a crop of a layer (0: the photo), (n * n, 2) in 0..1."""
        side = self.points_per_side / self.crop_n_points_downscale_factor**layer
        return point_grid(max(1, int(side))).astype(np.float32)
