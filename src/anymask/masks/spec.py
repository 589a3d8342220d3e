"""Pictures of any channels: an array of any number type in, the (H, W, 3) that a model sees out.

A model that was tuned on other pictures than photos has a `ChannelMix`: each channel's numbers are
brought to 0..255 between the two values that the training pictures had, then a learned 1 x 1
convolution makes red, green and blue of them. What comes after it is as for any photo.

Letters: H W the picture, C its channels, 1 to `MOST_CHANNELS`.

Model specification: how a model sees a picture, and a photo's place (geometry) in model space.

Letters: S the model's input side, m the side of its low-resolution masks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from anymask.base import ImageError, InputError

MOST_CHANNELS = 16
WHITE = 255.0
_STRIP_PIXELS = 1_000_000
_LARGEST = 1e30  # of any number of a mix


@dataclass(frozen=True, kw_only=True)
class ChannelMix:
    """How pictures of C channels become red, green and blue.

    lows, highs  each channel's values that become 0 and 255, C each; what lies beyond is cut
    weights      (3, C): red, green and blue of the channels on that scale
    bias         3 numbers, added on the same scale
    dtype        the type of the training pictures' numbers: 8 bits stand for no others
    """

    lows: tuple[float, ...]
    highs: tuple[float, ...]
    weights: tuple[tuple[float, ...], ...]
    bias: tuple[float, ...] = (0.0, 0.0, 0.0)
    dtype: str = "uint8"

    @property
    def count(self) -> int:
        """C."""
        return len(self.lows)

    @classmethod
    def starting(
        cls, ranges: Sequence[tuple[float, float]], rgb: Sequence[int] | None, dtype: str
    ) -> ChannelMix:
        """A mix that has learned nothing.

        ranges  low and high of each channel
        rgb     which channels are red, green and blue, counted from 1: they pass unchanged, the
                others not at all; None: the mean of all channels is seen, as grey
        """
        lows, highs = zip(*ranges, strict=True)
        share = 1 / len(lows)
        rows = [[share] * len(lows) for _ in range(3)]
        if rgb is not None:
            rows = [[float(c + 1 == band) for c in range(len(lows))] for band in rgb]
        return cls(lows=lows, highs=highs, weights=tuple(map(tuple, rows)), dtype=dtype)

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> ChannelMix:
        """A mix from JSON's values. Raises KeyError, TypeError or ValueError for others."""
        mix = cls(
            lows=_numbers(record["lows"]),
            highs=_numbers(record["highs"]),
            weights=tuple(_numbers(row) for row in record["weights"]),
            bias=_numbers(record["bias"]),
            dtype=str(np.dtype(record["dtype"])),
        )
        sizes = {len(mix.highs), *(len(row) for row in mix.weights)}
        if not 1 <= mix.count <= MOST_CHANNELS or sizes != {mix.count}:
            raise ValueError(f"a mix is of 1 to {MOST_CHANNELS} channels, in all of its rows")
        if len(mix.weights) != 3 or len(mix.bias) != 3:
            raise ValueError("a mix makes red, green and blue: 3 rows and 3 numbers")
        if any(low >= high for low, high in zip(mix.lows, mix.highs, strict=True)):
            raise ValueError("a channel's low must be less than its high")
        return mix

    def check(self, array: NDArray[Any], name: str) -> NDArray[Any]:  # -> (H, W, C)
        """A picture of these channels, whatever else it is. Raises InputError, ImageError.

        Where one channel is wanted, three equal ones (a grey picture as colours) are it.
        """
        array = array[..., None] if array.ndim == 2 else array
        if array.ndim != 3 or not array.size or array.dtype.kind not in "buif":
            raise ImageError(
                f"wanted a picture (H, W, {self.count}) of real numbers, {name} is {array.dtype} "
                f"{array.shape}; put the channels last"
            )
        grey = self.count == 1 and array.shape[2] == 3
        if grey and (array == array[..., :1]).all():
            array = array[..., :1]
        if array.shape[2] != self.count:
            raise InputError(
                f"wanted {self.count} channel{'s' if self.count > 1 else ''}, as the pictures that "
                f"this model was tuned on; {name} has {array.shape[2]}; give a picture of the same "
                "channels, or take another model"
            )
        if array.dtype == np.uint8 and self.dtype != "uint8":
            raise InputError(
                f"wanted numbers of {self.dtype}, as the pictures that this model was tuned on; "
                f"{name} has 8 bits; give the picture as it was recorded, not a converted one"
            )
        return array

    def scaled(self, array: NDArray[Any]) -> NDArray[np.uint8]:  # (H, W, C) -> the same
        """Each channel's low as 0 and its high as 255, rounded; NaN as 0."""
        out = np.empty(array.shape, np.uint8)
        for rows in _strips(array):
            out[rows] = np.rint(self._on_scale(array[rows])).astype(np.uint8)
        return out

    def to_rgb(self, array: NDArray[Any]) -> NDArray[np.uint8]:  # (H, W, C) -> (H, W, 3)
        """The picture as the model sees it."""
        weights = np.array(self.weights, np.float32).T
        bias = np.array(self.bias, np.float32)
        out = np.empty((*array.shape[:2], 3), np.uint8)
        for rows in _strips(array):
            mixed = self._on_scale(array[rows]) @ weights + bias
            out[rows] = np.rint(mixed.clip(0, WHITE)).astype(np.uint8)
        return out

    def _on_scale(self, values: NDArray[Any]) -> NDArray[np.float32]:
        low, high = np.array(self.lows, np.float64), np.array(self.highs, np.float64)
        if values.dtype == np.uint8 and not low.any() and (high == WHITE).all():
            return values.astype(np.float32)
        with np.errstate(invalid="ignore", over="ignore"):
            scaled = (values.astype(np.float64) - low) * (WHITE / (high - low))
        cut: NDArray[np.float32] = np.nan_to_num(scaled.clip(0, WHITE), nan=0.0).astype(np.float32)
        return cut


def measure_ranges(
    arrays: Sequence[NDArray[Any]], percentiles: tuple[float, float]
) -> list[tuple[float, float]]:
    """Low and high of each channel of pictures (H, W, C): 0 and 255 of 8 bits, else percentiles.

    Numbers that are not finite do not count.
    """
    if all(array.dtype == np.uint8 for array in arrays):
        return [(0.0, WHITE)] * arrays[0].shape[2]
    ranges = []
    for channel in range(arrays[0].shape[2]):
        values = np.concatenate([array[..., channel].ravel() for array in arrays])
        finite = values[np.isfinite(values)].astype(np.float64)
        low, high = (float(one) for one in np.percentile(finite, percentiles)) if len(finite) else (
            0.0, 1.0,
        )  # fmt: skip
        ranges.append((low, high if high > low else low + max(1.0, abs(low))))
    return ranges


def _numbers(values: Sequence[Any]) -> tuple[float, ...]:
    numbers = tuple(float(value) for value in values)
    if not all(abs(number) < _LARGEST for number in numbers):
        raise ValueError(f"numbers of a mix are finite, got {str(values)[:60]}")
    return numbers


def _strips(array: NDArray[Any]) -> list[slice]:
    step = max(1, _STRIP_PIXELS // array.shape[1])
    return [slice(top, top + step) for top in range(0, array.shape[0], step)]


PromptKind = Literal["point", "negative_point", "box", "mask", "words", "example"]
Fit = Literal["longest_side", "square"]
Resample = Literal["pillow_bilinear", "pillow_bicubic", "torch_bilinear", "torch_antialias", "area"]

MAX_PIXELS = 200_000_000  # of a photo: 600 MB as RGB
MOST_POINTS = 1000  # of one prompt: attention takes the square of their number
LEAST_SIDE, MOST_SIDE = 128, 1536  # of an input whose side the user chooses, pixels

# What SAM and its family take.
ALL_KINDS: frozenset[PromptKind] = frozenset({"point", "negative_point", "box", "mask"})


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """What the upper storey knows of a model; everything else stays inside the runtime.

    name           the variant's name, as in `anymask models list`
    image_side     S: pictures become (3, S, S), or (3, h, w) where `pad_multiple` says so
    mask_side      m: the decoder answers with (N, T, m, m) logits
    mean, std      per RGB channel, on the 0..255 scale: x = (pixel - mean) / std
    fit            "longest_side": keep the aspect ratio, pad right and bottom with zeros after
                   normalisation; "square": stretch both sides to S
    pad_multiple   0: pad to S x S; else only up to a multiple of it, which is S at the most: the
                   model itself fills its maps up to the square
    resample       which resize the reference code uses
    accepts        the prompt kinds that the model was made for; none unless said
    family         whose rules choose and order the masks: a name of `anymask.models.rules`
    pad_point      SAM's extra "not a point" token that follows points without a box
    pad_box        SAM 2: the same token follows a box, too
    fixed_points   the number of points that the prompt is padded to, or 0 (EfficientSAM: 6)
    mask_threshold logits above it are object
    channels       how pictures of other channels than a photo's become one; None: it sees photos
    classes        names of the classes that it was tuned to tell apart, none for most models
    """

    name: str
    image_side: int = 1024
    mask_side: int = 256
    mean: tuple[float, float, float] = (123.675, 116.28, 103.53)
    std: tuple[float, float, float] = (58.395, 57.12, 57.375)
    fit: Fit = "longest_side"
    pad_multiple: int = 0
    resample: Resample = "pillow_bilinear"
    accepts: frozenset[PromptKind] = frozenset()
    family: str = "sam"
    pad_point: bool = True
    pad_box: bool = False
    fixed_points: int = 0
    mask_threshold: float = 0.0
    channels: ChannelMix | None = None
    classes: tuple[str, ...] = ()


def spec_at(spec: ModelSpec, side: int) -> ModelSpec:
    """How a model sees pictures of another side, under the name NAME@SIDE.

    side  S, pixels: a multiple of `pad_multiple` from 128 to 1536

    Raises InputError for a model that sees pictures of one side alone, and for other sides.
    """
    if side == spec.image_side:
        return spec
    step = spec.pad_multiple
    if not step:
        raise InputError(
            f"{spec.name} sees pictures of {spec.image_side} pixels a side alone, got @{side}; "
            f"leave @{side} out"
        )
    if side % step or not LEAST_SIDE <= side <= MOST_SIDE:
        nearest = min(max(round(side / step) * step, LEAST_SIDE), MOST_SIDE)
        raise InputError(
            f"after {spec.name}@ wanted the side of its pictures, a multiple of {step} from "
            f"{LEAST_SIDE} to {MOST_SIDE}, got {side}; write {spec.name}@{nearest}"
        )
    cells = spec.mask_side * side // spec.image_side
    return replace(spec, name=f"{spec.name}@{side}", image_side=side, mask_side=cells)


@dataclass(frozen=True, kw_only=True)
class GridDefaults:
    """The thresholds of automatic mask generation that suit a model's numbers.

    pred_iou_thresh         masks must have more than this quality
    stability_score_thresh  and at least this IoU between their stricter and looser cut
    """

    pred_iou_thresh: float
    stability_score_thresh: float


@dataclass(frozen=True, kw_only=True)
class CloserLook:
    """How an object is looked at again in a window of the photo.

    margin    around the object, of its longest side
    gain      how much larger a window must show the object to be worth an encoding
    weight    of the answer in the window in the mean of both answers' chances
    min_side  pixels of the photo that a window has at least: smaller ones show only blur
    """

    margin: float
    gain: float
    weight: float
    min_side: int


@dataclass(frozen=True, kw_only=True)
class TokenRoles:
    """Which of the decoder's T masks learn from which prompts.

    clear      that answer a prompt without doubt; the best of them learns
    ambiguous  that answer a lone click, which may mean several things
    added      a correction that is added to all others (SAM-HQ), or None
    """

    clear: tuple[int, ...]
    ambiguous: tuple[int, ...]
    added: int | None = None


# Token 0 for clear prompts, the three after it for ambiguous ones (Segment Anything, section 3).
ONE_OR_THREE = TokenRoles(clear=(0,), ambiguous=(1, 2, 3))


@dataclass(frozen=True)
class Geometry:
    """How one photo lies in model space.

    image_hw  the photo, in pixels
    input_hw  the part of the S x S model input that the photo fills (the rest is padding)
    side      S
    """

    image_hw: tuple[int, int]
    input_hw: tuple[int, int]
    side: int

    @property
    def scale_xy(self) -> tuple[float, float]:
        """Model pixels per image pixel, along x and along y."""
        return (self.input_hw[1] / self.image_hw[1], self.input_hw[0] / self.image_hw[0])
