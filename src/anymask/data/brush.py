"""Label Studio's brush run-lengths: a list of bytes (thi.ng/rle-pack) in, a mask out, and back.

The bits of a list: 32 the number of values; 5 the bits of a value less 1; 4 times 4 the bits of a
run's length less 1; then the runs. A run: 1 bit whether one value repeats; 2 bits which of the four
sizes its length has; the length less 1; then the value, or as many values as the length says. The
values are the picture's RGBA bytes, row by row; a mask is 0 or 255 in all four.

The encoder repeats what label-studio-sdk (Apache-2.0, `converter/brush.py`) writes, byte for byte;
the layout, not the code. Not COCO's run-lengths, with which they share but the name.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from anymask.primitives.errors import DataError, InputError
from anymask.primitives.rle import Rle, mask_to_rle
from anymask.primitives.types import IntArray

_SIZES = np.array([3, 4, 8, 16])  # bits of a run's length
_HEADER = (5, 4, 4, 4, 4)  # bits
_LONGEST = 1 << 16
_CHANNELS = 4
_HALF = 127  # a brush has soft edges; what is more than half covered is object


def mask_to_brush(mask: NDArray[Any]) -> list[int]:  # (H, W)
    """The bytes of a mask of any number type; whatever is not zero is object.

    Raises InputError when `mask` is not (H, W), or has no pixel.
    """
    if mask.ndim != 2 or not mask.size:
        raise InputError(
            f"a mask must have the shape (H, W); got {mask.shape}; encode masks one by one"
        )
    flat = mask.ravel() != 0
    edges = np.concatenate([[0], np.flatnonzero(flat[1:] != flat[:-1]) + 1, [flat.size]])
    lengths = np.diff(edges) * _CHANNELS
    values = flat[edges[:-1]].astype(np.int64) * 255
    pieces = -(-lengths // _LONGEST)
    rest = lengths - (pieces - 1) * _LONGEST
    lengths = np.full(int(pieces.sum()), _LONGEST)
    lengths[np.cumsum(pieces) - 1] = rest
    values = np.repeat(values, pieces)
    which = np.searchsorted(1 << _SIZES, lengths)
    words = (((4 + which) << _SIZES[which]) + lengths - 1 << 8) + values
    header = [flat.size * _CHANNELS, 7, *(_SIZES - 1)]
    bits = _bits(
        np.concatenate([header, words]),
        np.concatenate([[32, *_HEADER], 3 + _SIZES[which] + 8]),
    )
    padded = np.concatenate([bits, np.zeros(8 - len(bits) % 8, np.uint8)])  # a full byte, too
    packed: list[int] = np.packbits(padded).tolist()
    return packed


def _bits(words: IntArray, widths: IntArray) -> NDArray[np.uint8]:
    """The lowest `widths` bits of each word, highest first, one after the other."""
    ends = np.cumsum(widths)
    place = np.repeat(ends, widths) - np.arange(int(ends[-1])) - 1
    return ((np.repeat(words, widths) >> place) & 1).astype(np.uint8)


def brush_to_rle(packed: Any, image_hw: tuple[int, int]) -> Rle:
    """Read a list of bytes.

    Raises DataError when it is cut, holds other things than bytes, or belongs to another size.
    """
    data = np.asarray(packed)
    if data.ndim != 1 or data.dtype.kind not in "iu" or (data.size and data.max() > 255):
        raise DataError("brush run-lengths are a list of bytes, 0 to 255")
    if data.size < 8 or data.min() < 0:
        raise DataError(f"brush run-lengths have a header of 7 bytes and runs; got {data.size}")
    text = (np.unpackbits(data.astype(np.uint8)) + ord("0")).tobytes().decode("ascii")
    height, width = image_hw
    count = height * width * _CHANNELS
    if (found := int(text[:32], 2)) != count:
        raise DataError(
            f"brush run-lengths hold {found} values, a picture of {width} x {height} has {count}"
        )
    values = _values(text, count)
    return mask_to_rle(values.reshape(height, width, _CHANNELS)[..., 3] > _HALF)


def _values(text: str, count: int) -> NDArray[np.uint8]:  # (count,)
    word = int(text[32:37], 2) + 1
    sizes = [int(text[place : place + 4], 2) + 1 for place in range(37, 53, 4)]
    if word != 8:
        raise DataError(f"brush run-lengths have values of 8 bits, these have {word}")
    values = np.zeros(count, np.uint8)
    here, at = 0, 53
    try:
        while here < count:
            size = sizes[int(text[at + 1 : at + 3], 2)]
            length = int(text[at + 3 : at + 3 + size], 2) + 1
            repeats = text[at] == "1"
            at += 3 + size
            end = at + (8 if repeats else 8 * length)
            if here + length > count or end > len(text):
                raise DataError("brush run-lengths do not end with the picture; are they cut?")
            found = [int(text[place : place + 8], 2) for place in range(at, end, 8)]
            values[here : here + length] = found
            here, at = here + length, end
    except (ValueError, IndexError):
        raise DataError("brush run-lengths end before the picture does; are they cut?") from None
    return values
