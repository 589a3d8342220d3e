"""DICOM label files: segmentations (SEG) by highdicom, and structure sets (RTSTRUCT).

Both refer to the slices of the scan's series, and copy its patient and study. SEG segments are
numbered from 1 without gaps, as the standard requires. RTSTRUCT contours follow pixel borders in
the planes of the slices. A hole is connected to its outline by a bridge (PS3.3 C.8.8.6.3,
"keyhole"), so that filling the polygons by the even-odd rule restores the mask.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from anymask.base import DataError, InputError, check_volume_bytes
from anymask.masks import mask_to_polygons, polygon_to_ring
from anymask.volumes.dicom import DicomFile, DicomSlices
from anymask.volumes.selected import import_library
from anymask.volumes.volume import LPS_TO_RAS, Volume, label_color

RT_CLASS = "1.2.840.10008.5.1.4.1.1.481.3"
WHOLE_BITS = 64 << 23  # maximum size of a SEG with empty slices: 64 MiB
MAKER = "anymask"
_COPIED_ATTRIBUTES = (  # attributes of the first slice to copy to a structure set
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyInstanceUID", "StudyDate",
    "StudyTime", "StudyID", "AccessionNumber", "ReferringPhysicianName", "FrameOfReferenceUID",
    "PositionReferenceIndicator",
)  # fmt: skip


def is_segmentation(path: Path) -> bool:
    """Whether a DICOM file is a segmentation."""
    try:
        import pydicom
    except ImportError:
        return False  # reported by the reader
    with DicomFile(path).checked() as file:
        header = pydicom.dcmread(file, specific_tags=["SOPClassUID"], stop_before_pixels=True)
    return str(header.get("SOPClassUID", "")) == "1.2.840.10008.5.1.4.1.1.66.4"


def read_segmentation(path: Path) -> Volume:
    """Read the labels of a SEG, with names. Missing slices between others are empty.

    Raises InputError if segments overlap, MissingExtra.
    """
    highdicom = import_library("highdicom", f"reading {path.name}", "dicom-seg")
    segmentation = highdicom.seg.segread(path)
    if (geometry := segmentation.get_volume_geometry()) is not None:
        segments = len(segmentation.SegmentSequence)
        size = 2 * math.prod(geometry.spatial_shape) * max(segments, 1)
        check_volume_bytes(size, repr(path.name))
    volume = segmentation.get_volume(combine_segments=True, dtype=np.uint16)
    array, steps = volume.array, np.array(volume.affine, np.float64)  # slice, row, column to LPS
    if np.linalg.det(steps[:3, 2::-1]) < 0:  # reorder the slices along the normal, as in a series
        array, steps[:3, 3] = array[::-1], steps[:3, 3] + (len(array) - 1) * steps[:3, 0]
        steps[:3, 0] *= -1
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = steps[:3, 2::-1], steps[:3, 3]
    names = {
        int(segment.SegmentNumber): str(segment.SegmentLabel)
        for segment in segmentation.SegmentSequence
    }
    small = np.uint8 if len(names) < 256 else np.uint16
    return Volume(array.astype(small), LPS_TO_RAS @ affine, names, source=str(path))


def segmentation_bytes(labels: Volume, scan: Volume) -> bytes:
    """Encode labels as DICOM SEG. Raises InputError if the scan is not DICOM, MissingExtra."""
    highdicom = import_library("highdicom", "writing DICOM SEG", "dicom-seg")
    from pydicom.sr.codedict import codes

    series, array = _series(labels, scan), labels.array
    if not (values := [int(value) for value in np.unique(array) if value]):
        raise InputError(
            "The labels are empty, but a DICOM SEG requires at least one segment. Pass "
            "labels with at least one object."
        )
    numbers = np.zeros(int(array.max()) + 1, np.uint16)
    numbers[values] = np.arange(1, len(values) + 1)
    by = highdicom.AlgorithmIdentificationSequence(
        name=MAKER, version=_version(), family=codes.DCM.ArtificialIntelligence
    )
    described = [
        highdicom.seg.SegmentDescription(
            segment_number=number,
            segment_label=labels.names.get(value, f"Segment_{value}")[:64],
            segmented_property_category=codes.SCT.Tissue,
            segmented_property_type=codes.SCT.Tissue,
            algorithm_type="SEMIAUTOMATIC",
            algorithm_identification=by,
            display_color=highdicom.color.CIELabColor.from_rgb(*label_color(labels, value)),
        )
        for number, value in enumerate(values, 1)
    ]
    try:
        segmentation = highdicom.seg.Segmentation(
            source_images=series.headers,
            pixel_array=numbers[array],
            segmentation_type="BINARY",
            segment_descriptions=described,
            series_instance_uid=highdicom.UID(),
            series_number=900,
            sop_instance_uid=highdicom.UID(),
            instance_number=1,
            manufacturer=MAKER,
            manufacturer_model_name=MAKER,
            software_versions=_version(),
            device_serial_number="0",
            content_label="SEGMENTATION",
            series_description="Segmentation",
            omit_empty_frames=array.size * len(values) > WHOLE_BITS,
        )
    except (MemoryError, OSError):
        raise
    except Exception as error:  # highdicom has no common exception class
        raise DataError("The series is not valid DICOM. Copy it again.") from error
    return _file_bytes(segmentation)


def structure_bytes(labels: Volume, scan: Volume) -> bytes:
    """Encode labels as RTSTRUCT. Raises InputError if the scan is not DICOM, MissingExtra."""
    import_library("pydicom", "writing RTSTRUCT")
    from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
    from pydicom.uid import UID, ExplicitVRLittleEndian, generate_uid

    series = _series(labels, scan)
    first, now = series.headers[0], datetime.now()
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = UID(RT_CLASS)
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    for name in _COPIED_ATTRIBUTES:
        if name in first:
            setattr(made, name, first[name].value)
    made.SOPClassUID, made.SOPInstanceUID = RT_CLASS, meta.MediaStorageSOPInstanceUID
    made.Modality, made.SeriesInstanceUID, made.SeriesNumber = "RTSTRUCT", generate_uid(), 901
    made.Manufacturer, made.SoftwareVersions = MAKER, _version()
    made.StructureSetLabel, made.OperatorsName = MAKER, ""
    made.StructureSetDate, made.StructureSetTime = now.strftime("%Y%m%d"), now.strftime("%H%M%S")
    # References to the study, series and slices of the contours.
    study, inside, frame = Dataset(), Dataset(), Dataset()
    inside.SeriesInstanceUID = first.SeriesInstanceUID
    inside.ContourImageSequence = [_image(Dataset, header) for header in series.headers]
    study.ReferencedSOPClassUID = "1.2.840.10008.3.1.2.3.1"  # retired, but still required here
    study.ReferencedSOPInstanceUID = first.StudyInstanceUID
    study.RTReferencedSeriesSequence = [inside]
    frame.FrameOfReferenceUID = first.FrameOfReferenceUID
    frame.RTReferencedStudySequence = [study]
    made.ReferencedFrameOfReferenceSequence = [frame]
    made.StructureSetROISequence, made.ROIContourSequence = [], []
    made.RTROIObservationsSequence = []
    values = sorted({int(value) for value in np.unique(labels.array) if value} | set(labels.names))
    for number, value in enumerate(values, 1):
        region = Dataset()
        region.ROINumber, region.ROIName = number, labels.names.get(value, f"Segment_{value}")[:64]
        region.ReferencedFrameOfReferenceUID = first.FrameOfReferenceUID
        region.ROIGenerationAlgorithm = "SEMIAUTOMATIC"
        made.StructureSetROISequence.append(region)
        outlines = Dataset()
        outlines.ReferencedROINumber = number
        outlines.ROIDisplayColor = list(label_color(labels, value))
        outlines.ContourSequence = list(_contours(Dataset, labels, value, series))
        made.ROIContourSequence.append(outlines)
        observation = Dataset()
        observation.ObservationNumber = observation.ReferencedROINumber = number
        observation.RTROIInterpretedType, observation.ROIInterpreter = "", ""
        made.RTROIObservationsSequence.append(observation)
    return _file_bytes(made)


def _image(dataset: Any, header: Any) -> Any:
    image = dataset()
    image.ReferencedSOPClassUID = header.SOPClassUID
    image.ReferencedSOPInstanceUID = header.SOPInstanceUID
    return image


def _contours(dataset: Any, labels: Volume, value: int, series: DicomSlices) -> Iterator[Any]:
    lps = LPS_TO_RAS @ labels.affine
    for z, pixels in enumerate(labels.array == value):
        for polygon in mask_to_polygons(pixels) if pixels.any() else ():
            ring = polygon_to_ring(polygon) - 0.5  # pixel borders, relative to pixel centers
            points = np.column_stack([ring, np.full(len(ring), z), np.ones(len(ring))])
            places = (points @ lps.T)[:, :3]
            contour = dataset()
            contour.ContourImageSequence = [_image(dataset, series.headers[z])]
            contour.ContourGeometricType = "CLOSED_PLANAR"
            contour.NumberOfContourPoints = len(places)
            contour.ContourData = [f"{part:.10g}"[:16] for part in places.ravel().tolist()]
            yield contour


def series_of(scan: Volume) -> DicomSlices:
    """Return the DICOM slices that a scan was read from.

    Raises:
        InputError: The scan is not a DICOM series.
        DataError: The series has no FrameOfReferenceUID.
    """
    series = scan.voxels
    if not isinstance(series, DicomSlices):
        raise InputError(
            "DICOM SEG and RTSTRUCT refer to the slices of a DICOM series, but this "
            f"scan comes from {scan.source or 'an array'}. Write .nii.gz or .seg.nrrd, "
            "or open the DICOM series instead."
        )
    if "FrameOfReferenceUID" not in series.headers[0]:
        raise DataError(
            "The series has no FrameOfReferenceUID, to which DICOM labels refer. Write "
            ".nii.gz or .seg.nrrd."
        )
    header = series.headers[0]
    # Empty the shared attributes that do not conform to DICOM, such as a StudyTime of "0".
    from pydicom.config import RAISE
    from pydicom.valuerep import validate_value

    for name in _COPIED_ATTRIBUTES:
        if name in header:
            try:
                validate_value(header[name].VR, header[name].value, RAISE)
            except ValueError:
                setattr(header, name, "")
    return series


def _series(labels: Volume, scan: Volume) -> DicomSlices:
    """Return the slices of the labels. Raises InputError if the geometry differs from the scan."""
    series = series_of(scan)
    if labels.shape != scan.shape or not np.allclose(labels.affine, scan.affine, atol=1e-3):
        raise InputError(
            "The labels and the scan have different affines. Create the labels with label_volume."
        )
    return series


def _file_bytes(made: Any) -> bytes:
    file = io.BytesIO()
    made.save_as(file, enforce_file_format=True)
    return file.getvalue()


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("anymask")
    except PackageNotFoundError:  # run from the source tree
        return "0"
