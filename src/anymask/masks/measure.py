"""Measure masks (shape, outline, ellipse) and write the measurements as CSV tables.

Only the mask's box is decoded, so small masks of large images are fast. All lengths are in image
pixels, areas in square pixels. Centres are in pixel-border coordinates like points: the centre of
the first pixel is (0.5, 0.5).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from anymask.base import FloatArray, csv_text
from anymask.masks.polygons import rle_to_polygons
from anymask.masks.rle import Rle, column_runs, rle_crop
from anymask.masks.tiles import Window


@dataclass(frozen=True, kw_only=True)
class MaskShape:
    """Shape of a mask; all values are zero for an empty mask."""

    area: int = 0  # Number of object pixels
    box: Window = (0, 0, 0, 0)  # Pixel borders x0, y0, x1, y1; x1 and y1 are exclusive
    hull: float = 0.0  # Area of the convex hull of the pixel squares, in square pixels
    parts: int = 0  # Number of 8-connected regions
    holes: int = 0  # Number of enclosed 4-connected background regions
    center: tuple[float, float] = (0.0, 0.0)  # Mean (x, y) of the pixel centres

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
    center_x = float((lengths * (columns + 0.5)).sum() / area)
    center_y = float((lengths * (tops + bottoms) / 2).sum() / area)
    # Only the corners of each column's first and last pixel can touch the convex hull.
    first = np.flatnonzero(np.diff(columns, prepend=-1))
    x = columns[first]
    top, bottom = np.minimum.reduceat(tops, first), np.maximum.reduceat(bottoms, first)
    rows = np.concatenate([top, top, bottom, bottom])
    corners = np.stack([np.concatenate([x, x + 1, x, x + 1]), rows], axis=1)
    inside = np.pad(rle_crop(rle)[0], 1).view(np.uint8)
    return MaskShape(
        area=area,
        box=(int(columns[0]), int(tops.min()), int(columns[-1]) + 1, int(bottoms.max())),
        hull=float(cv2.contourArea(cv2.convexHull(corners.astype(np.int32)))),
        parts=cv2.connectedComponents(inside, connectivity=8)[0] - 1,
        holes=cv2.connectedComponents(1 - inside, connectivity=4)[0] - 2,  # minus the outside
        center=(center_x, center_y),
    )


DIGITS = 6  # significant digits of a number in a table
CIRCLE_ERROR = 1e-9  # relative difference of the axes below which the ellipse is a circle


@dataclass(frozen=True, kw_only=True)
class Measurements:
    """Measurements of a mask; all values are zero for an empty mask."""

    area: int = 0  # Number of pixels
    x: float = 0.0  # Centroid of the pixel centers along x
    y: float = 0.0  # Centroid of the pixel centers along y
    x0: int = 0  # First pixel along x
    y0: int = 0  # First pixel along y
    x1: int = 0  # Last pixel along x
    y1: int = 0  # Last pixel along y
    perimeter: float = 0.0  # Length of the smooth outlines of all parts and holes
    diameter: float = 0.0  # Diameter of the circle of the same area
    length: float = 0.0  # Long axis of the ellipse with the same second moments
    width: float = 0.0  # Short axis of this ellipse
    # Angle from the x axis to the long axis, in degrees clockwise on screen, -90..90. 0 if both
    # axes are equal.
    angle: float = 0.0
    circularity: float = 0.0  # 4 pi area / perimeter squared, 0..1; 1 is a circle
    solidity: float = 0.0  # Area / area of the convex hull, 0..1
    parts: int = 0  # Number of 8-connected regions
    holes: int = 0  # Number of enclosed background regions


MEASURED = tuple(field.name for field in dataclasses.fields(Measurements))
TABLE_HEADER = ("image", "number", "label", "score", *MEASURED)
TABLE_TYPES = {  # pandas types; Int64 permits missing values
    "label": "object", "score": "float64", "stability": "float64", "area": "int64",
    "coverage": "float64", "x0": "float64", "y0": "float64", "x1": "float64", "y1": "float64",
    "parent": "Int64", "depth": "Int64",
}  # fmt: skip
TABLE_TYPES |= {
    name: "int64" if name in ("parts", "holes") else "float64"
    for name in MEASURED
    if name not in TABLE_TYPES
}


def measure_mask(rle: Rle) -> Measurements:
    """Measure one mask; only its box is decoded.

    The ellipse treats pixels as squares, as MATLAB's `regionprops` does; scikit-image treats them
    as points, which shortens the axes of small masks.
    """
    shape = measure_shape(rle)
    if not shape.area:
        return Measurements()
    left, top, right, bottom = shape.box
    # The ellipse has the second moments of the runs in each column.
    columns, tops, bottoms = column_runs(rle)
    x, count = columns + 0.5 - shape.center[0], (bottoms - tops).astype(np.float64)
    above, below = tops - shape.center[1], bottoms - shape.center[1]
    xx = float((count * (x**2 + 1 / 12)).sum() / shape.area)
    yy = float(((below**3 - above**3) / 3).sum() / shape.area)  # includes the 1 / 12
    xy = float((count * x * (above + below) / 2).sum() / shape.area)
    middle, apart = (xx + yy) / 2, math.hypot((xx - yy) / 2, xy)
    angle = math.degrees(math.atan2(2 * xy, xx - yy) / 2) if apart > CIRCLE_ERROR * middle else 0.0
    rings = [ring for part in rle_to_polygons(rle) for ring in (part.exterior, *part.holes)]
    perimeter = sum(
        float(np.linalg.norm(ring - np.roll(ring, 1, axis=0), axis=1).sum()) for ring in rings
    )
    return Measurements(
        area=shape.area,
        x=shape.center[0],
        y=shape.center[1],
        x0=left,
        y0=top,
        x1=right - 1,
        y1=bottom - 1,
        perimeter=perimeter,
        diameter=2 * math.sqrt(shape.area / math.pi),
        length=4 * math.sqrt(middle + apart),
        width=4 * math.sqrt(max(0.0, middle - apart)),
        angle=angle,
        circularity=min(1.0, 4 * math.pi * shape.area / perimeter**2),
        solidity=1 - shape.concavity,
        parts=shape.parts,
        holes=shape.holes,
    )


# Brightness. The background is the median of the pixels outside all masks.

BRIGHTNESS = ("mean", "sum", "min", "max", "background", "net_mean", "net_sum")


def measure_brightness(rles: Sequence[Rle], values: NDArray[Any]) -> FloatArray:
    """Measure `BRIGHTNESS` of each mask in each channel: (N, C, 7) float64.

    Net values have the background subtracted; net_sum is the corrected total fluorescence of
    microscopy. Empty masks have NaN. Background and net values are NaN if masks cover the image.

    Args:
        rles: N masks of (H, W).
        values: Image (H, W, C) of any number type.
    """
    table = np.full((len(rles), values.shape[2], len(BRIGHTNESS)), np.nan)
    covered = np.zeros(values.shape[:2], np.bool_)
    for row, rle in zip(table, rles, strict=True):
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
        table[..., 4:] = np.nan
        return table
    table[..., 4] = np.median(values[~covered], axis=0)
    table[..., 5] = table[..., 0] - table[..., 4]
    table[..., 6] = table[..., 1] - table[..., 6] * table[..., 4]
    table[np.isnan(table[..., 0])] = np.nan
    return table


def table_row(image: str, number: int, rle: Rle, named: Any) -> list[str]:
    """Table cells of one mask, in the order of `TABLE_HEADER`.

    Args:
        image: Name of the image.
        number: Number of the mask in its image, from 1.
        named: `Mask`, or any object with its `score` and `label`.
    """
    values = (named.score, *dataclasses.astuple(measure_mask(rle)))
    return [image, str(number), named.label or "", *map(table_cell, values)]


def table_cell(value: float | str) -> str:
    """Format a value for a table; NaN becomes an empty cell."""
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.{DIGITS}g}"
    return str(value)


def to_csv(rows: Iterable[Sequence[str]], header: Sequence[str] = TABLE_HEADER) -> str:
    """CSV text of the rows of `table_row`."""
    return csv_text([header, *rows])
