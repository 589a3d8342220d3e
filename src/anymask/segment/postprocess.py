"""Post-process masks: apply clicks, remove small regions, refine edges.

Letters: H W the image or the window around the object, K masks, h w their low-resolution logits,
P clicks.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from anymask.base import BoolArray, UintImage
from anymask.masks import (
    OPENCV,
    Geometry,
    LeastArea,
    Prompt,
    Rle,
    clean_logits,
    clean_mask,
    enlarged_rle,
    logits_at,
    logits_to_image,
    mask_to_rle,
    pixels_to_cells,
    point_pixels,
    reduced,
    violated_points,
)
from anymask.models.rules import (
    EdgeWindow,
    add_change,
    window_around,
    window_logits,
    window_photo,
    window_prompt,
)
from anymask.runtime import EdgeRefining
from anymask.segment.prediction import Candidate, LazyMask, Prediction

PhotoClicks = tuple[NDArray[Any], NDArray[Any]]  # (P, 2) x and y in pixels, (P,) labels
NO_CLICKS: PhotoClicks = (np.zeros((0, 2)), np.zeros(0))


# Clicks.
#
# Negative clicks are applied to the logits (`masks.apply_negative_points`), which are the mask
# prompt of the next prediction. At the end, a positive click outside the mask sets its own pixel in
# any case. If two clicks on one pixel contradict each other, the negative one takes precedence and
# the positive one is reported as violated.


def clicks_of(prompt: Prompt) -> PhotoClicks:
    """Points and labels of a prompt, possibly empty."""
    if prompt.points is None or prompt.labels is None:
        return NO_CLICKS
    return prompt.points, prompt.labels


def violated(mask: Candidate, prompt: Prompt) -> tuple[int, ...]:
    """Indices of the clicks that a mask violates."""
    if prompt.points is None or prompt.labels is None:
        return ()
    if mask.finished is not None:
        return violated_points(mask.pixels(), prompt.points, prompt.labels)
    pixels = point_pixels(prompt.points, mask.geometry.image_hw)
    inside = logits_at(mask.shown_logits[None], pixels, mask.geometry)[0] > mask.threshold
    return tuple(int(index) for index in np.flatnonzero(inside != (prompt.labels == 1)))


def hold_to_clicks(answer: Prediction, prompt: Prompt) -> Prediction:
    """Set the clicked pixels of every candidate to their labels."""
    if prompt.points is None or prompt.labels is None:
        return answer
    pixels = point_pixels(prompt.points, answer.geometry.image_hw)
    items = []
    for one in answer.items:
        if one.finished is not None:
            later = LazyMask(partial(_with_clicked, one, pixels, prompt.labels))
            one = replace(one, finished=later)
        elif violated(one, prompt):
            one = replace(one, finished=_with_clicked(one, pixels, prompt.labels))
        items.append(one)
    answer = replace(answer, items=tuple(items))
    return replace(answer, violated_points=violated(answer.first, prompt))


def _with_clicked(mask: Candidate, pixels: NDArray[np.intp], labels: NDArray[Any]) -> Rle:
    """Run-length encoding of a mask with the clicked pixels set to their labels."""
    drawn, (columns, rows) = mask.pixels(), pixels.T
    if (drawn[rows, columns] == labels).all():
        return mask.rle()
    for label in (1, 0):
        drawn[rows[labels == label], columns[labels == label]] = label
    return mask_to_rle(drawn)


# Small regions.
#
# Shares of a mask are measured in cells of its logits, pixel counts in the image. Only the
# displayed mask is cleaned: the original logits are the mask prompt of the next click, because
# cleaned logits make its prediction worse (docs/explanation/prompts.md).


def without_small_regions(
    mask: Candidate, clicks: PhotoClicks, holes: LeastArea, islands: LeastArea
) -> Candidate:
    """Remove holes and islands below some areas, except those with a click; unchanged if none."""
    points, labels = clicks
    if holes.share or islands.share:
        pixels = point_pixels(points, mask.geometry.image_hw)
        cells = pixels_to_cells(pixels, mask.logits.shape, mask.geometry), labels
        shares = (holes.share, islands.share)
        logits = clean_logits(
            mask.shown_logits, mask.geometry, cells, shares, mask.threshold, OPENCV
        )
        mask = mask if logits is mask.shown_logits else mask.with_cleaned(logits)
    if holes.pixels or islands.pixels:
        cleaned = clean_kept(mask.pixels(), clicks, holes.pixels, islands.pixels)
        mask = mask.with_pixels(cleaned, tidied=True)
    return mask


def clean_kept(
    mask: BoolArray, clicks: PhotoClicks, max_hole_area: float, min_island_area: float
) -> BoolArray:  # (H, W)
    """`clean_mask`, but regions with a click are kept."""
    cleaned = clean_mask(mask, max_hole_area, min_island_area)
    points, labels = clicks
    lost = set(violated_points(cleaned, points, labels))
    lost -= set(violated_points(mask, points, labels))
    if not lost:
        return cleaned
    _, parts = cv2.connectedComponents((cleaned != mask).view(np.uint8), connectivity=8)
    for x, y in np.floor(points[sorted(lost)]).astype(int):
        spared = parts == parts[y, x]
        cleaned[spared] = mask[spared]
    return cleaned


# Edges at image resolution.
#
# Mask cells cover many pixels (nano: 128 cells along the image), so edges are accurate to about one
# cell, while the image shows them exactly. An edge network (`runtime.EdgeRefining`), if the model
# has one, predicts a correction of the logits around the object. Pixels determined by a click or
# the box stay unchanged. Holes and islands along the edge below the settings' sizes are removed.

LONGEST = 2048  # pixels: larger images are downscaled for edge refinement


def with_fine_edges(
    answer: Prediction,
    photo: UintImage,
    prompt: Prompt,
    least: tuple[LeastArea, LeastArea],
    network: EdgeRefining,
) -> Prediction:
    """Refine the edges of the candidates, unless their pixels are final.

    The first mask is refined immediately, the others when their pixels are read.

    Args:
        answer: The prediction.
        photo: Image (H, W, 3), possibly smaller than that of the prediction.
        prompt: Prompt in image pixels.
        least: Minimum areas of holes and islands.
        network: The edge network.
    """
    first = answer.first
    if first.finished is not None and not first.tidied:
        return answer
    height, width = reduced(answer.geometry, LONGEST).image_hw
    if max(height, width) <= first.logits.shape[-1]:  # the mask is as fine as the image
        return answer
    photo = photo_for_edges(photo, answer.geometry)
    scale = width / answer.geometry.image_hw[1]
    prompt = scaled_prompt(prompt, scale)
    areas = scaled_area(least[0], scale), scaled_area(least[1], scale)
    later = []
    for mask in answer.items:  # each copies its window, because the caller may overwrite the image
        cells = mask.shown_logits - np.float32(mask.threshold)
        window = window_around(cells, reduced(mask.geometry, LONGEST))
        part = None if window is None else window_photo(photo, window)
        decide = partial(_fine_pixels, mask, prompt, areas, network, window, part)
        later.append(LazyMask(decide))
    decided: list[Rle | LazyMask] = [later[0].rle, *later[1:]]
    items = zip(answer.items, decided, strict=True)
    return replace(
        answer, items=tuple(replace(one, finished=done, tidied=False) for one, done in items)
    )


def _fine_pixels(
    mask: Candidate,
    prompt: Prompt,
    areas: tuple[float, float],
    network: EdgeRefining,
    window: EdgeWindow | None,
    photo: UintImage | None,
) -> Rle:
    """Pixels of a candidate with refined edges, at the size of the image."""
    place = reduced(mask.geometry, LONGEST)
    drawn = logits_to_image(mask.shown_logits[None], place)[0] - np.float32(mask.threshold)
    fine = drawn > 0
    if window is not None and photo is not None:
        cells = window_logits(mask.shown_logits - np.float32(mask.threshold), window)
        change = network.refine_edge(photo, cells, window_prompt(prompt, window))
        add_change(drawn, change, window)
        fine = np.where(prompt_fixed_pixels(prompt, place.image_hw), fine, drawn > 0)
    rle = mask_to_rle(remove_small_components(fine, clicks_of(prompt), areas))
    whole = mask.geometry.image_hw
    return rle if place.image_hw == whole else enlarged_rle(rle, whole)


def photo_for_edges(photo: UintImage, geometry: Geometry) -> UintImage:
    """Image (H, W, 3) at the resolution of edge refinement."""
    height, width = reduced(geometry, LONGEST).image_hw
    if photo.shape[:2] == (height, width):
        return photo
    return np.asarray(cv2.resize(photo, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def scaled_prompt(prompt: Prompt, scale: float) -> Prompt:
    """Scale the points and box of a prompt."""
    points, box = (
        None if given is None else given * np.float32(scale)
        for given in (prompt.points, prompt.box)
    )
    return replace(prompt, points=points, box=box)


def scaled_area(least: LeastArea, scale: float) -> float:
    """Share of the mask, or pixels of the scaled image; 0 if below one pixel."""
    pixels = least.pixels * scale**2
    return least.share or (pixels if pixels >= 1 else 0.0)


def prompt_fixed_pixels(prompt: Prompt, hw: tuple[int, int]) -> BoolArray:  # (H, W)
    """Pixels that the prompt determines: around the clicks and outside the box."""
    settled = np.zeros(hw, np.bool_)
    if prompt.box is not None:
        x0, y0, x1, y1 = np.rint(prompt.box).astype(int).tolist()
        settled[:] = True
        settled[max(y0, 0) : y1, max(x0, 0) : x1] = False
    if prompt.points is not None:
        for x, y in point_pixels(prompt.points, hw).tolist():
            settled[max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2] = True
    return settled


def remove_small_components(
    mask: BoolArray, clicks: PhotoClicks, least: tuple[float, float]
) -> BoolArray:  # (H, W) -> (H, W)
    """Remove holes and islands below a share of the mask (below 1) or a number of pixels.

    Regions with a click are kept.
    """
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not any(least) or not len(rows):
        return mask
    window = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    points, labels = clicks[0] - np.array([columns[0], rows[0]], np.float32), clicks[1]
    seen = ((points >= 0) & (points < mask[window].shape[::-1])).all(axis=1)
    mask[window] = clean_kept(mask[window], (points[seen], labels[seen]), *least)
    return mask
