"""Marks by which annotation formats are recognized, without loading their readers.

A row of `MARKS` lists the suffix, the JSON keys, the XML root element or the folder contents of a
format; a function if these are not sufficient. Formats of the plug-ins of this repository have rows
too: without the plug-in, their files are answered with the command that installs it.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property
from pathlib import Path
from typing import Any

from anymask.base import DataError, brief
from anymask.formats.documents import read_json, read_xml
from anymask.formats.label_folders import has_both
from anymask.formats.label_studio_min import is_row, is_table

Keys = tuple[frozenset[str], ...]  # alternatives, each of keys that are all required
_QUPATH = frozenset(["objectType", "classification", "isLocked", "measurements"])


class Fit(IntEnum):
    """How well a file or folder fits a format; MAYBE yields to any SURE and to published sets."""

    NO = 0
    MAYBE = 1
    SURE = 2

    @classmethod
    def sure(cls, found: bool) -> Fit:
        """Return SURE or NO."""
        return cls.SURE if found else cls.NO


@dataclass(frozen=True)
class Sniffed:
    """A file or folder whose contents are read once, on demand."""

    path: Path

    @cached_property
    def suffix(self) -> str:
        """Suffix in lower case with its dot; "" for a folder."""
        return "" if self.path.is_dir() else self.path.suffix.lower()

    @cached_property
    def head(self) -> str:
        """First characters of a file."""
        with self.path.open("rb") as file:
            return file.read(4096).decode("utf-8-sig", "replace")

    @cached_property
    def document(self) -> Any:
        """Parsed JSON file; None for any other. Raises DataError."""
        return read_json(self.path) if self.suffix == ".json" else None

    @property
    def keys(self) -> frozenset[str]:
        """Keys of a JSON file with one object; none for any other."""
        return frozenset(self.document if isinstance(self.document, dict) else ())

    @cached_property
    def first(self) -> dict[str, Any] | None:
        """First record of a JSON file with a list of objects; {} for an empty list."""
        if not isinstance(self.document, list):
            return None
        first = self.document[0] if self.document else {}
        return first if isinstance(first, dict) else None

    @property
    def inner(self) -> frozenset[str]:
        """Keys of the first value of a JSON file with one object, if it is an object as well."""
        first = next(iter(self.document.values()), None) if self.keys else None
        return frozenset(first if isinstance(first, dict) else ())

    @cached_property
    def root_tag(self) -> str:
        """Root element of an XML file; "" for any other. Raises DataError."""
        return str(read_xml(self.path).tag) if self.suffix == ".xml" else ""


@brief
@dataclass(frozen=True, kw_only=True)
class Mark:
    """A mark by which a format is recognized; one of its conditions is sufficient."""

    about: str  # Description
    suffixes: tuple[str, ...] = ()  # Suffixes of files whose contents are not checked
    keys: Keys = ()  # Keys of a JSON object
    first: Keys = ()  # Keys of the first record of a JSON list
    inner: Keys = ()  # Keys of the first value of a JSON object
    # End of a file name, and a regular expression that the beginning of the file matches
    head: tuple[str, str] | None = None
    root: str = ""  # Root element of an XML file
    holds: tuple[str, ...] = ()  # Contents of a folder; folders end with a slash
    globs: tuple[str, ...] = ()  # Globs of which each one matches in a folder
    recognize: Callable[[Sniffed], Fit] | None = None  # Function in place of all conditions
    fit: Fit = Fit.SURE  # Fit of a file or folder with the mark

    def match(self, found: Sniffed) -> Fit:
        """Return how well a file or folder fits. Raises DataError for an invalid file."""
        if self.recognize is not None:
            return self.recognize(found)
        has_mark = (
            found.suffix in self.suffixes
            or any(keys <= found.keys for keys in self.keys)
            or any(keys <= (found.first or {}).keys() for keys in self.first)
            or any(keys <= found.inner for keys in self.inner)
            or (
                self.head is not None
                and found.suffix != ""
                and found.path.name.lower().endswith(self.head[0])
                and re.match(self.head[1], found.head) is not None
            )
            or (self.root != "" and found.root_tag == self.root)
            or any(
                (found.path / name).is_dir()
                if name.endswith("/")
                else (found.path / name).is_file()
                for name in self.holds
            )
            or (self.globs != () and matches_all(found.path, self.globs))
        )
        return self.fit if has_mark else Fit.NO


def matches_all(folder: Path, globs: tuple[str, ...]) -> bool:
    """Return whether a folder has a match of each glob."""
    return folder.is_dir() and all(any(folder.glob(glob)) for glob in globs)


def _all_of(*alternatives: str) -> Keys:
    """Return alternatives of keys, each given as one string: "images annotations"."""
    return tuple(frozenset(keys.split()) for keys in alternatives)


_INSTANCES = frozenset({"images", "annotations"})


def _first(rows: Any) -> dict[str, Any]:
    """Return the first record of a list; {} if the value is no list of records."""
    first = rows[0] if isinstance(rows, list) and rows else None
    return first if isinstance(first, dict) else {}


def _saco(found: Sniffed) -> Fit:
    rows = found.document.get("images") if isinstance(found.document, dict) else None
    return Fit.sure("text_input" in _first(rows) or "video_np_pairs" in found.keys)


def _coco(found: Sniffed) -> Fit:
    if _saco(found):
        return Fit.NO
    if "videos" in found.keys and "images" not in found.keys:
        raise DataError(
            f"{found.path}: This JSON describes videos (YouTube-VIS) and can only be "
            "read with their frames. Name it annotations_train.json, place it next to "
            "train/VIDEO/00000.jpg, and pass the folder with --split train."
        )
    return Fit.sure(found.keys >= _INSTANCES and not _has_segments(found))


def _has_segments(found: Sniffed) -> bool:
    """Return whether the first annotation of a JSON file is a panoptic one."""
    return "segments_info" in _first(found.document["annotations"])


def _davis(found: Sniffed) -> Fit:
    folder = found.path / "Annotations"
    return Fit.MAYBE if folder.is_dir() and not any(folder.glob("*.xml")) else Fit.NO


def _label_png(found: Sniffed) -> Fit:
    if found.suffix == ".png":
        return Fit.SURE
    return Fit.MAYBE if found.path.is_dir() and has_both(found.path) else Fit.NO


def _label_studio(found: Sniffed) -> Fit:
    first = found.first
    listed = first is not None and ("data" in first or is_row(first))
    return Fit.sure(listed or (found.suffix in (".csv", ".tsv") and is_table(found.head)))


def _yolo(found: Sniffed) -> Fit:
    folder = found.path
    if not folder.is_dir():
        return Fit.NO
    plain = (folder / "labels").is_dir() and not has_both(folder)
    if (folder / "data.yaml").is_file() or plain or any(folder.glob("*/labels/*.txt")):
        return Fit.SURE
    is_inside = "labels" in (folder.name, folder.parent.name)
    return Fit.MAYBE if is_inside and any(folder.rglob("*.txt")) else Fit.NO


def _qupath(found: Sniffed) -> Fit:
    try:
        document = read_json(found.path) if found.suffix == ".geojson" else found.document
    except DataError:
        return Fit.NO
    first = _first(document.get("features") if isinstance(document, dict) else document)
    about = first.get("properties") if "geometry" in first else None
    return Fit.sure(isinstance(about, dict) and not _QUPATH.isdisjoint(about))


def _results(found: Sniffed) -> Fit:
    wrapped = "annotations" in found.keys and not found.keys & {"images", "image"}
    rows = found.document["annotations"] if wrapped else found.document
    if not isinstance(rows, list) or not rows:
        return Fit.sure(rows == [] and not wrapped)
    keys = _first(rows).keys()
    return Fit.sure(("segmentation" in keys and not wrapped) or {"image_id", "bbox"} <= keys)


def _imagej(found: Sniffed) -> Fit:
    if found.suffix == ".roi":
        return Fit.SURE
    if found.suffix != ".zip" or not zipfile.is_zipfile(found.path):
        return Fit.NO
    try:
        with zipfile.ZipFile(found.path) as archive:
            names = [name for name in archive.namelist() if not name.endswith("/")]
    except (zipfile.BadZipFile, ValueError, NotImplementedError, EOFError):
        return Fit.NO  # damaged
    return Fit.sure(bool(names) and all(name.lower().endswith(".roi") for name in names))


# Of two formats that fit alike the first is taken.
MARKS: dict[str, Mark] = {
    "sa1b": Mark(
        about="JSON with annotations that matches no other format",
        keys=_all_of("annotations"), fit=Fit.MAYBE,
    ),
    "coco": Mark(about="JSON of images and annotations", recognize=_coco),
    "saco": Mark(about="JSON of images or videos with noun phrases", recognize=_saco),
    "coco-panoptic": Mark(
        about="JSON of images and annotations of segments",
        recognize=lambda found: Fit.sure(found.keys >= _INSTANCES and _has_segments(found)),
    ),
    "davis": Mark(
        about="A folder with label images in Annotations/", recognize=_davis
    ),
    "label-png": Mark(
        about="A label PNG, or a folder of them next to a folder of images", recognize=_label_png
    ),
    "voc": Mark(
        about="A folder of object label images, or XML with annotation as root", root="annotation",
        holds=("SegmentationObject/", "SegmentationObjectPNG/"),
    ),
    "sav": Mark(
        about="JSON with a masklet, a folder of the val and test splits, or .jsonl of tracks",
        keys=_all_of("masklet"), holds=("Annotations_6fps/",), head=(".jsonl", r'\{"frame": '),
    ),
    "labelme": Mark(about="JSON with shapes", keys=_all_of("shapes")),
    "label-studio": Mark(
        about="JSON with a list of tasks, or JSON-MIN, CSV or TSV", recognize=_label_studio
    ),
    "cvat": Mark(
        about="XML, except PASCAL VOC",
        recognize=lambda found: Fit.sure(found.root_tag not in ("", "annotation")),
    ),
    "yolo": Mark(
        about="A folder with data.yaml, or with label files in text form", recognize=_yolo
    ),
    "qupath": Mark(
        about="GeoJSON with the properties of QuPath in the first feature", recognize=_qupath
    ),
    "geojson": Mark(
        about="A file with the suffix .geojson, or JSON with features", suffixes=(".geojson",),
        keys=_all_of("features"), first=_all_of("geometry"),
    ),
    "set": Mark(about="A folder with masks.jsonl", holds=("masks.jsonl",)),
    "svg": Mark(about="A file with the suffix .svg", suffixes=(".svg",)),
    "v7": Mark(about="JSON with an item and annotations", keys=_all_of("item annotations")),
    "encord": Mark(
        about="A label row, or a list of them", keys=_all_of("data_units"),
        first=_all_of("data_units"),
    ),
    "supervisely": Mark(
        about="A project folder, or JSON of one image with its size and objects",
        keys=_all_of("size objects"), globs=("meta.json", "**/ann/*.json"),
    ),
    "imagej": Mark(about="A .roi file, or a zip of .roi files", recognize=_imagej),
    "cellpose": Mark(
        about="A file named _seg.npy with a pickled object",
        head=("_seg.npy", r".NUMPY[^}]*'\|O'"),
    ),
    "via": Mark(
        about="A project or an export of annotations of VIA 1, 2 or 3, as JSON or CSV",
        keys=_all_of("_via_img_metadata", "metadata view file"),
        inner=_all_of("filename regions"),
        head=(".csv", "#?filename,file_size|# Exported using VGG Image Annotator"),
    ),
    "results": Mark(
        about="JSON with a list of records with `segmentation`, or with `image_id` and `bbox`",
        recognize=_results,
    ),
}  # fmt: skip
