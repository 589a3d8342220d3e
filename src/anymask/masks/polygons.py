"""Convert between binary masks and polygons with holes; SVG paths and GeoJSON.

A ring has corners (n, 2), x and y in pixel-border coordinates: pixel (x, y) covers the square from
(x, y) to (x + 1, y + 1), so a mask and its exact polygons cover the same area. Rings are open (the
first corner is not repeated), simple, and have the object on the right of their direction (y points
down): exteriors have a positive shoelace area, holes a negative one. Regions are 4-connected, holes
8-connected: two pixels that share only a corner are two polygons. Exact polygons are valid in the
sense of OGC Simple Features.

A bridge joins two rings by one path in both directions, first horizontal, then vertical, so that
both directions cancel exactly. Filling the joined ring fills the same pixels as its parts if they
follow pixel borders.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from anymask.base import BoolArray, DataError, InputError, IntArray, check_number
from anymask.masks.rle import Rle, rle_crop, rle_merge, runs_to_rle

Ring = NDArray[np.float64]
Affine = tuple[float, float, float, float, float, float]
IN_PIXELS: Affine = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
TOLERANCE = 0.5  # default tolerance of outlines in pixels
MIN_STRAIGHT_SIDE = 3  # sides of at least this length in pixels are not stairs
_MAX_CUTS = 200_000_000  # intersections of outlines with pixel rows
_BATCH_SIZE = 2_000_000  # intersections held in memory


@dataclass(frozen=True, eq=False)
class Polygon:
    """One region."""

    exterior: Ring  # Corners (n, 2), x and y, n >= 3
    holes: tuple[Ring, ...] = field(default=())  # Rings (n, 2) of enclosed background

    def __repr__(self) -> str:
        return f"<Polygon: {len(self.exterior)} corners, {len(self.holes)} holes>"

    @property
    def area(self) -> float:
        """Area in square pixels, without the holes."""
        return abs(ring_area(self.exterior)) - sum(abs(ring_area(hole)) for hole in self.holes)


def ellipse_ring(
    center: ArrayLike, radii: ArrayLike, degrees: float = 0.0
) -> Ring:  # (x, y), (along x, along y) -> (180, 2)
    """Outline of an ellipse, rotated clockwise on screen around its centre."""
    turn = np.linspace(0, 2 * np.pi, 180, endpoint=False)
    ring = np.stack([np.cos(turn), np.sin(turn)], axis=1) * np.asarray(radii, np.float64)
    return turned_ring(np.asarray(center, np.float64) + ring, center, degrees)


def turned_ring(ring: NDArray[Any], around: ArrayLike, degrees: float) -> Ring:
    """Rotate a ring clockwise on screen (y points down) around a point (x, y)."""
    angle = np.deg2rad(degrees)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    middle = np.asarray(around, np.float64)
    return np.asarray((np.asarray(ring, np.float64) - middle) @ turn + middle)


def ring_area(ring: NDArray[Any]) -> float:
    """Signed shoelace area: positive for exteriors, negative for holes."""
    x, y = np.asarray(ring, np.float64).T
    return float((x * np.roll(y, -1) - np.roll(x, -1) * y).sum() / 2)


def mask_to_polygons(
    mask: NDArray[Any], tolerance: float = 0.0, min_area: float = 0.0, smooth: bool = False
) -> list[Polygon]:  # (H, W)
    """Convert a mask to polygons, in reading order of their first pixel.

    Args:
        mask: Mask (H, W).
        tolerance: Maximum deviation of the outline in pixels (Douglas-Peucker); 1 turns staircases
            into slopes. 0 is exact, along the pixel borders. Holes that vanish are dropped; regions
            that vanish keep their exact ring.
        min_area: Minimum area of regions and holes in square pixels.
        smooth: With a tolerance, connect the centres of pixel edges, so that a tolerance of 0.5
            already turns staircases into slopes. Corners between long sides stay.
    """
    boolean = np.ascontiguousarray(mask, np.bool_)
    if boolean.ndim != 2:
        raise InputError(
            f"Invalid mask of shape {boolean.shape}. Expected (H, W). Convert several "
            "masks one by one."
        )
    if not boolean.any():
        return []
    _, regions = cv2.connectedComponents(boolean.view(np.uint8), connectivity=4)
    exteriors: dict[int, Ring] = {}
    holes: dict[int, list[Ring]] = {}
    for ring in _rings(boolean):
        area = ring_area(ring)
        region = int(regions[_pixel_beside(ring)])
        if area > 0:
            if area >= min_area:
                exteriors[region] = _simplify(ring, tolerance, smooth, keep=True)
        elif -area >= min_area:
            holes.setdefault(region, []).append(_simplify(ring, tolerance, smooth, keep=False))
    return [
        Polygon(ring, tuple(hole for hole in holes.get(region, ()) if len(hole)))
        for region, ring in sorted(exteriors.items())
    ]


def rle_to_polygons(rle: Rle, tolerance: float = TOLERANCE, min_area: float = 0.0) -> list[Polygon]:
    """Smooth `mask_to_polygons` within the mask's box; a tolerance of 0 is exact."""
    check_number("tolerance", tolerance, 0)
    check_number("min_area", min_area, 0)
    inside, window = rle_crop(rle)
    shift = np.array(window[:2], np.float64)
    return [
        Polygon(polygon.exterior + shift, tuple(hole + shift for hole in polygon.holes))
        for polygon in mask_to_polygons(inside, tolerance, min_area, smooth=True)
    ]


def _pixel_beside(ring: Ring) -> tuple[int, int]:
    """Row and column of the object pixel to the right of a ring's first edge."""
    (x, y), (next_x, next_y) = ring[0], ring[1]
    if next_y == y:  # rightwards: the pixel below; leftwards: the one above
        return (int(y), int(x)) if next_x > x else (int(y) - 1, int(x) - 1)
    return (int(y), int(x) - 1) if next_y > y else (int(y) - 1, int(x))


def _simplify(ring: Ring, tolerance: float, smooth: bool, keep: bool) -> Ring:
    if tolerance <= 0:
        return ring
    halves = np.rint(2 * (_without_stairs(ring) if smooth else ring)).astype(np.int32)
    corners = cv2.approxPolyDP(halves[:, None], 2 * tolerance, closed=True)[:, 0]
    short = corners.astype(np.float64) / 2
    if len(short) >= 3 and ring_area(short) * ring_area(ring) > 0:
        return short
    return ring if keep else ring[:0]


def _without_stairs(ring: Ring) -> Ring:
    """Smooth a border through the centres of its steps, without crossing a pixel centre.

    Corners between two sides of at least MIN_STRAIGHT_SIDE pixels stay.
    """
    step = np.roll(ring, -1, axis=0) - ring
    length = np.abs(step).sum(axis=1)
    ahead = step / length[:, None]
    before = np.roll(ahead, 1, axis=0)
    right = before[:, 0] * ahead[:, 1] > before[:, 1] * ahead[:, 0]  # the turn at each corner
    is_step = right != np.roll(right, -1)  # a turn followed by the opposite turn
    sharp = (length >= MIN_STRAIGHT_SIDE) & np.roll(length >= MIN_STRAIGHT_SIDE, 1)
    # In path order: the corner, the first pixel's centre, the side's, the last pixel's.
    ends = ahead / 2
    points = np.stack([ring, ring + ends, ring + step / 2, ring + step - ends], axis=1)
    bend = ~is_step
    return np.asarray(points[np.stack([sharp, bend, is_step, bend & (length > 1)], axis=1)])


# ------------------------------------------------------------------------------- border tracing


def _rings(mask: BoolArray) -> list[Ring]:
    """Trace all borders into simple rings of corners.

    The corners in a row of the pixel grid pair up to horizontal edges, those in a column to
    vertical ones; each edge ends where an edge of the other kind starts. Where two pixels share
    only a corner, two edges start: the path turns right, around its own pixel.
    """
    starts, following, saddle = _edges(mask)
    points = starts.tolist()
    successor, pinched = following.tolist(), saddle.tolist()
    seen = bytearray(len(points))
    rings: list[Ring] = []
    for first in range(len(points)):
        if seen[first]:
            continue
        path: list[list[int]] = []
        place_of: dict[tuple[int, int], int] = {}  # saddles on the path so far
        edge = first
        while not seen[edge]:
            seen[edge] = 1
            if pinched[edge]:
                corner = (points[edge][0], points[edge][1])
                if corner in place_of:  # the path returns to a saddle: split off the loop
                    cut = place_of[corner]
                    rings.append(np.array(path[cut:], np.float64))
                    for x, y in path[cut + 1 :]:
                        place_of.pop((x, y), None)
                    del path[cut:]
                place_of[corner] = len(path)
            path.append(points[edge])
            edge = successor[edge]
        rings.append(np.array(path, np.float64))
    return rings


def _edges(mask: BoolArray) -> tuple[IntArray, IntArray, BoolArray]:
    """Directed border edges between corners: start (x, y), following edge, start is a saddle."""
    padded = np.pad(mask, 1)
    nw, ne, sw, se = padded[:-1, :-1], padded[:-1, 1:], padded[1:, :-1], padded[1:, 1:]
    saddles = (nw == se) & (ne == sw) & (nw != ne)
    y, x = np.nonzero((nw ^ ne ^ sw ^ se) | saddles)
    twice = np.repeat(np.arange(len(x)), 1 + saddles[y, x])
    y, x = y[twice], x[twice]
    across = np.stack([x, y], axis=1).reshape(-1, 2, 2)  # pairs along each row
    order = np.lexsort((y, x))
    down = np.stack([x[order], y[order]], axis=1).reshape(-1, 2, 2)  # pairs along each column
    # The object is on the right: below a rightward edge, left of a downward edge.
    right = padded[across[:, 0, 1] + 1, across[:, 0, 0] + 1]
    downwards = padded[down[:, 0, 1] + 1, down[:, 0, 0]]
    across[~right], down[~downwards] = across[~right, ::-1], down[~downwards, ::-1]

    def key(corners: IntArray, turn: BoolArray) -> IntArray:
        x, y = corners.T
        return np.asarray((y * padded.shape[1] + x) * 2 + (saddles[y, x] & turn))

    after_across = _match(key(across[:, 1], right), key(down[:, 0], downwards))
    after_down = _match(key(down[:, 1], ~downwards), key(across[:, 0], right))
    starts = np.concatenate([across[:, 0], down[:, 0]])
    following = np.concatenate([after_across + len(across), after_down])
    return starts, following, saddles[starts[:, 1], starts[:, 0]]


def _match(requested: IntArray, keys: IntArray) -> IntArray:
    """Index of each wanted key. Every key occurs once."""
    order = np.argsort(keys)
    return order[np.searchsorted(keys, requested, sorter=order)]


# ----------------------------------------------------------------------------------- rasterizing


def polygons_to_mask(polygons: Sequence[Polygon], image_hw: tuple[int, int]) -> BoolArray:
    """Fill polygons into a mask (H, W) of the pixels whose centres are inside.

    Exact polygons of a mask reproduce that mask. Corners may lie outside the image.

    Raises:
        InputError: A ring is not (n, 2) with n >= 3 finite corners.
    """
    mask = np.zeros(image_hw, np.bool_)
    for polygon in polygons:
        rings = [np.asarray(ring, np.float64) for ring in (polygon.exterior, *polygon.holes)]
        for ring in rings:
            if ring.ndim != 2 or ring.shape[1] != 2 or len(ring) < 3 or not np.isfinite(ring).all():
                raise InputError(
                    f"Invalid polygon ring of shape {ring.shape}. Expected (n, 2) with at "
                    "least 3 finite corners. Reshape a flat COCO list with .reshape(-1, 2)."
                )
        high, wide = image_hw
        low = np.clip(np.floor(rings[0].min(axis=0)), 0, (wide, high)).astype(np.int64)
        top = np.clip(np.ceil(rings[0].max(axis=0)), 0, (wide, high)).astype(np.int64)
        window = mask[low[1] : top[1], low[0] : top[0]]
        window |= _even_odd([ring - low for ring in rings], window.shape)
    return mask


def _even_odd(rings: Sequence[Ring], size: tuple[int, ...]) -> BoolArray:
    """Pixels (h, w) whose centres have an odd number of borders on their left.

    Each edge is intersected with the centre lines of its rows; the pixels to the right of an
    intersection are toggled.
    """
    height, width = size
    start = np.concatenate(rings)
    end = np.concatenate([np.roll(ring, -1, axis=0) for ring in rings])
    low, high = np.minimum(start[:, 1], end[:, 1]), np.maximum(start[:, 1], end[:, 1])
    first = np.ceil(np.clip(low, 0, height) - 0.5).astype(np.int64)
    count = np.ceil(np.clip(high, 0, height) - 0.5).astype(np.int64) - first
    run, rise = (end - start).T
    slope = np.divide(run, rise, out=np.zeros(len(start)), where=rise != 0)
    changes = np.zeros(height * (width + 1), np.bool_)
    ends = np.cumsum(count)
    if ends[-1] > _MAX_CUTS:
        raise InputError(
            f"The polygons cross {int(ends[-1])} pixel rows, but at most {_MAX_CUTS} "
            "are supported. Simplify the polygons."
        )
    for part in np.split(np.arange(len(count)), np.flatnonzero(np.diff(ends // _BATCH_SIZE)) + 1):
        edge = np.repeat(part, count[part])
        before = np.repeat(ends[part] - count[part], count[part])
        rows = np.arange(len(edge)) + (ends[part[0]] - count[part[0]]) - before + first[edge]
        cuts = start[edge, 0] + (rows + 0.5 - start[edge, 1]) * slope[edge]
        columns = np.ceil(np.clip(cuts, 0, width + 1) - 0.5).astype(np.int64).clip(0, width)
        places, times = np.unique(rows * (width + 1) + columns, return_counts=True)
        changes[places[times % 2 == 1]] ^= True
    return np.logical_xor.accumulate(changes.reshape(height, width + 1)[:, :width], axis=1)


def polygons_to_svg_path(polygons: Sequence[Polygon]) -> str:
    """The `d` attribute of an SVG path with fill-rule evenodd, holes included."""
    rings = [ring for polygon in polygons for ring in (polygon.exterior, *polygon.holes)]
    parts = ("L".join(f"{x:g},{y:g}" for x, y in ring.tolist()) for ring in rings)
    return "".join(f"M{part}Z" for part in parts)


def polygons_to_geometry(
    polygons: Sequence[Polygon], affine: Affine = IN_PIXELS
) -> dict[str, Any] | None:
    """GeoJSON geometry: None, a Polygon for one polygon, or a MultiPolygon for several.

    Args:
        polygons: Polygons in pixels.
        affine: (a, b, c, d, e, f): x = a x + b y + c, y = d x + e y + f.
    """
    parts = [
        [_place(ring, affine) for ring in (polygon.exterior, *polygon.holes)]
        for polygon in polygons
    ]
    if not parts:
        return None
    if len(parts) == 1:
        return {"type": "Polygon", "coordinates": parts[0]}
    return {"type": "MultiPolygon", "coordinates": parts}


def _place(ring: Ring, affine: Affine) -> list[list[float]]:
    """Closed ring in map coordinates, reversed if the map mirrors."""
    a, b, c, d, e, f = affine
    placed = ring @ np.array([[a, d], [b, e]]) + (c, f)
    if a * e < b * d:
        placed = placed[::-1]
    return np.concatenate([placed, placed[:1]]).tolist()


_FEW_HOLES = 50  # up to this number of holes, bridges start at the nearest of several corners
_CORNERS = 64  # candidate corners per hole


def polygon_to_ring(polygon: Polygon) -> Ring:
    """Join a region and its holes into one ring."""
    return joined([polygon.exterior, *polygon.holes])


def joined(rings: Sequence[Ring]) -> Ring:
    """Join at least one ring into one by bridges between nearby corners."""
    ring = rings[0]
    for other in rings[1:]:
        tried = _CORNERS if len(rings) <= _FEW_HOLES else 1
        some = np.arange(0, len(other), max(1, len(other) // tried))
        apart = np.abs(ring[:, None] - other[None, some]).sum(axis=2)
        here, there = np.unravel_index(int(apart.argmin()), apart.shape)
        there = some[there]
        bend = np.array([[other[there][0], ring[here][1]]])
        around = np.concatenate([other[there:], other[: there + 1]])
        whole = np.concatenate([ring[: here + 1], bend, around, bend, ring[here:]])
        ring = whole[np.append(True, (whole[1:] != whole[:-1]).any(axis=1))]
    return ring


# Convert COCO polygons to the run-length encodings that pycocotools produces.
#
# COCO, LVIS and related datasets state areas and overlaps of masks that pycocotools made from
# polygons. It rounds each corner to a fifth of a pixel, walks along the outline in steps of that
# size and records each change of column at the middle of a pixel, where the object begins or ends
# in that column. The published masks can only be reproduced by the same walk (cocoapi, `rleFrPoly`
# in maskApi.c, BSD).

STEPS = 5  # along each side of a pixel
_FURTHEST = 1e6  # maximum distance of a corner from the image, in pixels
_MAX_POLYGON_STEPS = 200_000_000  # of a polygon, without those far from the image
_STEPS = 1_000_000  # steps held in memory


def coco_polygons_to_rle(rings: Sequence[Any], image_hw: tuple[int, int]) -> Rle:
    """Convert polygons to the run-length encoding of their union.

    Args:
        rings: Polygons, each a flat list [x, y, x, y, ...] of at least three corners.
        image_hw: Height and width of the image.

    Raises:
        DataError: A polygon is invalid. The message contains its index.
    """
    if not len(rings):
        raise DataError("The list of polygons is empty. Expected at least one polygon.")
    rles = [_ring_to_rle(_corners(ring, number), image_hw) for number, ring in enumerate(rings)]
    return rles[0] if len(rles) == 1 else rle_merge(rles)


def _corners(ring: Any, number: int) -> NDArray[np.float64]:  # -> (n, 2)
    try:
        flat = np.asarray(ring, np.float64)
        nested = flat.ndim != 1
    except (TypeError, ValueError, OverflowError):
        nested = True
    if nested:
        raise DataError(
            f"Invalid polygon {number}: {str(ring)[:60]}. Expected a flat list of numbers [x, y, "
            "x, y, ...]."
        )
    if flat.size % 2:
        raise DataError(
            f"Odd count of numbers. Polygon {number} has {flat.size}, expected [x, y, x, y, ...]."
        )
    if flat.size < 6:
        raise DataError(
            f"Too few points. Polygon {number} has {flat.size // 2}, expected at least 3."
        )
    if not (np.abs(flat) < _FURTHEST).all():
        raise DataError(
            f"Invalid number. Corners of polygon {number} must be finite numbers of at most "
            f"{_FURTHEST:g} pixels."
        )
    return flat.reshape(-1, 2)


def _ring_to_rle(corners: NDArray[np.float64], image_hw: tuple[int, int]) -> Rle:
    """Every second crossing ends a run; crossings at the same place cancel each other."""
    height, width = image_hw
    first = (STEPS * corners + 0.5).astype(np.int64)  # rounds towards zero, as C does
    last = np.roll(first, -1, axis=0)
    across, down = np.abs(last - first).T
    # Upper bound of the steps of an edge: its columns, and for a steep edge also its rows.
    cost = np.minimum(across // STEPS, width) + np.minimum(down, STEPS * height) + 8 * STEPS
    ends = np.cumsum(cost)
    if ends[-1] > _MAX_POLYGON_STEPS:
        raise DataError(
            f"A polygon of {len(corners)} corners crosses the image in {int(ends[-1])} steps, but "
            f"at most {_MAX_POLYGON_STEPS} are supported. Simplify it."
        )
    level = across >= down
    crossings = []
    for part in np.split(np.arange(len(first)), np.flatnonzero(np.diff(ends // _STEPS)) + 1):
        flat, steep = part[level[part]], part[~level[part]]
        crossings.append(_level_crossings(first[flat], last[flat], image_hw))
        crossings.append(_steep_crossings(first[steep], last[steep], image_hw))
    places, counts = np.unique(np.concatenate(crossings), return_counts=True)
    borders = places[counts % 2 == 1]
    if len(borders) % 2:
        borders = np.append(borders, height * width)
    return runs_to_rle(borders[0::2], borders[1::2], image_hw)


def _level_crossings(first: IntArray, last: IntArray, image_hw: tuple[int, int]) -> IntArray:
    """Crossings of column centres by edges that are wider than high.

    The walk along such an edge follows x from left to right. Only the two steps beside each
    column's centre are computed.
    """
    turned = first[:, 0] > last[:, 0]
    start, end = np.where(turned[:, None], last, first), np.where(turned[:, None], first, last)
    slope = (end[:, 1] - start[:, 1]) / np.maximum(end[:, 0] - start[:, 0], 1)
    edge, column = _columns_between(start[:, 0], end[:, 0], image_hw[1])
    step = STEPS * column + STEPS // 2 - start[edge, 0]
    rows = [
        (start[edge, 1] + slope[edge] * beside + 0.5).astype(np.int64)
        for beside in (step, step + 1)
    ]
    return _places(column, np.minimum(*rows), image_hw)


def _steep_crossings(first: IntArray, last: IntArray, image_hw: tuple[int, int]) -> IntArray:
    """Crossings of column centres by edges that are higher than wide.

    The walk follows y downwards. Above and below the image, a crossing has the first or last row
    at any step, so only the steps next to the image are computed.
    """
    turned = first[:, 1] > last[:, 1]
    start, end = np.where(turned[:, None], last, first), np.where(turned[:, None], first, last)
    long = end[:, 1] - start[:, 1]
    slope = (end[:, 0] - start[:, 0]) / np.maximum(long, 1)
    top, bottom = -2 * STEPS, STEPS * (image_hw[0] + 2)
    enter, leave = (np.clip(border - start[:, 1], 0, long) for border in (top, bottom))

    def column_at(edge: IntArray, step: IntArray) -> IntArray:
        return np.asarray(start[edge, 0] + slope[edge] * step + 0.5).astype(np.int64)

    every = np.arange(len(first))
    crossings = []
    for begin, finish, row in ((0 * long, enter, top), (leave, long, bottom)):
        ends = np.sort([column_at(every, begin), column_at(every, finish)], axis=0)
        _, column = _columns_between(ends[0], ends[1], image_hw[1])
        crossings.append(_places(column, np.full(len(column), row), image_hw))
    edge, step = _list_between(enter, leave)
    u, v = column_at(edge, step), start[edge, 1] + step
    moved = (u[1:] != u[:-1]) & (edge[1:] == edge[:-1])
    column, rest = np.divmod(np.minimum(u[1:], u[:-1])[moved] - STEPS // 2, STEPS)
    inside = (rest == 0) & (column >= 0) & (column < image_hw[1])
    crossings.append(_places(column[inside], v[:-1][moved][inside], image_hw))
    return np.concatenate(crossings)


def _columns_between(least: IntArray, most: IntArray, width: int) -> tuple[IntArray, IntArray]:
    """Edge and image column of each column centre between two steps."""
    first = np.maximum(-((STEPS // 2 - least) // STEPS), 0)
    return _list_between(first, np.minimum((most - STEPS // 2 - 1) // STEPS, width - 1))


def _list_between(first: IntArray, last: IntArray) -> tuple[IntArray, IntArray]:
    """Index and value of every integer from `first` to `last`, both inclusive, in order."""
    count = np.maximum(last - first + 1, 0)
    index = np.repeat(np.arange(len(count)), count)
    return index, np.arange(len(index)) - np.repeat(np.cumsum(count) - count, count) + first[index]


def _places(column: IntArray, upper: IntArray, image_hw: tuple[int, int]) -> IntArray:
    """Flat index of the first pixel below each crossing; `upper` is v of the higher step."""
    height = image_hw[0]
    row = np.ceil(np.clip((upper + 0.5) / STEPS - 0.5, 0, height)).astype(np.int64)
    return column * height + row
