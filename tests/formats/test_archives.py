"""Archives of annotations are read as what they hold, and nothing leaves their folder."""

import gc
import gzip
import io
import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import anymask
from anymask.base import DataError
from anymask.cli.main import main
from anymask.formats import archives as module
from anymask.formats import find_format, read, read_annotations, write_annotations
from anymask.formats.registry import FORMATS
from tests.conftest import CommandLine
from tests.formats.annotated import pixels, rings


def pack(folder: Path, archive: Path, top: str = "") -> Path:
    """An archive of a folder's files, below `top` where it is given."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    names = [(path, f"{top}{path.relative_to(folder).as_posix()}") for path in files]
    if archive.suffix == ".zip":
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
            for path, name in names:
                packed.write(path, name)
    else:
        with tarfile.open(archive, "w:gz" if archive.suffix == ".gz" else "w") as packed_tar:
            for path, name in names:
                packed_tar.add(path, name)
    return archive


@pytest.mark.parametrize("ending", [".zip", ".tar", ".tar.gz"])
@pytest.mark.parametrize("name", sorted(set(FORMATS) - {"davis", "sav", "set"}))
def test_every_format_is_read_from_archives(tmp_path: Path, name: str, ending: str) -> None:
    folder, chosen = tmp_path / "in", find_format(name)
    folder.mkdir()
    write_annotations([rings()], folder / f"all{chosen.ending}" if chosen.ending else folder, name)
    (folder / "images").mkdir()
    Image.new("RGB", (12, 9)).save(folder / "images/rings.png")
    archive = pack(folder, tmp_path / f"packed{ending}", "packed/")
    kept = [read_annotations(place)[0] for place in (folder, archive)]
    assert [pixels(image) for image in kept[1]] == [pixels(image) for image in kept[0]]
    assert read(archive).name == "packed"


def test_a_packed_json_is_read(tmp_path: Path) -> None:
    write_annotations([rings()], tmp_path / "a.json", "coco")
    (tmp_path / "b.json.gz").write_bytes(gzip.compress((tmp_path / "a.json").read_bytes()))
    assert main(["convert", str(tmp_path / "b.json.gz"), str(tmp_path / "c.xml")]) == 0
    (image,), _ = read_annotations(tmp_path / "c.xml")
    assert pixels(image) == [one for one in pixels(rings()) if one[0] != "none"]


def test_what_was_unpacked_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    write_annotations([rings()], tmp_path / "in/a.json", "coco")
    found = read(pack(tmp_path / "in", tmp_path / "in.zip"))
    assert len(list(found)) == len(list(found)) == 1  # as often as one likes
    assert len(list((tmp_path / "temporary").iterdir())) == 1
    found.close()
    assert not list((tmp_path / "temporary").iterdir())
    anymask.convert(tmp_path / "in.zip", tmp_path / "o.xml")
    assert not list((tmp_path / "temporary").iterdir())
    script = "import anymask, sys; print(list(anymask.read(sys.argv[1]))[0].file_name)"
    told = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "in.zip")],
        env=os.environ | {"TMPDIR": str(tmp_path / "temporary")},
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert told.stdout == "rings.png\n"
    assert not list((tmp_path / "temporary").iterdir())


def test_photos_outlive_the_dataset(tmp_path: Path) -> None:
    """A sample keeps the place of its photo, not the dataset that it came from."""
    write_annotations([rings()], tmp_path / "in", "set")
    (tmp_path / "in/images").mkdir()
    Image.new("RGB", (12, 9)).save(tmp_path / "in/images/rings.png")
    (image,), _ = read_annotations(pack(tmp_path / "in", tmp_path / "in.zip"))
    gc.collect()
    assert image.image().shape == (9, 12, 3)


def zipped(archive: Path, *names: str, link: bool = False) -> Path:
    """A ZIP file with members of these names."""
    with zipfile.ZipFile(archive, "w") as packed:
        for name in names:
            about = zipfile.ZipInfo(name)
            if link:
                about.external_attr = 0o120777 << 16
            packed.writestr(about, "../../outside")
    return archive


def tarred(archive: Path, name: str, kind: bytes = tarfile.REGTYPE) -> Path:
    """A tar file with one member."""
    with tarfile.open(archive, "w") as packed:
        about = tarfile.TarInfo(name)
        about.type, about.linkname, about.size = kind, "../outside", 2 * (kind == tarfile.REGTYPE)
        packed.addfile(about, io.BytesIO(b"[]"))
    return archive


@pytest.mark.parametrize(
    "name", ["../out.json", "a/../../out.json", "/tmp/out.json", "..\\out.json", "C:\\out.json"]
)
def test_members_that_lead_out_are_refused(tmp_path: Path, name: str) -> None:
    for archive in (zipped(tmp_path / "a.zip", "a.json", name), tarred(tmp_path / "a.tar", name)):
        with pytest.raises(DataError, match="points outside the archive"):
            read(archive)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.tar", "a.zip"]


def test_links_and_devices_are_refused(tmp_path: Path) -> None:
    archives = [zipped(tmp_path / "a.zip", "a.json", link=True)] + [
        tarred(tmp_path / f"{number}.tar", "a.json", kind)
        for number, kind in enumerate([tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE])
    ]
    for archive in archives:
        with pytest.raises(DataError, match="is a link or device"):
            read(archive)


@pytest.mark.parametrize("ending", [".zip", ".tar.gz", ".json.gz"])
def test_archives_that_unpack_to_far_more_are_refused(
    tmp_path: Path, ending: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MIN_BOUND", 1 << 20)
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.json").write_bytes(b" " * (3 << 20))
    archive = tmp_path / f"a{ending}"
    if ending == ".json.gz":
        archive.write_bytes(gzip.compress(b" " * (3 << 20)))
    else:
        pack(tmp_path / "in", archive)
    with pytest.raises(DataError, match="unpacks to more than 1 MB, which is 100 times its size"):
        read(archive)


def test_broken_and_encrypted_archives_are_refused(tmp_path: Path) -> None:
    for name, data in (("a.zip", b"PK"), ("a.tar", b"x" * 600), ("a.json.gz", b"\x1f\x8b\x08")):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(DataError, match="is corrupted or not supported"):
            read(tmp_path / name)
    data = bytearray(zipped(tmp_path / "b.zip", "a.json").read_bytes())
    data[6] |= 1  # of the member
    data[data.index(b"PK\x01\x02") + 8] |= 1  # of the directory
    (tmp_path / "b.zip").write_bytes(data)
    with pytest.raises(DataError, match="is encrypted"):
        read(tmp_path / "b.zip")


def test_what_file_managers_add_is_left_out(tmp_path: Path) -> None:
    write_annotations([rings()], tmp_path / "in/a.json", "coco")
    for name in ("__MACOSX/._a.json", "._a.json", ".DS_Store"):
        (tmp_path / "in" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "in" / name).write_bytes(b"\0\5\x16\7")
    (image,), report = read_annotations(pack(tmp_path / "in", tmp_path / "in.zip"))
    assert pixels(image) == pixels(rings())
    assert not report


@pytest.mark.parametrize("ending", [".zip", ".tar", ".tar.gz"])
@pytest.mark.parametrize("top", ["", "photos/", "set/images/"])
def test_images_come_from_an_archive(
    tmp_path: Path, ending: str, top: str, capsys: pytest.CaptureFixture[str], cli: CommandLine
) -> None:
    images = tmp_path / "photos"
    images.mkdir()
    Image.new("RGB", (12, 9), (9, 8, 7)).save(images / "rings.png")
    write_annotations([rings()], tmp_path / "labels", "yolo")
    archive = pack(images, tmp_path / f"p{ending}", top)
    labels = pack(tmp_path / "labels", tmp_path / "labels.zip")
    for source in (tmp_path / "labels", labels):
        from_folder, from_archive = (list(read(source, images=one)) for one in (images, archive))
        assert [pixels(one) for one in from_archive] == [pixels(one) for one in from_folder]
    target = str(tmp_path / "set")
    options = ["--to", "yolo", "--copy-images", "--images"]
    assert main(["convert", str(labels), target, *options, str(archive)]) == 0
    with Image.open(tmp_path / "set/images/rings.png") as image:
        assert (np.asarray(image) == (9, 8, 7)).all()
    capsys.readouterr()
    (images / "rings.png").rename(images / "other.png")
    pack(images, archive, top)
    assert str(archive) in (
        told := cli.refused(["convert", str(labels), target, *options, str(archive)])
    )
    assert tempfile.gettempdir() + "/anymask-" not in told
