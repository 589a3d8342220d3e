"""Edge maps: masks, a grey photo or regions in, thick or thin edges 0..1 out.

Zero-shot edges as Segment Anything makes them (section 7.2 and appendix D.2): a regular grid of
clicks, all masks of each, no filter by quality or stability, duplicates removed by box suppression;
the Sobel magnitude of every mask's probability map, kept on the mask's outer boundary alone; the
largest value over the masks, scaled to 0..1; non-maximum suppression across the edge (Canny 1986).

Letters: H W the photo, K masks of a click, h w low-resolution masks.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from anymask.base import BoolArray, FloatArray, UintImage
from anymask.evaluation.protocols import NotMeasured, Segmenter, click_masks
from anymask.evaluation.video_metrics import region_borders
from anymask.masks import box_nms, logits_to_image, mask_to_box, point_grid
from anymask.segment import Prediction
from research.paper.edge_levels import THRESHOLDS, thin

EDGE_GRID_SIDE = 16  # the paper's grid
NMS_THRESHOLD = 0.7  # segment-anything's box_nms_thresh; the paper names no other
CANNY_SIGMA = 2.0
CANNY_LOW = 0.4
CANNY_RANGE = 16000.0  # of the slopes, which OpenCV wants as 16-bit numbers
_TENT = np.array([1, 2, 3, 4, 5, 4, 3, 2, 1], np.float64) / 25
_FAINTEST = 1e-3  # what rounding makes of a photo of one colour is less
_TIE = 1.01  # an edge may be this much below its neighbour, so that flat ridges do not vanish

# ------------------------------------------------------------------------------------ from masks


def model_edges(method: Segmenter, image: UintImage) -> FloatArray:  # (H, W, 3) -> (H, W)
    """What a model takes for edges, 0..1, thick; `suppress` makes it thin.

    Raises NotMeasured for a method that takes no clicks or has no logits.
    """
    if "point" not in method.spec.accepts:
        raise NotMeasured("it takes no clicks")
    answers = list(_grid_answers(method, image))
    planes = np.concatenate([answer.logits for answer in answers])
    quality = np.concatenate([answer.scores for answer in answers])
    place, middle = answers[0].geometry, answers[0].threshold
    filled = np.flatnonzero((planes > middle).any(axis=(1, 2)))
    boxes = mask_to_box(planes[filled] > middle)
    kept = filled[box_nms(boxes, quality[filled], NMS_THRESHOLD)]
    return logits_to_edges(
        (logits_to_image(planes[n : n + 1], place)[0] - np.float32(middle) for n in kept),
        place.image_hw,
    )


def _grid_answers(method: Segmenter, image: UintImage) -> Iterator[Prediction]:
    embedding = method.encode(image)
    clicks = point_grid(EDGE_GRID_SIDE) * (image.shape[1], image.shape[0])
    for answer in click_masks(method, embedding, clicks.tolist()):
        if not isinstance(answer, Prediction):
            raise NotMeasured("its answers are masks without logits")
        yield answer


def logits_to_edges(
    planes: Iterable[FloatArray], image_hw: tuple[int, int]
) -> FloatArray:  # (H, W) each -> (H, W)
    """The largest Sobel magnitude of the masks' probabilities on their outer boundaries, 0..1.

    Args:
        planes: Logits in image pixels, object above 0.
    """
    edges = np.zeros(image_hw, np.float32)
    for logits in planes:
        mask = (logits > 0).view(np.uint8)
        x, y, width, height = cv2.boundingRect(mask)
        window = (slice(max(y - 2, 0), y + height + 2), slice(max(x - 2, 0), x + width + 2))
        inside = np.ascontiguousarray(mask[window])
        outer = cv2.dilate(inside, np.ones((3, 3), np.uint8)) - inside
        slope = sobel_magnitude(_sigmoid(logits[window])) * outer
        np.maximum(edges[window], slope, out=edges[window])
    return rescale(edges)


def _sigmoid(logits: FloatArray) -> FloatArray:
    probability: FloatArray = np.float32(1) / (np.float32(1) + np.exp(-logits.clip(-30, 30)))
    return probability


def sobel_magnitude(plane: NDArray[Any]) -> FloatArray:  # (H, W)
    """The length of the gradient by Sobel's 3 x 3 filters."""
    plane = np.ascontiguousarray(plane, np.float32)
    across, down = (cv2.Sobel(plane, cv2.CV_32F, dx, 1 - dx) for dx in (1, 0))
    return np.asarray(cv2.magnitude(across, down), np.float32)


def rescale(edges: FloatArray) -> FloatArray:
    """From 0 to 1; a map without edges stays (nearly) 0."""
    low, high = float(edges.min()), float(edges.max())
    return (edges - np.float32(low)) / np.float32(max(high - low, _FAINTEST))


# ---------------------------------------------------------------------------- without a model


def sobel_edges(image: UintImage) -> FloatArray:  # (H, W, 3) -> (H, W)
    """Sobel magnitude of the grey photo, 0..1."""
    return rescale(sobel_magnitude(_grey(image)))


def canny_edges(image: UintImage) -> FloatArray:  # (H, W, 3) -> (H, W)
    """OpenCV's Canny at every threshold: the highest one at which a pixel is an edge.

    Thresholds are shares of the photo's steepest slope after a Gaussian; an edge goes on down to
    CANNY_LOW of its threshold, as in MATLAB's `edge`.
    """
    smooth = cv2.GaussianBlur(_grey(image), (0, 0), CANNY_SIGMA)
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


def _grey(image: UintImage) -> FloatArray:  # (H, W, 3) -> (H, W)
    grey: FloatArray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32) / np.float32(255)
    return grey


def region_edges(regions: NDArray[Any]) -> BoolArray:  # (H, W) -> (H, W)
    """`region_borders`, one pixel wide."""
    return thin(region_borders(regions))


# ------------------------------------------------------------------------------------ made thin


def suppress(edges: FloatArray) -> FloatArray:  # (H, W) -> (H, W)
    """Zero where a neighbour across the edge is stronger.

    The direction across is that in which the map, smoothed by a tent of 9 pixels, bends most (the
    eigenvector of its Hessian), so that it is defined on top of a ridge as well as on its slopes.
    """
    smooth = cv2.sepFilter2D(edges, cv2.CV_64F, _TENT, _TENT, borderType=cv2.BORDER_REPLICATE)
    dx, dy = _slope(smooth, 1), _slope(smooth, 0)
    dxx, dyy, dxy = _slope(dx, 1), _slope(dy, 0), _slope(dx, 0)
    larger = 0.5 * np.arctan2(2 * dxy, dxx - dyy)  # the larger eigenvalue's direction
    across = larger + np.where(dxx + dyy < 0, np.pi / 2, 0)
    step_x, step_y = (part.astype(np.float32) for part in (np.cos(across), np.sin(across)))
    columns, rows = np.meshgrid(
        np.arange(edges.shape[1], dtype=np.float32), np.arange(edges.shape[0], dtype=np.float32)
    )
    weak = np.zeros(edges.shape, np.bool_)
    for side in (1, -1):
        beside = cv2.remap(
            edges, columns + side * step_x, rows + side * step_y,
            cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE,
        )  # fmt: skip
        weak |= edges * np.float32(_TIE) < beside
    return np.where(weak, np.float32(0), edges)


def _slope(plane: NDArray[Any], axis: int) -> NDArray[np.float64]:  # (H, W)
    """Half the difference of both neighbours along an axis."""
    margin = [(0, 0), (0, 0)]
    margin[axis] = (1, 1)
    wide = np.pad(plane, margin, mode="edge")
    slope: NDArray[np.float64] = (
        (wide[2:] - wide[:-2]) / 2 if axis == 0 else (wide[:, 2:] - wide[:, :-2]) / 2
    )
    return slope
