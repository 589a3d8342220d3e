"""The pages of a picture file: a path in, how many there are and what tells them apart out.

Pages are those of a TIFF and the frames of an animation, counted from 0. Where tifffile is there,
it says which channel, depth and time a TIFF's page is of (axes C, Z, T of ImageJ and OME).

A stack or a picture of several channels: what can be looked at, one plane after the other.

A place is where masks lie: a page of its own in depth or time. A channel is another look at the
same place: a page along the axis C of ImageJ and OME, or a band of a TIFF. A place is called by the
number of its page (of its first channel), as `--page` counts them. Letters: H W the picture.

How large a pixel is stands in the metadata of OME-TIFF (PhysicalSizeX) and of ImageJ (`unit`, and
the pixels in one of it, XResolution); a printer's dots per inch say nothing about it.
"""

from __future__ import annotations

import contextlib
import io
import itertools
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO
from xml.etree import ElementTree as ET

from PIL import UnidentifiedImageError

from anymask.base import ImageError, InputError, UintImage
from anymask.images.decoding import (
    PictureView,
    Ranges,
    decode_with,
    open_file,
    open_header,
    open_picture,
    unidentified,
)
from anymask.images.deep_pictures import (
    TiffFacts,
    channel_step,
    count_tiff_pages,
    is_tiff,
    tiff_axes,
    tiff_facts,
)
from anymask.images.load import load_image, open_path
from anymask.masks import save_picture

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


TIFF = (".tif", ".tiff")  # of files that may have pages and channels

_UNITS = {  # as files write them -> as people read them
    "nm": "nm", "nanometer": "nm", "µm": "µm", "\u03bcm": "µm", "um": "µm", "micron": "µm",
    "microns": "µm", "micrometer": "µm", "\\u00b5m": "µm", "mm": "mm", "millimeter": "mm",
    "cm": "cm", "centimeter": "cm", "m": "m", "meter": "m", "pm": "pm", "km": "km",
}  # fmt: skip


@dataclass(frozen=True)
class PixelSize:
    """The side of a pixel along x, in a unit such as µm."""

    size: float
    unit: str


@dataclass(frozen=True)
class Planes:
    """What of a picture can be looked at.

    pages     its pages along all axes
    channels  their names; () where there is one look alone
    bands     the channels are bands of each page, not pages
    colours   the picture has a look of its own: without a channel its colours are shown
    pixel     how large a pixel is, where the file says so
    deep      its numbers are not those of 8 bits
    """

    pages: Pages
    channels: tuple[str, ...] = ()
    bands: bool = False
    colours: bool = True
    pixel: PixelSize | None = None
    deep: bool = False

    @property
    def places(self) -> tuple[int, ...]:
        """The numbers of the pages that masks lie on."""
        if self.bands or not self.channels:
            return tuple(range(self.pages.count))
        step, count = self._step(), len(self.channels)
        return tuple(p for p in range(self.pages.count) if p // step % count == 0)

    def _step(self) -> int:
        """Pages from one channel to the next."""
        return channel_step(self.pages.axes)[0]

    def name(self, place: int) -> str:
        """Where a place lies, such as "T 1, Z 0"; "" where nobody says."""
        parts = self.pages.place(place).split(", ")
        return ", ".join(part for part in parts if self.bands or not part.startswith("C "))

    def view(self, place: int, channel: int | None, view: PictureView) -> PictureView:
        """How a plane is read; `view` says the rest. Raises InputError for one that is not there.

        Without a channel: the bands of `view`, which are channels put together (a composite), else
        the picture's colours, else the first channel.
        """
        if place not in self.places:
            raise InputError(
                f"wanted a page that masks lie on, got {place}; there are "
                f"{len(self.places)}, the last one is {self.places[-1]}"
            )
        if channel is not None and not 0 <= channel < len(self.channels):
            count = len(self.channels)
            raise InputError(f"wanted a channel of 0 to {count - 1}, got {channel}; leave it out")
        if channel is None and (view.bands is not None or self.colours or not self.channels):
            return replace(view, page=place)
        alone = _range_of((channel or 0) + 1, view)
        if self.bands:
            return PictureView(((channel or 0) + 1,), place, view.stretch, alone)
        return PictureView(None, place + (channel or 0) * self._step(), view.stretch, alone)


def _range_of(band: int, view: PictureView) -> Ranges | None:
    """The range that a band has among others, for a look at it alone."""
    if view.ranges is None or len(view.ranges) == 1:
        return view.ranges
    bands = view.bands or ()
    return (view.ranges[bands.index(band)],) if band in bands else None


def read_planes(path: Path) -> Planes:
    """The planes of a picture, from its headers. Raises ImageError for a file that is none."""
    pages = read_pages(path)
    with open_file(path) as file:
        deep = _is_deep(file)
        if not is_tiff(file):
            return Planes(pages, deep=deep)
        facts = TiffFacts()
        with contextlib.suppress(Exception):  # damage is told when a plane is read
            facts = decode_with(lambda: tiff_facts(file), repr(str(path)))
    names = _channel_names(facts.ome)
    along = dict(pages.axes).get("C", 1)
    pixel = _size_of_ome(facts.ome) or _size_of_imagej(facts)
    found = Planes(pages, pixel=pixel, deep=deep or facts.deep)
    if along > 1:
        return replace(found, channels=_named(names, along, "Channel"), colours=False)
    if facts.samples > 1:
        channels = _named(names, facts.samples, "Band")
        return replace(found, channels=channels, bands=True, colours=facts.colours)
    return found


def _is_deep(file: BinaryIO) -> bool:
    """Whether Pillow says that the numbers have more than 8 bits; it does not know every TIFF."""
    file.seek(0)
    try:
        with open_header(file) as picture:
            return picture.mode.startswith(("I", "F"))
    except Exception:  # damage is told when a plane is read
        return False


def load_plane(
    path: Path,
    place: int = 0,
    channel: int | None = None,
    view: PictureView | None = None,
) -> UintImage:  # -> (H, W, 3)
    """Read one plane; `view` says bands, stretch and ranges.

    Raises ImageError as `load_image` does; InputError for a page or channel that is not there.
    """
    view = view or PictureView()
    if path.suffix.lower() in TIFF or place or channel is not None:
        view = read_planes(path).view(place, channel, view)
    return load_image(
        path, bands=view.bands, page=view.page, stretch=view.stretch, ranges=view.ranges
    )


def load_page(path: Path, page: int) -> UintImage:  # -> (H, W, 3)
    """Any page by its number, a channel's too, as it is shown. Raises as `load_plane` does."""
    is_place = page in read_planes(path).places
    return load_plane(path, page) if is_place else load_image(path, page=page)


def page_as_png(path: Path, page: int) -> bytes:
    """A page of a photo as it is shown. Raises ImageError, InputError."""
    file = io.BytesIO()
    save_picture(file, load_page(path, page))
    return file.getvalue()


def _named(names: tuple[str, ...], count: int, word: str) -> tuple[str, ...]:
    """The names of the file where each channel has one."""
    fitting = len(names) == count and all(names)
    return names if fitting else tuple(f"{word} {number + 1}" for number in range(count))


def _pixels_of_ome(text: str) -> tuple[Any, str]:
    """The element Pixels of OME-XML, and its namespace. Raises for what is none."""
    if len(text) > 50_000_000 or "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise ImageError("its OME-XML is too large, or defines entities")
    root = ET.fromstring(text)
    space = root.tag.partition("}")[0] + "}" if "}" in root.tag else ""
    found = root.find(f"{space}Image/{space}Pixels")
    if found is None:
        raise ImageError("its OME-XML names no pixels")
    return found, space


def _channel_names(ome: str) -> tuple[str, ...]:
    with contextlib.suppress(Exception):
        pixels, space = _pixels_of_ome(ome)
        return tuple(one.get("Name", "")[:40] for one in pixels.findall(f"{space}Channel"))
    return ()


def _size_of_ome(ome: str) -> PixelSize | None:
    with contextlib.suppress(Exception):
        pixels, _ = _pixels_of_ome(ome)
        return _sized(float(pixels.get("PhysicalSizeX")), pixels.get("PhysicalSizeXUnit", "µm"))
    return None


def _size_of_imagej(facts: TiffFacts) -> PixelSize | None:
    return _sized(1 / facts.a_unit if facts.a_unit > 0 else 0, facts.unit)


def _sized(size: float, unit: str) -> PixelSize | None:
    known = _UNITS.get(unit.strip().lower())
    return PixelSize(size, known) if known and 0 < size < 1e9 else None
