"""Labels as DICOM: read back where they lie, by our reader, by highdicom and from the outlines."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import anymask
from anymask.base import InputError
from anymask.masks import Polygon, polygons_to_mask
from anymask.volumes import Volume, label_volume, write_labels
from anymask.volumes.volume import scaled_affine
from tests.volumes.test_volumes import RAS_AND_LPS, SHAPE, orientations, some_labels, write_slice

pydicom = pytest.importorskip("pydicom")
highdicom = pytest.importorskip("highdicom")


ABSENT = (
    "PositionReferenceIndicator", "PatientBirthDate", "PatientSex", "StudyID", "AccessionNumber",
    "ReferringPhysicianName",
)  # fmt: skip


def write_scan(folder: Path, affine: NDArray[np.float64], shape: tuple[int, int, int]) -> Volume:
    """A CT series at an affine (RAS), read back."""
    folder.mkdir()
    lps = RAS_AND_LPS @ affine
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    directions = np.concatenate([lps[:3, 0] / spacing[0], lps[:3, 1] / spacing[1]])
    about = dict.fromkeys(ABSENT, "") | {
        "StudyInstanceUID": "1.2.7", "SeriesInstanceUID": "1.2.8", "FrameOfReferenceUID": "1.2.6",
        "PatientName": "A^B", "PatientID": "7", "StudyDate": "20260101", "StudyTime": "1200",
        "Modality": "CT", "ImageOrientationPatient": [f"{one:.12g}"[:16] for one in directions],
        "PixelSpacing": [f"{spacing[1]:.10g}", f"{spacing[0]:.10g}"], "Rows": shape[1],
        "SliceThickness": f"{spacing[2]:.10g}", "Columns": shape[2], "BitsStored": 16,
        "HighBit": 15, "PixelRepresentation": 1, "RescaleIntercept": 0,
    }  # fmt: skip
    for k in range(shape[0]):
        voxels = {"PixelData": np.full(shape[1:], k, np.int16).tobytes(), "InstanceNumber": k + 1}
        position = lps[:3, 3] + k * lps[:3, 2]
        write_slice(folder / f"{k}.dcm", k + 1, position, **about, **voxels)
    return anymask.read_volume(folder)


@pytest.mark.parametrize("affine", orientations())
def test_a_segmentation_lies_on_its_series(affine: NDArray[np.float64], tmp_path: Path) -> None:
    scan, array = write_scan(tmp_path / "ct", affine, SHAPE), some_labels()
    assert np.allclose(scan.affine, affine, rtol=0, atol=1e-4)
    labels = label_volume(array, scan, names={1: "liver", 3: "spleen"})
    write_labels(tmp_path / "seg.dcm", labels, scan)

    read = anymask.read_volume(tmp_path / "seg.dcm")
    assert np.array_equal(read.array, array)
    assert np.allclose(read.spacing, scan.spacing, rtol=0, atol=1e-6)
    assert np.allclose(read.affine, affine, rtol=0, atol=1e-4)
    assert read.names == {1: "liver", 2: "Segment_2", 3: "spleen"}

    write_labels(tmp_path / "rt.rtstruct.dcm", labels, scan)
    assert np.array_equal(filled(tmp_path / "rt.rtstruct.dcm", scan, 3), array)


def filled(path: Path, scan: Volume, count: int) -> NDArray[np.uint8]:
    """The labels of a structure set, by filling its outlines on their slices."""
    plan = pydicom.dcmread(path)
    back = np.linalg.inv(RAS_AND_LPS @ scan.affine)
    labels = np.zeros(scan.shape, np.uint8)
    assert len(plan.ROIContourSequence) == count
    for outlines in plan.ROIContourSequence:
        for contour in outlines.ContourSequence:
            places = np.array(contour.ContourData, np.float64).reshape(-1, 3)
            voxels = np.column_stack([places, np.ones(len(places))]) @ back.T
            z = round(float(voxels[0, 2]))
            assert np.allclose(voxels[:, 2], z, atol=1e-4)
            referred = contour.ContourImageSequence[0].ReferencedSOPInstanceUID
            assert referred == scan.voxels.headers[z].SOPInstanceUID  # type: ignore[attr-defined]
            ring = (voxels[:, :2] + 0.5).round(3)
            inside = polygons_to_mask([Polygon(ring)], scan.shape[1:])
            labels[z][inside] = outlines.ReferencedROINumber
    return labels


def test_references_names_and_colours_stand_in_the_segmentation(tmp_path: Path) -> None:
    scan = write_scan(tmp_path / "ct", orientations()[0], SHAPE)
    array = np.zeros(SHAPE, np.uint8)
    array[1, 1:3, 1:3], array[2, 0, 0] = 4, 9
    labels = label_volume(array, scan, names={4: "liver"}, colors={4: (200, 30, 7)})
    write_labels(tmp_path / "seg.dcm", labels, scan)
    seg = highdicom.seg.segread(tmp_path / "seg.dcm")
    assert (seg.PatientID, seg.StudyInstanceUID, seg.FrameOfReferenceUID) == ("7", "1.2.7", "1.2.6")
    (series,) = seg.ReferencedSeriesSequence
    assert series.SeriesInstanceUID == "1.2.8"
    assert len(series.ReferencedInstanceSequence) == SHAPE[0]
    assert [one.SegmentLabel for one in seg.SegmentSequence] == ["liver", "Segment_9"]
    color = highdicom.color.CIELabColor.from_dicom_value(
        seg.SegmentSequence[0].RecommendedDisplayCIELabValue
    )
    assert np.allclose(color.to_rgb(), (200, 30, 7), atol=2)
    assert np.array_equal(anymask.read_volume(tmp_path / "seg.dcm").array > 0, array > 0)
    beside = tmp_path / "ct" / "seg.dcm"
    (tmp_path / "seg.dcm").rename(beside)
    assert anymask.read_volume(tmp_path / "ct").shape == SHAPE, "labels are no slices"


def test_holes_are_bridged(tmp_path: Path) -> None:
    scan = write_scan(tmp_path / "ct", orientations()[5], (2, 9, 9))
    array = np.zeros((2, 9, 9), np.uint8)
    array[1, 1:8, 1:8] = 1
    array[1, 3:6, 3:6] = 0
    array[1, 4, 4] = 1
    write_labels(tmp_path / "a.rtstruct.dcm", label_volume(array, scan), scan)
    plan = pydicom.dcmread(tmp_path / "a.rtstruct.dcm")
    assert len(plan.ROIContourSequence[0].ContourSequence) == 2
    assert np.array_equal(filled(tmp_path / "a.rtstruct.dcm", scan, 1), array)


@pytest.mark.parametrize("name", ["a.dcm", "a.rtstruct.dcm"])
def test_labels_in_dicom_need_a_series(name: str, tmp_path: Path) -> None:
    scan = Volume(np.zeros(SHAPE, np.int16), scaled_affine((1, 1, 1)), source="ct.nii.gz")
    with pytest.raises(InputError, match="comes from ct.nii.gz. Write .nii.gz"):
        write_labels(tmp_path / name, label_volume(some_labels(), scan), scan)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["a.dcm", "a.rtstruct.dcm"])
def test_attributes_that_do_not_conform_are_left_out(name: str, tmp_path: Path) -> None:
    write_scan(tmp_path / "ct", orientations()[0], SHAPE)
    for path in (tmp_path / "ct").iterdir():
        whole = path.read_bytes()
        header = pydicom.dcmread(path)
        place = whole.index(b"\x08\x00\x30\x00TM")
        size = int.from_bytes(whole[place + 6 : place + 8], "little")
        path.write_bytes(
            whole[:place] + b"\x08\x00\x30\x00TM\x02\x000 " + whole[place + 8 + size :]
        )
        assert pydicom.dcmread(path).StudyTime == "0" != header.StudyTime
    scan = anymask.read_volume(tmp_path / "ct")
    write_labels(tmp_path / name, label_volume(some_labels(), scan), scan)
    assert pydicom.dcmread(tmp_path / name).StudyTime in ("", None)


def test_an_empty_segmentation_is_refused(tmp_path: Path) -> None:
    scan: Any = write_scan(tmp_path / "ct", orientations()[0], SHAPE)
    with pytest.raises(InputError, match="at least one"):
        write_labels(tmp_path / "a.dcm", label_volume(np.zeros(SHAPE, np.uint8), scan), scan)
