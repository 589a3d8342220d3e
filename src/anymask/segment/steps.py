"""One prompt about one photo, with what a step of its answer may use: prompts in, candidates out.

A step takes the answer so far and the question, and gives the answer that goes on (`Step`); the
ordered list of them is in `pipeline`.

Removal of small holes and islands: candidates in, clean candidates out.

A share of the mask is counted in cells of its logits, where the model drew it; pixels are counted
in the photo. Only what is shown becomes clean: the model gets its own logits back, since a second
click is answered worse where clean ones come back (docs/prompts.md).

Letters: H W the photo, P clicks.

Clicks against masks: candidates in, candidates that obey negative clicks out.

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

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from anymask.base import BoolArray, FloatArray, UintImage
from anymask.masks import (
    CloserLook,
    Features,
    Geometry,
    Indices,
    Prompt,
    cell_weights,
    clean_mask,
    logits_at,
    pixels_to_cells,
    point_pixels,
    violated_points,
)
from anymask.models.rules import clean_logits
from anymask.runtime import EdgeRefining
from anymask.segment.prediction import Candidate, Prediction
from anymask.segment.settings import Retry, SegmentSettings


@dataclass
class RetryTime:
    """The time that one call has for asking again, and what the larger model saw last.

    settings  of the retries
    deadline  by their clock
    """

    settings: Retry
    deadline: float
    _photo: UintImage | None = None
    _seen: Features | None = None

    @classmethod
    def start(cls, settings: Retry) -> RetryTime:
        """The time from now on."""
        return cls(settings, settings.clock() + settings.seconds)

    def wants(self, quality: float) -> bool:
        """Whether an answer is too bad and there is time to ask again."""
        return quality < self.settings.quality and self.settings.clock() < self.deadline

    def seen_by_larger(self, photo: UintImage) -> Features:
        """The larger model's embedding of a photo, made once for all masks of it."""
        assert self.settings.larger is not None
        if self._seen is None or self._photo is not photo:
            self._photo, self._seen = photo, self.settings.larger.encode(photo)
        return self._seen


class Ask(Protocol):
    """Answers to other prompts with the same settings, before zoom and retries.

    first  a step that the decoder's answers take before all others
    """

    def __call__(
        self, embedding: Features, prompts: Sequence[Prompt], first: Step | None = None, /
    ) -> list[Prediction]: ...


@dataclass(frozen=True)
class Question:
    """What was asked, and how to ask more.

    photo      (H, W, 3), or None where only its embedding is there
    prompt     checked, in pixels of the photo
    see        a picture's embedding by the same model
    ask        answers to other prompts
    time       for retries; None: there are none
    edges      refines edges, where the model learned it
    closer     how a clear prompt is asked once more in a window (`Family.closer`)
    """

    photo: UintImage | None
    embedding: Features
    prompt: Prompt
    settings: SegmentSettings
    see: Callable[[UintImage], Features]
    ask: Ask
    time: RetryTime | None = None
    edges: EdgeRefining | None = None
    closer: CloserLook | None = None


Step = Callable[[Prediction, Question], Prediction]


CellClicks = tuple[NDArray[Any], NDArray[Any]]  # (P, 2) row and column, (P,) labels
PhotoClicks = tuple[NDArray[Any], NDArray[Any]]  # (P, 2) x and y in pixels, (P,) labels


def clean_masks(answer: Prediction, question: Question) -> Prediction:
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


def _clicks_in_cells(prompt: Prompt, mask: Candidate) -> CellClicks:
    points, labels = clicks_of(prompt)
    pixels = point_pixels(points, mask.geometry.image_hw)
    return pixels_to_cells(pixels, mask.logits.shape, mask.geometry), labels


def _clean_cells(mask: Candidate, clicks: CellClicks, shares: tuple[float, float]) -> Candidate:
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


CLEARED = 2.0  # logits below the threshold that a cleared cell gets at least
REACH = 0.1  # of the root of the part's area: how far a disc reaches at most


def name_violated_clicks(answer: Prediction, question: Question) -> Prediction:
    """A step: the indices of the clicks that the first mask does not obey."""
    return replace(answer, violated_points=violated(answer.first, question.prompt))


def obey_negative_clicks(answer: Prediction, question: Question) -> Prediction:
    """A step: every candidate, cleared around the negative clicks that it does not obey."""
    labels = question.prompt.labels
    if question.settings.multimask != "auto" or labels is None or labels.all():
        return answer
    cleared = obey_negatives(answer.logits, question.prompt, answer.geometry, answer.threshold)
    items = [one.with_logits(plane) for one, plane in zip(answer.items, cleared, strict=True)]
    return replace(answer, items=tuple(items))


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
