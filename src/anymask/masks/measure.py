"""Measurements of masks: shape, outline and ellipse of each, and tables of them as CSV.

Only the mask's own box is ever decoded, so a small mask costs little on a large photo. All lengths
are in pixels of the photo, areas in square pixels. A centre is in pixel-border coordinates, as
clicks are: the middle of the first pixel is (0.5, 0.5).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from anymask.base import BoolArray, FloatArray, IntArray, csv_text
from anymask.masks.polygons import Ring, rle_to_polygons
from anymask.masks.rle import Rle
from anymask.masks.rle_windows import column_runs, rle_crop

PixelBox = tuple[int, int, int, int]


@dataclass(frozen=True, kw_only=True)
class MaskShape:
    """One mask in numbers; all are zero for an empty one.

    Attributes:
        area: Object pixels.
        box: Pixel borders: x1 and y1 are one past the last pixel.
        hull: Square pixels of the convex hull of the pixels' squares.
        parts: 8-connected regions.
        holes: 4-connected regions of background that the object encloses.
        centre: (x, y), the mean of the pixels' centres.
    """

    area: int = 0
    box: PixelBox = (0, 0, 0, 0)
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
        box=box,
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


DIGITS = 6  # of a number in a table
ROUND = 1e-9  # difference of the axes, as a part, below which there is no long one


class NamedMask(Protocol):
    """What a table tells of a mask beside its shape (`Mask` does)."""

    @property
    def score(self) -> float: ...

    @property
    def label(self) -> str | None: ...


@dataclass(frozen=True, kw_only=True)
class Measurements:
    """One mask in numbers; all are zero for an empty one.

    Attributes:
        area: Pixels.
        x: Centroid of the pixel centers along x.
        y: Centroid of the pixel centers along y.
        x0: First pixel along x; y0 along y, x1 and y1 the last ones.
        perimeter: Length of the smooth outline, those of parts and holes too.
        diameter: Of the circle of the same area.
        length: Long axis of the ellipse with the same second moments.
        width: Its short axis.
        angle: From the x axis to the long axis, degrees, clockwise as one sees it, -90..90; 0
            where both axes are equal.
        circularity: 4 pi area / perimeter squared, 0..1; 1 is a circle.
        solidity: Area / area of the convex hull, 0..1.
        parts: 8-connected regions.
        holes: Regions of background that the mask encloses.
    """

    area: int = 0
    x: float = 0.0
    y: float = 0.0
    x0: int = 0
    y0: int = 0
    x1: int = 0
    y1: int = 0
    perimeter: float = 0.0
    diameter: float = 0.0
    length: float = 0.0
    width: float = 0.0
    angle: float = 0.0
    circularity: float = 0.0
    solidity: float = 0.0
    parts: int = 0
    holes: int = 0


MEASURED = tuple(field.name for field in dataclasses.fields(Measurements))
HEADER = ("image", "number", "label", "score", *MEASURED)
_COUNTS = ("parts", "holes")
TABLE_TYPES = {  # pandas' types; Int64 are integers that may be absent
    "label": "object", "score": "float64", "stability": "float64", "area": "int64",
    "coverage": "float64", "x0": "float64", "y0": "float64", "x1": "float64", "y1": "float64",
    "parent": "Int64", "depth": "Int64",
}  # fmt: skip
TABLE_TYPES |= {
    name: "int64" if name in _COUNTS else "float64" for name in MEASURED if name not in TABLE_TYPES
}


def measure_mask(rle: Rle) -> Measurements:
    """Measure one mask; only its own box is decoded.

    For the ellipse a pixel is a square, as for MATLAB's `regionprops`; for scikit-image's it is a
    point, which makes the axes of small masks shorter.
    """
    shape = measure_shape(rle)
    if not shape.area:
        return Measurements()
    left, top, right, bottom = shape.box
    length, width, angle = _ellipse(rle, shape)
    outlines = rle_to_polygons(rle)
    perimeter = sum(_length(ring) for one in outlines for ring in (one.exterior, *one.holes))
    return Measurements(
        area=shape.area,
        x=shape.centre[0],
        y=shape.centre[1],
        x0=left,
        y0=top,
        x1=right - 1,
        y1=bottom - 1,
        perimeter=perimeter,
        diameter=2 * math.sqrt(shape.area / math.pi),
        length=length,
        width=width,
        angle=angle,
        circularity=min(1.0, 4 * math.pi * shape.area / perimeter**2),
        solidity=1 - shape.concavity,
        parts=shape.parts,
        holes=shape.holes,
    )


def _ellipse(rle: Rle, shape: MaskShape) -> tuple[float, float, float]:
    """Both axes and the angle, from the second moments of the runs of pixels in each column."""
    columns, tops, bottoms = column_runs(rle)
    count = (bottoms - tops).astype(np.float64)
    x = columns + 0.5 - shape.centre[0]
    top, bottom = tops - shape.centre[1], bottoms - shape.centre[1]
    xx = float((count * (x**2 + 1 / 12)).sum() / shape.area)
    yy = float(((bottom**3 - top**3) / 3).sum() / shape.area)  # over squares: 1 / 12 is in it
    xy = float((count * x * (top + bottom) / 2).sum() / shape.area)
    middle, apart = (xx + yy) / 2, math.hypot((xx - yy) / 2, xy)
    angle = math.degrees(math.atan2(2 * xy, xx - yy) / 2) if apart > ROUND * middle else 0.0
    return 4 * math.sqrt(middle + apart), 4 * math.sqrt(max(0.0, middle - apart)), angle


def _length(ring: Ring) -> float:
    return float(np.linalg.norm(ring - np.roll(ring, 1, axis=0), axis=1).sum())


# How bright masks are. The background is the median of the pixels that lie under none of them.

BRIGHTNESS = ("mean", "sum", "min", "max", "background", "net_mean", "net_sum")


def measure_brightness(rles: Sequence[Rle], values: NDArray[Any]) -> FloatArray:
    """The numbers `BRIGHTNESS` of each mask in each channel: (N, C, 7) float64.

    The net numbers are those less the background: net_sum is what microscopists call corrected
    total fluorescence. An empty mask has NaN; where the masks leave no background, its three do.

    Args:
        rles: N masks of (H, W).
        values: (H, W, C) of any number type.
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


def table_row(image: str, number: int, rle: Rle, named: NamedMask) -> list[str]:
    """The cells of one mask, under `HEADER`.

    Args:
        image: Name of the photo.
        number: Of the mask in its photo, from 1.
    """
    values = (named.score, *dataclasses.astuple(measure_mask(rle)))
    return [image, str(number), named.label or "", *map(table_cell, values)]


def table_cell(value: float | str) -> str:
    """A number or a word as it stands in a table; nothing where it is not known (NaN)."""
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.{DIGITS}g}"
    return str(value)


def to_csv(rows: Iterable[Sequence[str]], header: Sequence[str] = HEADER) -> str:
    """Rows of `table_row` as a CSV file."""
    return csv_text([header, *rows])
