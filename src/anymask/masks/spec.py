"""Model specification (`ModelSpec`, `ChannelMix`) and image embeddings (`Features`).

A model that was fine-tuned on images with other channels than RGB has a `ChannelMix`: each channel
is scaled from the value range of the training images to 0..255, then a learned 1 x 1 convolution
maps the channels to RGB. The rest of the preprocessing is the same.

Letters: H W the image, h w a feature map or low-resolution mask, S the model's input side, m that
of its low-resolution masks, C channels, N prompts (objects), P points, K candidates. Points are (x,
y), sizes are (h, w), boxes are xyxy; all are image pixels unless the name contains `model`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from anymask.base import (
    DataError,
    FloatArray,
    ImageError,
    InputError,
    brief,
    explain_keywords,
    parse_json,
    read_arrays,
    repr_html,
    whole_file,
)
from anymask.masks.answer import Geometry
from anymask.masks.images import UNKNOWN_MAP, LazyImage
from anymask.masks.rle import MAX_PIXELS

MAX_CHANNELS = 16
WHITE = 255.0
_STRIP_PIXELS = 1_000_000
_MAX_MIX_NUMBER = 1e30  # maximum of any number of a mix


@brief
@dataclass(frozen=True, kw_only=True)
class ChannelMix:
    """Conversion of images with C channels to RGB."""

    lows: tuple[float, ...]  # Value of each channel (C) that becomes 0. Lower values are clipped.
    # Value of each channel (C) that becomes 255. Higher values are clipped.
    highs: tuple[float, ...]
    # Weights (3, C) of the scaled channels for red, green and blue
    weights: tuple[tuple[float, ...], ...]
    bias: tuple[float, ...] = (0.0, 0.0, 0.0)  # Three offsets on the same scale
    # Number type of the training images. uint8 images are accepted only for uint8.
    dtype: str = "uint8"

    @property
    def count(self) -> int:
        """Number of channels C."""
        return len(self.lows)

    @classmethod
    def initial(
        cls, ranges: Sequence[tuple[float, float]], rgb_bands: Sequence[int] | None, dtype: str
    ) -> ChannelMix:
        """Return the mix at the start of training: the bands R, G, B (from 1), or the mean of all.

        Args:
            ranges: Low and high value of each channel.
            rgb_bands: Numbers of the red, green and blue channel, from 1, which pass unchanged; the
                others are ignored. None for the grey mean of all channels.
            dtype: Number type of the images.
        """
        lows, highs = zip(*ranges, strict=True)
        rows = [[1 / len(lows)] * len(lows)] * 3
        if rgb_bands is not None:
            rows = [[float(c + 1 == band) for c in range(len(lows))] for band in rgb_bands]
        return cls(lows=lows, highs=highs, weights=tuple(map(tuple, rows)), dtype=dtype)

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> ChannelMix:
        """Read from JSON values.

        Raises:
            KeyError, TypeError, ValueError: The values are invalid.
        """
        mix = cls(
            lows=_numbers(record["lows"]),
            highs=_numbers(record["highs"]),
            weights=tuple(_numbers(row) for row in record["weights"]),
            bias=_numbers(record["bias"]),
            dtype=str(np.dtype(record["dtype"])),
        )
        sizes = {len(mix.highs), *(len(row) for row in mix.weights)}
        if not 1 <= mix.count <= MAX_CHANNELS or sizes != {mix.count}:
            raise ValueError(f"Each row of a channel mix must have 1 to {MAX_CHANNELS} channels.")
        if len(mix.weights) != 3 or len(mix.bias) != 3:
            raise ValueError(
                "A channel mix requires 3 rows and 3 offsets, one each for red, green and blue."
            )
        if any(low >= high for low, high in zip(mix.lows, mix.highs, strict=True)):
            raise ValueError(
                "The value in `lows` must be less than the value in `highs` for each channel."
            )
        return mix

    def check(self, array: NDArray[Any], name: str) -> NDArray[Any]:  # -> (H, W, C)
        """Return the image as (H, W, C).

        A model with one channel also accepts three equal channels (grey stored as RGB).

        Raises:
            InputError: The channels or the number type differ from the training.
            ImageError: The array is not an image.
        """
        array = array[..., None] if array.ndim == 2 else array
        if array.ndim != 3 or not array.size or array.dtype.kind not in "buif":
            raise ImageError(
                f"Invalid image {name} of type {array.dtype} and shape {array.shape}. Expected "
                f"real numbers (H, W, {self.count}), channels last."
            )
        gray = self.count == 1 and array.shape[2] == 3
        if gray and (array == array[..., :1]).all():
            array = array[..., :1]
        if array.shape[2] != self.count:
            raise InputError(
                f"{name} has {array.shape[2]} channels, but this model was fine-tuned on images "
                f"with {self.count}. Pass an image with the same channels, or use another model."
            )
        if array.dtype == np.uint8 and self.dtype != "uint8":
            raise InputError(
                f"{name} has 8 bits, but this model was fine-tuned on images of type "
                f"{self.dtype}. Pass the original image, not a converted copy."
            )
        return array

    def scaled(self, array: NDArray[Any]) -> NDArray[np.uint8]:  # (H, W, C) -> the same
        """Scale each channel from low..high to 0..255, rounded; NaN becomes 0."""
        out = np.empty(array.shape, np.uint8)
        for rows in _strips(array):
            out[rows] = np.rint(self._on_scale(array[rows])).astype(np.uint8)
        return out

    def to_rgb(self, array: NDArray[Any]) -> NDArray[np.uint8]:  # (H, W, C) -> (H, W, 3)
        """Convert an image to the RGB input of the model."""
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
        return np.asarray(np.nan_to_num(scaled.clip(0, WHITE), nan=0.0).astype(np.float32))


def measure_ranges(
    arrays: Sequence[NDArray[Any]], percentiles: tuple[float, float]
) -> list[tuple[float, float]]:
    """Value range of each channel of images (H, W, C): 0..255 for uint8, else percentiles.

    Non-finite values are ignored.
    """
    if all(array.dtype == np.uint8 for array in arrays):
        return [(0.0, WHITE)] * arrays[0].shape[2]
    ranges = []
    for channel in range(arrays[0].shape[2]):
        values = np.concatenate([array[..., channel].ravel() for array in arrays])
        finite = values[np.isfinite(values)].astype(np.float64)
        low, high = (float(end) for end in np.percentile(finite, percentiles)) if len(finite) else (
            0.0, 1.0,
        )  # fmt: skip
        ranges.append((low, high if high > low else low + max(1.0, abs(low))))
    return ranges


def _numbers(values: Sequence[Any]) -> tuple[float, ...]:
    numbers = tuple(float(value) for value in values)
    if not all(abs(number) < _MAX_MIX_NUMBER for number in numbers):
        raise ValueError(
            f"Invalid numbers in a channel mix: {str(values)[:60]}. Expected finite numbers."
        )
    return numbers


def _strips(array: NDArray[Any]) -> list[slice]:
    step = max(1, _STRIP_PIXELS // array.shape[1])
    return [slice(top, top + step) for top in range(0, array.shape[0], step)]


PromptKind = Literal["point", "negative_point", "box", "mask", "words", "example", "embedding"]
Fit = Literal["longest_side", "short_side", "square"]
Resample = Literal[
    "pillow_bilinear", "pillow_bicubic", "torch_bilinear", "torch_antialias", "area", "nearest",
    "medsam",
]  # fmt: skip

EDGE_SIDE = 256  # pixels along a side of the window of an edge network
MAX_POINTS = 1000  # per prompt; the cost of attention is quadratic in their number
MIN_INPUT_SIDE, MAX_SIDE = 128, 1536  # limits of a configurable input side, pixels

# Prompt kinds of SAM and its derivatives.
ALL_KINDS: frozenset[PromptKind] = frozenset({"point", "negative_point", "box", "mask"})


@brief
@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """Properties of a model that the code outside the runtime requires."""

    name: str  # Name of the variant, as in `anymask models list`
    # Input side S: images become (3, S, S), or (3, h, w) with `pad_multiple`
    image_side: int = 1024
    mask_side: int = 256  # Side m of the decoder's logits (N, T, m, m)
    # Mean per RGB channel on the 0..255 scale: x = (pixel - mean) / std
    mean: tuple[float, float, float] = (123.675, 116.28, 103.53)
    # Standard deviation per RGB channel on the 0..255 scale
    std: tuple[float, float, float] = (58.395, 57.12, 57.375)
    # "longest_side": keep the aspect ratio, pad right and bottom with zeros after normalization;
    # "short_side": the same with S / 2 for the shorter side, and at most S for the longer one;
    # "square": stretch both sides to S
    fit: Fit = "longest_side"
    # 0 to pad to S x S, else pad only to a multiple of it, at most S. The model pads its feature
    # maps to the square.
    pad_multiple: int = 0
    # Resize function of the reference code. "medsam": cubic, then the range of the image is scaled
    # to 0..255 (`masks.cubic`).
    resample: Resample = "pillow_bilinear"
    accepts: frozenset[PromptKind] = frozenset()  # Prompt kinds that the model was trained for
    family: str = "sam"  # Rules that select and order the masks, a name of `anymask.models.rules`
    pad_point: bool = True  # Whether SAM's "not a point" token follows points without a box
    pad_box: bool = False  # Whether the same token also follows a box (SAM 2)
    fixed_points: int = 0  # Number of points that prompts are padded to, or 0 (EfficientSAM: 6)
    mask_threshold: float = 0.0  # Logits above it are foreground
    # Conversion of multi-channel images to RGB, or None for RGB models
    channels: ChannelMix | None = None
    # Class names of a model that was fine-tuned on classes, else empty
    classes: tuple[str, ...] = ()


def spec_at(spec: ModelSpec, side: int) -> ModelSpec:
    """Specification of a model with another input side, named NAME@SIDE.

    Args:
        spec: Specification of the model.
        side: Input side in pixels: a multiple of `pad_multiple` from 128 to 1536.

    Raises:
        InputError: The model has a fixed input side, or the side is not supported.
    """
    if side == spec.image_side:
        return spec
    if not (step := spec.pad_multiple):
        raise InputError(
            f"{spec.name} has the fixed input size {spec.image_side}, but @{side} was "
            f"requested. Omit @{side}."
        )
    if side % step or not MIN_INPUT_SIDE <= side <= MAX_SIDE:
        nearest = min(max(round(side / step) * step, MIN_INPUT_SIDE), MAX_SIDE)
        raise InputError(
            f"Invalid input size {side} for {spec.name}. Use a multiple of {step} from "
            f"{MIN_INPUT_SIDE} to {MAX_SIDE}, such as {spec.name}@{nearest}."
        )
    cells = spec.mask_side * side // spec.image_side
    return replace(spec, name=f"{spec.name}@{side}", image_side=side, mask_side=cells)


@dataclass(frozen=True, kw_only=True)
class GridDefaults:
    """Default thresholds of automatic mask generation for a model."""

    score: float  # Minimum predicted IoU (exclusive)
    stability: float  # Minimum IoU of the masks at a stricter and a looser threshold


@dataclass(frozen=True, kw_only=True)
class CropRefinement:
    """Parameters of the second prediction from a crop around an object."""

    margin: float  # Margin around the object, relative to its longest side
    gain: float  # Minimum magnification of the object by the crop
    weight: float  # Weight of the crop's prediction in the mean probability
    min_side: int  # Minimum side of a crop in image pixels; smaller crops are blurred


@dataclass(frozen=True, kw_only=True)
class TokenRoles:
    """Assignment of the decoder's T masks to prompts in training."""

    clear: tuple[int, ...]  # Masks for unambiguous prompts; the best of them is trained
    ambiguous: tuple[int, ...]  # Masks for a single click, which is ambiguous
    added: int | None = None  # Correction that is added to all others (SAM-HQ), or None


# Token 0 for unambiguous prompts, the others for ambiguous ones (Segment Anything, section 3).
ONE_OR_THREE = TokenRoles(clear=(0,), ambiguous=(1, 2, 3))


EMBEDDING_FORMAT = 2  # of saved files; other versions are rejected
_MAX_HALF = 65504.0  # largest fp16 number


@dataclass(frozen=True, eq=False)
class FeatureMap:
    """One named feature map of an encoder: (C, h, w) float32."""

    name: str
    values: FloatArray

    def __repr__(self) -> str:
        return f"<FeatureMap {self.name!r} {'x'.join(map(str, self.values.shape))}>"


class EncoderOutput(Protocol):
    """Encoder output of one image, stored on the device that computed it.

    Only the runtime that created it reads it directly; `maps` copies it to memory.
    """

    @property
    def nbytes(self) -> int:
        """Size of all maps in bytes."""
        ...

    def maps(self) -> tuple[FeatureMap, ...]:
        """Feature maps in memory, in the input order of the decoder."""
        ...


@dataclass(frozen=True, eq=False)
class StoredMaps:
    """Feature maps in memory: loaded from a file, or computed on a CPU."""

    given: tuple[FeatureMap, ...]

    def __repr__(self) -> str:
        return f"<StoredMaps: {len(self.given)} maps, {self.nbytes / 1e6:.1f} MB>"

    @property
    def nbytes(self) -> int:
        return sum(feature_map.values.nbytes for feature_map in self.given)

    def maps(self) -> tuple[FeatureMap, ...]:
        return self.given


@explain_keywords
@dataclass(frozen=True, eq=False)
class Features:
    """The embedding of one image. It can be saved, sent, cached, and shared by threads.

    Attributes:
        encoder_output: Feature maps, on the device that computed them.
        geometry: Position of the image in the model's input.
        model: Name of the model.
        model_hash: Hash of the model's weights. Models with other weights raise an error.
        image_hash: Hash of the pixels of the image.
        mirrored: Feature maps of the mirrored image, if requested. They are not saved.
        georeferenced: Whether the image is georeferenced.
    """

    encoder_output: EncoderOutput
    geometry: Geometry
    model: str
    model_hash: str
    image_hash: str = ""
    mirrored: EncoderOutput | None = None
    georeferenced: bool = False

    def __repr__(self) -> str:
        height, width = self.image_hw
        return f"<Features of {width}x{height} by {self.model}, {self.nbytes / 1e6:.1f} MB>"

    _repr_html_ = repr_html

    @cached_property
    def maps(self) -> tuple[FeatureMap, ...]:
        """Feature maps in memory, in the input order of the decoder."""
        return self.encoder_output.maps()

    @property
    def features(self) -> FloatArray:
        """First feature map (C, h, w)."""
        return self.maps[0].values

    @property
    def nbytes(self) -> int:
        """Size of all maps in bytes."""
        return self.encoder_output.nbytes

    def __getstate__(self) -> dict[str, Any]:
        kept = {name: value for name, value in vars(self).items() if name != "maps"}
        return kept | {"encoder_output": StoredMaps(self.maps), "mirrored": None}

    @property
    def source_image(self) -> LazyImage | None:
        """Reference to the image, whose pixels are unknown. None if it is not georeferenced."""
        return UNKNOWN_MAP if self.georeferenced else None

    @property
    def image_hw(self) -> tuple[int, int]:
        """Size (H, W) of the image."""
        return self.geometry.image_hw

    def save(self, path: str | Path, *, precision: Literal["fp32", "fp16"] = "fp32") -> None:
        """Write the embedding to a file, atomically.

        The file is a NumPy archive: `about` (JSON: format, model, hashes, sizes, names of the maps)
        and the maps.

        Args:
            path: Name of the file, used as given.
            precision: "fp16" halves the file at the cost of about three digits. `load` returns
                float32.

        Raises:
            InputError: A value exceeds the range of fp16.
            OSError: The file cannot be written.
        """
        if precision not in ("fp32", "fp16"):
            raise InputError(f'Invalid precision {precision!r}. Use "fp32" or "fp16".')
        maps = {feature_map.name: feature_map.values for feature_map in self.maps}
        is_half = precision == "fp16"
        if is_half and any(np.abs(values).max(initial=0) > _MAX_HALF for values in maps.values()):
            raise InputError(
                f"This embedding has values above {_MAX_HALF:g}, which fp16 "
                'cannot store. Save the embedding with precision="fp32".'
            )
        kind = np.float16 if is_half else np.float32
        stored = {name: array.astype(kind, copy=False) for name, array in maps.items()}
        record = {
            "format": EMBEDDING_FORMAT,
            "model": self.model,
            "model_hash": self.model_hash,
            "image_hash": self.image_hash,
            "georeferenced": self.georeferenced,
            "image_hw": list(self.geometry.image_hw),
            "input_hw": list(self.geometry.input_hw),
            "side": self.geometry.side,
            "maps": [feature_map.name for feature_map in self.maps],
        }
        about = np.frombuffer(json.dumps(record).encode(), np.uint8)
        with whole_file(Path(path)) as file:
            np.savez(file, about=about, **stored)  # type: ignore[arg-type]  # stub mixes up allow_pickle

    @classmethod
    def load(cls, path: str | Path) -> Features:
        """Read a file of `save`. No code in the file is executed.

        Raises:
            DataError: The file is not an embedding, is corrupted, or has a newer format.
            InputError: `path` is not a path.
            FileNotFoundError: The file does not exist.
        """
        if not isinstance(path, str | os.PathLike):
            raise InputError(
                "The path of an embedding file is required, but a value of type "
                f"{type(path).__name__} was passed. To encode an image, use model.encode."
            )
        about, maps = _read_embedding_file(Path(path))
        try:
            if about["format"] != EMBEDDING_FORMAT:
                raise DataError(
                    f"{path} has the embedding format {about['format']!r}, but this version reads "
                    f"{EMBEDDING_FORMAT}. Update anymask, or encode the image again."
                )
            image_hw, input_hw = _pair(about["image_hw"]), _pair(about["input_hw"])
            geometry, (height, width) = Geometry(image_hw, input_hw, int(about["side"])), image_hw
            if height * width > MAX_PIXELS or max(input_hw) > geometry.side:
                raise ValueError(
                    f"An image of {width} x {height} pixels, resized to {input_hw}, does not "
                    f"match an input of {geometry.side} pixels"
                )
            names = [str(name) for name in about["maps"]]
            feature_maps = tuple(FeatureMap(name, _feature_map(maps[name])) for name in names)
            model, model_hash, image_hash = (
                about[k] for k in ("model", "model_hash", "image_hash")
            )
            texts = all(isinstance(text, str) for text in (model, model_hash, image_hash))
            if not texts or not feature_maps:
                raise ValueError("The name, hash or feature maps are invalid")
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise DataError(
                f"{path} is an incomplete or corrupted embedding. Encode the image again and save "
                "it with Features.save."
            ) from error
        return cls(
            StoredMaps(feature_maps), geometry, model, model_hash, image_hash,
            georeferenced=about.get("georeferenced") is True,
        )  # fmt: skip


def _read_embedding_file(path: Path) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Read the JSON `about` and the arrays of an untrusted embedding file. Raises DataError."""
    remedy = "Create one with Features.save or `anymask encode`."
    if path.exists() and not path.is_file():
        raise DataError(f"{path} is not a file. Pass an embedding file. {remedy}")
    with path.open("rb") as file:
        if file.read(4) != b"PK\x03\x04":
            raise DataError(f"{path} is not an embedding file. {remedy}")
        file.seek(0)
        try:
            arrays = read_arrays(file)
            about = parse_json(arrays.pop("about").tobytes(), "about")
        except (DataError, KeyError) as error:
            raise DataError(f"{path} is corrupted or not an embedding file. {remedy}") from error
    if not isinstance(about, dict):
        raise DataError(f"{path} is not an embedding file. {remedy}")
    return about, arrays


def _pair(sides: Any) -> tuple[int, int]:
    height, width = (int(side) for side in sides)
    if height < 1 or width < 1:
        raise ValueError(f"Sizes must be positive, but they are {sides}")
    return (height, width)


def _feature_map(array: NDArray[Any]) -> FloatArray:
    if array.ndim != 3 or array.dtype not in (np.float32, np.float16):
        raise ValueError(
            "Feature maps must be float arrays of shape (C, h, w), but one has shape "
            f"{array.shape} and type {array.dtype}"
        )
    return array.astype(np.float32, copy=False)


def check_features(features: Features, spec: ModelSpec, weights_hash: str) -> None:
    """Raises InputError if the embedding was created by another model or input size."""
    if (features.model, features.model_hash) != (spec.name, weights_hash):
        raise InputError(
            f"The embedding was created by {features.model} (weights {features.model_hash[:12]}), "
            f"but this model is {spec.name} (weights {weights_hash[:12]}). Encode the "
            "image again with this model."
        )
    if features.geometry.side != spec.image_side:
        raise InputError(
            f"The input size of {spec.name} is {spec.image_side} x "
            f"{spec.image_side} pixels, but the embedding was created with "
            f"input size {features.geometry.side}. Encode the image again."
        )


def point_grid(n: int) -> FloatArray:  # -> (n * n, 2)
    """Grid of n by n points in 0..1, row by row, at the cell centres.

    Raises:
        InputError: n is less than 1.
    """
    if n < 1:
        raise InputError(f"Invalid number of points per side of the grid {n}. Use at least 1.")
    axis = (np.arange(n, dtype=np.float64) + 0.5) / n
    x, y = np.meshgrid(axis, axis)
    return np.stack([x, y], axis=-1).reshape(-1, 2).astype(np.float32)
