"""Limits for compressed data, checked before memory is allocated.

A few megabytes of deflate can hold gigabytes of zeros. Readers compare the size that a header
declares with the maximum that the file can hold, and count the unpacked bytes of a stream piece by
piece.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable
from typing import Any

from anymask.base.errors import InputError, LimitError

VOLUME_MEGABYTES = "ANYMASK_VOLUME_MEGABYTES"  # environment variable
DEFAULT_MEGABYTES = 4096
DEFLATE_RATIO = 1032  # maximum compression ratio of deflate (zlib.net/zlib_tech.html)
MEGA = 1_000_000
_CHUNK_BYTES = 1 << 20
_ZSTD = b"\x28\xb5\x2f\xfd"
_ZSTD_BLOCK, _REPEATED, _COMPRESSED = 1 << 17, 1, 2


def volume_bytes() -> int:
    """Return the limit in bytes for voxels in memory.

    Raises:
        InputError: The environment variable is not a positive number.
    """
    text = os.environ.get(VOLUME_MEGABYTES, "")
    try:
        megabytes = float(text or DEFAULT_MEGABYTES)
        if not 0 < megabytes < 1e12:
            raise ValueError
    except ValueError:
        raise InputError(
            f"{VOLUME_MEGABYTES} must be a number of megabytes above 0, got {text!r}."
        ) from None
    return int(megabytes * MEGA)


def check_volume_bytes(size: int, name: str, part: int = 1) -> None:
    """Raise LimitError if voxels of `size` bytes exceed the limit.

    Args:
        size: Required memory in bytes.
        name: File name for the error.
        part: Divisor of the limit, for one slice of many.
    """
    most = volume_bytes() // part
    if size > most:
        raise LimitError(
            f"The voxels of {name} require {size // MEGA + 1} MB of memory, but "
            f"the limit is {most // MEGA} MB. To read it, set "
            f"{VOLUME_MEGABYTES}={size * part // MEGA + 1}, or save a smaller region.",
            size * part,
        )


def unpacked_size(data: bytes, most: int, make: Callable[[], Any] = zlib.decompressobj) -> int:
    """Count the unpacked bytes of a compressed stream, up to `most` + 1, one piece at a time.

    Args:
        data: Compressed stream.
        most: Maximum number of bytes.
        make: Constructor of a zlib, lzma or bz2 decompressor.

    Raises:
        Exception: Any error of the decompressor for corrupted data: zlib.error, OSError.
    """
    stream, size = make(), 0
    for start in range(0, len(data), _CHUNK_BYTES):
        rest, more = data[start : start + _CHUNK_BYTES], True
        while more and not stream.eof:
            size += len(stream.decompress(rest, _CHUNK_BYTES))
            if size > most:
                return most + 1
            rest = getattr(stream, "unconsumed_tail", b"")  # zlib; others buffer it internally
            more = bool(rest) or not getattr(stream, "needs_input", True)
    return size


def zstd_bound(data: bytes) -> int:
    """Maximum unpacked size of Zstandard frames in bytes (RFC 8878, 3.1); 0 for other data.

    A compressed block unpacks to at most 128 KB; other blocks store their size.
    """
    bound, at = 0, 0
    while data[at : at + 4] == _ZSTD and at + 5 <= len(data):
        about, single = data[at + 4], data[at + 4] >> 5 & 1
        count = (single, 2, 4, 8)[about >> 6]
        start = at + 6 - single + (0, 1, 2, 4)[about & 3]
        stated = int.from_bytes(data[start : start + count], "little") + 256 * (count == 2)
        at, blocks, is_last = start + count, 0, False
        while not is_last and at + 3 <= len(data):
            block = int.from_bytes(data[at : at + 3], "little")
            is_last, kind, size = bool(block & 1), block >> 1 & 3, block >> 3
            blocks += _ZSTD_BLOCK if kind == _COMPRESSED else size
            at += 3 + (1 if kind == _REPEATED else size)
        at += 4 * (about >> 2 & 1)  # a checksum
        bound += stated if count else blocks
    return bound


def read_into(stream: Any, view: memoryview) -> int:
    """Fill a buffer from a stream; return the number of bytes read."""
    filled = 0
    while filled < len(view):
        if not (count := stream.readinto(view[filled : filled + _CHUNK_BYTES])):
            break
        filled += count
    return filled
