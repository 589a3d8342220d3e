"""Lift masks to three dimensions: colored points of objects, from one view or by a vote of views.

A pixel with a known depth is one point. With several views, each point of an object is projected to
all views: where no surface hides it, the view votes whether its mask contains the point. A point
with a majority stays, so that errors of single masks are outvoted.

`spread_mask` needs a mask in one view only (the idea of SA3D, Cen et al., NeurIPS 2023): the points
of the masks so far are projected to the nearest view that is left, which gives the prompts there. A
mask that does not agree with the projection is rejected.

Letters: H W a view, n points.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from anymask.base import BoolArray, Floats, UintImage
from anymask_points.views import View

TOLERANCE = 0.02  # default difference between a point and the depth map, as a share of the depth
MAJORITY = 0.5  # more than this share of the views that see a point
AGREEMENT = 0.5  # minimum IoU of a mask with the projection of the points
MIN_VIEWS = 2  # views that must see a point, if there are as many
_FEWEST = 20  # visible points that give prompts
_CLICKS = 3  # points of a prompt

Ask = Callable[[View, Floats, Floats], BoolArray]  # view, points (n, 2), box (4,) -> mask (H, W)


@dataclass(frozen=True, eq=False)
class Lifted:
    """Points of one object.

    Attributes:
        points: Coordinates (n, 3) in meters.
        colors: Red, green and blue (n, 3) uint8.
        share: Share (n,) of the views that see a point whose mask contains it.
    """

    points: Floats
    colors: UintImage
    share: Floats

    @property
    def box(self) -> Floats:
        """Lowest and highest coordinates (2, 3)."""
        return np.stack([self.points.min(axis=0), self.points.max(axis=0)])


def lift_masks(
    views: Sequence[View],
    masks: Mapping[int, BoolArray],
    tolerance: float = TOLERANCE,
    min_views: int = MIN_VIEWS,
) -> Lifted:
    """Back-project masks to 3D points; keep those inside the masks of most views that see them.

    Args:
        views: Views of a scene that does not move.
        masks: Masks (H, W) by the index of the view. Views without a mask do not vote.
        tolerance: Maximum difference between a point and the depth map of a view that sees it, as a
            share of the depth.
        min_views: Views that must see a point, if there are as many.

    Returns:
        The points with a majority of votes, one for each cell of a grid of the size of a pixel.
    """
    points, colors, step = [], [], np.inf
    for number, mask in masks.items():
        view = views[number]
        where = mask & np.isfinite(view.depth) & (view.depth > 0)
        if not where.any():
            continue
        points.append(view.camera.back_project(view.depth)[where])
        colors.append(view.image()[where])
        step = min(step, float(np.median(view.depth[where])) / min(view.camera.focal))
    if not points:
        return Lifted(np.zeros((0, 3)), np.zeros((0, 3), np.uint8), np.zeros(0))
    every, paint = np.concatenate(points), np.concatenate(colors)
    if len(masks) > 1:
        _, first = np.unique(np.floor(every / step).astype(np.int64), axis=0, return_index=True)
        every, paint = every[np.sort(first)], paint[np.sort(first)]
    share, count = _mask_votes(views, masks, every, tolerance)
    kept = (share > MAJORITY) & (count >= min(min_views, len(masks)))
    return Lifted(every[kept], paint[kept], share[kept])


def _mask_votes(
    views: Sequence[View], masks: Mapping[int, BoolArray], points: Floats, tolerance: float
) -> tuple[Floats, Floats]:  # (n,), (n,)
    """Of the views that see each point: the share whose mask contains it, and their number."""
    inside, count = np.zeros(len(points)), np.zeros(len(points))
    for number, mask in masks.items():
        index, visible = views[number].seen(points, tolerance)
        inside += visible & mask.ravel()[index]
        count += visible
    return inside / np.maximum(count, 1), count


def spread_mask(
    views: Sequence[View],
    start: int,
    mask: BoolArray,
    predict: Ask,
    tolerance: float = TOLERANCE,
    agreement: float = AGREEMENT,
) -> dict[int, BoolArray]:
    """Segment an object in all views from its mask in one view.

    Args:
        start: Index of the view of the mask.
        mask: Mask (H, W).
        predict: Function that predicts a mask from points and a box in a view.
        agreement: Minimum IoU of a predicted mask with the projected points.

    Returns:
        Masks by the index of the view. Views that do not see the object, or whose mask does not
        agree, are missing.
    """
    found, left = {start: mask}, set(range(len(views))) - {start}
    places = np.array([one.camera.pose[:3, 3] for one in views])
    while left:
        known = places[list(found)]
        number = min(left, key=lambda one: (np.linalg.norm(known - places[one], axis=1).min(), one))
        left.remove(number)
        points = lift_masks(views, found, tolerance, min_views=1).points
        region = _projected(views[number], points, tolerance)
        if region is None:
            continue
        answer = predict(views[number], *prompts_of(region))
        union = np.count_nonzero(answer | region)
        if union and np.count_nonzero(answer & region) >= agreement * union:
            found[number] = answer
    return found


def _projected(view: View, points: Floats, tolerance: float) -> BoolArray | None:  # (H, W)
    """Region of the visible points of an object, with gaps closed; None if too few are visible."""
    index, visible = view.seen(points, tolerance)
    if np.count_nonzero(visible) < _FEWEST:
        return None
    region = np.zeros(view.depth.shape, np.uint8)
    region.ravel()[index[visible]] = 1
    closed = cv2.morphologyEx(region, cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8))
    return closed > 0


def prompts_of(region: BoolArray) -> tuple[Floats, Floats]:  # (H, W) -> (n, 2), (4,)
    """Points (x, y) far inside a region, and its bounding box."""
    rows, columns = np.nonzero(region)
    box = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1], np.float64)
    depth = cv2.distanceTransform(np.pad(region.astype(np.uint8), 1), cv2.DIST_L2, 5)[1:-1, 1:-1]
    deepest, points = depth.max(), []
    for _ in range(_CLICKS):
        y, x = np.unravel_index(depth.argmax(), depth.shape)
        if depth[y, x] < deepest / 2:
            break
        points.append((x + 0.5, y + 0.5))
        cv2.circle(depth, (int(x), int(y)), max(1, int(2 * deepest)), 0, -1)
    return np.array(points, np.float64), box
