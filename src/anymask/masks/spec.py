"""How a model sees a picture (`ModelSpec`, `ChannelMix`, `Geometry`), and what it saw (`Features`).

A model that was tuned on other pictures than photos has a `ChannelMix`: each channel's numbers are
brought to 0..255 between the two values that the training pictures had, then a learned 1 x 1
convolution makes red, green and blue of them. What comes after it is as for any photo.

Letters: H W the photo, h w a feature map or low-resolution mask, S the model's input side, m that
of its low-resolution masks, C channels, N prompts (objects), P points, K candidates. Points are (x,
y), sizes are (h, w), boxes are xyxy; all are image pixels unless the name says `model`.
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

MAX_CHANNELS = 16
WHITE = 255.0
_STRIP_PIXELS = 1_000_000
_LARGEST = 1e30  # of any number of a mix


@brief
@dataclass(frozen=True, kw_only=True)
class ChannelMix:
    """How pictures of C channels become red, green and blue.

    Attributes:
        lows: Each channel's values that become 0 and 255, C each; what lies beyond is cut.
        highs: Like `lows`.
        weights: (3, C): red, green and blue of the channels on that scale.
        bias: 3 numbers, added on the same scale.
        dtype: The type of the training pictures' numbers: 8 bits stand for no others.
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

        Args:
            ranges: Low and high of each channel.
            rgb: Which channels are red, green and blue, counted from 1: they pass unchanged,
                the others not at all; None: the mean of all channels is seen, as grey.
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
        """A picture of these channels, whatever else it is. Raises InputError, ImageError.

        Where one channel is wanted, three equal ones (a grey picture as colors) are it.
        """
        array = array[..., None] if array.ndim == 2 else array
        if array.ndim != 3 or not array.size or array.dtype.kind not in "buif":
            raise ImageError(
                f"Invalid image {name} of type {array.dtype} and shape {array.shape}. Expected "
                f"real numbers (H, W, {self.count}), channels last."
            )
        grey = self.count == 1 and array.shape[2] == 3
        if grey and (array == array[..., :1]).all():
            array = array[..., :1]
        if array.shape[2] != self.count:
            raise InputError(
                f"{name} has {array.shape[2]} channels, but this model was fine-tuned "
                f"on images with {self.count}. Pass an image with the same channels, "
                "or use another model."
            )
        if array.dtype == np.uint8 and self.dtype != "uint8":
            raise InputError(
                f"{name} has 8 bits, but this model was fine-tuned on images of type "
                f"{self.dtype}. Pass the original image, not a converted copy."
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
        raise ValueError(
            f"Invalid numbers in a channel mix: {str(values)[:60]}. Expected finite numbers."
        )
    return numbers


def _strips(array: NDArray[Any]) -> list[slice]:
    step = max(1, _STRIP_PIXELS // array.shape[1])
    return [slice(top, top + step) for top in range(0, array.shape[0], step)]


PromptKind = Literal["point", "negative_point", "box", "mask", "words", "example", "embedding"]
Fit = Literal["longest_side", "square"]
Resample = Literal[
    "pillow_bilinear", "pillow_bicubic", "torch_bilinear", "torch_antialias", "area", "nearest",
    "medsam",
]  # fmt: skip

MAX_PIXELS = 200_000_000  # of a photo: 600 MB as RGB
MAX_POINTS = 1000  # of one prompt: attention takes the square of their number
MIN_SIDE, MAX_SIDE = 128, 1536  # of an input whose side the user chooses, pixels

# What SAM and its family take.
ALL_KINDS: frozenset[PromptKind] = frozenset({"point", "negative_point", "box", "mask"})


@brief
@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """What the upper storey knows of a model; everything else stays inside the runtime.

    Attributes:
        name: The variant's name, as in `anymask models list`.
        image_side: S: pictures become (3, S, S), or (3, h, w) where `pad_multiple` says so.
        mask_side: M: the decoder answers with (N, T, m, m) logits.
        mean: Per RGB channel, on the 0..255 scale: x = (pixel - mean) / std.
        std: Like `mean`.
        fit: "longest_side": keep the aspect ratio, pad right and bottom with zeros after
            normalisation; "square": stretch both sides to S.
        pad_multiple: 0: pad to S x S; else only up to a multiple of it, which is S at the most:
            the model itself fills its maps up to the square.
        resample: Which resize the reference code uses; "medsam": cubic, then the picture's own
            range becomes 0..255 (`masks.cubic`).
        accepts: The prompt kinds that the model was made for; none unless said.
        family: Whose rules choose and order the masks: a name of `anymask.models.rules`.
        pad_point: SAM's extra "not a point" token that follows points without a box.
        pad_box: SAM 2: the same token follows a box, too.
        fixed_points: The number of points that the prompt is padded to, or 0 (EfficientSAM: 6).
        mask_threshold: Logits above it are object.
        channels: How pictures of other channels than a photo's become one; None: it sees
            photos.
        classes: Names of the classes that it was tuned to tell apart, none for most models.
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

    Raises InputError for a model that sees pictures of one side alone, and for other sides.

    Args:
        side: S, pixels: a multiple of `pad_multiple` from 128 to 1536.
    """
    if side == spec.image_side:
        return spec
    step = spec.pad_multiple
    if not step:
        raise InputError(
            f"{spec.name} has the fixed input size {spec.image_side}, but @{side} was "
            f"requested. Omit @{side}."
        )
    if side % step or not MIN_SIDE <= side <= MAX_SIDE:
        nearest = min(max(round(side / step) * step, MIN_SIDE), MAX_SIDE)
        raise InputError(
            f"Invalid input size {side} for {spec.name}. Use a multiple of {step} from "
            f"{MIN_SIDE} to {MAX_SIDE}, such as {spec.name}@{nearest}."
        )
    cells = spec.mask_side * side // spec.image_side
    return replace(spec, name=f"{spec.name}@{side}", image_side=side, mask_side=cells)


@dataclass(frozen=True, kw_only=True)
class GridDefaults:
    """The thresholds of automatic mask generation that suit a model's numbers.

    Attributes:
        score: Masks must have more than this quality.
        stability: And at least this IoU between their stricter and looser cut.
    """

    score: float
    stability: float


@dataclass(frozen=True, kw_only=True)
class CropRefinement:
    """How an object is looked at again in a window of the photo.

    Attributes:
        margin: Around the object, of its longest side.
        gain: How much larger a window must show the object to be worth an encoding.
        weight: Of the answer in the window in the mean of both answers' chances.
        min_side: Pixels of the photo that a window has at least: smaller ones show only blur.
    """

    margin: float
    gain: float
    weight: float
    min_side: int


@dataclass(frozen=True, kw_only=True)
class TokenRoles:
    """Which of the decoder's T masks learn from which prompts.

    Attributes:
        clear: That answer a prompt without doubt; the best of them learns.
        ambiguous: That answer a lone click, which may mean several things.
        added: A correction that is added to all others (SAM-HQ), or None.
    """

    clear: tuple[int, ...]
    ambiguous: tuple[int, ...]
    added: int | None = None


# Token 0 for clear prompts, the three after it for ambiguous ones (Segment Anything, section 3).
ONE_OR_THREE = TokenRoles(clear=(0,), ambiguous=(1, 2, 3))


EMBEDDING_FORMAT = 2  # of saved files; a reader refuses what it does not know
_MAX_HALF = 65504.0  # the largest number that fp16 holds


@dataclass(frozen=True, eq=False)
class FeatureMap:
    """One named map of an encoder: (C, h, w) float32."""

    name: str
    values: FloatArray

    def __repr__(self) -> str:
        return f"<FeatureMap {self.name!r} {'x'.join(map(str, self.values.shape))}>"


class EncoderOutput(Protocol):
    """What a runtime saw in one picture, kept where it was computed (a GPU, a session).

    Only the runtime that made it reads it directly; `maps` copies it out, to be saved or sent.
    """

    @property
    def nbytes(self) -> int:
        """Memory of all maps, where they are."""
        ...

    def maps(self) -> tuple[FeatureMap, ...]:
        """The maps in memory, in the order in which a decoder takes them."""
        ...


@dataclass(frozen=True, eq=False)
class StoredMaps:
    """Maps that are in memory already: loaded from a file, or of a runtime on the processor."""

    given: tuple[FeatureMap, ...]

    def __repr__(self) -> str:
        return f"<StoredMaps: {len(self.given)} maps, {self.nbytes / 1e6:.1f} MB>"

    @property
    def nbytes(self) -> int:
        return sum(one.values.nbytes for one in self.given)

    def maps(self) -> tuple[FeatureMap, ...]:
        return self.given


@explain_keywords
@dataclass(frozen=True, eq=False)
class Features:
    """The embedding of one image. It can be saved, sent, cached, and shared by threads.

    Attributes:
        seen: Feature maps, on the device that computed them.
        geometry: Position of the image in the model's input.
        model: Name of the model.
        model_hash: Hash of the model's weights. Models with other weights raise an error.
        image_hash: Hash of the pixels of the image.
        mirrored: Feature maps of the mirrored image, if requested. They are not saved.
    """

    seen: EncoderOutput
    geometry: Geometry
    model: str
    model_hash: str
    image_hash: str = ""
    mirrored: EncoderOutput | None = None

    def __repr__(self) -> str:
        height, width = self.image_hw
        return f"<Features of {width}x{height} by {self.model}, {self.nbytes / 1e6:.1f} MB>"

    _repr_html_ = repr_html

    @cached_property
    def maps(self) -> tuple[FeatureMap, ...]:
        """The encoder's maps in memory, in the decoder's order."""
        return self.seen.maps()

    @property
    def features(self) -> FloatArray:
        """The first map, (C, h, w)."""
        return self.maps[0].values

    @property
    def nbytes(self) -> int:
        """Memory of all maps."""
        return self.seen.nbytes

    def __getstate__(self) -> dict[str, Any]:
        kept = {name: value for name, value in vars(self).items() if name != "maps"}
        return kept | {"seen": StoredMaps(self.maps), "mirrored": None}

    @property
    def image_hw(self) -> tuple[int, int]:
        """(H, W) of the photo."""
        return self.geometry.image_hw

    def save(self, path: str | Path, *, precision: Literal["fp32", "fp16"] = "fp32") -> None:
        """Write one file, exactly at `path`; it appears whole or not at all.

        The file is a numpy archive: `about` (JSON: format, model, hashes, sizes, names of the maps)
        and the maps. Raises InputError when fp16 cannot hold the numbers, OSError from the disk.

        Args:
            precision: "fp16" halves the file and costs about three digits; `load` gives float32
                again.
        """
        maps = {one.name: one.values for one in self.maps}
        if precision == "fp16":
            if any(np.abs(array).max(initial=0) > _MAX_HALF for array in maps.values()):
                raise InputError(
                    f"This embedding has values above {_MAX_HALF:g}, which fp16 "
                    'cannot store. Save the embedding with precision="fp32".'
                )
            stored = {name: array.astype(np.float16) for name, array in maps.items()}
        else:
            stored = {name: array.astype(np.float32, copy=False) for name, array in maps.items()}
        text = json.dumps(self._about())
        about = np.frombuffer(text.encode(), np.uint8)
        with whole_file(Path(path)) as file:
            np.savez(file, about=about, **stored)  # type: ignore[arg-type]  # stub mixes up allow_pickle

    def _about(self) -> dict[str, Any]:
        return {
            "format": EMBEDDING_FORMAT,
            "model": self.model,
            "model_hash": self.model_hash,
            "image_hash": self.image_hash,
            "image_hw": list(self.geometry.image_hw),
            "input_hw": list(self.geometry.input_hw),
            "side": self.geometry.side,
            "maps": [one.name for one in self.maps],
        }

    @classmethod
    def load(cls, path: str | Path) -> Features:
        """Read what `save` wrote; nothing in the file is ever executed.

        Raises DataError when the file is not an embedding, is damaged, or has a newer format;
        InputError for what is no path, FileNotFoundError when there is no file.
        """
        if not isinstance(path, str | os.PathLike):
            raise InputError(
                "The path of an embedding file is required, but a value of type "
                f"{type(path).__name__} was passed. To encode an image, use "
                "model.encode."
            )
        about, maps = _read_archive(Path(path))
        try:
            if about["format"] != EMBEDDING_FORMAT:
                raise DataError(
                    f"{path} has the embedding format {about['format']!r}, but this version reads "
                    f"{EMBEDDING_FORMAT}. Update anymask, or encode the image again."
                )
            image_hw, input_hw = _pair(about["image_hw"]), _pair(about["input_hw"])
            geometry = _check_geometry(Geometry(image_hw, input_hw, int(about["side"])))
            names = [str(name) for name in about["maps"]]
            found = tuple(FeatureMap(name, _feature_map(maps[name])) for name in names)
            model, model_hash, image_hash = (
                about[k] for k in ("model", "model_hash", "image_hash")
            )
            texts = all(isinstance(text, str) for text in (model, model_hash, image_hash))
            if not texts or not found:
                raise ValueError("The name, hash or feature maps are invalid")
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise DataError(
                f"{path} is an incomplete or corrupted embedding. Encode the image again and save "
                "it with Features.save."
            ) from error
        return cls(StoredMaps(found), geometry, model, model_hash, image_hash)


def _read_archive(path: Path) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """The JSON `about` and the arrays of a file that nobody has to trust."""
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


def _check_geometry(geometry: Geometry) -> Geometry:
    height, width = geometry.image_hw
    if height * width > MAX_PIXELS or max(geometry.input_hw) > geometry.side:
        raise ValueError(
            f"An image of {width} x {height} pixels, resized to {geometry.input_hw}, does not "
            f"match an input of {geometry.side} pixels"
        )
    return geometry


def _feature_map(array: NDArray[Any]) -> FloatArray:
    if array.ndim != 3 or array.dtype not in (np.float32, np.float16):
        raise ValueError(
            "Feature maps must be float arrays of shape (C, h, w), but one has shape "
            f"{array.shape} and type {array.dtype}"
        )
    return array.astype(np.float32, copy=False)
