"""Which of several masks to show first, when any of them may be meant: the least risk.

The quality says how likely each mask is the one that is meant. A mask that overlaps the other
likely ones is a good answer whichever is right; one that stands alone is right or wholly wrong. So
each is worth the IoU that it can be expected to have.

For `nano`, after `central.py`; chosen on photos that it learned from (`anymask eval ... --measure
calibration` measures it on others).

Letters: K masks, m the side of a low-resolution mask.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from anymask.primitives.masks import mask_iou
from anymask.primitives.types import BoolArray, FloatArray

DOUBT = 0.1  # of quality: masks that differ by less may each be the one that is meant


def expected_quality(
    quality: FloatArray, logits: FloatArray, threshold: float
) -> FloatArray:  # (K,), (K, m, m) -> (K,)
    """The IoU that each mask may be expected to have; the best keeps the best quality."""
    best = quality.max()
    if best <= 0:
        return quality
    chances = np.exp((quality - best) / np.float32(DOUBT))
    expected = overlaps(logits > threshold) @ (chances / chances.sum() * quality)
    scaled: FloatArray = (expected * (best / max(expected.max(), 1e-6))).astype(np.float32)
    return scaled


def overlaps(masks: BoolArray) -> NDArray[np.float64]:  # (K, m, m) -> (K, K)
    """The IoU of every two masks; 1 for a mask with itself, also an empty one."""
    iou = mask_iou(masks, masks)
    np.fill_diagonal(iou, 1)
    return iou
