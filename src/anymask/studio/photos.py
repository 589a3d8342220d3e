"""Photos in requests: bytes or base64 from a client in, a checked picture out.

The header is read first, by decoders of picture formats alone: no scripts (EPS), no documents, no
stacks of bands or pages that unfold into more than the header says.
"""

from __future__ import annotations

import base64
import binascii
import io

from PIL import Image

from anymask.base import UintImage
from anymask.images import PictureView, load_image, needs_tifffile
from anymask.studio.limits import Limits
from anymask.studio.refusals import Refusal

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "AVIF", "JPEG2000", "PPM")
_BOMBS = (Image.DecompressionBombError, Image.DecompressionBombWarning)


def read_photo(body: bytes, limits: Limits) -> UintImage:  # -> (H, W, 3)
    """Decode one picture.

    Raises Refusal: 400 for no bytes, 413 for too many bytes or pixels, 415 for what is no picture
    that a server takes; ImageError for a damaged one.
    """
    if not body:
        raise Refusal(400, "the bytes of a picture", "an empty body", "send the file's content")
    check_bytes(len(body), limits)
    try:
        with Image.open(io.BytesIO(body), formats=[*_known()]) as picture:
            size, deep = picture.size, needs_tifffile(picture, PictureView())
    except _BOMBS as error:
        raise too_large(str(error), limits) from None
    except Exception:  # Pillow raises a dozen kinds on altered bytes
        size, deep = (0, 0), True
    if size[0] * size[1] > limits.pixels:
        raise too_large(f"{size[0]} x {size[1]}", limits)
    if deep:
        raise Refusal(
            415,
            f"a picture of one of {', '.join(FORMATS)}, with one or three bands",
            f"{len(body)} bytes that begin with {body[:8]!r}",
            "convert it to PNG or JPEG",
        )
    return load_image(body)


def _known() -> list[str]:
    """Those formats that this build of Pillow reads."""
    Image.init()
    return [name for name in FORMATS if name in Image.OPEN]


def check_bytes(count: int, limits: Limits) -> None:
    """Refuse a body that is too long."""
    if count > limits.upload_bytes:
        raise Refusal(
            413,
            f"at most {limits.upload_bytes} bytes",
            f"{count} bytes",
            "send a smaller picture, or start the server with a larger --upload-megabytes",
        )


def too_large(got: str, limits: Limits) -> Refusal:
    """What is told of a picture of too many pixels."""
    return Refusal(
        413,
        f"a picture of at most {limits.pixels} pixels",
        got,
        "send a smaller picture, or start the server with a larger --megapixels",
    )


def from_base64(text: str) -> bytes:
    """The bytes of base64 text, with or without a data: address around it. Raises Refusal (422)."""
    _, comma, tail = text.partition(",")
    given = tail if comma and text.startswith("data:") else text
    try:
        return base64.b64decode(given, validate=True)
    except (binascii.Error, ValueError):
        raise Refusal(
            422,
            "image: the hash that /api/embed answered (32 hexadecimal digits), or base64",
            f"{text[:40]!r}",
            "encode the file's bytes as base64",
        ) from None
