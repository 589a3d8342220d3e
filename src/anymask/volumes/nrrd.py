"""Reader of NRRD files, including 3D Slicer segmentations.

pynrrd reads the header, this module the voxels: uncompressed ones are memory-mapped, compressed
ones are decompressed up to the size in the header. A header may refer to another file with the
voxels (`data file`). That file must be in the same folder or below; otherwise an untrusted header
could expose any file of the machine.
"""

from __future__ import annotations

import bz2
import gzip
import math
import os
from collections.abc import Mapping
from itertools import count, islice, takewhile
from pathlib import Path, PureWindowsPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anymask.base import DEFLATE_RATIO, DataError, InputError, check_volume_bytes, read_into
from anymask.volumes.selected import import_library, select
from anymask.volumes.volume import Color, Volume

_TO_RAS = {  # signs of x and y in the NRRD spaces
    "left-posterior-superior": (-1, -1),
    "right-anterior-superior": (1, 1),
    "left-anterior-superior": (-1, 1),
}
_SHORT = {
    "LPS": "left-posterior-superior", "RAS": "right-anterior-superior",
    "LAS": "left-anterior-superior",
}  # fmt: skip
_TYPES = {  # type names without "signed", "int" and "_t"
    "char": "i1", "int8": "i1", "uchar": "u1", "unsigned char": "u1", "uint8": "u1",
    "short": "i2", "int16": "i2", "ushort": "u2", "unsigned short": "u2", "uint16": "u2",
    "": "i4", "int32": "i4", "uint": "u4", "unsigned": "u4", "uint32": "u4",
    "longlong": "i8", "long long": "i8", "int64": "i8",
    "ulonglong": "u8", "unsigned long long": "u8", "uint64": "u8",
    "float": "f4", "double": "f8",
}  # fmt: skip
_PACKED: dict[str, Any] = {"gzip": gzip, "gz": gzip, "bzip2": bz2, "bz2": bz2}
_MAX_SKIPPED = 1 << 20  # maximum number of bytes to skip in a compressed stream


def sibling(path: Path, name: str, detached: bool) -> Path:
    """Resolve a file that another file refers to, in the same folder or below.

    Args:
        path: Referring file.
        name: Path relative to the folder of `path`.
        detached: Whether such files may be read.

    Raises:
        InputError: It may not be read, or is in another folder.
        DataError: It does not exist.
    """
    if not detached:
        raise InputError(
            f"{path.name!r} stores its voxels in another file, which is not supported "
            "here. Save it as one file, for example as .nrrd or .nii.gz."
        )
    folder, file = path.parent.resolve(), (path.parent / name).resolve()
    parts = PureWindowsPath(name)  # handles both slashes, and drives
    if parts.anchor or ".." in parts.parts or not file.is_relative_to(folder):
        raise InputError(
            f"{path.name!r} refers to the file {name[:200]!r}. Only files in the folder of "
            f"{path.name!r} are read. Move both into one folder, or save them as one file."
        )
    if not file.is_file():
        raise DataError(
            f"{path.name!r} refers to the file {name[:200]!r}, which does not exist. Copy "
            "both files into one folder."
        )
    return file


def read_nrrd(path: Path, frame: int | None, detached: bool) -> Volume:
    """Read a scan or labels. Raises as `read_volume`."""
    nrrd = import_library("nrrd", f"reading {path.name}")

    with path.open("rb") as file:
        header: Mapping[str, Any] = nrrd.read_header(file)
        data = _voxels(path, header, file.tell(), detached)
    directions = header.get("space directions")
    kinds = [str(kind) for kind in header.get("kinds", ["domain"] * data.ndim)]
    if directions is None:
        spatial = [a for a, kind in enumerate(kinds) if kind in ("domain", "space")][:3]
        steps = np.asarray(header.get("spacings", np.ones(data.ndim)), np.float64)[spatial]
        rows = np.diag(np.where(np.isfinite(steps), steps, 1.0))
    else:
        vectors = [np.full(3, np.nan) if row is None else np.asarray(row) for row in directions]
        spatial = [axis for axis, row in enumerate(vectors) if np.isfinite(row).all()]
        rows = np.array([vectors[axis] for axis in spatial], np.float64)
    if len(spatial) != 3 or rows.shape != (3, 3):
        raise InputError(f"{path.name!r} has {len(spatial)} spatial axes. Expected three.")
    lps_or_else = str(header.get("space", "left-posterior-superior"))
    space = _SHORT.get(lps_or_else, lps_or_else).lower()
    if space not in _TO_RAS:
        raise InputError(
            f"{path.name!r} uses the space {space!r}. Supported are {', '.join(_TO_RAS)}."
        )
    affine = np.eye(4)
    affine[:3, :3] = rows.T
    affine[:3, 3] = header.get("space origin", np.zeros(3))
    affine = np.diag([*_TO_RAS[space], 1.0, 1.0]) @ affine
    axes = (spatial[2], spatial[1], spatial[0])
    with path.open("rb") as file:
        lines = [line.decode("utf-8", "replace").strip() for line in takewhile(bytes.strip, file)]
    pairs = dict(line.split(":=", 1) for line in lines if ":=" in line)
    if "Segment0_ID" in pairs:
        labels, names, colors = _read_segments(np.asarray(data), axes, pairs)
        return Volume(labels, affine, names, colors, str(path))
    return Volume(select(data, axes, frame, path), affine, source=str(path))


def _voxels(path: Path, header: Mapping[str, Any], start: int, detached: bool) -> NDArray[Any]:
    """Array of a file, first axis fastest.

    Args:
        start: Byte offset after the header.
    """
    shape = [int(side) for side in header["sizes"]]
    if int(header["dimension"]) != len(shape) or min(shape, default=0) < 1:
        raise DataError(
            f"{path.name!r} declares the sizes {shape}. Expected a number above 0 for each axis."
        )
    dtype, encoding = _dtype(path, header), str(header["encoding"]).lower()
    skipped = int(header.get("byte skip", header.get("byteskip", 0)))
    lines = int(header.get("line skip", header.get("lineskip", 0)))
    named = header.get("data file", header.get("datafile"))
    if named is not None:
        if named.split()[:1] == ["LIST"] or "%" in named:
            raise InputError(
                f"{path.name!r} stores its voxels in several files, which is not supported. "
                "Save it as one file, for example as .nrrd or .nii.gz."
            )
        path, start = sibling(path, named, detached), 0
    if lines < 0 or skipped < -1:
        raise DataError(
            f"{path.name!r} declares a negative line skip or byte skip. Copy or save it again."
        )
    size = math.prod(shape) * dtype.itemsize
    with path.open("rb") as file:
        file.seek(start)
        for _ in islice(file, lines):
            pass
        start, stored = file.tell(), path.stat().st_size
        if encoding == "raw":
            start = stored - size if skipped == -1 else start + skipped
            _check_holds(path, size, stored - start if start >= 0 else 0)
            return np.memmap(path, dtype, "r", start, tuple(shape), order="F")
        check_volume_bytes(size, repr(path.name))
        if encoding in ("ascii", "text", "txt"):
            file.seek(max(skipped, 0), os.SEEK_CUR)
            _check_holds(path, math.prod(shape) * 2 - 1, stored - start)
            flat = np.fromstring(file.read().decode("ascii"), dtype.newbyteorder("="), sep=" ")
            if flat.size != math.prod(shape):
                raise DataError(
                    f"{path.name!r} contains {flat.size} numbers, but its header declares the "
                    f"shape {shape}. Copy it again."
                )
        elif encoding in _PACKED:
            if _PACKED[encoding] is gzip:
                _check_holds(path, size, (stored - start) * DEFLATE_RATIO)
            flat = _unpacked(path, _PACKED[encoding].open(file), size, skipped).view(dtype)
        else:
            raise InputError(
                f"{path.name!r} has the encoding {encoding[:40]!r}. Supported are raw, gzip, "
                "bzip2 and ascii."
            )
    return flat.reshape(shape, order="F")


def _dtype(path: Path, header: Mapping[str, Any]) -> np.dtype[Any]:
    declared = str(header["type"]).lower()
    words = [word for word in declared.removesuffix("_t").split() if word not in ("signed", "int")]
    kind = _TYPES.get(" ".join(words)) if declared else None
    if kind is None:
        raise InputError(f"{path.name!r} has voxels of type {declared[:40]!r}. Expected numbers.")
    return np.dtype((">" if str(header.get("endian")) == "big" else "<") + kind)


def _check_holds(path: Path, size: int, most: int) -> None:
    if size > most:
        raise DataError(
            f"{path.name!r} is truncated: its header declares {size} bytes of voxels, but "
            f"it contains at most {most}. Copy it again."
        )


def _unpacked(path: Path, stream: Any, size: int, skipped: int) -> NDArray[np.uint8]:
    """Decompress a stream of known size.

    Args:
        skipped: Number of bytes before the voxels. -1: the voxels are at the end.
    """
    if skipped > _MAX_SKIPPED:
        raise DataError(
            f"{path.name!r} skips {skipped} bytes before the voxels, more than the "
            f"limit of {_MAX_SKIPPED}."
        )
    before = _MAX_SKIPPED if skipped == -1 else 0
    if skipped > 0:
        stream.read(skipped)
    flat = np.empty(size + before, np.uint8)
    length = read_into(stream, flat.data)
    if length < size or stream.read(1):  # reading to the end also verifies the checksum
        more = "more" if length >= size else f"{length} bytes"
        raise DataError(
            f"{path.name!r} unpacks to {more}, but its header declares {size} bytes of "
            "voxels. Copy it again."
        )
    return flat[length - size : length]


def _read_segments(
    data: NDArray[Any], axes: tuple[int, int, int], header: Mapping[str, str]
) -> tuple[NDArray[Any], dict[int, str], dict[int, Color]]:
    """Labels, names and colors; segments of several layers are merged and renumbered from 1."""
    numbers = list(takewhile(lambda number: f"Segment{number}_ID" in header, count()))
    stack: NDArray[Any] | None = None
    labels: NDArray[Any]
    if data.ndim == 3:
        labels = data.transpose(axes)
    else:
        (layers,) = {0, 1, 2, 3} - set(axes)
        stack = data.transpose(layers, *axes)
        labels = np.zeros(stack.shape[1:], np.uint8 if len(numbers) < 256 else np.uint16)
    names, colors = dict[int, str](), dict[int, Color]()
    for number in numbers:
        start = f"Segment{number}_"
        name = header.get(f"{start}Name", header[f"{start}ID"])
        value = int(header.get(f"{start}LabelValue", 1))
        if stack is not None:
            inside = stack[int(header.get(f"{start}Layer", 0))] == value
            if labels[inside].any():
                raise InputError(
                    f"Segment {name!r} overlaps another segment, but a label volume has one label "
                    "per voxel. Export the segments one by one."
                )
            value = number + 1
            labels[inside] = value
        names[value] = name
        if f"{start}Color" in header:
            red, green, blue = (float(part) for part in header[f"{start}Color"].split())
            colors[value] = round(255 * red), round(255 * green), round(255 * blue)
    return labels, names, colors
