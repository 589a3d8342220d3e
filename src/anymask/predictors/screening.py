"""Filtering of candidates: logits and quality in, records of enough quality and stability out.

The filters of Segment Anything's automatic mask generation (section 5), in the order that costs
least. Quality needs no mask; stability is bounded on the low-resolution logits, and only what may
pass is brought to the photo's size, inside its own window, in one pass for all three cuts.

Letters: N clicks, K candidates of each, m the side of a low-resolution mask.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from anymask.predictors.grid import Grid
from anymask.primitives.bounds import stability_range
from anymask.primitives.records import MaskRecord
from anymask.primitives.resize import Canvas, window_strips
from anymask.primitives.rle import Rle, crop_to_rle, rle_area, rle_box_xyxy
from anymask.primitives.spec import Geometry
from anymask.primitives.tiles import Window
from anymask.primitives.types import BoolArray, FloatArray

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
) -> list[MaskRecord]:  # (m, m), (2,) in pixels of the view
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
) -> MaskRecord:
    x0, y0, x1, y1 = rle_box_xyxy(rle)
    left, top, right, bottom = view.window
    return MaskRecord(
        rle=rle,
        box_xyxy=(float(x0), float(y0), float(x1), float(y1)),
        area=rle_area(rle),
        quality=quality,
        stability=stability,
        points=(click,),
        crop_box=(float(left), float(top), float(right), float(bottom)),
    )
