"""TensorBoard: rows of a run's log in, event files out; the package is not needed.

A file is a row of TFRecords (length, checksum, an `Event` message, checksum); the messages are
those of TensorFlow's event.proto and summary.proto, of which two kinds are written: the version,
once, and scalars. Checksums are CRC-32C (RFC 3720, B.4), masked as in TensorFlow's crc32c.h.
"""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_POLYNOMIAL = 0x82F63B78


def _table_entry(byte: int) -> int:
    for _ in range(8):
        byte = byte >> 1 ^ (_POLYNOMIAL if byte & 1 else 0)
    return byte


_TABLE = tuple(map(_table_entry, range(256)))


def append_scalars(folder: Path, step: int, values: Mapping[str, Any]) -> None:
    """Append the numbers among `values` as scalars of a step; the folder is made when needed."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"events.out.tfevents.0.anymask.{os.getpid()}"
    with path.open("ab") as file:
        if not file.tell():
            file.write(record(event(version="brain.Event:2")))
        scalars = {k: float(v) for k, v in values.items() if type(v) in (int, float)}
        file.write(record(event(step=step, scalars=scalars)))


def record(data: bytes) -> bytes:
    """One TFRecord."""
    length = struct.pack("<Q", len(data))
    return length + _masked(length) + data + _masked(data)


def event(*, version: str = "", step: int = 0, scalars: Mapping[str, float] | None = None) -> bytes:
    """An `Event`: wall_time = 1, step = 2, file_version = 3, summary = 5."""
    message = struct.pack("<Bd", 1 << 3 | 1, time.time()) + b"\x10" + _varint(step)
    if version:
        message += _block(3, version.encode())
    summary = b"".join(
        _block(1, _block(1, tag.encode()) + struct.pack("<Bf", 2 << 3 | 5, value))
        for tag, value in (scalars or {}).items()
    )
    return message + (_block(5, summary) if summary else b"")


def crc32c(data: bytes) -> int:
    """The checksum of RFC 3720."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ _TABLE[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


def _masked(data: bytes) -> bytes:
    crc = crc32c(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def _block(field: int, data: bytes) -> bytes:
    return bytes([field << 3 | 2]) + _varint(len(data)) + data


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])
