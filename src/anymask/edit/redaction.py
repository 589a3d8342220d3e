"""Redaction of frames, of photos and of videos alike: masks in, unreadable pixels out.

Redaction is one color, or cells so large that the whole thing has few; a strong blur can be undone
in part (McPherson et al., "Defeating image obfuscation with deep learning", 2016). Photos come from
`jobs/redaction.py` and `jobs/review.py`, frames of videos from `track/redaction.py`.

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

from anymask.base import InputError, UintImage, ledger
from anymask.edit.changes import Where, grown, pixels_of
from anymask.masks import Rle, rle_merge, rle_to_mask

Hiding = Literal["solid", "pixels", "blur"]

CELLS = 4  # along the longer side of a redacted thing in large pixels
HAZE = 6  # sigmas of a redacting blur along the longer side of the thing


def redact(
    image: UintImage, what: Where, how: Hiding = "solid", colour: str = "black"
) -> UintImage:
    """The photo with the mask's pixels, and a margin, made unreadable.

    Raises InputError for a mask of another size and other words. An empty mask changes nothing.

    Args:
        how: "solid": one color; "pixels": the mean of few large cells; "blur": nicer to look
            at, but what is under it can be guessed.
        colour: Of "solid".
    """
    mask = pixels_of(image, what, empty=True)
    check_hiding(how, colour)
    wide = grown(mask)
    out = image.copy()
    if how == "solid":
        out[wide > 0] = ImageColor.getrgb(colour)[:3]
        return out
    count, labels, boxes, _ = cv2.connectedComponentsWithStats(wide)
    for number in range(1, count):
        x, y, width, height = (int(value) for value in boxes[number][:4])
        here = np.s_[y : y + height, x : x + width]
        hidden = _hazy(image[here]) if how == "blur" else _in_cells(image[here])
        out[here] = np.where((labels[here] == number)[..., None], hidden, out[here])
    return out


@dataclass(frozen=True)
class Redactor:
    """Hides objects in frames, each with a margin.

    Raises InputError for others.

    Attributes:
        how, colour: As `redact` takes them.
    """

    how: Hiding = "solid"
    colour: str = "black"

    def __post_init__(self) -> None:
        check_hiding(self.how, self.colour)

    def hide(self, image: UintImage, rles: Iterable[Rle]) -> UintImage:  # (H, W, 3) -> (H, W, 3)
        """The frame without the objects; the frame itself where there are none."""
        hidden = list(rles)
        if not hidden:
            return image
        return redact(image, rle_to_mask(rle_merge(hidden)), self.how, self.colour)


def check_hiding(how: str, colour: str) -> None:
    """Raises InputError for words that `redact` does not know."""
    if how not in get_args(Hiding):
        raise InputError(f'Unknown method {how!r}. Use "solid", "pixels" or "blur".')
    try:
        ImageColor.getrgb(colour)
    except ValueError:
        raise InputError(
            f"Invalid color {colour!r}. Use a name or a hex code, such as black or #20a0ff."
        ) from None


def _in_cells(part: UintImage) -> UintImage:  # (h, w, 3) -> (h, w, 3)
    """Few large cells, each of its mean color."""
    height, width = part.shape[:2]
    cell = max(width, height) / CELLS
    size = (max(1, round(width / cell)), max(1, round(height / cell)))
    few = cv2.resize(part, size, interpolation=cv2.INTER_AREA)
    large = cv2.resize(few, (width, height), interpolation=cv2.INTER_NEAREST)
    return np.asarray(large.reshape(height, width, 3), np.uint8)


def _hazy(part: UintImage) -> UintImage:  # (h, w, 3) -> (h, w, 3)
    """So far out of focus that no part of it is left."""
    sigma = max(1.0, max(part.shape[:2]) / HAZE)
    return np.asarray(cv2.GaussianBlur(part, (0, 0), sigma), np.uint8)


@dataclass(frozen=True)
class RedactedCopy:
    """The file of a copy, and a hidden stamp beside it. A file without one is not ours and is never
    overwritten.

    Attributes:
        path: Of the copy.
        original: What it is a copy of.
    """

    path: Path
    original: Path

    @property
    def _stamp(self) -> ledger.Stamp:
        return ledger.Stamp(self.path.with_name(f".{self.path.name}.redacted"))

    def notes(self, facts: Sequence[Any]) -> list[Any] | None:
        """What was noted of a copy that is there and was made of these facts; None: it has to be
        written. Raises InputError where another file, or the original, is in its place."""
        if not self.path.exists():
            return None
        if not self._stamp.path.is_file() or self.path.samefile(self.original):
            raise InputError(
                f"{self.path} exists and was not written by anymask redact, so it is "
                "not overwritten. Choose another output."
            )
        return self._stamp.notes(facts)

    def begin(self) -> None:
        """The copy is ours from now on, and not whole."""
        self._stamp.begin()

    def end(self, facts: Sequence[Any], notes: Sequence[Any] = ()) -> None:
        """The copy is whole."""
        self._stamp.end(facts, notes)
