"""The PLY format (Greg Turk 1994): the vertices of text and binary files, and a writer.

Elements after the vertices, such as faces, are not read. Colors are the properties red, green and
blue, or r, g and b.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anymask.base import DataError, FloatArray, Floats

TYPES = {
    "char": "i1", "uchar": "u1", "short": "i2", "ushort": "u2", "int": "i4", "uint": "u4",
    "float": "f4", "double": "f8", "int8": "i1", "uint8": "u1", "int16": "i2", "uint16": "u2",
    "int32": "i4", "uint32": "u4", "float32": "f4", "float64": "f8",
}  # fmt: skip
ORDERS = {"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"}
COLORS = (("red", "green", "blue"), ("r", "g", "b"))
LONGEST_HEADER = 1 << 20
_END = re.compile(rb"end_header[ \t]*\r?\n")
_REMEDY = "Export the point cloud again."

Columns = NDArray[Any]


@dataclass
class _Element:
    """Declaration of an element: its number, and its properties with their types."""

    name: str
    count: int
    fields: list[tuple[str, str]] = field(default_factory=list)
    lists: bool = False

    @property
    def repeats(self) -> bool:
        """Whether two properties have the same name."""
        return len({name for name, _ in self.fields}) < len(self.fields)

    @property
    def kind(self) -> np.dtype[np.void]:
        return np.dtype(self.fields)


def read_ply(data: bytes) -> tuple[Columns, Columns | None]:
    """Read points (N, 3) and colors (N, 3), if there are any, from a PLY file.

    Raises:
        DataError: The file is not a PLY file, is corrupted, or has no vertices with x, y and z.
    """
    end = _END.search(data, 0, LONGEST_HEADER)
    if not data.startswith(b"ply") or end is None:
        raise DataError(f"It is not a PLY file. {_REMEDY}")
    order, elements = _header(data[: end.start()].decode("ascii", "replace").splitlines()[1:])
    vertex = next((one for one in elements if one.name == "vertex"), None)
    if vertex is None:
        raise DataError("It has no element 'vertex', so it is not a point cloud.")
    before = elements[: elements.index(vertex)]
    if blocking := [one.name for one in before if one.lists or one.repeats or order == ""]:
        raise DataError(
            f"Its element {blocking[0]!r} precedes the vertices. Write the vertices first."
        )
    start = end.end() + sum(one.count * one.kind.itemsize for one in before)
    names = [name for name, _ in vertex.fields]
    if vertex.lists or not {"x", "y", "z"} <= set(names) or vertex.repeats:
        raise DataError(
            "Its vertices require the properties x, y and z, without lists or repeated names. "
            f"Given: {', '.join(names) or 'none'}."
        )
    rows = _text_rows(data[start:], vertex) if order == "" else _rows(data, start, vertex)
    at = np.stack([rows[axis] for axis in "xyz"], axis=1)
    colored = next((three for three in COLORS if set(three) <= set(names)), None)
    return at, None if colored is None else np.stack([rows[name] for name in colored], axis=1)


def _header(lines: list[str]) -> tuple[str, list[_Element]]:
    """Byte order ("" for text) and elements of a header."""
    order, elements = None, list[_Element]()
    for line in lines:
        match line.split():
            case ["format", name, *_] if name in ORDERS:
                order = ORDERS[name]
            case ["element", name, count] if re.fullmatch("[0-9]{1,15}", count):
                elements.append(_Element(name, int(count)))
            case ["property", "list", *_] if elements:
                elements[-1].lists = True
            case ["property", kind, name] if elements and kind in TYPES:
                elements[-1].fields.append((name, f"{order or ''}{TYPES[kind]}"))
            case [] | ["comment" | "obj_info", *_]:
                pass
            case _:
                raise DataError(f"Its header has the invalid line {line[:60]!r}. {_REMEDY}")
    if order is None:
        raise DataError(f"Its header has no format line. {_REMEDY}")
    return order, elements


def _rows(data: bytes, start: int, vertex: _Element) -> NDArray[np.void]:
    there = (len(data) - start) // vertex.kind.itemsize
    if there < vertex.count:
        raise DataError(
            f"Its header declares {vertex.count} vertices, but the file contains {max(there, 0)}. "
            "Copy it again."
        )
    return np.frombuffer(data, vertex.kind, vertex.count, start)


def _text_rows(data: bytes, vertex: _Element) -> NDArray[np.void]:
    lines = data.splitlines()[: vertex.count]
    if len(lines) < vertex.count:
        raise DataError(
            f"Its header declares {vertex.count} vertices, but the file contains {len(lines)}. "
            "Copy it again."
        )
    try:
        numbers = np.array([line.split() for line in lines], np.float64)
        numbers = numbers.reshape(vertex.count, len(vertex.fields))
    except ValueError as error:
        raise DataError(
            f"Its vertices are not lines of {len(vertex.fields)} numbers. {_REMEDY}"
        ) from error
    rows = np.empty(vertex.count, vertex.kind)
    with np.errstate(invalid="ignore", over="ignore"):
        for place, (name, _) in enumerate(vertex.fields):
            rows[name] = numbers[:, place]
    return rows


def ply_bytes(
    points: Floats, colors: FloatArray | None, values: Columns, property_name: str = "mask"
) -> bytes:
    """Encode points as a binary PLY file, with coordinates as exact as required.

    Args:
        points: Coordinates (N, 3).
        colors: Colors (N, 3) in 0..1.
        values: Mask or object number (N,) of each point: bool, uint8 or uint16.
        property_name: Name of the property of these values.
    """
    exact = (points == points.astype(np.float32)).all()
    number, name = ("<f4", "float") if exact else ("<f8", "double")
    columns: list[tuple[str, str, str, Columns]] = [
        (axis, number, name, points[:, place]) for place, axis in enumerate("xyz")
    ]
    if colors is not None:
        levels = np.rint(colors * 255).astype(np.uint8)
        columns += [(c, "u1", "uchar", levels[:, place]) for place, c in enumerate(COLORS[0])]
    small = values.dtype.itemsize == 1
    columns.append(
        (property_name, "u1" if small else "<u2", "uchar" if small else "ushort", values)
    )
    rows = np.empty(len(points), [(name, kind) for name, kind, _, _ in columns])
    for column, _, _, values in columns:
        rows[column] = values
    declared = "".join(f"property {kind} {column}\n" for column, _, kind, _ in columns)
    first = f"ply\nformat binary_little_endian 1.0\nelement vertex {len(points)}\n"
    return f"{first}{declared}end_header\n".encode() + rows.tobytes()
