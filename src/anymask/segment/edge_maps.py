"""Edge maps from the masks of a grid of clicks.

Zero-shot edges as in Segment Anything (Kirillov et al. 2023, section 7.2 and appendix D.2): a
regular grid of clicks, all masks of each, no filter by quality or stability, duplicates removed by
box suppression; the Sobel magnitude of every mask's probability map, only on the outer boundary of
the mask; the maximum over the masks, scaled to 0..1; non-maximum suppression across the edge (Canny
1986).

Letters: H W the image, K masks of a click, h w low-resolution masks.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from anymask.base import FloatArray, UintImage
from anymask.masks import Prompt, box_nms, logits_to_image, mask_to_box, point_grid
from anymask.segment.model import Model
from anymask.segment.prediction import Prediction

EDGE_GRID = 16  # clicks of a side, as in the paper
CLICK_BATCH_SIZE = 64  # clicks that are decoded together
NMS_THRESHOLD = 0.7  # segment-anything's box_nms_thresh; the paper names no other
_TENT = np.array([1, 2, 3, 4, 5, 4, 3, 2, 1], np.float64) / 25
_FAINTEST = 1e-3  # above the rounding errors of an image of one color
_TIE = 1.01  # an edge may be this much below its neighbour, so that flat ridges do not vanish


def find_edges(model: Model, image: UintImage, grid: int = EDGE_GRID) -> FloatArray:
    """Edge map (H, W) in 0..1 of an image (H, W, 3); `suppress` makes it thin.

    Args:
        grid: Clicks along each side of the image.

    Raises:
        PromptError: The model does not support points.
    """
    features = model.encode(image)
    clicks = point_grid(grid) * (image.shape[1], image.shape[0])
    prompts = [Prompt.of(points=[click], labels=[1]) for click in clicks]
    answers: list[Prediction] = []
    for start in range(0, len(prompts), CLICK_BATCH_SIZE):
        answers += model.segment(features, prompts=prompts[start : start + CLICK_BATCH_SIZE])
    return prediction_edges(answers)


def prediction_edges(answers: Sequence[Prediction]) -> FloatArray:  # -> (H, W)
    """Edge map in 0..1 of all candidates of several predictions for one image."""
    planes = np.concatenate([answer.logits for answer in answers])
    quality = np.concatenate([answer.scores for answer in answers])
    geometry, middle = answers[0].geometry, answers[0].threshold
    filled = np.flatnonzero((planes > middle).any(axis=(1, 2)))
    kept = filled[box_nms(mask_to_box(planes[filled] > middle), quality[filled], NMS_THRESHOLD)]
    return logits_to_edges(
        (logits_to_image(planes[n : n + 1], geometry)[0] - np.float32(middle) for n in kept),
        geometry.image_hw,
    )


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
        probability = 1 / (1 + np.exp(-logits[window].clip(-30, 30)))
        np.maximum(edges[window], sobel_magnitude(probability) * outer, out=edges[window])
    return rescale(edges)


def sobel_magnitude(plane: NDArray[Any]) -> FloatArray:  # (H, W)
    """The length of the gradient by Sobel's 3 x 3 filters."""
    plane = np.ascontiguousarray(plane, np.float32)
    across, down = (cv2.Sobel(plane, cv2.CV_32F, dx, 1 - dx) for dx in (1, 0))
    return np.asarray(cv2.magnitude(across, down), np.float32)


def rescale(edges: FloatArray) -> FloatArray:
    """From 0 to 1; a map without edges stays (nearly) 0."""
    low, high = float(edges.min()), float(edges.max())
    return (edges - np.float32(low)) / np.float32(max(high - low, _FAINTEST))


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
    return (wide[2:] - wide[:-2]) / 2 if axis == 0 else (wide[:, 2:] - wide[:, :-2]) / 2
