"""Retry of answers of low quality: candidates in, better ones from other prompts within a time out.

The model's own estimate of the quality says when, and which answer stays; so an answer never gets a
lower estimate by asking again. That is no proof: of many answers the best estimate is also the
luckiest. docs/prompts.md says what asking again is worth.

    zoom    a window around the object (`zoom`); needs the photo, one encoding
    tile    a window of half the photo around the object; needs the photo, one encoding
    larger  another model, where one is handed in; needs the photo
    shift   the clicks moved a little, the box a little larger and smaller; costs decodings only,
            and as the best of several like answers is mostly lucky, it must be better by `LUCK`

An answer counts only if it obeys as many of the user's own clicks as the one that it replaces and
overlaps it with an IoU of at least `AGREED`: it must be the same object. Time is looked at between
two attempts; one that has begun is finished.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from anymask.base import BoolArray, FloatArray
from anymask.masks import CloserLook, Prompt, mask_iou
from anymask.models.rules import closer_window, object_box
from anymask.segment.prediction import Prediction
from anymask.segment.requests import RetryStep
from anymask.segment.steps import (
    IN_DOUBT,
    Question,
    RetryTime,
    decode_in_window,
    name_violated_clicks,
    restate_answer,
)

SHIFT = 0.12  # of the root of the object's area: how far clicks are moved
SHIFTS = ((1, 0), (-1, 0), (0, 1), (0, -1))
GROWN = (0.05, -0.05, 0.1)  # of the box's sides: how far each is moved outwards
LUCK = 0.1  # of quality, that the answer to a shifted prompt must gain
AGREED = 0.5  # IoU with the answer that is to be replaced


def ask_again(first: Prediction, question: Question) -> Prediction:
    """A step: the best answer that the time allows: the first one, or one of higher quality."""
    return first if question.time is None else best_in_time(question, first, question.time)


def best_in_time(
    question: Question, first: Prediction, time: RetryTime, like: BoolArray | None = None
) -> Prediction:
    """The best answer that the time allows.

    like  of several candidates take the one that is most like this mask (H, W), not the best
    """
    best = first
    attempts = (
        (answer, LUCK if step == "shift" else 0.0)
        for step in time.settings.steps
        for answer in _WAYS[step](question, first, time)
    )
    while time.wants(best.first.score):
        answer, luck = next(attempts, (None, 0.0))
        if answer is None:
            break
        if like is not None:
            answer = most_like(answer, like)
        if _is_better(answer, best, luck):
            best = answer
    return best


def most_like(answer: Prediction, mask: BoolArray) -> Prediction:  # (H, W)
    """The one candidate that overlaps a mask most."""
    return answer.picked([int(mask_iou(answer.masks, mask[None])[:, 0].argmax())])


def _is_better(new: Prediction, old: Prediction, luck: float) -> bool:
    gained = new.first.score > old.first.score + luck
    if not gained or len(new.violated_points) > len(old.violated_points):
        return False
    return agree(new.masks[0], old.masks[0])


def agree(first: BoolArray, second: BoolArray) -> bool:  # (H, W), (H, W)
    """Whether two masks show the same object."""
    return bool(mask_iou(first[None], second[None])[0, 0] >= AGREED)


def _ask_shifted(asked: Question, first: Prediction, _: RetryTime) -> Iterator[Prediction]:
    for answer in asked.ask(asked.embedding, _shift_prompts(asked.prompt, first)):
        yield name_violated_clicks(answer, asked)  # of the prompt as it was


def _shift_prompts(prompt: Prompt, first: Prediction) -> list[Prompt]:
    """Prompts that say nearly the same; none where there is neither a click nor a box."""
    height, width = first.geometry.image_hw
    last = np.array([width - 1, height - 1], np.float32)
    prompts = []
    if prompt.points is not None and prompt.labels is not None and prompt.labels.any():
        reach = max(2.0, SHIFT * float(np.sqrt(first.masks[0].sum())))
        on = (prompt.labels == 1)[:, None]
        for step in SHIFTS:
            moved = np.clip(prompt.points + on * np.multiply(step, reach), 0, last)
            prompts.append(replace(prompt, points=moved.astype(np.float32)))
    elif prompt.box is not None:
        prompts += [replace(prompt, box=_grow(prompt.box, share, last + 1)) for share in GROWN]
    return prompts


def _grow(box: FloatArray, share: float, size: FloatArray) -> FloatArray:  # (4,), (2,)
    sides = (box[2:] - box[:2]) * np.float32(share)
    low, high = np.maximum(box[:2] - sides, 0), np.minimum(box[2:] + sides, size)
    grown: FloatArray = np.concatenate([low, high]).astype(np.float32)
    return grown


def _ask_zoomed(asked: Question, first: Prediction, _: RetryTime) -> Iterator[Prediction]:
    return _in_window(asked, first, IN_DOUBT)


def _ask_tiled(asked: Question, first: Prediction, _: RetryTime) -> Iterator[Prediction]:
    return _in_window(asked, first, replace(IN_DOUBT, min_side=max(first.geometry.image_hw) // 2))


def _in_window(asked: Question, first: Prediction, close: CloserLook) -> Iterator[Prediction]:
    box = None if asked.photo is None else object_box(asked.prompt, first.first.pixels())
    window = box and closer_window(box, first.geometry.image_hw, close)
    if asked.photo is not None and window is not None:
        yield decode_in_window(asked, asked.photo, first, window)


def _ask_larger(asked: Question, first: Prediction, time: RetryTime) -> Iterator[Prediction]:
    larger = time.settings.larger
    if larger is None or asked.photo is None or asked.prompt.kinds - larger.spec.accepts:
        return
    prompt = asked.prompt
    if prompt.mask is not None and prompt.mask.dtype.kind == "f":
        prompt = replace(prompt, mask=first.masks[0])
    answer: Prediction = larger.segment(
        time.seen_by_larger(asked.photo),
        prompts=[prompt],
        multimask=asked.settings.multimask,
        granularity=asked.settings.granularity,
        max_hole_area=asked.settings.max_hole_area,
        min_island_area=asked.settings.min_island_area,
    )[0]
    yield restate_answer(answer, answer.masks, first, asked.prompt)


_WAYS: dict[RetryStep, Callable[[Question, Prediction, RetryTime], Iterator[Prediction]]] = {
    "shift": _ask_shifted,
    "zoom": _ask_zoomed,
    "tile": _ask_tiled,
    "larger": _ask_larger,
}
