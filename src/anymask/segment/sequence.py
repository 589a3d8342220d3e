"""Plan the decoding steps of a prompt: click by click, from a prediction, or to refine a mask.

Letters: N prompts, m the side of a low-resolution mask, H W the image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np

from anymask.base import BoolArray, PromptError
from anymask.masks import (
    MAX_STEPS,
    Geometry,
    ModelSpec,
    Prompt,
    centre_click,
    click_steps,
    open_box,
)
from anymask.models.rules import Family
from anymask.segment.prediction import Prediction, Previous
from anymask.segment.settings import SegmentSettings


def previous_list(previous: Previous, prompts: Sequence[Prompt]) -> list[Prediction | None]:
    """Previous prediction of each of N prompts. Raises PromptError if the number differs."""
    if previous is None:
        return [None] * len(prompts)
    given: object = [previous] if isinstance(previous, Prediction) else previous
    if not isinstance(given, list | tuple) or any(
        one is not None and not isinstance(one, Prediction) for one in given
    ):
        raise PromptError(
            "Invalid previous. Expected a prediction, or a list of predictions and None, got "
            f"{str(previous)[:60]!r}."
        )
    several: list[Prediction | None] = [*given]
    if len(several) != len(prompts):
        raise PromptError(
            f"{len(prompts)} prompts were passed with {len(several)} previous "
            "predictions. Pass one previous prediction for each prompt, or None for a "
            "prompt without one."
        )
    return several


def plan_steps(
    prompt: Prompt,
    previous: Prediction | None,
    family: Family,
    settings: SegmentSettings,
    place: Geometry,
) -> list[Prompt]:
    """Prompts to decode one after the other, each with the logits of the one before.

    A family that was trained to correct its own masks decodes clicks one by one; other families
    decode all new clicks at once. Raises PromptError if the previous prediction does not match.
    """
    answered = 0
    if previous is not None:
        answered = _check_previous(prompt, previous, family, place)
        if _is_about_an_object(previous.prompt):
            prompt = replace(prompt, mask=previous.logits[0])
        else:
            answered = 0
    points, labels = prompt.points, prompt.labels
    if points is None or labels is None or settings.multimask != "auto" or not family.stepwise:
        return [prompt]
    alone = prompt.box is None and prompt.mask is None
    steps = click_steps(labels.tolist(), answered, alone=alone)
    return [replace(prompt, points=points[some], labels=labels[some]) for some in steps]


def count_steps(clicks: int) -> int:
    """Maximum number of decoder calls of a prompt with this number of clicks."""
    return min(max(clicks, 1), MAX_STEPS)


def _is_about_an_object(prompt: Prompt | None) -> bool:
    """Whether the prediction for this prompt can be corrected: not for background clicks only."""
    return prompt is None or prompt.kinds != {"negative_point"}


def _check_previous(prompt: Prompt, previous: Prediction, family: Family, place: Geometry) -> int:
    """Number of clicks that a previous prediction includes. Raises PromptError if it differs."""
    spec = family.spec
    if "mask" not in spec.accepts:
        raise PromptError(
            f"{spec.name} does not support previous=, because it does not support mask "
            "prompts. Omit previous=."
        )
    if prompt.mask is not None:
        raise PromptError(
            "Options mask= and previous= cannot be combined, because both set "
            "the mask to refine. Pass one of them."
        )
    side = spec.mask_side
    if previous.geometry != place or previous.logits.shape[1:] != (side, side):
        (height, width), (rows, columns) = previous.geometry.image_hw, place.image_hw
        raise PromptError(
            "The previous prediction belongs to another image or model: it has "
            f"{width} x {height} pixels, and this image has {columns} x {rows}. Pass a "
            "prediction for this image by this model."
        )
    before = previous.prompt
    if before is None or before.points is None or before.labels is None:
        return 0
    count = len(before.points)
    given = (0 if prompt.points is None else len(prompt.points)) >= count
    if (
        not given
        or not np.array_equal(prompt.points[:count], before.points)  # type: ignore[index]
        or not np.array_equal(prompt.labels[:count], before.labels)  # type: ignore[index]
    ):
        raise PromptError(
            f"The {count} points of the previous prediction must come first in "
            "points=. Pass all points, the earlier ones first, or omit previous=."
        )
    return count


# Refinement of a given mask.

GIVEN = -1  # in `Prediction.order`: the given mask, not a prediction
MAX_CLICKS = 3  # one in each of the largest parts
PART = 0.1  # of the largest part's area: smaller parts get no click


def refining_prompts(mask: BoolArray, spec: ModelSpec) -> list[Prompt]:  # (H, W)
    """Prompts to refine a mask: clicks, box and mask together, clicks and box, and only the box.

    Raises PromptError if the mask is empty.
    """
    if not mask.any():
        raise PromptError(
            "The mask to refine is empty. Pass a point, a box or a mask that is not empty."
        )
    box = open_box(mask)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(
        np.ascontiguousarray(mask).view(np.uint8), connectivity=8
    )
    areas = stats[1:count, cv2.CC_STAT_AREA]
    largest = np.argsort(-areas, kind="stable")[:MAX_CLICKS]
    parts = [part for part in largest if areas[part] >= PART * areas.max()]
    clicks = [centre_click(labels == part + 1) for part in parts]
    if "box" not in spec.accepts:
        return [Prompt.of(points=clicks)]
    if "point" not in spec.accepts:
        return [Prompt.of(box=box)]
    asked = [Prompt.of(points=clicks, box=box), Prompt.of(box=box)]
    if "mask" in spec.accepts:
        asked.insert(0, Prompt.of(points=clicks, box=box, mask=mask))
    return asked
