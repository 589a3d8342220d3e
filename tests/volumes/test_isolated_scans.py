"""A scan read in a process of its own is the same, and the process ends when it has to."""

import errno
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import anymask
from anymask.base import DataError, InputError, LimitError, MissingExtra
from anymask.volumes import IsolatedScan, Volume, label_volume, write_labels
from tests.patience import PATIENCE_S
from tests.volumes.test_untrusted_scans import deflated, header, nifti

nibabel = pytest.importorskip("nibabel")
pydicom = pytest.importorskip("pydicom")
needs_pipes = pytest.mark.skipif(
    not hasattr(os, "mkfifo") or shutil.which("pgrep") is None, reason="needs named pipes and pgrep"
)
needs_limits = pytest.mark.skipif(sys.platform != "linux", reason="needs limits of processes")
SMALL = 1_000_000  # bytes


def isolated(path: Path, folder: Path, seconds: float = 60, size: int = SMALL) -> IsolatedScan:
    folder.mkdir(exist_ok=True)
    return IsolatedScan(path, folder, size, seconds)


def check(path: Path, folder: Path) -> tuple[Volume, Volume]:
    asked = isolated(path, folder)
    asked.read()
    unpacked, scan = asked.load()
    expected = anymask.read_volume(path)
    assert np.array_equal(unpacked.array, expected.array)
    assert unpacked.voxels.dtype == expected.voxels.dtype.newbyteorder("=")
    assert np.allclose(unpacked.affine, expected.affine)
    return unpacked, scan


def test_voxels_are_those_of_the_reader(tmp_path: Path) -> None:
    array = np.arange(60, dtype=">i2").reshape(3, 4, 5)
    image = nibabel.Nifti1Image(array.T, np.diag([-2.0, -1, 3, 1]))
    nibabel.save(image, tmp_path / "a.nii.gz")
    unpacked, scan = check(tmp_path / "a.nii.gz", tmp_path / "out")
    assert scan is unpacked
    deflated(tmp_path / "a.dcm", np.arange(20, dtype=np.uint16).tobytes())
    check(tmp_path / "a.dcm", tmp_path / "deflated")


def test_a_series_keeps_what_labels_refer_to_and_nothing_private(tmp_path: Path) -> None:
    pytest.importorskip("highdicom")
    from tests.volumes.test_dicom_labels import write_scan

    folder = tmp_path / "ct"
    expected = write_scan(folder, np.diag([1.0, 1.0, 2.0, 1.0]), (3, 8, 10))
    for path in folder.iterdir():
        dataset = pydicom.dcmread(path)
        dataset.private_block(0x0009, "maker", create=True).add_new(1, "OB", bytes(9000))
        dataset.ImageComments = "long" * 2000
        dataset.save_as(path)
    _, scan = check(folder, tmp_path / "out")
    (tmp_path / "out" / "headers" / "000000.dcm").stat()
    for one in scan.voxels.headers:  # type: ignore[attr-defined]
        assert not any(element.tag.is_private for element in one)
        assert "ImageComments" not in one
    labels = label_volume(np.ones((3, 8, 10), np.uint8), scan)
    for name, of in (("a.dcm", scan), ("b.dcm", expected)):
        write_labels(tmp_path / name, labels, of)
    ours, theirs = (pydicom.dcmread(tmp_path / name) for name in ("a.dcm", "b.dcm"))
    for name in (
        "PatientName",
        "StudyInstanceUID",
        "FrameOfReferenceUID",
        "ReferencedSeriesSequence",
    ):
        assert ours[name] == theirs[name]


def test_errors_are_those_of_the_reader(tmp_path: Path) -> None:
    path = tmp_path / "a.nrrd"
    for data, error, word in (
        (b"hello", InputError, "not a supported scan"),
        (header("9 9 9").encode() + b"\n", DataError, "is truncated"),
        (header("999 999 9").encode() + b"\n" + bytes(9_000_000), LimitError, "limit is 1 MB"),
        (header(more="data file: b.raw\n").encode(), InputError, "in another file"),
    ):
        path.write_bytes(data)
        with pytest.raises(error, match=word) as told:
            isolated(path, tmp_path / "out").read()
        if isinstance(told.value, LimitError):
            assert told.value.size == 999 * 999 * 9


def test_an_absent_library_is_told_as_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "hidden").mkdir()
    (tmp_path / "hidden" / "nibabel.py").write_text("raise ImportError")
    monkeypatch.setattr(sys, "path", [str(tmp_path / "hidden"), *sys.path])
    (tmp_path / "a.nii").write_bytes(nifti((2, 2, 2)) + bytes(16))
    with pytest.raises(MissingExtra, match=r"anymask\[volumes\]") as told:
        isolated(tmp_path / "a.nii", tmp_path / "out").read()
    assert told.value.extra == "volumes"


def test_a_file_that_vanishes_is_an_error_of_the_system(tmp_path: Path) -> None:
    (tmp_path / "a.nii").write_bytes(nifti((2, 2, 2)) + bytes(16))
    asked = isolated(tmp_path / "a.nii", tmp_path / "out")
    (tmp_path / "out" / "voxels").mkdir()  # where a file is to be
    with pytest.raises(OSError, match="directory") as told:
        asked.read()
    assert told.value.errno == errno.EISDIR


@needs_limits
def test_the_process_has_bounded_memory_and_files(tmp_path: Path) -> None:
    code = (
        "from anymask.volumes.isolated import limit_process\n"
        "limit_process(1_000_000, 5)\n"
        "try: bytearray(900 << 20)\n"
        "except MemoryError: print('memory')\n"
        "try: open('file', 'wb').write(bytes(1 << 10)) and open('file', 'r+b').truncate(1 << 30)\n"
        "except OSError as error: print(error.errno)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=True
    )
    assert done.stdout.split() == ["memory", str(errno.EFBIG)], done


@needs_limits
def test_a_reader_that_dies_is_one_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "nrrd.py").write_text("import os; os.abort()")
    monkeypatch.setattr(sys, "path", [str(tmp_path / "broken"), *sys.path])
    (tmp_path / "a.nrrd").write_text(header())
    with pytest.raises(DataError, match=r"its reader was killed \(SIGABRT\)"):
        isolated(tmp_path / "a.nrrd", tmp_path / "out").read()
    (tmp_path / "broken" / "nrrd.py").write_text("bytearray(1 << 40)")
    with pytest.raises(LimitError, match="memory"):
        isolated(tmp_path / "a.nrrd", tmp_path / "out").read()


def is_read(path: Path) -> bool:
    """Whether a process has a file on its command line."""
    found = subprocess.run(["pgrep", "-f", str(path)], capture_output=True, check=False)
    return bool(found.stdout)


@needs_pipes
def test_what_takes_too_long_or_is_stopped_ends_with_its_process(tmp_path: Path) -> None:
    pipe = tmp_path / "scan.nii"
    os.mkfifo(pipe)  # of which nobody ever writes
    with pytest.raises(LimitError, match="limit of 0.5 seconds"):
        isolated(pipe, tmp_path / "out", 0.5).read()
    with pytest.raises(InterruptedError):
        isolated(pipe, tmp_path / "out").read(lambda: True)
    assert not is_read(pipe)


@needs_pipes
def test_the_process_ends_with_the_one_that_started_it(tmp_path: Path) -> None:
    pipe = tmp_path / "scan.nii"
    os.mkfifo(pipe)
    (tmp_path / "out").mkdir()
    code = (
        "import sys; from pathlib import Path; from anymask.volumes import IsolatedScan; "
        "IsolatedScan(Path(sys.argv[1]), Path(sys.argv[2]), 1, 600).read(lambda: print('!'))"
    )
    parent = subprocess.Popen(
        [sys.executable, "-u", "-c", code, pipe, tmp_path / "out"], stdout=subprocess.PIPE
    )
    assert parent.stdout.readline() == b"!\n"  # the reader was started
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    deadline = time.monotonic() + PATIENCE_S
    while is_read(pipe):
        assert time.monotonic() < deadline
        time.sleep(0.05)
