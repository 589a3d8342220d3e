"""Outlines of map objects: polygons from masks, simplification, right angles and area.

Shapes are in pixels until `on_map`. Tolerances and angles are measured on the ground, because
pixels may not be square. Areas are ellipsoidal, independent of the map projection: corners are
projected to an equal-area cylindrical projection (Lambert) around the center of the map.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import shapely
from rasterio.crs import CRS

from anymask.base import BoolArray, Floats
from anymask.maps.scene import WGS_84, Scene, moved, transformed
from anymask.masks import Rle, Window, mask_to_rle, rle_to_mask, rle_to_polygons

_MIN_VALID_SHARE = 0.5  # minimum share of a mask on valid pixels
_ALIKE = 0.8  # minimum IoU of an outline and its right-angled version
_LONG = {"degrees": 0.01, "metres": 1000.0}  # maximum edge length in area computations


def outline_of(rle: Rle, valid: BoolArray, window: Window) -> shapely.Geometry | None:
    """Convert a window's mask to an exact outline along pixel borders, in scene pixels.

    None if the mask is empty or mostly on invalid pixels.
    """
    if not valid.all():
        mask = rle_to_mask(rle)
        inside = mask & valid
        if np.count_nonzero(inside) < _MIN_VALID_SHARE * np.count_nonzero(mask):
            return None
        rle = mask_to_rle(inside)
    shift = np.array(window[:2], np.float64)
    parts = [
        shapely.Polygon(polygon.exterior + shift, [hole + shift for hole in polygon.holes])
        for polygon in rle_to_polygons(rle, 0)
    ]
    return shapely.MultiPolygon(parts) if parts else None


def polygons_only(shape: shapely.Geometry) -> shapely.Geometry:
    """Repair a shape to a valid MultiPolygon, without stray lines and points."""
    valid = shape if shape.is_valid else shapely.make_valid(shape)
    flat = [part for group in shapely.get_parts(valid) for part in shapely.get_parts(group)]
    return shapely.MultiPolygon(
        [part for part in flat if part.geom_type == "Polygon" and part.area]
    )


def drawn_shape(
    outline: shapely.Geometry, ground: tuple[float, float], simplify: float, right_angles: bool
) -> shapely.Geometry:
    """Outline to write, in pixels, simplified or with right angles.

    Args:
        ground: Size of a pixel along x and y, in meters.
        simplify: Maximum displacement of the outline in meters. 0: along pixel borders.
    """
    meters = np.array(ground)
    shape = shapely.transform(outline, lambda xy: xy * meters)
    if right_angles:
        tolerance = max(simplify, 2 * max(ground))
        parts = [right_angled(part, tolerance) for part in shapely.get_parts(shape)]
        shape = shapely.union_all(parts)
    elif simplify:
        shape = shapely.simplify(shape, simplify, preserve_topology=True)
    return polygons_only(shapely.transform(shape, lambda xy: xy / meters))


def right_angled(part: shapely.Geometry, tolerance: float) -> shapely.Geometry:
    """Building outline with right angles; only simplified if the result differs too much.

    The direction of the longest walls defines the axes. Wall segments between two corners along
    one axis are merged at their mean position. Holes are simplified only.
    """
    plain = shapely.simplify(part, tolerance, preserve_topology=True)
    ring = shapely.get_coordinates(plain.exterior)[:-1]
    sides = np.roll(ring, -1, axis=0) - ring
    length, angle = np.hypot(*sides.T), np.arctan2(sides[:, 1], sides[:, 0])
    turn = math.atan2(*(length @ np.stack([np.sin(4 * angle), np.cos(4 * angle)], 1)).tolist()) / 4
    cosine, sine = math.cos(turn), math.sin(turn)
    axes = np.array([[cosine, -sine], [sine, cosine]])
    corners = _straight_corners(ring @ axes)
    holes = list(plain.interiors)
    candidates = [] if corners is None else [shapely.Polygon(corners @ axes.T, holes)]
    candidates.append(shapely.Polygon(shapely.oriented_envelope(part).exterior, holes))
    for shape in candidates:
        if shape.is_valid and shape.area:
            both = shapely.intersection(shape, part).area
            if both >= _ALIKE * (shape.area + part.area - both):
                return shape
    return plain


def _straight_corners(ring: Floats) -> Floats | None:
    """Corners of a ring with alternating horizontal and vertical sides; None if fewer than four."""
    sides = np.roll(ring, -1, axis=0) - ring
    level = np.abs(sides[:, 0]) >= np.abs(sides[:, 1])
    changes = np.flatnonzero(level != np.roll(level, 1))
    if len(changes) < 4:
        return None
    walls = []  # axis and position: length-weighted mean of the sides
    for start, end in zip(changes, np.roll(changes, -1), strict=True):
        run = np.arange(start, end if end > start else end + len(ring)) % len(ring)
        axis = 1 if level[start] else 0
        middle = ring[run, axis] + sides[run, axis] / 2
        walls.append((axis, float(np.average(middle, weights=np.abs(sides[run]).sum(axis=1)))))
    corners = []
    for (axis, position), (_, other) in zip(walls, [*walls[1:], walls[0]], strict=True):
        corners.append((other, position) if axis else (position, other))
    return np.array(corners)


class GroundArea:
    """Area of shapes in scene pixels, in square meters on the ellipsoid."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        height, width = scene.image_hw
        middle = moved(np.array([[width / 2, height / 2]]), scene.transform)
        longitude = float(transformed(middle, scene.crs, WGS_84)[0, 0])
        self.equal = CRS.from_proj4(f"+proj=cea +lon_0={longitude:.6f} +datum=WGS84 +units=m")
        self.longest = _LONG["degrees" if scene.crs.is_geographic else "metres"]

    def __call__(self, shape: shapely.Geometry) -> float:
        """Area of one shape."""
        placed = shapely.segmentize(on_map(shape, self.scene), self.longest)
        flat = shapely.transform(placed, lambda xy: transformed(xy, self.scene.crs, self.equal))
        return float(shapely.area(flat))


def on_map(shape: shapely.Geometry, scene: Scene, crs: Any = None) -> shapely.Geometry:
    """Convert a shape from pixels to map coordinates or another CRS, and repair it."""
    placed = shapely.transform(shape, lambda xy: moved(xy, scene.transform))
    if crs is not None and crs != scene.crs:
        placed = shapely.transform(placed, lambda xy: transformed(xy, scene.crs, crs))
    return polygons_only(placed)
