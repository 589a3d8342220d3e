"""MATLAB files of version 5: a .mat file in, its arrays, cells and structs out.

Layout: "MAT-File Format", MathWorks, the chapter on level 5. Numbers come back as numpy arrays,
cells as lists in MATLAB's order (columns first), structs as a dict for each element. Text, objects,
sparse arrays, complex numbers and version 7.3 (which is HDF5) are refused.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from anymask.data.documents import located
from anymask.primitives.errors import DataError

_NUMBERS = {  # data types of the file: numpy's code and bytes
    1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8",
}  # fmt: skip
_CLASSES = {  # of numeric arrays: what they are in MATLAB
    6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4", 14: "i8",
    15: "u8",
}  # fmt: skip
_MATRIX, _PACKED = 14, 15
_CELL, _STRUCT = 1, 2
_LOGICAL, _COMPLEX = 0x02, 0x08
_LARGEST = 1 << 30  # bytes of one variable, unpacked
_DEEPEST = 16  # arrays inside of each other


@dataclass
class _Bytes:
    """A part of the file and how far it is read; `order` is "<" or ">"."""

    data: memoryview
    order: str
    place: int = 0

    def left(self) -> int:
        """Bytes that are not read yet."""
        return len(self.data) - self.place

    def take(self, count: int) -> memoryview:
        """The next bytes. Raises DataError where the file ends before."""
        if count < 0 or self.left() < count:
            raise DataError(f"the file ends early: wanted {count} bytes, {self.left()} are left")
        self.place += count
        return self.data[self.place - count : self.place]

    def element(self) -> tuple[int, memoryview]:
        """The next element's type and bytes; small ones stand inside of their tag."""
        (tag,) = struct.unpack(f"{self.order}I", self.take(4))
        if tag >> 16:
            return tag & 0xFFFF, self.take(4)[: min(tag >> 16, 4)]
        (count,) = struct.unpack(f"{self.order}I", self.take(4))
        body = self.take(count)
        if tag != _PACKED:
            self.take(min(-count % 8, self.left()))
        return tag, body

    def numbers(self) -> Any:
        """The next element as an array (n,)."""
        kind, body = self.element()
        if kind not in _NUMBERS:
            raise DataError(f"wanted numbers, got the data type {kind}")
        return np.frombuffer(body, np.dtype(self.order + _NUMBERS[kind]))


def load_matlab(path: Path) -> dict[str, Any]:
    """The variables of a file by name. Raises DataError that names the file."""
    with located(path):
        data = memoryview(path.read_bytes())
        if bytes(data[:19]) == b"MATLAB 7.3 MAT-file":
            raise DataError("is a file of version 7.3 (HDF5); save it with -v7")
        orders = {b"IM": "<", b"MI": ">"}
        if len(data) < 128 or bytes(data[126:128]) not in orders:
            raise DataError("is no MATLAB file of version 5; is it complete?")
        reader = _Bytes(data[128:], orders[bytes(data[126:128])])
        found: dict[str, Any] = {}
        while reader.left() >= 8:
            kind, body = reader.element()
            if kind == _PACKED:
                kind, body = _Bytes(_unpack(body), reader.order).element()
            if kind == _MATRIX:
                name, value = _array(_Bytes(body, reader.order), 0)
                found[name] = value
        return found


def _unpack(body: memoryview) -> memoryview:
    engine = zlib.decompressobj()
    try:
        data = engine.decompress(body, _LARGEST)
    except zlib.error as error:
        raise DataError(f"a packed variable is damaged ({error})") from error
    if engine.unconsumed_tail:
        raise DataError(f"a variable is larger than {_LARGEST} bytes")
    return memoryview(data)


def _array(reader: _Bytes, depth: int) -> tuple[str, Any]:
    """The name and value of one matrix element."""
    if not reader.left():
        return "", np.zeros((0, 0))
    if depth > _DEEPEST:
        raise DataError(f"arrays are nested deeper than {_DEEPEST} times")
    flags = int(reader.numbers()[0])
    kind, traits = flags & 0xFF, flags >> 8
    shape = tuple(int(side) for side in reader.numbers())
    name = bytes(reader.element()[1]).decode("ascii", "replace")
    count = int(np.prod(shape, dtype=np.int64))
    if min(shape, default=-1) < 0 or count > _LARGEST:
        raise DataError(f"the array {name!r} has the shape {shape}")
    if kind == _CELL:
        return name, [_inside(reader, depth) for _ in range(count)]
    if kind == _STRUCT:
        return name, _structs(reader, count, depth)
    if kind not in _CLASSES or traits & _COMPLEX:
        raise DataError(f"the array {name!r} is of the class {kind}, which is not read")
    values = reader.numbers()
    if len(values) != count:
        raise DataError(f"the array {name!r} has {len(values)} numbers, its shape is {shape}")
    as_stated = values.astype(np.bool_ if traits & _LOGICAL else _CLASSES[kind])
    return name, as_stated.reshape(shape, order="F")


def _inside(reader: _Bytes, depth: int) -> Any:
    kind, body = reader.element()
    if kind != _MATRIX:
        raise DataError(f"wanted an array inside of a cell or struct, got the data type {kind}")
    return _array(_Bytes(body, reader.order), depth + 1)[1]


def _structs(reader: _Bytes, count: int, depth: int) -> list[dict[str, Any]]:
    length = int(reader.numbers()[0])
    if length < 1:
        raise DataError(f"a struct's names have the length {length}")
    text = bytes(reader.element()[1])
    names = [
        text[start : start + length].split(b"\0")[0].decode("ascii", "replace")
        for start in range(0, len(text), length)
    ]
    return [{name: _inside(reader, depth) for name in names} for _ in range(count)]
