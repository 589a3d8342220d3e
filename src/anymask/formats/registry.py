"""Registry of annotation formats, and recognition of the format of a file or folder.

A format is a row of `BUILT_IN` and a module of this folder, imported on first use, with

    read(source, report, pictures) -> images         skipped data goes to the report
    encode(images, target, report, policy) -> files  data that is not kept goes to the report
    read_classes(source, report)                     optional: a class list beside the files

Files and folders are recognized by the marks of `formats/recognition.py`, which imports no reader.
Published data sets (`formats/layouts.py`) are read by the name of their layout.

Plug-ins add formats with entry points in the group `anymask.formats`, whose values are `Format`s.
They are loaded for lists, and for names and files that no built-in format has.
"""

from __future__ import annotations

import difflib
import importlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, NoReturn

from anymask.base import (
    DataError,
    InputError,
    brief,
    file_suffix,
    installed_plugins,
    load_plugin,
    near_suffix,
)
from anymask.formats.annotations import AnnotatedImage, LossReport
from anymask.formats.documents import SPLITS, OutFile, report_renamed, write_files
from anymask.formats.label_folders import MASK_FORM, has_both
from anymask.formats.layouts import (
    LAYOUTS,
    Marks,
    all_layouts,
    fitting,
    fitting_layout,
    layout_marks,
    layout_of_plugin,
    layout_splits,
    marks_text,
)
from anymask.formats.metadata import WITH_ROOM, WITH_TERMS, encode_side, encode_terms
from anymask.formats.outlines import Policy
from anymask.formats.recognition import MARKS, Fit, Mark, Sniffed
from anymask.images import suggest_command


@brief
@dataclass(frozen=True, kw_only=True)
class Format:
    """One annotation format."""

    module: str  # Name of the module in the package
    about: str  # Description for users
    # Kind of output: one "file" for all images, "files", one per image, or a "folder"
    kind: Literal["file", "files", "folder"] = "files"
    suffixes: tuple[str, ...] = (".json",)  # File suffixes; the first one is used for writing
    named: bool = False  # Whether a target with the first suffix selects this format
    also: tuple[str, ...] = ()  # Alternative names
    streamed: bool = False  # Whether the files of a folder are read independently, one by one
    variant: str = ""  # Suffix of the module's functions: "davis" for `read_davis`
    polygons: bool = False  # Whether to write polygons if the encoder supports masks and polygons
    # Whether the reader accepts `boxes=True`: boxes without masks, which are skipped by default, as
    # rectangles
    boxes: bool = False
    readable: bool = True  # Whether there is a reader
    writable: bool = True  # Whether there is a writer
    # Mark of the files of a plug-in's format; None if they are not recognized, or if the plug-in
    # belongs to this repository and has a row in `MARKS`
    mark: Mark | None = None
    package: str = __name__.rpartition(".")[0]  # Package of the module

    @property
    def ending(self) -> str:
        """Suffix of the single output file; "" for several files or a folder."""
        return self.suffixes[0] if self.kind == "file" else ""

    def read(
        self, source: Path, report: LossReport, image_root: Path | None = None, **how: Any
    ) -> list[AnnotatedImage]:
        """Read all images of a file or folder. Raises DataError that names file and record.

        Args:
            how: `boxes`, if the reader accepts it; `split` of a YOLO set.
        """
        more = {
            key: value for key, value in how.items() if value and (key != "boxes" or self.boxes)
        }
        images: list[AnnotatedImage] = self._function("read")(source, report, image_root, **more)
        return images

    def read_classes(self, source: Path, report: LossReport) -> None:
        """Keep a class list beside the files of a format, if it has one."""
        if (reader := getattr(self._module, "read_classes", None)) is not None:
            reader(source, report)

    def encode(
        self, images: list[AnnotatedImage], target: Path, report: LossReport, policy: Policy
    ) -> Iterator[OutFile]:
        """Yield the files without writing them; losses are added on the way. Raises DataError."""
        more = {"polygons": True} if self.polygons else {}
        files: Iterator[OutFile] = self._function("encode")(images, target, report, policy, **more)
        return files

    def _function(self, name: str) -> Any:
        return getattr(self._module, f"{name}_{self.variant}" if self.variant else name)

    @property
    def _module(self) -> ModuleType:
        return importlib.import_module(f"{self.package}.{self.module}")


BUILT_IN: dict[str, Format] = {
    "sa1b": Format(
        module="sa1b", about="SA-1B JSON, one file per image; lossless", also=("sam",),
        streamed=True,
    ),
    "coco": Format(
        module="coco", about="COCO JSON with run-lengths, a single file", kind="file", named=True,
        boxes=True,
    ),
    "coco-polygon": Format(
        module="coco", about="COCO JSON with polygons, a single file", kind="file", polygons=True,
        boxes=True,
    ),
    "saco": Format(
        module="saco", about="SA-Co JSON: phrases with their masks, and absent phrases",
        kind="file", also=("sa-co",),
    ),
    "coco-panoptic": Format(
        module="panoptic", about="COCO panoptic JSON and PNGs", kind="file", also=("panoptic",)
    ),
    "davis": Format(
        module="label_images", about="DAVIS PNG with a palette", kind="folder",
        suffixes=(".png",), variant="davis",
    ),
    "label-png": Format(
        module="label_images", about="16-bit PNG of object numbers", suffixes=(".png",),
        named=True, also=("png",),
    ),
    "label-tif": Format(
        module="label_images", about="16-bit or 32-bit TIFF of object numbers; OUT only",
        suffixes=(".tif",), named=True, also=("tif", "tiff", "label-tiff"), variant="tif",
        readable=False,
    ),
    "voc": Format(
        module="voc", about="PASCAL VOC: PNGs of classes and PNGs of objects", kind="folder",
        suffixes=(".xml",), also=("pascal", "pascal-voc"), boxes=True,
    ),
    "sav": Format(module="sav", about="SA-V JSON, one file per video"),
    "labelme": Format(
        module="labelme", about="labelme JSON with masks, one file per image", streamed=True
    ),
    "labelme-polygon": Format(
        module="labelme", about="labelme JSON with polygons", streamed=True, polygons=True
    ),
    "label-studio": Format(
        module="label_studio", about="Label Studio JSON with brushes", kind="file",
        also=("labelstudio",), suffixes=(".json", ".csv", ".tsv"),
    ),
    "label-studio-polygon": Format(
        module="label_studio", about="with polygons", kind="file", polygons=True
    ),
    "cvat": Format(
        module="cvat", about="CVAT for images 1.1, XML with masks", kind="file",
        suffixes=(".xml",), named=True,
    ),
    "yolo": Format(
        module="yolo", about="YOLO-seg: labels/ and data.yaml", kind="folder",
        suffixes=(".txt",), also=("ultralytics", "yolo-seg", "yolov8"), boxes=True,
    ),
    "qupath": Format(
        module="qupath", about="GeoJSON of QuPath, with classes and their colors",
        suffixes=(".geojson", ".json"), streamed=True,
    ),
    "geojson": Format(
        module="geojson", about="GeoJSON in pixel coordinates, one file per image",
        suffixes=(".geojson", ".json"), named=True, streamed=True,
    ),
    "set": Format(
        module="sets", about="anymask set, for training and evaluation", kind="folder",
        suffixes=(".jsonl",), named=True,
    ),
    "svg": Format(
        module="svg", about="SVG paths, one file per image", suffixes=(".svg",), named=True,
        streamed=True,
    ),
    "imagej": Format(
        module="imagej", about="ImageJ and Fiji ROI sets, one .zip per image",
        suffixes=(".zip", ".roi"), also=("fiji", "roi", "rois", "roiset", "imagej-roi"),
    ),
    "csv": Format(
        module="csv_table", about="CSV: one row of measurements per mask; OUT only", kind="file",
        suffixes=(".csv",), named=True, readable=False,
    ),
    "results": Format(
        module="results", about="result lists of COCO or segment-anything; IN only",
        kind="file", also=("coco-results", "amg"), writable=False,
    ),
}  # fmt: skip
WRITABLE_FORMATS = {name: entry for name, entry in BUILT_IN.items() if entry.writable}
FORMATS = {name: entry for name, entry in WRITABLE_FORMATS.items() if entry.readable}


def installed_formats() -> dict[str, Format]:
    """Return the formats of installed plug-ins by name."""
    names = [name for name in installed_plugins("formats") if name not in BUILT_IN]
    return {name: load_plugin("formats", name) for name in names}


def all_formats() -> dict[str, Format]:
    """Return the built-in formats and those of installed plug-ins by name."""
    return BUILT_IN | installed_formats()


def find_format(name: str) -> Format:
    """Return the format of this name.

    Raises:
        InputError: The name is unknown; the message lists all.
        MissingPlugin: The plug-in with the format is not installed.
    """
    if (chosen := _find(name)) is None:
        raise _unknown(name, [*all_formats()])
    return chosen


def _find(name: str) -> Format | None:
    """Return the format of this name; None if it is unknown. Raises MissingPlugin."""
    if name in BUILT_IN:
        return BUILT_IN[name]
    if (key := _named(name, installed_formats())) is not None:
        return installed_formats()[key]
    load_plugin("formats", name)
    return None


def _named(word: str, formats: Mapping[str, Format]) -> str | None:
    """Return the name of the format with this name or alternative name."""
    return next((name for name, entry in formats.items() if word in (name, *entry.also)), None)


def has_layout(name: str) -> bool:
    """Return whether a layout of published datasets has this name. Raises MissingPlugin."""
    return name in LAYOUTS or (name not in BUILT_IN and layout_of_plugin(name) is not None)


def check_readable(name: str) -> None:
    """Raise InputError if there is neither a format nor a layout of this name, or MissingPlugin."""
    chosen = _find(name)
    if not (chosen is not None and chosen.readable) and not has_layout(name):
        raise _unknown(name, _readable_names())


def _unknown(name: str, known: list[str]) -> InputError:
    near = difflib.get_close_matches(name, known, 1, 0.7)
    guess = f"Did you mean {near[0]!r}? " if near else ""
    return InputError(f"Unknown format {name!r}. {guess}Choose from: {', '.join(known)}")


def _readable_names() -> list[str]:
    names = (name for name, entry in all_formats().items() if entry.readable)
    return [*dict.fromkeys([*names, *all_layouts()])]


def _writable_names() -> str:
    return ", ".join(name for name, entry in all_formats().items() if entry.writable)


def encode_annotations(
    images: list[AnnotatedImage],
    target: str | Path,
    name: str,
    report: LossReport,
    policy: Policy | None = None,
) -> Iterator[OutFile]:
    """Yield the files of a format without writing them; losses are added on the way.

    If the format cannot store the origins of masks or the terms of the dataset, the last files are
    side files (`metadata`). Raises InputError for a target that the format is not written to.
    """
    chosen, target, policy = find_format(name), Path(target), policy or Policy()
    if not chosen.writable:
        raise InputError(
            f"The format {name} can be read, but not written. Choose from: {_writable_names()}"
        )
    suffix, own = file_suffix(target), chosen.suffixes[0]
    if suffix and chosen.kind == "folder":
        raise InputError(f"{name} is written as a folder, got {str(target)!r}. Remove {suffix}")
    if suffix and suffix != own:
        more = "" if chosen.kind == "file" else ", for one image, or a folder"
        raise InputError(
            f"{name} is written as a file ending in {own}{more}, got {str(target)!r}. Did you mean "
            f"{target.with_suffix(own)}?"
        )
    if chosen.kind != "file":
        report_renamed(report, images)
    yield from chosen.encode(images, target, report, policy)
    if chosen.module not in WITH_ROOM:
        yield from encode_side(images, target)
    if chosen.module not in WITH_TERMS:
        yield from encode_terms(policy.facts, target)


def write_annotations(
    images: list[AnnotatedImage], target: str | Path, name: str, policy: Policy | None = None
) -> LossReport:
    """Write a file or a folder; returns the report of what could not be kept.

    Raises:
        DataError: The format cannot hold the images.
        InputError: The name is unknown.
    """
    report = LossReport()
    write_files(encode_annotations(images, target, name, report, policy), Path(target))
    return report


# Recognising.


def format_name(word: str) -> str:
    """Return a format's name for user input in any case, or for an alternative name."""
    plain = word.lower().replace("_", "-")
    return _named(plain, BUILT_IN) or _named(plain, installed_formats()) or plain


def format_of_target(target: Path) -> str:
    """Return the format by a file's suffix or a folder's name.

    Raises:
        InputError: The suffix or name means no format.
        MissingPlugin: The plug-in with the format is not installed.
    """
    suffix = target.suffix.lower()
    name = _of_suffix(suffix, BUILT_IN) or format_name(target.name)
    if (chosen := _find(name)) is not None and chosen.writable:
        return name
    if plugin := _of_suffix(suffix, installed_formats()):
        return plugin
    suffixes = [entry.suffixes[0] for entry in all_formats().values() if entry.named]
    near = near_suffix(file_suffix(target), suffixes)
    remedy = f"Did you mean {target.with_suffix(near)}? Or pass" if near else "Pass"
    raise InputError(
        f"The format of {str(target)!r} is unknown. {remedy} one, with --to (in Python "
        f"target_format= or format=): {_writable_names()}"
    )


def _of_suffix(suffix: str, formats: Mapping[str, Format]) -> str | None:
    """Return the format for a target suffix, such as coco for .json; None for any other."""
    return next(
        (name for name, entry in formats.items() if entry.named and entry.suffixes[0] == suffix),
        None,
    )


def place_of(source: Path) -> Path:
    """Return the place of annotations: the folder of a YOLO set's YAML file, else the source.

    Raises DataError for a YAML file without labels beside it.
    """
    if source.suffix.lower() not in (".yaml", ".yml") or not source.is_file():
        return source
    from anymask.formats.yolo import folder_of_yaml

    return folder_of_yaml(source)


def recognized(source: Path, split: str | None = None) -> tuple[str, str]:
    """Return the format name of a file or folder, by file names and first keys, and the reason.

    With a split, published layouts come first. Raises DataError if no format fits.
    """
    if not source.exists():
        raise DataError(f"File or folder not found: {str(source)!r}. Check the path.")
    if split is not None and source.is_dir() and (layout := fitting_layout(source)) is not None:
        return layout, marks_text((layout_marks() | layout_marks(installed=True))[layout])
    return (
        _fitting(source, MARKS, layout_marks())
        or _fitting(source, _installed_marks(), layout_marks(installed=True))
        or (source.is_dir() and _found_inside(source))
        or _refuse_unknown(source)
    )


def _installed_marks() -> dict[str, Mark]:
    """Return the marks of formats of other plug-ins than those of this repository."""
    return {
        name: entry.mark for name, entry in installed_formats().items() if entry.mark is not None
    }


def _fitting(
    source: Path, marks: Mapping[str, Mark], layouts: dict[str, Marks]
) -> tuple[str, str] | None:
    """Return the name of the best fitting format or layout, and the reason; None if none fits."""
    name, fit = _best(source, marks)
    if source.is_dir() and fit is not Fit.SURE:
        layout = fitting(source, layouts)
        if layout is not None and (layout not in marks or layout == "voc"):
            return layout, marks_text(layouts[layout])
    return None if name is None else (name, marks[name].about)


def _found_inside(source: Path) -> tuple[str, str] | None:
    """Return the format of the first file of a folder with one, and the reason."""
    if split_folders(source, "set"):
        return "set", f"Its splits: {MARKS['set'].about}"
    if splits := [path for path in sorted(source.iterdir()) if path.is_dir() and has_both(path)]:
        raise DataError(
            f"{source}: The folder contains {len(splits)} folders of masks with images, but one "
            f"is required. Pass one of them: {splits[0]}"
        )
    files = [path for path in source.rglob("*.*") if path.is_file()]
    files.sort(key=lambda path: (path.suffix.lower() == ".png", path))  # photos may be PNGs
    marks = MARKS | _installed_marks()
    for path in files:
        name, _ = _best(path, marks)
        if name is not None:
            return name, f"{path.relative_to(source)} in it: {marks[name].about}"
    return None


def _refuse_unknown(source: Path) -> NoReturn:
    """Raise DataError that describes what a source is instead, or what it resembles."""
    from anymask.images.load import SUFFIXES  # loads Pillow
    from anymask.masks import counted

    if source.is_file() and source.suffix.lower() in SUFFIXES:
        raise DataError(
            f"{source} is an image, but annotations are required. Pass a file or folder of masks, "
            f"as from `anymask everything {source} -o masks.json`."
        )
    ends = [path.suffix.lower() for path in source.rglob("*.*")] if source.is_dir() else []
    annotated = {end for entry in WRITABLE_FORMATS.values() for end in entry.suffixes} - SUFFIXES
    is_bare = source.is_dir() and not any(end in annotated | {".mat", ".npy"} for end in ends)
    if is_bare and (images := sum(end in SUFFIXES for end in ends)):
        raise DataError(
            f"{source}: The folder contains {counted(images, 'image')}, but no annotations. Label "
            f"them (anymask annotate {source}), or pass their masks."
        )
    if message := suggest_command(source, "labels"):
        raise DataError(message)
    if is_bare:
        raise DataError(f"{source}: The folder contains no annotations. Pass another folder.")
    video = (
        ". For masks of a video, run: anymask track VIDEO --from FILE -o FILE" * source.is_file()
    )
    sniffed = Sniffed(source)
    shown = sniffed.first if sniffed.first is not None else sniffed.document
    near = ""
    if isinstance(shown, dict):
        keys = ", ".join(json.dumps(key) for key in [*shown][:6]) or "no keys"
        near = f". {'Its records have' if isinstance(sniffed.document, list) else 'It has'} {keys}."
    raise DataError(
        f"{source}: Unknown format. Pass one of: {', '.join(_readable_names())}{video}{near}"
    )


def stated_splits(source: Path, format: str) -> tuple[str, ...]:
    """Return the splits of a YOLO set or a published dataset by its files; () for any other."""
    if format == "yolo":
        from anymask.formats.yolo import split_files

        return tuple(split_files(source))
    return tuple(layout_splits(source, format)) if has_layout(format) and source.is_dir() else ()


def split_folders(source: Path, format: str) -> list[Path]:
    """Return the folders train, val and test of a set or of label images, each a separate data
    set; none for a source that is a data set itself, and for other formats."""
    if (
        format not in ("set", MASK_FORM)
        or not source.is_dir()
        or MARKS[format].match(Sniffed(source))
    ):
        return []
    folders = [source / name for name in sorted({*SPLITS, "valid"})]
    return [path for path in folders if path.is_dir() and MARKS[format].match(Sniffed(path))]


def is_file_of_format(source: Path) -> bool:
    """Return whether an archive is itself a file of a format, such as a ROI set of ImageJ."""
    return any(_best(source, marks)[0] for marks in (MARKS, _installed_marks()))


def _best(source: Path, marks: Mapping[str, Mark]) -> tuple[str | None, Fit]:
    """Return the first of the best fitting formats of a file or folder; None if none fits."""
    sniffed = Sniffed(source)
    fits = ((name, mark.match(sniffed)) for name, mark in marks.items())
    name, fit = max(fits, key=lambda one: one[1], default=(None, Fit.NO))
    return (name if fit else None), fit
