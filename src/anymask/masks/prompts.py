"""Prompts for one object (`Prompt`), and simulated clicks.

A click with integers (x, y) is the centre of the pixel in column x and row y. Regions are
8-connected, as in the small-region removal of segment-anything.

Letters: H W the image, h w low-resolution logits, P clicks. Points are (x, y), boxes are xyxy, all
in image pixels.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, NamedTuple

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from anymask.base import BoolArray, FloatArray, InputError, IntArray, PromptError, repr_html
from anymask.masks.rle import (
    MAX_PIXELS,
    coco_to_rle,
    mask_to_rle,
    rle_to_coco,
    rle_to_mask,
    string_to_rle,
)
from anymask.masks.spec import MAX_POINTS, PromptKind

log = logging.getLogger(__name__)
SLACK = 1.0  # pixels that a box may extend beyond the image without a warning


class Click(NamedTuple):
    """A labelled point: (x, y) in image pixels, 1 foreground, 0 background."""

    point: tuple[float, float]
    label: int


def mask_depth(mask: NDArray[Any]) -> FloatArray:  # (H, W) -> (H, W)
    """Distance of each pixel's centre to the nearest background pixel, 0 in the background.
    The area beyond the image counts as background."""
    padded = np.pad(np.asarray(mask, np.bool_).view(np.uint8), 1)
    depth = cv2.distanceTransform(padded, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.asarray(depth[1:-1, 1:-1], np.float32)


def deepest_pixel(mask: NDArray[Any]) -> tuple[float, tuple[float, float]]:  # (H, W)
    """Largest distance to the edge of a mask, and its first pixel (x, y); (0, (0, 0)) if empty."""
    boolean = np.ascontiguousarray(mask, np.bool_)
    rows, columns = np.flatnonzero(boolean.any(axis=1)), np.flatnonzero(boolean.any(axis=0))
    if not len(rows):
        return 0.0, (0.0, 0.0)
    top, left = rows[0], columns[0]
    depth = mask_depth(boolean[top : rows[-1] + 1, left : columns[-1] + 1])
    y, x = np.unravel_index(int(depth.argmax()), depth.shape)
    return float(depth[y, x]), (float(x + left), float(y + top))


def center_click(mask: NDArray[Any]) -> tuple[float, float]:  # (H, W) -> (x, y)
    """Deepest pixel of the object. Raises InputError if the mask is empty."""
    depth, point = deepest_pixel(mask)
    if not depth:
        raise InputError("The mask is empty, so no point can be placed on it. Skip this mask.")
    return point


def next_click(
    prediction: NDArray[Any], truth: NDArray[Any], *, ignore: NDArray[Any] | None = None
) -> Click | None:  # (H, W), (H, W)
    """Simulate the next click of a careful user, or return None if nothing is wrong.

    The click is at the distance-transform centre of the largest 8-connected region of missing
    (label 1) or surplus (label 0) pixels, the missing one if equal. Pixels of `ignore` are never
    wrong. (Evaluation protocol of the Segment Anything paper, section 7.1 and appendix.)

    Raises:
        InputError: The shapes differ.
    """
    predicted, requested = np.asarray(prediction, np.bool_), np.asarray(truth, np.bool_)
    if predicted.shape != requested.shape:
        raise InputError(
            f"The prediction has the shape {predicted.shape}, but the ground truth has "
            f"{requested.shape}. Pass masks of the same size."
        )
    wrong = requested ^ predicted
    if ignore is not None:
        wrong &= ~np.asarray(ignore, np.bool_)
    rows, columns = np.flatnonzero(wrong.any(axis=1)), np.flatnonzero(wrong.any(axis=0))
    if not len(rows):
        return None
    window = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
    missing, missing_area = _largest_region(wrong[window] & requested[window])
    surplus, surplus_area = _largest_region(wrong[window] & predicted[window])
    label = int(missing_area >= surplus_area)
    x, y = center_click(missing if label else surplus)
    return Click((x + float(columns[0]), y + float(rows[0])), label)


def _largest_region(mask: BoolArray) -> tuple[BoolArray, int]:
    """Largest 8-connected region, the first in reading order if equal, and its area."""
    if not mask.any():
        return mask, 0
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask.view(np.uint8), connectivity=8)
    areas = stats[1:, cv2.CC_STAT_AREA]
    largest = int(np.argmax(areas))
    return labels == largest + 1, int(areas[largest])


def violated_points(
    mask: NDArray[Any], points: ArrayLike, labels: ArrayLike
) -> tuple[int, ...]:  # (H, W), (P, 2), (P,)
    """Indices of the clicks whose label contradicts the mask.

    A point belongs to the pixel at floor(x) and floor(y); points outside the mask belong to the
    nearest border pixel.
    """
    height, width = mask.shape
    xy = np.floor(np.asarray(points, np.float64).reshape(-1, 2))
    columns, rows = np.clip(xy, 0, (width - 1, height - 1)).astype(np.intp).T
    obeyed = mask[rows, columns].astype(np.bool_) == (np.asarray(labels).reshape(-1) == 1)
    return tuple(np.flatnonzero(~obeyed).tolist())


MAX_TEXT_CHARACTERS = 1000  # maximum length of a text prompt in characters


@dataclass(frozen=True, eq=False)
class Prompt:
    """A prompt for one object, in image pixels.

    Attributes:
        points: Points, an array (P, 2) of x, y.
        labels: Labels of the points (P,), 1 foreground, 0 background. Defaults to all 1.
        box: Box (4,) as x0, y0, x1, y1.
        mask: Mask (H, W), bool of any size, or logits (h, w), float, of an earlier prediction.
        words: Name of the object, for models with text prompts.
        example: Box (4,) around another object of the same kind.
        embedding: Tokens (D,) or (V, D) for SAM's decoders on PyTorch, such as a projected text
            embedding (Segment Anything, section 2).
        object_id: Number of the object in a video or volume; None for images.
        frame: Number of the frame or slice, counted from 0; None for images.
        lasso: Line (K, 2) of x, y around the object, which need not be closed.
        source: Text, file or feature of a layer that the prompt was read from, for messages.
        label: Name of the object.

    Raises:
        PromptError: The prompt is empty, has a wrong shape or label, is not finite, or its box has
            no area.
    """

    SCRIBBLE_POINTS: ClassVar[int] = 6  # of a scribble, as in the page
    MAX_CORNERS: ClassVar[int] = 10_000  # of a scribble or lasso

    points: FloatArray | None = None
    labels: IntArray | None = None
    box: FloatArray | None = None
    mask: NDArray[Any] | None = None
    words: str | None = None
    example: FloatArray | None = None
    embedding: FloatArray | None = None
    object_id: int | None = None
    frame: int | None = None
    lasso: FloatArray | None = None
    source: str | None = None
    label: str | None = None

    def __post_init__(self) -> None:
        values = {
            "points": _check_points(self.points),
            "box": None if self.box is None else _check_box(self.box),
            "mask": None if self.mask is None else _check_mask(self.mask),
            "words": None if self.words is None else _check_words(self.words),
            "example": None if self.example is None else _check_box(self.example, "example"),
            "embedding": None if self.embedding is None else _check_vectors(self.embedding),
            "lasso": None if self.lasso is None else _check_line(self.lasso, "lasso", 3),
        }
        labels = _check_labels(self.labels, values["points"])
        if all(value is None for value in values.values()):
            raise PromptError(
                "The prompt is empty. Pass points, a box or a mask, for example "
                "points=[(x, y)] or box=(x0, y0, x1, y1)."
            )
        for name in ("object_id", "frame"):
            value = getattr(self, name)
            if value is not None and (type(value) is not int or value < 0):
                raise PromptError(
                    f"Invalid {name} {value!r}. Expected a whole number of at least 0."
                )
        for name, value in (values | {"labels": labels}).items():
            object.__setattr__(self, name, value)

    def __repr__(self) -> str:
        parts = [] if self.object_id is None else [f"object {self.object_id}"]
        parts += [] if self.frame is None else [f"frame {self.frame}"]
        if self.points is not None and self.labels is not None:
            off = int((self.labels == 0).sum())
            clicks = "1 click" if len(self.points) == 1 else f"{len(self.points)} clicks"
            parts.append(clicks + (f" ({off} off)" if off else ""))
        for name, corners in (("box", self.box), ("example", self.example)):
            if corners is not None:
                parts.append(f"{name} {','.join(f'{side:g}' for side in corners.tolist())}")
        if self.mask is not None:
            parts.append(f"mask {'x'.join(map(str, self.mask.shape[::-1]))}")
        if self.lasso is not None:
            parts.append(f"lasso of {len(self.lasso)} corners")
        if self.embedding is not None:
            parts.append(f"embedding {'x'.join(map(str, self.embedding.shape))}")
        parts += [] if self.words is None else [f"words {self.words!r}"]
        return f"<Prompt: {', '.join(parts)}>"

    _repr_html_ = repr_html

    @property
    def kinds(self) -> frozenset[PromptKind]:
        """Kinds of prompt used, named as in `ModelSpec.accepts`."""
        on = self.labels is not None and bool((self.labels == 1).any())
        off = self.labels is not None and bool((self.labels == 0).any())
        uses: dict[PromptKind, bool] = {
            "point": on,
            "negative_point": off,
            "box": self.box is not None or self.lasso is not None,
            "mask": self.mask is not None,
            "words": self.words is not None,
            "example": self.example is not None,
            "embedding": self.embedding is not None,
        }
        return frozenset(kind for kind, there in uses.items() if there)

    @classmethod
    def of(
        cls,
        points: ArrayLike | None = None,
        labels: ArrayLike | None = None,
        box: ArrayLike | None = None,
        mask: ArrayLike | None = None,
        words: str | None = None,
        scribble: ArrayLike | None = None,
        lasso: ArrayLike | None = None,
    ) -> Prompt:
        """Create a prompt from lists, tuples or arrays, with the checks of the constructor.

        Args:
            scribble: Line (K, 2) along the object. Six points on it become foreground points.
        """
        if scribble is not None:
            drawn = cls(scribble_points(_check_line(scribble, "scribble", 1)))
            if points is box is mask is words is lasso is labels is None:
                return drawn
            prompt = cls.of(points, labels, box, mask, words, lasso=lasso)
            return replace(merged_prompts(prompt, drawn), words=words)
        return cls(points, labels, box, mask, words, lasso=lasso)  # type: ignore[arg-type]  # converted

    def to_json(self) -> dict[str, Any]:
        """Fields that are set, as in requests and session files. The mask is a COCO RLE."""
        record: dict[str, Any] = {}
        for name in (field.name for field in fields(self)):
            value = getattr(self, name)
            if name == "mask" and value is not None:
                value = rle_to_coco(mask_to_rle(value > 0))
            elif isinstance(value, np.ndarray):
                short = value.astype(str).astype(np.float64)  # 12.3 instead of 12.300000190734863
                value = (value if name == "labels" else short).tolist()
            if value is not None:
                record[name] = value
        return record

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Prompt:
        """Create a prompt from `to_json`, with the checks of the constructor.

        Args:
            record: Fields, and `scribble` as in `of`. Fields that are None are ignored.

        Raises:
            PromptError: A field is unknown, or the prompt is invalid.
            DataError: The mask is not a COCO RLE.
        """
        values = {name: value for name, value in record.items() if value is not None}
        known = {"scribble", *(field.name for field in fields(cls))}
        if strange := sorted(values.keys() - known):
            raise PromptError(
                f"Unknown field {strange[0]!r} of a prompt. Known fields: "
                f"{', '.join(sorted(known))}."
            )
        mask = values.get("mask")
        if isinstance(mask, str) and mask.count(" ") >= 2:  # of session files of version 0.1
            height, width, counts = mask.split(" ", 2)
            values["mask"] = rle_to_mask(string_to_rle(counts, (int(height), int(width))))
        elif mask is not None:
            values["mask"] = rle_to_mask(coco_to_rle(mask))
        if (line := values.pop("scribble", None)) is None:
            return cls(**values)
        drawn = cls.of(scribble=line)
        return merged_prompts(cls(**values), drawn) if values else drawn

    def drawn_in(self, image_hw: tuple[int, int], accepts: frozenset[PromptKind]) -> Prompt:
        """Replace a lasso by its box and the mask of the pixels that it encloses.

        Args:
            image_hw: Size of the image.
            accepts: Prompt kinds of the model. Without masks, a point in the lasso is added.

        Raises:
            PromptError: The lasso encloses no pixel of the image.
        """
        if self.lasso is None:
            return self
        from anymask.masks.polygons import Polygon, polygons_to_mask  # rarely needed

        inside = polygons_to_mask([Polygon(self.lasso.astype(np.float64))], image_hw)
        if not inside.any():
            raise PromptError(
                "The lasso does not enclose a pixel of the image. Draw it around the object, in "
                "pixels of the image."
            )
        box = np.concatenate([self.lasso.min(axis=0), self.lasso.max(axis=0)])
        whole = replace(self, box=box if self.box is None else self.box, lasso=None)
        if "mask" not in accepts:
            return merged_prompts(whole, Prompt.of(points=[center_click(inside)]))
        return replace(whole, mask=inside) if whole.mask is None else whole


def scribble_points(line: FloatArray) -> FloatArray:  # (K, 2) -> (6, 2)
    """Points in the middle of six equal parts of a line."""
    walked = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(line, axis=0).T))])
    if not walked[-1]:
        return line[:1]
    due = (np.arange(Prompt.SCRIBBLE_POINTS) + 0.5) / Prompt.SCRIBBLE_POINTS * walked[-1]
    return np.stack([np.interp(due, walked, line[:, side]) for side in (0, 1)], 1).astype(
        np.float32
    )


def warn_of_cut_boxes(prompts: Iterable[Prompt], image_hw: tuple[int, int]) -> None:
    """Log a warning for user boxes that extend beyond the image by more than a pixel.

    Not for boxes of detectors and trackers, which often do.
    """
    height, width = image_hw
    low, high = -SLACK, np.array([width, height], np.float32) + SLACK
    beyond = [
        prompt.box
        for prompt in prompts
        if prompt.box is not None and ((prompt.box < low).any() or (prompt.box[2:] > high).any())
    ]
    if beyond:
        box = ",".join(np.format_float_positional(side, trim="-") for side in beyond[0])
        several = f"{len(beyond)} boxes (the first: {box}) extend"
        first = several if len(beyond) > 1 else f"Box {box} extends"
        log.warning(
            "%s beyond the image of %d x %d pixels. The boxes are clipped to the image.",
            first, width, height,
        )  # fmt: skip


def cut_boxes(boxes: ArrayLike, image_hw: tuple[int, int]) -> FloatArray:  # (N, 4)
    """Clip boxes to the image; boxes outside the image are unchanged."""
    given = np.asarray(boxes, np.float32).reshape(-1, 4)
    height, width = image_hw
    cut = given.clip(0, np.array([width, height] * 2, np.float32))
    inside = (cut[:, :2] < cut[:, 2:]).all(axis=1, keepdims=True)
    return np.where(inside, cut, given)


def _numbers(value: Any, name: str, example: str) -> NDArray[np.float64]:
    """float64 copy of user input, which must be finite as float32."""
    try:
        array = np.array(np.asarray(value), np.float64)  # twice: avoids a torch warning
    except (TypeError, ValueError, OverflowError) as error:
        raise PromptError(
            f"Invalid {name}: {str(value)[:80]}. Expected numbers, such as {example}."
        ) from error
    if not (np.abs(array) <= np.finfo(np.float32).max).all():
        raise PromptError(
            f"Invalid {name}: {array.reshape(-1).tolist()[:8]}. Remove NaN and infinite values."
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
            f"Invalid points of shape {array.shape}. Expected (P, 2), one (x, y) per "
            "point. Pass a single point as points=[(x, y)], and points on several objects "
            "as prompts=[Prompt.of(points=one) for one in points]."
        )
    if len(array) > MAX_POINTS:
        raise PromptError(
            f"A prompt supports at most {MAX_POINTS} points, but {len(array)} were "
            "passed. Pass fewer points, or a mask."
        )
    return array.astype(np.float32)


def _check_line(line: Any, name: str, least: int) -> FloatArray:
    array = _numbers(line, name, f"{name}=[(x, y), (x, y), ...]")
    if array.ndim != 2 or array.shape[1] != 2 or not least <= len(array) <= Prompt.MAX_CORNERS:
        raise PromptError(
            f"Invalid {name} of shape {array.shape}. Expected {least} to {Prompt.MAX_CORNERS} "
            "corners (x, y) of one line."
        )
    return array.astype(np.float32)


def _check_labels(labels: Any, points: Any) -> IntArray | None:
    if points is None:
        if labels is not None and np.size(labels):
            raise PromptError(
                f"{np.size(labels)} point labels were passed without points. Pass "
                "points, or omit the labels."
            )
        return None
    if labels is None:
        return np.ones(len(points), np.int64)
    array = _numbers(labels, "labels", "labels=[1, 0, ...]")
    if array.shape != (len(points),):
        raise PromptError(
            f"Invalid point labels of shape {array.shape} for {len(points)} points. Pass one "
            f"label per point, such as {[1] * min(len(points), 3)}."
        )
    if not np.isin(array, (0, 1)).all():
        strange = sorted(set(array[~np.isin(array, (0, 1))].tolist()))[:5]
        raise PromptError(
            f"Invalid point labels {strange}. Use 1 (foreground) or 0 (background). To "
            "prompt with a box, pass box=(x0, y0, x1, y1)."
        )
    return array.astype(np.int64)


def _check_box(box: Any, name: str = "box") -> FloatArray:
    array = _numbers(box, name, f"{name}=(x0, y0, x1, y1)")
    if array.shape != (4,):
        several = "pass boxes=[(x0, y0, x1, y1), ...], or one Prompt per object"
        raise PromptError(
            f"Invalid {name} of shape {array.shape}. Expected four numbers x0, y0, x1, y1. For "
            f"several objects, {several if name == 'box' else 'pass one Prompt per object'}."
        )
    x0, y0, x1, y1 = array.astype(np.float32).tolist()
    if x1 <= x0 or y1 <= y0:
        raise PromptError(
            f"Invalid {name} ({x0:g}, {y0:g}, {x1:g}, {y1:g}). Expected x0 < x1 and y0 < y1: the "
            "top left and the bottom right corner, not width and height."
        )
    return array.astype(np.float32)


def _check_vectors(embedding: Any) -> FloatArray:  # -> (V, D)
    rows = _numbers(embedding, "embedding", "an array of shape (D,), or (V, D) for V vectors")
    if rows.ndim not in (1, 2) or not rows.size or len(np.atleast_2d(rows)) > MAX_POINTS:
        raise PromptError(
            f"Invalid embedding of shape {rows.shape}. Expected (D,) or (V, D) with at most "
            f"{MAX_POINTS} vectors."
        )
    return np.atleast_2d(rows).astype(np.float32)


def _check_mask(mask: Any) -> NDArray[Any]:
    try:
        array = np.asarray(mask)
    except ValueError as error:
        raise PromptError(
            "The rows of the mask have different lengths. Pass one array (H, W)."
        ) from error
    if array.ndim != 2 or not array.size:
        raise PromptError(
            f"Invalid mask of shape {array.shape}. Expected (H, W), at least 1 x 1. Pass one "
            "mask, such as prediction.masks[0] or prediction.logits[0]."
        )
    if array.size > MAX_PIXELS:  # checked before copying: a broadcast array takes no memory
        raise PromptError(
            f"Invalid mask of shape {array.shape}. At most {MAX_PIXELS // 1000000} million pixels "
            "are supported. Pass a mask of the size of the image."
        )
    if array.dtype.kind in "bui":
        return np.asarray(array != 0)
    if array.dtype.kind != "f":
        raise PromptError(
            f"Invalid mask of type {array.dtype}. Expected bool, integers (values "
            "other than 0 are foreground) or float logits."
        )
    logits = array.astype(np.float32)
    if not np.isfinite(logits).all():
        raise PromptError("The mask logits contain NaN or infinite values. Replace them.")
    return logits


def _check_words(words: Any) -> str:
    if not isinstance(words, str) or not 0 < len(words.strip()) <= MAX_TEXT_CHARACTERS:
        raise PromptError(
            f"Invalid text prompt {str(words)[:40]!r}. A text prompt must have 1 to "
            f"{MAX_TEXT_CHARACTERS} characters."
        )
    return words.strip()


def box_prompts(boxes: ArrayLike) -> list[Prompt]:  # (N, 4)
    """One prompt per box. Raises PromptError if the boxes are not (N, 4) numbers."""
    try:
        rows = np.asarray(boxes, np.float64)
    except (TypeError, ValueError):
        rows = np.zeros(0)
    if rows.ndim != 2 or rows.shape[1] != 4:
        if rows.size == 0 and isinstance(boxes, list | tuple | np.ndarray) and not len(boxes):
            return []
        raise PromptError(
            f"Invalid boxes {str(boxes)[:80]}. Expected (N, 4) numbers, one x0, y0, x1, y1 per "
            "object. Pass a single box as box=(x0, y0, x1, y1)."
        )
    return [Prompt.of(box=row) for row in rows]


def prompt_list(prompts: Any) -> list[Prompt]:
    """One or several prompts as a list. Raises PromptError if a value is not a `Prompt`."""
    if isinstance(prompts, Prompt):
        return [prompts]
    several = list(prompts) if isinstance(prompts, Iterable) else [prompts]
    for prompt in several:
        if not isinstance(prompt, Prompt):
            raise PromptError(
                f"Invalid prompt of type {type(prompt).__name__}. Pass anymask.Prompt objects, "
                "such as Prompt.of(points=[(x, y)]) or Prompt.of(box=(x0, y0, x1, y1))."
            )
    return several


def merged_prompts(before: Prompt, added: Prompt) -> Prompt:
    """Merge two prompts for one object on one frame: points add up, newer boxes and masks win."""
    points, labels = before.points, before.labels
    if added.points is not None and added.labels is not None:
        if points is None or labels is None:
            points, labels = added.points, added.labels
        else:
            points = np.concatenate([points, added.points])
            labels = np.concatenate([labels, added.labels])
    return Prompt(
        points,
        labels,
        before.box if added.box is None else added.box,
        before.mask if added.mask is None else added.mask,
        lasso=before.lasso if added.lasso is None else added.lasso,
    )
