"""Decodes picture files with Pillow, and converts arrays of any numbers to (H, W, 3) uint8 RGB.

uint8 stays as it is. bool becomes 0 and 255. Floats within 0..1 are scaled by 255; floats and 32 or
64 bit integers within 0..255 are rounded; everything else (16-bit sensors, heights, X-rays, floats
that stay below an eighth of that: ratios, indices, -1..1) is stretched from its 0.1th to its 99.9th
percentile, all channels together. A stretch that is asked for is done band by band, whatever the
type, and leaves NaN and infinity out; so are ranges, and what has none is then looked at by itself.

Decoders answer damaged files with whatever they stumble over, from OSError to AssertionError. Here
they all become ImageError, and a picture whose header states more than MAX_PIXELS is refused before
memory is taken for it. Pillow's own limit, which is below ours, is raised to it meanwhile.

Letters: H W the picture, C its channels or bands.
"""

from __future__ import annotations

import contextlib
import io
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, UnidentifiedImageError

from anymask.base import (
    AnymaskError,
    DamagedImageError,
    ImageError,
    InputError,
    MissingExtra,
    UintImage,
    missing_extra,
)
from anymask.masks import MAX_PIXELS

PERCENTILES = (0.1, 99.9)  # of a stretch: a few hot or dead pixels do not count
_MIN_WHITE = 1 / 8  # of white, which colors in floats reach somewhere; 0..3 are no colors
Ends = float | NDArray[np.float64]  # one, or one a band
Range = tuple[float, float]
Ranges = tuple[Range | None, ...]
AnyRanges = Sequence[float] | Sequence[Sequence[float] | None]
_STRIP_PIXELS = 4_000_000
_SAMPLE_PIXELS = 2_000_000  # of a large picture, that the percentiles are read from


@dataclass(frozen=True)
class PictureView:
    """What of a picture is looked at; `PictureView()` is everything as it is.

    Attributes:
        bands: One or three numbers of bands, counted from 1: grey, or red, green and blue, of
            which 0 is black; None leaves the picture's own colors.
        page: Of a file of several, or the frame of an animation, counted from 0.
        stretch: The two percentiles, 0..100, that become black and white; None as the module
            says.
        ranges: The two values that become black and white, for all bands or for each; None of a
            band: as its type says.
        raw: All channels with the numbers that they have: (H, W, C) of any type, not a picture.
    """

    bands: tuple[int, ...] | None = None
    page: int = 0
    stretch: tuple[float, float] | None = None
    ranges: Ranges | None = None
    raw: bool = False

    @classmethod
    def of(
        cls,
        bands: int | Sequence[int] | None = None,
        page: int = 0,
        stretch: Sequence[float] | None = None,
        ranges: AnyRanges | None = None,
    ) -> PictureView:
        """Checked settings. Raises InputError."""
        chosen = None if bands is None else _check_bands(bands)
        if type(page) is not int or page < 0:
            raise InputError(f"Invalid page {page!r}. Use a whole number of at least 0.")
        if ranges is not None:
            if stretch is not None:
                raise InputError(
                    "Options stretch (percentiles) and ranges (pixel values) "
                    "cannot be combined. Pass one of them."
                )
            return cls(
                chosen, page, None, _check_ranges(ranges, 3 if chosen is None else len(chosen))
            )
        if stretch is None:
            return cls(chosen, page)
        ends = tuple(float(end) for end in stretch)
        if len(ends) != 2 or not 0 <= ends[0] < ends[1] <= 100:
            raise InputError(
                f"Invalid stretch {stretch!r}. Expected two percentiles from 0 to 100, such as "
                "(2, 98)."
            )
        return cls(chosen, page, ends)

    @property
    def is_as_stored(self) -> bool:
        """Whether 8 bits stay as they are."""
        return self.stretch is None and self.ranges is None and 0 not in (self.bands or ())

    @property
    def plain(self) -> bool:
        """Whether the picture's own colors are taken as they are."""
        return self.bands is None and self.stretch is None and self.ranges is None

    @property
    def all_bands(self) -> bool:
        """Whether bands are wanted that the picture's own colors do not show."""
        return self.raw or self.bands is not None


AS_IT_IS = PictureView()


def _check_bands(bands: int | Sequence[int]) -> tuple[int, ...]:
    chosen = (bands,) if isinstance(bands, int) else tuple(bands)
    least = 0 if len(chosen) == 3 and any(chosen) else 1
    if len(chosen) not in (1, 3) or any(type(one) is not int or one < least for one in chosen):
        raise InputError(
            f"Invalid bands {bands!r}. Expected one or three whole numbers, counted from 1, "
            "such as (3, 2, 1) for red, green, blue (0 for black)."
        )
    return chosen


def _check_ranges(ranges: AnyRanges, bands: int) -> Ranges:
    found: Ranges = ()
    with contextlib.suppress(TypeError, ValueError):
        given: list[Any] = list(ranges)
        each = [given] if given and isinstance(given[0], int | float) else given
        pairs = [None if one is None else tuple(map(float, one)) for one in each]
        found = tuple(None if one is None else (one[0], one[1]) for one in pairs)
        if any(one is not None and len(one) != 2 for one in pairs):
            found = ()
    right = all(-np.inf < low < high < np.inf for low, high in filter(None, found))
    if len(found) not in (1, bands) or not right:
        raise InputError(
            f"Invalid ranges {ranges!r}. Expected one pair (black, white) for all bands, or a "
            f"pair or None for each of the {bands} bands, such as ((200, 4000), None, (0, "
            "900))."
        )
    return found


def array_to_image(
    source: ArrayLike, name: str = "the array", view: PictureView = AS_IT_IS
) -> UintImage:  # -> (H, W, 3)
    """(H, W[, C]) of any number type -> RGB; `name` is what an error calls it.

    Without bands, C = 1 is grey, 2 grey + alpha, 3 RGB, 4 RGBA; with bands, C may be anything.
    A raw view gives the checked array itself, (H, W, C).
    Raises ImageError for another shape, values that are no real numbers, a band that is not there;
    for NaN and infinity where no stretch leaves them out.
    """
    array = _check_array(source, name, view)
    if view.raw:
        return array
    has_alpha = not view.bands and array.shape[2] in (2, 4)
    colour, alpha = (array[..., :-1], array[..., -1]) if has_alpha else (array, None)
    black = [place for place, band in enumerate(view.bands or ()) if not band]
    if array.dtype == np.uint8 and array.shape[2] == 3 and view.is_as_stored:
        return np.ascontiguousarray(array)
    if view.ranges is not None:
        low, high = _given_ranges(colour, name, view.ranges)
    elif view.stretch is not None:
        low, high = _band_ranges(colour, name, view.stretch)
    else:
        low, high = value_range(colour, name)
    image = np.empty((*array.shape[:2], 3), np.uint8)
    alpha_range = (0.0, 1.0) if alpha is None else _alpha_range(alpha, name)
    for rows in strips((array.shape[0], array.shape[1])):
        image[rows] = _eight_bit(colour[rows], low, high)
        if alpha is not None:
            image[rows] = on_white(image[rows], _eight_bit(alpha[rows], *alpha_range))
    image[..., black] = 0
    return image


def _given_ranges(values: NDArray[Any], name: str, ranges: Ranges) -> tuple[Ends, Ends]:
    count = values.shape[2]
    if len(ranges) not in (1, count):
        raise ImageError(
            f"{name} has {count} band{'s' if count > 1 else ''}, but {len(ranges)} "
            "ranges were passed. Pass "
            f"{'one range' if count == 1 else f'one range or {count}'}."
        )
    pairs = [
        value_range(values[..., band : band + 1], name) if one is None else one
        for band, one in enumerate(ranges * (count if len(ranges) == 1 else 1))
    ]
    low, high = np.array(pairs, np.float64).T
    return low, high


def _check_array(source: ArrayLike, name: str, view: PictureView) -> NDArray[Any]:  # -> (H, W, C)
    try:
        array = np.asarray(source)
    except (TypeError, ValueError, RuntimeError) as error:
        tensor = " Pass image.detach().cpu().float().numpy()." if hasattr(source, "detach") else ""
        raise ImageError(f"Cannot convert {type(source).__name__} to an image.{tensor}") from error
    if array.dtype.kind not in "buif":
        raise ImageError(
            "Expected a path, bytes, a Pillow image or an array of real numbers, not "
            f"{type(source).__name__} ({array.dtype}). Convert it to a NumPy array (H, "
            "W, 3)."
        )
    if array.ndim == 2:
        array = array[..., None]
    if array.ndim == 3 and array.shape[2] and (view.all_bands or array.shape[2] <= 4):
        check_size((array.shape[0], array.shape[1]), name)
        return pick_bands(array, name, view)
    remedy = "Choose 3 of its bands: bands=(3, 2, 1)"
    if array.ndim == 4:
        remedy = "Pass one image at a time."
    elif array.ndim == 3 and 1 <= array.shape[0] <= 4:
        remedy = "Move the channels last: image.transpose(1, 2, 0)"
    elif array.ndim < 2 or array.ndim > 4:
        remedy = "Pass an array with rows and columns."
    raise ImageError(
        f"An image has shape (H, W) or (H, W, C) with 1 to 4 channels, but {name} has "
        f"shape {array.shape}. {remedy}"
    )


def pick_bands(array: NDArray[Any], name: str, view: PictureView) -> NDArray[Any]:  # (H, W, C)
    """The bands that are looked at. Raises ImageError for one that is not there."""
    if view.bands is None:
        return array
    count = array.shape[2]
    if max(view.bands) > count:
        raise ImageError(
            f"Band {max(view.bands)} does not exist: {name} has {count} "
            f"band{'s' if count > 1 else ''}, numbered from 1."
        )
    if view.bands == tuple(range(1, count + 1)):
        return array
    some = next(band for band in view.bands if band)  # stands where it is black in the end
    return array[..., [(band or some) - 1 for band in view.bands]]


def value_range(values: NDArray[Any], name: str) -> tuple[float, float]:
    """The two values that become 0 and 255."""
    if values.dtype == np.uint8:
        return (0.0, 255.0)
    least, most = float(values.min()), float(values.max())
    if not (np.isfinite(least) and np.isfinite(most)):
        raise ImageError(
            f"{name} contains NaN or infinity. Replace these values, for example with "
            "numpy.nan_to_num(image), or set value ranges: stretch=(2, 98) in Python, "
            "--stretch 2,98 on the command line"
        )
    scale = _colour_range(values.dtype, least, most)
    dim = values.dtype.kind == "f" and scale is not None and most < _MIN_WHITE * scale[1]
    return _stretch(values, least, most) if scale is None or dim else scale


def _colour_range(kind: np.dtype[Any], least: float, most: float) -> tuple[float, float] | None:
    """Black and white of numbers that may be colors; None of others."""
    if kind.kind in "bf" and least >= -0.1 and most <= 1.1:
        return (0.0, 1.0)
    if (kind.kind == "f" or kind.itemsize >= 4) and least >= -1 and most <= 256:
        return (0.0, 255.0)
    return None


def _stretch(values: NDArray[Any], least: float, most: float) -> tuple[float, float]:
    """The percentiles, of every n-th row and column of a large picture."""
    step = max(1, int(np.sqrt(values.shape[0] * values.shape[1] / _SAMPLE_PIXELS)))
    low, high = np.percentile(values[::step, ::step], PERCENTILES)
    if high <= low:  # all but a few pixels are equal
        low, high = least, most
    return (float(low), float(high)) if high > low else (least, _above(least))


def _band_ranges(
    values: NDArray[Any], name: str, stretch: tuple[float, float]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The two percentiles of each band's finite values, (C,) each."""
    step = max(1, int(np.sqrt(values.shape[0] * values.shape[1] / _SAMPLE_PIXELS)))
    ranges = []
    for band in range(values.shape[2]):
        some = values[::step, ::step, band]
        finite = some[np.isfinite(some)].astype(np.float64)
        if not finite.size:
            raise ImageError(f"A band of {name} has no finite pixel value. Choose other bands.")
        low, high = np.percentile(finite, stretch)
        if high <= low:
            low, high = finite.min(), finite.max()
        ranges.append((low, high if high > low else _above(low)))
    low, high = np.array(ranges, np.float64).T
    return low, high


def _above(value: float) -> float:
    """The white of a picture of one value, at least 1 more, also where 1 more is no other float."""
    return max(value + 1.0, float(np.nextafter(value, np.inf)))


def _alpha_range(alpha: NDArray[Any], name: str) -> tuple[float, float]:
    if alpha.dtype.kind in "ui":
        return (0.0, float(np.iinfo(alpha.dtype).max) if alpha.dtype.itemsize < 4 else 255.0)
    scale = _colour_range(alpha.dtype, float(alpha.min()), float(alpha.max()))
    return scale or value_range(alpha, name)


def _eight_bit(
    values: NDArray[Any],
    low: Ends,
    high: Ends,
) -> UintImage:
    """Low becomes 0 and high 255; NaN becomes 0."""
    if values.dtype == np.uint8 and isinstance(low, float) and (low, high) == (0.0, 255.0):
        return values
    wide: NDArray[Any] = values.astype(np.float64 if values.dtype.itemsize > 2 else np.float32)
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        scaled = (wide - low) * (255.0 / np.subtract(high, low)) + 0.5
    eight: UintImage = np.nan_to_num(np.clip(scaled, 0, 255), nan=0.0).astype(np.uint8)
    return eight


def check_size(image_hw: tuple[int, int], name: str) -> None:
    """Raises ImageError for no pixel, and for more than MAX_PIXELS."""
    height, width = image_hw
    if height < 1 or width < 1:
        raise ImageError(
            f"An image must have at least 1 x 1 pixel, but {name} has {width} x {height}."
        )
    if height * width > MAX_PIXELS:
        raise ImageError(
            f"{name} has {width} x {height} pixels, but the limit is {MAX_PIXELS // 1000000} "
            "megapixels. Resize it or split it into tiles first."
        )


def strips(image_hw: tuple[int, int]) -> Iterator[slice]:
    """Rows that are few enough to convert at once."""
    height, width = image_hw
    step = max(1, _STRIP_PIXELS // width)
    return (slice(top, min(top + step, height)) for top in range(0, height, step))


def on_white(colour: UintImage, alpha: NDArray[np.uint8]) -> UintImage:  # (h, w, 3), (h, w)
    """The colors over white paper, rounded to the nearest."""
    cover = alpha.astype(np.uint16)[..., None]
    mixed: NDArray[np.uint16] = (colour * cover + 255 * (255 - cover) + 127) // 255
    return mixed.astype(np.uint8)


# Decoders that read files of strangers. Pillow has forty more: EPS starts Ghostscript, which runs
# the PostScript inside, and a file may have any name. AVIF is last: Pillow before 11.3 lacks it.
_JP2 = b"\0\0\0\x0cjP  "  # the first bytes of a JPEG 2000 file
NO_ALPHA = "anymask_no_alpha"  # of Image.info: the fourth band is not transparency
DECODERS = ("JPEG", "PNG", "BMP", "GIF", "PPM", "TIFF", "WEBP", "JPEG2000", "AVIF")


class _Limit:
    """Pillow's limit as it was, and how many have put ours in its place."""

    def __init__(self) -> None:
        self.lock, self.users = threading.Lock(), 0
        self.usual: int | None = None


_limit = _Limit()


@contextmanager
def _our_limit() -> Iterator[None]:
    """Pillow's limit at MAX_PIXELS while anybody decodes; it is one for the whole process."""
    with _limit.lock:
        if not _limit.users:
            _limit.usual, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, MAX_PIXELS
        _limit.users += 1
    try:
        yield
    finally:
        with _limit.lock:
            _limit.users -= 1
            if not _limit.users:
                Image.MAX_IMAGE_PIXELS = _limit.usual


@contextmanager
def decoding(name: str) -> Iterator[None]:
    """Turn whatever a decoder raises into an ImageError that says that `name` is damaged.

    A decoder that is not installed is a MissingExtra.
    """
    try:
        with _our_limit():
            yield
    except AnymaskError:
        raise
    except Exception as error:  # decoders raise anything at all on damaged files
        if isinstance(error, ImportError) and (missing := missing_extra(error, f"reading {name}")):
            raise missing from None
        raise DamagedImageError(
            f"{name} is corrupted or truncated. Copy or download it again."
        ) from error


def open_header(file: Any) -> Image.Image:
    """Read a picture's header only, whatever size it states.

    A file that no decoder of the list opens is refused.

    Raises UnidentifiedImageError, and MissingExtra for a HEIC photo without pi-heif.
    """
    formats = ("HEIF", *DECODERS) if _knows_heic(file) else DECODERS
    shown, is_colourless = file, False
    with contextlib.suppress(OSError, ValueError, AttributeError):  # Pillow says so
        file.seek(0)
        if file.read(len(_JP2)) == _JP2:
            shown, is_colourless = _with_colours(file)
    with _limit.lock:
        limit = Image.MAX_IMAGE_PIXELS
        Image.MAX_IMAGE_PIXELS = None
        try:
            picture = Image.open(shown, formats=formats)
            if is_colourless:
                picture.info[NO_ALPHA] = True
            return picture
        except Exception as error:  # as in `decoding`
            raise UnidentifiedImageError from error
        finally:
            Image.MAX_IMAGE_PIXELS = limit


def _knows_heic(file: Any) -> bool:
    """Whether a file is HEIC, which pi-heif then reads. Raises MissingExtra without it."""
    try:
        file.seek(0)
        head = file.read(12)
    except (OSError, ValueError, AttributeError):
        return False  # Pillow says so
    if not isinstance(head, bytes) or head[4:8] != b"ftyp" or head[8:12] not in _HEIC:
        return False
    try:
        import pi_heif
    except ImportError:
        raise MissingExtra("pi-heif", "heic", "a HEIC photo") from None
    pi_heif.register_heif_opener()
    return True


@contextmanager
def open_picture(source: Path | bytes, name: str | None = None) -> Iterator[Image.Image]:
    """A picture to look at inside the `with`; its pixels are not decoded yet.

    Raises ImageError for what Pillow cannot open, for a header that states no pixel or more than
    MAX_PIXELS, and for whatever fails inside the `with`.

    Args:
        source: A file, or the bytes of one.
        name: What an error calls it; the file's name when left out.
    """
    name = name or (str(source) if isinstance(source, Path) else f"the image ({len(source)} bytes)")
    opened = open_file(source) if isinstance(source, Path) else io.BytesIO(source)
    with decoding(name), opened as file:
        try:
            picture = open_header(file)
        except UnidentifiedImageError:
            raise unidentified(file, name) from None
        with picture:
            check_size((picture.height, picture.width), name)
            yield picture


def open_file(path: Path) -> io.BufferedReader:
    """A file for reading.

    Raises OSError, also for a named pipe, which would be waited for, and for an impossible name.
    """
    try:
        if path.exists() and not path.is_file() and not path.is_dir():
            raise OSError("Not a regular file")
        return path.open("rb")
    except ValueError as error:  # a NUL in its name
        raise OSError(str(error)) from error


# What to tell about a file that is not read as a picture, by its first bytes.

_POSTSCRIPT = ("a PostScript document", "Export it as PNG from the program that created it.")
_RAW = ("a camera raw file", "Develop it to TIFF or JPEG first, for example with darktable.")

# The first bytes of pictures that are read: such a file is damaged.
_PICTURES = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"RIFF", b"BM", b"II*\0", b"MM\0*")

# The first bytes of other kinds: what they are, and the way to a picture.
_KINDS: tuple[tuple[bytes, str, str], ...] = (
    (b"\x93NUMPY", "a NumPy array", "In Python, pass numpy.load(FILE), or save it as TIFF."),
    (
        b"PK\x03\x04",
        "an archive",
        (
            "Unpack it and pass an image from it. For a zip of DICOM slices, run: anymask "
            "volume FILE"
        ),
    ),
    (b"%PDF", "a PDF document", "Convert its pages to images: pdftoppm -png FILE page"),
    (
        b"\x89HDF",
        "an HDF5 file",
        ("In Python, read its array with h5py, or export it as TIFF, for example from Fiji."),
    ),
    (b"%!PS", *_POSTSCRIPT),
    (b"\xc5\xd0\xd3\xc6", *_POSTSCRIPT),  # with a preview
    (b"8BPS", "a Photoshop document", "Export it as PNG or TIFF."),
    (b"FUJIFILM", *_RAW),
    (b"IIRO", *_RAW),
    (b"IIU\0", *_RAW),
)
_HEIC = (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1")
_BOXED = {  # the brand of an ISO base media file, behind "ftyp"
    **dict.fromkeys(
        _HEIC,
        (
            "a HEIC photo",
            (
                "It is corrupted, or a variant of the format that is not supported. "
                "Convert it to JPEG: heif-convert FILE photo.jpg"
            ),
        ),
    ),
    b"crx ": _RAW,
}
_AVIF = (b"avif", b"avis")


def unidentified(file: Any, name: str) -> ImageError:
    """The error for a file that Pillow does not know: what it is, and the way to a picture."""
    from anymask.images.kinds import HEAD, recognise_head

    try:
        file.seek(0)
        head = file.read(HEAD)
    except (OSError, ValueError, AttributeError):
        head = b"?"
    if not head:
        return DamagedImageError(f"{name} is empty (0 bytes). Copy or download it again.")
    if not isinstance(head, bytes):
        return ImageError(f"{name} was opened in text mode. Open it with mode 'rb'.")
    shown = name if name.startswith("'") else "FILE"
    if (count := _count_bands(head)) > _MAX_BANDS:
        return ImageError(
            f"{name} is a JPEG 2000 file with {count} bands. Images can have 1 to "
            f"{_MAX_BANDS} bands. Convert three of the bands to TIFF: gdal_translate "
            f"-b 3 -b 2 -b 1 {shown} rgb.tif"
        )
    if (kind := _kind_of(head)) is not None:
        return ImageError(
            f"{name} is {kind[0]}, not a supported image. {kind[1].replace('FILE', shown)}"
        )
    other = recognise_head(head)
    if other is not None and other.kind != "image":
        remedy = other.remedy.replace("FILE", shown)
        return ImageError(f"{name} is {other.what}, not an image. {remedy}.")
    if head.startswith(_PICTURES) or head[8:12] in _AVIF:
        return DamagedImageError(f"{name} is corrupted or truncated. Copy or download it again.")
    return DamagedImageError(
        f"{name} is not a supported image, or its first bytes are corrupted (it starts "
        f"with {head[:8]!r}). Expected JPEG, PNG, WebP, TIFF, ... Convert it to PNG, "
        "or in Python pass the pixels as an array."
    )


def _kind_of(head: bytes) -> tuple[str, str] | None:
    """What a file is that is not read, and the way to a picture; None for anything else."""
    for begin, what, remedy in _KINDS:
        if head.startswith(begin):
            return what, remedy
    if head[4:8] == b"ftyp":
        return _BOXED.get(head[8:12])
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<!doctype html", b"<html")):
        return "a web page", "Download the image itself."
    if text.startswith(b"<svg") or (text.startswith(b"<?xml") and b"<svg" in text):
        return "an SVG drawing", "Convert it to an image: rsvg-convert FILE -o drawing.png"
    return None


# Color profiles. Everything that is written is sRGB without a profile, so colors that have one
# are converted on reading; an image without a profile, or with one of sRGB, keeps every byte.

_MODES = {"RGB ": "RGB", "CMYK": "CMYK", "GRAY": "L"}  # of ICC.1, and Pillow's
ToSrgb = Callable[[Image.Image], Image.Image]


def to_srgb(picture: Image.Image) -> ToSrgb | None:
    """What converts parts of an image to sRGB (mode RGB); None where nothing is to be converted.

    A profile that is damaged, or of another color space than the pixels, is left out of account,
    as browsers do.
    """
    profile = picture.info.get("icc_profile")
    if not isinstance(profile, bytes) or not profile:
        return None
    try:
        from PIL import ImageCms

        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if "srgb" in ImageCms.getProfileDescription(source).lower():
            return None
        mode = _MODES[source.profile.xcolor_space]
        if (mode == "CMYK") != (picture.mode == "CMYK") or (
            (mode == "L") != (picture.mode in ("1", "L", "LA", "La"))
        ):
            return None
        transform = ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB")
    except Exception:  # LittleCMS and its wrapper raise almost anything on damaged profiles
        return None

    def convert(part: Image.Image) -> Image.Image:
        plain = part if part.mode == mode else part.convert(mode)
        return ImageCms.applyTransform(plain, transform) or plain

    return convert


# JPEG 2000 files without colors. GDAL declares bands without a color interpretation as grayscale,
# however many there are: Pillow then fails on three and takes the fourth of four as transparency.
# Layout: ISO/IEC 15444-1, annex I.

_MAX_BANDS = 4  # that Pillow reads of a JPEG 2000 file
_HEAD = 4096  # bytes that hold the header
_SRGB, _GRAY = b"\0\0\0\x10", b"\0\0\0\x11"
_ENUMERATED = b"colr\1"  # a box of one of the color spaces that have a number


def _count_bands(head: bytes) -> int:
    """How many bands a JP2 file declares; 0 for other files."""
    at = head.find(b"ihdr") if head.startswith(_JP2) else -1
    return int.from_bytes(head[at + 12 : at + 14], "big") if at > 0 else 0


def _is_colourless(head: bytes) -> bool:
    """Whether a JP2 file declares three bands or more as grayscale, none of them as alpha."""
    at = head.find(_ENUMERATED)
    declared = head[at + 7 : at + 11] if at > 0 else b""
    return _count_bands(head) > 2 and declared == _GRAY and b"cdef" not in head[: at + 64]


def _with_colours(file: Any) -> tuple[Any, bool]:
    """The file, with its first three bands as red, green and blue, and whether that was needed."""
    file.seek(0)
    head = file.read(_HEAD)
    if not isinstance(head, bytes) or not _is_colourless(head):
        return file, False
    at = head.find(_ENUMERATED) + 7
    return io.BytesIO(head[:at] + _SRGB + head[at + 4 :] + file.read()), True
