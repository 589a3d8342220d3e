"""Decode image files with Pillow, and convert arrays of any number type to (H, W, 3) uint8 RGB.

uint8 is unchanged. bool becomes 0 and 255. Floats within 0..1 are scaled by 255; floats and 32 or
64-bit integers within 0..255 are rounded. All other values (16-bit sensors, heights, X-rays, floats
that stay below an eighth of that range: ratios, indices, -1..1) are stretched from their 0.1th to
their 99.9th percentile, over all channels together. An explicit stretch is applied to each band,
for any type, and ignores NaN and infinity. The same applies to explicit ranges; bands without a
range are then converted separately.

Decoders raise anything from OSError to AssertionError for corrupted files; all become ImageError.
An image whose header declares more than MAX_PIXELS is rejected before memory is allocated. Pillow's
own limit is lower, so it is raised during decoding.

Letters: H W the image, C its channels or bands.
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
    refuse_text,
)
from anymask.images.kinds import HEIC, INSPECTED_BYTES, recognize_head
from anymask.masks import MAX_PIXELS, counted

PERCENTILES = (0.1, 99.9)  # for a stretch: ignores a few hot or dead pixels
_MIN_WHITE = 1 / 8  # fraction of white that the maximum of float colors reaches
Ends = float | NDArray[np.float64]  # one value, or one for each band
Range = tuple[float, float]
Ranges = tuple[Range | None, ...]
AnyRanges = Sequence[float] | Sequence[Sequence[float] | None]
_STRIP_PIXELS = 4_000_000
_LEAST_BLOCKS, _OF_NOISE = 256, 0.1  # blocks, and share of the variance between them, of noise
_SAMPLE_PIXELS = 2_000_000  # pixels of a large image that the percentiles are computed from


@dataclass(frozen=True)
class ImageView:
    """Bands, page and value range to read; `ImageView()` reads the image as it is."""

    # One or three band numbers, counted from 1: gray, or red, green and blue, where 0 is black.
    # None reads the image's own colors.
    bands: tuple[int, ...] | None = None
    page: int = 0  # Page of a multi-page file or frame of an animation, counted from 0
    # Two percentiles, 0..100, that become black and white. None uses the defaults of this module.
    stretch: tuple[float, float] | None = None
    # Two values that become black and white, for all bands or for each. None for a band uses the
    # default of its type.
    ranges: Ranges | None = None
    raw: bool = False  # Return all channels with their stored values: (H, W, C) of any type
    # Return (H, W, 4) for an image with an alpha channel, instead of its colors on white
    alpha: bool = False

    @classmethod
    def of(
        cls,
        bands: int | Sequence[int] | None = None,
        page: int = 0,
        stretch: Sequence[float] | None = None,
        ranges: AnyRanges | None = None,
    ) -> ImageView:
        """Create a view from validated arguments. Raises InputError."""
        chosen = None if bands is None else _check_bands(bands)
        if type(page) is not int or page < 0:
            raise InputError(f"Invalid page {page!r}. Use a whole number of at least 0.")
        if ranges is not None and stretch is not None:
            raise InputError(
                "Options stretch (percentiles) and ranges (values) cannot be combined."
            )
        if stretch is None:
            count = 3 if chosen is None else len(chosen)
            return cls(chosen, page, None, None if ranges is None else _check_ranges(ranges, count))
        refuse_text("a list", stretch=stretch)
        ends = tuple(float(end) for end in stretch)
        if len(ends) != 2 or not 0 <= ends[0] < ends[1] <= 100:
            raise InputError(
                f"Invalid stretch {stretch!r}. Expected two percentiles from 0 to 100, as (2, 98)."
            )
        return cls(chosen, page, ends)

    @property
    def is_as_stored(self) -> bool:
        """Whether 8-bit values are unchanged."""
        return self.stretch is None and self.ranges is None and 0 not in (self.bands or ())

    @property
    def plain(self) -> bool:
        """Whether the image's own colors are used unchanged."""
        return not (self.raw or self.bands or self.stretch or self.ranges)

    @property
    def all_bands(self) -> bool:
        """Whether bands are read that the image's own colors do not include."""
        return self.raw or self.bands is not None


AS_IT_IS = ImageView()


def _check_bands(bands: int | Sequence[int]) -> tuple[int, ...]:
    chosen = (bands,) if isinstance(bands, int) else tuple(bands)
    least = 0 if len(chosen) == 3 and any(chosen) else 1
    if len(chosen) not in (1, 3) or any(type(band) is not int or band < least for band in chosen):
        raise InputError(
            f"Invalid bands {bands!r}. Expected one or three whole numbers, counted from 1, "
            "such as (3, 2, 1) for red, green, blue (0 for black)."
        )
    return chosen


def _check_ranges(ranges: AnyRanges, bands: int) -> Ranges:
    parsed: Ranges = ()
    with contextlib.suppress(TypeError, ValueError):
        given: list[Any] = list(ranges)
        each = [given] if given and isinstance(given[0], int | float) else given
        pairs = [None if pair is None else tuple(map(float, pair)) for pair in each]
        parsed = tuple(None if pair is None else (pair[0], pair[1]) for pair in pairs)
        if any(pair is not None and len(pair) != 2 for pair in pairs):
            parsed = ()
    right = all(-np.inf < low < high < np.inf for low, high in filter(None, parsed))
    if len(parsed) not in (1, bands) or not right:
        raise InputError(
            f"Invalid ranges {ranges!r}. Expected one pair (black, white) for all bands, or a pair "
            f"or None for each of the {bands} bands, such as ((200, 4000), None, (0, 900))."
        )
    return parsed


def array_to_image(
    source: ArrayLike, name: str = "the array", view: ImageView = AS_IT_IS
) -> UintImage:  # -> (H, W, 3)
    """Convert an array (H, W[, C]) of any number type to RGB.

    Args:
        source: Array. Without bands, C = 1 is gray, 2 gray + alpha, 3 RGB, 4 RGBA; with bands, C
            can be any number.
        name: Name for error messages.
        view: Bands and value range. A raw view returns the checked array (H, W, C).

    Raises:
        ImageError: The shape or type is not supported, a band does not exist, or NaN or infinity
            occur without a stretch.
    """
    array = _check_array(source, name, view)
    if view.raw:
        return array
    has_alpha = not view.bands and array.shape[2] in (2, 4)
    color, alpha = (array[..., :-1], array[..., -1]) if has_alpha else (array, None)
    black = [index for index, band in enumerate(view.bands or ()) if not band]
    if array.dtype == np.uint8 and array.shape[2] == 3 and view.is_as_stored:
        return np.ascontiguousarray(array)
    low: Ends
    high: Ends
    if view.ranges is not None:
        count = color.shape[2]
        if len(view.ranges) not in (1, count):
            raise ImageError(
                f"{name} has {counted(count, 'band')}, but {len(view.ranges)} ranges were "
                f"passed. Pass {'one range' if count == 1 else f'one range or {count}'}."
            )
        pairs = [
            composite_range(color[..., band : band + 1], name) if pair is None else pair
            for band, pair in enumerate(view.ranges * (count if len(view.ranges) == 1 else 1))
        ]
        low, high = np.array(pairs, np.float64).T
    elif view.stretch is not None:
        low, high = _band_ranges(color, name, view.stretch)
    else:
        low, high = value_range(color, name)
    image = np.empty((*array.shape[:2], 4 if view.alpha and alpha is not None else 3), np.uint8)
    alpha_range = (0.0, 1.0) if alpha is None else _alpha_range(alpha, name)
    for rows in strips((array.shape[0], array.shape[1])):
        image[rows, :, :3] = _eight_bit(color[rows], low, high)
        if alpha is not None:
            image[rows] = put_alpha(image[rows, :, :3], _eight_bit(alpha[rows], *alpha_range), view)
    image[..., black] = 0
    return image


def _check_array(source: ArrayLike, name: str, view: ImageView) -> NDArray[Any]:  # -> (H, W, C)
    try:
        array = np.asarray(source)
    except (TypeError, ValueError, RuntimeError) as error:
        tensor = " Pass image.detach().cpu().float().numpy()." if hasattr(source, "detach") else ""
        raise ImageError(f"Cannot convert {type(source).__name__} to an image.{tensor}") from error
    if array.dtype.kind not in "buif":
        raise ImageError(
            "Expected a path, bytes, a Pillow image or an array of real numbers, not "
            f"{type(source).__name__} ({array.dtype}). Convert it to a NumPy array (H, W, 3)."
        )
    if array.ndim == 2:
        array = array[..., None]
    if array.ndim == 3 and array.shape[2] and (view.all_bands or array.shape[2] <= 4):
        check_size((array.shape[0], array.shape[1]), name)
        if view.bands is None:
            return array
        count = array.shape[2]
        if max(view.bands) > count:
            raise ImageError(
                f"Band {max(view.bands)} does not exist: {name} has "
                f"{counted(count, 'band')}, numbered from 1."
            )
        if view.bands == tuple(range(1, count + 1)):
            return array
        some = next(band for band in view.bands if band)  # placeholder for black bands
        return array[..., [(band or some) - 1 for band in view.bands]]
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


def value_range(values: NDArray[Any], name: str) -> tuple[float, float]:
    """Return the two values that become 0 and 255."""
    if values.dtype == np.uint8:
        return (0.0, 255.0)
    least, most = float(values.min()), float(values.max())
    if not (np.isfinite(least) and np.isfinite(most)):
        raise ImageError(
            f"{name} contains NaN or infinity. Replace these values, for example with "
            "numpy.nan_to_num(image), or set value ranges: --stretch 2,98 "
            "(in Python stretch=(2, 98))"
        )
    scale = _color_range(values.dtype, least, most)
    if scale is not None and (values.dtype.kind != "f" or most >= _MIN_WHITE * scale[1]):
        return scale
    step = max(1, int(np.sqrt(values.shape[0] * values.shape[1] / _SAMPLE_PIXELS)))
    low, high = map(float, np.percentile(values[::step, ::step], PERCENTILES))
    if high <= low:  # all but a few pixels are equal
        low, high = least, most
    return (low, high) if high > low else (least, _above(least))


def composite_range(values: NDArray[Any], name: str) -> tuple[float, float]:
    """Return `value_range` of a band, or for noise alone values that draw nearly all of it black.

    The variance of the means of 4 x 4 pixels is 1/16 of that of white noise.
    """
    low, high = value_range(values, name)
    rows, columns = values.shape[0] // 4, values.shape[1] // 4
    if values.dtype == np.uint8 or rows * columns < _LEAST_BLOCKS:
        return low, high
    step = max(1, int(np.sqrt(16 * rows * columns / _SAMPLE_PIXELS)))
    blocks = values[: 4 * rows, : 4 * columns, 0].reshape(rows, 4, columns, 4)
    some = blocks[::step, :, ::step].astype(np.float64)
    if some.mean((1, 3)).var() >= _OF_NOISE * some.var():
        return low, high
    black = float(some.mean() + 3 * some.std())
    return black, max(float(values.max()), float(black + 6 * some.std()))


def _color_range(kind: np.dtype[Any], least: float, most: float) -> tuple[float, float] | None:
    """Return black and white of values that may be colors; None for other values."""
    if kind.kind in "bf" and least >= -0.1 and most <= 1.1:
        return (0.0, 1.0)
    if (kind.kind == "f" or kind.itemsize >= 4) and least >= -1 and most <= 256:
        return (0.0, 255.0)
    return None


def _band_ranges(
    values: NDArray[Any], name: str, stretch: tuple[float, float]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return two percentiles of the finite values of each band, (C,) each."""
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
    """White of a constant image: at least 1 more, or the next float if 1 more is not another."""
    return max(value + 1.0, float(np.nextafter(value, np.inf)))


def _alpha_range(alpha: NDArray[Any], name: str) -> tuple[float, float]:
    if alpha.dtype.kind in "ui":
        return (0.0, float(np.iinfo(alpha.dtype).max) if alpha.dtype.itemsize < 4 else 255.0)
    scale = _color_range(alpha.dtype, float(alpha.min()), float(alpha.max()))
    return scale or value_range(alpha, name)


def _eight_bit(values: NDArray[Any], low: Ends, high: Ends) -> UintImage:
    """Map low to 0 and high to 255; NaN becomes 0."""
    if values.dtype == np.uint8 and isinstance(low, float) and (low, high) == (0.0, 255.0):
        return values
    wide: NDArray[Any] = values.astype(np.float64 if values.dtype.itemsize > 2 else np.float32)
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        scaled = (wide - low) * (255.0 / np.subtract(high, low)) + 0.5
    return np.nan_to_num(np.clip(scaled, 0, 255), nan=0.0).astype(np.uint8)


def check_size(image_hw: tuple[int, int], name: str, most: int | None = None) -> None:
    """Raise ImageError for an empty image and for more than `most` pixels, or MAX_PIXELS."""
    height, width = image_hw
    if height < 1 or width < 1:
        raise ImageError(
            f"An image must have at least 1 x 1 pixel, but {name} has {width} x {height}."
        )
    most = most or MAX_PIXELS
    if height * width > most:
        raise ImageError(
            f"{name} has {width} x {height} pixels, but the limit is {most // 1000000} megapixels."
        )


def strips(image_hw: tuple[int, int]) -> Iterator[slice]:
    """Yield slices of rows that are small enough to convert at once."""
    height, width = image_hw
    step = max(1, _STRIP_PIXELS // width)
    return (slice(top, min(top + step, height)) for top in range(0, height, step))


def flatten(image: UintImage) -> UintImage:  # (H, W, 3 or 4) -> (H, W, 3)
    """Composite an image with an alpha channel on white. Others are returned unchanged."""
    if image.shape[2] == 3:
        return image
    flat = np.empty((*image.shape[:2], 3), np.uint8)
    for rows in strips((image.shape[0], image.shape[1])):
        flat[rows] = on_white(image[rows, :, :3], image[rows, :, 3])
    return flat


def put_alpha(
    color: UintImage, alpha: NDArray[np.uint8], view: ImageView
) -> UintImage:  # (h, w, 3), (h, w) -> (h, w, 3 or 4)
    """Add the alpha channel, or composite on white, as in `view`."""
    return np.dstack([color, alpha]) if view.alpha else on_white(color, alpha)


def on_white(color: UintImage, alpha: NDArray[np.uint8]) -> UintImage:  # (h, w, 3), (h, w)
    """Composite the colors on white, rounded to the nearest integer."""
    cover = alpha.astype(np.uint16)[..., None]
    mixed: NDArray[np.uint16] = (color * cover + 255 * (255 - cover) + 127) // 255
    return mixed.astype(np.uint8)


# Decoders for untrusted files. Pillow has forty more: EPS starts Ghostscript, which runs the
# PostScript inside, and a file may have any name. AVIF is last: Pillow before 11.3 lacks it.
TIFF_HEADS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # the last two: BigTIFF
_JP2 = b"\0\0\0\x0cjP  "  # the first bytes of a JPEG 2000 file
NO_ALPHA = "anymask_no_alpha"  # key of Image.info: the fourth band is not transparency
DECODERS = ("JPEG", "PNG", "BMP", "GIF", "PPM", "TIFF", "WEBP", "JPEG2000", "AVIF")


class _Limit:
    """Original pixel limit of Pillow, and the number of threads that have raised it."""

    def __init__(self) -> None:
        self.lock, self.users = threading.Lock(), 0
        self.usual: int | None = None


_limit = _Limit()


@contextmanager
def _our_limit() -> Iterator[None]:
    """Raise Pillow's process-wide limit to MAX_PIXELS inside the block."""
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
    """Convert any exception of a decoder to DamagedImageError.

    An ImportError of a missing decoder becomes MissingExtra.
    """
    try:
        with _our_limit():
            yield
    except AnymaskError:
        raise
    except Exception as error:  # decoders raise arbitrary exceptions on corrupted files
        if isinstance(error, ImportError) and (missing := missing_extra(error, f"reading {name}")):
            raise missing from None
        raise DamagedImageError(
            f"{name} is corrupted or truncated. Copy or download it again."
        ) from error


def open_header(file: Any) -> Image.Image:
    """Open an image without decoding pixels and without a size limit.

    Raises:
        UnidentifiedImageError: No allowed decoder supports the file.
        MissingExtra: A HEIC file without the package pi-heif.
    """
    head = read_head(file, 12)
    is_heic = head[4:8] == b"ftyp" and head[8:12] in HEIC
    if is_heic:
        try:
            import pi_heif
        except ImportError:
            raise MissingExtra("pi-heif", "heic", "a HEIC photo") from None
        pi_heif.register_heif_opener()
    formats = ("HEIF", *DECODERS) if is_heic else DECODERS
    shown, is_colourless = _with_colors(file)
    with _limit.lock:
        limit = Image.MAX_IMAGE_PIXELS
        Image.MAX_IMAGE_PIXELS = None
        try:
            image = Image.open(shown, formats=formats)
            if is_colourless:
                image.info[NO_ALPHA] = True
            return image
        except Exception as error:  # as in `decoding`
            raise UnidentifiedImageError from error
        finally:
            Image.MAX_IMAGE_PIXELS = limit


@contextmanager
def open_image(source: Path | bytes, name: str | None = None) -> Iterator[Image.Image]:
    """Open an image inside the `with` block without decoding its pixels.

    Args:
        source: Image file, or its bytes.
        name: Name for error messages. Defaults to the file name.

    Raises:
        ImageError: The file cannot be opened, is empty, declares more than MAX_PIXELS, or decoding
            it inside the `with` block fails.
    """
    name = name or (str(source) if isinstance(source, Path) else f"the image ({len(source)} bytes)")
    opened = open_file(source) if isinstance(source, Path) else io.BytesIO(source)
    with decoding(name), opened as file:
        try:
            image = open_header(file)
        except UnidentifiedImageError:
            raise unidentified(file, name) from None
        with image:
            check_size((image.height, image.width), name)
            yield image


def open_file(path: Path) -> io.BufferedReader:
    """Open a file for reading.

    Raises OSError, also for named pipes, which would block, and for invalid names.
    """
    try:
        if path.exists() and not path.is_file() and not path.is_dir():
            raise OSError("Not a regular file")
        return path.open("rb")
    except ValueError as error:  # a NUL in the name
        raise OSError(str(error)) from error


def read_head(file: Any, count: int, otherwise: bytes = b"") -> Any:
    """Read the first bytes of a file, or text in text mode; `otherwise` if it is not seekable."""
    try:
        file.seek(0)
        return file.read(count)
    except (OSError, ValueError, AttributeError):
        return otherwise


def is_tiff(file: Any) -> bool:
    """Return whether a file starts like a TIFF or a BigTIFF."""
    return read_head(file, 4) in TIFF_HEADS


def unidentified(file: Any, name: str) -> ImageError:
    """Return the error for a file that Pillow does not support: its type and how to convert it."""
    if not (head := read_head(file, INSPECTED_BYTES, b"?")):
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
    input_type = recognize_head(head)
    if head.startswith(TIFF_HEADS[:2]) or (input_type is not None and input_type.kind == "image"):
        return DamagedImageError(f"{name} is corrupted or truncated. Copy or download it again.")
    if input_type is not None:
        kind = "a supported image" if input_type.kind == "other" else "an image"
        remedy = input_type.remedy.replace("FILE", shown)
        return ImageError(f"{name} is {input_type.what}, not {kind}. {remedy}.")
    return DamagedImageError(
        f"{name} is not a supported image, or its first bytes are corrupted (it starts "
        f"with {head[:8]!r}). Expected JPEG, PNG, WebP, TIFF, ... Convert it to PNG, "
        "or in Python pass the pixels as an array."
    )


# Color profiles. All output is sRGB without a profile, so colors with a profile are converted on
# reading. An image without a profile, or with an sRGB profile, is unchanged.

_MODES = {"RGB ": "RGB", "CMYK": "CMYK", "GRAY": "L"}  # ICC.1 color space -> Pillow mode
ToSrgb = Callable[[Image.Image], Image.Image]


def to_srgb(image: Image.Image) -> ToSrgb | None:
    """Return a function that converts parts of an image to sRGB (mode RGB); None if not needed.

    Like browsers, it ignores profiles that are corrupted or for another color space than the
    pixels.
    """
    profile = image.info.get("icc_profile")
    if not isinstance(profile, bytes) or not profile:
        return None
    try:
        from PIL import ImageCms

        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if "srgb" in ImageCms.getProfileDescription(source).lower():
            return None
        mode = _MODES[source.profile.xcolor_space]
        if (mode == "CMYK") != (image.mode == "CMYK") or (
            (mode == "L") != (image.mode in ("1", "L", "LA", "La"))
        ):
            return None
        transform = ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB")
    except Exception:  # LittleCMS raises arbitrary exceptions on corrupted profiles
        return None

    def convert(part: Image.Image) -> Image.Image:
        plain = part if part.mode == mode else part.convert(mode)
        return ImageCms.applyTransform(plain, transform) or plain

    return convert


# JPEG 2000 files without colors. GDAL declares bands without a color interpretation as grayscale,
# whatever their number: Pillow then fails on three and treats the fourth of four as transparency.
# Layout: ISO/IEC 15444-1, annex I.

_MAX_BANDS = 4  # that Pillow supports in a JPEG 2000 file
_HEADER_BYTES = 4096  # bytes that hold the header
_SRGB, _GRAY = b"\0\0\0\x10", b"\0\0\0\x11"
_ENUMERATED = b"colr\1"  # box of an enumerated color space


def _count_bands(head: bytes) -> int:
    """Return the number of bands that a JP2 file declares; 0 for other files."""
    at = head.find(b"ihdr") if head.startswith(_JP2) else -1
    return int.from_bytes(head[at + 12 : at + 14], "big") if at > 0 else 0


def _with_colors(file: Any) -> tuple[Any, bool]:
    """Declare the first three bands as RGB if needed; return the file and whether it changed."""
    head = read_head(file, _HEADER_BYTES)
    at = head.find(_ENUMERATED) + 7 if isinstance(head, bytes) else 0
    if at < 7 or head[at : at + 4] != _GRAY or _count_bands(head) < 3 or b"cdef" in head[: at + 57]:
        return file, False
    return io.BytesIO(head[:at] + _SRGB + head[at + 4 :] + file.read()), True
