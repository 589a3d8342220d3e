"""Holds masks to the clicks of their prompt, and removes small holes and islands from them.

The rule for negative clicks, applied to every candidate: if the model still marks the clicked pixel
or one of the eight around it, then

- the whole connected part under the click is taken back, if it holds no positive click and another
  part does, or the rest of the mask is larger;
- otherwise a disc around the click is taken back, which reaches at most half the way to the nearest
  positive click and at most a tenth of the part's size (the root of its area), but always far
  enough to clear the nine pixels.

So adding a negative click can never switch its own place on. Where a positive click lies so close
that both share a cell of the low-resolution mask, the negative one wins and the positive one is
reported as violated. The edit happens in the logits, so that feeding them back shows it to the
model.

Small regions: a share of the mask is counted in cells of its logits, where the model drew it;
pixels are counted in the photo. Only what is shown becomes clean: the model gets its own logits
back, since a second click is answered worse where clean ones come back (docs/prompts.md).

Letters: H W the photo, K masks, h w their low-resolution logits, P clicks.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from anymask.base import BoolArray, FloatArray
from anymask.masks import (
    Geometry,
    LeastArea,
    Prompt,
    cell_weights,
    clean_mask,
    logits_at,
    pixels_to_cells,
    point_pixels,
    violated_points,
)
from anymask.models.rules import clean_logits
from anymask.segment.prediction import Candidate

PhotoClicks = tuple[NDArray[Any], NDArray[Any]]  # (P, 2) x and y in pixels, (P,) labels

CLEARED = 2.0  # logits below the threshold that a cleared cell gets at least
REACH = 0.1  # of the root of the part's area: how far a disc reaches at most


def clicks_of(prompt: Prompt) -> PhotoClicks:
    """A prompt's clicks; none for a prompt without."""
    if prompt.points is None or prompt.labels is None:
        return np.zeros((0, 2)), np.zeros(0)
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


def obey_negatives(
    logits: FloatArray, prompt: Prompt, geometry: Geometry, threshold: float
) -> FloatArray:  # (K, h, w) -> (K, h, w)
    """The same logits, cleared around the negative clicks that they do not obey."""
    if prompt.points is None or prompt.labels is None or prompt.labels.all():
        return logits
    low_hw = logits.shape[1:]
    pixels = point_pixels(prompt.points, geometry.image_hw)
    positive = pixels_to_cells(pixels[prompt.labels == 1], low_hw, geometry)
    cleared = logits.copy()
    for pixel in pixels[prompt.labels == 0]:
        # The cells that the pixel and its eight neighbours are made of, (3, h) and (3, w).
        rows, columns = (
            cell_weights(
                np.clip(pixel[1 - axis] + np.arange(-1, 2), 0, geometry.image_hw[axis] - 1),
                low_hw[axis],
                geometry,
                axis=axis,
            )
            for axis in (0, 1)
        )
        touched = np.logical_and.outer(rows.any(axis=0), columns.any(axis=0))
        centre = pixels_to_cells(pixel[None], low_hw, geometry)[0]
        for plane in cleared:
            if (rows @ plane @ columns.T > threshold).any():
                part = _part_to_clear(plane > threshold, touched, centre, positive)
                plane[part] = np.minimum(plane[part], threshold - CLEARED)
    return cleared


def _part_to_clear(
    mask: BoolArray,
    touched: BoolArray,
    centre: NDArray[np.float64],
    positive: NDArray[np.float64],
) -> BoolArray:  # (h, w) -> (h, w)
    """The cells that a violated negative click takes back."""
    _, labels = cv2.connectedComponents(mask.view(np.uint8), connectivity=8)
    under_click: BoolArray = np.isin(labels, np.unique(labels[touched & mask]))
    clicked = np.rint(positive).astype(np.intp).clip(0, np.array(mask.shape) - 1)
    rest = mask & ~under_click
    is_wanted = under_click[tuple(clicked.T)].any()
    if not is_wanted and (rest[tuple(clicked.T)].any() or rest.sum() > under_click.sum()):
        return under_click | touched
    reach = REACH * float(np.sqrt(under_click.sum()))
    if len(positive):
        reach = min(reach, float(np.linalg.norm(positive - centre, axis=1).min()) / 2)
    y, x = np.ogrid[: mask.shape[0], : mask.shape[1]]
    disc: BoolArray = (y - centre[0]) ** 2 + (x - centre[1]) ** 2 <= reach**2
    return disc | touched


def without_small_regions(
    mask: Candidate, prompt: Prompt, holes: LeastArea, islands: LeastArea
) -> Candidate:
    """A mask without holes and islands below some areas; itself where it has none."""
    points, labels = clicks_of(prompt)
    if holes.share or islands.share:
        pixels = point_pixels(points, mask.geometry.image_hw)
        clicks = pixels_to_cells(pixels, mask.logits.shape, mask.geometry), labels
        shares = (holes.share, islands.share)
        logits = clean_logits(mask.shown_logits, mask.geometry, clicks, shares, mask.threshold)
        mask = mask if logits is mask.shown_logits else mask.with_cleaned(logits)
    if holes.pixels or islands.pixels:
        cleaned = clean_kept(mask.pixels(), (points, labels), holes.pixels, islands.pixels)
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
