"""Point tracking: a mask in, points spread over it out; points and flow in, moved points out.

Letters: h w the reduced frame, P points x, y.
"""

from __future__ import annotations

import cv2
import numpy as np

from anymask.primitives.types import FloatArray


def spread_points(soft: FloatArray, count: int) -> FloatArray:  # (h, w) -> (P, 2)
    """At most `count` points: the deepest, then each far from those before and the outline."""
    if not count:
        return np.zeros((0, 2), np.float32)
    inside = np.pad((soft > 0.5).astype(np.uint8), 1)
    depth = np.asarray(cv2.distanceTransform(inside, cv2.DIST_L2, 3))[1:-1, 1:-1]
    rows, columns = np.nonzero(depth)
    if not len(rows):
        return np.zeros((0, 2), np.float32)
    cells = np.stack([columns, rows], axis=1).astype(np.float32)
    far = depth[rows, columns]
    chosen = [int(far.argmax())]
    while len(chosen) < min(count, len(cells)):
        distance = np.linalg.norm(cells - cells[chosen[-1]], axis=1)
        far = np.minimum(far, distance) if len(chosen) > 1 else np.minimum(2 * far, distance)
        chosen.append(int(far.argmax()))
    return cells[list(dict.fromkeys(chosen))]


def move_points(
    points: FloatArray, flow: FloatArray, hw: tuple[int, ...]
) -> FloatArray:  # (P, 2), (h, w, 2) -> (P', 2)
    """Points where the flow from their frame to the next brings them, without those outside."""
    if not len(points) or flow.shape[:2] != tuple(hw):
        return points
    columns, rows = points.round().astype(int).T
    moved = points + flow[rows, columns]
    inside = (moved >= 0).all(axis=1) & (moved < np.array([hw[1], hw[0]])).all(axis=1)
    return np.asarray(moved[inside], np.float32)
