"""Segment all objects of the most frequent kind: `everything(dominant_kind=True)`.

The given masks define the appearance of the kind: its contrast to the surroundings (brighter,
darker, another color) and its size. Masks with the opposite contrast (the background) and outliers
in size are removed. Pixels with this contrast are foreground, which is split at its waists (a
watershed on the distance to its border, one seed per object). This separates touching objects and
adds missing ones. A piece that has the color of no mask is background.

Letters: H W an image, C its channels, N masks, S seeds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from anymask.base import BoolArray, Floats, UintImage
from anymask.masks import Mask, crop_to_rle, measure, rle_crop, rle_iou

Plane = NDArray[np.float32]  # (H, W)
Labels = NDArray[np.int32]  # (H, W), 0 is the background

MAX_OBJECT_SHARE = 0.15  # share of the image: larger masks are background
MIN_KIND_MASKS = 3  # minimum number of masks that define a kind
MIN_SOLIDITY = 0.85  # minimum solidity of masks that define the size
MIN_RELATIVE_AREA, MAX_RELATIVE_AREA = 0.12, 4.0  # limits of the area, relative to the median
PIECE_CONTRAST = 0.4  # minimum contrast of the foreground, relative to the median contrast
MIN_SIGMAS = 3.0  # minimum contrast in standard deviations of the background
SEED_BLUR = 0.06  # of the distances, relative to the diameter, so that rough borders make no seeds
DEEP = 0.06  # depth of a waist relative to the diameter
PIECE_MATCH_IOU = 0.5  # minimum IoU of a mask and a foreground piece of the same object
FOREIGN = 0.75  # color difference from each mask, relative to the contrast, of other objects
PIECE_SCORE = 0.7  # score of foreground pieces without a mask, relative to the median
WATERSHED_LEVELS = 48  # of the watershed


def only_alike(image: UintImage, found: Sequence[Mask]) -> list[Mask]:
    """Objects of the most frequent kind, best first; the small masks without such a kind.

    Args:
        image: Image (H, W, C), resized if it differs from the masks.
        found: Masks of the image.
    """
    if found and image.shape[:2] != found[0].rle.size:
        height, width = found[0].rle.size
        image = cv2.resize(image, (width, height)).astype(np.uint8)
    small = [mask for mask in found if 0 < mask.coverage <= MAX_OBJECT_SHARE]
    learned = _learn(image, small) if len(small) >= MIN_KIND_MASKS else None
    if learned is None:
        return small or list(found)
    plane, diameter, members = learned
    pieces = _divide(_foreground(plane, diameter), diameter)
    area = math.pi * diameter**2 / 4
    members = [m for m in members if MIN_RELATIVE_AREA <= m.area / area <= MAX_RELATIVE_AREA]
    objects = _pieces(pieces, MIN_RELATIVE_AREA * area)
    return _merge(members, _of_same_color(image, objects, members))


def _learn(image: UintImage, small: Sequence[Mask]) -> tuple[Plane, float, list[Mask]] | None:
    """Contrast of each pixel (about 0 in the background, 1 in objects of the most frequent kind),
    diameter of these objects in pixels, and their masks, or None without enough contrast."""
    colors = _smooth_colors(image)
    differences = np.array([_difference(colors, mask) for mask in small])  # (N, C)
    axis = np.linalg.svd(differences, full_matrices=False)[2][0]
    sides = differences @ axis
    axis = axis if np.count_nonzero(sides > 0) * 2 >= len(small) else -axis
    sides = differences @ axis
    usual = float(np.median(sides[sides > 0])) if (sides > 0).any() else 0.0
    if usual < 2:  # of 255: no visible contrast
        return None
    members = [mask for mask, side in zip(small, sides, strict=True) if side > usual / 4]
    if len(members) < MIN_KIND_MASKS:
        return None
    plane = colors @ axis.astype(np.float32)
    areas = [m.area for m in members if measure.measure_mask(m.rle).solidity >= MIN_SOLIDITY]
    diameter = 2 * math.sqrt(float(np.median(areas or [m.area for m in members])) / math.pi)
    covered = np.zeros(plane.shape, np.bool_)
    for mask in members:
        crop, (left, top, right, bottom) = rle_crop(mask.rle)
        covered[top:bottom, left:right] |= crop
    plane = plane - _ground(plane, covered, diameter)
    inside = float(np.median(plane[covered]))
    return None if inside <= 0 else (plane / np.float32(inside), diameter, members)


def _smooth_colors(image: UintImage) -> NDArray[np.float32]:  # (H, W, C)
    return cv2.GaussianBlur(image, (0, 0), 1.0).astype(np.float32).reshape(*image.shape[:2], -1)


def _difference(colors: NDArray[np.float32], one: Mask) -> Floats:  # (C,)
    """Mean color in a mask minus that of a rim around it."""
    margin = 2 + round(math.sqrt(one.area) / 4)
    window, (left, top, right, bottom) = rle_crop(one.rle, margin)
    around = cv2.dilate(window.view(np.uint8), _disc(margin)) > cv2.dilate(
        window.view(np.uint8), _disc(1)
    )
    part = colors[top:bottom, left:right]
    if not around.any():
        return np.zeros(colors.shape[2])
    return (part[window].mean(axis=0) - part[around].mean(axis=0)).astype(np.float64)


def _ground(plane: Plane, covered: BoolArray, diameter: float) -> Plane:
    """Background value at each pixel: a wide mean outside the objects."""
    usual = float(np.median(plane[~covered])) if not covered.all() else float(plane.min())
    middle = float(np.median(plane[covered])) / 2 + usual / 2
    bare = ((plane < middle) & ~covered).astype(np.float32)
    step = max(1, round(diameter / 4))  # a wide mean does not require the full resolution
    height, width = plane.shape
    side = (max(1, width // step), max(1, height // step))
    weight = cv2.resize(bare, side, interpolation=cv2.INTER_AREA)
    values = cv2.resize(bare * (plane - np.float32(usual)), side, interpolation=cv2.INTER_AREA)
    wide = max(1.0, 2 * diameter / step)
    values = cv2.GaussianBlur(values, (0, 0), wide)
    weight = cv2.GaussianBlur(weight, (0, 0), wide) + np.float32(0.02)
    return cv2.resize(values / weight, (width, height)) + np.float32(usual)


def _foreground(plane: Plane, diameter: float) -> BoolArray:  # (H, W)
    """Pixels with the contrast of the objects; small holes are filled, specks removed."""
    ground = plane[plane < PIECE_CONTRAST]
    deviation = 1.48 * float(np.median(np.abs(ground - np.median(ground)))) if len(ground) else 0.0
    above = (plane > max(PIECE_CONTRAST, min(MIN_SIGMAS * deviation, 0.7))).astype(np.uint8)
    opening = _disc(max(1, round(0.05 * diameter)))
    above = cv2.morphologyEx(above, cv2.MORPH_OPEN, opening).astype(np.uint8)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(1 - above, connectivity=4)
    hole = stats[:, cv2.CC_STAT_AREA] < (diameter / 2) ** 2
    return (above > 0) | hole[labels]


def _divide(inside: BoolArray, diameter: float) -> Labels:
    """Label the objects in the foreground: a watershed on the distance to its border."""
    padded = np.pad(inside, 1, mode="edge").astype(np.uint8)  # the image border is not a waist
    distance = cv2.distanceTransform(padded, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[1:-1, 1:-1]
    smooth = cv2.GaussianBlur(distance, (0, 0), max(0.5, SEED_BLUR * diameter)).astype(np.float32)
    smooth[~inside] = 0
    # Seeds: maxima that exceed every path to a higher maximum by this depth.
    lower = np.maximum(smooth - np.float32(max(0.75, DEEP * diameter)), 0)
    summits = (smooth - _rebuilt(lower, smooth) > 1e-3) & inside
    summits &= smooth >= cv2.dilate(lower, _disc(1))
    labels = cv2.connectedComponents(summits.astype(np.uint8), connectivity=8)[1].astype(np.int32)
    for level in np.linspace(float(smooth.max()), 0, WATERSHED_LEVELS):
        labels = _grown(labels, inside & (smooth >= level))
    return labels


def _rebuilt(low: Plane, high: Plane) -> Plane:
    """Morphological reconstruction of `high` from `low`, which must not exceed it."""
    cross = cv2.getStructuringElement(cv2.MORPH_RECT, (3, 3))
    while True:
        grown = np.minimum(cv2.dilate(low, cross), high)
        if np.array_equal(grown, low):
            return grown
        low = grown


def _grown(labels: Labels, region: BoolArray) -> Labels:
    """Grow labels over the region one pixel at a time, without overlaps."""
    cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    while True:
        spread = cv2.dilate(labels.astype(np.float32), cross)
        free = region & (labels == 0) & (spread > 0)
        if not free.any():
            return labels
        labels = np.where(free, spread.astype(np.int32), labels)


def _pieces(labels: Labels, least: float) -> list[Mask]:
    """One mask per label with enough pixels."""
    rows, columns = np.nonzero(labels)
    order = np.argsort(labels[rows, columns], kind="stable")
    rows, columns = rows[order], columns[order]
    numbers, first, areas = np.unique(labels[rows, columns], return_index=True, return_counts=True)
    masks = []
    for number, start, area in zip(numbers, first, areas, strict=True):
        if area >= least:
            ys, xs = rows[start : start + area], columns[start : start + area]
            top, left = int(ys.min()), int(xs.min())
            part = labels[top : int(ys.max()) + 1, left : int(xs.max()) + 1] == number
            masks.append(Mask(crop_to_rle(part, (left, top), labels.shape)))
    return masks


def _of_same_color(image: UintImage, pieces: Sequence[Mask], members: Sequence[Mask]) -> list[Mask]:
    """Remove pieces whose mean color differs from that of every mask."""
    if not pieces or not members:
        return list(pieces)
    colors = _smooth_colors(image)
    contrast = np.median([np.linalg.norm(_difference(colors, mask)) for mask in members])
    known = np.array([_mean_color(colors, mask) for mask in members])
    own = np.array([_mean_color(colors, piece) for piece in pieces])
    near = np.linalg.norm(own[:, None] - known, axis=2).min(axis=1) <= FOREIGN * contrast
    return [piece for piece, same in zip(pieces, near, strict=True) if same]


def _mean_color(colors: NDArray[np.float32], one: Mask) -> Floats:  # (C,)
    crop, (left, top, right, bottom) = rle_crop(one.rle)
    return colors[top:bottom, left:right][crop].mean(axis=0).astype(np.float64)


def _merge(members: Sequence[Mask], objects: Sequence[Mask]) -> list[Mask]:
    """One mask per object, best first: the model's mask of a piece, else the piece itself."""
    if not members:
        return list(objects)
    overlap = rle_iou([mask.rle for mask in members], [piece.rle for piece in objects])
    score = PIECE_SCORE * float(np.median([mask.score for mask in members]))
    rank = [mask.objectness for mask in members if mask.objectness is not None]
    objectness = PIECE_SCORE * float(np.median(rank)) if rank else None
    merged = []
    for column, piece in enumerate(objects):
        row = int(overlap[:, column].argmax())
        if overlap[row, column] >= PIECE_MATCH_IOU:
            merged.append(members[row])
        else:
            merged.append(replace(piece, score=score, objectness=objectness))
    return sorted(merged, key=lambda one: -one.score)


def _disc(radius: int) -> NDArray[np.uint8]:
    side = 2 * radius + 1
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)).astype(np.uint8)
