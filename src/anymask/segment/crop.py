"""A second look at a photo in the mirror: prompts in, the mean of both answers out.

A model does not answer alike about a photo and its mirror image, though both show the same things;
the mean of both answers is better than either, as their errors differ (Sofiiuk et al. 2021,
"Reviving iterative training with mask guidance", section 4, whose figures are measured so).

Letters: N prompts, P points, T masks, S the model's input side, m that of the masks.

A closer look: a first answer in, what a window around it adds out.

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

from dataclasses import replace

import cv2
import numpy as np

from anymask.base import BoolArray, FloatArray, UintImage
from anymask.masks import (
    CloserLook,
    Geometry,
    ModelPrompts,
    ModelSpec,
    Prompt,
    Window,
    mask_to_model,
)
from anymask.models.rules import (
    CORNERS,
    NO_POINT,
    Decode,
    closer_window,
    logits_around,
    mask_on_photo,
    mean_chance,
    object_box,
)
from anymask.segment.edges import refine_edges, scaled_prompt
from anymask.segment.prediction import Prediction
from anymask.segment.steps import Question, Step, violated


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
