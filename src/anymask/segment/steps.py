"""The steps between a decoder's answer and the one that is shown: cleaning, clicks, crops, edges.

A step takes the answer so far and the question, and gives the answer that goes on (`Step`); the
ordered list of them is in `pipeline`.

Removal of small holes and islands.

A share of the mask is counted in cells of its logits, where the model drew it; pixels are counted
in the photo. Only what is shown becomes clean: the model gets its own logits back, since a second
click is answered worse where clean ones come back (docs/prompts.md).

Letters: H W the photo, P clicks.

Clicks against masks.

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

Edges at the photo's resolution.

A model draws its mask in cells of many pixels (nano: 128 of them along the photo), so an edge is
right to about a cell, while the photo itself shows where it runs. Where a model has a network of
edges beside it (`runtime.protocol.EdgeRefining`), that says what to add to the logits around the
object; a model without one keeps its own edge. What a click or a box says of a pixel is not
touched. Crumbs along the edge go: holes and islands below the settings' sizes.

Letters: H W the photo, h w the window around the object.

A second look at a photo in the mirror.

A model does not answer alike about a photo and its mirror image, though both show the same things;
the mean of both answers is better than either, as their errors differ (Sofiiuk et al. 2021,
"Reviving iterative training with mask guidance", section 4, whose figures are measured so).

Letters: N prompts, P points, T masks, S the model's input side, m that of the masks.

A closer look.

A model sees every photo at the same size, so an object covers few cells of its features. A window
around the first answer shows the object larger, and its mask is drawn in finer cells.

A box, or more than one click, says how large the object is. Where the model's family is known to
gain by it, the chances of every pixel in both answers are then averaged: what is around an object
helps to understand it, what is near helps to draw it. What a lone click means is a question of
what is around it: there, and with other families, the second answer replaces the first one, and
only when the model gives it the higher quality.

The answer is laid back into the photo at the photo's own resolution, its edges refined as the
settings want them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
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
    LeastArea,
    ModelPrompts,
    ModelSpec,
    Prompt,
    Rle,
    Window,
    cell_weights,
    clean_mask,
    enlarged_rle,
    logits_at,
    logits_to_image,
    mask_to_model,
    mask_to_rle,
    pixels_to_cells,
    point_pixels,
    reduced,
    violated_points,
)
from anymask.models.rules import (
    CORNERS,
    NO_POINT,
    Decode,
    EdgeWindow,
    add_change,
    clean_logits,
    closer_window,
    logits_around,
    mask_on_photo,
    mean_chance,
    object_box,
    window_around,
    window_logits,
    window_photo,
    window_prompt,
)
from anymask.runtime import EdgeRefining
from anymask.segment.prediction import Candidate, PixelsLater, Prediction
from anymask.segment.requests import Retry, SegmentSettings


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


LONGEST = 2048  # pixels: larger photos are looked at in this size


def refine_edges(answer: Prediction, question: Question) -> Prediction:
    """A step: every candidate that the logits draw, with the edge where the photo has it.

    That of the first one is decided at once; those of the others when their pixels are read. A
    model without a network of edges keeps its own.
    """
    photo, settings = question.photo, question.settings
    wanted = settings.refine_edges
    if wanted == "auto":
        wanted = settings.multimask == "auto"
    first = answer.first
    if photo is None or not wanted or question.edges is None:
        return answer
    if first.finished is not None and not first.tidied:
        return answer
    height, width = reduced(answer.geometry, LONGEST).image_hw
    if max(height, width) <= first.logits.shape[-1]:  # the mask is as fine as the photo
        return answer
    photo = photo_for_edges(photo, answer.geometry)
    view = _EdgeView(question, (height, width), width / answer.geometry.image_hw[1])
    later = [view.by_network(one, photo) for one in answer.items]
    decided: list[Rle | PixelsLater] = [later[0].rle, *later[1:]]
    items = zip(answer.items, decided, strict=True)
    return replace(
        answer, items=tuple(replace(one, finished=done, tidied=False) for one, done in items)
    )


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


def settled_pixels(prompt: Prompt, hw: tuple[int, int]) -> BoolArray:  # (H, W)
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


class _EdgeView:
    """What a question says of a photo's edges. It keeps no photo: the caller may write it anew.

    hw     of the photo that is looked at
    scale  of that photo to the size that the user has
    """

    def __init__(self, question: Question, hw: tuple[int, int], scale: float) -> None:
        self.hw, self.network = hw, question.edges
        self.prompt = scaled_prompt(question.prompt, scale)
        holes, islands = question.settings.least_areas
        self.least = scaled_area(holes, scale), scaled_area(islands, scale)

    def by_network(self, mask: Candidate, photo: UintImage) -> PixelsLater:
        """The pixels of a candidate, decided when they are read: the photo's window is cut now."""
        cells = mask.shown_logits - np.float32(mask.threshold)
        window = window_around(cells, reduced(mask.geometry, LONGEST))
        part = None if window is None else window_photo(photo, window)
        return PixelsLater(partial(self._changed, mask, window, part))

    def _changed(self, mask: Candidate, window: EdgeWindow | None, part: UintImage | None) -> Rle:
        drawn, _ = drawn_logits(mask)
        before = drawn > 0
        if window is None or part is None or self.network is None:
            return self._finished(mask, before)
        cells = window_logits(mask.shown_logits - np.float32(mask.threshold), window)
        change = self.network.refine_edge(part, cells, window_prompt(self.prompt, window))
        add_change(drawn, change, window)
        return self._finished(mask, np.where(self._settled(), before, drawn > 0))

    def _settled(self) -> BoolArray:
        return settled_pixels(self.prompt, self.hw)

    def _finished(self, mask: Candidate, fine: BoolArray) -> Rle:
        """Without crumbs, in the size of the user's photo."""
        rle = mask_to_rle(without_crumbs(fine, clicks_of(self.prompt), self.least))
        whole = mask.geometry.image_hw
        return rle if self.hw == whole else enlarged_rle(rle, whole)


def drawn_logits(mask: Candidate) -> tuple[FloatArray, Geometry]:
    """A mask's logits above its threshold, (H, W) of at most LONGEST a side, and how they lie."""
    place = reduced(mask.geometry, LONGEST)
    return logits_to_image(mask.shown_logits[None], place)[0] - np.float32(mask.threshold), place


def without_crumbs(
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


def scaled_area(least: LeastArea, scale: float) -> float:
    """The share of the mask, or the pixels of the photo in another size; none below a pixel."""
    pixels = least.pixels * scale**2
    return least.share or (pixels if pixels >= 1 else 0.0)


def both_ways(decode: Decode, mirrored: Decode, place: Geometry, spec: ModelSpec) -> Decode:
    """A decoder that answers with the mean of logits and quality of two.

    decode, mirrored  of the photo, and of its mirror image
    place             how the photo lies in model space; its mirror image lies there alike
    """
    cells = place.input_hw[1] * spec.mask_side / spec.image_side  # that the photo fills, across

    def answer(prompts: ModelPrompts) -> tuple[FloatArray, FloatArray]:
        logits, quality = decode(prompts)
        turned, other = mirrored(mirror_prompts(prompts, place, cells))
        half = np.float32(0.5)
        return half * (logits + mirror_cells(turned, cells)), half * (quality + other)

    return answer


def mirror_prompts(prompts: ModelPrompts, place: Geometry, cells: float) -> ModelPrompts:
    """The same prompts in the mirror image."""
    coords, labels = prompts.coords.copy(), prompts.labels
    x = coords[..., 0]
    x[labels != NO_POINT] = place.input_hw[1] - x[labels != NO_POINT]
    left, right = (labels == corner for corner in CORNERS)
    x[left], x[right] = x[right], x[left]  # one of each in every row with a box
    return replace(prompts, coords=coords, masks=mirror_cells(prompts.masks, cells))


def mirror_cells(planes: FloatArray, cells: float) -> FloatArray:  # (.., m, m) -> the same
    """Planes whose first `cells` columns are mirrored; between two columns their values mix."""
    side = planes.shape[-1]
    source = np.clip(cells - 1 - np.arange(side), 0, side - 1)
    low = np.floor(source).astype(np.int64)
    high = np.minimum(low + 1, side - 1)
    share = (source - low).astype(np.float32)
    mixed: FloatArray = planes[..., low] * (1 - share) + planes[..., high] * share
    return mixed


# Where a window is in doubt: its answer alone counts, when it is the better one.
IN_DOUBT = CloserLook(margin=0.5, gain=1.5, weight=1.0, min_side=96)


def look_closer(first: Prediction, question: Question) -> Prediction:
    """A step: the answer with the help of a window around the first one, or the first one."""
    photo, settings = question.photo, question.settings
    clear = question.closer if len(first) == 1 and is_clear(question.prompt) else None
    if settings.zoom == "auto":
        wanted = clear is not None and settings.multimask == "auto"
    else:
        wanted = settings.zoom
    if not wanted or photo is None:
        return first
    mask = first.first.pixels()
    box = object_box(question.prompt, mask)
    window = box and closer_window(box, first.geometry.image_hw, clear or IN_DOUBT)
    if window is None:
        return first
    if clear:
        start = mask if question.prompt.points is not None else None  # what has been corrected
        prompt = replace(question.prompt, mask=start)
        return average_in_window(replace(question, prompt=prompt), photo, first, window)
    second = decode_in_window(question, photo, first, window)
    better = second.first.score > first.first.score and second.masks[0].any()
    return second if better else first


def is_clear(prompt: Prompt) -> bool:
    """Whether a prompt says how large the object is: a box does, and more than one click."""
    return prompt.box is not None or (prompt.points is not None and len(prompt.points) > 1)


def average_in_window(
    question: Question, photo: UintImage, first: Prediction, window: Window
) -> Prediction:
    """The first answer, its pixels decided by the mean of its chances and those in the window."""
    assert question.closer is not None
    weight = question.closer.weight

    def averaged(second: Prediction, asked: Question) -> Prediction:
        (mask,) = second.items
        around = logits_around(first.first.logits, first.geometry, window, second.geometry)
        near, far = mask.logits - mask.threshold, around - np.float32(first.threshold)
        mean = mean_chance(near, far, weight) + np.float32(mask.threshold)
        return replace(second, items=(mask.with_logits(mean),))

    second, masks = _ask_window(question, photo, first, window, averaged)
    if not masks.any():
        return first
    item = replace(first.first, score=second.first.score).with_pixels(masks[0])
    return Prediction((item,), violated(item, question.prompt))


def decode_in_window(
    question: Question, photo: UintImage, first: Prediction, window: Window
) -> Prediction:
    """The answer of one window, which holds the prompt, as an answer about the whole photo.

    photo  (H, W, 3), or smaller than the one that the first answer is about
    """
    second, masks = _ask_window(question, photo, first, window)
    return restate_answer(second, masks, first, question.prompt)


def _ask_window(
    question: Question,
    photo: UintImage,
    first: Prediction,
    window: Window,
    step: Step | None = None,
) -> tuple[Prediction, BoolArray]:
    """The answer of one window, after a step of its own, and its masks in the photo (K, H, W)."""
    height, width = first.geometry.image_hw
    scale = photo.shape[1] / width
    x0, y0, x1, y1 = (round(place * scale) for place in window)
    crop = np.ascontiguousarray(photo[y0:y1, x0:x1])
    whole = _start_on_photo(question.prompt, first, (photo.shape[0], photo.shape[1]))
    asked = replace(scaled_prompt(question.prompt, scale), mask=whole)
    moved = prompt_in_window(asked, (x0, y0, x1, y1))
    seen = question.see(crop)
    second = question.ask(seen, [moved], step)[0]
    second = refine_edges(second, replace(question, photo=crop, embedding=seen, prompt=moved))
    masks = np.zeros((len(second), *photo.shape[:2]), np.bool_)
    masks[:, y0:y1, x0:x1] = second.masks
    if scale == 1:
        return second, masks
    large = [
        cv2.resize(mask.view(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST)
        for mask in masks
    ]
    return second, np.stack(large).view(np.bool_)


def _start_on_photo(prompt: Prompt, first: Prediction, hw: tuple[int, int]) -> BoolArray | None:
    """The mask that the prompt starts from, in pixels of the photo."""
    if prompt.mask is None:
        return None
    side, threshold = first.logits.shape[-1], first.threshold
    whole = mask_on_photo(prompt.mask, first.geometry, side, threshold)
    if whole.shape == hw:
        return whole
    small = cv2.resize(whole.view(np.uint8), hw[::-1], interpolation=cv2.INTER_NEAREST)
    return np.asarray(small, np.uint8).view(np.bool_)


def prompt_in_window(prompt: Prompt, window: Window) -> Prompt:
    """The same prompt in the window's pixels; negative clicks outside it have nothing to say."""
    x0, y0, x1, y1 = window
    offset = np.array([x0, y0], np.float32)
    points, labels = prompt.points, prompt.labels
    if points is not None and labels is not None:
        seen = ((points >= (x0, y0)) & (points < (x1, y1))).all(axis=1)
        points, labels = points[seen] - offset, labels[seen]
    box = prompt.box
    if box is not None:
        box = np.clip(box - np.tile(offset, 2), 0, np.array([x1 - x0, y1 - y0] * 2, np.float32))
    mask = prompt.mask
    if mask is not None:
        mask = mask[y0:y1, x0:x1]
    return Prompt.of(points=points, labels=labels, box=box, mask=mask)


def restate_answer(
    answer: Prediction, masks: BoolArray, first: Prediction, prompt: Prompt
) -> Prediction:  # (K, H, W)
    """An answer that was made elsewhere, in the terms of the first one: geometry and logits.

    masks  the answer's, in pixels of the photo
    """
    side = first.logits.shape[-1]
    items = [
        replace(
            one,
            logits=mask_to_model(mask, first.geometry, side)[0],
            geometry=first.geometry,
            threshold=first.threshold,
        ).with_pixels(mask)
        for one, mask in zip(answer.items, masks, strict=True)
    ]
    return Prediction(tuple(items), violated(items[0], prompt))
