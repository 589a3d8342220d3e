"""Box areas, overlaps, conversions and suppression.

Letters: N M boxes. A box is (x0, y0, x1, y1) in pixels unless the name contains xywh; its area is
(x1 - x0) * (y1 - y0), as in the detection literature, also for boxes of masks, which name the first
and the last pixel (segment-anything's convention).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from anymask.base import BoolArray, FloatArray, Floats, InputError, IntArray


def box_area(boxes: ArrayLike) -> Floats:  # (N, 4) -> (N,)
    """Width times height; negative sides count as 0."""
    boxes = _boxes(boxes)
    sides = np.maximum(boxes[:, 2:] - boxes[:, :2], 0)
    return sides[:, 0] * sides[:, 1]


def _boxes(boxes: ArrayLike) -> Floats:
    """float64 (N, 4); an empty list becomes (0, 4)."""
    array = np.asarray(boxes, np.float64)
    if array.size == 0:
        return array.reshape(0, 4)
    if array.ndim != 2 or array.shape[1] != 4:
        raise InputError(
            f"Invalid boxes of shape {array.shape}. Expected (N, 4). Pass a single box as [[x0, "
            "y0, x1, y1]]."
        )
    return array


def pairwise_box_iou(first: ArrayLike, second: ArrayLike) -> Floats:  # (N, 4), (M, 4) -> (N, M)
    """Intersection over union of every pair of xyxy boxes; 0 if both have no area."""
    a, b = _boxes(first), _boxes(second)
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    sides = np.maximum(high - low, 0)
    common = sides[..., 0] * sides[..., 1]
    union = box_area(a)[:, None] + box_area(b)[None, :] - common
    return np.asarray(np.divide(common, union, out=np.zeros_like(common), where=union > 0))


def mask_to_box(masks: NDArray[Any]) -> FloatArray:  # (N, H, W) or (H, W) -> (N, 4) or (4,)
    """First and last object pixel along x and y, both inclusive; zeros for an empty mask.

    The convention of segment-anything's `batched_mask_to_box` (utils/amg.py).
    """
    if masks.ndim == 2:
        return np.asarray(mask_to_box(masks[None])[0])
    count, height, width = masks.shape
    boxes = np.zeros((count, 4), np.float32)
    if not masks.size:
        return boxes
    columns: BoolArray = np.any(masks, axis=1)
    rows: BoolArray = np.any(masks, axis=2)
    boxes[:, 0], boxes[:, 1] = columns.argmax(axis=1), rows.argmax(axis=1)
    boxes[:, 2] = width - 1 - columns[:, ::-1].argmax(axis=1)
    boxes[:, 3] = height - 1 - rows[:, ::-1].argmax(axis=1)
    boxes[~np.any(rows, axis=1)] = 0
    return boxes


def open_box(mask: BoolArray) -> tuple[float, float, float, float]:  # (H, W)
    """Prompt box (x0, y0, x1, y1) around a non-empty mask; x1 and y1 are exclusive."""
    x0, y0, x1, y1 = mask_to_box(mask).tolist()
    return x0, y0, x1 + 1, y1 + 1


def box_nms(boxes: ArrayLike, scores: ArrayLike, threshold: float) -> IntArray:
    """Non-maximum suppression by box IoU: kept indices, best score first.

    Args:
        boxes: Boxes (N, 4).
        scores: Scores (N,). Ties keep their order.
        threshold: Maximum IoU with a kept box.
    """
    boxes = _boxes(boxes)
    order = np.argsort(-np.asarray(scores, np.float64), kind="stable")
    kept: list[int] = []
    while len(order):
        best, order = int(order[0]), order[1:]
        kept.append(best)
        order = order[pairwise_box_iou(boxes[best : best + 1], boxes[order])[0] <= threshold]
    return np.array(kept, np.int64)


def boxes_at_crop_edge(
    boxes: ArrayLike, crop_box_xyxy: ArrayLike, image_hw: tuple[int, int], tolerance: float = 20.0
) -> BoolArray:  # (N, 4), (4,) -> (N,)
    """Whether each box touches a crop border that is not an image border.

    Such an object is probably truncated. Boxes, crop and `tolerance` are in image pixels, as in
    `is_box_near_crop_edge` of segment-anything (utils/amg.py).
    """
    boxes, crop = _boxes(boxes), np.asarray(crop_box_xyxy, np.float64)
    height, width = image_hw
    image = np.array([0, 0, width, height], np.float64)
    at_crop = np.abs(boxes - crop) <= tolerance
    at_image = np.abs(boxes - image) <= tolerance
    return np.asarray(np.any(at_crop & ~at_image, axis=1))
