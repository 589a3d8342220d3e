"""A box is answered twice: the second time with the first answer and a click in its middle.

For `nano`, which learned to better its own answers (`training/interaction.py`). A person who sees a
good mask confirms it; here the model does so itself, and what it was unsure of within the box
follows. It costs one more decode.

Letters: N prompts, P points, T masks of the decoder, m the side of a low-resolution mask.
"""

from __future__ import annotations

import numpy as np

from anymask.predictors.central import depths
from anymask.predictors.prompts import NO_POINT, OBJECT
from anymask.primitives.spec import ModelSpec
from anymask.primitives.types import BoolArray, FloatArray, ModelPrompts, Prompt
from anymask.runtimes.answers import choose


def looks_twice(prompt: Prompt, spec: ModelSpec) -> bool:
    """Whether this is a box and nothing else, and the model gains by a second look."""
    bare = prompt.points is None and prompt.mask is None
    return prompt.box is not None and bare and spec.answer == "four"


def confirmed(
    given: ModelPrompts, answer: tuple[FloatArray, FloatArray], spec: ModelSpec
) -> ModelPrompts:
    """N prompts with the masks that answered them, each clicked in its middle: P + 1 points.

    answer  logits (N, T, m, m) and quality (N, T), fed back as the decoder drew them: so it learned
    """
    masks, _ = choose(spec, *answer, multimask=False)
    clicks = [middle(mask[0] > spec.mask_threshold, spec) for mask in masks]
    places = np.array([click or (0.0, 0.0) for click in clicks], np.float32)[:, None]
    labels = np.array([OBJECT if click else NO_POINT for click in clicks], np.int64)[:, None]
    return ModelPrompts(
        np.concatenate([given.coords, places], axis=1),
        np.concatenate([given.labels, labels], axis=1),
        masks,
        np.ones(len(masks), np.float32),
    )


def middle(mask: BoolArray, spec: ModelSpec) -> tuple[float, float] | None:  # (m, m)
    """Where a mask is thickest, x and y in model pixels; None where it is empty."""
    if not mask.any():
        return None
    rounded = np.round(depths(mask), 3)  # equal depths are equal, whatever the steps' order
    y, x = np.unravel_index(int(rounded.argmax()), mask.shape)
    cell = spec.image_side / spec.mask_side
    return (float(x) + 0.5) * cell, (float(y) + 0.5) * cell
