"""Reader of OME-Zarr, chunk by chunk on demand, with limited chunk sizes."""

from __future__ import annotations

import bz2
import contextlib
import lzma
import math
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from anymask.base import (
    DataError,
    Floats,
    InputError,
    MissingExtra,
    check_volume_bytes,
    unpacked_size,
    volume_bytes,
    zstd_bound,
)
from anymask.volumes.selected import MILLIMETRES, select
from anymask.volumes.volume import LPS_TO_RAS, Volume

_PARTS = 8  # a chunk may use 1/8 of the memory limit
_BLOSC = b"\2"  # Blosc format version
_STREAMS: dict[bytes, Callable[[], Any]] = {  # by magic bytes
    b"\x1f\x8b": partial(zlib.decompressobj, 16 + zlib.MAX_WBITS),
    b"\x78": zlib.decompressobj,
    b"\xfd7zXZ": lzma.LZMADecompressor,
    b"BZh": bz2.BZ2Decompressor,
}


def read_zarr(path: Path, frame: int | None) -> Volume:
    """Read the finest scale of an OME-Zarr folder. Raises as `read_volume`."""
    try:
        import zarr
    except ImportError as error:
        raise MissingExtra("zarr", "volumes", f"reading {path.name}") from error
    group: Any = zarr.open_group(_bounded_store(path), mode="r")
    notes: Any = group.attrs.asdict()
    scales = notes.get("ome", notes).get("multiscales")
    if not scales:
        raise InputError(f"{path.name!r} is Zarr, but not OME-Zarr: it has no 'multiscales'.")
    axes = scales[0]["axes"]
    names = [axis["name"] if isinstance(axis, dict) else axis for axis in axes]
    if any(names.count(name) != 1 for name in "zyx"):
        raise InputError(f"{path.name!r} has the axes {', '.join(names)}. Expected z, y and x.")
    finest = scales[0]["datasets"][0]  # ordered from fine to coarse
    source: Any = group[finest["path"]]
    sides = getattr(source, "shards", None) or source.chunks
    check_volume_bytes(math.prod(sides) * source.dtype.itemsize, f"a chunk of {path.name!r}")
    codecs = (*(source.filters or ()), *(source.compressors or ()))
    if any(getattr(codec, "codec_id", "") == "pickle" for codec in codecs):
        raise DataError(
            f"{path.name!r} contains pickled objects, which can run code. They are not read."
        )
    scale, shift = np.ones(len(names)), np.zeros(len(names))
    steps = [*finest.get("coordinateTransformations", [])]
    for step in [*steps, *scales[0].get("coordinateTransformations", [])]:
        if step["type"] == "scale":
            scale, shift = scale * step["scale"], shift * step["scale"]
        elif step["type"] == "translation":
            shift = shift + step["translation"]
    affine: Floats = np.eye(4)
    for row, name in enumerate("xyz"):
        place = names.index(name)
        known = axes[place].get("unit", "") if isinstance(axes[place], dict) else ""
        unit = MILLIMETRES.get(known, 1.0)
        affine[row, row], affine[row, 3] = scale[place] * unit, shift[place] * unit
    order = [names.index(name) for name in "zyx"]
    return Volume(select(source, order, frame, path), LPS_TO_RAS @ affine, source=str(path))


def _bounded_store(path: Path) -> Any:
    """File store that raises LimitError if a chunk decompresses to too much."""
    from zarr.storage import LocalStore

    class Bounded(LocalStore):
        async def get(self, key: str, *more: Any, **named: Any) -> Any:
            found = await super().get(key, *more, **named)
            if found is not None:
                data = found.to_bytes()
                name = f"Chunk {key!r} of {path.name!r}"
                most = volume_bytes() // _PARTS
                check_volume_bytes(zstd_bound(data), name, _PARTS)
                if int.from_bytes(data[12:16], "little") == len(data) and data[:1] == _BLOSC:
                    check_volume_bytes(int.from_bytes(data[4:8], "little"), name, _PARTS)
                make = next(
                    (make for head, make in _STREAMS.items() if data.startswith(head)), None
                )
                size = 0
                with contextlib.suppress(Exception):  # the reader reports corrupted data
                    size = unpacked_size(data, most, make) if make else 0
                check_volume_bytes(size, name, _PARTS)
            return found

    return Bounded(path, read_only=True)
