"""How bright masks are: a picture's own numbers in, a row of measurements for each mask out.

The background is the median of the pixels that lie under none of the masks, channel by channel.

Letters: N masks, H W the picture, C its channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anymask.base import FloatArray
from anymask.masks.rle import Rle
from anymask.masks.rle_windows import rle_crop

BRIGHTNESS = ("mean", "sum", "min", "max", "background", "net_mean", "net_sum")


def measure_brightness(rles: Sequence[Rle], values: NDArray[Any]) -> FloatArray:
    """The numbers `BRIGHTNESS` of each mask in each channel: (N, C, 7) float64.

    rles    N masks of (H, W)
    values  (H, W, C) of any number type

    The net numbers are those less the background: net_sum is what microscopists call corrected
    total fluorescence. An empty mask has NaN; where the masks leave no background, its three do.
    """
    found = np.full((len(rles), values.shape[2], len(BRIGHTNESS)), np.nan)
    covered = np.zeros(values.shape[:2], np.bool_)
    for row, rle in zip(found, rles, strict=True):
        inside, (x0, y0, x1, y1) = rle_crop(rle)
        if not inside.any():
            continue
        covered[y0:y1, x0:x1] |= inside
        pixels = values[y0:y1, x0:x1][inside].astype(np.float64)  # (K, C)
        row[:, :4] = np.stack(
            [pixels.mean(axis=0), pixels.sum(axis=0), pixels.min(axis=0), pixels.max(axis=0)],
            axis=1,
        )
        row[:, 6] = len(pixels)
    if covered.all():
        found[..., 4:] = np.nan
        return found
    found[..., 4] = np.median(values[~covered], axis=0)
    found[..., 5] = found[..., 0] - found[..., 4]
    found[..., 6] = found[..., 1] - found[..., 6] * found[..., 4]
    found[np.isnan(found[..., 0])] = np.nan
    return found
