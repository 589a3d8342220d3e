"""A box says where an object ends: nothing lies off it, and something touches each of its sides.

For `nano`, whose logits near an object's border are soft: the threshold moves until the mask fills
the box, as long as that pays, and what lies off the box is taken away.

Letters: K masks, m the side of a low-resolution mask.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from anymask.primitives.resize import boxes_to_model
from anymask.primitives.spec import Geometry
from anymask.primitives.types import BoolArray, FloatArray

SHIFTS = (0.0, -0.5, 0.5, -1.0, 1.0, -1.5, 1.5, -2.0, -3.0)  # of the threshold, in logits
PRICE = 0.1  # of a shift by one logit, as a part of the box that must be gained
OFF = 2.0  # logits below the threshold, at least, off the box


def fit_to_box(
    logits: FloatArray, box: FloatArray, geometry: Geometry, threshold: float
) -> FloatArray:
    """Logits (K, m, m) that keep to a box (4,), in image pixels, and fill it where they nearly do.

    A mask that has nothing inside the box stays as it is.
    """
    cells = boxes_to_model(box[None], geometry)[0] * (logits.shape[-1] / geometry.side)
    inside, extent = cells_inside(cells, logits.shape[-1])
    fitted = logits.copy()
    for plane, source in zip(fitted, logits, strict=True):
        if not ((source > threshold) & inside).any():
            continue
        gains = [filled((source > threshold + s) & inside, extent) - PRICE * abs(s) for s in SHIFTS]
        shift = SHIFTS[int(np.argmax(gains))]
        plane[:] = np.where(inside, source - shift, np.minimum(source, threshold) - OFF)
    return fitted


def cells_inside(cells: NDArray[np.floating], side: int) -> tuple[BoolArray, float]:
    """The cells (m, m) whose middle lies in a box, or the nearest one; and their number."""
    centres = np.arange(side) + 0.5
    spans = []
    for low, high in ((cells[1], cells[3]), (cells[0], cells[2])):
        span = (centres >= low) & (centres <= high)
        if not span.any():
            span[min(max(int((low + high) / 2), 0), side - 1)] = True
        spans.append(span)
    return np.logical_and.outer(*spans), float(spans[0].sum() * spans[1].sum())


def filled(mask: BoolArray, extent: float) -> float:
    """How much of the box the mask's own box takes, 0..1: (m, m)."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return 0.0
    return float((rows[-1] - rows[0] + 1) * (columns[-1] - columns[0] + 1)) / extent
