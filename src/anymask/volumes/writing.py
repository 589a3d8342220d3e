"""Write labels of a scan as NIfTI, Slicer .seg.nrrd or DICOM, and measure them.

All formats keep the affine of the scan, so that Slicer, ITK-SNAP and napari show the labels in
place. NIfTI does not store names and colors; .seg.nrrd stores both.
"""

from __future__ import annotations

import gzip
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from anymask.base import Floats, InputError, IntArray, need_packages, write_whole
from anymask.volumes.dicom_labels import segmentation_bytes, structure_bytes
from anymask.volumes.volume import LPS_TO_RAS, Color, Volume, label_color

_LABEL_FORMATS = {  # endings -> package, extra and name of the format; the last one that fits
    ".nii": ("nibabel", "volumes", "NIfTI"),
    ".nii.gz": ("nibabel", "volumes", "NIfTI"),
    ".seg.nrrd": ("nrrd", "volumes", ".seg.nrrd"),
    ".dcm": ("highdicom", "dicom-seg", "DICOM SEG"),
    ".rtstruct.dcm": ("pydicom", "volumes", "RTSTRUCT"),
}
_LABEL_INTENT, _SCANNER = "label", 1  # NIfTI codes


@dataclass(frozen=True)
class LabelMeasure:
    """The measurements of one label of a volume."""

    label: int  # Value of the label
    name: str  # Name of the label, or ""
    voxels: int  # Number of voxels
    volume_ml: float  # Volume in millilitres (cm3)
    center_mm: tuple[float, float, float]  # Center (x, y, z), RAS
    # Extent (z, y, x), from the first to the last voxel along each axis of the file
    extent_mm: tuple[float, float, float]
    slice: int  # Slice across z with the largest area of the label
    area_mm2: float  # Area on this slice
    diameter_mm: float  # Longest diameter on this slice, between outer corners of pixels


def label_volume(
    labels: ArrayLike,
    scan: Volume,
    *,
    names: Mapping[int, str] | None = None,
    colors: Mapping[int, Color] | None = None,
) -> Volume:
    """Create a label volume with the geometry of a scan.

    Args:
        labels: Labels (z, y, x), whole numbers, 0 for background. Floats may differ from whole
            numbers by 0.01, since NIfTI files with a scale factor do.

    Raises:
        InputError: The shape differs from the scan, or values are not labels.
    """
    array = np.asarray(labels)
    if array.shape != scan.shape:
        raise InputError(
            f"Labels must have the shape of the scan, {scan.shape}, got {array.shape}."
        )
    if array.dtype.kind == "f":
        whole = np.rint(array)
        if not np.allclose(array, whole, rtol=0, atol=0.01):
            raise InputError("Labels must be whole numbers, but these have fractions.")
        array = whole
    elif array.dtype.kind not in "bui":
        raise InputError(f"Labels must be whole numbers, got {array.dtype}.")
    low, high = int(array.min()), int(array.max())
    if low < 0 or high > np.iinfo(np.int32).max:
        raise InputError(
            f"Labels must be from 0 to 2147483647, but these are from {low} to {high}."
        )
    small = np.uint8 if high < 2**8 else np.uint16 if high < 2**16 else np.int32
    return Volume(array.astype(small, copy=False), scan.affine, names or {}, colors or {})


def check_label_path(path: str | Path) -> None:
    """Validate the suffix of a label file.

    Raises InputError if it is not supported, MissingExtra if its package is not installed.
    """
    name = Path(path).name
    fitting = [entry for end, entry in _LABEL_FORMATS.items() if name.lower().endswith(end)]
    if not fitting:
        raise InputError(
            f"Unsupported label file {name!r}. Use a name that ends in {', '.join(_LABEL_FORMATS)}."
        )
    package, extra, kind = fitting[-1]
    need_packages((package,), extra, f"writing {kind}")


def write_labels(path: str | Path, labels: Volume, scan: Volume | None = None) -> None:
    """Write a label volume in the format of the suffix, atomically.

    Args:
        path: .nii, .nii.gz; .seg.nrrd (names and colors, for Slicer); .dcm (DICOM SEG);
            .rtstruct.dcm (contours, for radiotherapy).
        scan: Scan of the labels as it was read. Required for DICOM, which refers to its slices.

    Raises:
        InputError: The suffix is not supported, or DICOM was requested for another scan.
        MissingExtra: A required library is not installed.
        OSError: The file cannot be written.
    """
    check_label_path(path)
    path = Path(path)
    name = path.name.lower()
    labels = label_volume(labels.array, labels, names=labels.names, colors=labels.colors)
    if name.endswith(".seg.nrrd"):
        data = _nrrd_bytes(labels)
    elif name.endswith(".dcm"):
        made = structure_bytes if name.endswith(".rtstruct.dcm") else segmentation_bytes
        data = made(labels, labels if scan is None else scan)
    else:
        import nibabel

        make: Any = nibabel.Nifti1Image  # nibabel is only partly typed
        image = make(labels.array.transpose(2, 1, 0), labels.affine)
        image.set_sform(labels.affine, code=_SCANNER)
        image.set_qform(labels.affine, code=_SCANNER)  # ITK prefers the qform
        image.header.set_intent(_LABEL_INTENT)
        image.header.set_xyzt_units("mm")
        data = bytes(image.to_bytes())
        data = gzip.compress(data, mtime=0) if name.endswith(".gz") else data
    write_whole(path, data)


def _nrrd_bytes(labels: Volume) -> bytes:
    """Encode as a Slicer segmentation: one layer, one segment per label."""
    import nrrd

    array = labels.array
    lps = LPS_TO_RAS @ labels.affine
    header: dict[str, Any] = {
        "space": "left-posterior-superior",
        "kinds": ["domain"] * 3,
        "space directions": lps[:3, :3].T,
        "space origin": lps[:3, 3],
        "encoding": "gzip",
    }
    pairs = {
        "Segmentation_ContainedRepresentationNames": "Binary labelmap|",
        "Segmentation_MasterRepresentation": "Binary labelmap",
        "Segmentation_ReferenceImageExtentOffset": "0 0 0",
    }
    boxes = _boxes(array)
    for number, value in enumerate(sorted({*boxes, *labels.names} - {0})):
        start = f"Segment{number}_"
        extent = boxes.get(value, np.array([[0, 0, 0], [-1, -1, -1]]))
        pairs |= {
            f"{start}ID": f"Segment_{value}",
            f"{start}Name": " ".join(labels.names.get(value, f"Segment_{value}").split()),
            f"{start}Color": " ".join(f"{part / 255:.6f}" for part in label_color(labels, value)),
            f"{start}NameAutoGenerated": "0" if value in labels.names else "1",
            f"{start}ColorAutoGenerated": "0" if value in labels.colors else "1",
            f"{start}LabelValue": str(value),
            f"{start}Layer": "0",
            f"{start}Extent": " ".join(str(int(part)) for part in extent[:, ::-1].T.ravel()),
            f"{start}Tags": "",
        }
    file = io.BytesIO()
    nrrd.write(file, array, header, index_order="C")
    head, _, packed = file.getvalue().partition(b"\n\n")
    lines = [f"{key}:={value}" for key, value in pairs.items()]  # pynrrd does not support UTF-8
    return b"\n".join([head, *(line.encode() for line in lines)]) + b"\n\n" + packed


def _boxes(array: NDArray[Any]) -> dict[int, IntArray]:
    """First and last voxel (2, 3) of each label, computed slice by slice."""
    boxes: dict[int, IntArray] = {}
    for z, pixels in enumerate(array):
        for value in map(int, np.unique(pixels[pixels != 0])):
            rows, columns = np.nonzero(pixels == value)
            low, high = (z, rows.min(), columns.min()), (z, rows.max(), columns.max())
            if value not in boxes:
                boxes[value] = np.array([low, high], np.int64)
            boxes[value][0] = np.minimum(boxes[value][0], low)
            boxes[value][1] = np.maximum(boxes[value][1], high)
    return boxes


def measure_labels(labels: Volume) -> list[LabelMeasure]:
    """Measure each label in mm, mm2 and ml, in order of value. Label 0 is background.

    Raises:
        InputError: The voxels are not labels.
    """
    labels = label_volume(labels.array, labels, names=labels.names)
    array, spacing = labels.array, np.array(labels.spacing)
    plane = float(spacing[1] * spacing[2])
    measured = []
    for value, (low, high) in _boxes(array).items():
        inside = array[tuple(map(slice, low, high + 1))] == value
        areas = inside.sum(axis=(1, 2))
        largest, count = int(areas.argmax()), int(areas.sum())
        middle = [float(part.mean()) for part in np.nonzero(inside)] + low
        center = labels.affine @ [*middle[::-1], 1.0]
        depth, height, width = ((high - low + 1) * spacing).tolist()
        measured.append(
            LabelMeasure(
                value,
                labels.names.get(value, ""),
                count,
                count * float(spacing.prod()) / 1000,
                (float(center[0]), float(center[1]), float(center[2])),
                (depth, height, width),
                int(low[0]) + largest,
                int(areas[largest]) * plane,
                _diameter(inside[largest], spacing[1:]),
            )
        )
    return sorted(measured, key=lambda one: one.label)


def _diameter(mask: NDArray[np.bool_], spacing: Floats) -> float:
    """Longest distance in mm between two pixel corners of a mask (H, W)."""
    pixels = np.argwhere(mask)
    corners = np.concatenate([pixels + shift for shift in ((0, 0), (0, 1), (1, 0), (1, 1))])
    hull = cv2.convexHull((corners * spacing).astype(np.float32))[:, 0].astype(np.float64)
    return float(np.sqrt(((hull[:, None] - hull[None]) ** 2).sum(axis=2)).max())
