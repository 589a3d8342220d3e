"""Appearance vectors of objects, to recognize an object on another frame.

Letters: G cells of a frame, C values of a vector.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from anymask.base import FloatArray, UintImage
from anymask.masks import Rle, rle_to_mask
from anymask.track.matching import CellKeys, soft_to_labels

MIN_COSINE = 0.75  # minimum cosine similarity of two appearances of one object
MAX_APPEARANCES = 5  # number of latest appearances kept per object
HISTOGRAM_BIN = 16  # width of a color histogram bin


def appearance(keys: CellKeys, image: UintImage, rle: Rle) -> FloatArray:  # -> (C,)
    """Appearance vector of an object, of unit length.

    It joins the encoder features under the mask and a color histogram: features separate an object
    from the background, but barely separate colors.
    """
    share: FloatArray = soft_to_labels(rle_to_mask(rle).astype(np.float32), keys.grid_hw)  # (G,)
    if share.max(initial=0) > 0.5:  # cells at the border include background
        share = np.asarray(share * (share > 0.5), np.float32)
    total = share @ keys.values
    joined = np.concatenate([total / (np.linalg.norm(total) + 1e-6), color_histogram(image, rle)])
    return np.asarray(joined / np.sqrt(2), np.float32)


def color_histogram(image: UintImage, rle: Rle) -> FloatArray:  # -> (C,)
    """Square roots of the smoothed color histograms of an object in CIELAB, of unit length."""
    colors = cv2.cvtColor(image[rle_to_mask(rle)][None], cv2.COLOR_RGB2LAB)[0]
    sums = [np.bincount(row // HISTOGRAM_BIN, minlength=256 // HISTOGRAM_BIN) for row in colors.T]
    counts = np.pad(np.stack(sums).astype(np.float32), ((0, 0), (1, 1)), "edge")
    counts = counts[:, :-2] + counts[:, 1:-1] + counts[:, 2:]  # smooth over neighboring bins
    roots = np.sqrt(counts).ravel()
    return np.asarray(roots / (np.linalg.norm(roots) + 1e-6), np.float32)


def similarity(look: FloatArray, others: Sequence[FloatArray]) -> float:
    """Highest cosine similarity of a vector to one of the others; -1 without others."""
    return max((float(look @ other) for other in others), default=-1.0)
