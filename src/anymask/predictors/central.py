"""How deep the cells of a mask lie in it: people click the middle of what they mean.

Letters: h w the cells of a mask.
"""

from __future__ import annotations

import cv2
import numpy as np

from anymask.primitives.types import BoolArray, FloatArray


def depths(mask: BoolArray) -> FloatArray:  # (h, w) -> (h, w)
    """How far each cell lies from the mask's edge, in cells; the border of the grid is an edge."""
    padded = np.pad(mask.astype(np.uint8), 1)
    depth = cv2.distanceTransform(padded, cv2.DIST_L2, cv2.DIST_MASK_5)
    inner: FloatArray = depth[1:-1, 1:-1].astype(np.float32, copy=False)
    return inner
