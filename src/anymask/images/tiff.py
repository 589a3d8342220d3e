"""Reads pictures of more than 8 bits or 3 bands: 16-bit PNG and any TIFF.

16-bit PNG and TIFF in color are read by OpenCV, which keeps the bits. Everything else that Pillow
does not know of a TIFF (more bands, floats in color, planes) is read by tifffile, the extra
`science`. Colors of a TIFF are those that its tags call red, green and blue; of bands without such
a name the user chooses.
"""

from __future__ import annotations

import contextlib
import io
import lzma
import re
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, BinaryIO, cast

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from anymask.base import ImageError, MissingExtra
from anymask.images.decoding import PictureView, check_size, open_header
from anymask.masks import MAX_PIXELS

_TIFF_HEADS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_MAX_BYTES = 12 * MAX_PIXELS  # of a page with all its bands
_COLOURS = ("RGB", "RGBA", "RGBX", "LA")  # modes that Pillow cuts down to 8 bits
_BITS, _SAMPLES, _ORIENTATION, _SIGNS = 258, 277, 274, 339  # tags of TIFF 6.0
_GEO_KEYS = 34735  # the tag of TIFF that holds GeoTIFF's keys
_X_RESOLUTION, _PHOTOMETRIC = 282, 262
_PROFILE = 34675
_GEOREFERENCE = (33550, 34264, 34735)  # GeoTIFF: scale, transformation, keys
_ALPHA = (1, 2)  # of the tag ExtraSamples
_STORED, _DEFLATE, _ZSTD = 1, (8, 32946, 50013), (34926, 50000)  # of Compression
_NO_CODEC = re.compile(r"COMPRESSION\.(\w+).* requires the 'imagecodecs'")
_UNBOUNDED: dict[int, Callable[[], Any]] = {  # of Compression, whose decoders know no end
    **dict.fromkeys(_DEFLATE, zlib.decompressobj), 34925: lzma.LZMADecompressor
}  # fmt: skip
_HARMLESS = 256 << 20  # bytes that one segment may unpack to, whatever is stated
_MAX_PLANES = 9_999_999  # of an OME-TIFF: tifffile makes a list of them
_MANY_PLANES = re.compile(
    r"""\b(?:Size[CZT]|PlaneCount|NumPlanes|IFD|First[CZT])\s*=\s*["']\s*\+?0*(\d{8,})"""
)
_WHITE_IS_ZERO, _PALETTE, _SEPARATED, _RGB = 0, 3, 5, 2  # of PhotometricInterpretation


@dataclass(frozen=True)
class DeepPicture:
    """A picture with all its bits.

    Attributes:
        pixels: (H, W, C) of any number type, as `array_to_image` takes it.
        orientation: 1..8, as EXIF has it.
        in_colour: Whether white is known: red, green and blue of 16 bits that are no map.
        profile: The ICC profile; b"" without one.
    """

    pixels: NDArray[Any]
    orientation: int
    in_colour: bool = False
    profile: bytes = b""


def is_tiff(file: BinaryIO) -> bool:
    """Whether a file begins like a TIFF or a BigTIFF."""
    file.seek(0)
    return file.read(4) in _TIFF_HEADS


def is_geotiff(path: Path) -> bool:
    """Whether an image says where on earth it lies."""
    try:
        with path.open("rb") as file, open_header(file) as picture:
            return _GEO_KEYS in getattr(picture, "tag_v2", {})
    except (OSError, ImageError):
        return False


def needs_tifffile(picture: Image.Image, view: PictureView) -> bool:
    """Whether Pillow, which opened it, cannot give what is looked at of a TIFF."""
    if picture.format != "TIFF":
        return False
    tags: Any = picture.tag_v2  # type: ignore[attr-defined]  # a TIFF has them
    samples, bits = int(tags.get(_SAMPLES, 1)), max(tags.get(_BITS, (1,)))
    if samples == 1:  # Pillow reads these two as if their sign were another one
        wrong_sign = (bits, *tags.get(_SIGNS, (1,))[:1]) in ((32, 1), (8, 2))
        return wrong_sign or (_wants_channels(view) and getattr(picture, "n_frames", 1) > 1)
    return view.all_bands or (bits > 8 and not _has_deep_colours(picture))


def _has_deep_colours(picture: Image.Image) -> bool:
    """Whether Pillow is about to cut 16-bit colors down to 8 bits."""
    return picture.mode in _COLOURS and ";16" in str(getattr(picture, "tile", ""))


def read_deep_colours(picture: Image.Image, file: BinaryIO, page: int) -> NDArray[Any] | None:
    """16-bit colors (H, W, C) of a PNG or TIFF; None where it has none.

    Pillow decodes the picture, too: it notices damage that OpenCV passes over.
    """
    if not _has_deep_colours(picture):
        return None
    alpha, mode = picture.mode in ("RGBA", "LA"), picture.mode
    picture.load()
    file.seek(0)
    data = np.frombuffer(file.read(), np.uint8)
    if picture.format == "TIFF":
        found, pages = cv2.imdecodemulti(data, cv2.IMREAD_UNCHANGED, range=(page, page + 1))
        array = pages[0] if found and len(pages) else None
    else:
        array = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
    if array is None or array.ndim != 3 or array.dtype.itemsize < 2:
        return None
    colours = array[..., 2::-1]
    if mode == "LA":
        colours = colours[..., :1]
    return np.dstack([colours, array[..., 3]]) if alpha and array.shape[2] == 4 else colours


def deep_grey(picture: Image.Image) -> NDArray[Any]:  # -> (H, W)
    """A picture of 16 or 32 bits, white the largest number.

    Pillow turns a TIFF whose white is 0 by itself only up to 8 bits a pixel.
    """
    array, tags = np.asarray(picture), getattr(picture, "tag_v2", {})
    if array.dtype.kind != "u" or tags.get(_PHOTOMETRIC) != _WHITE_IS_ZERO:
        return array
    bits = max(tags.get(_BITS, (16,)))
    turned: NDArray[Any] = array.dtype.type((1 << bits) - 1) - array
    return turned


def read_tiff(file: BinaryIO, name: str, view: PictureView) -> DeepPicture:
    """A page of a TIFF by tifffile. Raises ImageError; MissingExtra without the package."""
    with _tiff_page(file, name, view.page) as page:
        if page.imagedepth != 1 or page.nbytes > _MAX_BYTES:
            raise ImageError(
                f"{name} stores {page.shape} ({page.nbytes >> 20} MB) in one piece, "
                f"but at most {_MAX_BYTES >> 20} MB are supported. Split it into "
                "tiles or pages."
            )
        check_segments(page, name)
        channels = _channels_of(page, name, view) if _wants_channels(view) else None
        pixels = _in_colour(page, name, view) if channels is None else channels
        profile = page.tags.get(_PROFILE)
        return DeepPicture(
            pixels,
            _turns(page),
            in_colour=pixels.dtype == np.uint16 and is_photo(page.tags, int(page.photometric)),
            profile=b"" if profile is None else bytes(profile.value),
        )


def is_photo(tags: Any, photometric: object) -> bool:
    """Whether colors of 16 bits reach to 65535, as those of photos: red, green and blue without
    the tags of a map, whose numbers are a sensor's."""
    return photometric == _RGB and not any(tag in tags for tag in _GEOREFERENCE)


def _wants_channels(view: PictureView) -> bool:
    """Whether bands are looked at that one page of one sample cannot have."""
    return view.bands is not None and (len(view.bands) > 1 or max(view.bands) > 1)


def channel_step(axes: Sequence[tuple[str, int]]) -> tuple[int, int]:
    """Of the axes of pages, outermost first: pages from one channel to the next, and channels."""
    step = 1
    for name, length in reversed(axes):
        if name == "C":
            return step, length
        step *= length
    return step, 1


def _channels_of(page: Any, name: str, view: PictureView) -> NDArray[Any] | None:  # -> (H, W, C)
    """The channels at a page's place, those that are looked at; None where they are no pages."""
    document, number = page.parent, view.page
    axes = _page_axes(document)
    step, count = channel_step(axes)
    if (
        count == 1
        or page.samplesperpixel > 1
        or prod(size for _, size in axes) != len(document.pages)
    ):
        return None
    first = number - number // step % count * step
    planes = np.zeros((count, *page.shape), page.dtype)  # what is not looked at takes no memory
    for channel in {band - 1 for band in view.bands or () if 0 < band <= count}:
        plane: Any = document.pages[first + channel * step]
        check_segments(plane, name)
        planes[channel] = plane.asarray()
    return np.moveaxis(planes, 0, -1)


def tiff_hw(file: BinaryIO, name: str) -> tuple[int, int]:
    """(H, W) of the upright first page of a TIFF by tifffile. Raises as `read_tiff` does."""
    with _tiff_page(file, name, 0) as page:
        height, width = int(page.imagelength), int(page.imagewidth)
        return (width, height) if _turns(page) >= 5 else (height, width)


def count_tiff_pages(file: BinaryIO) -> int:
    """How many pages a TIFF has, by Pillow, or by tifffile where Pillow does not know it."""
    file.seek(0)
    try:
        with open_header(file) as picture:
            return int(getattr(picture, "n_frames", 1))
    except UnidentifiedImageError:
        with open_tiff(file) as document:
            return len(document.pages)


def tiff_axes(file: BinaryIO) -> tuple[tuple[str, int], ...]:
    """The axes of a TIFF's pages with their lengths, as ImageJ or OME names them.

    Raises whatever tifffile does, and ImportError without it.
    """
    with open_tiff(file) as document:
        return _page_axes(document)


def _page_axes(document: Any) -> tuple[tuple[str, int], ...]:
    series = document.series[0]
    inner = len(document.pages[0].shape)
    return tuple(zip(series.axes, map(int, series.shape), strict=True))[: -inner or None]


@dataclass(frozen=True)
class TiffFacts:
    """What the headers of a TIFF's first page say beside its size.

    Attributes:
        samples: Bands of a page.
        colours: It says how they are seen: as grey, or red, green and blue.
        ome: OME-XML, "" where there is none.
        unit: Of ImageJ, such as micron; "" where there is none.
        a_unit: Pixels along x in one of these.
        deep: Its numbers are not those of 8 bits.
    """

    samples: int = 1
    colours: bool = True
    ome: str = ""
    unit: str = ""
    a_unit: float = 0.0
    deep: bool = False


def tiff_facts(file: BinaryIO) -> TiffFacts:
    """Read the headers. Raises whatever tifffile does, and ImportError without it."""
    with open_tiff(file) as document:
        page: Any = document.pages[0]
        samples, extra = int(page.samplesperpixel), tuple(page.extrasamples)
        kind = int(page.photometric)
        known = kind in (_RGB, _PALETTE, _SEPARATED) or samples == 3
        grey = samples == 1 + (extra[:1] != () and extra[0] in _ALPHA)
        described = document.imagej_metadata if document.is_imagej else None
        unit = str((described or {}).get("unit", ""))
        number, parts = (*page.tags.valueof(_X_RESOLUTION, (0, 1)), 1)[:2]
        return TiffFacts(
            samples=samples,
            colours=known or grey,
            ome=document.ome_metadata or "" if document.is_ome else "",
            unit=unit,
            a_unit=number / parts if unit and parts else 0.0,
            deep=int(page.bitspersample) > 8,
        )


@contextmanager
def _tiff_page(file: BinaryIO, name: str, number: int) -> Iterator[Any]:
    """A page of at most MAX_PIXELS; whatever fails inside the `with` becomes an ImageError."""
    try:
        with open_tiff(file) as document:
            count = len(document.pages)
            if not count:
                raise EOFError("It contains no page")
            if number >= count:
                raise ImageError(no_such_page(number, count, name))
            page: Any = document.pages[number]
            check_size((page.imagelength, page.imagewidth), name)
            yield page
    except ImageError:
        raise
    except ImportError:
        raise MissingExtra(
            "tifffile", "science", f"{name}, a TIFF with bands or data types of this kind,"
        ) from None
    except Exception as error:  # tifffile's readers raise almost anything on damaged files
        raise ImageError(
            f"{name} is corrupted or truncated, or its compression is not supported. "
            "Copy it again, or convert it to an uncompressed TIFF."
        ) from error


def _missing_codec(error: Exception) -> str:
    """The compression that tifffile cannot unpack without another package; "" for other errors."""
    if isinstance(error, ImportError):
        return "" if error.name == "tifffile" else "Zstandard"  # of Python from 3.14 on
    found = _NO_CODEC.search(str(error))
    return found[1] if found else ""


class _OneFile(io.RawIOBase):
    """A file whose folder tifffile cannot find: it opens further files that a TIFF names."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def read(self, size: int = -1, /) -> bytes:
        return self._file.read(size)

    def readinto(self, buffer: Any, /) -> int:
        view = memoryview(buffer).cast("B")
        if hasattr(self._file, "readinto"):
            return int(self._file.readinto(view))
        data = self._file.read(len(view))
        view[: len(data)] = data
        return len(data)

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()


@contextmanager
def open_tiff(file: BinaryIO) -> Iterator[Any]:
    """Open a TIFF by tifffile, without the other files that it may name.

    tifffile reports no damage on the terminal: an error does. Raises whatever tifffile does,
    ImageError for a compression that it cannot unpack and for metadata that state millions of
    planes, and MissingExtra without it.
    """
    try:
        import tifffile
    except ImportError:
        raise MissingExtra(
            "tifffile", "science", "a TIFF with bands or data types of this kind"
        ) from None

    file.seek(0)
    logger = tifffile.logger()
    before, logger.disabled = logger.disabled, True
    name, alone = Path(str(getattr(file, "name", "stream"))).name, cast("Any", _OneFile(file))
    try:
        with tifffile.TiffFile(alone, name=name, _multifile=False) as document:
            if document.is_ome and _MANY_PLANES.search(document.ome_metadata or ""):
                raise ImageError(f"Its OME-XML declares more than {_MAX_PLANES} planes")
            yield document
    except Exception as error:
        if not (codec := _missing_codec(error)):
            raise
        raise ImageError(
            f"{name!r} uses {codec} compression, which requires the package 'imagecodecs'. "
            "Install it with: pip install imagecodecs, or save the image with Deflate."
        ) from error
    finally:
        logger.disabled = before


def check_segments(page: Any, name: str) -> None:
    """Refuse a page of tifffile whose strips or tiles unpack to more than its header states.

    Raises:
        ImageError: They do, or the header states more than the file can hold.
    """
    from anymask.base import DEFLATE_RATIO, unpacked_size, zstd_bound

    key, file = page.keyframe, page.parent.filehandle
    expected = prod(key.chunks) * key.dtype.itemsize
    parts = [one for one in zip(page.dataoffsets, page.databytecounts, strict=False) if one[1]]
    ratio = {_STORED: 1}.get(key.compression, DEFLATE_RATIO if key.compression in _DEFLATE else 0)
    if ratio and len(parts) * expected > file.size * ratio + _HARMLESS:
        raise ImageError(
            f"{name} is truncated: its header declares {key.shape} of {key.dtype}, but "
            f"the file has only {file.size} bytes. Copy it again."
        )
    make, is_zstd = _UNBOUNDED.get(key.compression), key.compression in _ZSTD
    if make is None and not is_zstd:
        return
    for offset, count in parts:
        if not is_zstd and count * DEFLATE_RATIO <= max(expected, _HARMLESS):
            continue
        file.seek(offset)
        data, size = file.read(min(count, file.size)), 0
        with contextlib.suppress(Exception):  # damage is reported by what reads it
            size = zstd_bound(data) if make is None else unpacked_size(data, expected + 1, make)
        if size > (max(2 * expected, _HARMLESS) if is_zstd else expected + 1):
            raise ImageError(
                f"{name} is corrupted: a strip or tile unpacks to more than the "
                f"{expected} bytes that its header declares. Copy it again, or save it "
                "uncompressed."
            )


def no_such_page(page: int, count: int, name: str) -> str:
    """What to tell about a page that a file does not have."""
    pages = f"{count} page{'s' if count > 1 else ''}"
    return f"Page {page} is out of range: {name} has {pages}, numbered from 0."


def _turns(page: Any) -> int:
    tag = page.tags.get(_ORIENTATION)
    return int(tag.value) if tag is not None and 1 <= int(tag.value) <= 8 else 1


def _in_colour(page: Any, name: str, view: PictureView) -> NDArray[Any]:  # -> (H, W, C)
    """Bands last; without bands chosen, those that the tags call colors."""
    array: NDArray[Any] = page.asarray()
    array = array[..., None] if array.ndim == 2 else array
    if page.axes.startswith("S"):
        array = np.moveaxis(array, 0, -1)
    if view.all_bands:
        return array
    kind, count, extra = int(page.photometric), array.shape[2], tuple(page.extrasamples)
    if kind == _PALETTE:
        table: NDArray[Any] = (page.colormap.T // 257).astype(np.uint8)
        shown: NDArray[Any] = table[array[..., 0]]
        return shown
    if kind == _SEPARATED and count == 4 and array.dtype.kind == "u":
        paper: NDArray[Any] = 1 - array.astype(np.float32) / np.iinfo(array.dtype).max
        return np.asarray(paper[..., :3] * paper[..., 3:])
    colours = 3 if kind == _RGB or count == 3 else 1
    if kind != _RGB and count > 1 + (extra[:1] != () and extra[0] in _ALPHA) and count != 3:
        raise ImageError(
            f"{name} has {count} bands and does not declare which are red, green and "
            "blue. Choose one or three bands, numbered from 1: bands=(3, 2, 1), or "
            "--bands 3,2,1"
        )
    if kind == _WHITE_IS_ZERO and array.dtype.kind == "u":
        array[..., 0] = np.iinfo(array.dtype).max - array[..., 0]
    has_alpha = count > colours and bool(extra) and extra[0] in _ALPHA
    return array[..., : colours + has_alpha]
