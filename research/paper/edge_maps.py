"""Edge maps for the benchmark: of a model's masks, of a gray image without a model, of regions.

The edges of masks are those of `anymask edges` (`segment/edge_maps.py`).

Letters: H W the photo.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from anymask.base import BoolArray, FloatArray, UintImage
from anymask.evaluation.protocols import NotMeasured, Segmenter, click_masks
from anymask.evaluation.video_metrics import region_borders
from anymask.masks import point_grid
from anymask.segment import Prediction
from anymask.segment.edge_maps import EDGE_GRID, prediction_edges, rescale, sobel_magnitude
from research.paper.edge_levels import THRESHOLDS, thin

CANNY_SIGMA = 2.0
CANNY_LOW = 0.4
CANNY_RANGE = 16000.0  # of the slopes, which OpenCV wants as 16-bit numbers
_FAINTEST = 1e-3  # what rounding makes of a photo of one colour is less


def model_edges(method: Segmenter, image: UintImage) -> FloatArray:  # (H, W, 3) -> (H, W)
    """What a model takes for edges, 0..1, thick; `suppress` makes it thin.

    Raises NotMeasured for a method that takes no clicks or has no logits.
    """
    if "point" not in method.spec.accepts:
        raise NotMeasured("it takes no clicks")
    clicks = point_grid(EDGE_GRID) * (image.shape[1], image.shape[0])
    answers: list[Prediction] = []
    for answer in click_masks(method, method.encode(image), clicks.tolist()):
        if not isinstance(answer, Prediction):
            raise NotMeasured("its answers are masks without logits")
        answers.append(answer)
    return prediction_edges(answers)


def sobel_edges(image: UintImage) -> FloatArray:  # (H, W, 3) -> (H, W)
    """Sobel magnitude of the grey photo, 0..1."""
    return rescale(sobel_magnitude(_gray(image)))


def canny_edges(image: UintImage) -> FloatArray:  # (H, W, 3) -> (H, W)
    """OpenCV's Canny at every threshold: the highest one at which a pixel is an edge.

    Thresholds are shares of the photo's steepest slope after a Gaussian; an edge goes on down to
    CANNY_LOW of its threshold, as in MATLAB's `edge`.
    """
    smooth = cv2.GaussianBlur(_gray(image), (0, 0), CANNY_SIGMA)
    slopes = [cv2.Sobel(smooth, cv2.CV_32F, *along) for along in ((1, 0), (0, 1))]
    steepest = float(np.hypot(*slopes).max())
    found = np.zeros(smooth.shape, np.float32)
    if steepest < _FAINTEST:
        return found
    scale = CANNY_RANGE / steepest
    dx, dy = (np.round(slope * scale).astype(np.int16) for slope in slopes)
    for level in THRESHOLDS:
        high = level * CANNY_RANGE
        there = cv2.Canny(dx, dy, CANNY_LOW * high, high, L2gradient=True) > 0
        found[there] = np.nextafter(np.float32(level), np.float32(1))
    return found


def _gray(image: UintImage) -> FloatArray:  # (H, W, 3) -> (H, W)
    gray: FloatArray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32) / np.float32(255)
    return gray


def region_edges(regions: NDArray[Any]) -> BoolArray:  # (H, W) -> (H, W)
    """`region_borders`, one pixel wide."""
    return thin(region_borders(regions))
