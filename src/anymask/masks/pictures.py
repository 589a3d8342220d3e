"""Save images in every format that Pillow writes, selected by file suffix.

Light to import, because the command line requires the suffixes at startup.
"""

from __future__ import annotations

from typing import Any, BinaryIO

from anymask.base import InputError

TRANSPARENT = {".png": "PNG", ".webp": "WEBP", ".tif": "TIFF", ".tiff": "TIFF", ".avif": "AVIF"}
OPAQUE = {".jpg": "JPEG", ".jpeg": "JPEG", ".bmp": "BMP", ".ppm": "PPM"}
_OF_OTHERS = ("BUFR", "GRIB", "HDF5", "WMF")  # formats that require other packages
_MODES = {"L": ("1", "RGB", "P"), "RGB": ("P",)}  # fallback modes of formats
_COMPRESSION = 3  # PNG: twice as fast as the default 6, a tenth larger
_OPTIONS: dict[str, dict[str, Any]] = {
    "PNG": {"compress_level": _COMPRESSION},
    "JPEG": {"quality": 92},
    "WEBP": {"lossless": True},
    "AVIF": {"quality": 95},
    "TIFF": {"compression": "tiff_deflate"},
}


def picture_format(suffix: str) -> str | None:
    """Pillow's format name for a suffix (with its dot), or None if Pillow cannot write it."""
    known = TRANSPARENT | OPAQUE
    if suffix in known:
        return known[suffix]
    from PIL import Image

    found = Image.registered_extensions().get(suffix)
    return found if found in Image.SAVE and found not in _OF_OTHERS else None


def save_picture(file: BinaryIO, pixels: Any, suffix: str = ".png") -> None:
    """Write (H, W[, C]) uint8 in the format of a suffix, in the first supported mode.

    Transparent pixels are white in formats without alpha.

    Raises:
        InputError: The format supports no mode of these pixels.
    """
    from PIL import Image

    kind, picture = picture_format(suffix), Image.fromarray(pixels)
    if picture.mode == "RGBA" and suffix not in TRANSPARENT:
        white = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(white, picture).convert("RGB")
    first: Exception | None = None
    for mode in (picture.mode, *_MODES.get(picture.mode, ())):
        start = file.tell() if file.seekable() else 0
        try:
            shown = picture if mode == picture.mode else picture.convert(mode)
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
