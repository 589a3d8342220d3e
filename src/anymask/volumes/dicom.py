"""Reader of DICOM series, from a folder or zip, sorted by slice position.

Slices are ordered by their position along the slice normal (PS3.3 C.7.6.2), never by file name or
instance number. Pixels are read slice by slice, on demand.
"""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from anymask.base import (
    AnymaskError,
    DataError,
    Floats,
    InputError,
    LimitError,
    brief,
    check_volume_bytes,
    unpacked_size,
    volume_bytes,
)
from anymask.base.arrays import ANY_RATIO_BYTES, MAX_TIMES
from anymask.images import suggest_command
from anymask.volumes.selected import MEMORY_DIVISOR, import_library
from anymask.volumes.volume import LPS_TO_RAS, Volume

_DEFLATED = b"1.2.840.10008.1.2.1.99"  # deflated syntax: pydicom decompresses the whole file
_MAX_HEADERS = 32 << 20  # maximum total size of the headers of a series, in bytes
_UNEVEN = 0.25  # tolerance of slice gaps, relative to the median: headers round positions


def is_dicom(head: bytes) -> bool:
    """Whether a file starts with the DICOM part 10 prefix."""
    return head[128:132] == b"DICM"


@dataclass(frozen=True)
class DicomFile:
    """File of a slice, on disk or in a zip."""

    path: Path
    member: str = ""

    def open(self) -> io.BufferedIOBase:
        if not self.member:
            return self.path.open("rb")
        with zipfile.ZipFile(self.path) as archive:
            return io.BytesIO(archive.read(self.member))

    @contextmanager
    def checked(self) -> Iterator[io.BufferedIOBase]:
        """Open the file. Raises LimitError if it decompresses to too much, or DataError."""
        with self.open() as file:
            head = file.read(4096)  # contains the transfer syntax
            file.seek(0)
            if is_dicom(head) and _DEFLATED in head:
                name, most = repr(self.member or self.path.name), volume_bytes() // MEMORY_DIVISOR
                # Skip the file meta information group.
                file.seek(144 + int.from_bytes(head[140:144], "little"))
                make = partial(zlib.decompressobj, -zlib.MAX_WBITS)
                try:
                    size = unpacked_size(file.read(), most, make)
                except zlib.error as error:
                    raise DataError(
                        f"{name} is a corrupted DICOM file (deflated transfer syntax). Copy it "
                        "again."
                    ) from error
                check_volume_bytes(size, name, MEMORY_DIVISOR)
                file.seek(0)
            yield file


@brief
@dataclass(frozen=True)
class _Slice:
    """Header of a slice, and the file with its pixels."""

    file: DicomFile
    header: Any

    @property
    def position(self) -> Floats:  # (3,) of the first pixel, LPS
        return np.array(self.header.ImagePositionPatient, np.float64)

    @property
    def scaling(self) -> tuple[float, float]:
        slope = float(self.header.get("RescaleSlope", 1) or 1)
        return slope, float(self.header.get("RescaleIntercept", 0) or 0)


@brief
@dataclass(frozen=True)
class DicomSlices:
    """Voxels of a series (z, y, x), in scanner units: slope and intercept are applied."""

    slices: Sequence[_Slice]

    @property
    def headers(self) -> list[Any]:
        """Data sets of the slices without pixels, in order."""
        return [image.header for image in self.slices]

    @property
    def shape(self) -> tuple[int, ...]:
        header = self.slices[0].header
        return len(self.slices), int(header.Rows), int(header.Columns)

    @cached_property
    def dtype(self) -> np.dtype[Any]:
        if any(part % 1 for image in self.slices for part in image.scaling):
            return np.dtype(np.float32)
        signed = any(image.header.get("PixelRepresentation", 0) for image in self.slices)
        scaled = any(image.scaling != (1.0, 0.0) for image in self.slices)
        bits = int(self.slices[0].header.BitsStored)
        if not scaled and not signed:
            return np.dtype(np.uint8 if bits <= 8 else np.uint16 if bits <= 16 else np.uint32)
        most = max(abs(image.scaling[0]) * 2**bits + abs(image.scaling[1]) for image in self.slices)
        return np.dtype(np.int16 if most < 2**15 or (not scaled and bits <= 16) else np.int32)

    def __getitem__(self, key: tuple[int | slice, ...], /) -> NDArray[Any]:
        z, y, x = key
        rows = len(range(*z.indices(self.shape[0]))) if isinstance(z, slice) else 1
        size = rows * self.shape[1] * self.shape[2] * self.dtype.itemsize
        check_volume_bytes(size, repr(self.slices[0].file.path.parent.name))
        if not isinstance(z, slice):
            return self._pixels(self.slices[z])[y, x]
        return np.stack([self._pixels(image)[y, x] for image in self.slices[z]])

    def _pixels(self, one: _Slice) -> NDArray[Any]:
        import pydicom

        name = one.file.member or one.file.path.name
        try:
            with one.file.checked() as file:
                dataset = pydicom.dcmread(file, force=True)
            _check_frame(dataset, name)
            pixels = dataset.pixel_array
        except AnymaskError:
            raise
        except Exception as error:  # pydicom decoders have no common exception class
            raise DataError(
                f"The pixels of {name!r} cannot be decoded. If the slices are compressed, "
                "install decoders with: pip install pylibjpeg pylibjpeg-libjpeg "
                "pylibjpeg-openjpeg"
            ) from error
        if pixels.shape != self.shape[1:]:
            raise DataError(
                f"The slice {name!r} has {pixels.shape} pixels, but the other slices "
                f"of the series have {self.shape[1:]}. Move it to another folder."
            )
        slope, intercept = one.scaling
        if (slope, intercept) == (1.0, 0.0):
            return pixels.astype(self.dtype, copy=False)
        values = pixels * slope + intercept
        if self.dtype.kind == "f":
            return values.astype(self.dtype)
        bounds = np.iinfo(self.dtype)  # padding values may exceed the declared bits
        return values.clip(bounds.min, bounds.max).astype(self.dtype)


def _check_frame(dataset: Any, name: str) -> None:
    """Raise DataError if the size of a compressed image differs from the header."""
    from pydicom.encaps import generate_frames

    if not dataset.file_meta.TransferSyntaxUID.is_encapsulated:
        return
    frame = next(generate_frames(dataset.PixelData, number_of_frames=1))
    try:
        with Image.open(io.BytesIO(frame), formats=("JPEG", "JPEG2000")) as image:
            size = image.size
    except UnidentifiedImageError:
        size = _jpeg_ls_size(frame) or (dataset.Columns, dataset.Rows)  # RLE: pydicom checks
    if size != (dataset.Columns, dataset.Rows):
        raise DataError(
            f"{name!r} contains an image of {size[0]} x {size[1]} pixels, but its header "
            f"declares {dataset.Columns} x {dataset.Rows}. Copy it again."
        )


def _jpeg_ls_size(frame: bytes) -> tuple[int, int] | None:
    """Width and height from a JPEG-LS frame header (ISO/IEC 14495-1, annex C), or None."""
    at = 2
    while frame[:2] == b"\xff\xd8" and frame[at : at + 1] == b"\xff":
        if frame[at + 1 : at + 2] == b"\xf7":
            height, width = struct.unpack_from(">HH", frame.ljust(at + 9, b"\0"), at + 5)
            return width, height
        at += 2 + int.from_bytes(frame[at + 2 : at + 4], "big")
    return None


def read_dicom(path: Path, series: int | str | None = None) -> Volume:
    """Read the scan from a folder, a zip or one file of DICOM.

    Raises InputError if there is no series, or several and none was selected, DataError if the
    slices do not form a volume, MissingExtra without pydicom.

    Args:
        series: Number, UID or description of the series to read, if there are several.
    """
    if not (groups := _by_series(path)):
        raise InputError(
            suggest_command(path, "scan")
            or (
                f"{path.name!r} contains neither DICOM slices nor another supported scan. "
                "Choose another folder or file."
            )
        )
    slices = _choose(groups, series, path.name)
    return Volume(DicomSlices(slices), _affine(slices), source=str(path))


def _files(path: Path) -> Iterator[DicomFile]:
    if path.is_dir():
        yield from (DicomFile(file) for file in sorted(path.rglob("*")) if file.is_file())
    elif zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            members = [member for member in archive.infolist() if not member.is_dir()]
        unpacked = sum(member.file_size for member in members)
        if unpacked > max(ANY_RATIO_BYTES, MAX_TIMES * path.stat().st_size):
            raise DataError(
                f"{path.name!r} unpacks to {unpacked} bytes, which is too much for a "
                "zip file of its size. Pass a zip file of DICOM slices."
            )
        yield from (
            DicomFile(path, member.filename) for member in sorted(members, key=lambda m: m.filename)
        )
    else:
        yield DicomFile(path)


def _by_series(path: Path) -> dict[tuple[str, ...], list[_Slice]]:
    """Group slices by series. Slices with another orientation or size form a separate series."""
    pydicom = import_library("pydicom", f"reading {path.name}")

    groups: dict[tuple[str, ...], list[_Slice]] = {}
    for file in _files(path):
        with file.checked() as opened:
            if not is_dicom(opened.read(132)):
                continue
            opened.seek(0)
            header = pydicom.dcmread(opened, stop_before_pixels=True)
        if "Rows" not in header or header.get("Modality") == "SEG":
            continue  # DICOMDIR, report or plan; or a label file in the folder of its series
        if int(header.get("NumberOfFrames", 1) or 1) > 1:
            raise InputError(
                f"{file.path.name!r} contains many slices in one file (enhanced DICOM), which "
                "is not supported. Convert it with dcm2niix."
            )
        if (
            "ImagePositionPatient" not in header
            or "ImageOrientationPatient" not in header
            or int(header.get("SamplesPerPixel", 1)) != 1
        ):
            continue  # localizer, screen capture or color image
        directions = " ".join(f"{float(part):.3f}" for part in header.ImageOrientationPatient)
        key = (str(header.SeriesInstanceUID), directions, f"{header.Rows} x {header.Columns}")
        groups.setdefault(key, []).append(_Slice(file, header))
    return groups


def _choose(
    groups: dict[tuple[str, ...], list[_Slice]], series: int | str | None, name: str
) -> list[_Slice]:
    if series is None and len(groups) == 1:
        return next(iter(groups.values()))
    lines = []
    for number, ((uid, _, size), slices) in enumerate(groups.items()):
        title = str(slices[0].header.get("SeriesDescription", "")) or uid
        lines.append(f"{number}: {title!r}, {len(slices)} slices of {size}")
        if series in (uid, title) or str(series) == str(number):
            return slices
    requested = (
        f"Unknown series {series!r}. Use one of these:"
        if series is not None
        else "Select one of these, such as series=0:"
    )
    raise InputError("\n  ".join([f"{name!r} contains {len(groups)} series. {requested}", *lines]))


def write_headers(series: DicomSlices, folder: Path) -> None:
    """Write the headers of slices to one file each, without pixels, private and long elements.

    Raises LimitError if they exceed `_MAX_HEADERS` bytes.
    """
    from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian

    size = 0
    for number, image in enumerate(series.slices):
        header = image.header
        for tag in list(header.keys()):
            length = getattr(header.get_item(tag), "length", 0)
            if tag.is_private or not 0 <= length <= 4096:
                del header[tag]
        if header.file_meta.TransferSyntaxUID == DeflatedExplicitVRLittleEndian:
            header.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        path = folder / f"{number:06}.dcm"
        header.save_as(path, enforce_file_format=False)
        size += path.stat().st_size
        if size > _MAX_HEADERS:
            raise LimitError(
                f"The headers of {len(series.slices)} slices exceed "
                f"{_MAX_HEADERS >> 20} MB. Convert the scan to NIfTI."
            )


def read_headers(folder: Path) -> list[_Slice]:
    """Read the files of `write_headers`. The pixels are stored elsewhere."""
    import pydicom

    files = [DicomFile(path) for path in sorted(folder.iterdir())]
    return [_Slice(file, pydicom.dcmread(file.path, force=True)) for file in files]


def _affine(slices: list[_Slice]) -> Floats:
    """Sort the slices in place by position and return their affine (4, 4), RAS."""
    along, down = np.array(slices[0].header.ImageOrientationPatient, np.float64).reshape(2, 3)
    normal = np.cross(along, down)
    slices.sort(key=lambda one: float(one.position @ normal))
    first, header = slices[0].position, slices[0].header
    gaps = np.diff([image.position @ normal for image in slices])
    if not len(gaps):
        gap = header.get("SpacingBetweenSlices") or header.get("SliceThickness") or 1
        step = normal * abs(float(gap))
    else:
        usual = float(np.median(gaps))
        worst = int(np.abs(gaps - usual).argmax())
        if gaps.min() < 1e-4:
            raise DataError(
                f"Slices {int(gaps.argmin())} and {int(gaps.argmin()) + 1} have the same "
                "position: the series contains several time points or echoes. Keep one of "
                "them in the folder."
            )
        if abs(gaps[worst] - usual) > _UNEVEN * usual:
            raise DataError(
                f"Slices {worst} and {worst + 1} are {gaps[worst]:.2f} mm apart, but "
                f"the other slices {usual:.2f} mm: a slice is missing or belongs to "
                "another series."
            )
        step = (slices[-1].position - first) / len(gaps)
    row_gap, column_gap = (float(part) for part in header.get("PixelSpacing", (1, 1)))
    affine = np.eye(4)
    affine[:3, :3] = np.stack([along * column_gap, down * row_gap, step], axis=1)
    affine[:3, 3] = first
    return LPS_TO_RAS @ affine
