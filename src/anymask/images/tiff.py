"""Read images of more than 8 bits or 3 bands: 16-bit PNG and any TIFF.

16-bit color PNG and TIFF are read by OpenCV, which keeps all bits. TIFFs that Pillow does not
support (more bands, float colors, planes) are read by tifffile, from the extra `science`. The
colors of a TIFF are those that its tags declare as red, green and blue; for other bands the user
selects them.
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
from typing import Any, BinaryIO, Literal, cast

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from anymask.base import ImageError, MissingExtra, need_packages
from anymask.images.decoding import TIFF_HEADS, ImageView, check_size, open_header
from anymask.masks import MAX_PIXELS, counted

_MAX_BYTES = 12 * MAX_PIXELS  # size limit of a page with all its bands
_MODES_TO_8_BIT = ("RGB", "RGBA", "RGBX", "LA")  # modes that Pillow reduces to 8 bits
_BITS, _SAMPLES, _ORIENTATION, _SIGNS = 258, 277, 274, 339  # tags of TIFF 6.0
_X_RESOLUTION, _PHOTOMETRIC = 282, 262
_PROFILE = 34675
_GDAL_METADATA = 42112
_GEOREFERENCE = (33550, 34264, 34735)  # GeoTIFF: scale, transformation, keys
_GEO_MARKS = (  # of JPEG 2000, and of `Features.save`
    b"\xb1\x4b\xf8\xbd\x08\x3d\x4b\x43\xa5\xae\x8c\xd7\xd5\xa6\xce\x03", b"gml.data",
    b'"georeferenced": true',
)  # fmt: skip
_TAG_BYTES, _MAX_TAGS = 1 << 16, 4096  # bytes and tags that are searched for a georeference
_ALPHA = (1, 2)  # values of the tag ExtraSamples
_STORED, _DEFLATE, _ZSTD = 1, (8, 32946, 50013), (34926, 50000)  # values of Compression
_NO_CODEC = re.compile(r"COMPRESSION\.(\w+).* requires the 'imagecodecs'")
_UNBOUNDED: dict[int, Callable[[], Any]] = {  # compressions whose decoders have no size limit
    **dict.fromkeys(_DEFLATE, zlib.decompressobj), 34925: lzma.LZMADecompressor
}  # fmt: skip
_HARMLESS = 256 << 20  # bytes that one segment may always unpack to
_MAX_PLANES = 9_999_999  # limit for an OME-TIFF: tifffile creates a list of them
_MANY_PLANES = re.compile(
    r"""\b(?:Size[CZT]|PlaneCount|NumPlanes|IFD|First[CZT])\s*=\s*["']\s*\+?0*(\d{8,})"""
)
_WHITE_IS_ZERO, _PALETTE, _SEPARATED, _RGB = 0, 3, 5, 2  # PhotometricInterpretation


@dataclass(frozen=True)
class DeepImage:
    """Image with its full bit depth."""

    pixels: NDArray[Any]  # (H, W, C) of any number type, as `array_to_image` accepts it
    orientation: int  # EXIF orientation 1..8
    in_color: bool = False  # Whether white is 65535: 16-bit RGB that is not a map
    profile: bytes = b""  # ICC profile, b"" for none


def is_georeferenced(source: object) -> bool:
    """Return whether an image (a path, bytes, an open file or a Pillow image) is a GeoTIFF or
    georeferenced JPEG 2000, or the embedding of one, or has a world file or a CRS (.aux.xml) beside
    it."""
    if not isinstance(source, str | Path):
        file: Any = (
            io.BytesIO(source) if isinstance(source, bytes | bytearray | memoryview) else source
        )
        with contextlib.suppress(AttributeError, OSError, ValueError):  # not a file
            # `seek` of a Pillow image would change the frame that is read.
            if hasattr(file, "read") and file.seek(0) == 0 and _has_georeference(file):
                return True
        name = getattr(file, "filename", getattr(file, "name", None))
        known = any(tag in getattr(file, "tag_v2", ()) for tag in _GEOREFERENCE)
        return known or (isinstance(name, str) and is_georeferenced(name))
    path, end = Path(source), Path(source).suffix[1:]  # the suffixes are .tfw, .tifw and .wld
    info = Path(f"{path}.aux.xml")
    try:
        with path.open("rb") as file:
            return (
                _has_georeference(file)
                or any(
                    path.with_suffix(suffix).is_file()
                    for suffix in (f".{end[:1]}{end[-1:]}w", f".{end}w", ".wld")
                )
                or (info.is_file() and b"<SRS" in info.read_bytes())
            )
    except (OSError, ValueError):  # also an invalid file name
        return False


def _has_georeference(file: BinaryIO) -> bool:
    """Search the tags of a TIFF's first page, or the beginning of another file."""
    head = file.read(_TAG_BYTES)
    if not head.startswith(TIFF_HEADS):
        return any(mark in head for mark in _GEO_MARKS)
    order: Literal["little", "big"] = "little" if head.startswith(b"I") else "big"
    count, size, start = (8, 20, head[8:16]) if b"+" in head[2:4] else (2, 12, head[4:8])
    file.seek(min(int.from_bytes(start, order), 1 << 62))
    entries = file.read(min(int.from_bytes(file.read(count), order), _MAX_TAGS) * size)
    tags = {int.from_bytes(entries[at : at + 2], order) for at in range(0, len(entries), size)}
    return not tags.isdisjoint(_GEOREFERENCE)


def needs_tifffile(image: Image.Image, view: ImageView) -> bool:
    """Return whether Pillow, which opened a TIFF, cannot read what a view requires."""
    if image.format != "TIFF":
        return False
    tags: Any = image.tag_v2  # type: ignore[attr-defined]  # TIFF images have it
    samples, bits = int(tags.get(_SAMPLES, 1)), max(tags.get(_BITS, (1,)))
    if samples == 1:  # Pillow reads these two with the wrong sign
        wrong_sign = (bits, *tags.get(_SIGNS, (1,))[:1]) in ((32, 1), (8, 2))
        return wrong_sign or (_wants_channels(view) and getattr(image, "n_frames", 1) > 1)
    return view.all_bands or (bits > 8 and not _has_deep_colors(image))


def _has_deep_colors(image: Image.Image) -> bool:
    """Return whether Pillow would reduce 16-bit colors to 8 bits."""
    is_reduced = image.format in ("PNG", "TIFF") and image.mode in _MODES_TO_8_BIT
    return is_reduced and ";16" in str(getattr(image, "tile", ""))


def read_deep_colors(image: Image.Image, file: BinaryIO, page: int) -> NDArray[Any] | None:
    """Read 16-bit colors (H, W, C) of a PNG or TIFF; None for other images.

    Pillow decodes the image as well, because it reports corruption that OpenCV ignores.
    """
    if not _has_deep_colors(image):
        return None
    alpha, mode = image.mode in ("RGBA", "LA"), image.mode
    image.load()
    file.seek(0)
    data = np.frombuffer(file.read(), np.uint8)
    if image.format == "TIFF":
        decoded, pages = cv2.imdecodemulti(data, cv2.IMREAD_UNCHANGED, range=(page, page + 1))
        array = pages[0] if decoded and len(pages) else None
    else:
        array = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
    if array is None or array.ndim != 3 or array.dtype.itemsize < 2:
        return None
    colors = array[..., 2::-1][..., : 1 if mode == "LA" else 3]
    return np.dstack([colors, array[..., 3]]) if alpha and array.shape[2] == 4 else colors


def deep_gray(image: Image.Image) -> NDArray[Any]:  # -> (H, W)
    """Return a gray image of 16 or 32 bits in which white is the maximum.

    Pillow inverts a TIFF whose white is 0 only up to 8 bits.
    """
    array, tags = np.asarray(image), getattr(image, "tag_v2", {})
    if array.dtype.kind != "u" or tags.get(_PHOTOMETRIC) != _WHITE_IS_ZERO:
        return array
    white = (1 << max(tags.get(_BITS, (16,)))) - 1
    return np.asarray(array.dtype.type(white) - array)


def read_tiff(file: BinaryIO, name: str, view: ImageView) -> DeepImage:
    """Read a page of a TIFF with tifffile. Raises ImageError or MissingExtra."""
    with _tiff_page(file, name, view.page) as page:
        if page.imagedepth != 1 or page.nbytes > _MAX_BYTES:
            raise ImageError(
                f"{name} stores {page.nbytes >> 20} MB in one piece, but at most "
                f"{_MAX_BYTES >> 20} MB are supported. Split it into tiles or pages."
            )
        check_segments(page, name)
        channels = _channels_of(page, name, view) if _wants_channels(view) else None
        pixels = _in_color(page, name, view) if channels is None else channels
        return DeepImage(
            pixels,
            _turns(page),
            in_color=pixels.dtype == np.uint16 and is_image(page.tags, int(page.photometric)),
            profile=bytes(page.tags.valueof(_PROFILE, b"")),
        )


def is_image(tags: Any, photometric: object) -> bool:
    """Whether 16-bit colors use the range 0..65535 like photos: RGB without the tags of a map,
    whose values come from a sensor."""
    return photometric == _RGB and not any(tag in tags for tag in _GEOREFERENCE)


def _wants_channels(view: ImageView) -> bool:
    """Return whether a view requires more bands than one page with one sample has."""
    return view.bands is not None and (len(view.bands) > 1 or max(view.bands) > 1)


def channel_step(axes: Sequence[tuple[str, int]]) -> tuple[int, int]:
    """Return the pages between channels and the number of channels, for axes outermost first."""
    step = 1
    for name, length in reversed(axes):
        if name == "C":
            return step, length
        step *= length
    return step, 1


def _channels_of(page: Any, name: str, view: ImageView) -> NDArray[Any] | None:  # -> (H, W, C)
    """Read the selected channels at the place of a page; None if channels are not pages."""
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
    planes = np.zeros((count, *page.shape), page.dtype)  # unused planes take no physical memory
    for channel in {band - 1 for band in view.bands or () if 0 < band <= count}:
        plane: Any = document.pages[first + channel * step]
        check_segments(plane, name)
        planes[channel] = plane.asarray()
    return np.moveaxis(planes, 0, -1)


def tiff_hw(file: BinaryIO, name: str) -> tuple[int, int]:
    """Read (H, W) of the upright first page of a TIFF with tifffile. Raises like `read_tiff`."""
    with _tiff_page(file, name, 0) as page:
        height, width = int(page.imagelength), int(page.imagewidth)
        return (width, height) if _turns(page) >= 5 else (height, width)


def count_tiff_pages(file: BinaryIO) -> int:
    """Count the pages of a TIFF with Pillow, or with tifffile if Pillow does not support it."""
    file.seek(0)
    try:
        with open_header(file) as image:
            return int(getattr(image, "n_frames", 1))
    except UnidentifiedImageError:
        with open_tiff(file) as document:
            return len(document.pages)


def tiff_axes(file: BinaryIO) -> tuple[tuple[str, int], ...]:
    """Return names and lengths of the axes of a TIFF's pages, from ImageJ or OME metadata.

    Raises any exception of tifffile, and ImportError if it is not installed.
    """
    with open_tiff(file) as document:
        return _page_axes(document)


def _page_axes(document: Any) -> tuple[tuple[str, int], ...]:
    series = document.series[0]
    inner = len(document.pages[0].shape)
    return tuple(zip(series.axes, map(int, series.shape), strict=True))[: -inner or None]


@dataclass(frozen=True)
class TiffFacts:
    """Header fields of a TIFF's first page."""

    samples: int = 1  # Bands of a page
    colors: bool = True  # Whether it declares how to display them: as gray, or red, green and blue
    ome: str = ""  # OME-XML, "" for none
    unit: str = ""  # ImageJ unit, such as micron; "" for none
    a_unit: float = 0.0  # Pixels along x per unit
    deep: bool = False  # Whether the values have more than 8 bits


def tiff_facts(file: BinaryIO) -> TiffFacts:
    """Read the headers. Raises any exception of tifffile, and ImportError without it."""
    with open_tiff(file) as document:
        page: Any = document.pages[0]
        samples, extra = int(page.samplesperpixel), tuple(page.extrasamples)
        known = int(page.photometric) in (_RGB, _PALETTE, _SEPARATED) or samples == 3
        gray = samples == 1 + (extra[:1] != () and extra[0] in _ALPHA)
        described = document.imagej_metadata if document.is_imagej else None
        unit = str((described or {}).get("unit", ""))
        number, parts = (*page.tags.valueof(_X_RESOLUTION, (0, 1)), 1)[:2]
        return TiffFacts(
            samples=samples,
            colors=known or gray,
            ome=document.ome_metadata or "" if document.is_ome else "",
            unit=unit,
            a_unit=number / parts if unit and parts else 0.0,
            deep=int(page.bitspersample) > 8,
        )


@contextmanager
def _tiff_page(file: BinaryIO, name: str, number: int) -> Iterator[Any]:
    """Open a page of at most MAX_PIXELS; errors inside the block become ImageError."""
    try:
        with open_tiff(file) as document:
            if not (count := len(document.pages)):
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
    except Exception as error:  # tifffile raises arbitrary exceptions on corrupted files
        raise ImageError(
            f"{name} is corrupted or truncated, or its compression is not supported. Copy it again."
        ) from error


class _OneFile(io.RawIOBase):
    """File without a folder, so that tifffile cannot open other files that a TIFF names."""

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
    """Open a TIFF with tifffile, without the other files that it may name.

    Log messages of tifffile about corruption are suppressed, because errors report it.

    Raises:
        Exception: Any exception of tifffile.
        ImageError: The compression is not supported, or the metadata declare millions of planes.
        MissingExtra: tifffile is not installed.
    """
    need_packages(("tifffile",), "science", "a TIFF with bands or data types of this kind")
    import tifffile

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
        match = _NO_CODEC.search(str(error))
        codec = match[1] if match else ""
        if isinstance(error, ImportError) and error.name != "tifffile":
            codec = "Zstandard"  # in Python 3.14 and later
        if not codec:
            raise
        raise ImageError(
            f"{name!r} uses {codec} compression, which requires the package 'imagecodecs'. "
            "Install it with: pip install imagecodecs, or save the image with Deflate."
        ) from error
    finally:
        logger.disabled = before


def check_segments(page: Any, name: str) -> None:
    """Reject a tifffile page whose strips or tiles unpack to more than its header declares.

    Raises:
        ImageError: They unpack to more, or the header declares more than the file can hold.
    """
    from anymask.base import DEFLATE_RATIO, unpacked_size, zstd_bound

    key, file = page.keyframe, page.parent.filehandle
    expected = prod(key.chunks) * key.dtype.itemsize
    parts = [part for part in zip(page.dataoffsets, page.databytecounts, strict=False) if part[1]]
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
        with contextlib.suppress(Exception):  # corruption is reported when it is read
            size = zstd_bound(data) if make is None else unpacked_size(data, expected + 1, make)
        if size > (max(2 * expected, _HARMLESS) if is_zstd else expected + 1):
            raise ImageError(
                f"{name} is corrupted: a strip or tile unpacks to more than the {expected} bytes "
                "that its header declares."
            )


def no_such_page(page: int, count: int, name: str) -> str:
    """Return the message for a page that a file does not have."""
    return f"Page {page} is out of range: {name} has {counted(count, 'page')}, numbered from 0."


def _turns(page: Any) -> int:
    tag = page.tags.get(_ORIENTATION)
    return int(tag.value) if tag is not None and 1 <= int(tag.value) <= 8 else 1


def _in_color(page: Any, name: str, view: ImageView) -> NDArray[Any]:  # -> (H, W, C)
    """Return the page with bands last; without a selection, the bands that are colors."""
    array: NDArray[Any] = page.asarray()
    array = array[..., None] if array.ndim == 2 else array
    if page.axes.startswith("S"):
        array = np.moveaxis(array, 0, -1)
    if view.all_bands:
        return array
    kind, count, extra = int(page.photometric), array.shape[2], tuple(page.extrasamples)
    if kind == _PALETTE:
        table: NDArray[Any] = (page.colormap.T // 257).astype(np.uint8)
        return np.asarray(table[array[..., 0]])
    if kind == _SEPARATED and count == 4 and array.dtype.kind == "u":
        paper: NDArray[Any] = 1 - array.astype(np.float32) / np.iinfo(array.dtype).max
        return np.asarray(paper[..., :3] * paper[..., 3:])
    is_map = any(tag in page.tags for tag in _GEOREFERENCE)
    named = 'role="description"' in str(page.tags.valueof(_GDAL_METADATA, ""))
    # Unnamed bands of a map begin with red, green and blue, as in `maps.bands`.
    colors = 3 if kind == _RGB or count == 3 or (count > 3 and is_map and not named) else 1
    if colors == 1 and count > 1 + (extra[:1] != () and extra[0] in _ALPHA):
        raise ImageError(
            f"{name} has {count} bands and does not declare which are red, green and blue. Choose "
            "one or three bands, numbered from 1: --bands 3,2,1 (in Python bands=(3, 2, 1))"
        )
    if kind == _WHITE_IS_ZERO and array.dtype.kind == "u":
        array[..., 0] = np.iinfo(array.dtype).max - array[..., 0]
    has_alpha = count > colors and bool(extra) and extra[0] in _ALPHA
    return array[..., : colors + has_alpha]
