"""Change detection between two maps: objects that appeared, vanished or changed.

Both maps are segmented tile by tile, with the second one warped to the pixels of the first and
registered to its content (below). An object has changed if most of its pixels have.
A pixel has changed if its color difference exceeds the noise of unchanged pixels, after a linear
correction of light and sensor for each band (relative radiometric normalization: trimmed least
squares on samples of both maps). Objects that stand out from their surroundings in the second map
only have appeared, those of the first map only have vanished, and others have changed.

Letters: h w a window, n samples.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import cv2
import numpy as np
from rasterio.enums import Resampling
from rasterio.transform import Affine
from rasterio.vrt import WarpedVRT

from anymask.base import BoolArray, Floats, InputError, UintImage
from anymask.maps.joining import MERGE_IOU
from anymask.maps.scene import Scene
from anymask.maps.segment_map import Cutting, TileProcessor, reprompt
from anymask.maps.tile_store import Fragment
from anymask.masks import Mask, Tile, Window, rle_iou, rle_to_mask
from anymask.segment import Model

# Registration of two maps of one area: the affine transform that aligns their content.
#
# Maps of two dates are often displaced by a few pixels, because their orthorectification differs.
# The transform is estimated by maximizing the enhanced correlation coefficient (ECC; Evangelidis
# and Psarakis 2008), which does not depend on brightness and contrast: a Euclidean transform of the
# reduced maps, from coarse to fine, and then shifts of samples at full resolution.
#
# Coordinates: pixels of the scene, with borders at whole numbers. Letters: n samples.

SAMPLE_COUNT, SAMPLE_SIDE = 5, 256  # maximum samples per side of a map, and their size in pixels
_REGISTRATION_SIDES = (256, 1024)  # longer sides of the reduced maps, in pixels
_ECC_ROUNDS, _PRECISION, _SMOOTHING = 60, 1e-5, 5  # of the ECC iterations; filter size in pixels
_MIN_CORRELATION_GAIN = 0.005  # minimum gain in correlation
_MIN_CORRELATION = 0.3  # minimum correlation of registered maps
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
    if max(first.image_hw) > _REGISTRATION_SIDES[-1]:
        transform = _refined(first, second, transform)
    height, width = first.image_hw
    corners = np.array([(0, 0), (width, 0), (0, height), (width, height)], np.float64)
    warped = corners @ transform[:2, :2].T + transform[:2, 2]
    moved = np.linalg.norm(warped - corners, axis=1).max()
    return transform if _NEAREST < moved < _FARTHEST * max(first.image_hw) else None


def sample_windows(scene: Scene) -> list[Window]:
    """Windows on a regular grid over a map."""
    height, width = scene.image_hw
    rows, columns = (
        np.linspace(0, max(0, side - SAMPLE_SIDE), min(SAMPLE_COUNT, math.ceil(side / SAMPLE_SIDE)))
        .astype(int)
        .tolist()
        for side in (height, width)
    )
    return [
        (x, y, min(x + SAMPLE_SIDE, width), min(y + SAMPLE_SIDE, height))
        for x, y in product(columns, rows)
    ]


def _coarse(first: Scene, second: Scene) -> Floats:
    """Euclidean transform of the reduced maps."""
    transform, (height, width) = np.eye(3), first.image_hw
    for side in _REGISTRATION_SIDES:
        scale = min(1.0, side / max(height, width))
        size = (max(1, round(height * scale)), max(1, round(width * scale)))
        (before, here), (after, there) = (
            scene.read_scaled((0, 0, width, height), size) for scene in (first, second)
        )
        # From scene pixels to indices of the reduced map, whose pixel centers are whole numbers.
        index = np.array(
            [[size[1] / width, 0, -0.5], [0, size[0] / height, -0.5], [0, 0, 1]], np.float64
        )
        start = index @ transform @ np.linalg.inv(index)
        warp = _ecc(before, after, here & there, start, cv2.MOTION_EUCLIDEAN)
        if warp is not None:
            transform = np.linalg.inv(index) @ warp @ index
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
        warp = _ecc(before, after, here & there, start, cv2.MOTION_TRANSLATION)
        if warp is not None:
            center = (np.array(window[:2]) + np.array(window[2:])) / 2
            places.append(center)
            targets.append(center + warp[:2, 2])
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
    gray, other = (cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in (before, after))
    mask = valid.astype(np.uint8)
    stop = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, _ECC_ROUNDS, _PRECISION)
    size = gray.shape[::-1]
    try:
        first = start[:2].astype(np.float32)
        warp = cv2.findTransformECC(gray, other, first, motion, stop, mask, _SMOOTHING)[1]
    except cv2.error:  # it does not converge, or an image is constant
        return None
    same = np.eye(2, 3, dtype=np.float32)
    scores = []
    for matrix in (same, warp):
        how = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        covered = cv2.warpAffine(mask, matrix, size, flags=how) * mask > 0
        if np.count_nonzero(covered) < SAMPLE_SIDE:
            return None
        moved = cv2.warpAffine(other, matrix, size, flags=how)
        scores.append(_correlation(_smoothed(gray)[covered], _smoothed(moved)[covered]))
    if scores[1] < max(_MIN_CORRELATION, scores[0] + _MIN_CORRELATION_GAIN):
        return None
    return np.vstack([warp, [0, 0, 1]]).astype(np.float64)


def _smoothed(gray: Any) -> Floats:
    return np.asarray(cv2.GaussianBlur(gray, (_SMOOTHING, _SMOOTHING), 0), np.float64)


def _correlation(one: Floats, other: Floats) -> float:  # (n,), (n,)
    """Correlation coefficient; 0 if one of them is constant."""
    one, other = one - one.mean(), other - other.mean()
    length = math.sqrt((one @ one) * (other @ other))
    return float(one @ other) / length if length > 0 else 0.0


MIN_CHANGED_SHARE = 0.5  # default minimum share of changed pixels of an object
_NOISE = 4.0  # minimum change, in standard deviations of the noise
_LEVELS = 12.0  # minimum change, of 255
_SPREAD = 1.4826  # standard deviation per median absolute deviation
_ROUNDS = 6  # iterations of the trimmed fit
_MOST_PIXELS = 100_000  # that it uses
_RING = np.ones((15, 15), np.uint8)  # surroundings of an object: 7 pixels on each side
_CLEARLY = 2.0  # minimum ratio of an object's squared contrasts to them in two maps
_FLOOR = 3.0  # maximum difference that always counts as unchanged


@contextlib.contextmanager
def aligned(second: Scene, first: Scene, register: bool = True) -> Iterator[Scene]:
    """Warp the second map to the pixels of the first while the `with` block runs.

    Args:
        register: Whether to correct a displacement of the content as well. The transform from
            pixels of the first map to pixels of the second is `about["registered"]` of the result.

    Raises:
        InputError: The maps do not overlap.
    """
    ours, theirs = first.dataset, second.dataset
    same = theirs.crs == ours.crs and theirs.shape == ours.shape
    with contextlib.ExitStack() as stack:
        scene = replace(second, step=first.step)
        if not (same and np.allclose(tuple(theirs.transform), tuple(ours.transform), rtol=1e-9)):
            scene = stack.enter_context(_warped(scene, first, ours.transform))
            _, valid = scene.read_scaled((0, 0, *first.image_hw[::-1]), (64, 64))
            if not valid.any():
                raise InputError(
                    f"{first.name} and {second.name} do not overlap. Use maps of the same area."
                )
        transform = registration(first, scene) if register else None
        if transform is not None:
            scale = np.diag([*first.step, 1.0])
            moved = Affine(*(scale @ transform @ np.linalg.inv(scale))[:2].ravel().tolist())
            scene = stack.enter_context(
                _warped(replace(second, step=first.step), first, ours.transform * moved)
            )
            scene.about["registered"] = transform[:2].round(6).tolist()
        yield scene


@contextlib.contextmanager
def _warped(second: Scene, first: Scene, transform: Any) -> Iterator[Scene]:
    """Resample the second map to a grid of the size of the first."""
    theirs, ours = second.dataset, first.dataset
    with WarpedVRT(
        theirs, crs=ours.crs, transform=transform, width=ours.width, height=ours.height,
        resampling=Resampling.bilinear, add_alpha=theirs.nodata is None
        and "alpha" not in [kind.name for kind in theirs.colorinterp],
    ) as warped:  # fmt: skip
        yield replace(second, dataset=warped, about=dict(second.about))


@dataclass(frozen=True, eq=False)
class ColorLine:
    """Linear correction from the second map's colors to the first one's, and noise."""

    gain: Floats  # Gain (3,) of each band
    bias: Floats  # Offset (3,) of each band
    noise: Floats  # Standard deviation (3,) of unchanged pixels

    def changed(self, first: UintImage, second: UintImage) -> BoolArray:  # (h, w, 3) -> (h, w)
        """Pixels whose color changed. Pixels that are equal in both maps never count."""
        before, after = (
            cv2.GaussianBlur(image, (5, 5), 0).astype(np.float32) for image in (first, second)
        )
        apart = np.abs(before - (after * self.gain + self.bias))
        least = np.maximum(_LEVELS, _NOISE * self.noise)
        return np.any(apart > least, axis=2) & np.any(first != second, axis=2)


def fit_line(first: Scene, second: Scene) -> ColorLine:
    """Fit the correction of each band to samples of both maps."""
    before, after = [], []
    for window in sample_windows(first):
        (ours, here), (theirs, there) = first.read(window), second.read(window)
        before.append(cv2.GaussianBlur(ours, (5, 5), 0)[here & there])
        after.append(cv2.GaussianBlur(theirs, (5, 5), 0)[here & there])
    one, other = (np.concatenate(part).astype(np.float64) for part in (before, after))
    if not len(one):
        return ColorLine(np.ones(3), np.zeros(3), np.zeros(3))
    stride = math.ceil(len(one) / _MOST_PIXELS)
    return trimmed_line(one[::stride], other[::stride])


def trimmed_line(before: Floats, after: Floats) -> ColorLine:  # (n, 3), (n, 3)
    """Fit the correction of each band to unchanged samples.

    Trimmed least squares: outliers are removed and the fit is repeated, so that real changes do not
    affect it.
    """
    gain, bias = np.ones(3), np.median(before - after, axis=0)
    for _ in range(_ROUNDS):
        apart = np.abs(before - (after * gain + bias))
        near = apart <= np.maximum(_FLOOR, 2 * _SPREAD * np.median(apart, axis=0))
        for band in range(3):
            x, y = after[near[:, band], band], before[near[:, band], band]
            spread = x.var()
            slope = ((x - x.mean()) * (y - y.mean())).mean() / spread if spread > 1 else 1.0
            gain[band] = np.clip(slope, 0.5, 2)
            bias[band] = y.mean() - gain[band] * x.mean()
    apart = before - (after * gain + bias)
    noise = _SPREAD * np.median(np.abs(apart - np.median(apart, axis=0)), axis=0)
    return ColorLine(gain, bias, noise)


class ChangeProcessor(TileProcessor):
    """Detect changes between two maps in tiles. See `survey.WindowProcessor`.

    Args:
        second: Second map, warped by `aligned`.
        find: Function that returns the masks of a tile.
        least: Minimum share of changed pixels of an object.
    """

    by_label = False

    def __init__(
        self,
        first: Scene,
        second: Scene,
        model: Model,
        find: Callable[[UintImage], Sequence[Mask]],
        *,
        about: dict[str, Any] | None = None,
        tile: Tile = "auto",
        least: float = MIN_CHANGED_SHARE,
    ) -> None:
        if not 0 < least <= 1:
            raise InputError(
                f"The minimum share of changed pixels must be from 0 to 1, got {least}."
            )
        super().__init__(first, model, find, about=about, prompt="change", tile=tile)
        self.second, self.least = second, least
        self.line = fit_line(first, second)
        self.sources = {"appeared": second.name}
        self.about |= {"second": second.about, "least": least}

    def detect(self, window: Window) -> list[Fragment]:
        (before, here), (after, there) = self.scene.read(window), self.second.read(window)
        valid = here & there
        changed = self.line.changed(before, after) & valid
        if not changed.any():
            return []
        old, new = self._changed_masks(before, changed), self._changed_masks(after, changed)
        agree = rle_iou([mask.rle for mask in old], [mask.rle for mask in new]) > MERGE_IOU
        twins = np.concatenate([agree.any(axis=1), agree.any(axis=0)])
        masks = [
            replace(mask, label="changed" if twin else self._label(mask, changed, before, after))
            for number, (mask, twin) in enumerate(zip([*old, *new], twins, strict=True))
            if number < len(old) or not twin
        ]
        return Cutting(window, self.scene.image_hw, self.prompt).fragments(masks, valid)

    def _label(self, mask: Mask, changed: BoolArray, before: UintImage, after: UintImage) -> str:
        """Label an object by the map in which its changed pixels stand out from its surroundings.

        A model also segments the bare ground where an object was, or will be.
        """
        inside = rle_to_mask(mask.rle)
        ring = cv2.dilate(inside.view(np.uint8), _RING).view(np.bool_) & ~inside & ~changed
        if not ring.any():
            return "changed"
        old, new = (
            float(np.square(image[inside & changed] - image[ring].mean(axis=0)).mean())
            for image in (before, after * self.line.gain)
        )
        return (
            "vanished"
            if old > _CLEARLY * new
            else "appeared"
            if new > _CLEARLY * old
            else "changed"
        )

    def _changed_masks(self, image: UintImage, changed: BoolArray) -> list[Mask]:
        """Masks of a tile that have changed. The changed share is their score."""
        masks = []
        for mask in self.find(image):
            share = np.count_nonzero(rle_to_mask(mask.rle) & changed) / max(mask.area, 1)
            if share >= self.least:
                masks.append(replace(mask, score=float(share), objectness=None))
        return masks

    def again(self, window: Window, pieces: Sequence[Fragment]) -> list[list[Fragment]]:
        """Predict again on the map that contains the object. See `WindowProcessor`."""
        answers: dict[int, list[Fragment]] = {}
        cutting = Cutting(window, self.scene.image_hw, self.prompt)
        for scene, labels in ((self.scene, ("vanished", "changed")), (self.second, ("appeared",))):
            if some := [piece for piece in pieces if piece.label in labels]:
                image, valid = scene.read(window)
                parts = reprompt(self.model, image, some, cutting, valid)
                answers |= {piece.id: answer for piece, answer in zip(some, parts, strict=True)}
        return [answers[piece.id] for piece in pieces]
