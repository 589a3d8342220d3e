"""A closer look: a first answer in, what a window around it adds out.

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

from dataclasses import dataclass, replace

import cv2
import numpy as np

from anymask.families.prompts import mask_on_photo
from anymask.predictors.edges import refine_edges, scaled_prompt
from anymask.predictors.negative_clicks import violated
from anymask.predictors.question import Question, Step
from anymask.primitives.boxes import mask_to_box
from anymask.primitives.candidates import Candidates, Mask
from anymask.primitives.prompts import Prompt
from anymask.primitives.resize import mask_to_model
from anymask.primitives.tiles import Window, zoom_window
from anymask.primitives.types import BoolArray, FloatArray, UintImage

MIN_SIDE = 96  # pixels of the photo; smaller windows show only blur
SURE = np.float32(12.0)  # logits beyond it are as sure
NEAR = np.float32(0.6)  # weight of the answer in the window, the other's is the rest

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Closeness:
    """How close to look.

    margin  around the object, of its longest side
    gain    how much larger a window must show the object to be worth an encoding
    """

    margin: float
    gain: float


IN_DOUBT, CLEAR = Closeness(0.5, 1.5), Closeness(1.0, 1.2)


def look_closer(first: Candidates, question: Question) -> Candidates:
    """A step: the answer with the help of a window around the first one, or the first one."""
    photo, settings = question.photo, question.settings
    clear = question.closer and len(first) == 1 and is_clear(question.prompt)
    if settings.zoom == "auto":
        wanted = clear and settings.multimask == "auto"
    else:
        wanted = settings.zoom
    if not wanted or photo is None:
        return first
    mask = first.first.pixels()
    box = object_box(question.prompt, mask)
    if box is None:
        return first
    close = CLEAR if clear else IN_DOUBT
    window = closer_window(box, first.geometry.image_hw, MIN_SIDE, close)
    if window is None:
        return first
    if clear:
        start = mask if question.prompt.points is not None else None  # what has been corrected
        prompt = replace(question.prompt, mask=start)
        return average_in_window(replace(question, prompt=prompt), photo, first, window)
    second = decode_in_window(question, photo, first, window)
    better = second.first.quality > first.first.quality and second.masks[0].any()
    return second if better else first


def is_clear(prompt: Prompt) -> bool:
    """Whether a prompt says how large the object is: a box does, and more than one click."""
    return prompt.box is not None or (prompt.points is not None and len(prompt.points) > 1)


def closer_window(
    box: Box, image_hw: tuple[int, int], min_side: int, close: Closeness = IN_DOUBT
) -> Window | None:
    """A window around a box that shows it larger; None where there is none.

    min_side  pixels of the photo that the window has at least
    """
    window = zoom_window(box, image_hw, margin=close.margin, min_side=min_side)
    x0, y0, x1, y1 = window
    return None if max(x1 - x0, y1 - y0) * close.gain > max(image_hw) else window


def average_in_window(
    question: Question, photo: UintImage, first: Candidates, window: Window
) -> Candidates:
    """The first answer, its pixels decided by the mean of its chances and those in the window."""

    def averaged(second: Candidates, asked: Question) -> Candidates:
        (mask,) = second.items
        around = logits_in_window(first.first, window, second)
        mean = mean_chance(mask.logits - mask.threshold, around - np.float32(first.threshold))
        return replace(second, items=(mask.with_logits(mean + np.float32(mask.threshold)),))

    second, masks = _ask_window(question, photo, first, window, averaged)
    if not masks.any():
        return first
    item = replace(first.first, quality=second.first.quality).with_pixels(masks[0])
    return Candidates((item,), violated(item, question.prompt))


def logits_in_window(mask: Mask, window: Window, second: Candidates) -> FloatArray:  # -> (m, m)
    """A mask's logits where the cells of an answer about a window of its photo lie."""
    source, target = mask.geometry, second.geometry
    side = second.logits.shape[-1]
    rows = np.zeros((2, 3), np.float32)
    window_hw = window[3] - window[1], window[2] - window[0]
    for axis, start in enumerate(window[:2]):
        whole = source.scale_xy[axis] * mask.logits.shape[-1] / source.side  # cells a photo pixel
        # The window may have been read from a smaller copy of the photo.
        pixels = window_hw[1 - axis] / target.image_hw[1 - axis]
        cell = pixels * target.side / (side * target.scale_xy[axis])  # photo pixels a cell
        rows[axis, axis] = cell * whole
        rows[axis, 2] = (start + cell / 2) * whole - 0.5
    return np.asarray(
        cv2.warpAffine(
            mask.logits,
            rows,
            (side, side),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE,
        ),
        np.float32,
    )


def mean_chance(near: FloatArray, far: FloatArray) -> FloatArray:
    """Logits above the threshold of both answers -> those of the mean of both probabilities."""
    inside, around = (1 / (1 + np.exp(-np.clip(each, -SURE, SURE))) for each in (near, far))
    chance = NEAR * inside + (1 - NEAR) * around
    mean: FloatArray = (np.log(chance) - np.log1p(-chance)).astype(np.float32)
    return mean


def decode_in_window(
    question: Question, photo: UintImage, first: Candidates, window: Window
) -> Candidates:
    """The answer of one window, which holds the prompt, as an answer about the whole photo.

    photo  (H, W, 3), or smaller than the one that the first answer is about
    """
    second, masks = _ask_window(question, photo, first, window)
    return restate_answer(second, masks, first, question.prompt)


def _ask_window(
    question: Question,
    photo: UintImage,
    first: Candidates,
    window: Window,
    step: Step | None = None,
) -> tuple[Candidates, BoolArray]:
    """The answer of one window, after a step of its own, and its masks in the photo (K, H, W)."""
    height, width = first.geometry.image_hw
    scale = photo.shape[1] / width
    x0, y0, x1, y1 = (round(place * scale) for place in window)
    crop = np.ascontiguousarray(photo[y0:y1, x0:x1])
    whole = _start_on_photo(question.prompt, first, (photo.shape[0], photo.shape[1]))
    asked = replace(scaled_prompt(question.prompt, scale), mask=whole)
    moved = _prompt_in_window(asked, (x0, y0, x1, y1))
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


def object_box(prompt: Prompt, mask: BoolArray) -> Box | None:  # (H, W)
    """What the prompt and the first mask together speak of; None where that is nothing."""
    boxes: list[FloatArray] = []
    if mask.any():
        boxes.append(mask_to_box(mask))
    if prompt.box is not None:
        boxes.append(prompt.box)
    if prompt.points is not None and prompt.labels is not None:
        on = prompt.points[prompt.labels == 1]
        boxes += list(np.concatenate([on, on], axis=1))
    if not boxes:
        return None
    corners = np.stack(boxes)
    x0, y0 = corners[:, :2].min(axis=0).tolist()
    x1, y1 = corners[:, 2:].max(axis=0).tolist()
    return (x0, y0, x1, y1)


def _start_on_photo(prompt: Prompt, first: Candidates, hw: tuple[int, int]) -> BoolArray | None:
    """The mask that the prompt starts from, in pixels of the photo."""
    if prompt.mask is None:
        return None
    side, threshold = first.logits.shape[-1], first.threshold
    whole = mask_on_photo(prompt.mask, first.geometry, side, threshold)
    if whole.shape == hw:
        return whole
    small = cv2.resize(whole.view(np.uint8), hw[::-1], interpolation=cv2.INTER_NEAREST)
    return np.asarray(small, np.uint8).view(np.bool_)


def _prompt_in_window(prompt: Prompt, window: Window) -> Prompt:
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
    answer: Candidates, masks: BoolArray, first: Candidates, prompt: Prompt
) -> Candidates:  # (K, H, W)
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
    return Candidates(tuple(items), violated(items[0], prompt))
