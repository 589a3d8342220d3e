"""Scans in, labels out: the arrays stay equal, and every voxel stays where it is in the patient."""

import gzip
import itertools
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import anymask
from anymask.base import DataError, InputError
from anymask.volumes import Volume, label_volume, measure_labels, reading, write_labels
from anymask.volumes.volume import scaled_affine

nibabel = pytest.importorskip("nibabel")
nrrd = pytest.importorskip("nrrd")
pydicom = pytest.importorskip("pydicom")
sitk = pytest.importorskip("SimpleITK")
tifffile = pytest.importorskip("tifffile")
zarr = pytest.importorskip("zarr")

RAS_AND_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
SHAPE = (3, 4, 5)


def rotation(x: float, y: float, z: float) -> NDArray[np.float64]:
    matrix = np.eye(3)
    for axis, angle in enumerate((x, y, z)):
        turn, (a, b) = np.eye(3), [other for other in range(3) if other != axis]
        turn[a, a] = turn[b, b] = np.cos(angle)
        turn[a, b], turn[b, a] = -np.sin(angle), np.sin(angle)
        matrix = turn @ matrix
    return matrix


def affine_of(directions: NDArray[np.float64]) -> NDArray[np.float64]:
    affine = np.eye(4)
    affine[:3, :3] = directions * (0.7, 1.3, 2.5)
    affine[:3, 3] = (-120.25, 88.5, 410.125)
    return affine


def orientations() -> list[NDArray[np.float64]]:
    """The 24 turns of a box, and four oblique ones."""
    found = []
    for order in itertools.permutations(range(3)):
        for signs in itertools.product((1, -1), repeat=3):
            matrix = np.eye(3)[:, order] * signs
            if np.linalg.det(matrix) > 0:
                found.append(matrix)
    assert len(found) == 24
    oblique = [(0.1, 0.2, 0.3), (1.1, -0.4, 0.2), (-0.7, 0.7, 2.0), (0.01, 0.0, -0.02)]
    return [affine_of(one) for one in [*found, *(rotation(*angles) for angles in oblique)]]


def some_labels() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 4, SHAPE).astype(np.uint8)


def itk_affine(path: Path) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """Voxels and affine (RAS) as SimpleITK, and so Slicer and ITK-SNAP, see them."""
    image = sitk.ReadImage(str(path))
    lps = np.eye(4)
    lps[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) * image.GetSpacing()
    lps[:3, 3] = image.GetOrigin()
    return sitk.GetArrayFromImage(image), RAS_AND_LPS @ lps


# Round trips.


@pytest.mark.parametrize("ending", [".nii", ".nii.gz", ".seg.nrrd"])
@pytest.mark.parametrize("affine", orientations())
def test_labels_lie_on_their_scan(ending: str, affine: NDArray[np.float64], tmp_path: Path) -> None:
    path, array = tmp_path / f"labels{ending}", some_labels()
    scan = Volume(np.zeros(SHAPE, np.int16), affine)
    write_labels(path, label_volume(array, scan))

    read = anymask.read_volume(path)
    assert np.array_equal(read.array, array)
    assert read.array.dtype == np.uint8
    assert np.allclose(read.spacing, scan.spacing, rtol=0, atol=1e-6)
    assert np.allclose(read.affine, affine, rtol=0, atol=1e-4)

    voxels, seen = itk_affine(path)
    assert np.array_equal(voxels, array)
    assert np.allclose(seen, affine, rtol=0, atol=1e-4)
    if ".nii" in ending:
        image = nibabel.load(path)
        assert np.array_equal(np.asarray(image.dataobj).transpose(2, 1, 0), array)
        assert np.allclose(image.get_qform(), affine, rtol=0, atol=1e-4)
        assert nibabel.aff2axcodes(image.affine) == tuple(read.orientation)


def test_a_scan_of_itk_is_read_where_itk_has_it(tmp_path: Path) -> None:
    image = sitk.GetImageFromArray(np.arange(60, dtype=np.int16).reshape(SHAPE))
    image.SetSpacing((0.7, 1.3, 2.5))
    image.SetOrigin((10, -20, 30))
    image.SetDirection(rotation(0.3, 0.1, -0.2).ravel().tolist())
    for ending in (".nii.gz", ".nrrd"):
        path = tmp_path / f"scan{ending}"
        sitk.WriteImage(image, str(path))
        voxels, affine = itk_affine(path)
        read = anymask.read_volume(path)
        assert np.array_equal(read.array, voxels)
        assert np.allclose(read.affine, affine, rtol=0, atol=1e-4)


def test_names_and_colours_come_back_from_slicer_s_file(tmp_path: Path) -> None:
    scan = Volume(np.zeros(SHAPE, np.int16), np.eye(4))
    names, colors = {1: "liver", 3: "vena cava, médiane"}, {1: (200, 30, 7)}
    labels = label_volume(some_labels(), scan, names=names, colors=colors)
    write_labels(tmp_path / "organs.seg.nrrd", labels)
    read = anymask.read_volume(tmp_path / "organs.seg.nrrd")
    assert read.names == {**names, 2: "Segment_2"}
    assert read.colors[1] == (200, 30, 7)
    assert len({*read.colors.values()}) == 3


def slicer_layers(path: Path, *, over: bool) -> None:
    """A segmentation in two layers, as Slicer writes those that may overlap."""
    data = np.zeros((2, 5, 4, 3), np.uint8)
    data[0, :2], data[1, (1 if over else 2) :] = 1, 1
    header = {
        "space": "left-posterior-superior",
        "kinds": ["list", "domain", "domain", "domain"],
        "space directions": np.array([[np.nan] * 3, [1, 0, 0], [0, 1, 0], [0, 0, 2]]),
        "space origin": np.zeros(3),
    }
    for number in (0, 1):
        header |= {f"Segment{number}_ID": f"s{number}", f"Segment{number}_Layer": str(number)}
        header |= {f"Segment{number}_Name": "ab"[number], f"Segment{number}_LabelValue": "1"}
    nrrd.write(str(path), data, header)


def test_layers_of_segments_become_one_volume_unless_they_overlap(tmp_path: Path) -> None:
    slicer_layers(tmp_path / "apart.seg.nrrd", over=False)
    read = anymask.read_volume(tmp_path / "apart.seg.nrrd")
    assert (read.shape, read.names, read.spacing) == ((3, 4, 5), {1: "a", 2: "b"}, (2, 1, 1))
    assert read.array[0, 0].tolist() == [1, 1, 2, 2, 2]
    slicer_layers(tmp_path / "over.seg.nrrd", over=True)
    with pytest.raises(InputError, match="overlaps another"):
        anymask.read_volume(tmp_path / "over.seg.nrrd")


# Other formats.


def test_content_decides_not_the_name(tmp_path: Path) -> None:
    array = some_labels()
    image = nibabel.Nifti1Image(array.transpose(2, 1, 0), affine_of(np.eye(3)))
    (tmp_path / "a.dat").write_bytes(image.to_bytes())
    (tmp_path / "b.nii").write_bytes(gzip.compress(image.to_bytes()))
    nibabel.save(nibabel.MGHImage(array.transpose(2, 1, 0), image.affine), tmp_path / "c.mgz")
    for name in ("a.dat", "b.nii", "c.mgz"):
        read = anymask.read_volume(tmp_path / name)
        assert np.array_equal(read.array, array), name
        assert np.allclose(read.affine, image.affine, atol=1e-4), name


def test_units_and_scaling_of_nifti_are_applied(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(some_labels().transpose(2, 1, 0), np.diag([500, 500, 2000, 1.0]))
    image.header.set_xyzt_units("micron")
    image.header.set_slope_inter(2, -1000)
    nibabel.save(image, tmp_path / "scan.nii")
    read = anymask.read_volume(tmp_path / "scan.nii")
    assert np.allclose(read.spacing, (2, 0.5, 0.5))
    assert read.slice(1).dtype == read.voxels.dtype == np.float64
    assert np.array_equal(read.slice(2, axis=1), read.array[:, 2])


def test_one_of_several_times_is_chosen(tmp_path: Path) -> None:
    data = np.random.default_rng(0).integers(0, 99, (5, 4, 3, 2)).astype(np.int16)
    nibabel.save(nibabel.Nifti1Image(data, np.eye(4)), tmp_path / "run.nii.gz")
    with pytest.raises(InputError, match=r"--frame N \(in Python frame=N\), N from 0 to 1"):
        anymask.read_volume(tmp_path / "run.nii.gz")
    read = anymask.read_volume(tmp_path / "run.nii.gz", frame=1)
    assert np.array_equal(read.array, data[..., 1].T)
    assert np.array_equal(read.slice(3, axis=2), data[3, ..., 1].T)
    with pytest.raises(InputError, match="Volume 2 is out of range"):
        anymask.read_volume(tmp_path / "run.nii.gz", frame=2)


def test_stacks_of_tiff_have_the_spacing_that_they_tell(tmp_path: Path) -> None:
    array = some_labels()
    notes = {"spacing": 3, "unit": "um", "axes": "ZYX"}
    tifffile.imwrite(tmp_path / "fiji.tif", array, imagej=True, resolution=(2, 4), metadata=notes)
    sizes = {"PhysicalSizeZ": 3, "PhysicalSizeY": 0.25, "PhysicalSizeX": 0.5, "axes": "ZYX"}
    tifffile.imwrite(tmp_path / "stack.ome.tif", array, metadata=sizes)
    for name in ("fiji.tif", "stack.ome.tif"):
        read = anymask.read_volume(tmp_path / name)
        assert np.array_equal(read.array, array), name
        assert np.allclose(read.spacing, (0.003, 0.00025, 0.0005)), name
    tifffile.imwrite(tmp_path / "plain.tif", array, photometric="minisblack")
    assert anymask.read_volume(tmp_path / "plain.tif").spacing == (1, 1, 1)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_ome_zarr_is_read_at_its_finest_scale(version: str, tmp_path: Path) -> None:
    array = np.stack([some_labels(), some_labels() + 10])
    group = zarr.open_group(str(tmp_path / "a.zarr"), mode="w", zarr_format=2 + (version == "0.5"))
    group.create_array("0", data=array)
    space = [{"name": name, "type": "space", "unit": "micrometer"} for name in "zyx"]
    steps = [
        {"type": "scale", "scale": [1, 3, 0.25, 0.5]},
        {"type": "translation", "translation": [0, 0, 0, 7]},
    ]
    scales = [
        {
            "axes": [{"name": "c", "type": "channel"}, *space],
            "datasets": [{"path": "0", "coordinateTransformations": steps}],
        }
    ]
    notes = {"multiscales": scales}
    group.attrs.update({"ome": {"version": "0.5", **notes}} if version == "0.5" else notes)
    read = anymask.read_volume(tmp_path / "a.zarr", frame=1)
    assert np.array_equal(read.slice(2), array[1, 2])
    assert np.allclose(read.spacing, (0.003, 0.00025, 0.0005))
    assert np.allclose(read.affine[:3, 3], (-0.007, 0, 0))


# DICOM.


def write_slice(path: Path, k: int, position: NDArray[np.float64], **changes: Any) -> None:
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = f"1.2.3.{k}"
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    one = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    one.SOPClassUID, one.SOPInstanceUID = CTImageStorage, f"1.2.3.{k}"
    one.SeriesInstanceUID, one.SeriesDescription = "1.2.3", "thorax"
    one.ImageOrientationPatient = rotation(0.3, 0.1, -0.2).T[:2].ravel().round(9).tolist()
    one.ImagePositionPatient = position.round(9).tolist()
    one.PixelSpacing, one.Rows, one.Columns = [1.3, 0.7], 4, 5
    one.SamplesPerPixel, one.PhotometricInterpretation = 1, "MONOCHROME2"
    one.BitsAllocated, one.BitsStored, one.HighBit, one.PixelRepresentation = 16, 12, 11, 0
    one.RescaleSlope, one.RescaleIntercept = 1, -1024
    one.PixelData = (np.arange(20, dtype=np.uint16) + 100 * k).tobytes()
    for name, value in changes.items():
        setattr(one, name, value)
    one.save_as(path, enforce_file_format=True)


def write_series(folder: Path, step: tuple[float, float, float] = (0, 0, 2.5)) -> None:
    """Four slices, whose names are in another order than their positions."""
    folder.mkdir()
    along = rotation(0.3, 0.1, -0.2) @ step
    for k in range(4):
        write_slice(folder / f"{(k * 3) % 4}.dcm", k, np.array([5.0, 6, 7]) + k * along)


def test_a_series_is_sorted_by_position_as_itk_does(tmp_path: Path) -> None:
    write_series(tmp_path / "ct")
    (tmp_path / "ct" / "notes.txt").write_text("not a slice")
    reader = sitk.ImageSeriesReader()
    names = reader.GetGDCMSeriesFileNames(str(tmp_path / "ct"))
    reader.SetFileNames(names)
    seen = reader.Execute()
    read = anymask.read_volume(tmp_path / "ct")
    assert np.array_equal(read.array, sitk.GetArrayFromImage(seen))
    assert (read.array.dtype, int(read.slice(3)[0, 0])) == (np.int16, 300 - 1024)
    lps = RAS_AND_LPS @ read.affine
    assert np.allclose(lps[:3, 3], seen.GetOrigin(), atol=1e-4)
    directions = np.array(seen.GetDirection()).reshape(3, 3) * seen.GetSpacing()
    assert np.allclose(lps[:3, :3], directions, atol=1e-4)

    with zipfile.ZipFile(tmp_path / "ct.zip", "w") as archive:
        for path in (tmp_path / "ct").iterdir():
            archive.write(path, path.name)
    packed = anymask.read_volume(tmp_path / "ct.zip")
    assert np.array_equal(packed.array, read.array)
    assert np.array_equal(packed.affine, read.affine)


def test_mixed_series_are_told_apart_and_told(tmp_path: Path) -> None:
    write_series(tmp_path / "ct")
    other = {"SeriesInstanceUID": "1.2.9", "SeriesDescription": "scout"}
    write_slice(tmp_path / "ct" / "x.dcm", 9, np.zeros(3), **other)
    with pytest.raises(InputError, match="2 series") as told:
        anymask.read_volume(tmp_path / "ct")
    assert "0: 'thorax', 4 slices of 4 x 5" in str(told.value)
    assert anymask.read_volume(tmp_path / "ct", series="scout").shape == (1, 4, 5)
    assert anymask.read_volume(tmp_path / "ct", series=0).shape == (4, 4, 5)
    with pytest.raises(InputError, match="Unknown series 'mr'"):
        anymask.read_volume(tmp_path / "ct", series="mr")


def test_what_makes_no_volume_is_refused_in_words(tmp_path: Path) -> None:
    write_series(tmp_path / "tilted", step=(0, 1.0, 2.5))
    with pytest.raises(InputError, match="sheared"):
        anymask.read_volume(tmp_path / "tilted")
    write_series(tmp_path / "gap")
    (tmp_path / "gap" / "3.dcm").unlink()  # the second by position
    with pytest.raises(DataError, match="missing"):
        anymask.read_volume(tmp_path / "gap")
    write_series(tmp_path / "twice")
    write_slice(tmp_path / "twice" / "x.dcm", 8, np.array([5.0, 6, 7]))
    with pytest.raises(DataError, match="same position"):
        anymask.read_volume(tmp_path / "twice")


# Bad input.


BAD: dict[str, tuple[bytes, type[Exception], str]] = {
    "text.nii": (b"hello", InputError, "not a supported scan"),
    "empty.nii.gz": (b"", InputError, "not a supported scan"),
    "cut.nii.gz": (gzip.compress(b"a" * 9999)[:20], DataError, "gzip"),
    "cut.nrrd": (b"NRRD0004\ntype: uint8\n", DataError, "cut.nrrd"),
    "cut.tif": (b"II*\0\x08\0\0\0", DataError, "cut.tif"),
    "cut.zip": (b"PK\3\4junk", InputError, "neither DICOM slices"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_files_give_one_clear_error(name: str, tmp_path: Path) -> None:
    data, error, word = BAD[name]
    (tmp_path / name).write_bytes(data)
    with pytest.raises(error, match=word):
        anymask.read_volume(tmp_path / name)


def test_a_file_that_ends_too_early_is_told_when_its_voxels_are_read(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(some_labels().transpose(2, 1, 0), np.eye(4))
    (tmp_path / "cut.nii").write_bytes(image.to_bytes()[:-30])
    (tmp_path / "cut.nii.gz").write_bytes(gzip.compress(image.to_bytes()[:-30]))
    for name in ("cut.nii", "cut.nii.gz"):
        read = anymask.read_volume(tmp_path / name)
        with pytest.raises(DataError, match=name):
            _ = read.array
    write_series(tmp_path / "ct")
    write_slice(tmp_path / "ct" / "0.dcm", 0, np.array([5.0, 6, 7]), PixelData=b"1234")
    with pytest.raises(DataError, match="0.dcm"):
        _ = anymask.read_volume(tmp_path / "ct").array


def test_an_empty_folder_and_a_picture_are_no_scans(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="neither DICOM slices"):
        anymask.read_volume(tmp_path)
    with pytest.raises(InputError, match="not found"):
        anymask.read_volume(tmp_path / "absent.nii")
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((4, 5), np.uint8))
    with pytest.raises(InputError, match="not a stack"):
        anymask.read_volume(tmp_path / "a.tif")


@pytest.mark.parametrize(
    ("voxels", "affine", "word"),
    [
        (np.zeros((4, 5)), np.eye(4), "three dimensions"),
        (np.zeros((0, 4, 5)), np.eye(4), "three dimensions"),
        (np.zeros(SHAPE, complex), np.eye(4), "numbers"),
        (np.zeros(SHAPE), np.eye(3), "4 x 4"),
        (np.zeros(SHAPE), np.diag([1, 0, 1, 1]), "0 mm"),
        (np.zeros(SHAPE), np.eye(4) + np.eye(4, k=1), "sheared"),
    ],
)
def test_what_is_no_volume_is_refused(
    voxels: NDArray[Any], affine: NDArray[Any], word: str
) -> None:
    affine = np.array(affine)
    if affine.shape == (4, 4):
        affine[2, 3] = 0
    with pytest.raises(InputError, match=word):
        Volume(voxels, affine)


def test_labels_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    scan = Volume(np.zeros(SHAPE, np.int16), np.eye(4))
    for labels, word in [
        (np.zeros((3, 4, 6), int), "shape"),
        (np.full(SHAPE, 0.5), "whole numbers"),
        (np.full(SHAPE, -1), "from 0"),
    ]:
        with pytest.raises(InputError, match=word):
            label_volume(labels, scan)
    with pytest.raises(InputError, match="seg.nrrd"):
        write_labels(tmp_path / "labels.png", label_volume(some_labels(), scan))


# Slices and measures.


def test_a_window_makes_eight_bits() -> None:
    voxels = np.array([-1000, -160, 40, 240, 3000, np.nan]).reshape(1, 1, 6)
    scan = Volume(voxels, np.eye(4))
    assert scan.image(0, window=(40, 400)).tolist() == [[0, 0, 128, 255, 255, 0]]
    assert scan.image(0).dtype == np.uint8
    assert Volume(np.full(SHAPE, 7), np.eye(4)).image(1, axis=2).shape == (3, 4)
    for window in [(40, 0), (np.nan, 400)]:
        with pytest.raises(InputError, match="window"):
            scan.image(0, window=window)
    for index, axis in [(1, 0), (-1, 0), (0, 3)]:
        with pytest.raises(InputError, match=r"out of range|Invalid axis"):
            scan.slice(index, axis)


def test_labels_are_measured_in_millimetres() -> None:
    labels = np.zeros((10, 20, 30), np.uint8)
    labels[2:6, 5:15, 10:12] = 2  # 4 x 10 x 2 voxels
    labels[3, 5:15, 10:14] = 2  # its largest slice
    labels[9, 19, 29] = 1
    scan = Volume(labels, scaled_affine((5.0, 1.0, 2.0)), names={2: "box"})
    one, box = measure_labels(scan)
    assert (one.label, one.voxels, one.volume_ml, one.area_mm2) == (1, 1, 0.01, 2.0)
    assert one.diameter_mm == pytest.approx(5**0.5)
    assert one.center_mm == (-58, -19, 45)
    assert (box.name, box.voxels, box.volume_ml) == ("box", 100, 1.0)
    assert (box.extent_mm, box.slice, box.area_mm2) == ((20, 10, 8), 3, 80)
    assert box.diameter_mm == pytest.approx((10**2 + 8**2) ** 0.5)
    assert measure_labels(Volume(np.zeros(SHAPE, int), np.eye(4))) == []


@pytest.mark.parametrize(("slope", "inter"), [(1.0, 0.0), (2.5, -1024.0)])
@pytest.mark.parametrize("limit", [1 << 20, 0])
def test_a_packed_scan_is_read_backwards_without_starting_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, slope: float, inter: float, limit: int
) -> None:
    monkeypatch.setattr(reading, "UNPACKED_BYTES", limit)
    stored = np.random.default_rng(4).integers(0, 3000, (9, 8, 7)).astype(np.int16)
    image = nibabel.Nifti1Image(stored, np.eye(4))
    image.header.set_slope_inter(slope, inter)
    nibabel.save(image, tmp_path / "a.nii.gz")
    expected = np.asanyarray(nibabel.load(tmp_path / "a.nii.gz").dataobj).transpose(2, 1, 0)
    volume = anymask.read_volume(tmp_path / "a.nii.gz")
    unpacked = []
    read = gzip.GzipFile.read
    monkeypatch.setattr(
        gzip.GzipFile, "read", lambda file, size=-1: unpacked.append(size) or read(file, size)
    )
    for index in reversed(range(7)):
        assert np.array_equal(volume.slice(index), expected[index])
    assert volume.slice(0).dtype == expected.dtype
    assert len(unpacked) <= 2 or limit == 0
