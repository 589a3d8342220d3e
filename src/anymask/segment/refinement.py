"""Prompts that refine a given mask: clicks, a box and the mask itself."""

from __future__ import annotations

import cv2
import numpy as np

from anymask.base import BoolArray, PromptError
from anymask.masks import ModelSpec, Prompt, centre_click, open_box

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
    prompts = [Prompt.of(points=clicks, box=box), Prompt.of(box=box)]
    if "mask" in spec.accepts:
        prompts.insert(0, Prompt.of(points=clicks, box=box, mask=mask))
    return prompts
