"""Any picture that a user may hand us -> (H, W, 3) uint8 RGB.

Letters: H W the picture, C channels.

- Files, bytes and Pillow images are turned upright as their EXIF tag says, as every viewer does;
  coordinates are those of the upright picture. Arrays carry no tag and are taken as they lie.
- Grey becomes three equal channels. Transparency is laid on white. Of several frames or pages the
  first one is taken. CMYK and other colour spaces are converted by Pillow without colour profiles.
- uint8 stays as it is. bool becomes 0 and 255. Floats within 0..1 are scaled by 255; floats and
  32 or 64 bit integers within 0..255 are rounded; everything else (16-bit sensors, heights,
  X-rays) is stretched from its 0.1th to its 99.9th percentile, all channels together.

A photo of 100 megapixels is 300 MB here. The conversions work in strips, so that no float copy of
it is ever made, and none beside the one that Pillow decodes into.
"""

from __future__ import annotations

import io
import os
import struct
import threading
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, UnidentifiedImageError

from anymask.primitives.errors import ImageError
from anymask.primitives.types import BoolArray, UintImage

ImageSource = str | Path | bytes | bytearray | memoryview | BinaryIO | Image.Image | ArrayLike

MAX_PIXELS = 200_000_000  # of the decoded picture: 600 MB as RGB
PERCENTILES = (0.1, 99.9)  # of a stretch: a few hot or dead pixels do not count
SUFFIXES = frozenset(  # that `find_images` looks for
    [".avif", ".bmp", ".gif", ".jfif", ".jp2", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif"]
) | {".tiff", ".webp"}

_STRIP_PIXELS = 4_000_000
_SAMPLE_PIXELS = 2_000_000  # of a large picture, that the percentiles are read from
_ORIENTATION = 0x0112  # the EXIF tag
_DECODING_ERRORS = (  # what Pillow's decoders raise on damaged files
    OSError, SyntaxError, ValueError, TypeError, AttributeError, ArithmeticError, LookupError,
    EOFError, RuntimeError, MemoryError, struct.error, zlib.error, Image.DecompressionBombError,
)  # fmt: skip
_header_lock = threading.Lock()


def load_image(source: ImageSource) -> UintImage:  # -> (H, W, 3)
    """Read one picture.

    source  path, bytes of a file, open binary file, Pillow image, or array (H, W[, C]) with
            C = 1 grey, 2 grey + alpha, 3 RGB, 4 RGBA, of any number type

    Raises ImageError, naming the file, when the source is absent, empty, truncated, no picture,
    without pixels, larger than MAX_PIXELS, not finite, or an array of another shape.
    """
    if isinstance(source, str | Path):
        return _load_file(Path(source))
    if isinstance(source, bytes | bytearray | memoryview):
        return _load_stream(io.BytesIO(source), f"the {len(source)} bytes given")
    if isinstance(source, Image.Image):
        pixels = _pillow_to_array(source, "the Pillow image")
        return _upright(pixels, _orientation(source))
    if hasattr(source, "read"):
        name = getattr(source, "name", None)
        return _load_stream(source, repr(name) if isinstance(name, str) else "the file object")
    return array_to_image(source)


def load_mask(path: str | Path) -> NDArray[Any]:  # -> (H, W)
    """Read a mask: an array file (.npy: bool, integers or float logits), or a picture.

    Where a picture is see-through somewhere, what can be seen is the object; in any other one,
    what is more than half as bright as its brightest pixel.

    Raises ImageError as `load_image` does.
    """
    path = Path(path)
    if path.suffix.lower() == ".npy":
        try:
            return np.asarray(np.load(path, allow_pickle=False))
        except (OSError, ValueError, EOFError) as error:
            raise ImageError(f"{str(path)!r} is no readable array file ({error})") from error
    brightness: NDArray[np.uint8] = load_image(path).max(axis=2)
    with Image.open(path) as picture:
        if _has_alpha(picture):
            turned = np.asarray(picture.convert("RGBA").getchannel("A"))
            alpha = _upright(turned, _orientation(picture))
            brightness = brightness if alpha.all() else alpha
    mask: BoolArray = brightness > int(brightness.max()) // 2
    return mask


def find_images(
    folder: Path,
    leave_out: Path | None = None,
    unreadable: Callable[[OSError], None] | None = None,
) -> Iterator[Path]:
    """The pictures in a folder, then those in its sub-folders, in order, as they are found.

    leave_out   a folder that is not looked into
    unreadable  told of each folder that cannot be listed; without it they are passed over

    Hidden files and folders, and links to folders, are left out; a link that leads nowhere is not,
    so that somebody notices.
    """
    out = None if leave_out is None else leave_out.resolve()
    for here, inside, names in os.walk(folder, onerror=unreadable):
        inside[:] = sorted(
            name
            for name in inside
            if not name.startswith(".") and (out is None or Path(here, name).resolve() != out)
        )
        for name in sorted(names):
            path = Path(here, name)
            if path.suffix.lower() not in SUFFIXES or name.startswith("."):
                continue
            if path.is_file() or not path.exists():  # no pipe, which would be waited for
                yield path


# Files.


def _load_file(path: Path) -> UintImage:
    name = repr(str(path))
    try:
        with path.open("rb") as file:
            return _load_stream(file, name)
    except FileNotFoundError:
        raise ImageError(f"there is no file {name}; check the path") from None
    except OSError as error:
        if path.is_dir():
            raise ImageError(f"wanted one picture, {name} is a folder; name a file in it") from None
        raise ImageError(
            f"{name} cannot be read ({error.strerror or error}); check the path and its permissions"
        ) from error


def _load_stream(file: Any, name: str) -> UintImage:
    try:
        picture = _open_header(file)
    except UnidentifiedImageError:
        raise ImageError(_unidentified(file, name)) from None
    try:
        pixels = _pillow_to_array(picture, name)
        turns = _orientation(picture)  # after the size was checked: a PNG is decoded to look
    finally:
        picture.close()  # gives back its copy of the pixels, which leaving a `with` would not
    return _upright(pixels, turns)


def _open_header(file: Any) -> Image.Image:
    """Read a picture's header only, without Pillow's own size limit, which is below ours."""
    with _header_lock:
        limit = Image.MAX_IMAGE_PIXELS
        Image.MAX_IMAGE_PIXELS = None
        try:
            return Image.open(file)
        except _DECODING_ERRORS as error:
            raise UnidentifiedImageError(str(error)) from error
        finally:
            Image.MAX_IMAGE_PIXELS = limit


def _unidentified(file: Any, name: str) -> str:
    """What to tell about a file that Pillow does not know."""
    try:
        file.seek(0)
        head = file.read(64)
    except (OSError, ValueError, AttributeError):
        head = b"?"
    if not head:
        return f"{name} is empty (0 bytes); copy or download the picture again"
    return (
        f"wanted a picture (JPEG, PNG, WebP, TIFF, ...), {name} is none, or its first bytes are "
        f"damaged (it begins with {head[:8]!r}); convert it to PNG, or pass the pixels as an array"
    )


def _orientation(picture: Image.Image) -> int:
    """The EXIF orientation 1..8; 1 (upright) where the tag is absent or damaged."""
    try:
        value = picture.getexif().get(_ORIENTATION, 1)
    except _DECODING_ERRORS:
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _upright(image: UintImage, orientation: int) -> UintImage:
    """Undo what EXIF orientation 2..8 says that the camera did (EXIF 2.3, tag 0x0112)."""
    if orientation >= 5:
        image = image.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        image = image[:, ::-1]
    if orientation in (3, 4, 7, 8):
        image = image[::-1]
    return np.ascontiguousarray(image)


# Pillow images.


def _pillow_to_array(picture: Image.Image, name: str) -> UintImage:  # -> (H, W, 3)
    width, height = picture.size
    _check_size((height, width), name)
    try:
        picture.load()
        if picture.mode[0] in "IF":  # 16 or 32 bits a pixel
            return array_to_image(np.asarray(picture), name)
        image = np.empty((height, width, 3), np.uint8)
        for rows in _strips((height, width)):
            part = picture.crop((0, rows.start, width, rows.stop))
            if _has_alpha(picture):
                straight = part.convert("LA") if part.mode == "La" else part
                layers = np.asarray(straight.convert("RGBA"))
                image[rows] = _on_white(layers[..., :3], layers[..., 3])
            else:
                image[rows] = np.asarray(part.convert("RGB"))
        return image
    except ImageError:
        raise
    except _DECODING_ERRORS as error:
        raise ImageError(
            f"{name} is damaged or truncated ({str(error) or type(error).__name__}); "
            "copy or download the picture again"
        ) from error


def _check_size(image_hw: tuple[int, int], name: str) -> None:
    height, width = image_hw
    if height < 1 or width < 1:
        raise ImageError(f"wanted at least 1 x 1 pixel; {name} has {width} x {height}")
    if height * width > MAX_PIXELS:
        raise ImageError(
            f"wanted at most {MAX_PIXELS // 1_000_000} megapixels; {name} has {width} x {height}; "
            "make it smaller or cut it into tiles first"
        )


def _strips(image_hw: tuple[int, int]) -> Iterator[slice]:
    """Rows that are few enough to convert at once."""
    height, width = image_hw
    step = max(1, _STRIP_PIXELS // width)
    return (slice(top, min(top + step, height)) for top in range(0, height, step))


def _has_alpha(picture: Image.Image) -> bool:
    return picture.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in picture.info


def _on_white(colour: UintImage, alpha: NDArray[np.uint8]) -> UintImage:  # (h, w, 3), (h, w)
    """The colours over white paper, rounded to the nearest."""
    cover = alpha.astype(np.uint16)[..., None]
    mixed: NDArray[np.uint16] = (colour * cover + 255 * (255 - cover) + 127) // 255
    return mixed.astype(np.uint8)


# Arrays.


def array_to_image(source: ArrayLike, name: str = "the array") -> UintImage:  # -> (H, W, 3)
    """(H, W[, C]) of any number type -> RGB; `name` is what an error calls it.

    Raises ImageError for another shape, values that are no real numbers, NaN and infinity.
    """
    array = _checked_array(source, name)
    colour, alpha = _split_alpha(array)
    low, high = _value_range(colour, name)
    if array.dtype == np.uint8 and array.shape[2] == 3:
        return np.ascontiguousarray(array)
    image = np.empty((*array.shape[:2], 3), np.uint8)
    alpha_range = (0.0, 1.0) if alpha is None else _alpha_range(alpha, name)
    for rows in _strips((array.shape[0], array.shape[1])):
        image[rows] = _eight_bit(colour[rows], low, high)
        if alpha is not None:
            image[rows] = _on_white(image[rows], _eight_bit(alpha[rows], *alpha_range))
    return image


def _checked_array(source: ArrayLike, name: str) -> NDArray[Any]:  # -> (H, W, C)
    try:
        array = np.asarray(source)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ImageError(f"wanted an image, got {type(source).__name__} ({error})") from error
    if array.dtype.kind not in "buif":
        raise ImageError(
            f"wanted a path, bytes, a Pillow image or an array of real numbers; got "
            f"{type(source).__name__} ({array.dtype}); convert it to a numpy array (H, W, 3)"
        )
    if array.ndim == 2:
        array = array[..., None]
    if array.ndim == 3 and 1 <= array.shape[2] <= 4:
        _check_size((array.shape[0], array.shape[1]), name)
        return array
    remedy = "choose 3 of its bands: image[..., :3]"
    if array.ndim == 4:
        remedy = "pass one image at a time"
    elif array.ndim == 3 and 1 <= array.shape[0] <= 4:
        remedy = "put the channels last: image.transpose(1, 2, 0)"
    elif array.ndim < 2 or array.ndim > 4:
        remedy = "give it rows and columns"
    raise ImageError(
        f"wanted an image (H, W) or (H, W, C) with 1 to 4 channels; {name} has the shape "
        f"{array.shape}; {remedy}"
    )


def _split_alpha(array: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """(H, W, C) -> colour (H, W, 1 or 3) and alpha (H, W), None without."""
    if array.shape[2] in (2, 4):
        return array[..., :-1], array[..., -1]
    return array, None


def _value_range(values: NDArray[Any], name: str) -> tuple[float, float]:
    """The two values that become 0 and 255."""
    if values.dtype == np.uint8:
        return (0.0, 255.0)
    least, most = float(values.min()), float(values.max())
    if not (np.isfinite(least) and np.isfinite(most)):
        raise ImageError(
            f"wanted finite numbers, {name} holds NaN or infinity; replace them first, "
            "for example numpy.nan_to_num(image)"
        )
    if values.dtype.kind in "bf" and least >= -0.1 and most <= 1.1:
        return (0.0, 1.0)
    if (values.dtype.kind == "f" or values.dtype.itemsize >= 4) and least >= -1 and most <= 256:
        return (0.0, 255.0)
    return _stretch(values, least, most)


def _stretch(values: NDArray[Any], least: float, most: float) -> tuple[float, float]:
    """The percentiles, of every n-th row and column of a large picture."""
    step = max(1, int(np.sqrt(values.shape[0] * values.shape[1] / _SAMPLE_PIXELS)))
    low, high = np.percentile(values[::step, ::step], PERCENTILES)
    if high <= low:  # all but a few pixels are equal
        low, high = least, most
    return (float(low), float(high)) if high > low else (least, least + 1.0)


def _alpha_range(alpha: NDArray[Any], name: str) -> tuple[float, float]:
    if alpha.dtype.kind in "ui":
        return (0.0, float(np.iinfo(alpha.dtype).max) if alpha.dtype.itemsize < 4 else 255.0)
    return _value_range(alpha, name)


def _eight_bit(values: NDArray[Any], low: float, high: float) -> UintImage:
    if values.dtype == np.uint8 and (low, high) == (0.0, 255.0):
        return values
    wide: NDArray[Any] = values.astype(np.float64 if values.dtype.itemsize > 2 else np.float32)
    scaled = (wide - low) * (255.0 / (high - low)) + 0.5
    eight: UintImage = np.clip(scaled, 0, 255).astype(np.uint8)
    return eight
