"""Pictures in every format that Pillow can write, by the suffix of their file.

Light to import: the command line asks for suffixes before anything else is loaded.
"""

from __future__ import annotations

from typing import Any, BinaryIO

from anymask.base import InputError

TRANSPARENT = {".png": "PNG", ".webp": "WEBP", ".tif": "TIFF", ".tiff": "TIFF", ".avif": "AVIF"}
OPAQUE = {".jpg": "JPEG", ".jpeg": "JPEG", ".bmp": "BMP", ".ppm": "PPM"}
_OF_OTHERS = ("BUFR", "GRIB", "HDF5", "WMF")  # that Pillow hands to other packages, or nobody
_MODES = {"L": ("1", "RGB", "P"), "RGB": ("P",)}  # of formats that do not take the pixels' own
_COMPRESSION = 3  # of PNG files: twice as fast as the usual 6, a tenth larger
_OPTIONS: dict[str, dict[str, Any]] = {
    "PNG": {"compress_level": _COMPRESSION},
    "JPEG": {"quality": 92},
    "WEBP": {"lossless": True},
    "AVIF": {"quality": 95},
    "TIFF": {"compression": "tiff_deflate"},
}


def picture_format(suffix: str) -> str | None:
    """Pillow's name of the format of a suffix with its dot, where Pillow can write it."""
    known = TRANSPARENT | OPAQUE
    if suffix in known:
        return known[suffix]
    from PIL import Image

    found = Image.registered_extensions().get(suffix)
    return found if found in Image.SAVE and found not in _OF_OTHERS else None


def save_picture(file: BinaryIO, pixels: Any, suffix: str = ".png") -> None:
    """Write (H, W[, C]) uint8 in the format of a suffix, in the first mode that the format takes.

    Raises InputError where it takes none.
    """
    from PIL import Image

    kind, picture = picture_format(suffix), Image.fromarray(pixels)
    first: Exception | None = None
    for mode in (picture.mode, *_MODES.get(picture.mode, ())):
        start = file.tell() if file.seekable() else 0
        try:
            shown = picture if mode == picture.mode else picture.convert(mode)
            shown.save(file, kind, **_OPTIONS.get(kind or "", {}))
            return
        except (OSError, ValueError, KeyError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise  # the disk
            first = first or error
        if file.seekable():
            file.seek(start)
            file.truncate()
    raise InputError(
        f"An image of {pixels.shape[1]} x {pixels.shape[0]} pixels cannot be saved as {suffix}. "
        "Use .png instead."
    ) from first
