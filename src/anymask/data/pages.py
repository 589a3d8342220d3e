"""The pages of a picture file: a path in, how many there are and what tells them apart out.

Pages are those of a TIFF and the frames of an animation, counted from 0. Where tifffile is there,
it says which channel, depth and time a TIFF's page is of (axes C, Z, T of ImageJ and OME).
"""

from __future__ import annotations

import contextlib
import itertools
from dataclasses import dataclass
from pathlib import Path

from PIL import UnidentifiedImageError

from anymask.data.decoding import decode_with, open_file, open_header, open_picture, unidentified
from anymask.data.deep_pictures import count_tiff_pages, is_tiff, tiff_axes
from anymask.data.images import open_path

_AXES = "CZTVHRPLASE"  # that mean something; tifffile calls others Q and I
_OF_ONE_PHOTO = ("MPO",)  # a camera's previews of the same photo are no pages


@dataclass(frozen=True)
class Pages:
    """What a file holds.

    count  of pages, 1 for a plain picture
    axes   names and lengths, outermost first: (("T", 3), ("C", 2)); () where nobody says
    """

    count: int = 1
    axes: tuple[tuple[str, int], ...] = ()

    def axes_in_words(self) -> str:
        """The axes as a person reads them: " (Z 3 x C 2)"; "" where nobody says."""
        sides = " x ".join(f"{name} {length}" for name, length in self.axes)
        return f" ({sides})" if sides else ""

    def place(self, page: int) -> str:
        """Where a page is along the axes: "T 1, C 0"; "" where nobody says."""
        places = []
        for name, length in reversed(self.axes):
            page, at = divmod(page, length)
            places.append(f"{name} {at}")
        return ", ".join(reversed(places))


def count_pages(path: Path) -> int:
    """How many pages a picture has. Raises ImageError for a file that is none."""
    return read_pages(path).count


def read_pages(path: Path) -> Pages:
    """The pages of a picture, from its headers. Raises ImageError for a file that is none."""
    name = repr(str(path))
    with open_path(path) as file:
        if is_tiff(file):
            return _tiff_pages(path, name)
        file.seek(0)
        try:
            picture = open_header(file)
        except UnidentifiedImageError:
            raise unidentified(file, name) from None
        with picture:
            if picture.format in _OF_ONE_PHOTO:
                return Pages()
            return Pages(int(decode_with(lambda: getattr(picture, "n_frames", 1), name)))


def page_times(path: Path) -> list[float] | None:
    """When each frame of an animation (GIF, WebP, PNG) is shown, in seconds; None where it does not
    say. Each frame is decoded once. Raises ImageError for one that cannot be."""
    with open_picture(path) as picture:
        times, elapsed = [], 0.0
        for page in range(getattr(picture, "n_frames", 1)):
            picture.seek(page)
            picture.load()
            times.append(elapsed)
            elapsed += float(picture.info.get("duration") or 0) / 1000
    return times if all(one < other for one, other in itertools.pairwise(times)) else None


def _tiff_pages(path: Path, name: str) -> Pages:
    with open_file(path) as file:
        count = decode_with(lambda: count_tiff_pages(file), name)
    axes: tuple[tuple[str, int], ...] = ()
    with contextlib.suppress(Exception), open_file(path) as file:  # names are no more than a help
        axes = tiff_axes(file)
    lengths = 1
    for _, length in axes:
        lengths *= length
    named = all(name in _AXES for name, _ in axes)
    return Pages(count, axes if lengths == count and named else ())
