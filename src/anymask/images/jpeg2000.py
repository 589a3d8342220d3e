"""Reads the headers of JPEG 2000 files whose bands have no colours, as GDAL writes them.

GDAL declares bands without a colour interpretation as grayscale, however many there are: Pillow
then fails on three and takes the fourth of four as transparency. Layout: ISO/IEC 15444-1, annex I.
"""

from __future__ import annotations

import io
from typing import Any

SIGNATURE = b"\0\0\0\x0cjP  "
MOST_BANDS = 4  # that Pillow reads
_HEAD = 4096  # bytes that hold the header
_SRGB, _GRAY = b"\0\0\0\x10", b"\0\0\0\x11"
_ENUMERATED = b"colr\1"  # a box of one of the colour spaces that have a number


def count_bands(head: bytes) -> int:
    """How many bands a JP2 file declares; 0 for other files."""
    at = head.find(b"ihdr") if head.startswith(SIGNATURE) else -1
    return int.from_bytes(head[at + 12 : at + 14], "big") if at > 0 else 0


def is_colourless(head: bytes) -> bool:
    """Whether a JP2 file declares three bands or more as grayscale, none of them as alpha."""
    at = head.find(_ENUMERATED)
    declared = head[at + 7 : at + 11] if at > 0 else b""
    return count_bands(head) > 2 and declared == _GRAY and b"cdef" not in head[: at + 64]


def with_colours(file: Any) -> tuple[Any, bool]:
    """The file, with its first three bands as red, green and blue, and whether that was needed."""
    file.seek(0)
    head = file.read(_HEAD)
    if not isinstance(head, bytes) or not is_colourless(head):
        return file, False
    at = head.find(_ENUMERATED) + 7
    return io.BytesIO(head[:at] + _SRGB + head[at + 4 :] + file.read()), True
