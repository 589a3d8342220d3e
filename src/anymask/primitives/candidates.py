"""Answers to one prompt: decoder logits or finished pixels in, masks with their quality out.

Letters: K candidates, H W the photo, h w a low-resolution mask.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np

from anymask.primitives.errors import InputError
from anymask.primitives.resize import logits_to_masks, logits_to_rles
from anymask.primitives.rle import Rle, mask_to_rle, rle_to_mask
from anymask.primitives.spec import Geometry
from anymask.primitives.types import BoolArray, FloatArray, IntArray


@dataclass(frozen=True, eq=False)
class Mask:
    """One mask over a photo.

    logits     (h, w) float32, model space: what is fed back to the decoder
    geometry   how the logits lie over the photo
    quality    this mask's own number, raw
    order      its place in the model's own order
    threshold  logits above it are object
    finished   run-lengths of the photo's size, where a step behind the model decided on pixels;
               None: the pixels are what the logits draw
    """

    logits: FloatArray
    geometry: Geometry
    quality: float
    order: int = 0
    threshold: float = 0.0
    finished: Rle | None = None

    def pixels(self) -> BoolArray:  # (H, W)
        """The mask in the photo, made each time."""
        if self.finished is not None:
            return rle_to_mask(self.finished)
        drawn: BoolArray = logits_to_masks(self.logits[None], self.geometry, self.threshold)[0]
        return drawn

    def rle(self) -> Rle:
        """The run-lengths of the same pixels."""
        if self.finished is not None:
            return self.finished
        return logits_to_rles(self.logits[None], self.geometry, self.threshold)[0]

    def with_logits(self, logits: FloatArray) -> Mask:
        """The same mask drawn by other logits (h, w)."""
        return replace(self, logits=logits, finished=None)

    def with_pixels(self, pixels: BoolArray) -> Mask:
        """The same mask with decided pixels (H, W); the logits stay what is fed back."""
        return replace(self, finished=mask_to_rle(pixels))

    def cells(self) -> int:
        """The size of the object in the cells of the logits that are photo."""
        rows, columns = (
            -(-filled * low // self.geometry.side)
            for filled, low in zip(self.geometry.input_hw, self.logits.shape, strict=True)
        )
        return int(np.count_nonzero(self.logits[:rows, :columns] > self.threshold))


@dataclass(frozen=True, eq=False)
class Candidates:
    """The answers to one prompt, the first one first.

    items            one `Mask` for each of K candidates, at least one
    violated_points  indices of the clicks that the first mask does not obey
    """

    items: tuple[Mask, ...]
    violated_points: tuple[int, ...] = ()

    @classmethod
    def of_logits(
        cls,
        logits: FloatArray,
        quality: FloatArray,
        order: IntArray,
        geometry: Geometry,
        threshold: float = 0.0,
    ) -> Candidates:  # (K, h, w), (K,), (K,)
        """What a decoder said, the first candidate first."""
        rows = zip(logits, quality.tolist(), order.tolist(), strict=True)
        return cls(tuple(Mask(plane, geometry, q, place, threshold) for plane, q, place in rows))

    def __len__(self) -> int:
        return len(self.items)

    @property
    def first(self) -> Mask:
        """The candidate that is shown first."""
        return self.items[0]

    @property
    def geometry(self) -> Geometry:
        """How the logits lie over the photo."""
        return self.first.geometry

    @property
    def threshold(self) -> float:
        """Logits above it are object."""
        return self.first.threshold

    @cached_property
    def logits(self) -> FloatArray:
        """(K, h, w) float32, model space."""
        return np.stack([one.logits for one in self.items])

    @cached_property
    def quality(self) -> FloatArray:
        """(K,) float32, each mask's own number, raw: the first one is not always the largest."""
        return np.array([one.quality for one in self.items], np.float32)

    @cached_property
    def order(self) -> IntArray:
        """(K,) int64, each candidate's place in the model's own order."""
        return np.array([one.order for one in self.items], np.int64)

    @cached_property
    def masks(self) -> BoolArray:
        """(K, H, W) bool in image pixels, made when first looked at."""
        if any(one.finished is not None for one in self.items):
            return np.stack([one.pixels() for one in self.items])
        return logits_to_masks(self.logits, self.geometry, self.threshold)

    def rles(self) -> list[Rle]:
        """The run-lengths of each mask's pixels."""
        if any(one.finished is not None for one in self.items):
            return [one.rle() for one in self.items]
        return logits_to_rles(self.logits, self.geometry, self.threshold)

    def cells(self) -> IntArray:
        """(K,) the size of each object, in the low-resolution mask's cells that are photo."""
        return np.array([one.cells() for one in self.items], np.int64)

    def picked(self, places: Sequence[int]) -> Candidates:
        """Some of the candidates, in the given order."""
        return replace(self, items=tuple(self.items[place] for place in places))

    def granularity_of(self, index: int) -> float | Literal["all"]:
        """The user's choice of a candidate, for `segment(..., granularity=...)` of later clicks.

        From 0, the smallest of the candidates (a part), to 1, the largest (the whole); "all" where
        there is nothing to choose from. Raises InputError when there is no such candidate.
        """
        if not 0 <= index < len(self):
            raise InputError(f"there are candidates 0 to {len(self) - 1}, got {index}")
        sizes = self.cells()
        some = np.flatnonzero(sizes)
        if len(some) < 2 or not sizes[index]:
            return "all"
        by_size = some[np.argsort(sizes[some], kind="stable")].tolist()
        return float(by_size.index(index) / (len(some) - 1))
