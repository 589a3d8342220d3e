"""Images of masks: references to them, previews for notebooks, and files by suffix.

The display hooks are IPython's `_repr_png_` and `_repr_html_`. OpenCV and Pillow are imported in
functions, because the command line requires the suffixes at startup.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, BinaryIO, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from anymask.base import AnymaskError, InputError, UintImage

TRANSPARENT = {".png": "PNG", ".webp": "WEBP", ".tif": "TIFF", ".tiff": "TIFF", ".avif": "AVIF"}
OPAQUE = {".jpg": "JPEG", ".jpeg": "JPEG", ".bmp": "BMP", ".ppm": "PPM"}
_OF_OTHERS = ("BUFR", "GRIB", "HDF5", "WMF")  # formats that require other packages
_FALLBACK_MODES = {"L": ("1", "RGB", "P"), "RGB": ("P",)}  # fallback modes of formats
_OPTIONS: dict[str, dict[str, Any]] = {
    "PNG": {"compress_level": 3},  # twice as fast as the default 6, a tenth larger
    "JPEG": {"quality": 92},
    "WEBP": {"lossless": True},
    "AVIF": {"quality": 95},
    "TIFF": {"compression": "tiff_deflate"},
}


def image_format(suffix: str) -> str | None:
    """Pillow's format name for a suffix (with its dot), or None if Pillow cannot write it."""
    known = TRANSPARENT | OPAQUE
    if suffix in known:
        return known[suffix]

    name = Image.registered_extensions().get(suffix)
    return name if name in Image.SAVE and name not in _OF_OTHERS else None


def save_image(file: BinaryIO, pixels: Any, suffix: str = ".png") -> None:
    """Write (H, W[, C]) uint8 in the format of a suffix, in the first supported mode.

    Transparent pixels are white in formats without alpha.

    Raises:
        InputError: The format supports no mode of these pixels.
    """

    kind, image = image_format(suffix), Image.fromarray(pixels)
    if image.mode == "RGBA" and suffix not in TRANSPARENT:
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    first: Exception | None = None
    for mode in (image.mode, *_FALLBACK_MODES.get(image.mode, ())):
        start = file.tell() if file.seekable() else 0
        try:
            shown = image if mode == image.mode else image.convert(mode)
            shown.save(file, kind, **_OPTIONS.get(kind or "", {}))
            return
        except (OSError, ValueError, KeyError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise  # an error of the disk, not of the mode
            first = first or error
        if file.seekable():
            file.seek(start)
            file.truncate()
    raise InputError(
        f"An image of {pixels.shape[1]} x {pixels.shape[0]} pixels cannot be saved as {suffix}. "
        "Use .png instead."
    ) from first


PREVIEW_SIDE = 800  # maximum length of the longest side in pixels


class LazyImage(Protocol):
    """Lazily loaded image of a result; `name` is its file name."""

    @property
    def name(self) -> str: ...

    @property
    def georeferenced(self) -> bool: ...

    def __call__(self) -> UintImage:  # (H, W, 3)
        ...

    def with_alpha(self) -> UintImage:  # (H, W, 3), or (H, W, 4) with an alpha channel
        ...


@dataclass(frozen=True, eq=False)
class ImageInMemory:
    """Image in memory; other images are read from their file."""

    pixels: UintImage  # Image (H, W, 3) uint8
    name: str = "photo.jpg"  # File name of the image
    values: NDArray[Any] | None = None  # Original array (H, W[, C]) of any number type, or None
    layered: UintImage | None = None  # Image with its alpha channel (H, W, 4) uint8, if it has one
    georeferenced: bool = False  # Whether it was read from a georeferenced image

    def __repr__(self) -> str:
        height, width = self.pixels.shape[:2]
        return f"<ImageInMemory: {self.name!r}, {width}x{height}>"

    def __call__(self) -> UintImage:
        return self.pixels

    def with_alpha(self) -> UintImage:  # (H, W, 3 or 4)
        return self.pixels if self.layered is None else self.layered


# Georeferenced image whose pixels are no longer known.
UNKNOWN_MAP = ImageInMemory(np.zeros((0, 0, 3), np.uint8), georeferenced=True)


def counted(number: int, thing: str) -> str:
    """ "1 mask", "2 masks"."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def without_pixels(image: LazyImage | None) -> LazyImage | None:
    """The reference to an image, unless it is in memory."""
    if not isinstance(image, ImageInMemory):
        return image
    return UNKNOWN_MAP if image.georeferenced else None


def same_image(one: LazyImage, other: LazyImage) -> bool:
    """Whether both are the same file, or the same array in memory."""
    if isinstance(one, ImageInMemory) and isinstance(other, ImageInMemory):
        return one.pixels is other.pixels
    return one == other


def percent(share: float) -> str:
    """Format a share 0..1: "13 %", "2.4 %", "under 0.1 %"."""
    value = 100 * share
    if 0 < value < 0.1:
        return "under 0.1 %"
    return f"{value:.1f} %" if 0 < value < 9.95 else f"{value:.0f} %"


def image_of(
    given: UintImage | None, source_image: LazyImage | None, image_hw: tuple[int, int]
) -> UintImage:
    """Return the image passed by the user, or that of the result.

    Raises:
        InputError: No image is known, or it has another size.
    """
    image = given if given is not None else source_image() if source_image is not None else None
    if image is None or getattr(image, "size", None) == 0:
        raise InputError(
            "The image of these masks is unknown, because they were predicted from an embedding. "
            "Pass image=anymask.load_image(PATH)."
        )
    value: object = image
    if not isinstance(value, np.ndarray) or value.ndim != 3 or value.dtype != np.uint8:
        raise InputError(
            "Invalid image. Pass an array (H, W, 3) of uint8, as from anymask.load_image(PATH). "
            f"Given: {type(image).__name__}."
        )
    if image.shape[:2] != image_hw:
        raise InputError(
            f"The masks have the size (height, width) = {image_hw}, but the image has "
            f"{image.shape[:2]}. Pass the image to which the masks belong as image=."
        )
    return image


def preview_png(image: UintImage) -> bytes:
    """Encode as PNG, downscaled to at most PREVIEW_SIDE pixels."""
    import cv2

    height, width = image.shape[:2]
    scale = min(1.0, PREVIEW_SIDE / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = image if scale == 1 else cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    data = io.BytesIO()
    Image.fromarray(np.asarray(small, np.uint8)).save(data, "PNG")
    return data.getvalue()


def preview_of(draw: Callable[[], UintImage]) -> bytes | None:
    """PNG of a drawing, or None if the image can no longer be read."""
    try:
        return preview_png(draw())
    except (AnymaskError, OSError):
        return None


def show_image(image: UintImage) -> None:
    """Open an image in the system's viewer, as Pillow does."""

    Image.fromarray(image).show()
