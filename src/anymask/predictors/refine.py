"""Refinement of a given mask: its pixels in; prompts (mask, box, clicks), then a better mask out.

The model cannot judge a mask that it did not make, only its own answers. Let q be the quality of
its best answer, that is its estimate of the answer's IoU with the truth, and a the answer's IoU
with the given mask. Where a >= q the given mask lies closer to the answer than the answer, as the
model sees it, to the truth: there is no ground for a change, and the given mask is kept. Otherwise
the answer replaces it.
"""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from anymask.primitives.boxes import mask_to_box
from anymask.primitives.candidates import Candidates
from anymask.primitives.clicks import centre_click
from anymask.primitives.errors import PromptError
from anymask.primitives.masks import mask_iou
from anymask.primitives.prompts import Prompt
from anymask.primitives.resize import mask_to_model
from anymask.primitives.spec import ModelSpec
from anymask.primitives.types import BoolArray

GIVEN = -1  # in `Candidates.order`: not one of the model's answers but the mask that was given
MAX_CLICKS = 3  # one in each of the largest parts
PART = 0.1  # of the largest part's area: smaller parts get no click


def refining_prompts(mask: BoolArray, spec: ModelSpec) -> list[Prompt]:  # (H, W)
    """What to ask the model about a mask: everything that it says, and its box alone.

    Raises PromptError on an empty mask.
    """
    if not mask.any():
        raise PromptError("a mask to refine needs an object, got an empty mask; click or box one")
    x0, y0, x1, y1 = mask_to_box(mask).tolist()
    box = (x0, y0, x1 + 1, y1 + 1)
    clicks = _part_clicks(mask)
    asked = []
    if "mask" in spec.accepts:
        asked.append(Prompt.of(points=clicks, box=box, mask=mask))
    asked.append(Prompt.of(points=clicks, box=box))
    asked.append(Prompt.of(box=box))
    usable = {"point": "point" in spec.accepts, "box": "box" in spec.accepts}
    if all(usable.values()):
        return asked
    return asked[-1:] if usable["box"] else [Prompt.of(points=clicks)]


def _part_clicks(mask: BoolArray) -> list[tuple[float, float]]:
    """The natural click on each large part of the mask."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(
        np.ascontiguousarray(mask).view(np.uint8), connectivity=8
    )
    areas = stats[1:count, cv2.CC_STAT_AREA]
    largest_first = np.argsort(-areas, kind="stable")[:MAX_CLICKS]
    return [
        centre_click(labels == part + 1)
        for part in largest_first
        if areas[part] >= PART * areas.max()
    ]


def keep_or_replace(mask: BoolArray, answers: list[Candidates]) -> Candidates:
    """The best answer, or the given mask (H, W) where the model has no ground to change it.

    Kept, it is the only candidate, with `GIVEN` as its order and the quality of the answer that
    agrees with it.
    """
    best = max(answers, key=lambda answer: answer.first.quality)
    agreement = float(mask_iou(mask[None], best.masks[:1])[0, 0])
    if agreement < best.first.quality:
        return best
    kept = replace(
        best.first,
        logits=mask_to_model(mask, best.geometry, best.logits.shape[-1])[0],
        order=GIVEN,
    )
    return Candidates((kept.with_pixels(mask),))
