"""Removal of small holes and islands: candidates in, clean candidates out.

A share of the mask is counted in cells of its logits, where the model drew it; pixels are counted
in the photo. Only what is shown becomes clean: the model gets its own logits back, since a second
click is answered worse where clean ones come back (docs/prompts.md).

Letters: H W the photo, P clicks.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from anymask.families.choice import clean_logits
from anymask.predictors.question import Question
from anymask.primitives.candidate_mask import Mask
from anymask.primitives.candidates import Candidates
from anymask.primitives.clicks import violated_points
from anymask.primitives.masks import clean_mask
from anymask.primitives.prompts import Prompt
from anymask.primitives.sampling import pixels_to_cells, point_pixels
from anymask.primitives.types import BoolArray

CellClicks = tuple[NDArray[Any], NDArray[Any]]  # (P, 2) row and column, (P,) labels
PhotoClicks = tuple[NDArray[Any], NDArray[Any]]  # (P, 2) x and y in pixels, (P,) labels


def clean_masks(answer: Candidates, question: Question) -> Candidates:
    """A step: every candidate without holes and islands below the settings' areas."""
    holes, islands = question.settings.least_areas
    items = answer.items
    if holes.share or islands.share:
        clicks = _clicks_in_cells(question.prompt, answer.first)
        items = tuple(_clean_cells(one, clicks, (holes.share, islands.share)) for one in items)
    if holes.pixels or islands.pixels:
        areas, clicks = (holes.pixels, islands.pixels), clicks_of(question.prompt)
        items = tuple(
            one.with_pixels(clean_kept(one.pixels(), clicks, *areas), tidied=True) for one in items
        )
    unchanged = all(new is old for new, old in zip(items, answer.items, strict=True))
    return answer if unchanged else replace(answer, items=items)


def _clicks_in_cells(prompt: Prompt, mask: Mask) -> CellClicks:
    points, labels = clicks_of(prompt)
    pixels = point_pixels(points, mask.geometry.image_hw)
    return pixels_to_cells(pixels, mask.logits.shape, mask.geometry), labels


def _clean_cells(mask: Mask, clicks: CellClicks, shares: tuple[float, float]) -> Mask:
    logits = clean_logits(mask.shown_logits, mask.geometry, clicks, shares, mask.threshold)
    return mask if logits is mask.shown_logits else mask.with_cleaned(logits)


def clicks_of(prompt: Prompt) -> PhotoClicks:
    """A prompt's clicks; none for a prompt without."""
    if prompt.points is None or prompt.labels is None:
        return np.zeros((0, 2)), np.zeros(0)
    return prompt.points, prompt.labels


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
