"""The records that every floor shares: what a user asks, and what a model answers.

Letters: H W the photo, h w a feature map or low-resolution mask, S the model's input side, C
channels, N prompts (objects), P points, K candidates. Points are (x, y), sizes are (h, w), boxes
are xyxy; all are image pixels unless the name says `model`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from anymask.primitives.arrays import read_arrays
from anymask.primitives.errors import DataError, InputError, PromptError
from anymask.primitives.notation import parse_json
from anymask.primitives.spec import MAX_PIXELS, MOST_POINTS, Geometry
from anymask.primitives.storage import whole_file

BoolArray = NDArray[np.bool_]
FloatArray = NDArray[np.float32]
Floats = NDArray[np.float64]  # figures and coordinates
IntArray = NDArray[np.int64]
UintImage = NDArray[np.uint8]

EMBEDDING_FORMAT = 2  # of saved files; a reader refuses what it does not know
_MOST_HALF = 65504.0  # the largest number that fp16 holds


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

    def __post_init__(self) -> None:
        given = {
            "points": _checked_points(self.points),
            "box": None if self.box is None else _checked_box(self.box),
            "mask": None if self.mask is None else _checked_mask(self.mask),
        }
        labels = _checked_labels(self.labels, given["points"])
        if all(value is None for value in given.values()):
            raise PromptError(
                "a prompt needs points, a box or a mask; got none of them; "
                "give for example points=[(x, y)] or box=(x0, y0, x1, y1)"
            )
        for name, value in (given | {"labels": labels}).items():
            object.__setattr__(self, name, value)

    @classmethod
    def of(
        cls,
        points: ArrayLike | None = None,
        labels: ArrayLike | None = None,
        box: ArrayLike | None = None,
        mask: ArrayLike | None = None,
    ) -> Prompt:
        """A prompt from lists, tuples or arrays; the same checks as the constructor."""
        return cls(points, labels, box, mask)  # type: ignore[arg-type]  # __post_init__ converts


def _numbers(value: Any, name: str, example: str) -> NDArray[np.float64]:
    """A float64 copy of what the user gave; finite also as float32."""
    try:
        array = np.array(value, np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise PromptError(
            f"{name} must be plain numbers; got {str(value)[:80]}; write {example}"
        ) from error
    if not (np.abs(array) <= np.finfo(np.float32).max).all():
        raise PromptError(
            f"{name} must be finite; got {array.reshape(-1).tolist()[:8]}; remove NaN and infinity"
        )
    return array


def _checked_points(points: Any) -> FloatArray | None:
    if points is None:
        return None
    array = _numbers(points, "points", "points=[(x, y), ...]")
    if not array.size:
        return None
    if array.ndim != 2 or array.shape[1] != 2:
        raise PromptError(
            f"points must have the shape (P, 2), one x, y a click; got {array.shape}; "
            "write one click as points=[(x, y)]; for several objects give one Prompt each"
        )
    if len(array) > MOST_POINTS:
        raise PromptError(
            f"a prompt takes at most {MOST_POINTS} points, got {len(array)}; give the clicks that "
            "matter, or a mask"
        )
    return array.astype(np.float32)


def _checked_labels(labels: Any, points: Any) -> IntArray | None:
    if points is None:
        if labels is not None and np.size(labels):
            raise PromptError(
                f"labels belong to points; got {np.size(labels)} labels and no points; "
                "give points as well or leave labels out"
            )
        return None
    if labels is None:
        return np.ones(len(points), np.int64)
    array = _numbers(labels, "labels", "labels=[1, 0, ...]")
    if array.shape != (len(points),):
        raise PromptError(
            f"labels must be one number a point; got the shape {array.shape} for "
            f"{len(points)} points; write labels={[1] * min(len(points), 3)}"
        )
    if not np.isin(array, (0, 1)).all():
        strange = sorted(set(array[~np.isin(array, (0, 1))].tolist()))[:5]
        raise PromptError(
            f"labels must be 1 (on the object) or 0 (off it); got {strange}; "
            "give a box as box=(x0, y0, x1, y1), not as labelled points"
        )
    return array.astype(np.int64)


def _checked_box(box: Any) -> FloatArray:
    array = _numbers(box, "box", "box=(x0, y0, x1, y1)")
    if array.shape != (4,):
        raise PromptError(
            f"box must be four numbers x0, y0, x1, y1; got the shape {array.shape}; "
            "for several objects give one Prompt each"
        )
    x0, y0, x1, y1 = array.astype(np.float32).tolist()
    if x1 <= x0 or y1 <= y0:
        raise PromptError(
            "box must have an area, with x0 < x1 and y0 < y1; got "
            f"({x0:g}, {y0:g}, {x1:g}, {y1:g}); "
            "write the top left corner first, then the bottom right one (not width and height)"
        )
    return array.astype(np.float32)


def _checked_mask(mask: Any) -> NDArray[Any]:
    try:
        array = np.asarray(mask)
    except ValueError as error:
        raise PromptError(
            "mask must be one array of the shape (H, W); got rows of different lengths"
        ) from error
    if array.ndim != 2 or not array.size:
        raise PromptError(
            f"mask must have the shape (H, W), at least 1 x 1; got {array.shape}; "
            "give one mask, for example answer.masks[0] or answer.logits[0]"
        )
    if array.dtype.kind in "bui":
        boolean: BoolArray = array != 0
        return boolean
    if array.dtype.kind != "f":
        raise PromptError(
            f"mask must be bool, integers (not 0 = object) or float logits; got {array.dtype}"
        )
    logits = array.astype(np.float32)
    if not np.isfinite(logits).all():
        raise PromptError("mask logits must be finite; got NaN or infinity; replace them first")
    return logits


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
class FeatureMap:
    """One named map of an encoder: (C, h, w) float32."""

    name: str
    values: FloatArray


class Seen(Protocol):
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
class SeenMaps:
    """Maps that are in memory already: loaded from a file, or of a runtime on the processor."""

    given: tuple[FeatureMap, ...]

    @property
    def nbytes(self) -> int:
        """See `Seen`."""
        return sum(one.values.nbytes for one in self.given)

    def maps(self) -> tuple[FeatureMap, ...]:
        """See `Seen`."""
        return self.given


@dataclass(frozen=True, eq=False)
class Embedding:
    """What the encoder saw in one photo; it can be saved, sent, cached and shared by threads.

    seen        the maps, where they were computed
    geometry    where the photo lies in model space
    model       the model's name
    model_hash  of its weights; a decoder refuses an embedding of another model
    image_hash  of the pixels
    """

    seen: Seen
    geometry: Geometry
    model: str
    model_hash: str
    image_hash: str = ""

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
        return kept | {"seen": SeenMaps(self.maps)}

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
    def load(cls, path: str | Path) -> Embedding:
        """Read what `save` wrote; nothing in the file is ever executed.

        Raises DataError when the file is not an embedding, is damaged, or has a newer format;
        FileNotFoundError when there is none.
        """
        about, maps = _read_archive(Path(path))
        try:
            if about["format"] != EMBEDDING_FORMAT:
                raise DataError(
                    f"{path} has the embedding format {about['format']!r}; this version reads "
                    f"{EMBEDDING_FORMAT}; update anymask or embed the photo again"
                )
            image_hw, input_hw = _pair(about["image_hw"]), _pair(about["input_hw"])
            geometry = _checked_geometry(Geometry(image_hw, input_hw, int(about["side"])))
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
                "embed the photo again and save it with Embedding.save"
            ) from error
        return cls(SeenMaps(found), geometry, model, model_hash, image_hash)


def _read_archive(path: Path) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """The JSON `about` and the arrays of a file that nobody has to trust."""
    remedy = "make the file with Embedding.save or `anymask embed`"
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


def _checked_geometry(geometry: Geometry) -> Geometry:
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
