"""Prompts: clicks, a box, a mask, words or an example of one object in, a checked `Prompt` out.

Letters: H W the photo, h w low-resolution logits, P clicks. Points are (x, y), boxes are xyxy, all
in image pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from anymask.base import BoolArray, FloatArray, IntArray, PromptError, name_all_keywords
from anymask.masks.spec import MAX_PIXELS, MOST_POINTS, PromptKind

MOST_WORDS = 1000  # characters of a name or a description


@dataclass(frozen=True, eq=False)
class Clicks:
    """Labelled points: (P, 2) x, y and (P,) 1 on the object, 0 off it."""

    points: FloatArray
    labels: IntArray


@dataclass(frozen=True, eq=False)
class Box:
    """A box around the object: (4,) x0, y0, x1, y1."""

    corners: FloatArray


@dataclass(frozen=True, eq=False)
class StartMask:
    """A mask to improve: (H, W) bool of any size, or (h, w) float logits of the same model."""

    values: NDArray[Any]


@dataclass(frozen=True)
class Words:
    """The object's name or description."""

    text: str


@dataclass(frozen=True, eq=False)
class Example:
    """Another object of the same kind on the same photo: (4,) x0, y0, x1, y1 around it."""

    corners: FloatArray


PromptPart = Clicks | Box | StartMask | Words | Example


@name_all_keywords
@dataclass(frozen=True, eq=False)
class Prompt:
    """What the user says about one object, in image pixels; `parts` has it as a tagged union.

    points     (P, 2) x, y clicks
    labels     (P,) 1 on the object, 0 off it; all 1 when left out
    box        (4,) x0, y0, x1, y1
    mask       a start to improve: (H, W) bool of any size, or (h, w) float logits from an earlier
               answer of the same model
    words      the object's name, for models that read
    example    (4,) a box around another object of the same kind
    object_id  which object of a video or a stack this is about; None: a photo's only one
    frame      on which frame of a video or slice of a stack, counted from 0; None: a photo

    Raises PromptError on empty prompts, wrong shapes, labels other than 0 and 1, values that are
    not finite, and boxes without area.
    """

    points: FloatArray | None = None
    labels: IntArray | None = None
    box: FloatArray | None = None
    mask: NDArray[Any] | None = None
    words: str | None = None
    example: FloatArray | None = None
    object_id: int | None = None
    frame: int | None = None

    def __post_init__(self) -> None:
        given = {
            "points": _check_points(self.points),
            "box": None if self.box is None else _check_box(self.box),
            "mask": None if self.mask is None else _check_mask(self.mask),
            "words": None if self.words is None else _check_words(self.words),
            "example": None if self.example is None else _check_box(self.example, "example"),
        }
        labels = _check_labels(self.labels, given["points"])
        if all(value is None for value in given.values()):
            raise PromptError(
                "a prompt needs points, a box or a mask; got none of them; "
                "give for example points=[(x, y)] or box=(x0, y0, x1, y1)"
            )
        for name in ("object_id", "frame"):
            _check_number(getattr(self, name), name)
        for name, value in (given | {"labels": labels}).items():
            object.__setattr__(self, name, value)

    def __repr__(self) -> str:
        told = [] if self.object_id is None else [f"object {self.object_id}"]
        told += [] if self.frame is None else [f"frame {self.frame}"]
        if self.points is not None and self.labels is not None:
            off = int((self.labels == 0).sum())
            clicks = "1 click" if len(self.points) == 1 else f"{len(self.points)} clicks"
            told.append(clicks + (f" ({off} off)" if off else ""))
        for name, corners in (("box", self.box), ("example", self.example)):
            if corners is not None:
                told.append(f"{name} {','.join(f'{side:g}' for side in corners.tolist())}")
        if self.mask is not None:
            told.append(f"mask {'x'.join(map(str, self.mask.shape[::-1]))}")
        told += [] if self.words is None else [f"words {self.words!r}"]
        return f"<Prompt: {', '.join(told)}>"

    @property
    def parts(self) -> tuple[PromptPart, ...]:
        """What the prompt is made of, one part of each kind that was given."""
        found: list[PromptPart] = []
        if self.points is not None and self.labels is not None:
            found.append(Clicks(self.points, self.labels))
        if self.box is not None:
            found.append(Box(self.box))
        if self.mask is not None:
            found.append(StartMask(self.mask))
        if self.words is not None:
            found.append(Words(self.words))
        if self.example is not None:
            found.append(Example(self.example))
        return tuple(found)

    @property
    def kinds(self) -> frozenset[PromptKind]:
        """The kinds of its parts, as a model's `ModelSpec.accepts` names them."""
        found: set[PromptKind] = set()
        for part in self.parts:
            match part:
                case Clicks(labels=labels):
                    found |= {"point"} if (labels == 1).any() else set()
                    found |= {"negative_point"} if (labels == 0).any() else set()
                case Box():
                    found.add("box")
                case StartMask():
                    found.add("mask")
                case Words():
                    found.add("words")
                case Example():
                    found.add("example")
        return frozenset(found)

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
        array = np.array(np.asarray(value), np.float64)  # twice: torch warns of copies at once
    except (TypeError, ValueError, OverflowError) as error:
        raise PromptError(
            f"{name} must be plain numbers; got {str(value)[:80]}; write {example}"
        ) from error
    if not (np.abs(array) <= np.finfo(np.float32).max).all():
        raise PromptError(
            f"{name} must be finite; got {array.reshape(-1).tolist()[:8]}; remove NaN and infinity"
        )
    return array


def _check_points(points: Any) -> FloatArray | None:
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


def _check_labels(labels: Any, points: Any) -> IntArray | None:
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


def _check_box(box: Any, name: str = "box") -> FloatArray:
    array = _numbers(box, name, f"{name}=(x0, y0, x1, y1)")
    if array.shape != (4,):
        several = "give segment boxes=[(x0, y0, x1, y1), ...], or one Prompt each"
        raise PromptError(
            f"{name} must be four numbers x0, y0, x1, y1; got the shape {array.shape}; "
            f"for several objects {several if name == 'box' else 'give one Prompt each'}"
        )
    x0, y0, x1, y1 = array.astype(np.float32).tolist()
    if x1 <= x0 or y1 <= y0:
        raise PromptError(
            f"{name} must have an area, with x0 < x1 and y0 < y1; got "
            f"({x0:g}, {y0:g}, {x1:g}, {y1:g}); "
            "write the top left corner first, then the bottom right one (not width and height)"
        )
    return array.astype(np.float32)


def _check_mask(mask: Any) -> NDArray[Any]:
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
    if array.size > MAX_PIXELS:  # before it is copied: an array may repeat one value for nothing
        raise PromptError(
            f"mask has at most {MAX_PIXELS // 1_000_000} million pixels, as photos have; got "
            f"{array.shape}; give it in the photo's size"
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


def _check_words(words: Any) -> str:
    if not isinstance(words, str) or not 0 < len(words.strip()) <= MOST_WORDS:
        raise PromptError(
            f"words must be text of 1 to {MOST_WORDS} characters; got {str(words)[:40]!r}"
        )
    return words.strip()


def _check_number(value: Any, name: str) -> None:
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 0):
        raise PromptError(f"{name} must be a whole number, 0 or more; got {value!r}")
