"""Rival masks: a decoder's further masks in, whether an object's look-alike is there out.

Where the decoder, unsure what is meant, also offers a mask with a part far off the answer, there is
a rival; a frame on which the answer is good all the same is worth remembering.

Source: Videnovic et al. 2024 (DAM4SAM, arXiv:2411.17576); its two numbers.

Letters: T masks, m their side.
"""

from __future__ import annotations

import cv2
import numpy as np

from anymask.primitives.types import BoolArray

RIVAL = 0.7  # the answer's box as a part of the box that holds a rival, too: a smaller one is one
GOOD = 0.8  # predicted IoU of an answer that is worth remembering


def is_distinct(answer: BoolArray, others: BoolArray, quality: float) -> bool:
    """Whether an answer (m, m) of this quality is good, and one of the others (T, m, m) a rival."""
    return quality > GOOD and bool(answer.any()) and nearness(answer, others) < RIVAL


def nearness(answer: BoolArray, others: BoolArray) -> float:
    """The area of the answer's box, as a part of the box that also holds the largest further part
    of the mask that reaches farthest: 1 where no other mask has a part beyond the box."""
    own, least = _box_area(answer), 1.0
    for other in others:
        far = _largest_part(other & ~answer)
        if far.any():
            least = min(least, own / _box_area(answer | far))
    return least


def _largest_part(mask: BoolArray) -> BoolArray:
    count, labels, facts, _ = cv2.connectedComponentsWithStats(mask.view(np.uint8))
    if count < 2:
        return mask
    return np.asarray(labels == 1 + int(facts[1:, cv2.CC_STAT_AREA].argmax()))


def _box_area(mask: BoolArray) -> float:
    _, _, width, height = cv2.boundingRect(mask.view(np.uint8))
    return float(width * height)
