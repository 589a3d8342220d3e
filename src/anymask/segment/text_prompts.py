"""Text prompts of `Model.segment`: the best match of `find` becomes a box or a click.

SAM's released decoders have no text encoder. As in Grounded SAM, a detector, a CLIP model or the
model's own names find the object, and its box is the prompt. Points of the same prompt select among
several matches.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from anymask.base import PromptError
from anymask.find import find_words
from anymask.masks import Prompt, center_click, rle_box_xyxy, rle_to_mask, violated_points
from anymask.segment.pipeline import EncodedImage
from anymask.segment.prediction import Prediction, clicks_of

if TYPE_CHECKING:
    from anymask.segment import Model


def ground_words(
    model: Model, view: EncodedImage, prompts: Sequence[Prompt], detector: Any
) -> list[Prompt]:
    """Replace the words of prompts by the box of their best match; others are unchanged.

    Args:
        model: The model.
        view: The image and its embedding.
        prompts: Prompts in image pixels.
        detector: Detector as for `find`, or None for the names of the model.

    Raises:
        PromptError: There is no image, no detector or no match, or a prompt with words also has a
            box or mask. `ground_words` also raises the errors of `find`.
    """
    return [
        prompt if prompt.words is None else _grounded(model, view, prompt, prompt.words, detector)
        for prompt in prompts
    ]


def _grounded(
    model: Model, view: EncodedImage, prompt: Prompt, words: str, detector: Any
) -> Prompt:
    if prompt.box is not None or prompt.mask is not None:
        raise PromptError(
            f"The text prompt {words!r} cannot be combined with a box or mask. Pass one of them, "
            "or text and points."
        )
    if view.image is None:
        raise PromptError(
            "A text prompt requires the image, but only its embedding was passed. Pass the image."
        )
    if detector is None and model.runtime.naming is None:
        raise PromptError(
            f"{model.name} has no text encoder. Pass detector= with a detector or CLIP model, such "
            'as detector="llmdet_tiny" or detector="clip_vit_b32", or use the model small, which '
            "knows the names that `anymask names` lists."
        )
    masks = find_words(model, view.image, [words], detector=detector)
    clicks = clicks_of(prompt)
    chosen = next(
        (mask for mask in masks if not violated_points(rle_to_mask(mask.rle), *clicks)), None
    )
    if chosen is None:
        there = "" if prompt.points is None else " at these points"
        raise PromptError(
            f"No object matches {words!r}{there}. Pass other words, or a point or box."
        )
    if "box" not in model.spec.accepts:
        points = prompt.points
        if points is None:
            points = np.array([center_click(rle_to_mask(chosen.rle))], np.float32)
        return replace(prompt, words=None, points=points)
    x0, y0, x1, y1 = rle_box_xyxy(chosen.rle)
    return replace(prompt, words=None, box=np.array([x0, y0, x1 + 1, y1 + 1], np.float32))


def with_words(answers: Sequence[Prediction], prompts: Sequence[Prompt]) -> list[Prediction]:
    """Set the words of prompts as labels of their masks."""
    named = []
    for answer, prompt in zip(answers, prompts, strict=True):
        if prompt.words is not None:
            items = tuple(replace(mask, label=prompt.words) for mask in answer.items)
            answer = replace(answer, items=items)
        named.append(answer)
    return named
