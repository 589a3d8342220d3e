"""Values between the floors: prompts and maps of a model, and `Features` with its file.

Letters: H W the photo, h w a feature map or low-resolution mask, S the model's input side, C
channels, N prompts (objects), P points, K candidates. Points are (x, y), sizes are (h, w), boxes
are xyxy; all are image pixels unless the name says `model`.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from anymask.base import (
    DataError,
    FloatArray,
    InputError,
    IntArray,
    parse_json,
    read_arrays,
    whole_file,
)
from anymask.masks.spec import MAX_PIXELS, Geometry

EMBEDDING_FORMAT = 2  # of saved files; a reader refuses what it does not know
_MOST_HALF = 65504.0  # the largest number that fp16 holds


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

    def __repr__(self) -> str:
        n, p = self.labels.shape
        return f"<ModelPrompts: {n} of {p} points, {int(self.has_mask.sum())} with a mask>"


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
        """See `EncoderOutput`."""
        return sum(one.values.nbytes for one in self.given)

    def maps(self) -> tuple[FeatureMap, ...]:
        """See `EncoderOutput`."""
        return self.given


@dataclass(frozen=True, eq=False)
class Features:
    """What the encoder saw in one photo; it can be saved, sent, cached and shared by threads.

    seen        the maps, where they were computed
    geometry    where the photo lies in model space
    model       the model's name
    model_hash  of its weights; a decoder refuses an embedding of another model
    image_hash  of the pixels
    mirrored    the maps of the photo's mirror image, where they were wanted; they are not saved
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

        precision  "fp16" halves the file and costs about three digits; `load` gives float32 again

        The file is a numpy archive: `about` (JSON: format, model, hashes, sizes, names of the maps)
        and the maps. Raises InputError when fp16 cannot hold the numbers, OSError from the disk.
        """
        maps = {one.name: one.values for one in self.maps}
        if precision == "fp16":
            if any(np.abs(array).max(initial=0) > _MOST_HALF for array in maps.values()):
                raise InputError(
                    f"fp16 holds numbers up to {_MOST_HALF:g}; this embedding has larger ones; "
                    'save it with precision="fp32"'
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
                f"wanted the path of an embedding's file, got {type(path).__name__}; to see a "
                "photo use model.encode"
            )
        about, maps = _read_archive(Path(path))
        try:
            if about["format"] != EMBEDDING_FORMAT:
                raise DataError(
                    f"{path} has the embedding format {about['format']!r}; this version reads "
                    f"{EMBEDDING_FORMAT}; update anymask or embed the photo again"
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
                raise ValueError("a name or a hash has a wrong type, or there is no map")
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise DataError(
                f"{path} is not a whole embedding ({type(error).__name__}: {error}); "
                "embed the photo again and save it with Features.save"
            ) from error
        return cls(StoredMaps(found), geometry, model, model_hash, image_hash)


def _read_archive(path: Path) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """The JSON `about` and the arrays of a file that nobody has to trust."""
    remedy = "make the file with Features.save or `anymask encode`"
    if path.exists() and not path.is_file():
        raise DataError(f"{path} is not a file; name an embedding file; {remedy}")
    with path.open("rb") as file:
        if file.read(4) != b"PK\x03\x04":
            raise DataError(f"{path} is not an embedding file (a numpy archive); {remedy}")
        file.seek(0)
        try:
            arrays = read_arrays(file)
            about = parse_json(arrays.pop("about").tobytes(), "about")
        except (DataError, KeyError) as error:
            raise DataError(
                f"{path} is damaged or not an embedding file ({error}); {remedy}"
            ) from error
    if not isinstance(about, dict):
        raise DataError(f"{path} is not an embedding file (its description is no record); {remedy}")
    return about, arrays


def _pair(sides: Any) -> tuple[int, int]:
    height, width = (int(side) for side in sides)
    if height < 1 or width < 1:
        raise ValueError(f"a size must be positive, got {sides}")
    return (height, width)


def _check_geometry(geometry: Geometry) -> Geometry:
    height, width = geometry.image_hw
    if height * width > MAX_PIXELS or max(geometry.input_hw) > geometry.side:
        raise ValueError(
            f"a photo of {width} x {height} pixels, fitted as {geometry.input_hw}, is none that "
            f"was seen in a square of {geometry.side}"
        )
    return geometry


def _feature_map(array: NDArray[Any]) -> FloatArray:
    if array.ndim != 3 or array.dtype not in (np.float32, np.float16):
        raise ValueError(f"a map must be (C, h, w) float, got {array.shape} {array.dtype}")
    return array.astype(np.float32, copy=False)
