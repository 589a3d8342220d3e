"""Read mask images with their stored values: label numbers, palette indices or colors, and alpha.

Values are neither scaled nor inverted, unlike those of photos: a TIFF whose white is 0 keeps its
values, and a palette image keeps its indices. `mask_values` interprets them.

Letters: H W the image, K colors of a palette.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from anymask.base import DataError, ImageError, UintImage, brief, read_array
from anymask.images.decoding import (
    AS_IT_IS,
    ImageView,
    check_size,
    decoding,
    is_tiff,
    open_file,
    open_header,
    read_head,
    unidentified,
)
from anymask.images.load import open_path, orientation_of, upright
from anymask.images.mask_values import MaskPixels, MaskValues, interpret
from anymask.images.tiff import needs_tifffile, read_deep_colors, read_tiff

_BITS, _COMPRESSION, _PHOTOMETRIC, _WHITE_IS_ZERO = 258, 259, 262, 0  # tags of TIFF 6.0
_LOSSY_TIFF = (6, 7, 34892, 50001)  # old and new JPEG; lossy JPEG; WebP
_LOSSY = frozenset(["JPEG", "MPO", "AVIF", "HEIF"])
_WEBP_HEAD = 16384  # bytes that contain the start of the pixel chunk, even after a color profile
_GRAY_MODES = ("1", "L", "I", "I;16", "I;16B", "I;16L", "I;16N", "F")


@brief
@dataclass(frozen=True, eq=False)
class MaskImage:
    """Interpreted values of a mask image."""

    values: NDArray[Any]  # (H, W) integers, 0 for background
    colored: bool = False  # Whether the values are colors: red * 65536 + green * 256 + blue
    indexed: bool = False  # Whether the values are palette indices


def read_mask_image(
    source: Path | bytes, mask_values: MaskValues = "auto", name: str = ""
) -> MaskImage:
    """Read a mask image of any format.

    Args:
        source: Image file, or its bytes.
        mask_values: "labels": each value is an object. "binary": one object, at least half of
            white. "colors": each color is an object, black is background. "auto": detect the
            interpretation.
        name: Name for error messages. Defaults to the file name.

    Raises:
        ImageError: The image cannot be read as a mask.
        AmbiguousMaskError: "auto" cannot determine the interpretation.
    """
    name = name or (repr(str(source)) if isinstance(source, Path) else "the mask image")
    with io.BytesIO(source) if isinstance(source, bytes) else open_path(source) as file:
        stored = _read_stored(file, name)
    values, colored = interpret(stored, mask_values, name)
    return MaskImage(values, colored, indexed=stored.palette is not None and not colored)


def _read_stored(file: Any, name: str) -> MaskPixels:
    try:
        image = open_header(file)
    except UnidentifiedImageError:
        if is_tiff(file):
            return _by_tifffile(file, name)
        raise unidentified(file, name) from None
    with decoding(name), image:
        if needs_tifffile(image, AS_IT_IS):
            return _by_tifffile(file, name)
        check_size((image.height, image.width), name)
        if (pages := getattr(image, "n_frames", 1)) > 1:
            raise ImageError(
                f"{name} has {pages} pages, but a mask image must have one. Save each page alone."
            )
        if image.format == "WEBP":
            lossy = b"VP8L" not in read_head(file, _WEBP_HEAD)
        else:
            kind = getattr(image, "tag_v2", {}).get(_COMPRESSION)
            lossy = image.format in _LOSSY or kind in _LOSSY_TIFF
        deep = read_deep_colors(image, file, 0)
        image.load()
        turns, alpha = orientation_of(image), _alpha_of(image)
        palette: UintImage | None = None
        if deep is not None and (deep[..., :3] == deep[..., :1]).all():
            values = deep[..., 0]
        elif image.mode in _GRAY_MODES:
            values = _numbers(image)
        elif image.mode in ("P", "PA"):
            flat = image.getpalette("RGB") or []
            palette = np.zeros((256, 3), np.uint8)
            palette[: len(flat) // 3] = np.reshape(flat, (-1, 3))
            values = np.asarray(image if image.mode == "P" else image.getchannel("P"))
        elif image.mode in ("LA", "La"):
            values = np.asarray(image.convert("LA").getchannel("L"))
        else:
            values = np.asarray(image.convert("RGBA" if alpha is not None else "RGB"))[..., :3]
        return MaskPixels(
            upright(values, turns), palette, None if alpha is None else upright(alpha, turns), lossy
        )


def _by_tifffile(file: Any, name: str) -> MaskPixels:
    deep = read_tiff(file, name, ImageView(raw=True))
    pixels = upright(deep.pixels, deep.orientation)
    channels = pixels.shape[2]
    if channels not in (1, 3, 4):
        raise ImageError(
            f"{name} has {channels} bands. A mask image must have 1 band, or 3 for colors."
        )
    if channels == 1:
        return MaskPixels(pixels[..., 0])
    colors = pixels[..., :3]
    if (colors == colors[..., :1]).all():
        return MaskPixels(colors[..., 0])
    if colors.dtype.itemsize > 1:
        raise ImageError(f"{name} has colors with more than 8 bits. Save it with 8 bits.")
    return MaskPixels(colors)


def _numbers(image: Image.Image) -> NDArray[Any]:  # (H, W)
    """Return the stored values; Pillow inverts a TIFF of at most 8 bits whose white is 0."""
    values: NDArray[Any] = np.asarray(image)
    values = values.astype(np.uint8 if image.mode == "1" else values.dtype.newbyteorder("="))
    tags = getattr(image, "tag_v2", {})
    if image.mode not in ("1", "L") or not tags:
        return values
    bits = max(tags.get(_BITS, (1,)))
    if image.mode == "L" and bits < 8:  # Pillow scales 2 and 4 bits to 0..255
        values = values // (255 // ((1 << bits) - 1))
    if tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO:
        values = np.uint8((1 << bits) - 1) - values
    return values


def _alpha_of(image: Image.Image) -> UintImage | None:  # (H, W)
    """Return the alpha channel; None if all pixels are opaque."""
    if image.mode not in ("RGBA", "LA", "PA", "RGBa", "La") and ("transparency" not in image.info):
        return None
    straight = image.convert("LA") if image.mode == "La" else image
    alpha = np.asarray(straight.convert("RGBA").getchannel("A"))
    return None if alpha.min(initial=255) == 255 else alpha


def load_mask(path: str | Path, mask_values: MaskValues = "auto") -> NDArray[Any]:  # -> (H, W)
    """Read the mask of one object from an image or an array file.

    In an image with transparency, visible pixels are the object; in other images, pixels of at
    least half of white. Soft edges are logged.

    Args:
        path: Image, or .npy file with bool, integers or float logits.
        mask_values: Interpretation of an image's values, as in `read_mask_image`.

    Raises:
        ImageError: The file cannot be read, is a photo, or contains several objects.
    """
    path = Path(path)
    if path.suffix.lower() == ".npy":
        try:
            with open_file(path) as file:
                return read_array(file)
        except (OSError, DataError) as error:
            raise ImageError(
                f"{str(path)!r} is not a readable array file. Save it again with numpy.save."
            ) from error
    mask = read_mask_image(path, mask_values)
    if (count := int(np.count_nonzero(np.unique(mask.values)))) > 1 and mask_values == "auto":
        raise ImageError(
            f"{str(path)!r} contains {count} objects, which differ in color or value, but one is "
            'required. Pass --mask-values binary (in Python mask_values="binary") to merge them.'
        )
    return mask.values > 0
