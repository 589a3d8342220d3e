"""Read scans, detected by content: NIfTI, MGH, NRRD, TIFF, OME-Zarr and DICOM.

nibabel, pynrrd, tifffile and zarr read the files. This module converts axes, units and frames to
those of `Volume`. NIfTI, MGH, OME-Zarr and DICOM are read slice by slice on demand, the others at
once.
"""

from __future__ import annotations

import bz2
import contextlib
import gzip
import io
import lzma
import math
import shlex
import struct
import zlib
from collections.abc import Callable
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal
from xml.etree import ElementTree as ET

import numpy as np
from numpy.typing import NDArray

from anymask.base import (
    DEFLATE_RATIO,
    DataError,
    Floats,
    InputError,
    check_volume_bytes,
    refuse_text,
    unpacked_size,
    volume_bytes,
    zstd_bound,
)
from anymask.images import check_segments, open_tiff, suggest_command
from anymask.volumes.dicom import is_dicom, read_dicom
from anymask.volumes.dicom_labels import is_segmentation, read_segmentation
from anymask.volumes.nrrd import read_nrrd, sibling
from anymask.volumes.selected import MEMORY_DIVISOR, MILLIMETERS, explain, import_library, select
from anymask.volumes.volume import LPS_TO_RAS, Volume, scaled_affine

_DETECTION_BYTES = 544  # bytes to detect a format; the length of a NIfTI-2 header
UNPACKED_BYTES = 512 << 20  # maximum size of a compressed scan to decompress into memory
_MAX_BEFORE = 64 << 20  # maximum size of the NIfTI header extensions, in bytes


def read_volume(
    path: str | Path,
    *,
    frame: int | None = None,
    series: int | str | None = None,
    detached: bool = True,
) -> Volume:
    """Read a three-dimensional scan, with the position of each voxel in millimeters.

    Args:
        path: A .nii, .nii.gz, .mgh, .mgz, .nrrd, .nhdr, .seg.nrrd or .tif file, a folder or zip of
            a DICOM series, a DICOM SEG, or a folder of OME-Zarr. The format is detected by content.
        frame: Time point or channel to read, counted from 0.
        series: DICOM series to read: its number, UID or description.
        detached: Allow voxels in another file of the same folder, to which NRRD and OME-TIFF files
            can refer. Pass False for untrusted files.

    Raises:
        InputError: The path is not a scan, or contains several scans and none was selected.
        LimitError: The voxels need more memory than ANYMASK_VOLUME_MEGABYTES.
        DataError: The file is corrupted.
        MissingExtra: A required library is not installed.
    """
    refuse_text("True or False", detached=detached)
    path = Path(path)
    if not path.exists():
        raise InputError(f"File or folder not found: {str(path)!r}. Check the path.")
    with explain(path):
        if path.is_dir():
            if any((path / name).is_file() for name in ("zarr.json", ".zattrs", ".zgroup")):
                return read_zarr(path, frame)
            return read_dicom(path, series)
        head = _head(path)
        if head[:4] == b"PK\3\4" or is_dicom(head):
            if is_dicom(head) and is_segmentation(path):
                return read_segmentation(path)
            return read_dicom(path, series)
        if head[:4] == b"NRRD":
            return read_nrrd(path, frame, detached)
        if head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
            return _read_tiff(path, frame, detached)
        if kind := _nibabel_kind(head):
            return _read_nibabel(path, kind, frame)
    raise InputError(
        suggest_command(path, "scan")
        or (
            f"{path.name!r} is not a supported scan. Expected NIfTI, MGH, NRRD, a TIFF "
            "stack, OME-Zarr, or a folder or zip of DICOM slices."
        )
    )


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        head = file.read(_DETECTION_BYTES)
    if head[:2] == b"\x1f\x8b":
        try:
            with gzip.open(path) as packed:
                return packed.read(_DETECTION_BYTES)
        except (OSError, EOFError, zlib.error) as error:
            raise DataError(f"{path.name!r} is a corrupted gzip file. Copy it again.") from error
    return head


# NIfTI and MGH.


def _nibabel_kind(head: bytes) -> str:
    order: Literal["little", "big"]
    order = "little" if head[:4] in (b"\x5c\1\0\0", b"\x1c\2\0\0") else "big"
    if head[344:348] == b"n+1\0":
        _check_start(struct.unpack("<f" if order == "little" else ">f", head[108:112])[0])
        return "Nifti1Image"
    if head[4:8] == b"n+2\0":
        _check_start(int.from_bytes(head[168:176], order, signed=True))
        return "Nifti2Image"
    if head[344:348] == b"ni1\0":
        raise InputError("This is half of a NIfTI pair (.hdr, .img). Save it as one .nii file.")
    version, kind = head[:4], int.from_bytes(head[20:24], "big")
    return "MGHImage" if version == b"\0\0\0\1" and kind in (0, 1, 3, 4) else ""


def _check_start(start: float) -> None:
    """Raise DataError if voxels start far after the header, because all bytes before are read."""
    if not 0 <= start <= _MAX_BEFORE:
        raise DataError(
            f"The header declares that the voxels start at byte {start:.0f}. Copy the file again."
        )


def _read_nibabel(path: Path, kind: str, frame: int | None) -> Volume:
    nibabel = import_library("nibabel", f"reading {path.name}")

    reader: Any = getattr(nibabel, kind)
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    plain, compressed = (".mgh", ".mgz") if kind == "MGHImage" else (".nii", ".nii.gz")
    # Without keep_file_open, each read decompresses the file from the beginning.
    if path.name.lower().endswith(compressed if packed else plain):
        image = reader.from_filename(path, keep_file_open=packed)
    else:  # nibabel would rely on the suffix, which is wrong
        if not packed:
            check_volume_bytes(path.stat().st_size, repr(path.name))
        # A packed file is decompressed on demand, and closed with the volume.
        content: Any = gzip.GzipFile(path) if packed else io.BytesIO(path.read_bytes())
        holder = nibabel.FileHolder(fileobj=content)
        image = reader.from_file_map({"image": holder}, keep_file_open=packed)
    if len(image.shape) < 3:
        raise InputError(f"{path.name!r} has shape {image.shape}: an image, not a volume.")
    named = "mm" if kind == "MGHImage" else image.header.get_xyzt_units()[0]
    unit = MILLIMETERS.get(named, 1.0)
    affine = np.diag([unit, unit, unit, 1.0]) @ image.affine
    if np.abs(affine[:3, :3]).max(initial=0) == 0:
        raise DataError(f"{path.name!r} declares voxels of size 0.")
    holds = path.stat().st_size * (DEFLATE_RATIO if packed else 1)
    voxels: Any = image.dataobj
    if packed and math.prod(voxels.shape) * voxels.dtype.itemsize <= UNPACKED_BYTES:
        voxels = _UnpackedOnce(voxels)
    return Volume(select(voxels, (2, 1, 0), frame, path, holds), affine, source=str(path))


class _UnpackedOnce:
    """Voxels of a small compressed file, kept in memory after the first read.

    nibabel decompresses from the beginning for each slice before the previous one.
    """

    def __init__(self, proxy: Any) -> None:
        self._proxy = proxy
        self.shape, self.dtype = proxy.shape, proxy.dtype
        self.slope, self.inter = proxy.slope, proxy.inter

    @cached_property
    def _stored(self) -> NDArray[Any]:
        return self._proxy.get_unscaled()

    def __getitem__(self, key: Any, /) -> NDArray[Any]:
        from nibabel.volumeutils import apply_read_scaling

        rescale: Any = apply_read_scaling
        return rescale(self._stored[key], np.asarray(self.slope), np.asarray(self.inter))


# TIFF stacks.


def _read_tiff(path: Path, frame: int | None, detached: bool) -> Volume:
    tifffile = import_library("tifffile", f"reading {path.name}")

    with path.open("rb") as opened, open_tiff(opened) as file:
        others = _other_files(file.ome_metadata if file.is_ome else None, path)
        stack = None if others else _stack(file, path)
    for name in others:
        sibling(path, name, detached)
    if stack is None:  # stack in several files, as written by microscopes
        with tifffile.TiffFile(path) as file:
            stack = _stack(file, path)
    axes, data, spacing = stack
    if "S" in axes:
        raise InputError(
            f"{path.name!r} is a color image, not a scan: a scan has one value per voxel. "
            f"Segment an image with: anymask segment {shlex.quote(str(path))} --point X,Y"
        )
    if any(axes.count(letter) != 1 for letter in "ZYX"):
        raise InputError(f"{path.name!r} has the axes {axes}: an image, not a stack of slices.")
    order = [axes.index(letter) for letter in "ZYX"]
    return Volume(select(data, order, frame, path), scaled_affine(spacing), source=str(path))


def _stack(file: Any, path: Path) -> tuple[str, Any, tuple[float, float, float]]:
    """Axes, voxels and spacing of the first TIFF series, limited to its stated size."""
    first = file.series[0]
    check_volume_bytes(int(first.nbytes), repr(path.name))
    for page in first.pages:
        if page is not None:
            check_segments(page, repr(path.name))
    axes = str(first.axes).replace("Q", "Z").replace("I", "Z")
    return axes, first.asarray(), _tiff_spacing(file)


def _other_files(xml: str | None, path: Path) -> list[str]:
    """Other files that contain planes of an OME-TIFF."""
    if not xml or "<!DOCTYPE" in xml:
        return []
    root = ET.fromstring(xml)
    named = {str(node.text): node.get("FileName", "") for node in root.iterfind(".//{*}UUID")}
    own = root.get("UUID") or (min(named) if len(named) == 1 else None)
    return sorted(
        {name for uuid, name in named.items() if uuid != own and name and name != path.name}
    )


def _tiff_spacing(file: Any) -> tuple[float, float, float]:
    """Voxel size along z, y, x in mm from OME or ImageJ metadata; 1 if missing."""
    if file.is_ome:
        pixels = ET.fromstring(file.ome_metadata).find(".//{*}Pixels")
        sides: list[float] = []
        for axis in "ZYX":
            size = None if pixels is None else pixels.get(f"PhysicalSize{axis}")
            name = "um" if pixels is None else pixels.get(f"PhysicalSize{axis}Unit", "um")
            sides.append(float(size) * MILLIMETERS.get(name, 1e-3) if size else 1.0)
        return sides[0], sides[1], sides[2]
    notes = file.imagej_metadata or {}
    unit = MILLIMETERS.get(str(notes.get("unit", "")), 0.0)
    if not unit:
        return 1.0, 1.0, 1.0
    sides = [float(notes.get("spacing", 1.0)) * unit]
    for name in ("YResolution", "XResolution"):
        tag = file.pages[0].tags.get(name)
        count, length = tag.value if tag else (1, 1)
        sides.append(unit * length / count if count else unit)
    return sides[0], sides[1], sides[2]


_STREAMS: dict[bytes, Callable[[], Any]] = {  # by magic bytes
    b"\x1f\x8b": partial(zlib.decompressobj, 16 + zlib.MAX_WBITS),
    b"\x78": zlib.decompressobj,
    b"\xfd7zXZ": lzma.LZMADecompressor,
    b"BZh": bz2.BZ2Decompressor,
}


def read_zarr(path: Path, frame: int | None) -> Volume:
    """Read the finest scale of an OME-Zarr folder. Raises as `read_volume`."""
    zarr = import_library("zarr", f"reading {path.name}")

    group: Any = zarr.open_group(_bounded_store(path), mode="r")
    notes: Any = group.attrs.asdict()
    if not (scales := notes.get("ome", notes).get("multiscales")):
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
    for step in (
        *finest.get("coordinateTransformations", []),
        *scales[0].get("coordinateTransformations", []),
    ):
        if step["type"] == "scale":
            scale, shift = scale * step["scale"], shift * step["scale"]
        elif step["type"] == "translation":
            shift = shift + step["translation"]
    affine: Floats = np.eye(4)
    for row, name in enumerate("xyz"):
        index = names.index(name)
        known = axes[index].get("unit", "") if isinstance(axes[index], dict) else ""
        unit = MILLIMETERS.get(known, 1.0)
        affine[row, row], affine[row, 3] = scale[index] * unit, shift[index] * unit
    order = [names.index(name) for name in "zyx"]
    return Volume(select(source, order, frame, path), LPS_TO_RAS @ affine, source=str(path))


def _bounded_store(path: Path) -> Any:
    """File store that raises LimitError if a chunk decompresses to too much."""
    from zarr.storage import LocalStore

    class Bounded(LocalStore):
        async def get(self, key: str, *more: Any, **named: Any) -> Any:
            if (buffer := await super().get(key, *more, **named)) is not None:
                data = buffer.to_bytes()
                name = f"Chunk {key!r} of {path.name!r}"
                most = volume_bytes() // MEMORY_DIVISOR
                check_volume_bytes(zstd_bound(data), name, MEMORY_DIVISOR)
                # The Blosc format
                if int.from_bytes(data[12:16], "little") == len(data) and data[:1] == b"\2":
                    check_volume_bytes(int.from_bytes(data[4:8], "little"), name, MEMORY_DIVISOR)
                makes = (make for head, make in _STREAMS.items() if data.startswith(head))
                make, size = next(makes, None), 0
                with contextlib.suppress(Exception):  # the reader reports corrupted data
                    size = unpacked_size(data, most, make) if make else 0
                check_volume_bytes(size, name, MEMORY_DIVISOR)
            return buffer

    return Bounded(path, read_only=True)
