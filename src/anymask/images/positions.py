"""Resolve positions along named axes of a stack, such as "z1c0", to page and band.

Z, C, T and other axes that a file names are counted from 0, like pages. An axis that is not given
is at its first step. If the channels are bands of each page (CZI, LIF, ND2, TIFF with samples), C
selects a band; `bands` counts from 1, because its 0 is black.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import BinaryIO

from anymask.base import ImageError, InputError
from anymask.images.microscopes import is_microscope, open_microscope
from anymask.images.tiff import is_tiff, tiff_axes, tiff_facts

_POSITION = re.compile(r"(?:[a-z]\d{1,6})+")
_STEP = re.compile(r"([a-z])(\d+)")
_OTHER = ("Q", "I")  # names that tifffile gives to unnamed axes

Axes = tuple[tuple[str, int], ...]


def parse_position(text: str) -> dict[str, int]:
    """Parse a position: "z1c0" -> {"Z": 1, "C": 0}.

    Raises:
        InputError: The text is invalid, or names an axis twice.
    """
    plain = text.lower()
    steps = [(name.upper(), int(step)) for name, step in _STEP.findall(plain)]
    if not _POSITION.fullmatch(plain) or len(dict(steps)) < len(steps):
        raise InputError(
            f"Invalid position {text!r}. Expected a position such as z1c0, counted from 0."
        )
    return dict(steps)


def find_plane(
    file: BinaryIO, name: str, text: str, bands: int | Sequence[int] | None = None
) -> tuple[int, int | Sequence[int] | None]:
    """Return the page of a position, and the bands: those given, or the band that C selects.

    Raises InputError if the file has no such axis or step, or if bands are given twice; ImageError
    if the axes of the file are unnamed; MissingExtra.
    """
    position = parse_position(text)
    axes, channels = _axes_of(file, name)
    known = dict(axes) | ({"C": channels} if channels > 1 else {})
    if not known:
        raise ImageError(
            f"The axes of {name} are unknown. Select a page by its number, not by {text!r}."
        )
    words = " x ".join(f"{axis} {length}" for axis, length in known.items())
    for axis, step in position.items():
        if step >= known.get(axis, 0):
            raise InputError(f"{text!r} is out of range. {name} has {words}, each counted from 0.")
    page = 0
    for axis, length in axes:
        page = page * length + position.get(axis, 0)
    if channels > 1 and "C" in position:
        if bands is not None:
            raise InputError(f"The channel can be selected by {text!r} or by bands, not by both.")
        bands = position["C"] + 1
    return page, bands


def _axes_of(file: BinaryIO, name: str) -> tuple[Axes, int]:
    """Return the axes of the pages, outermost first, and the channels that are bands of a page."""
    if is_tiff(file):
        axes = tiff_axes(file)
        along = any(axis == "C" for axis, _ in axes)
        samples = 1 if along else tiff_facts(file).samples
        return tuple(pair for pair in axes if pair[0] not in _OTHER), samples
    if is_microscope(file):
        with open_microscope(file, name) as places:
            return places.axes, 1 if places.colours else places.channels
    return (), 1
