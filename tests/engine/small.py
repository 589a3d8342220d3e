"""Small masks for small photos."""

import numpy as np

from anymask.primitives.rle import Rle, mask_to_rle


def small_mask(columns: int) -> Rle:
    """The first columns of a 6 x 8 photo."""
    mask = np.zeros((6, 8), np.bool_)
    mask[:, :columns] = True
    return mask_to_rle(mask)
