"""Registration of two maps of one area: the affine transform that aligns their content.

Maps of two dates are often displaced by a few pixels, because their orthorectification differs. The
transform is estimated by maximizing the enhanced correlation coefficient (ECC; Evangelidis and
Psarakis 2008), which does not depend on brightness and contrast: a Euclidean transform of the
reduced maps, from coarse to fine, and then shifts of samples at full resolution.

Coordinates: pixels of the scene, with borders at whole numbers. Letters: n samples.
"""

from __future__ import annotations

import math
from itertools import product
from typing import Any

import cv2
import numpy as np

from anymask.base import BoolArray, Floats, UintImage
from anymask.maps.scene import Scene
from anymask.masks import Window

SAMPLES, SAMPLE_SIDE = 5, 256  # maximum samples per side of a map, and their size in pixels
_SIDES = (256, 1024)  # longer sides of the reduced maps, in pixels
_ROUNDS, _PRECISION, _SMOOTHING = 60, 1e-5, 5  # of the ECC iterations; filter size in pixels
_GAIN = 0.005  # minimum gain in correlation
_LEAST = 0.3  # minimum correlation of registered maps
_FARTHEST = 0.05  # maximum displacement, as a share of the longer side
_NEAREST = 0.1  # smaller displacements are ignored, in pixels
_APART, _AGREEING = 0.5, 4  # of samples: maximum residual in pixels, and minimum number


def registration(first: Scene, second: Scene) -> Floats | None:
    """Estimate the transform (3, 3) from pixels of the first map to pixels of the second.

    Args:
        second: Map on the pixel grid of the first one.

    Returns:
        The transform, or None if the maps are aligned or too different to be registered.
    """
    transform = _coarse(first, second)
    if max(first.image_hw) > _SIDES[-1]:
        transform = _refined(first, second, transform)
    corners = _corners(first)
    moved = np.linalg.norm(apply_transform(transform, corners) - corners, axis=1).max()
    return transform if _NEAREST < moved < _FARTHEST * max(first.image_hw) else None


def sample_windows(scene: Scene) -> list[Window]:
    """Windows on a regular grid over a map."""
    height, width = scene.image_hw
    rows, columns = (
        np.linspace(0, max(0, side - SAMPLE_SIDE), min(SAMPLES, math.ceil(side / SAMPLE_SIDE)))
        .astype(int)
        .tolist()
        for side in (height, width)
    )
    return [
        (x, y, min(x + SAMPLE_SIDE, width), min(y + SAMPLE_SIDE, height))
        for x, y in product(columns, rows)
    ]


def apply_transform(transform: Floats, points: Floats) -> Floats:  # (3, 3), (n, 2) -> (n, 2)
    """Apply an affine transform to points."""
    found: Floats = points @ transform[:2, :2].T + transform[:2, 2]
    return found


def _corners(scene: Scene) -> Floats:  # (4, 2)
    height, width = scene.image_hw
    return np.array([(0, 0), (width, 0), (0, height), (width, height)], np.float64)


def _coarse(first: Scene, second: Scene) -> Floats:
    """Euclidean transform of the reduced maps."""
    transform, (height, width) = np.eye(3), first.image_hw
    for side in _SIDES:
        scale = min(1.0, side / max(height, width))
        size = (max(1, round(height * scale)), max(1, round(width * scale)))
        (before, here), (after, there) = (
            one.read_scaled((0, 0, width, height), size) for one in (first, second)
        )
        # From scene pixels to indices of the reduced map, whose pixel centers are whole numbers.
        index = np.array(
            [[size[1] / width, 0, -0.5], [0, size[0] / height, -0.5], [0, 0, 1]], np.float64
        )
        start = index @ transform @ np.linalg.inv(index)
        found = _ecc(before, after, here & there, start, cv2.MOTION_EUCLIDEAN)
        if found is not None:
            transform = np.linalg.inv(index) @ found @ index
        if scale == 1:
            break
    return transform


def _refined(first: Scene, second: Scene, transform: Floats) -> Floats:
    """Correct a transform by the shifts of samples at full resolution."""
    places, targets = [], []
    for window in sample_windows(first):
        (before, here), (after, there) = first.read(window), second.read(window)
        corner = np.eye(3)
        corner[:2, 2] = np.array(window[:2]) + 0.5
        start = np.linalg.inv(corner) @ transform @ corner
        start[:2, :2] = np.eye(2)
        found = _ecc(before, after, here & there, start, cv2.MOTION_TRANSLATION)
        if found is not None:
            center = (np.array(window[:2]) + np.array(window[2:])) / 2
            places.append(center)
            targets.append(center + found[:2, 2])
    if len(places) < _AGREEING:
        return transform
    fitted, inliers = cv2.estimateAffinePartial2D(
        np.array(places), np.array(targets), ransacReprojThreshold=_APART
    )
    if np.count_nonzero(inliers) < _AGREEING:  # also without a transform
        return transform
    return np.vstack([fitted, [0, 0, 1]])


def _ecc(
    before: UintImage, after: UintImage, valid: BoolArray, start: Floats, motion: int
) -> Floats | None:
    """Transform (3, 3) of pixel indices by ECC; None if it does not improve the correlation."""
    if np.count_nonzero(valid) < SAMPLE_SIDE:
        return None
    gray, other = (cv2.cvtColor(one, cv2.COLOR_RGB2GRAY) for one in (before, after))
    mask = valid.astype(np.uint8)
    stop = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, _ROUNDS, _PRECISION)
    size = gray.shape[::-1]
    try:
        first = start[:2].astype(np.float32)
        warp = cv2.findTransformECC(gray, other, first, motion, stop, mask, _SMOOTHING)[1]
    except cv2.error:  # it does not converge, or an image is constant
        return None
    same = np.eye(2, 3, dtype=np.float32)
    scores = []
    for one in (same, warp):
        how = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        seen = cv2.warpAffine(mask, one, size, flags=how) * mask > 0
        if np.count_nonzero(seen) < SAMPLE_SIDE:
            return None
        moved = cv2.warpAffine(other, one, size, flags=how)
        scores.append(_correlation(_smoothed(gray)[seen], _smoothed(moved)[seen]))
    if scores[1] < max(_LEAST, scores[0] + _GAIN):
        return None
    return np.vstack([warp, [0, 0, 1]]).astype(np.float64)


def _smoothed(gray: Any) -> Floats:
    return np.asarray(cv2.GaussianBlur(gray, (_SMOOTHING, _SMOOTHING), 0), np.float64)


def _correlation(one: Floats, other: Floats) -> float:  # (n,), (n,)
    """Correlation coefficient; 0 if one of them is constant."""
    one, other = one - one.mean(), other - other.mean()
    length = math.sqrt((one @ one) * (other @ other))
    return float(one @ other) / length if length > 0 else 0.0
