"""Scans, videos, maps and layers given to a command for images: the error names the right one."""

import gzip
from pathlib import Path

import pytest
from PIL import Image

import anymask
from anymask.base import AnymaskError, InputError
from anymask.images import load_image, suggest_command
from anymask.segment import Model
from tests.conftest import CommandLine
from tests.segment.fakes import ColorRuntime

NIFTI = bytes(344) + b"n+1\0" + bytes(200)
DICOM = bytes(128) + b"DICM" + bytes(400)
MP4 = b"\0\0\0\x1cftypisom" + bytes(500)
FILES = {
    "a.nii": NIFTI,
    "a.nii.gz": gzip.compress(NIFTI),
    "two.nii": b"\x1c\2\0\0n+2\0\r\n\x1a\n" + bytes(540),
    "a.nrrd": b"NRRD0004\ntype: int16\n",
    "a.mha": b"ObjectType = Image\nNDims = 3\n",
    "a.dcm": DICOM,
    "a.dat": MP4,
    "a.bin": b"\x1aE\xdf\xa3" + bytes(60),
    "b.bin": b"RIFF\0\0\0\0AVI LIST",
    "a.vrt": b'<VRTDataset rasterXSize="9" rasterYSize="9">',
    "a.gpkg": b"SQLite format 3\0".ljust(68, b"\0") + b"GPKG" + bytes(90),
    "a.fgb": b"fgb\3fgb\0" + bytes(90),
    "a.kml": b'<?xml version="1.0"?><kml xmlns="x">',
}
COMMANDS = {"scan": "anymask volume", "video": "anymask track", "map": "-o objects.gpkg"}
COMMANDS |= {"layer": "--prompts"}
WORDS = {
    "segment": ["--point", "5,5"],
    "everything": [],
    "cutout": [],
    "encode": [],
    "find": ["cup"],
    "boxes": [],
    "track": ["--point", "5,5", "-o", "o.json"],
    "volume": ["--point", "5,5", "-o", "o.nii"],
}
RIGHT = {"volume": ("a.nii.gz", "a series", "stack.zarr"), "track": ("a.dat",)}


@pytest.fixture(autouse=True)
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(anymask, "load", lambda *_, **__: Model(ColorRuntime()))
    for name, data in FILES.items():
        Path(name).write_bytes(data)
    for folder, names in {"a series": ["IM0", "IM1"], "scans": ["b.nii.gz", "a.nii"]}.items():
        Path(folder).mkdir()
        for name in names:
            Path(folder, name).write_bytes(DICOM if folder == "a series" else NIFTI)
    Path("clips").mkdir()
    Path("clips/a.mp4").write_bytes(MP4)
    Path("stack.zarr").mkdir()
    Path("stack.zarr/.zgroup").write_text("{}")
    Image.new("RGB", (20, 20)).save("photo.png")
    Path("photos").mkdir()
    Image.new("RGB", (20, 20)).save("photos/a.png")
    return tmp_path


@pytest.mark.parametrize(
    ("command", "name", "kind", "path"),
    [
        (command, *row)
        for command in WORDS
        for row in (
            ("a.nii.gz", "scan", None),
            ("a series", "scan", "'a series'"),
            ("stack.zarr", "scan", "stack.zarr"),
            ("a.dat", "video", None),
            ("clips", "video", "clips/a.mp4"),  # a folder of videos is for no command
            ("a.vrt", "map", None),
            ("a.gpkg", "layer", None),
        )
        if row[0] not in RIGHT.get(command, ())
    ],
)
def test_each_command_names_the_right_one(
    command: str, name: str, kind: str, path: str | None, cli: CommandLine
) -> None:
    pytest.importorskip("av", reason="needs the extra [video]")
    told = cli.refused([command, name, *WORDS[command]])
    assert COMMANDS[kind] in told
    assert path is None or f"{COMMANDS[kind]} {path}" in told
    assert told.count("\n") == 1


def test_nothing_is_said_of_what_may_be_right_or_is_unknown() -> None:
    Path("empty").mkdir()
    Path("text.txt").write_text("hello")
    Path("broken.gz").write_bytes(b"\x1f\x8b\x08broken")
    assert suggest_command(Path("photo.png"), "image") is None
    assert suggest_command(Path("a.dcm"), "scan") is None
    for name in ("empty", "text.txt", "broken.gz", "absent"):
        assert suggest_command(Path(name), "image") is None


def test_errors_are_of_the_package() -> None:
    for name in FILES:
        with pytest.raises(AnymaskError):
            load_image(name)
    Image.new("RGB", (20, 20)).save("photo.tif")
    with pytest.raises(InputError, match="is a color image, not a scan"):
        anymask.read_volume("photo.tif")
