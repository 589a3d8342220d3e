"""Read images of telescopes and electron microscopes: FITS and MRC.

- FITS (FITS Standard 4.0, sections 3 to 5): the first image of the file, which is the primary array
  or an IMAGE extension. BZERO and BSCALE are applied, BLANK becomes NaN. The first row of an array
  is the first row of the file, as in astropy; most viewers show it at the bottom.
- MRC (MRC2014; Cheng et al. 2015): modes 0, 1, 2, 6 and 12. The sections of a stack are pages. The
  pixel size is cella / mx in angstrom.

The pages are the sections along the third and higher axes.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from anymask.base import ImageError

_FITS_BLOCK, _FITS_CARD = 2880, 80  # bytes of a FITS block and of a header card
_MAX_BLOCKS, _MAX_UNITS = 1000, 1000  # of a header, and headers that are read
_MRC_HEADER, _MRC_STAMP = 1024, 212
_FITS_TYPES = {8: ">u1", 16: ">i2", 32: ">i4", 64: ">i8", -32: ">f4", -64: ">f8"}
_MRC_TYPES = {0: "i1", 1: "i2", 2: "f4", 6: "u2", 12: "f2"}
_NAMED = ("Z", "T", "P")  # names of the third and higher axes
_CARD_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([EeDd][+-]?\d+)?")


@dataclass(frozen=True)
class Places:
    """Contents of a file with one or more pages."""

    count: int  # Number of pages
    hw: tuple[int, int]  # (H, W) of the first page
    channels: int  # Channels of the first page
    colors: bool  # Whether the channels are red, green and blue
    # Function that reads a page by number: (H, W, C) of any number type
    read: Callable[[int], NDArray[Any]]
    # (name, length) of the axes of the pages, outermost first; () if images differ
    axes: tuple[tuple[str, int], ...] = ()
    nm: float = 0.0  # Length of a pixel along x in nanometers, 0 if unknown


# FITS.


def open_fits(file: BinaryIO) -> Places:
    """Open the first image of a FITS file."""
    file.seek(0)
    cards, start = _find_image(file)
    kind = np.dtype(_FITS_TYPES[int(cards["BITPIX"])])
    shape = _shape(cards)
    scale, zero, blank = (cards.get(name) for name in ("BSCALE", "BZERO", "BLANK"))

    def read(page: int) -> NDArray[Any]:
        flat = _section(file, start, kind, shape, page)
        return _scaled(flat, scale or 1.0, zero or 0.0, blank)[..., None]

    return _places(shape, read)


def _find_image(file: BinaryIO) -> tuple[dict[str, float], int]:
    """Header of the first image of at least two axes, and the place of its data."""
    compressed = False
    for _ in range(_MAX_UNITS):
        cards, kind = _header(file)
        if cards is None:
            break
        start, shape = file.tell(), _shape(cards)
        image = kind in ("", "IMAGE") and cards["BITPIX"] in _FITS_TYPES
        if image and len(shape) >= 2 and min(shape) > 0:
            return cards, start
        compressed |= bool(cards.get("ZIMAGE"))
        values = math.prod(shape) if shape else 0
        extra, groups = (
            max(0, int(cards.get(name, n))) for name, n in (("PCOUNT", 0), ("GCOUNT", 1))
        )
        size = abs(int(cards["BITPIX"])) // 8 * groups * (extra + values)
        file.seek(start + -(-size // _FITS_BLOCK) * _FITS_BLOCK)
    if compressed:
        raise ImageError(
            "Tile-compressed images of FITS are not supported. Decompress it with: funpack FILE"
        )
    raise ImageError("This FITS file contains no image with two or more axes.")


def _header(file: BinaryIO) -> tuple[dict[str, float] | None, str]:
    """Numbers of a header, and the kind of extension; None at the end of the file."""
    cards: dict[str, float] = {}
    kind = ""
    for number in range(_MAX_BLOCKS):
        block = file.read(_FITS_BLOCK)
        if len(block) < _FITS_BLOCK:
            if not number and not block.strip(b"\0 "):
                return None, ""
            raise EOFError("The header is incomplete")
        for start in range(0, _FITS_BLOCK, _FITS_CARD):
            card = block[start : start + _FITS_CARD].decode("ascii", "replace")
            name, mark, value = card[:8].strip(), card[8:10], card[10:].strip()
            if name == "END":
                return cards, kind
            if mark != "= ":
                continue
            if name == "XTENSION":
                kind = value.partition("/")[0].strip(" '")
            elif value.startswith("T"):
                cards[name] = 1
            elif match := _CARD_NUMBER.match(value):
                cards[name] = float(match[0].upper().replace("D", "E"))
    raise EOFError("The header has no end")


def _shape(cards: dict[str, float]) -> tuple[int, ...]:
    """Lengths of the axes, outermost first."""
    count = int(cards["NAXIS"])
    if not 0 <= count <= 999:
        raise ValueError("Invalid number of axes")
    shape = tuple(int(cards[f"NAXIS{axis}"]) for axis in range(count, 0, -1))
    if any(length < 0 for length in shape):
        raise ValueError("Invalid length of an axis")
    return shape


def _scaled(flat: NDArray[Any], scale: float, zero: float, blank: float | None) -> NDArray[Any]:
    """Physical values; unsigned integers are stored as signed ones with an offset."""
    values = flat.astype(flat.dtype.newbyteorder("="))
    kind = values.dtype
    if scale == 1 and blank is None and kind.kind in "iu":
        if zero == 0:
            return values
        offset = 2 ** (8 * kind.itemsize - 1)
        if kind.kind == "i" and zero == offset:
            unsigned = np.dtype(f"u{kind.itemsize}")
            return np.asarray(values.view(unsigned) ^ np.array(offset, unsigned))
        if kind == np.uint8 and zero == -128:
            return (values ^ np.uint8(128)).view(np.int8)
    if scale == 1 and zero == 0 and kind.kind == "f":
        return values
    physical: NDArray[np.float64] = values * np.float64(scale) + zero
    if blank is not None and kind.kind in "iu":
        physical[values == blank] = np.nan
    return physical


# MRC.


def open_mrc(file: BinaryIO) -> Places:
    """Open an MRC image, stack or volume."""
    file.seek(0)
    head = file.read(_MRC_HEADER)
    if len(head) < _MRC_HEADER:
        raise EOFError("The header is incomplete")
    order = ">" if head[_MRC_STAMP] == 0x11 else "<"
    numbers = np.frombuffer(head, f"{order}i4", 56)
    width, height, count, mode = numbers[:4].tolist()
    if mode not in _MRC_TYPES:
        raise ImageError(
            f"This MRC file has mode {mode}, which is not supported. Expected mode 0, 1, 2, 6 or "
            "12. Convert it, for example with: newstack -mode 2 FILE out.mrc"
        )
    if min(width, height, count) < 1 or numbers[23] < 0:
        raise ValueError("Invalid size")
    kind = np.dtype(f"{order}{_MRC_TYPES[mode]}")
    start, shape = _MRC_HEADER + int(numbers[23]), (count, height, width)
    cell, across = float(np.frombuffer(head, f"{order}f4", 1, 40)[0]), int(numbers[7])
    angstrom = cell / across if across > 0 and math.isfinite(cell) else 0.0

    def read(page: int) -> NDArray[Any]:
        return _section(file, start, kind, shape, page).astype(kind.newbyteorder("="))[..., None]

    return _places(shape, read, angstrom / 10)


# Both.


def _places(shape: tuple[int, ...], read: Callable[[int], NDArray[Any]], nm: float = 0.0) -> Places:
    """Return the sections of an image along all axes but the last two, height and width."""
    loops = [length for length in shape[:-2] if length > 1]
    names = reversed(_NAMED[: len(loops)])
    axes = tuple(zip(names, loops, strict=True)) if len(loops) <= len(_NAMED) else ()
    return Places(math.prod(loops), (shape[-2], shape[-1]), 1, False, read, axes, nm)


def _section(
    file: BinaryIO, start: int, kind: np.dtype[Any], shape: tuple[int, ...], page: int
) -> NDArray[Any]:  # (H, W)
    """Read one section."""
    height, width = shape[-2:]
    size = height * width * kind.itemsize
    file.seek(start + page * size)
    data = file.read(size)
    if len(data) < size:
        raise EOFError("The data are incomplete")
    return np.frombuffer(data, kind).reshape(height, width)
