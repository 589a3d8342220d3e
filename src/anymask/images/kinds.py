"""Recognize files and folders that are not images (scans, videos, maps, ...) and advise on them.

A file is recognized by its first bytes, a folder by its first files.
"""

from __future__ import annotations

import os
import shlex
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal

Kind = Literal["image", "scan", "other scan", "video", "map", "layer", "other"]
ExpectedInput = Literal["image", "scan", "video", "map", "labels"]

INSPECTED_BYTES = 512  # bytes that are inspected
_LOOKED_AT = 50  # files of a folder that are inspected
_NIFTI = 348  # size of the header in bytes; its last four are the magic number
_DEPTH = 3  # levels of subfolders

# The command to use instead; FILE is the path.
COMMAND_HINTS: dict[Kind, str] = {
    "image": "Segment it with: anymask segment FILE --point X,Y",
    "scan": (
        "Segment it with: anymask volume FILE --slice N --box X0,Y0,X1,Y1 -o labels.nii.gz. In "
        "Python, `anymask.read_volume(path).image(N)` is one slice"
    ),
    "other scan": (
        "Convert it to NIfTI (.nii.gz), for example with 3D Slicer, and pass the result "
        "to anymask volume"
    ),
    "video": (
        "Track objects in it with: anymask track FILE --box X0,Y0,X1,Y1 -o masks.mp4. Find objects "
        "by text: anymask find FILE TEXT. Extract its frames: ffmpeg -i FILE frames/%05d.png"
    ),
    "map": (
        "Segment it with: anymask segment FILE --point X,Y -o objects.gpkg, or anymask everything "
        "FILE -o objects.gpkg. In Python, anymask.maps.open_map(path) reads windows of it"
    ),
    "layer": "Use it as prompts: anymask segment MAP --prompts FILE -o objects.gpkg",
}
_NOT_THIS: dict[ExpectedInput, str] = {
    "image": ", not an image", "scan": ", not a scan", "video": ", not a video",
    "map": ", not a map", "labels": "",
}  # fmt: skip
_NOUNS: dict[Kind, str] = {
    "image": "images", "scan": "scans", "other scan": "scans", "video": "videos", "map": "maps",
    "layer": "layers", "other": "files",
}  # fmt: skip


@dataclass(frozen=True)
class InputType:
    """Recognized file or folder."""

    what: str  # Description, such as "a NIfTI scan"
    kind: Kind  # Kind of input
    first: Path | None = None  # For a folder with several files, one of them
    advice: str = ""  # Remedy, if it is not that of the kind

    @property
    def remedy(self) -> str:
        """Command to use for this input; FILE is the path."""
        return self.advice or COMMAND_HINTS[self.kind]


def _other(what: str, advice: str) -> InputType:
    return InputType(what, "other", advice=advice)


_IMAGE, _VIDEO = InputType("an image", "image"), InputType("a video", "video")
_DICOM = InputType("a DICOM scan", "scan")
_RAW = _other("a camera raw file", "Develop it to TIFF or JPEG first, for example with darktable")
_POSTSCRIPT = _other("a PostScript document", "Export it as PNG from the program that created it")
_HEIC = _other(
    "a HEIC photo",
    "It is corrupted, or a variant of the format that is not supported. Convert it to JPEG: "
    "heif-convert FILE photo.jpg",
)
_BEGINNINGS: tuple[tuple[bytes, InputType], ...] = (
    (b"NRRD0", InputType("an NRRD scan", "scan")),
    (b"ObjectType", InputType("a MetaImage scan", "other scan")),
    (b"NDims", InputType("a MetaImage scan", "other scan")),
    (b"\x1aE\xdf\xa3", _VIDEO),
    (b"\0\0\1\xba", _VIDEO),
    (b"\0\0\1\xb3", _VIDEO),
    (b"FLV\1", _VIDEO),
    (b"OggS", _VIDEO),
    (b"0&\xb2u\x8ef\xcf\x11", _VIDEO),  # ASF, of .wmv
    (b"fgb", InputType("a layer of shapes (FlatGeobuf)", "layer")),
    (b"\0\0\x27\x0a", InputType("a layer of shapes (Shapefile)", "layer")),
    (b"\xff\xd8\xff", _IMAGE),
    (b"\x89PNG", _IMAGE),
    (b"GIF8", _IMAGE),
    (b"BM", _IMAGE),
    (b"\x93NUMPY", _other("a NumPy array", "In Python, pass numpy.load(FILE), or save it as TIFF")),
    (
        b"PK\x03\x04",
        _other(
            "an archive",
            "Unpack it and pass an image from it. For a zip of DICOM slices, run: anymask volume "
            "FILE",
        ),
    ),
    (b"%PDF", _other("a PDF document", "Convert its pages to images: pdftoppm -png FILE page")),
    (
        b"\x89HDF",
        _other(
            "an HDF5 file",
            "In Python, read its array with h5py, or export it as TIFF, for example from Fiji",
        ),
    ),
    (b"%!PS", _POSTSCRIPT),
    (b"\xc5\xd0\xd3\xc6", _POSTSCRIPT),  # with a preview
    (b"8BPS", _other("a Photoshop document", "Export it as PNG or TIFF")),
    (b"FUJIFILM", _RAW),
    (b"IIRO", _RAW),
    (b"IIU\0", _RAW),
)
HEIC = (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1")
_BRANDS = {  # of an ISO base media file, after "ftyp"; all others are videos
    **dict.fromkeys(HEIC, _HEIC), b"avif": _IMAGE, b"avis": _IMAGE, b"crx ": _RAW,
}  # fmt: skip


def recognize_head(head: bytes) -> InputType | None:
    """Recognize a file by its first bytes (up to INSPECTED_BYTES); None if it is unknown."""
    if head.startswith(b"\x1f\x8b"):
        try:
            head = zlib.decompressobj(31).decompress(head, INSPECTED_BYTES)
        except zlib.error:
            return None
    if head[_NIFTI - 4 : _NIFTI] in (b"n+1\0", b"ni1\0") or head[4:8] in (b"n+2\0", b"ni2\0"):
        return InputType("a NIfTI scan", "scan")
    if head[128:132] == b"DICM":
        return _DICOM
    if head[4:8] == b"ftyp":
        return _BRANDS.get(head[8:12], _VIDEO)
    application = head[68:72] if head.startswith(b"SQLite format 3\0") else b""
    if application in (b"GPKG", b"GP10", b"GP11"):
        return InputType("a GeoPackage layer", "layer")
    if head.startswith(b"RIFF"):
        return {b"AVI ": _VIDEO, b"WEBP": _IMAGE}.get(head[8:12])
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    if text.startswith(b"<VRTDataset"):
        return InputType("a map (GDAL virtual raster)", "map")
    if b"<kml" in text[:200] or b'"FeatureCollection"' in text[:200]:
        return InputType("a layer of shapes", "layer")
    text = text.lower()
    if text.startswith((b"<!doctype html", b"<html")):
        return _other("a web page", "Download the image itself")
    if text.startswith(b"<svg") or (text.startswith(b"<?xml") and b"<svg" in text):
        return _other("an SVG drawing", "Convert it to an image: rsvg-convert FILE -o drawing.png")
    return next((input_type for begin, input_type in _BEGINNINGS if head.startswith(begin)), None)


def recognize(path: Path) -> InputType | None:
    """Recognize a file or folder, except documents and the like; a folder by the most frequent
    type of its first files."""
    if not path.is_dir():
        return _recognize_file(path)
    if any((path / name).is_file() for name in (".zattrs", ".zgroup", "zarr.json")):
        return InputType("an OME-Zarr scan", "scan")
    files: dict[InputType, list[Path]] = {}
    for file in islice(_files_in(path), _LOOKED_AT):
        if kind := _recognize_file(file):
            files.setdefault(kind, []).append(file)
    if not files:
        return None
    most = max(files, key=lambda kind: len(files[kind]))
    if most == _DICOM:
        return InputType("a folder of a DICOM series", "scan")
    return InputType(f"a folder of {_NOUNS[most.kind]}", most.kind, files[most][0])


def _recognize_file(path: Path) -> InputType | None:
    try:
        if not path.is_file():  # reading a pipe would block
            return None
        with path.open("rb") as file:
            input_type = recognize_head(file.read(INSPECTED_BYTES))
    except (OSError, ValueError):
        return None
    return None if input_type is None or input_type.kind == "other" else input_type


def suggest_command(path: Path, requested: ExpectedInput) -> str | None:
    """Describe an unsuitable input and the command to use instead; None if it is suitable or
    unknown."""
    input_type = recognize(path)
    if input_type is None or (input_type.kind == requested and input_type.first is None):
        return None
    is_folder = path.is_dir()
    reason = "" if is_folder or input_type.kind == "other scan" else _NOT_THIS[requested]
    remedy, target = input_type.remedy, input_type.first or path
    if is_folder and input_type.kind == "image":
        remedy, target = "Segment them with: anymask everything FILE -o out/", path
    remedy = remedy.replace("FILE", shlex.quote(str(target)))
    return f"{str(path)!r} is {input_type.what}{reason}. {remedy}."


def suggest_single_image(path: Path, requested: ExpectedInput, *, is_map: bool) -> str:
    """Like `suggest_command`, for a single image where a scan or a video is required."""
    input_type = InputType("a map (GeoTIFF)", "map") if is_map else InputType("one image", "image")
    remedy = input_type.remedy.replace("FILE", shlex.quote(str(path)))
    return f"{str(path)!r} is {input_type.what}{_NOT_THIS[requested]}. {remedy}."


def _files_in(folder: Path) -> Iterator[Path]:
    """Yield files of a folder and its subfolders, in order, without hidden ones and links."""
    for here, inside, names in os.walk(folder):
        deep = len(Path(here).relative_to(folder).parts)
        inside[:] = sorted(name for name in inside if not name.startswith(".") and deep < _DEPTH)
        for name in sorted(names):
            if not name.startswith("."):
                yield Path(here, name)
