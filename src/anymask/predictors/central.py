"""People click the middle of what they mean: the click lies deeper inside the mask that is meant.

For `nano`, whose own quality does not see it. A mask loses quality as the lone click comes near its
edge; on photos that it never saw this both ranks the masks better and brings the quality nearer to
the true IoU (`anymask eval ... --measure calibration`).

Letters: T masks of the decoder, m the side of a low-resolution mask.
"""

from __future__ import annotations

import cv2
import numpy as np

from anymask.primitives.spec import ModelSpec
from anymask.primitives.types import BoolArray, FloatArray

EDGE_COST = 0.4  # of quality, for a click on the very edge of a mask


def central_quality(
    quality: FloatArray, logits: FloatArray, click: FloatArray, spec: ModelSpec
) -> FloatArray:  # (T,), (T, m, m), (2,) in model pixels -> (T,)
    """The quality of the masks of one lone click."""
    x, y = np.clip(click * (spec.mask_side / spec.image_side), 0, spec.mask_side - 1).astype(int)
    depths = [click_depth(mask, (x, y)) for mask in logits > spec.mask_threshold]
    edgy = 1 - np.array(depths, np.float32)
    lowered: FloatArray = np.maximum(quality - np.float32(EDGE_COST) * edgy, np.float32(0))
    return lowered


def click_depth(mask: BoolArray, cell: tuple[int, int]) -> float:  # (m, m) -> 0..1
    """How deep a cell lies inside a mask, as a part of the mask's deepest place; 0 off it."""
    x, y = cell
    if not mask[y, x]:
        return 0.0
    depth = depths(mask)
    return float(depth[y, x] / depth.max())


def depths(mask: BoolArray) -> FloatArray:  # (m, m) -> (m, m)
    """How far each cell lies from the mask's edge, in cells; the border of the grid is an edge."""
    padded = np.pad(mask.astype(np.uint8), 1)
    depth = cv2.distanceTransform(padded, cv2.DIST_L2, cv2.DIST_MASK_5)
    inner: FloatArray = depth[1:-1, 1:-1].astype(np.float32, copy=False)
    return inner
