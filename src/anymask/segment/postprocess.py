"""Post-processes one mask: holds it to its clicks, removes small regions, refines its edge.

Letters: H W the photo or the window around the object, K masks, h w their low-resolution logits,
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
# Negative clicks are applied to the logits (`masks.apply_negative_points`), which are fed back to
# the model. At last a positive click outside of the mask gets its own pixel, whatever
# model, crop and edge network say. Where two clicks on one pixel contradict each other, the
# negative one wins and the positive one is reported as violated.


def clicks_of(prompt: Prompt) -> PhotoClicks:
    """A prompt's clicks; none for a prompt without."""
    if prompt.points is None or prompt.labels is None:
        return NO_CLICKS
    return prompt.points, prompt.labels


def violated(mask: Candidate, prompt: Prompt) -> tuple[int, ...]:
    """Indices of the clicks that a mask does not obey."""
    if prompt.points is None or prompt.labels is None:
        return ()
    if mask.finished is not None:
        return violated_points(mask.pixels(), prompt.points, prompt.labels)
    pixels = point_pixels(prompt.points, mask.geometry.image_hw)
    inside = logits_at(mask.shown_logits[None], pixels, mask.geometry)[0] > mask.threshold
    return tuple(int(index) for index in np.flatnonzero(inside != (prompt.labels == 1)))


def hold_to_clicks(answer: Prediction, prompt: Prompt) -> Prediction:
    """Every candidate with the clicked pixels set right, where they are not."""
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
    """The run-lengths of a mask with the clicked pixels set to their labels."""
    drawn, (columns, rows) = mask.pixels(), pixels.T
    if (drawn[rows, columns] == labels).all():
        return mask.rle()
    for label in (1, 0):
        drawn[rows[labels == label], columns[labels == label]] = label
    return mask_to_rle(drawn)


# Small regions.
#
# A share of the mask is counted in cells of its logits, where the model drew it; pixels are counted
# in the photo. Only what is shown becomes clean: the model gets its own logits back, since a second
# click is answered worse where clean ones come back (docs/explanation/prompts.md).


def without_small_regions(
    mask: Candidate, clicks: PhotoClicks, holes: LeastArea, islands: LeastArea
) -> Candidate:
    """A mask without holes and islands below some areas, but those that clicks speak for; itself
    where it has none."""
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
    """`clean_mask` that leaves alone what a click speaks for."""
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


# Edges at the photo's resolution.
#
# A model draws its mask in cells of many pixels (nano: 128 of them along the photo), so an edge is
# right to about a cell, while the photo itself shows where it runs. Where a model has a network of
# edges beside it (`runtime.EdgeRefining`), that says what to add to the logits around the object; a
# model without one keeps its own edge. What a click or a box says of a pixel is not touched. Crumbs
# along the edge go: holes and islands below the settings' sizes.

LONGEST = 2048  # pixels: larger photos are looked at in this size


def with_fine_edges(
    answer: Prediction,
    photo: UintImage,
    prompt: Prompt,
    least: tuple[LeastArea, LeastArea],
    network: EdgeRefining,
) -> Prediction:
    """The candidates that the logits draw, each with its edge where the photo has it.

    That of the first one is decided at once; those of the others when their pixels are read.

    Args:
        photo: (H, W, 3), or smaller than the one that the answer is about.
        least: Areas below which holes and islands go.
    """
    first = answer.first
    if first.finished is not None and not first.tidied:
        return answer
    height, width = reduced(answer.geometry, LONGEST).image_hw
    if max(height, width) <= first.logits.shape[-1]:  # the mask is as fine as the photo
        return answer
    photo = photo_for_edges(photo, answer.geometry)
    scale = width / answer.geometry.image_hw[1]
    prompt = scaled_prompt(prompt, scale)
    areas = scaled_area(least[0], scale), scaled_area(least[1], scale)
    later = []
    for mask in answer.items:  # each keeps its window of the photo, which the caller may write anew
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
    """The pixels of a candidate with its edge in a window of the photo, in the photo's size."""
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
    """A photo (H, W, 3) in the size in which its edges are looked at: itself, or a smaller one."""
    height, width = reduced(geometry, LONGEST).image_hw
    if photo.shape[:2] == (height, width):
        return photo
    return np.asarray(cv2.resize(photo, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def scaled_prompt(prompt: Prompt, scale: float) -> Prompt:
    """The prompt for the photo in another size."""
    points, box = (
        None if given is None else given * np.float32(scale)
        for given in (prompt.points, prompt.box)
    )
    return replace(prompt, points=points, box=box)


def scaled_area(least: LeastArea, scale: float) -> float:
    """The share of the mask, or the pixels of the photo in another size; none below a pixel."""
    pixels = least.pixels * scale**2
    return least.share or (pixels if pixels >= 1 else 0.0)


def prompt_fixed_pixels(prompt: Prompt, hw: tuple[int, int]) -> BoolArray:  # (H, W)
    """The pixels about which the prompt itself speaks: those clicked, those outside the box."""
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
    """The mask without holes and islands below shares of its area (below 1) or below so many
    pixels; a click keeps its own.
    """
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not any(least) or not len(rows):
        return mask
    window = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    points, labels = clicks[0] - np.array([columns[0], rows[0]], np.float32), clicks[1]
    seen = ((points >= 0) & (points < mask[window].shape[::-1])).all(axis=1)
    mask[window] = clean_kept(mask[window], (points[seen], labels[seen]), *least)
    return mask
