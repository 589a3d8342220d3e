"""Zoom on small objects: a first answer in, the answer decoded in a window around it out.

A model sees every photo at the same size, so a small object covers few cells of its features. A
window around the first answer shows the object larger. The second answer replaces the first only
when the model gives it the higher quality; it is laid back into the photo at the photo's own
resolution.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from anymask.families.prompts import mask_on_photo
from anymask.predictors.negative_clicks import violated
from anymask.predictors.question import Question
from anymask.primitives.boxes import mask_to_box
from anymask.primitives.candidates import Candidates
from anymask.primitives.prompts import Prompt
from anymask.primitives.resize import mask_to_model
from anymask.primitives.tiles import Window, zoom_window
from anymask.primitives.types import BoolArray, FloatArray, UintImage

SMALL = 0.25  # of the photo's longest side: larger objects are left alone by zoom="auto"
GAIN = 1.5  # how much larger a window must show the object to be worth an encoding
MARGIN = 0.5  # of the object's longest side, around it
MIN_SIDE = 96  # pixels of the photo; smaller windows show only blur

Box = tuple[float, float, float, float]


def look_closer(first: Candidates, question: Question) -> Candidates:
    """A step: the better one of the first answer and that on a window around it."""
    photo, wanted = question.photo, question.settings.zoom
    box = object_box(question.prompt, first) if wanted and photo is not None else None
    if box is None or photo is None:
        return first
    longest = max(photo.shape[:2])
    if wanted == "auto" and max(box[2] - box[0], box[3] - box[1]) > SMALL * longest:
        return first
    window = closer_window(box, first.geometry.image_hw, MIN_SIDE)
    if window is None:
        return first
    second = decode_in_window(question, photo, first, window)
    better = second.first.quality > first.first.quality and second.masks[0].any()
    return second if better else first


def closer_window(box: Box, image_hw: tuple[int, int], min_side: int) -> Window | None:
    """A window around a box that shows it `GAIN` times larger at least; None where there is none.

    min_side  pixels of the photo that the window has at least
    """
    window = zoom_window(box, image_hw, margin=MARGIN, min_side=min_side)
    x0, y0, x1, y1 = window
    return None if max(x1 - x0, y1 - y0) * GAIN > max(image_hw) else window


def decode_in_window(
    question: Question, photo: UintImage, first: Candidates, window: Window
) -> Candidates:
    """The answer of one window, which holds the prompt, as an answer about the whole photo."""
    x0, y0, x1, y1 = window
    crop = np.ascontiguousarray(photo[y0:y1, x0:x1])
    moved = _prompt_in_window(question.prompt, window, first)
    second = question.ask(question.see(crop), [moved])[0]
    masks = np.zeros((len(second), *first.geometry.image_hw), np.bool_)
    masks[:, y0:y1, x0:x1] = second.masks
    return restate_answer(second, masks, first, question.prompt)


def object_box(prompt: Prompt, first: Candidates) -> Box | None:
    """What the prompt and the first answer together speak of; None where that is nothing."""
    boxes: list[FloatArray] = []
    mask = first.masks[0]
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


def _prompt_in_window(prompt: Prompt, window: Window, first: Candidates) -> Prompt:
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
        whole = mask_on_photo(mask, first.geometry, first.logits.shape[-1], first.threshold)
        mask = whole[y0:y1, x0:x1]
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
