"""Read stacks and multi-channel images: pages, planes and all channel values.

Pages are those of a TIFF and the frames of an animation, counted from 0. If tifffile is installed,
it provides the channel, depth and time of a TIFF's page (axes C, Z, T of ImageJ and OME).

A place is a page in depth or time, to which masks belong. Channels show the same place: pages
along the axis C of ImageJ and OME, or bands of a TIFF. A place is identified by its page number (of
its first channel), as `--page` counts them. If a TIFF names no axes and has a single band, its
pages are the channels if their number matches the requested one.

The pixel size is read from the metadata of OME-TIFF (PhysicalSizeX) and of ImageJ (`unit`, and
pixels per unit, XResolution); a resolution in dots per inch is not used.

Letters: H W the image, C its channels.
"""

from __future__ import annotations

import contextlib
import io
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO
from xml.etree import ElementTree as ET

import numpy as np
from numpy.typing import NDArray

from anymask.base import AnymaskError, ImageError, InputError, UintImage, brief
from anymask.images.decoding import ImageView, composite_range, is_tiff, open_file, open_header
from anymask.images.load import ImageFile, ImageSource, Pages, load_image, read_pages, read_view
from anymask.images.microscopes import MICROSCOPES, is_microscope, open_microscope
from anymask.images.tiff import TiffFacts, channel_step, tiff_facts
from anymask.masks import ChannelMix, LazyImage, save_image

TIFF = (".tif", ".tiff")  # suffixes of files that may have pages and channels

_UNITS = {  # spelling in files -> displayed unit
    "nm": "nm", "nanometer": "nm", "µm": "µm", "\u03bcm": "µm", "um": "µm", "micron": "µm",
    "microns": "µm", "micrometer": "µm", "\\u00b5m": "µm", "mm": "mm", "millimeter": "mm",
    "cm": "cm", "centimeter": "cm", "m": "m", "meter": "m", "pm": "pm", "km": "km",
}  # fmt: skip


@dataclass(frozen=True)
class PixelSize:
    """Length of a pixel along x, in a unit such as µm."""

    size: float
    unit: str


@dataclass(frozen=True)
class Planes:
    """Places and channels of an image."""

    pages: Pages  # Pages along all axes
    channels: tuple[str, ...] = ()  # Names of the channels; () if there is only one
    bands: bool = False  # Whether the channels are bands of each page instead of pages
    colors: bool = True  # Whether the image has colors, which are shown if no channel is selected
    pixel: PixelSize | None = None  # Pixel size, None if unknown
    deep: bool = False  # Whether the values have more than 8 bits

    @property
    def places(self) -> tuple[int, ...]:
        """Page numbers of the places that masks lie on."""
        return tuple(page for page in range(self.pages.count) if self.place_of(page) == page)

    def place_of(self, page: int) -> int:
        """Return the place of a page: the page of its first channel."""
        if self.bands or not self.channels:
            return page
        step = self._step()
        return page - page // step % len(self.channels) * step

    def _step(self) -> int:
        """Return the number of pages from one channel to the next."""
        return channel_step(self.pages.axes)[0]

    def name(self, place: int) -> str:
        """Format the position of a place, such as "T 1, Z 0"; "" if unknown."""
        parts = self.pages.place(place).split(", ")
        return ", ".join(part for part in parts if self.bands or not part.startswith("C "))

    def view(self, place: int, channel: int | None, view: ImageView) -> ImageView:
        """Return the view that reads a plane. Raises InputError if it does not exist.

        Without a channel, it reads the bands of `view` (a composite of channels), else the image's
        colors, else the first channel.
        """
        if place not in self.places:
            some = ", ".join(str(page) for page in self.places[:8])
            rest = f", ..., {self.places[-1]}" if len(self.places) > 8 else ""
            raise InputError(f"Page {place} is not available. Use one of: {some}{rest}.")
        if channel is not None and not 0 <= channel < len(self.channels):
            last = len(self.channels) - 1
            raise InputError(
                f"Channel {channel} is out of range. Use 0 to {last}, or omit the channel."
            )
        if channel is None and (view.bands is not None or self.colors or not self.channels):
            return replace(view, page=place)
        channel, bands, ranges = channel or 0, view.bands or (), view.ranges
        if ranges is not None and len(ranges) > 1:
            ranges = (ranges[bands.index(channel + 1)],) if channel + 1 in bands else None
        if self.bands:
            return ImageView((channel + 1,), place, view.stretch, ranges)
        return ImageView(None, place + channel * self._step(), view.stretch, ranges)


def read_planes(path: Path) -> Planes:
    """Read the planes of an image from its headers.

    Raises:
        ImageError: The file is not a readable image.
    """
    pages = read_pages(path)
    with open_file(path) as file:
        deep = _is_deep(file)
        if is_microscope(file):
            with open_microscope(file, repr(str(path))) as places:
                count = 0 if places.colors or places.channels == 1 else places.channels
                pixel = _sized(places.nm, "nm")
            names = _named((), count, "Channel")
            return Planes(pages, names, count > 0, count == 0, pixel, deep=True)
        if not is_tiff(file):
            return Planes(pages, deep=deep)
        facts = TiffFacts()
        with contextlib.suppress(Exception):  # reported when a plane is read
            facts = tiff_facts(file)
    names, pixel = _read_ome(facts.ome)
    if pixel is None and facts.a_unit > 0:
        pixel = _sized(1 / facts.a_unit, facts.unit)
    along = dict(pages.axes).get("C", 1)
    planes = Planes(pages, pixel=pixel, deep=deep or facts.deep)
    if along > 1:
        return replace(planes, channels=_named(names, along, "Channel"), colors=False)
    if facts.samples > 1:
        return replace(
            planes, channels=_named(names, facts.samples, "Band"), bands=True, colors=facts.colors
        )
    return planes


def _is_deep(file: BinaryIO) -> bool:
    """Return whether Pillow reports more than 8 bits; it does not support every TIFF."""
    file.seek(0)
    try:
        with open_header(file) as image:
            return image.mode.startswith(("I", "F"))
    except Exception:  # reported when a plane is read
        return False


def load_plane(
    path: Path, place: int = 0, channel: int | None = None, view: ImageView | None = None
) -> UintImage:  # -> (H, W, 3)
    """Read one plane as RGB.

    Args:
        path: Image file.
        place: Page number of the place.
        channel: Channel, counted from 0. None reads the colors or a composite.
        view: Bands, stretch and ranges.

    Raises:
        ImageError: The image cannot be read.
        InputError: The page or channel does not exist.
    """
    view = view or ImageView()
    if path.suffix.lower() in (*TIFF, *MICROSCOPES) or place or channel is not None:
        view = read_planes(path).view(place, channel, view)
    return read_view(path, view)


def load_page(path: Path, page: int) -> UintImage:  # -> (H, W, 3)
    """Read any page by number, including pages of channels.

    Raises:
        ImageError: The image cannot be read.
        InputError: The page does not exist.
    """
    is_place = page in read_planes(path).places
    return load_plane(path, page) if is_place else load_image(path, page=page)


def page_as_png(path: Path, page: int) -> bytes:
    """Read a page of an image as PNG.

    Raises:
        ImageError: The image cannot be read.
        InputError: The page does not exist.
    """
    file = io.BytesIO()
    save_image(file, load_page(path, page))
    return file.getvalue()


def _named(names: tuple[str, ...], count: int, word: str) -> tuple[str, ...]:
    """Return the channel names of the file, or numbered names unless each channel has one."""
    fitting = len(names) == count and all(names)
    return names if fitting else tuple(f"{word} {number + 1}" for number in range(count))


def _read_ome(text: str) -> tuple[tuple[str, ...], PixelSize | None]:
    """Read channel names and pixel size from OME-XML; nothing if it is invalid."""
    if len(text) > 50_000_000 or "<!DOCTYPE" in text or "<!ENTITY" in text:
        return (), None
    names: tuple[str, ...] = ()
    with contextlib.suppress(Exception):
        root = ET.fromstring(text)
        space = root.tag.partition("}")[0] + "}" if "}" in root.tag else ""
        pixels: Any = root.find(f"{space}Image/{space}Pixels")
        names = tuple(channel.get("Name", "")[:40] for channel in pixels.findall(f"{space}Channel"))
        unit = pixels.get("PhysicalSizeXUnit", "µm")
        return names, _sized(float(pixels.get("PhysicalSizeX")), unit)
    return names, None


def _sized(size: float, unit: str) -> PixelSize | None:
    known = _UNITS.get(unit.strip().lower())
    return PixelSize(size, known) if known and 0 < size < 1e9 else None


# Stored values of all channels.


@dataclass(frozen=True)
class ChannelRange:
    """The value range of a channel, and its default display range.

    `least` and `most` are the lowest and highest finite values. `low` is displayed as black and
    `high` as white if no range is given.
    """

    name: str
    least: float
    most: float
    low: float
    high: float


def read_value_ranges(path: Path, page: int = 0) -> list[ChannelRange]:
    """Return the value range of each channel, or of a gray image with more than 8 bits; else [].

    Raises:
        ImageError: The image cannot be read, or contains NaN or infinity.
        InputError: The page is not a place of masks.
    """
    planes = read_planes(path)
    if not planes.channels and not planes.deep:
        return []
    array, name = load_channels(path, page), repr(str(path))
    names = planes.channels or (("Grey",) if array.shape[2] < 3 else ())
    return [
        ChannelRange(channel, float(band.min()), float(band.max()), *composite_range(band, name))
        for channel, band in zip(names, np.dsplit(array, array.shape[2]), strict=False)
    ]


def load_channels(
    source: ImageSource, page: int = 0, count: int | None = None
) -> NDArray[Any]:  # -> (H, W, C)
    """Read all channels of an image with their stored values.

    Args:
        source: Image.
        page: Page number of the place (its first channel), as `--page` counts them.
        count: Expected number of channels, to distinguish channels from places if the file does
            not name its axes.

    Raises:
        ImageError: The image cannot be read.
        InputError: The page is not a place of masks.
    """
    if isinstance(source, str):
        source = Path(source)
    pages = [page]
    if isinstance(source, Path) and source.suffix.lower() in TIFF and source.is_file():
        planes = read_planes(source)
        along = dict(planes.pages.axes).get("C", 1)
        is_unnamed = not planes.pages.axes and not planes.bands and page == 0
        if along > 1 and not planes.bands:
            pages = [planes.view(page, channel, ImageView()).page for channel in range(along)]
        elif is_unnamed and count is not None and planes.pages.count == count > 1:
            pages = list(range(count))
    parts = [np.asarray(read_view(source, ImageView(page=number, raw=True))) for number in pages]
    if len({part.shape for part in parts}) > 1:
        raise ImageError(
            f"The pages of {str(source)!r} differ in size, so they are no channels of one image."
        )
    return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=2)


def load_mixed(source: ImageSource, mix: ChannelMix, page: int = 0) -> UintImage:  # -> (H, W, 3)
    """Read an image as the RGB input of a model with a channel mix.

    Raises:
        ImageError: The image cannot be read.
        InputError: The page is not a place of masks, or the channels do not fit the mix.
    """
    return mix.to_rgb(load_for_mix(source, mix, page))


def load_for_mix(source: ImageSource, mix: ChannelMix, page: int = 0) -> NDArray[Any]:
    """Read the stored values (H, W, C) of the channels of a mix.

    Raises:
        ImageError: The image cannot be read.
        InputError: The page is not a place of masks, or the channels do not fit the mix.
    """
    name = repr(str(source)) if isinstance(source, str | Path) else "the picture"
    return mix.check(load_channels(source, page, mix.count), name)


def read_channels(file: ImageFile, mix: ChannelMix) -> NDArray[Any]:  # -> (H, W, C)
    """Read an image for a model with a channel mix: all channels with their stored values.

    Raises:
        ImageError: The image cannot be read.
        InputError: The file sets bands, a stretch or ranges, which the model defines itself.
    """
    view = file.placed_view()
    if not view.plain:
        raise InputError(
            f"This model uses all {mix.count} channels with the value ranges of its training data. "
            "Remove the options bands, stretch and ranges."
        )
    return load_for_mix(file.path, mix, view.page)


# Values for measurements.


@brief
@dataclass(frozen=True)
class StoredValues:
    """Stored values of an image, for measurements."""

    # (H, W, C) of any number type: all channels of the place. Three equal channels of a gray image
    # are reduced to one.
    values: NDArray[Any]
    pixel: PixelSize | None = None  # Pixel size, None if unknown


def stored_values(
    image: LazyImage | Path | NDArray[Any] | None, image_hw: tuple[int, int]
) -> StoredValues | None:
    """Read the stored pixel values of the image of masks; None if unreadable or of another size.

    Args:
        image: Image reference of the masks, file, or pixels. An array with more than 8 bits that
            was passed to a model keeps its stored values.
        image_hw: (H, W) of the masks. An image of another size is ignored.
    """
    values: NDArray[Any] | None = None
    pixel, path = None, image if isinstance(image, Path) else getattr(image, "path", None)
    if path is None:
        held = getattr(image, "values", None)
        held = getattr(image, "pixels", image) if held is None else held
        values = None if held is None else np.atleast_3d(np.asarray(held))
    else:
        with contextlib.suppress(AnymaskError, OSError):
            planes = read_planes(path)
            page = planes.place_of(getattr(image, "page", 0))
            values, pixel = load_channels(path, page), planes.pixel
    if values is None or values.shape[:2] != image_hw:
        return None
    if values.shape[2] == 3 and (values == values[..., :1]).all():
        values = values[..., :1]
    return StoredValues(values, pixel)
