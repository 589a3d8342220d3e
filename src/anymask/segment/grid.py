"""Bounds of a mask's stability: low-resolution logits in, least and most stability out.

Every pixel of the photo is a mean of at most 3 x 3 logits around it. Where all of them lie on one
side of a threshold, so does the pixel: pixels between the least and the most are open, and for a
clear mask these are only those along its edge.

Letters: h w low-resolution logits, G groups of pixels along an axis that mean the same logits.

Settings of automatic mask generation.

Source: Segment Anything, section 5 and appendix B; `SamAutomaticMaskGenerator` (Apache-2.0).

Filtering of candidates.

The filters of Segment Anything's automatic mask generation (section 5), in the order that costs
least. Quality needs no mask; stability is bounded on the low-resolution logits, and only what may
pass is brought to the photo's size, inside its own window, in one pass for all three cuts.

Letters: N clicks, K candidates of each, m the side of a low-resolution mask.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Annotated, Literal, TypedDict

import numpy as np
from numpy.typing import NDArray

from anymask.base import BoolArray, FloatArray, IntArray, Setting, check_settings, describe_settings
from anymask.masks import (
    Canvas,
    Geometry,
    Mask,
    Rle,
    Window,
    axis_operator,
    crop_to_rle,
    point_grid,
    window_strips,
)
from anymask.models.rules import Family
from anymask.runtime import SweepPrecision

_SLACK = 1e-6  # of the largest logit: what rounding may add to a mean


def stability_range(
    plane: FloatArray, geometry: Geometry, threshold: float, offset: float
) -> tuple[float, float]:  # (h, w)
    """The least and the most stability (see `masks.stability_score`) that the mask may have."""
    low, high = plane, plane
    weights = []
    for axis in (0, 1):
        first, last, count = _groups(plane.shape[axis], geometry, axis)
        low, high = _least(low, first, last, axis), -_least(-high, first, last, axis)
        weights.append(count)
    slack = _SLACK * float(np.abs(plane).max(initial=0))
    inner, outer = threshold + offset, threshold - offset
    least, most = (
        [float(weights[0] @ (logits > cut + sign * slack) @ weights[1]) for cut in (inner, outer)]
        for logits, sign in ((low, 1), (high, -1))
    )
    # What the inner mask lacks, the outer one may lack as well, so each takes its worst case.
    return least[0] / max(most[1], 1), min(1.0, most[0] / max(least[1], 1))


def _least(logits: FloatArray, first: IntArray, last: IntArray, axis: int) -> FloatArray:
    """The minimum of each group's logits along an axis; a group spans three of them at most."""
    ends = np.minimum(np.take(logits, first, axis), np.take(logits, last, axis))
    least: FloatArray = np.minimum(ends, np.take(logits, np.minimum(first + 1, last), axis))
    return least


@lru_cache(maxsize=16)
def _groups(
    length: int, geometry: Geometry, axis: int
) -> tuple[IntArray, IntArray, NDArray[np.float64]]:
    """Along an axis: pixels that begin with the same logit, their last one, and their number."""
    _, first, last = axis_operator(
        length, geometry.side, geometry.input_hw[axis], geometry.image_hw[axis]
    )
    starts, inverse, counts = np.unique(first, return_inverse=True, return_counts=True)
    ends = starts.copy()
    np.maximum.at(ends, inverse, last)
    return starts, ends, counts.astype(np.float64)


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
        """As `runtime.sweep.open_sweep` takes it."""
        if self.decoder_precision == "auto":
            return "mixed" if self.mode == "adaptive" else "model"
        return self.decoder_precision

    def points(self, layer: int) -> FloatArray:
        """The clicks in a crop of a layer (0: the photo), (n * n, 2) in 0..1."""
        side = self.points_per_side / self.crop_n_points_downscale_factor**layer
        return point_grid(max(1, int(side))).astype(np.float32)


_WORTH_BOUNDS = 4  # photo pixels per logit from which the bounds cost less than what they may save


@dataclass(frozen=True)
class CropView:
    """The part of a photo that the model sees at once, and how it lies in model space.

    window     x0, y0, x1, y1 in the photo, x1 and y1 exclusive
    image_hw   the whole photo
    geometry   of the window
    threshold  logits above it are object
    canvas     of one mask after the other
    """

    window: Window
    image_hw: tuple[int, int]
    geometry: Geometry
    threshold: float
    canvas: Canvas = field(default_factory=Canvas, repr=False, compare=False)


def good_enough(quality: FloatArray, settings: Grid) -> BoolArray:  # (N, K) -> (N, K)
    """Which candidates have the quality that is asked for."""
    if not settings.pred_iou_thresh:
        return np.ones_like(quality, np.bool_)
    good: BoolArray = quality > settings.pred_iou_thresh
    return good


def make_record(
    plane: FloatArray, quality: float, click: NDArray[np.float64], view: CropView, settings: Grid
) -> list[Mask]:  # (m, m), (2,) in pixels of the view
    """A candidate as a record of the photo, or nothing where it is not stable enough."""
    cut = cut_mask(plane, view, settings)
    if cut is None:
        return []
    x, y = (click + view.window[:2]).tolist()
    return [_record(*cut, quality, (x, y), view)]


def cut_mask(
    plane: FloatArray, view: CropView, settings: Grid
) -> tuple[Rle, float] | None:  # (m, m)
    """A mask in the photo and its stability, or None where that is too low."""
    middle, offset = view.threshold, settings.stability_score_offset
    wanted, place = settings.stability_score_thresh, view.geometry
    large = place.image_hw[0] * place.image_hw[1] > _WORTH_BOUNDS * plane.size
    if wanted and large and stability_range(plane, place, middle, offset)[1] < wanted:
        return None
    window, strips = window_strips(plane, place, middle - offset, view.canvas)
    mask = view.canvas.room((window.height, window.width), np.bool_)
    inner = outer = 0
    for top, strip in strips:
        rows = mask[top : top + len(strip)]
        inner += int(np.count_nonzero(np.greater(strip, np.float32(middle + offset), out=rows)))
        outer += int(np.count_nonzero(np.greater(strip, np.float32(middle - offset), out=rows)))
        if top + len(strip) < window.height or inner / max(outer, 1) >= wanted:
            np.greater(strip, np.float32(middle), out=rows)
    stability = inner / max(outer, 1)
    if wanted and stability < wanted:
        return None
    corner = (view.window[0] + window.x, view.window[1] + window.y)
    return crop_to_rle(mask, corner, view.image_hw), stability


def _record(
    rle: Rle, stability: float, quality: float, click: tuple[float, float], view: CropView
) -> Mask:
    left, top, right, bottom = view.window
    return Mask(
        rle=rle,
        score=quality,
        stability=stability,
        points=(click,),
        crop_box=(float(left), float(top), float(right), float(bottom)),
    )
