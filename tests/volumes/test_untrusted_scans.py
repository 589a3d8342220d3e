"""Scans from strangers: no other file is read, and nothing unpacks beyond its limit."""

import bz2
import gzip
import io
import json
import struct
import zlib
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import anymask
from anymask.base import DataError, ImageError, InputError, LimitError, zstd_bound
from anymask.images import load_image, tiff
from tests.volumes.test_volumes import write_slice

nibabel = pytest.importorskip("nibabel")
nrrd = pytest.importorskip("nrrd")
pydicom = pytest.importorskip("pydicom")
tifffile = pytest.importorskip("tifffile")
zarr = pytest.importorskip("zarr")

HEADER = """NRRD0004
type: {type}
dimension: 3
space: left-posterior-superior
sizes: {sizes}
space directions: (1,0,0) (0,1,0) (0,0,1)
kinds: domain domain domain
endian: little
encoding: {encoding}
space origin: (0,0,0)
"""


def header(sizes: str = "4 3 2", encoding: str = "raw", kind: str = "uint8", more: str = "") -> str:
    return HEADER.format(sizes=sizes, encoding=encoding, type=kind) + more


@pytest.fixture
def limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """A megabyte of voxels."""
    monkeypatch.setenv("ANYMASK_VOLUME_MEGABYTES", "1")


# Other files.


@pytest.mark.parametrize(
    "name",
    ["{root}/secret.raw", "../secret.raw", "a/../../secret.raw", "C:\\secret.raw",
     "\\\\host\\secret.raw", "..\\secret.raw"],
)  # fmt: skip
@pytest.mark.parametrize("field", ["data file", "datafile"])
def test_voxels_elsewhere_are_not_read(name: str, field: str, tmp_path: Path) -> None:
    (tmp_path / "secret.raw").write_bytes(bytes(range(24)))
    (tmp_path / "scans" / "a").mkdir(parents=True)
    path = tmp_path / "scans" / "scan.nhdr"
    path.write_text(header(more=f"{field}: {name.format(root=tmp_path)}\n"))
    with pytest.raises(InputError, match="Only files in the folder"):
        anymask.read_volume(path)


def test_a_link_beside_the_header_leads_nowhere_else(tmp_path: Path) -> None:
    (tmp_path / "secret.raw").write_bytes(bytes(24))
    (tmp_path / "scans").mkdir()
    (tmp_path / "scans" / "a.raw").symlink_to(tmp_path / "secret.raw")
    path = tmp_path / "scans" / "scan.nhdr"
    path.write_text(header(more="data file: a.raw\n"))
    with pytest.raises(InputError, match="Only files in the folder"):
        anymask.read_volume(path)


def test_voxels_beside_the_header_are_read_unless_the_file_is_not_trusted(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "a.raw").write_bytes(bytes(range(24)))
    path = tmp_path / "scan.nhdr"
    path.write_text(header(more="data file: below/a.raw\n"))
    assert anymask.read_volume(path).array.ravel().tolist() == [*range(24)]
    with pytest.raises(InputError, match="in another file"):
        anymask.read_volume(path, detached=False)
    for name in ("LIST", "a%02d.raw 1 9 1"):
        path.write_text(header(more=f"data file: {name}\n"))
        with pytest.raises(InputError, match="several files"):
            anymask.read_volume(path)
    path.write_text(header(more="data file: absent.raw\n"))
    with pytest.raises(DataError, match="does not exist"):
        anymask.read_volume(path)


def ome(planes: list[tuple[str, str]], own: str = "urn:uuid:0") -> str:
    """OME-XML of a stack with a plane in each of these files (name, UUID)."""
    data = "".join(
        f'<TiffData FirstZ="{z}" FirstC="0" FirstT="0" IFD="0" PlaneCount="1">'
        f'<UUID FileName="{name}">{uuid}</UUID></TiffData>'
        for z, (name, uuid) in enumerate(planes)
    )
    return (
        '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" '
        f'UUID="{own}"><Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYZCT" '
        f'Type="uint8" SizeX="5" SizeY="4" SizeZ="{len(planes)}" SizeC="1" SizeT="1">'
        f'<Channel ID="Channel:0" SamplesPerPixel="1"/>{data}</Pixels></Image></OME>'
    )


def write_ome(path: Path, value: int, xml: str) -> None:
    plane = np.full((4, 5), value, np.uint8)
    tifffile.imwrite(path, plane, description=xml, metadata=None, photometric="minisblack")


@pytest.mark.parametrize("other", ["{root}/secret.tif", "../secret.tif"])
def test_an_ome_tiff_reads_no_file_elsewhere(other: str, tmp_path: Path) -> None:
    (tmp_path / "scans").mkdir()
    write_ome(tmp_path / "secret.tif", 77, ome([("secret.tif", "urn:uuid:1")], "urn:uuid:1"))
    planes = [("a.tif", "urn:uuid:0"), (other.format(root=tmp_path), "urn:uuid:1")]
    path = tmp_path / "scans" / "a.tif"
    write_ome(path, 1, ome(planes))
    with pytest.raises(InputError, match="Only files in the folder"):
        anymask.read_volume(path)
    with pytest.raises(InputError, match="in another file"):
        anymask.read_volume(path, detached=False)
    assert load_image(path).max() == 1  # a photo is its own page


def test_an_ome_tiff_in_several_files_of_a_folder_is_one_stack(tmp_path: Path) -> None:
    planes = [(f"{z}.tif", f"urn:uuid:{z}") for z in range(3)]
    for z in range(3):
        write_ome(tmp_path / f"{z}.tif", 10 + z, ome(planes, f"urn:uuid:{z}"))
    read = anymask.read_volume(tmp_path / "0.tif")
    assert read.array[:, 0, 0].tolist() == [10, 11, 12]
    with pytest.raises(InputError, match="in another file"):
        anymask.read_volume(tmp_path / "0.tif", detached=False)


# NRRD is read as pynrrd reads it.


@pytest.mark.parametrize("encoding", ["raw", "gzip", "bzip2", "ascii"])
@pytest.mark.parametrize("kind", ["i1", "u1", "<i2", ">i2", ">u4", "<i8", "<f4", ">f8"])
def test_voxels_are_those_of_pynrrd(kind: str, encoding: str, tmp_path: Path) -> None:
    array = (np.arange(60).reshape(3, 4, 5) - (20 if kind[-2] != "u" else 0)).astype(kind)
    path = tmp_path / "a.nrrd"
    nrrd.write(str(path), array, {"encoding": encoding, "space": "LPS"}, index_order="C")
    read = anymask.read_volume(path)
    expected, _ = nrrd.read(str(path), index_order="C")
    assert np.array_equal(read.array, expected)
    assert read.array.dtype == array.dtype.newbyteorder("=")
    assert np.array_equal(read.slice(2, axis=2), expected[..., 2])


@pytest.mark.parametrize(
    ("encoding", "data"),
    [
        ("raw", b"a line\n..." + bytes(range(24))),
        ("gzip", b"a line\n" + gzip.compress(b"..." + bytes(range(24)))),
        ("bz2", b"a line\n" + bz2.compress(b"..." + bytes(range(24)))),
    ],
    ids=["raw", "gzip", "bz2"],
)
def test_skipped_lines_and_bytes_stand_before_the_voxels(
    encoding: str, data: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "a.nrrd"
    for skip in ("3", "-1"):
        more = f"line skip: 1\nbyte skip: {skip}\n\n"
        path.write_bytes(header(encoding=encoding, more=more).encode() + data)
        assert anymask.read_volume(path).array.ravel().tolist() == [*range(24)]


# What is stated, and what unpacks.


def of_zeros(size: int, wbits: int = 31) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, wbits)
    return packer.compress(bytes(size)) + packer.flush()


@pytest.mark.usefixtures("limit")
@pytest.mark.parametrize(
    ("text", "data", "error", "word"),
    [
        (header("200 200 100", "gzip"), of_zeros(4_000_000), LimitError, "MEGABYTES=5"),
        (header("2000 1000 1000", "gzip"), b"short", LimitError, "the limit is 1 MB"),
        (header("400 40 40", "gzip"), gzip.compress(b"short"), DataError, "is truncated"),
        (header("40 40 40", "gzip"), of_zeros(4_000_000), DataError, "unpacks to more"),
        (header("40 40 40", "bzip2"), bz2.compress(bytes(4_000_000)), DataError, "more"),
        (header("9 40 40", "gzip"), gzip.compress(bytes(900)), DataError, "900 bytes"),
        (header("40 40 40", "raw"), bytes(63_999), DataError, "is truncated"),
        (header("99999 99999 99999", "raw"), bytes(99), DataError, "is truncated"),
        (header("40 40 40", "ascii"), b"1 " * 70_000, DataError, "70000 numbers"),
        (header("40 40 40", "ascii"), b"1 2 3", DataError, "is truncated"),
        (header("40 0 40"), bytes(99), DataError, "above 0"),
        (header("4 4 4", "hex"), bytes(99), InputError, "gzip"),
        (header("4 4 4", kind="block"), bytes(99), InputError, "block"),
    ],
    ids=map(str, range(13)),
)
def test_an_nrrd_holds_what_it_states(
    text: str, data: bytes, error: type[Exception], word: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.nrrd"
    path.write_bytes(text.encode() + b"\n" + data)
    with pytest.raises(error, match=word):
        anymask.read_volume(path)


def nifti(shape: tuple[int, int, int], start: float = 352.0) -> bytes:
    """The header of int16 voxels, by hand."""
    head = bytearray(352)
    struct.pack_into("<i", head, 0, 348)
    struct.pack_into("<8h", head, 40, 3, *shape, 1, 1, 1, 1)
    struct.pack_into("<hh", head, 70, 4, 16)
    struct.pack_into("<8f", head, 76, 1, 1, 1, 1, 1, 1, 1, 1)
    struct.pack_into("<f", head, 108, start)
    struct.pack_into("<hh", head, 252, 0, 1)
    struct.pack_into("<12f", head, 280, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0)
    head[344:348] = b"n+1\0"
    return bytes(head)


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.scan"])
def test_a_nifti_reads_no_more_than_the_limit(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, huge = tmp_path / name, nifti((32767, 32767, 32767)) + bytes(99)
    path.write_bytes(huge if name.endswith(".nii") else gzip.compress(huge))
    scan = anymask.read_volume(path)
    with pytest.raises(LimitError, match="ANYMASK_VOLUME_MEGABYTES=703"):
        _ = scan.array
    with pytest.raises(DataError, match="is truncated"):
        scan.slice(0)
    monkeypatch.setenv("ANYMASK_VOLUME_MEGABYTES", "2")
    path.write_bytes(gzip.compress(nifti((1000, 1000, 2)) + bytes(4_000_000)))
    scan = anymask.read_volume(path.rename(tmp_path / "b.nii"))  # gzip under a plain name
    assert scan.slice(1).shape == (1000, 1000)
    with pytest.raises(LimitError):
        _ = scan.array


def test_voxels_far_behind_a_header_are_refused(tmp_path: Path) -> None:
    for start in (3e9, -1.0, float("nan")):
        (tmp_path / "a.nii").write_bytes(nifti((4, 4, 4), start) + bytes(999))
        with pytest.raises(DataError, match="start at byte"):
            anymask.read_volume(tmp_path / "a.nii")


def test_the_limit_is_a_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.nii").write_bytes(nifti((4, 4, 4)) + bytes(999))
    for said in ("many", "0", "-1", "nan", "inf"):
        monkeypatch.setenv("ANYMASK_VOLUME_MEGABYTES", said)
        with pytest.raises(InputError, match="ANYMASK_VOLUME_MEGABYTES must be"):
            _ = anymask.read_volume(tmp_path / "a.nii").array


def zarr_scan(path: Path, shape: tuple[int, int, int], chunks: Any, codec: Any = None) -> Any:
    group = zarr.open_group(str(path), mode="w", zarr_format=2)
    array = group.create_array("0", shape=shape, dtype="u1", chunks=chunks, compressors=codec)
    axes = [{"name": name, "type": "space"} for name in "zyx"]
    group.attrs["multiscales"] = [{"axes": axes, "datasets": [{"path": "0"}]}]
    return array


def test_a_zarr_of_huge_numbers_is_refused(tmp_path: Path) -> None:
    zarr_scan(tmp_path / "chunks", (10**5, 10**6, 10**6), (1, 10**6, 10**6))
    with pytest.raises(LimitError, match="a chunk of 'chunks'"):
        anymask.read_volume(tmp_path / "chunks")
    zarr_scan(tmp_path / "small", (10**5, 10**6, 10**6), (1, 64, 64))
    scan = anymask.read_volume(tmp_path / "small")
    for read in (lambda: scan.array, lambda: scan.slice(0)):
        with pytest.raises(LimitError, match="'small' require"):
            read()


@pytest.mark.parametrize("codec", ["gzip", "zlib", "bz2", "lzma", "zstd", "blosc"])
def test_a_chunk_unpacks_to_a_bounded_size(
    codec: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from numcodecs import get_codec

    made = get_codec({"id": codec})
    array = zarr_scan(tmp_path / "a", (4, 32, 32), (2, 32, 32), made)
    array[:] = np.arange(4096, dtype=np.uint8).reshape(4, 32, 32) % 251
    assert np.array_equal(anymask.read_volume(tmp_path / "a").array, array[:])
    monkeypatch.setenv("ANYMASK_VOLUME_MEGABYTES", "1")
    (chunk,) = (tmp_path / "a" / "0").glob("0*0*0")
    chunk.write_bytes(bytes(made.encode(bytes(10_000_000))))
    with pytest.raises(LimitError, match="Chunk '0/0.0.0'"):
        _ = anymask.read_volume(tmp_path / "a").array


@pytest.mark.parametrize("level", [-5, 1, 19])
def test_the_bound_of_a_zstandard_stream_is_no_less_than_what_it_unpacks_to(level: int) -> None:
    from numcodecs import Zstd

    rng = np.random.default_rng(0)
    for size in (0, 1, 255, 256, 70_000, 1_000_000):
        for data in (bytes(size), rng.bytes(size), rng.integers(0, 4, size, np.uint8).tobytes()):
            made = bytes(Zstd(level=level, checksum=size % 2 == 0).encode(data))
            assert zstd_bound(made) == size  # which numcodecs states
            assert zstd_bound(made + made) == 2 * size
            # The same blocks behind a header that states no size: a window of 1 MB, no checksum.
            start = 4 + 1 + (1 - (made[4] >> 5 & 1)) + ((made[4] >> 5 & 1), 2, 4, 8)[made[4] >> 6]
            bound = zstd_bound(b"\x28\xb5\x2f\xfd\0\x50" + made[start:])
            assert size <= bound <= size + (1 << 17) * (1 + size // (1 << 16))


def test_a_zarr_runs_no_code(tmp_path: Path) -> None:
    zarr_scan(tmp_path / "a", (2, 3, 4), (2, 3, 4))
    notes = json.loads((tmp_path / "a" / "0" / ".zarray").read_text())
    for change in ({"filters": [{"id": "pickle"}]}, {"compressor": {"id": "pickle"}}):
        (tmp_path / "a" / "0" / ".zarray").write_text(json.dumps(notes | change))
        with pytest.raises(DataError):
            _ = anymask.read_volume(tmp_path / "a").array
    (tmp_path / "a" / ".zgroup").write_text("{}")  # zarr: GroupNotFoundError, a FileNotFoundError
    with pytest.raises(DataError, match="cannot be read as a scan"):
        anymask.read_volume(tmp_path / "a")


def test_strips_of_a_tiff_unpack_to_what_its_header_states(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    array = np.random.default_rng(0).integers(0, 9, (3, 64, 64)).astype(np.float32)
    path, options = tmp_path / "a.tif", {"compression": "zlib", "photometric": "minisblack"}
    tifffile.imwrite(path, array, rowsperstrip=64, **options)
    monkeypatch.setattr(tiff, "_HARMLESS", 1000)
    assert np.array_equal(anymask.read_volume(path).array, array)
    bomb = zlib.compress(bytes(10_000_000), 9)
    with tifffile.TiffWriter(path) as writer:
        writer.write(iter([bomb] * 3), shape=(3, 64, 64), dtype="f4", rowsperstrip=64, **options)
    with pytest.raises(ImageError, match="unpacks to more than the 16384 bytes"):
        anymask.read_volume(path)
    with tifffile.TiffWriter(path) as writer:  # bands in planes, which tifffile reads
        writer.write(
            iter([bomb] * 5), shape=(5, 64, 64), dtype="f4", rowsperstrip=64, planarconfig=2,
            compression="zlib", photometric="minisblack",
        )  # fmt: skip
    with pytest.raises(ImageError, match="unpacks to more"):
        load_image(path, bands=(1, 2, 3))


def test_zstandard_strips_of_a_tiff_are_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from numcodecs import Zstd

    path, made = tmp_path / "a.tif", bytes(Zstd(level=19).encode(bytes(10_000_000)))
    monkeypatch.setattr(tiff, "_HARMLESS", 1000)
    with tifffile.TiffWriter(path) as writer:
        writer.write(
            iter([made] * 2), shape=(2, 64, 64), dtype="f4", rowsperstrip=64,
            compression="zlib", photometric="minisblack",
        )  # fmt: skip
    deflate, zstd = (struct.pack("<HHII", 259, 3, 1, kind) for kind in (8, 50000))
    assert path.read_bytes().count(deflate) == 2
    path.write_bytes(path.read_bytes().replace(deflate, zstd))
    with pytest.raises(ImageError, match="unpacks to more than the 16384 bytes"):
        anymask.read_volume(path)
    with pytest.raises(ImageError, match="unpacks to more than the 16384 bytes"):
        load_image(path, bands=(1, 2, 1))
    monkeypatch.setattr(tiff, "_HARMLESS", 1 << 30)
    if not find_spec("imagecodecs"):  # then tifffile cannot unpack it
        with pytest.raises(ImageError, match="uses Zstandard compression, which requires"):
            anymask.read_volume(path)


def test_a_tiff_states_no_more_than_it_holds(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path, bigtiff=True) as writer:
        writer.write(
            iter([zlib.compress(b"")] * 2), shape=(2, 60_000, 60_000), dtype="u1",
            rowsperstrip=60_000, compression="zlib", photometric="minisblack",
        )  # fmt: skip
    with pytest.raises(LimitError, match="ANYMASK_VOLUME_MEGABYTES=7201"):
        anymask.read_volume(path)
    xml = ome([("a.tif", "urn:uuid:0")]).replace('PlaneCount="1"', 'PlaneCount="4000000000"')
    write_ome(path, 1, xml)
    with pytest.raises(ImageError, match="planes"):
        anymask.read_volume(path)


def deflated(path: Path, pixels: bytes, **changes: Any) -> None:
    write_slice(path, 0, np.zeros(3), PixelData=pixels, **changes)
    dataset = pydicom.dcmread(path)
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.DeflatedExplicitVRLittleEndian
    dataset.save_as(path, enforce_file_format=True)


def test_a_deflated_slice_of_dicom_is_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deflated(tmp_path / "a.dcm", np.arange(20, dtype=np.uint16).tobytes(), RescaleIntercept=0)
    assert anymask.read_volume(tmp_path / "a.dcm").array.ravel().tolist() == [*range(20)]
    deflated(tmp_path / "a.dcm", bytes(2_000_000), Rows=1000, Columns=1000)
    assert anymask.read_volume(tmp_path / "a.dcm").shape == (1, 1000, 1000)
    monkeypatch.setenv("ANYMASK_VOLUME_MEGABYTES", "8")
    with pytest.raises(LimitError, match="'a.dcm' require 2 MB"):
        anymask.read_volume(tmp_path / "a.dcm")
    head = (tmp_path / "a.dcm").read_bytes()
    start = 144 + int.from_bytes(head[140:144], "little")
    (tmp_path / "a.dcm").write_bytes(head[:start] + b"\xff" * 99)
    with pytest.raises(DataError, match="deflated transfer syntax"):
        anymask.read_volume(tmp_path / "a.dcm")


def jpeg_2000(pixels: NDArray[np.uint8]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "jpeg2000", no_jp2=True)
    return file.getvalue()


def jpeg_ls(pixels: NDArray[np.uint8]) -> bytes:
    return bytes(pytest.importorskip("jpeg_ls").encode_array(pixels))


@pytest.mark.parametrize("code", [jpeg_2000, jpeg_ls])
def test_a_compressed_slice_has_the_size_of_its_header(code: Any, tmp_path: Path) -> None:
    from pydicom.encaps import encapsulate

    pixels = np.arange(20, dtype=np.uint8).reshape(4, 5)
    stream = code(pixels)
    vast = stream.replace(b"\x00\x04\x00\x05", b"\xff" * 4, 1)  # only its header
    other = code(np.zeros((999, 5), np.uint8)) if code is jpeg_2000 else vast
    for frame in (stream, other):
        bits = {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7, "RescaleIntercept": 0}
        write_slice(tmp_path / "a.dcm", 0, np.zeros(3), **bits, PixelData=b"")
        dataset = pydicom.dcmread(tmp_path / "a.dcm")
        syntaxes = pydicom.uid.JPEG2000Lossless, pydicom.uid.JPEGLSLossless
        dataset.file_meta.TransferSyntaxUID = syntaxes[code is jpeg_ls]
        dataset.PixelData = encapsulate([frame])
        dataset["PixelData"].VR = "OB"
        dataset.save_as(tmp_path / "a.dcm", enforce_file_format=True)
        scan: Any = anymask.read_volume(tmp_path / "a.dcm")
        if frame is stream:
            assert np.array_equal(scan.array[0], pixels)
    with pytest.raises(DataError, match="5 x 999 pixels|65535 x 65535 pixels"):
        _ = scan.array


def test_a_segmentation_over_a_huge_space_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("highdicom")
    from anymask.volumes import label_volume, write_labels
    from tests.volumes.test_dicom_labels import write_scan

    scan = write_scan(tmp_path / "ct", np.diag([1.0, 1.0, 2.0, 1.0]), (3, 8, 10))
    write_labels(tmp_path / "a.dcm", label_volume(np.ones((3, 8, 10), np.uint8), scan), scan)
    dataset = pydicom.dcmread(tmp_path / "a.dcm")
    place = dataset.PerFrameFunctionalGroupsSequence[-1].PlanePositionSequence[0]
    place.ImagePositionPatient = [*place.ImagePositionPatient[:2], 2e8]
    dataset.save_as(tmp_path / "a.dcm")
    with pytest.raises(LimitError, match=r"'a.dcm' require"):
        anymask.read_volume(tmp_path / "a.dcm")
