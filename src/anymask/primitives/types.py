"""The records that every floor shares: what a user asks, and what a model answers.

Letters: H W the photo, h w a feature map or low-resolution mask, S the model's input side, C
channels, N prompts (objects), P points, K candidates. Points are (x, y), sizes are (h, w), boxes
are xyxy; all are image pixels unless the name says `model`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from anymask.primitives.errors import InputError, PromptError
from anymask.primitives.spec import Geometry

BoolArray = NDArray[np.bool_]
FloatArray = NDArray[np.float32]
IntArray = NDArray[np.int64]
UintImage = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Prompt:
    """What the user says about one object, in image pixels.

    points  (P, 2) x, y clicks
    labels  (P,) 1 on the object, 0 off it; all 1 when left out
    box     (4,) x0, y0, x1, y1
    mask    a start to improve: (H, W) bool of any size, or (h, w) float logits from an earlier
            answer of the same model

    Raises PromptError on empty prompts, wrong shapes, labels other than 0 and 1, values that are
    not finite, and boxes without area.
    """

    points: FloatArray | None = None
    labels: IntArray | None = None
    box: FloatArray | None = None
    mask: NDArray[Any] | None = None

    @classmethod
    def of(
        cls,
        points: ArrayLike | None = None,
        labels: ArrayLike | None = None,
        box: ArrayLike | None = None,
        mask: ArrayLike | None = None,
    ) -> Prompt:
        raise NotImplementedError


@dataclass(frozen=True, eq=False)
class ModelPrompts:
    """N prompts of equal length in model space, as a decoder takes them.

    coords    (N, P, 2) float32, model pixels
    labels    (N, P) int64: 1 object, 0 background, 2 and 3 box corners, -1 no point
    masks     (N, 1, m, m) float32 logits, zeros where there is none
    has_mask  (N,) float32, 1 where `masks` counts
    """

    coords: FloatArray
    labels: IntArray
    masks: FloatArray
    has_mask: FloatArray


@dataclass(frozen=True, eq=False)
class Embedding:
    """What the encoder saw in one photo; it can be saved, sent, cached and shared by threads.

    features    (C, h, w) float32
    extras      further maps of the family, (C', h', w') each, in the decoder's order
    geometry    where the photo lies in model space
    model       the model's name
    model_hash  of its weights; a decoder refuses an embedding of another model
    image_hash  of the pixels
    """

    features: FloatArray
    geometry: Geometry
    model: str
    model_hash: str
    image_hash: str = ""
    extras: tuple[FloatArray, ...] = field(default=())

    @property
    def image_hw(self) -> tuple[int, int]:
        """(H, W) of the photo."""
        return self.geometry.image_hw

    def save(self, path: str | Path) -> None:
        raise NotImplementedError

    @classmethod
    def load(cls, path: str | Path) -> Embedding:
        raise NotImplementedError


@dataclass(frozen=True, eq=False)
class Candidates:
    """The answers to one prompt, best quality first.

    logits           (K, h, w) float32, model space
    quality          (K,) float32, the model's own number, raw
    order            (K,) int64, each candidate's place in the model's own order
    geometry         how the logits lie over the photo
    threshold        logits above it are object
    violated_points  indices of the clicks that the best mask does not honour
    """

    logits: FloatArray
    quality: FloatArray
    order: IntArray
    geometry: Geometry
    threshold: float = 0.0
    violated_points: tuple[int, ...] = ()

    def __len__(self) -> int:
        return len(self.quality)

    @cached_property
    def masks(self) -> BoolArray:
        """(K, H, W) bool in image pixels, made when first looked at."""
        raise NotImplementedError
