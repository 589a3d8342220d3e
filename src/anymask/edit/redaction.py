"""Redaction of images and video frames.

Redacted objects become one color, or a few large cells; a strong blur can be partly reversed
(McPherson et al., "Defeating image obfuscation with deep learning", 2016). Images come from
`jobs/redaction.py` and `jobs/review.py`, video frames from `track/redaction.py`.

Letters: H W a frame.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import cv2
import numpy as np
from PIL import ImageColor

from anymask.base import BoolArray, InputError, UintImage, ledger
from anymask.edit.alpha import size_error
from anymask.masks import Mask, Masks, Rle, rle_merge, rle_to_mask

Hiding = Literal["solid", "pixels", "blur"]
Where = BoolArray | Mask | Masks  # (H, W), or a result of a model: all of its masks

GROWN = 0.006  # margin of a redacted mask, relative to the image's longest side
CELLS_PER_OBJECT = 4  # along the longer side of an object redacted by cells
HAZE = 6  # sigmas of a redacting blur along the object's longer side


def redact(image: UintImage, what: Where, how: Hiding = "solid", color: str = "black") -> UintImage:
    """Make the mask's pixels, and a margin, unrecognizable.

    Args:
        image: Image (H, W, 3), or (H, W, 4) whose alpha is kept.
        what: The mask or masks. An empty mask changes nothing.
        how: "solid": one color; "pixels": the mean of a few large cells; "blur": looks better, but
            the content can be guessed.
        color: Color of "solid".

    Raises:
        InputError: The mask has another size, or a value is invalid.
    """
    mask = union_mask(image[..., :3], what, allow_empty=True)
    Redactor(how, color)  # validates both
    reach = max(1, round(GROWN * max(mask.shape)))
    square = np.ones((2 * reach + 1,) * 2, np.uint8)
    wide = np.asarray(cv2.dilate(mask.astype(np.uint8), square), np.uint8)
    whole = image.copy()
    whole[(whole[..., 3:] == 0).any(axis=2)] = 0  # may hide what the picture does not show
    out = whole[..., :3]
    if how == "solid":
        out[wide > 0] = ImageColor.getrgb(color)[:3]
        return whole
    count, labels, boxes, _ = cv2.connectedComponentsWithStats(wide)
    for number in range(1, count):
        x, y, width, height = (int(value) for value in boxes[number][:4])
        here = np.s_[y : y + height, x : x + width]
        part = np.ascontiguousarray(image[here][..., :3])
        sigma = max(1.0, max(part.shape[:2]) / HAZE)
        hidden = cv2.GaussianBlur(part, (0, 0), sigma) if how == "blur" else _in_cells(part)
        out[here] = np.where((labels[here] == number)[..., None], hidden, out[here])
    return whole


def union_mask(image: UintImage, what: Where, *, allow_empty: bool = False) -> BoolArray:
    """Return the union (H, W) of masks. Raises InputError if it is empty or its size differs."""
    if isinstance(what, Masks):
        mask = what.union().mask if what else np.zeros(image.shape[:2], np.bool_)
    else:
        mask = what.mask if isinstance(what, Mask) else what
    if image.ndim != 3 or image.shape[2] != 3 or image.shape[:2] != mask.shape:
        raise size_error(image, mask)
    if not allow_empty and not mask.any():
        raise InputError("The mask is empty. Pass the mask of an object.")
    return mask


@dataclass(frozen=True)
class Redactor:
    """Redacts objects in frames, each with a margin.

    Attributes:
        how, colour: As for `redact`.

    Raises:
        InputError: A value is invalid.
    """

    how: Hiding = "solid"
    color: str = "black"

    def __post_init__(self) -> None:
        if self.how not in get_args(Hiding):
            raise InputError(f'Unknown method {self.how!r}. Use "solid", "pixels" or "blur".')
        try:
            ImageColor.getrgb(self.color)
        except ValueError:
            raise InputError(
                f"Invalid color {self.color!r}. Use a name or a hex code, such as black or #20a0ff."
            ) from None

    def hide(self, image: UintImage, rles: Iterable[Rle]) -> UintImage:  # (H, W, 3 or 4)
        """Redact the objects in a frame; returns the frame itself if there are none."""
        if not (hidden := list(rles)):
            return image
        return redact(image, rle_to_mask(rle_merge(hidden)), self.how, self.color)


def _in_cells(part: UintImage) -> UintImage:  # (h, w, 3) -> (h, w, 3)
    """Pixelate into a few large cells of mean color."""
    height, width = part.shape[:2]
    cell = max(width, height) / CELLS_PER_OBJECT
    size = (max(1, round(width / cell)), max(1, round(height / cell)))
    few = cv2.resize(part, size, interpolation=cv2.INTER_AREA)
    large = cv2.resize(few, (width, height), interpolation=cv2.INTER_NEAREST)
    return np.asarray(large.reshape(height, width, 3), np.uint8)


@dataclass(frozen=True)
class RedactedCopy:
    """A redacted copy of a file, with a hidden stamp next to it. Files without a stamp are never
    overwritten.
    """

    path: Path  # The copy
    original: Path  # The original file

    @property
    def _stamp(self) -> ledger.Stamp:
        return ledger.Stamp(self.path.with_name(f".{self.path.name}.redacted"))

    def notes(self, facts: Sequence[Any]) -> list[Any] | None:
        """Notes of an existing complete copy with the same facts, or None if it must be written.

        Raises:
            InputError: The path is another file, or the original.
        """
        if not self.path.exists():
            return None
        if not self._stamp.path.is_file() or self.path.samefile(self.original):
            raise InputError(
                f"{self.path} exists and is no result of redact. Choose another output."
            )
        return self._stamp.notes(facts)

    def begin(self) -> None:
        """Mark the copy as ours and incomplete."""
        self._stamp.begin()

    def end(self, facts: Sequence[Any], notes: Sequence[Any] = ()) -> None:
        """Mark the copy as complete."""
        self._stamp.end(facts, notes)
