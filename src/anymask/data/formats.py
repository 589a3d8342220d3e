"""The registry of annotation formats: a name or a file in, its reader and writer out.

A format is a module of this floor with two functions, `read(source, report, pictures)` and
`encode(images, target, report, policy)`; it is imported when it is used. Published data sets
(`data/layouts.py`) are read by the name of their layout.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anymask.data.annotations import AnnotatedImage, LossReport
from anymask.data.documents import OutFile, read_json, read_xml, write_files
from anymask.data.label_folders import has_both
from anymask.data.layouts import LAYOUTS, fitting_layout, iter_dataset, recognise_layout
from anymask.data.outlines import Policy
from anymask.primitives.errors import DataError, InputError
from anymask.primitives.suffixes import file_suffix, near_suffix


@dataclass(frozen=True)
class Format:
    """Where a format's functions are and what it is.

    module    of this floor
    read      the name of the reader
    encode    the name of the writer
    about     for people
    polygons  whether a writer of both writes polygons
    boxes     whether the reader takes `boxes=True`: boxes alone, which it leaves out, as rectangles
    """

    module: str
    read: str
    encode: str
    about: str
    polygons: bool = False
    boxes: bool = False

    def load(self, function: str) -> Callable[..., Any]:
        """Import the module and give one of its functions."""
        loaded: Callable[..., Any] = getattr(
            importlib.import_module(f"anymask.data.{self.module}"), function
        )
        return loaded


FORMATS: dict[str, Format] = {
    "sa1b": Format("sa1b", "read", "encode", "SA-1B JSON, a file a picture; keeps everything"),
    "coco": Format(
        "coco", "read", "encode", "COCO JSON with run-lengths, one file", boxes=True
    ),
    "coco-polygon": Format(
        "coco", "read", "encode", "COCO JSON with polygons", True, True
    ),
    "coco-panoptic": Format("panoptic", "read", "encode", "COCO panoptic JSON and PNGs"),
    "label-png": Format("label_pictures", "read", "encode", "16-bit PNG of object numbers"),
    "davis": Format("label_pictures", "read_davis", "encode_davis", "DAVIS PNG with a palette"),
    "voc": Format(
        "voc", "read", "encode", "PASCAL VOC: PNGs of classes and of objects", boxes=True
    ),
    "sav": Format("sav", "read", "encode", "SA-V JSON, a file a video"),
    "labelme": Format("labelme", "read", "encode", "labelme JSON with masks, a file a picture"),
    "labelme-polygon": Format("labelme", "read", "encode", "labelme JSON with polygons", True),
    "label-studio": Format("label_studio", "read", "encode", "Label Studio JSON with brushes"),
    "label-studio-polygon": Format("label_studio", "read", "encode", "with polygons", True),
    "cvat": Format("cvat", "read", "encode", "CVAT for images 1.1, XML with masks"),
    "yolo": Format(
        "yolo", "read", "encode", "YOLO-seg labels/ and data.yaml", boxes=True
    ),
    "geojson": Format("geojson", "read", "encode", "GeoJSON in pixels, a file a picture"),
    "set": Format("sets", "read", "encode", "a set of ours, for train and eval"),
    "svg": Format("svg", "read", "encode", "SVG paths, a file a picture"),
}  # fmt: skip


# What is written: the formats, and what says too little to be read back.
WRITTEN = FORMATS | {
    "csv": Format("csv_table", "", "encode", "CSV: a row of measurements a mask; OUT only")
}


def find_format(name: str) -> Format:
    """The format of this name. Raises InputError that lists all."""
    if name not in WRITTEN:
        raise InputError(f"unknown format {name!r}; there are {', '.join(WRITTEN)}")
    return WRITTEN[name]


def check_readable(name: str) -> None:
    """Raises InputError where there is neither a format nor a layout of this name."""
    if name not in FORMATS and name not in LAYOUTS:
        raise InputError(f"unknown format {name!r}; there are {', '.join({**FORMATS, **LAYOUTS})}")


def read_annotations(
    source: str | Path,
    name: str | None = None,
    pictures: str | Path | None = None,
    split: str | None = None,
) -> tuple[list[AnnotatedImage], LossReport]:
    """Read a file or folder, and what in it has no place in our records.

    name      of the format, or of a published layout; recognised when left out
    pictures  the folder of the pictures, where a format does not say their sizes
    split     the part of a published data set; the layout's own choice when left out

    Raises DataError that names file, record and reason; InputError for an unknown name.
    """
    source, report = place_of(Path(source)), LossReport()
    name = name or recognise(source, split)
    check_readable(name)
    if split is not None and name not in LAYOUTS:
        raise InputError(f"{name} has no splits, got {split!r}; name the file or folder itself")
    if name in LAYOUTS and (split is not None or name not in FORMATS):
        return list(iter_dataset(source, name, split)), report
    chosen = find_format(name)
    folder = None if pictures is None else Path(pictures)
    images: list[AnnotatedImage] = chosen.load(chosen.read)(source, report, folder)
    return images, report


def encode_annotations(
    images: list[AnnotatedImage],
    target: str | Path,
    name: str,
    report: LossReport,
    policy: Policy | None = None,
) -> Iterator[OutFile]:
    """The files of a format, not yet written; losses are noted as they are made."""
    chosen = find_format(name)
    check_target(Path(target), name)
    more = {"polygons": True} if chosen.polygons else {}
    files: Iterator[OutFile] = chosen.load(chosen.encode)(
        images, Path(target), report, policy or Policy(), **more
    )
    return files


def check_target(target: Path, name: str) -> None:
    """Raises InputError for the name of a file that a format is not written as."""
    suffix = file_suffix(target)
    ends = _SUFFIXES | {".csv": "csv"}
    own = next((end for end, one in ends.items() if one == name), ".json")
    if not suffix or (suffix == own and name not in _FOLDERS):
        return
    if name in _FOLDERS:
        kinds, remedy = "a folder", f"leave {suffix} out"
    else:
        more = "" if name.startswith(_WHOLE) else ", for one picture, or a folder"
        kinds, remedy = (
            f"a file that ends in {own}{more}",
            f"did you mean {target.with_suffix(own)}?",
        )
    raise InputError(f"{name} is written as {kinds}, got {str(target)!r}; {remedy}")


def write_annotations(
    images: list[AnnotatedImage], target: str | Path, name: str, policy: Policy | None = None
) -> LossReport:
    """Write a file or a folder, and tell what could not be kept.

    Raises DataError where the format cannot hold the pictures, InputError for an unknown name.
    """
    report = LossReport()
    write_files(encode_annotations(images, target, name, report, policy))
    return report


# Recognising.

SYNONYMS = {
    "pascal": "voc",
    "pascal-voc": "voc",
    "ultralytics": "yolo",
    "yolo-seg": "yolo",
    "yolov8": "yolo",
    "labelstudio": "label-studio",
    "sam": "sa1b",
    "panoptic": "coco-panoptic",
    "png": "label-png",
}


def format_name(word: str) -> str:
    """A format's name as it is typed, in any case, or as others call it."""
    plain = word.lower().replace("_", "-")
    return SYNONYMS.get(plain, plain)


def format_of_target(target: Path) -> str:
    """The format that a file's suffix or a folder's name says. Raises InputError."""
    by_suffix = _SUFFIXES | {".json": "coco", ".jsonl": "set", ".csv": "csv"}
    name = by_suffix.get(target.suffix.lower()) or format_name(target.name)
    if name in WRITTEN:
        return name
    near = near_suffix(file_suffix(target), list(by_suffix))
    guess = f"did you mean {target.with_suffix(near)}? or " if near else ""
    raise InputError(
        f"{str(target)!r} does not say which format is meant; {guess}name one (--to, in Python "
        f"form=): {', '.join(WRITTEN)}"
    )


_FOLDERS = ("davis", "voc", "yolo", "set")  # in any case
_WHOLE = ("coco", "cvat", "label-studio", "csv")  # one file for all pictures
_ANNOTATED = (".json", ".jsonl", ".geojson", ".xml", ".svg", ".txt", ".mat", ".csv", ".npy")
_SUFFIXES = {".svg": "svg", ".geojson": "geojson", ".xml": "cvat", ".png": "label-png"}


def place_of(source: Path) -> Path:
    """Where annotations lie: the folder of a YOLO set's YAML file, else the source itself.

    Raises DataError for a YAML file without labels beside it.
    """
    if source.suffix.lower() not in (".yaml", ".yml") or not source.is_file():
        return source
    from anymask.data.yolo import folder_of_yaml

    return folder_of_yaml(source)


def recognise(source: Path, split: str | None = None) -> str:
    """The name of the format of a file or folder, by its files' names and first keys.

    With a split it is one of the published layouts. Raises DataError where nothing fits.
    """
    if not source.exists():
        raise DataError(f"there is no file or folder {str(source)!r}; check the path")
    if split is not None:
        return recognise_layout(source)
    if source.is_dir():
        if (source / "data.yaml").is_file():
            return "yolo"
        labelled = has_both(source)
        plain = (source / "labels").is_dir() and not labelled
        if plain or any(source.glob("*/labels/*.txt")):
            return "yolo"
        if (source / "masks.jsonl").is_file():
            return "set"
        if (source / "Annotations_6fps").is_dir():
            return "sav"
        if any((source / f"SegmentationObject{end}").is_dir() for end in ("", "PNG")):
            return "voc"
        layout = fitting_layout(source)
        if layout is not None and (layout not in FORMATS or layout == "voc"):
            return layout
        if (source / "Annotations").is_dir() and not any(source.glob("Annotations/*.xml")):
            return "davis"
        if labelled:
            return "label-png"
        files = sorted(source.rglob("*.*"), key=lambda path: (path.suffix.lower() == ".png", path))
        found = next(filter(None, map(_name_of, files)), None)  # photos may be PNGs
    else:
        found = _name_of(source)
    if found is None:
        refuse_pictures(source)
        raise DataError(
            f"{source}: the format is not recognised; name it, there are "
            f"{', '.join({**FORMATS, **LAYOUTS})}"
        )
    return found


def refuse_picture(source: Path) -> None:
    """Raises DataError for a photo, which is no annotation."""
    from anymask.data.images import SUFFIXES  # loads Pillow

    if source.is_file() and source.suffix.lower() in SUFFIXES:
        raise DataError(
            f"{source}: wanted annotations, got a picture; name a file or folder of masks, such as "
            f"`anymask everything {source} -o masks.json` makes"
        )


def refuse_pictures(source: Path) -> None:
    """Raises DataError for a photo, a folder of photos without annotations or an empty folder."""
    from anymask.data.images import SUFFIXES  # loads Pillow

    refuse_picture(source)
    if not source.is_dir():
        return
    ends = [path.suffix.lower() for path in source.rglob("*.*")]
    if any(end in _ANNOTATED for end in ends):
        return
    photos = sum(end in SUFFIXES for end in ends)
    if photos:
        raise DataError(
            f"{source}: wanted annotations, got {photos} pictures without any; label them (anymask "
            f"annotate {source}), or name the file or folder that has their masks"
        )
    raise DataError(f"{source}: wanted annotations, got a folder without any; name another")


def _name_of(path: Path) -> str | None:
    if path.suffix.lower() == ".json":
        document = read_json(path)
        if isinstance(document, dict) and "videos" in document and "images" not in document:
            raise DataError(
                f"{path}: JSON of videos, as YouTube-VIS has it, is read with its frames; call it "
                "annotations_train.json, beside train/VIDEO/00000.jpg, and give the folder with "
                "--split train"
            )
        return _json_name(document)
    name = _SUFFIXES.get(path.suffix.lower())
    if name == "cvat" and read_xml(path).tag == "annotation":
        return "voc"
    if name == "label-png":
        from anymask.data.label_pictures import refuse_photo  # loads Pillow

        refuse_photo(path)
    return name


def _json_name(document: Any) -> str | None:
    if isinstance(document, list):
        if not all(isinstance(one, dict) for one in document[:1]):
            return None
        return "geojson" if document and "geometry" in document[0] else "label-studio"
    if not isinstance(document, dict):
        return None
    if "images" in document and "annotations" in document:
        rows = document["annotations"]
        first = rows[0] if isinstance(rows, list) and rows else None
        panoptic = isinstance(first, dict) and "segments_info" in first
        return "coco-panoptic" if panoptic else "coco"
    marks = {"masklet": "sav", "shapes": "labelme", "features": "geojson", "annotations": "sa1b"}
    return next((name for key, name in marks.items() if key in document), None)
