"""Rules that several families share: which prompts are ambiguous, and order by quality.

At run time this file and those of the families import numpy and OpenCV alone: an exported bundle
carries them (`export.example`).
Letters: N prompts, P points, K candidates, m the side of a mask.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from anymask.families.family import Decode, Multimask, Ordered
    from anymask.primitives.types import FloatArray, ModelPrompts

NO_POINT, POSITIVE, CORNERS = -1, 1, (2, 3)  # values of ModelPrompts.labels


def lone_clicks(prompts: ModelPrompts) -> list[bool]:
    """Which prompts are one positive click and nothing else: the ambiguous case."""
    labels = prompts.labels
    single = ((labels == POSITIVE).sum(axis=1) == 1) & ((labels >= 0).sum(axis=1) == 1)
    alone: list[bool] = (single & (prompts.has_mask == 0)).tolist()
    return alone


def wants_many(prompts: ModelPrompts, multimask: Multimask) -> list[bool]:
    """Which prompts are answered with several candidates."""
    if multimask == "auto":
        return lone_clicks(prompts)
    return [bool(multimask)] * len(prompts.labels)


def by_quality(logits: FloatArray, quality: FloatArray) -> Ordered:  # (K, m, m), (K,)
    """The candidates with the highest quality first; equal ones stay in their order."""
    return in_order(logits, quality, np.argsort(-quality, kind="stable"))


def in_order(logits: FloatArray, quality: FloatArray, order: Any) -> Ordered:
    """The candidates in a given order."""
    places = np.asarray(order, np.int64)
    return logits[places], quality[places], places


def split_choice(
    family: Any, decode: Decode, prompts: ModelPrompts, multimask: Multimask
) -> list[Ordered]:
    """The answer of a family whose masks are chosen by `candidates` or `single`, and no more."""
    logits, quality = decode(prompts)
    answers = []
    for row, many in enumerate(wants_many(prompts, multimask)):
        pick = family.candidates if many else family.single
        masks, numbers = pick(logits[row : row + 1], quality[row : row + 1])
        answers.append(by_quality(masks[0], numbers[0]))
    return answers
