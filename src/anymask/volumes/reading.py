"""Reads a scan from a file or folder, told by its content: NIfTI, MGH, NRRD, TIFF, OME-Zarr, DICOM.

nibabel, pynrrd, tifffile and zarr read; here their axes, units and frames become those of `Volume`.
NIfTI, MGH, OME-Zarr and DICOM are read slice by slice when asked; NRRD and TIFF at once.
"""

from __future__ import annotations

import gzip
import math
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anymask.base import AnymaskError, DataError, Floats, InputError, MissingExtra
from anymask.volumes.dicom import is_dicom, read_dicom
from anymask.volumes.dicom_labels import is_segmentation, read_segmentation
from anymask.volumes.volume import LPS_TO_RAS, Colour, Volume, scaled_affine

_HEAD = 512  # bytes that tell a format
_REASON = 200  # characters of a library's own message that are told
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_MILLIMETRES = {  # of a unit's names in NIfTI, OME and ImageJ
    **dict.fromkeys(("m", "meter", "metre"), 1e3),
    **dict.fromkeys(("cm", "centimeter", "centimetre"), 10.0),
    **dict.fromkeys(("mm", "millimeter", "millimetre"), 1.0),
    **dict.fromkeys(("um", "µm", "μm", "\\u00b5m", "micron", "microns", "micrometer"), 1e-3),
    **dict.fromkeys(("micrometre",), 1e-3),
    **dict.fromkeys(("nm", "nanometer", "nanometre"), 1e-6),
    **dict.fromkeys(("inch", "in"), 25.4),
}
_TO_RAS = {  # signs of x and y in the frames that NRRD names
    "left-posterior-superior": (-1, -1),
    "right-anterior-superior": (1, 1),
    "left-anterior-superior": (-1, 1),
}
_NRRD_SHORT = {"LPS": "left-posterior-superior", "RAS": "right-anterior-superior"}
_NRRD_SHORT["LAS"] = "left-anterior-superior"


def read_volume(
    path: str | Path, *, frame: int | None = None, series: int | str | None = None
) -> Volume:
    """A scan of three dimensions, with the place of each voxel in millimetres.

    path    .nii, .nii.gz, .mgh, .mgz, .nrrd, .seg.nrrd, .tif; a folder or zip of a DICOM series;
            a DICOM SEG; a folder of OME-Zarr. The content decides, not the name.
    frame   which one of several times or channels, counted from 0
    series  which one of a DICOM folder's several: its number, its UID or its description

    Raises InputError for what is no scan or holds several and none was chosen, DataError for a
    broken file, MissingExtra for a library that is not installed.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"there is no file or folder {str(path)!r}")
    with _explain(path):
        if path.is_dir():
            zarr_files = ("zarr.json", ".zattrs", ".zgroup")
            if any((path / name).is_file() for name in zarr_files):
                return _read_zarr(path, frame)
            return read_dicom(path, series)
        head = _head(path)
        if head[:4] == b"PK\3\4" or is_dicom(head):
            if is_dicom(head) and is_segmentation(path):
                return read_segmentation(path)
            return read_dicom(path, series)
        if head[:4] == b"NRRD":
            return _read_nrrd(path, frame)
        if head[:4] in _TIFF:
            return _read_tiff(path, frame)
        kind = _nibabel_kind(head)
        if kind:
            return _read_nibabel(path, kind, frame)
    raise InputError(
        f"{path.name!r} is no scan that is known here: wanted NIfTI, MGH, NRRD, a TIFF stack, "
        "OME-Zarr, or a folder or zip of DICOM slices"
    )


@contextmanager
def _explain(path: Path) -> Iterator[None]:
    """Turn what a library raises for a broken file into one clear error."""
    try:
        yield
    except (AnymaskError, FileNotFoundError, PermissionError, MemoryError):
        raise
    except Exception as error:  # the readers have no common error
        reason = " ".join(str(error).split())[:_REASON] or type(error).__name__
        raise DataError(f"{path.name!r} cannot be read as a scan: {reason}") from error


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        head = file.read(_HEAD)
    if head[:2] == b"\x1f\x8b":
        try:
            with gzip.open(path) as packed:
                return packed.read(_HEAD)
        except (OSError, EOFError, zlib.error) as error:
            raise DataError(f"{path.name!r} is a broken gzip file: {error}") from error
    return head


@dataclass(frozen=True)
class _Selected:
    """Three axes of an array of more, in the order (z, y, x); reads what is asked for.

    source  numpy, nibabel or zarr: anything that takes a key of integers and slices
    axes    which axis of the source is z, y and x
    fixed   the index on each other axis
    path    the file, for what is said of it where it is broken
    """

    source: Any
    axes: tuple[int, int, int]
    fixed: Mapping[int, int]
    path: Path

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(int(self.source.shape[axis]) for axis in self.axes)

    @property
    def dtype(self) -> np.dtype[Any]:
        known = getattr(self.source, "dtype", None)
        scaled = (getattr(self.source, "slope", 1), getattr(self.source, "inter", 0)) != (1, 0)
        return np.dtype(np.float64) if known is None or scaled else np.dtype(known)

    def __getitem__(self, key: tuple[int | slice, ...], /) -> NDArray[Any]:
        own: list[int | slice] = [0] * len(self.source.shape)
        for axis, index in self.fixed.items():
            own[axis] = index
        for axis, part in zip(self.axes, key, strict=True):
            own[axis] = part
        with _explain(self.path):
            read = np.asarray(self.source[tuple(own)])
        kept = [axis for axis, part in zip(self.axes, key, strict=True) if isinstance(part, slice)]
        return read.transpose(np.argsort(np.argsort(kept))) if kept else read


def _select(source: Any, axes: Sequence[int], frame: int | None, path: Path) -> _Selected:
    """The z, y and x of an array; of its other axes the one frame that was chosen."""
    shape = tuple(int(side) for side in source.shape)
    others = [axis for axis in range(len(shape)) if axis not in axes]
    count = math.prod(shape[axis] for axis in others)
    if count != 1 and frame is None:
        raise InputError(
            f"{path.name!r} holds {count} volumes (times or channels); say which: frame=0 to "
            f"frame={count - 1}"
        )
    chosen = frame or 0
    if not 0 <= chosen < count:
        raise InputError(f"wanted a frame from 0 to {count - 1}, got {frame}")
    indices = np.unravel_index(chosen, [shape[axis] for axis in others]) if others else ()
    z, y, x = axes
    return _Selected(source, (z, y, x), dict(zip(others, map(int, indices), strict=True)), path)


# NIfTI and MGH.


def _nibabel_kind(head: bytes) -> str:
    if head[344:348] == b"n+1\0":
        return "Nifti1Image"
    if head[4:8] == b"n+2\0":
        return "Nifti2Image"
    if head[344:348] == b"ni1\0":
        raise InputError("this is half of a NIfTI pair (.hdr, .img); save it as one .nii file")
    version, kind = head[:4], int.from_bytes(head[20:24], "big")
    return "MGHImage" if version == b"\0\0\0\1" and kind in (0, 1, 3, 4) else ""


def _read_nibabel(path: Path, kind: str, frame: int | None) -> Volume:
    try:
        import nibabel
    except ImportError as error:
        raise MissingExtra("nibabel", "volumes", f"reading {path.name}") from error
    reader: Any = getattr(nibabel, kind)
    packed = path.read_bytes()[:2] == b"\x1f\x8b"
    endings = ((".mgz",) if packed else (".mgh",)) if kind == "MGHImage" else ()
    endings = endings or ((".nii.gz",) if packed else (".nii",))
    if path.name.lower().endswith(endings):
        image = reader.from_filename(path)
    else:  # nibabel goes by the name, which says something else here
        data = path.read_bytes()
        image = reader.from_bytes(gzip.decompress(data) if packed else data)
    if len(image.shape) < 3:
        raise InputError(f"{path.name!r} has the shape {image.shape}: a picture, not a volume")
    unit = 1.0
    if kind != "MGHImage":
        unit = _MILLIMETRES.get(image.header.get_xyzt_units()[0], 1.0)
    affine = np.diag([unit, unit, unit, 1.0]) @ image.affine
    if np.abs(affine[:3, :3]).max(initial=0) == 0:
        raise DataError(f"{path.name!r} says that its voxels have no size")
    return Volume(_select(image.dataobj, (2, 1, 0), frame, path), affine, source=str(path))


# NRRD, and Slicer's segmentations in it.


def _read_nrrd(path: Path, frame: int | None) -> Volume:
    try:
        import nrrd
    except ImportError as error:
        raise MissingExtra("nrrd", "volumes", f"reading {path.name}") from error
    data, header = nrrd.read(str(path), index_order="F")
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
        raise InputError(f"{path.name!r} has {len(spatial)} axes in space; wanted three")
    lps_or_else = str(header.get("space", "left-posterior-superior"))
    space = _NRRD_SHORT.get(lps_or_else, lps_or_else).lower()
    if space not in _TO_RAS:
        raise InputError(f"{path.name!r} lies in {space!r}; wanted one of {', '.join(_TO_RAS)}")
    affine = np.eye(4)
    affine[:3, :3] = rows.T
    affine[:3, 3] = header.get("space origin", np.zeros(3))
    affine = np.diag([*_TO_RAS[space], 1.0, 1.0]) @ affine
    axes = (spatial[2], spatial[1], spatial[0])
    segments = _segments(_key_values(path))
    if segments:
        labels, names, colours = _merge_layers(np.asarray(data), axes, segments)
        return Volume(labels, affine, names, colours, str(path))
    return Volume(_select(data, axes, frame, path), affine, source=str(path))


@dataclass(frozen=True)
class _Segment:
    name: str
    colour: Colour | None
    value: int
    layer: int


def _key_values(path: Path) -> dict[str, str]:
    """The lines KEY:=VALUE of a header in UTF-8, as Slicer has them; pynrrd keeps ASCII alone."""
    pairs = {}
    with path.open("rb") as file:
        for line in file:
            if not line.strip():
                break
            key, said, value = line.decode("utf-8", "replace").strip().partition(":=")
            if said:
                pairs[key] = value
    return pairs


def _segments(header: Mapping[str, str]) -> list[_Segment]:
    """The segments that Slicer wrote into a header: Segment0_Name and its like."""
    found: list[_Segment] = []
    while f"Segment{len(found)}_ID" in header:
        start = f"Segment{len(found)}_"
        colour = None
        if f"{start}Color" in header:
            red, green, blue = (float(part) for part in header[f"{start}Color"].split())
            colour = round(255 * red), round(255 * green), round(255 * blue)
        found.append(
            _Segment(
                header.get(f"{start}Name", header[f"{start}ID"]),
                colour,
                int(header.get(f"{start}LabelValue", 1)),
                int(header.get(f"{start}Layer", 0)),
            )
        )
    return found


def _merge_layers(
    data: NDArray[Any], axes: tuple[int, int, int], segments: Sequence[_Segment]
) -> tuple[NDArray[Any], dict[int, str], dict[int, Colour]]:
    """One label for each voxel; segments in several layers are numbered anew, from 1."""
    if data.ndim == 3:
        labels: NDArray[Any] = data.transpose(axes)
        return (
            labels,
            {one.value: one.name for one in segments},
            {one.value: one.colour for one in segments if one.colour},
        )
    (layers,) = {0, 1, 2, 3} - set(axes)
    stack = data.transpose(layers, *axes)
    labels = np.zeros(stack.shape[1:], np.uint8 if len(segments) < 256 else np.uint16)
    for number, segment in enumerate(segments, 1):
        inside = stack[segment.layer] == segment.value
        if labels[inside].any():
            raise InputError(
                f"the segment {segment.name!r} lies over another one, and a volume of labels has "
                "one label a voxel; export the segments one by one"
            )
        labels[inside] = number
    names = {number: one.name for number, one in enumerate(segments, 1)}
    colours = {number: one.colour for number, one in enumerate(segments, 1) if one.colour}
    return labels, names, colours


# TIFF stacks and OME-Zarr.


def _read_tiff(path: Path, frame: int | None) -> Volume:
    try:
        import tifffile
    except ImportError as error:
        raise MissingExtra("tifffile", "volumes", f"reading {path.name}") from error
    with tifffile.TiffFile(path) as file:
        first = file.series[0]
        axes, data = first.axes.replace("Q", "Z").replace("I", "Z"), first.asarray()
        spacing = _tiff_spacing(file)
    if "S" in axes:
        raise InputError(f"{path.name!r} is in colour; wanted one number a voxel")
    if any(axes.count(letter) != 1 for letter in "ZYX"):
        raise InputError(f"{path.name!r} has the axes {axes}: a picture, not a stack of slices")
    order = [axes.index(letter) for letter in "ZYX"]
    return Volume(_select(data, order, frame, path), scaled_affine(spacing), source=str(path))


def _tiff_spacing(file: Any) -> tuple[float, float, float]:
    """Millimetres along z, y, x, where OME or ImageJ say them; else 1."""
    if file.is_ome:
        from xml.etree import ElementTree as ET

        pixels = ET.fromstring(file.ome_metadata).find(".//{*}Pixels")
        sides: list[float] = []
        for axis in "ZYX":
            size = None if pixels is None else pixels.get(f"PhysicalSize{axis}")
            name = "um" if pixels is None else pixels.get(f"PhysicalSize{axis}Unit", "um")
            sides.append(float(size) * _MILLIMETRES.get(name, 1e-3) if size else 1.0)
        return sides[0], sides[1], sides[2]
    notes = file.imagej_metadata or {}
    unit = _MILLIMETRES.get(str(notes.get("unit", "")), 0.0)
    if not unit:
        return 1.0, 1.0, 1.0
    sides = [float(notes.get("spacing", 1.0)) * unit]
    for name in ("YResolution", "XResolution"):
        tag = file.pages[0].tags.get(name)
        count, length = tag.value if tag else (1, 1)
        sides.append(unit * length / count if count else unit)
    return sides[0], sides[1], sides[2]


def _read_zarr(path: Path, frame: int | None) -> Volume:
    try:
        import zarr
    except ImportError as error:
        raise MissingExtra("zarr", "volumes", f"reading {path.name}") from error
    group = zarr.open_group(str(path), mode="r")
    notes: Any = group.attrs.asdict()
    scales = notes.get("ome", notes).get("multiscales")
    if not scales:
        raise InputError(f"{path.name!r} is Zarr, but not OME-Zarr: it has no 'multiscales'")
    axes = scales[0]["axes"]
    names = [axis["name"] if isinstance(axis, dict) else axis for axis in axes]
    if any(names.count(name) != 1 for name in "zyx"):
        raise InputError(f"{path.name!r} has the axes {', '.join(names)}; wanted z, y and x")
    finest = scales[0]["datasets"][0]  # the finest stands first
    source: Any = group[finest["path"]]
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
        unit = _MILLIMETRES.get(known, 1.0)
        affine[row, row], affine[row, 3] = scale[place] * unit, shift[place] * unit
    order = [names.index(name) for name in "zyx"]
    return Volume(_select(source, order, frame, path), LPS_TO_RAS @ affine, source=str(path))
