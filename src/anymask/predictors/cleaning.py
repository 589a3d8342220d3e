"""Removal of small holes and islands: candidates in, candidates with cleaned pixels out.

Letters: H W the photo.
"""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from anymask.predictors.question import Question
from anymask.primitives.candidates import Candidates
from anymask.primitives.clicks import violated_points
from anymask.primitives.masks import clean_mask
from anymask.primitives.prompts import Prompt
from anymask.primitives.types import BoolArray


def clean_masks(answer: Candidates, question: Question) -> Candidates:
    """A step: every candidate without holes and islands below the settings' areas."""
    settings = question.settings
    if not settings.cleans:
        return answer
    areas = (settings.max_hole_area, settings.min_island_area)
    cleaned = [
        one.with_pixels(clean_kept(mask, question.prompt, *areas))
        for one, mask in zip(answer.items, answer.masks, strict=True)
    ]
    return replace(answer, items=tuple(cleaned))


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
