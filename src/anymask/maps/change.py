"""What changed between two maps of one place: things that appeared, vanished or look different.

Both maps are searched for everything, tile by tile, the second one brought onto the first one's
pixels. A thing has changed where most of its pixels have: their colors differ by more than the
noise of pixels that stayed the same, after light and sensor are evened out by a line for each band
(relative radiometric normalization: trimmed least squares on samples of both maps). It appeared
where only the second map has it, vanished where only the first one has it, and changed where both
have.

Letters: h w a window, n samples.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
from rasterio.enums import Resampling
from rasterio.vrt import WarpedVRT

from anymask.base import BoolArray, Floats, InputError, UintImage
from anymask.maps.joining import RIVAL
from anymask.maps.scene import Scene
from anymask.maps.survey import Cutting, TileEye, asked_by_clicks
from anymask.maps.worksheet import Fragment
from anymask.masks import Mask, Tile, Window, rle_iou, rle_to_mask
from anymask.segment import Model

LEAST = 0.5  # of a thing's pixels
_NOISE = 4.0  # spreads of what stayed the same, from which on a pixel has changed
_LEVELS = 12.0  # of 255, which a change has at least
_SAMPLES, _SAMPLE_SIDE = 5, 256  # windows along each side, for the line of each band
_SPREAD = 1.4826  # of a median absolute deviation, as a standard deviation
_ROUNDS = 6  # of the trimmed fit
_FLOOR = 3.0  # levels within which a sample always counts as unchanged


@contextlib.contextmanager
def aligned(second: Scene, first: Scene) -> Iterator[Scene]:
    """The second map on the first one's pixels. Raises InputError where they share no place."""
    ours, theirs = first.dataset, second.dataset
    same = theirs.crs == ours.crs and theirs.shape == ours.shape
    if same and np.allclose(tuple(theirs.transform), tuple(ours.transform), rtol=1e-9):
        yield replace(second, step=first.step)
        return
    with WarpedVRT(
        theirs, crs=ours.crs, transform=ours.transform, width=ours.width, height=ours.height,
        resampling=Resampling.bilinear, add_alpha=theirs.nodata is None
        and "alpha" not in [kind.name for kind in theirs.colorinterp],
    ) as warped:  # fmt: skip
        scene = replace(second, dataset=warped, step=first.step)
        _, valid = scene.read_scaled((0, 0, *first.image_hw[::-1]), (64, 64))
        if not valid.any():
            raise InputError(
                f"{first.name} and {second.name} do not overlap. Use maps of the same area."
            )
        yield scene


@dataclass(frozen=True, eq=False)
class ColourLine:
    """How the second map's colors become the first one's, and how much they differ by chance.

    Attributes:
        gain: (3,) of each band.
        bias: (3,) of each band.
        noise: (3,) of each band.
    """

    gain: Floats
    bias: Floats
    noise: Floats

    def changed(self, first: UintImage, second: UintImage) -> BoolArray:  # (h, w, 3) -> (h, w)
        """The pixels whose color changed; pixels that are equal in both maps never do."""
        before, after = (
            cv2.GaussianBlur(one, (5, 5), 0).astype(np.float32) for one in (first, second)
        )
        apart = np.abs(before - (after * self.gain + self.bias))
        found: BoolArray = np.any(apart > np.maximum(_LEVELS, _NOISE * self.noise), axis=2)
        found &= np.any(first != second, axis=2)
        return found


def fit_line(first: Scene, second: Scene) -> ColourLine:
    """The line of each band, from windows that are spread over both maps."""
    before, after = [], []
    height, width = first.image_hw
    for y in np.linspace(0, max(0, height - _SAMPLE_SIDE), _SAMPLES).astype(int).tolist():
        for x in np.linspace(0, max(0, width - _SAMPLE_SIDE), _SAMPLES).astype(int).tolist():
            window = (x, y, min(x + _SAMPLE_SIDE, width), min(y + _SAMPLE_SIDE, height))
            (ours, here), (theirs, there) = first.read(window), second.read(window)
            before.append(cv2.GaussianBlur(ours, (5, 5), 0)[here & there])
            after.append(cv2.GaussianBlur(theirs, (5, 5), 0)[here & there])
    one, other = (np.concatenate(part).astype(np.float64) for part in (before, after))
    if not len(one):
        return ColourLine(np.ones(3), np.zeros(3), np.zeros(3))
    return trimmed_line(one, other)


def trimmed_line(before: Floats, after: Floats) -> ColourLine:  # (n, 3), (n, 3)
    """Fit the line of each band to the samples that stayed the same.

    Least squares, trimmed: samples that are off by more than the noise are left out, and the line
    is fitted again. So the change itself does not move it.
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
    return ColourLine(gain, bias, noise)


class ChangeEye(TileEye):
    """What changed from one map to another, in tiles; see `survey.Eye`.

    Args:
        second: On the first one's pixels: `aligned`.
        find: The masks of one tile.
        least: Share of a thing's pixels that must have changed.
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
        least: float = LEAST,
    ) -> None:
        if not 0 < least <= 1:
            raise InputError(
                f"The minimum share of changed pixels must be from 0 to 1, got {least}."
            )
        super().__init__(first, model, find, about=about, prompt="change", tile=tile)
        self.second, self.least = second, least
        self.line = fit_line(first, second)
        self.about |= {"second": second.about, "least": least}

    def look(self, window: Window) -> list[Fragment]:
        (before, here), (after, there) = self.scene.read(window), self.second.read(window)
        valid = here & there
        changed = self.line.changed(before, after) & valid
        if not changed.any():
            return []
        old, new = self._changed_masks(before, changed), self._changed_masks(after, changed)
        agree = rle_iou([one.rle for one in old], [one.rle for one in new]) > RIVAL
        stayed, known = np.any(agree, axis=1).tolist(), np.any(agree, axis=0).tolist()
        found = [
            replace(one, label="changed" if both else "vanished")
            for one, both in zip(old, stayed, strict=True)
        ]
        found += [
            replace(one, label="appeared") for one, both in zip(new, known, strict=True) if not both
        ]
        return Cutting(window, self.scene.image_hw, self.prompt).fragments(found, valid)

    def _changed_masks(self, picture: UintImage, changed: BoolArray) -> list[Mask]:
        """The things of a tile of which enough has changed; the share is their score."""
        kept = []
        for one in self.find(picture):
            share = np.count_nonzero(rle_to_mask(one.rle) & changed) / max(one.area, 1)
            if share >= self.least:
                kept.append(replace(one, score=float(share), objectness=None))
        return kept

    def again(self, window: Window, pieces: Sequence[Fragment]) -> list[list[Fragment]]:
        """See `Eye`: asked on the map that has the thing."""
        answers: dict[int, list[Fragment]] = {}
        cutting = Cutting(window, self.scene.image_hw, self.prompt)
        for scene, labels in ((self.scene, ("vanished", "changed")), (self.second, ("appeared",))):
            some = [one for one in pieces if one.label in labels]
            if some:
                picture, valid = scene.read(window)
                found = asked_by_clicks(self.model, picture, some, cutting, valid)
                answers |= {one.id: answer for one, answer in zip(some, found, strict=True)}
        return [answers[one.id] for one in pieces]
