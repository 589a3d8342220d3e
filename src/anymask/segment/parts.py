"""Find the parts inside a mask: the windows of a facade, the garments of a person.

A grid of clicks inside the mask is decoded, in a crop if that magnifies the mask. All candidates
of each click are used, because the smaller ones are the parts of an object (Segment Anything,
section 3, "resolving ambiguity"). Filters, ranking and refined edges are those of automatic mask
generation; edges are not refined in a crop.

Letters: H W an image, N clicks.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from anymask.base import BoolArray, PromptError, UintImage
from anymask.masks import (
    CropRefinement,
    Features,
    Mask,
    Rle,
    Window,
    center_click,
    check_features,
    clean_rle,
    open_box,
    point_grid,
    rle_area,
    rle_merge,
    rle_to_mask,
)
from anymask.models.rules import crop_window
from anymask.runtime import ImageRuntime, open_sweep
from anymask.segment.everything.edges import refine_record_edges
from anymask.segment.everything.filter import (
    Refine,
    default_min_objectness,
    filter_masks,
    objectness_of,
)
from anymask.segment.everything.grid import CropView
from anymask.segment.everything.search import (
    CUTTERS,
    ProgressCounter,
    ViewDecoder,
    check_clicks,
    search_view,
)
from anymask.segment.labels import Nameable, rles_of
from anymask.segment.pipeline import encode_image
from anymask.segment.prediction import Prediction
from anymask.segment.settings import Grid, PartSettings, grid_of, mask_filter_of

if TYPE_CHECKING:
    from anymask.keywords import MaskFilterDict

MIN_INSIDE = 0.8  # minimum share of a part inside the mask, as in a tree of masks
MAX_PART_SHARE = 0.9  # share of the mask above which a candidate is the mask itself
CROP = CropRefinement(margin=0.1, gain=1.2, weight=1.0, min_side=96)


def find_parts(
    runtime: ImageRuntime,
    image: UintImage | None,
    features: Features | None,
    mask: Nameable,
    settings: PartSettings,
) -> list[Mask]:
    """Implementation of `Model.parts`: the parts of a mask, best first.

    Args:
        runtime: Runtime of the model.
        image: Image (H, W, 3), possibly smaller than the image of the features, or None.
        features: Embedding of the image, or None to encode the image.
        mask: Mask of the image.
        settings: Settings of the search and of the filters.

    Raises:
        PromptError: The mask is empty or does not belong to the image, or the model does not
            support clicks.
    """
    check_clicks(runtime.spec)
    refine: Refine | None = None
    if features is not None:
        check_features(features, runtime.spec, runtime.weights_hash)
        image_hw = features.image_hw
    else:
        assert image is not None
        image_hw = image.shape[0], image.shape[1]
    rles = rles_of(mask.best if isinstance(mask, Prediction) else mask, image_hw)
    if len(rles) != 1:
        raise PromptError(f"Parts are found in one mask, but {len(rles)} were passed. Pass one.")
    if not rle_area(rles[0]):
        raise PromptError("The mask is empty, so it has no parts. Pass a mask that is not empty.")
    whole = rles[0]
    pixels = rle_to_mask(whole)
    everywhere = window = (0, 0, image_hw[1], image_hw[0])
    if image is not None and image.shape[:2] == image_hw:
        window = crop_window(open_box(pixels), image_hw, CROP) or everywhere
        if features is None or window != everywhere:
            x0, y0, x1, y1 = window
            features = encode_image(runtime, np.ascontiguousarray(image[y0:y1, x0:x1]))
        if window == everywhere:
            refine = partial(refine_record_edges, runtime, image, encoded=features)
    assert features is not None
    masks = search_inside(runtime, features, window, pixels, settings.grid)
    return select_parts(runtime, masks, whole, settings, refine)


def search_inside(
    runtime: ImageRuntime, place: Features, window: Window, mask: BoolArray, side: int
) -> list[Mask]:  # mask (H, W)
    """All candidates of a grid of clicks inside a mask that pass the model's thresholds.

    Args:
        runtime: Runtime of the model.
        place: Embedding of the window.
        window: Window of the image that contains the mask.
        mask: Mask of the image, not empty.
        side: Number of clicks along each side of the mask's box.
    """
    family = runtime.family
    judged = grid_of(family, {"mode": "adaptive"})
    precision = judged.sweep_precision
    view = CropView(window, mask.shape, place.geometry, family.spec.mask_threshold)
    judge = objectness_of(family, place)
    with ThreadPoolExecutor(CUTTERS, "anymask-cut") as cutters:
        sweep = open_sweep(runtime, place.encoder_output, place.geometry, precision)
        every = replace(judged, mode="exact")
        scan = ViewDecoder(sweep, family, view, every, place, cutters, judge=judge)
        x0, y0, x1, y1 = open_box(mask)
        clicks = np.array([x0, y0]) + point_grid(side).astype(np.float64) * (x1 - x0, y1 - y0)
        columns, rows = clicks.astype(np.intp).T
        inside = clicks[mask[rows, columns]]
        inside = inside if len(inside) else np.array([center_click(mask)], np.float64)
        return search_view(scan, inside - np.array(window[:2]), ProgressCounter())


def select_parts(
    runtime: ImageRuntime,
    found: Sequence[Mask],
    whole: Rle,
    settings: PartSettings,
    refine: Refine | None = None,
) -> list[Mask]:
    """Clip candidates to a mask, and filter and rank them like automatic masks, best first."""
    area, inside = rle_area(whole), list[Mask]()
    for m in found:
        clipped = rle_merge([m.rle, whole], intersect=True)
        filled = clean_rle(clipped, max_hole_area=area)  # the rest of a mask around its parts
        if rle_area(clipped) >= MIN_INSIDE * m.area and rle_area(filled) <= MAX_PART_SHARE * area:
            inside.append(replace(m, rle=clipped))
    chosen: MaskFilterDict = {
        "min_mask_area": settings.min_share * area,
        "nms_iou": settings.nms_iou,
        "granularity": settings.granularity,
    }
    filters = mask_filter_of(Grid(), chosen, default_min_objectness(runtime.family))
    parts = [
        replace(mask, rle=rle_merge([mask.rle, whole], intersect=True))
        for mask in filter_masks(inside, filters, refine, relative=True)
    ]
    return sorted(parts, key=lambda part: -part.rank)[: settings.max_parts]
