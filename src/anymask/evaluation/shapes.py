"""What one mask looks like, measured on its run-lengths: size, place, hull, parts, holes.

Only the mask's own box is ever decoded, so a small mask costs little on a large photo. Letters: H W
the photo, h w the box, R runs.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from anymask.primitives.rle import Rle, rle_runs
from anymask.primitives.types import BoolArray, IntArray

Box = tuple[int, int, int, int]


@dataclass(frozen=True, kw_only=True)
class MaskShape:
    """One mask in numbers; all are zero for an empty one.

    area      object pixels
    box_xyxy  pixel borders: x1 and y1 are one past the last pixel
    hull      square pixels of the convex hull of the pixels' squares
    parts     8-connected regions
    holes     4-connected regions of background that the object encloses
    centre    (x, y), the mean of the pixels' centres
    """

    area: int = 0
    box_xyxy: Box = (0, 0, 0, 0)
    hull: float = 0.0
    parts: int = 0
    holes: int = 0
    centre: tuple[float, float] = (0.0, 0.0)

    @property
    def concavity(self) -> float:
        """1 - area / area of the convex hull, 0..1 (Segment Anything, section 5)."""
        return 1 - self.area / self.hull if self.hull else 0.0


def measure_shape(rle: Rle) -> MaskShape:
    """Measure one mask."""
    columns, tops, bottoms = column_runs(rle)
    if not len(columns):
        return MaskShape()
    lengths = bottoms - tops
    area = int(lengths.sum())
    box = (int(columns[0]), int(tops.min()), int(columns[-1]) + 1, int(bottoms.max()))
    centre_x = float((lengths * (columns + 0.5)).sum() / area)
    centre_y = float((lengths * (tops + bottoms) / 2).sum() / area)
    parts, holes = _regions(_filled(columns, tops, bottoms, box))
    return MaskShape(
        area=area,
        box_xyxy=box,
        hull=_hull_area(columns, tops, bottoms),
        parts=parts,
        holes=holes,
        centre=(centre_x, centre_y),
    )


def column_runs(rle: Rle) -> tuple[IntArray, IntArray, IntArray]:
    """Every run cut at the columns' ends: its column, first row and one past its last row, (R,)."""
    starts, ends = rle_runs(rle)
    height = max(rle.size[0], 1)
    first = starts // height
    spans = (ends - 1) // height - first + 1
    run = np.repeat(np.arange(len(starts)), spans)
    columns = first[run] + np.arange(len(run)) - np.repeat(np.cumsum(spans) - spans, spans)
    tops = np.maximum(starts[run] - columns * height, 0)
    bottoms = np.minimum(ends[run] - columns * height, height)
    return columns, tops, bottoms


def mask_window(rle: Rle) -> tuple[BoolArray, Box]:
    """The pixels inside the mask's box (h, w), and the box; (0, 0) pixels of an empty mask."""
    columns, tops, bottoms = column_runs(rle)
    if not len(columns):
        return np.zeros((0, 0), np.bool_), (0, 0, 0, 0)
    box = (int(columns[0]), int(tops.min()), int(columns[-1]) + 1, int(bottoms.max()))
    return _filled(columns, tops, bottoms, box), box


def _filled(columns: IntArray, tops: IntArray, bottoms: IntArray, box: Box) -> BoolArray:
    x0, y0, x1, y1 = box
    changes = np.zeros((x1 - x0, y1 - y0 + 1), np.int8)  # runs of a column never touch
    changes[columns - x0, tops - y0] = 1
    changes[columns - x0, bottoms - y0] = -1
    inside = np.cumsum(changes[:, :-1], axis=1, dtype=np.int8)
    return np.ascontiguousarray(inside.T).view(np.bool_)


def _hull_area(columns: IntArray, tops: IntArray, bottoms: IntArray) -> float:
    """Only a column's first and last pixel can touch the hull; their squares' corners make it."""
    first = np.flatnonzero(np.diff(columns, prepend=-1))
    x = columns[first]
    top, bottom = np.minimum.reduceat(tops, first), np.maximum.reduceat(bottoms, first)
    rows = np.concatenate([top, top, bottom, bottom])
    corners = np.stack([np.concatenate([x, x + 1, x, x + 1]), rows], axis=1)
    hull = cv2.convexHull(corners.astype(np.int32))
    return float(cv2.contourArea(hull))


def _regions(window: BoolArray) -> tuple[int, int]:
    """Parts and holes of the pixels in a box."""
    inside = np.pad(window, 1).view(np.uint8)
    parts = cv2.connectedComponents(inside, connectivity=8)[0] - 1
    holes = cv2.connectedComponents(1 - inside, connectivity=4)[0] - 2  # less the ground around
    return parts, holes
