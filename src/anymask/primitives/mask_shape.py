"""Shape of one mask: run-lengths in, area, box, hull, parts, holes and centre out.

Only the mask's own box is ever decoded, so a small mask costs little on a large photo. Letters: H W
the photo.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from anymask.primitives.rle import Rle
from anymask.primitives.rle_windows import column_runs, rle_crop
from anymask.primitives.types import BoolArray, IntArray

PixelBox = tuple[int, int, int, int]


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
    box_xyxy: PixelBox = (0, 0, 0, 0)
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
    parts, holes = _regions(rle_crop(rle)[0])
    return MaskShape(
        area=area,
        box_xyxy=box,
        hull=_hull_area(columns, tops, bottoms),
        parts=parts,
        holes=holes,
        centre=(centre_x, centre_y),
    )


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
