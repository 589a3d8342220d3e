"""The settings of automatic mask generation: segment-anything's, and how they are carried out.

Source: Segment Anything, section 5 and appendix B; `SamAutomaticMaskGenerator` (Apache-2.0).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, TypedDict, get_args

import numpy as np

from anymask.families import Family
from anymask.primitives.clicks import point_grid
from anymask.primitives.errors import InputError
from anymask.primitives.types import FloatArray
from anymask.runtimes.sweep import SweepPrecision

Mode = Literal["adaptive", "exact"]
GridPrecision = Literal["auto", "model", "mixed"]

MOST_AT_ONCE = 64  # clicks; larger batches are no faster


class GridDict(TypedDict, total=False):
    """The keyword arguments of `Grid`."""

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
    """The given settings over the model's own defaults. Raises InputError for bad values."""
    merged = GridDict(
        pred_iou_thresh=family.grid.pred_iou_thresh,
        stability_score_thresh=family.grid.stability_score_thresh,
    )
    merged.update(given)
    return Grid(**merged)


@dataclass(frozen=True, kw_only=True)
class Grid:
    """The settings; those that segment-anything has too bear its names and defaults.

    mode                    "exact": every click of the grid, as in the paper; "adaptive": a coarse
                            grid first, then clicks that are likely to find what is missing, at most
                            a third of all (see `predictors.adaptive`)
    decoder_precision       "model": as the model was loaded; "mixed": large products in 16 bits
                            where the machine is faster with them; "auto": mixed in adaptive mode
    memory_limit            megabytes that a batch of clicks may need beside model and photo
    points_per_side         clicks along each side; their square in all
    points_per_batch        clicks decoded at once; changes nothing but memory and speed. None: as
                            many as memory_limit allows, at most MOST_AT_ONCE
    pred_iou_thresh         masks must have more than this quality; 0 keeps all
    stability_score_thresh  and at least this IoU between their stricter and looser cut; 0 keeps all
    stability_score_offset  logits by which the cuts differ from the mask's own threshold
    box_nms_thresh          of two masks whose boxes overlap more, the better one stays
    crop_n_layers           0: the photo alone; n: also 2 x 2, then 4 x 4, ... 2^n x 2^n crops of it
    crop_nms_thresh         the same as box_nms_thresh between crops; the smaller crop's mask stays
    crop_overlap_ratio      of neighbouring crops, of the photo's short side, halved in each layer
    crop_n_points_downscale_factor
                            in layer n the grid has points_per_side / factor^n clicks along a side
    min_mask_region_area    holes and islands below so many pixels are removed, and what has become
                            a duplicate then; it does not drop small masks

    Raises InputError for values out of range.
    """

    mode: Mode = "adaptive"
    decoder_precision: GridPrecision = "auto"
    memory_limit: float = 500.0
    points_per_side: int = 32
    points_per_batch: int | None = None
    pred_iou_thresh: float = 0.88
    stability_score_thresh: float = 0.95
    stability_score_offset: float = 1.0
    box_nms_thresh: float = 0.7
    crop_n_layers: int = 0
    crop_nms_thresh: float = 0.7
    crop_overlap_ratio: float = 512 / 1500
    crop_n_points_downscale_factor: int = 1
    min_mask_region_area: int = 0

    def __post_init__(self) -> None:
        for name, words in (("mode", Mode), ("decoder_precision", GridPrecision)):
            value = getattr(self, name)
            if value not in get_args(words):
                listed = ", ".join(get_args(words))
                raise InputError(f"{name} must be one of {listed}, got {value!r}")
        limit: object = self.memory_limit
        if not isinstance(limit, int | float) or not limit > 0:
            raise InputError(f"memory_limit must be a number of megabytes above 0, got {limit!r}")
        self._check_numbers()

    def _check_numbers(self) -> None:
        for name, least in (
            ("points_per_side", 1), ("points_per_batch", 1), ("crop_n_layers", 0),
            ("crop_n_points_downscale_factor", 1),
        ):  # fmt: skip
            value = getattr(self, name)
            if name == "points_per_batch" and value is None:
                continue
            if not isinstance(value, int) or value < least:
                raise InputError(
                    f"{name} must be a whole number of at least {least}, got {value!r}"
                )
        for name in (
            "pred_iou_thresh", "stability_score_thresh", "stability_score_offset",
            "box_nms_thresh", "crop_nms_thresh", "crop_overlap_ratio", "min_mask_region_area",
        ):  # fmt: skip
            value = getattr(self, name)
            if not isinstance(value, int | float) or not 0 <= value < math.inf:
                raise InputError(f"{name} must be a number, 0 or more, got {value!r}")
        if self.crop_overlap_ratio >= 1:
            raise InputError(
                f"crop_overlap_ratio must be less than 1, got {self.crop_overlap_ratio!r}"
            )

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
