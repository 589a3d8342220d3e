"""Boundary IoU: how well the outline fits, whatever the mask's size.

Cheng et al., CVPR 2021: both masks are reduced to the pixels within d of their own border, and the
IoU of what is left is taken; d is 2 % of the photo's diagonal. The border of the photo counts as a
border of the mask, as in the authors' code.

Letters: H W the photo, N masks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from anymask.evaluation.metrics import iou
from anymask.evaluation.protocols import Segmenter, Truth, tight_box
from anymask.primitives.clicks import centre_click
from anymask.primitives.types import BoolArray, Float64Array, Prompt

SHARE = 0.02  # of the diagonal


def boundary_iou(
    prediction: BoolArray, truth: BoolArray, ignore: BoolArray | None = None, share: float = SHARE
) -> float:
    """IoU of the two masks' rims, without the pixels of `ignore`; two empty masks have 1.0.

    share  the rim's width as a share of the diagonal; at least one pixel wide
    """
    width = max(1, round(share * float(np.hypot(*truth.shape))))
    return iou(inner_rim(prediction, width), inner_rim(truth, width), ignore)


def inner_rim(mask: BoolArray, width: int) -> BoolArray:  # (H, W) -> (H, W)
    """The mask's pixels with a pixel outside it within `width` rows and columns."""
    padded = np.pad(mask.astype(np.uint8), 1)
    core = cv2.erode(
        padded, np.ones((3, 3), np.uint8), iterations=width, borderType=cv2.BORDER_CONSTANT,
        borderValue=0,
    )  # fmt: skip
    rim: BoolArray = mask & (core[1:-1, 1:-1] == 0)
    return rim


def click_and_box_rims(
    method: Segmenter, embedding: Any, truths: Sequence[Truth]
) -> dict[str, Float64Array]:  # (N,) each
    """Boundary IoU of the first ranked mask of a click at the centre, and of the mask of the box.

    Keys are the prompts that the method takes: "1 click", "box".
    """
    prompts: dict[str, list[Prompt]] = {}
    if "point" in method.spec.accepts:
        prompts["1 click"] = [Prompt.of(points=[centre_click(truth.mask)]) for truth in truths]
    if "box" in method.spec.accepts:
        prompts["box"] = [Prompt(box=tight_box(truth.mask)) for truth in truths]
    scores = {}
    for name, asked in prompts.items():
        answers = method.segment(embedding, prompts=asked, multimask=name != "box")
        pairs = zip(answers, truths, strict=True)
        values = [boundary_iou(answer.masks[0], one.mask, one.ignore) for answer, one in pairs]
        scores[name] = np.array(values, np.float64)
    return scores
