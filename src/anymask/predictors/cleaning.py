"""Removal of small holes and islands: candidates in, clean candidates out.

A share of the mask is counted in cells of its logits, where the model drew it (so what is fed back
to the model is clean as well); pixels are counted in the photo.

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
from anymask.primitives.candidates import Candidates, Mask
from anymask.primitives.clicks import violated_points
from anymask.primitives.masks import clean_mask
from anymask.primitives.prompts import Prompt
from anymask.primitives.sampling import pixels_to_cells, point_pixels
from anymask.primitives.types import BoolArray

CellClicks = tuple[NDArray[Any], NDArray[Any]]  # (P, 2) row and column, (P,) labels


def clean_masks(answer: Candidates, question: Question) -> Candidates:
    """A step: every candidate without holes and islands below the settings' areas."""
    holes, islands = question.settings.least_areas
    items = answer.items
    if holes.share or islands.share:
        clicks = _clicks_in_cells(question.prompt, answer.first)
        items = tuple(_clean_cells(one, clicks, (holes.share, islands.share)) for one in items)
    if holes.pixels or islands.pixels:
        areas = (holes.pixels, islands.pixels)
        items = tuple(
            one.with_pixels(clean_kept(one.pixels(), question.prompt, *areas)) for one in items
        )
    unchanged = all(new is old for new, old in zip(items, answer.items, strict=True))
    return answer if unchanged else replace(answer, items=items)


def _clicks_in_cells(prompt: Prompt, mask: Mask) -> CellClicks:
    if prompt.points is None or prompt.labels is None:
        return np.zeros((0, 2)), np.zeros(0)
    pixels = point_pixels(prompt.points, mask.geometry.image_hw)
    return pixels_to_cells(pixels, mask.logits.shape, mask.geometry), prompt.labels


def _clean_cells(mask: Mask, clicks: CellClicks, shares: tuple[float, float]) -> Mask:
    logits = clean_logits(mask.logits, mask.geometry, clicks, shares, mask.threshold)
    return mask if logits is mask.logits else mask.with_logits(logits)


def clean_kept(
    mask: BoolArray, prompt: Prompt, max_hole_area: float, min_island_area: float
) -> BoolArray:  # (H, W)
    """`clean_mask` that leaves alone what a click speaks for."""
    cleaned = clean_mask(mask, max_hole_area, min_island_area)
    if prompt.points is None or prompt.labels is None:
        return cleaned
    lost = set(violated_points(cleaned, prompt.points, prompt.labels))
    lost -= set(violated_points(mask, prompt.points, prompt.labels))
    if not lost:
        return cleaned
    _, labels = cv2.connectedComponents((cleaned != mask).view(np.uint8), connectivity=8)
    for x, y in np.floor(prompt.points[sorted(lost)]).astype(int):
        spared = labels == labels[y, x]
        cleaned[spared] = mask[spared]
    return cleaned
