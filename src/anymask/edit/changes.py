"""Photos changed where masks are: things taken out, blurred, replaced, redacted; a collage.

Taking out fills the mask from what lies around it (Telea, "An image inpainting technique based on
the fast marching method", 2004): the pixels are invented, and good for small things on plain
ground. Redaction is one color, or cells so large that the whole thing has few; a strong blur can
be undone in part (McPherson et al., "Defeating image obfuscation with deep learning", 2016).

Letters: H W a photo.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import cv2
import numpy as np
from PIL import ImageColor

from anymask.base import BoolArray, FloatArray, InputError, UintImage, parse_json, write_whole
from anymask.edit.cutouts import covering, cut_out
from anymask.edit.inpainting import Filler
from anymask.masks import Mask, Masks

Where = BoolArray | Mask | Masks  # (H, W), or what a model answered: all of its things
Hiding = Literal["solid", "pixels", "blur"]

GROWN = 0.006  # of the photo's longest side: how much wider than the mask is taken out
FILLED = 5  # pixels round a pixel from which it is filled
BLUR = 0.02  # sigma of a blur, of the photo's longest side
CELLS = 4  # along the longer side of a redacted thing in large pixels
HAZE = 6  # sigmas of a redacting blur along the longer side of the thing
GAP = 16  # pixels between the things of a collage


def remove(image: UintImage, what: Where, fill: Filler | None = None) -> UintImage:
    """The photo without the object: its place is filled from what lies around; invented pixels.

    Raises InputError for a mask of another size, an empty mask, or one of the whole photo.

    Args:
        fill: What fills it, such as `open_lama()`; None: Telea's method, for small things.
    """
    mask = _pixels(image, what)
    if mask.all():
        raise InputError(
            "The mask covers the whole image, so there are no other pixels from which "
            "to fill it. Pass a smaller mask."
        )
    hole = _grown(mask)
    if hole.all():
        hole = mask.astype(np.uint8)
    if fill is not None:
        return fill(image, hole > 0)
    filled = cv2.inpaint(np.ascontiguousarray(image), hole, FILLED, cv2.INPAINT_TELEA)
    return np.asarray(filled, np.uint8)


def blur(image: UintImage, what: Where, width: float | None = None) -> UintImage:
    """The photo with the object out of focus; for what must not be recognised take `redact`.

    Raises InputError for a mask of another size, or an empty one.

    Args:
        width: Sigma in pixels; None: 2 % of the photo's longest side.
    """
    mask = _pixels(image, what)
    sigma = BLUR * max(mask.shape) if width is None else width
    if sigma <= 0:
        raise InputError(f"Invalid width {width!r}. Use a number of pixels above 0.")
    blurred = np.asarray(cv2.GaussianBlur(image, (0, 0), sigma), np.uint8)
    return _mixed(blurred, image, mask)


def replace(image: UintImage, what: Where, picture: UintImage) -> UintImage:
    """The photo with the object's place filled by a picture that is scaled to cover its box.

    Raises InputError for a mask of another size, or an empty one.
    """
    mask = _pixels(image, what)
    x, y, width, height = cv2.boundingRect(mask.astype(np.uint8))
    behind = image.copy()
    behind[y : y + height, x : x + width] = covering(picture, (height, width))
    return _mixed(behind, image, mask)


def redact(
    image: UintImage, what: Where, how: Hiding = "solid", colour: str = "black"
) -> UintImage:
    """The photo with the mask's pixels, and a margin, made unreadable.

    Raises InputError for a mask of another size and other words. An empty mask changes nothing.

    Args:
        how: "solid": one color; "pixels": the mean of few large cells; "blur": nicer to look
            at, but what is under it can be guessed.
        colour: Of "solid".

    Args:
        how: "solid": one colour; "pixels": the mean of few large cells; "blur": nicer to look
            at, but what is under it can be guessed.
        colour: Of "solid".
    """
    mask = _pixels(image, what, empty=True)
    check_hiding(how, colour)
    wide = _grown(mask)
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
class RedactedCopy:
    """The file of a copy, and a hidden one beside it that says what it was made of, as a hash that
    tells nothing else. A file without one is not ours and is never overwritten.

    Attributes:
        path: Of the copy.
        original: What it is a copy of.
    """

    path: Path
    original: Path

    @property
    def _mark(self) -> Path:
        return self.path.with_name(f".{self.path.name}.redacted")

    def notes(self, facts: Sequence[Any]) -> list[Any] | None:
        """What was noted of a copy that is there and was made of these facts; None: it has to be
        written. Raises InputError where another file, or the original, is in its place."""
        if not self.path.exists():
            return None
        if not self._mark.is_file() or self.path.samefile(self.original):
            raise InputError(
                f"{self.path} exists and was not written by anymask redact, so it is "
                "not overwritten. Choose another output."
            )
        stamp, _, notes = self._mark.read_text("utf-8").partition("\n")
        if stamp != self._stamp(facts):
            return None
        return list(parse_json(notes or "[]", self._mark))

    def begin(self) -> None:
        """The copy is ours from now on, and not whole."""
        write_whole(self._mark, "begun")

    def end(self, facts: Sequence[Any], notes: Sequence[Any] = ()) -> None:
        """The copy is whole."""
        write_whole(self._mark, f"{self._stamp(facts)}\n{json.dumps(notes)}")

    def _stamp(self, facts: Sequence[Any]) -> str:
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


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


def collage(
    image: UintImage, masks: Sequence[BoolArray], background: str = "white"
) -> UintImage:  # (H, W, 3), each (H, W) -> (h, w, 3)
    """The objects cut out side by side, in rows about as wide as high, on one color.

    Raises InputError for no masks, an empty one, or another size.
    """
    if not masks:
        raise InputError("A collage requires at least one mask. Segment the image first.")
    for mask in masks:
        _check(image, mask)
    things = [cut_out(image, mask, background=background, crop=True) for mask in masks]
    area = sum((t.shape[0] + GAP) * (t.shape[1] + GAP) for t in things)
    widest = max(round(area**0.5), max(t.shape[1] for t in things))
    rows: list[list[UintImage]] = [[]]
    for thing in sorted(things, key=lambda one: -one.shape[0]):
        used = sum(one.shape[1] + GAP for one in rows[-1])
        if rows[-1] and used + thing.shape[1] > widest:
            rows.append([])
        rows[-1].append(thing)
    high = sum(row[0].shape[0] + GAP for row in rows) + GAP
    wide = max(sum(one.shape[1] + GAP for one in row) for row in rows) + GAP
    sheet = np.full((high, wide, 3), ImageColor.getrgb(background)[:3], np.uint8)
    top = GAP
    for row in rows:
        left = GAP
        for thing in row:
            sheet[top : top + thing.shape[0], left : left + thing.shape[1]] = thing
            left += thing.shape[1] + GAP
        top += row[0].shape[0] + GAP
    return sheet


def _grown(mask: BoolArray) -> UintImage:  # (H, W) -> (H, W) of 0 and 1
    """The mask with a margin."""
    reach = max(1, round(GROWN * max(mask.shape)))
    wide = cv2.dilate(mask.astype(np.uint8), np.ones((2 * reach + 1,) * 2, np.uint8))
    return np.asarray(wide, np.uint8)


def _mixed(front: UintImage, image: UintImage, mask: BoolArray) -> UintImage:
    """The front where the mask is, over a soft rim outside of it the photo."""
    grown = cv2.dilate(mask.astype(np.float32), np.ones((5, 5), np.uint8))
    alpha: FloatArray = np.maximum(cv2.GaussianBlur(grown, (0, 0), 1.0), mask)[..., None]
    mixed = front * alpha + image * (1 - alpha)
    return np.clip(np.round(mixed), 0, 255).astype(np.uint8)


def _pixels(image: UintImage, what: Where, *, empty: bool = False) -> BoolArray:  # -> (H, W)
    """What is meant as one mask. Raises InputError for one that does not fit."""
    if isinstance(what, Masks):
        mask = what.union().mask if what else np.zeros(image.shape[:2], np.bool_)
    else:
        mask = what.mask if isinstance(what, Mask) else what
    _check(image, mask, empty=empty)
    return mask


def _check(image: UintImage, mask: BoolArray, *, empty: bool = False) -> None:
    """Raises InputError for a mask that does not fit."""
    if image.ndim != 3 or image.shape[2] != 3 or image.shape[:2] != mask.shape:
        raise InputError(
            f"The mask has the size {mask.shape}, but the image has {image.shape}. Pass an image "
            "(H, W, 3) and a mask (H, W) of the same size."
        )
    if not empty and not mask.any():
        raise InputError("The mask is empty. Pass the mask of an object.")
