"""Object masks of SAM 2's families: a decoder's logits in, filled masks and numbers out.

Source of the rules: sam2 (Apache-2.0), `modeling/sam2_base.py` and `sam2_video_predictor.py`.

Letters: m side of a mask.
"""

from __future__ import annotations

import numpy as np

from anymask.primitives.masks import remove_small_regions
from anymask.primitives.types import FloatArray

ABSENT = -1024.0  # every logit of an object that is not there
FILLED = 0.1  # the logit of a filled hole
OVERLAPPED = -10.0  # the largest logit where another object is likelier
SURE = 10.0  # the logit of a pixel of a mask that a person gave
MASK_LIMIT = 32.0  # logits that are fed back are cut here, as the reference does


def fill_plane(plane: FloatArray, largest: int) -> FloatArray:  # (m, m) -> (m, m)
    """Background regions of at most `largest` cells become object."""
    mask, changed = remove_small_regions(plane > 0, largest + 1, "holes")
    if not changed:
        return plane
    return np.where(np.asarray(mask) & (plane <= 0), np.float32(FILLED), plane)
