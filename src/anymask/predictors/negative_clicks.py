"""Clicks against masks: candidates in, candidates that obey negative clicks out.

Letters: K masks, h w their low-resolution logits, P clicks.

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
"""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from anymask.predictors.question import Question
from anymask.primitives.candidate_mask import Mask
from anymask.primitives.candidates import Candidates
from anymask.primitives.clicks import violated_points
from anymask.primitives.prompts import Prompt
from anymask.primitives.sampling import (
    Indices,
    cell_weights,
    logits_at,
    pixels_to_cells,
    point_pixels,
)
from anymask.primitives.spec import Geometry
from anymask.primitives.types import BoolArray, FloatArray

CLEARED = 2.0  # logits below the threshold that a cleared cell gets at least
REACH = 0.1  # of the root of the part's area: how far a disc reaches at most


def name_violated_clicks(answer: Candidates, question: Question) -> Candidates:
    """A step: the indices of the clicks that the first mask does not obey."""
    return replace(answer, violated_points=violated(answer.first, question.prompt))


def obey_negative_clicks(answer: Candidates, question: Question) -> Candidates:
    """A step: every candidate, cleared around the negative clicks that it does not obey."""
    labels = question.prompt.labels
    if question.settings.multimask != "auto" or labels is None or labels.all():
        return answer
    cleared = obey_negatives(answer.logits, question.prompt, answer.geometry, answer.threshold)
    items = [one.with_logits(plane) for one, plane in zip(answer.items, cleared, strict=True)]
    return replace(answer, items=tuple(items))


def violated(mask: Mask, prompt: Prompt) -> tuple[int, ...]:
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
    pixels = point_pixels(prompt.points, geometry.image_hw)
    positive = pixels_to_cells(pixels[prompt.labels == 1], logits.shape[1:], geometry)
    cleared = logits.copy()
    for pixel in pixels[prompt.labels == 0]:
        under = _cells_under(pixel, logits.shape[1:], geometry)
        centre = pixels_to_cells(pixel[None], logits.shape[1:], geometry)[0]
        for plane in cleared:
            if _marks(plane, under, threshold):
                part = _part_to_clear(plane > threshold, under, centre, positive)
                plane[part] = np.minimum(plane[part], threshold - CLEARED)
    return cleared


def _cells_under(
    pixel: Indices, low_hw: tuple[int, ...], geometry: Geometry
) -> tuple[FloatArray, FloatArray]:  # (2,) -> (3, h), (3, w)
    """The cells that the pixel and its eight neighbours are made of, along each axis."""
    around = np.arange(-1, 2)
    x, y = (np.clip(pixel[axis] + around, 0, geometry.image_hw[1 - axis] - 1) for axis in (0, 1))
    return (
        cell_weights(y, low_hw[0], geometry, axis=0),
        cell_weights(x, low_hw[1], geometry, axis=1),
    )


def _marks(plane: FloatArray, under: tuple[FloatArray, FloatArray], threshold: float) -> bool:
    rows, columns = under
    return bool((rows @ plane @ columns.T > threshold).any())


def _part_to_clear(
    mask: BoolArray,
    under: tuple[FloatArray, FloatArray],
    centre: NDArray[np.float64],
    positive: NDArray[np.float64],
) -> BoolArray:  # (h, w) -> (h, w)
    """The cells that a violated negative click takes back."""
    touched: BoolArray = np.logical_and.outer(*(weights.any(axis=0) for weights in under))
    _, labels = cv2.connectedComponents(mask.view(np.uint8), connectivity=8)
    parts = np.unique(labels[touched & mask])
    under_click: BoolArray = np.isin(labels, parts)
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
