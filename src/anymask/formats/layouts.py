"""Registry of published datasets: layouts, detection and reading.

A layout is a module with a function `read(root, split)` that yields an `AnnotatedImage` for each
image; pixels are loaded on demand. The module documents the layout and its source. Videos can also
be read as `Clip`s. Plug-ins add layouts with entry points in the group `anymask.layouts`.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from anymask.base import DataError, InputError, installed_plugins, load_plugin
from anymask.formats.annotations import AnnotatedImage
from anymask.formats.documents import role_of
from anymask.formats.loss_report import LossReport
from anymask.formats.recognition import matches_all
from anymask.formats.sets import IMAGE_FOLDER, SetInfo, is_set, load_set
from anymask.formats.video_sets import Clip

Marks = tuple[tuple[str, ...], ...]  # alternatives, each of globs that must all match


@dataclass(frozen=True, kw_only=True)
class DatasetLayout:
    """Folder layout of a dataset."""

    module: str  # Module of the reader
    read: str = "read"  # Name of the reader function
    split: str  # Default split; "" if there are no splits
    # Globs that identify the layout: all of one tuple must match. A layout of a plug-in of this
    # repository has a row in `PLUGIN_MARKS` instead.
    marks: Marks = ()
    about: str  # Description
    # Name of the reader of videos, whose annotated frames are the images; "" for images
    clips: str = ""
    report: bool = False  # Whether the reader accepts a report for invalid records
    # Globs of the files or folders of splits, with {} for the name; the first one with a match
    # counts
    splits: tuple[str, ...] = ()
    package: str = __name__.rpartition(".")[0]  # Package of the module

    def load(self, function: str) -> Any:
        """Import the module and return one of its functions."""
        return getattr(importlib.import_module(f"{self.package}.{self.module}"), function)

    def images(
        self, root: Path, split: str, report: LossReport | None = None
    ) -> Iterator[AnnotatedImage]:
        """Read the images, or the annotated frames of videos. Raises DataError."""
        if not self.clips:
            more = (report,) if self.report else ()
            return iter(self.load(self.read)(root, split, *more))
        clips: list[Clip] = self.load(self.clips)(root, split)
        return (clip.frame(index) for clip in clips for index in clip.annotations)


LAYOUTS: dict[str, DatasetLayout] = {
    "lvis": DatasetLayout(
        module="coco_sets", read="read_lvis", split="val", report=True,
        marks=(("lvis_v1_*.json",), ("annotations/lvis_v1_*.json",)),
        about="LVIS v1: JSON with polygons, images of COCO 2017",
        splits=("annotations/lvis_v1_{}.json", "lvis_v1_{}.json"),
    ),
    "ade20k": DatasetLayout(
        module="label_sets", read="read_ade20k", split="validation",
        marks=(("images/ADE",), ("*/images/ADE",)),
        about="ADE20K, full: _seg.png and JSON next to each image",
        splits=("images/ADE/{}", "*/images/ADE/{}"),
    ),
    "ade20k-instances": DatasetLayout(
        module="label_sets", read="read_ade20k_instances", split="validation",
        marks=(("annotations_instance", "images"),),
        about="ADE20K, objects of the Places Challenge", splits=("annotations_instance/{}",),
    ),
    "ade20k-scenes": DatasetLayout(
        module="label_sets", read="read_ade20k_scenes", split="validation",
        marks=(("annotations/validation", "images/validation"), ("objectInfo150.txt",)),
        about="ADE20K, classes of the Scene Parsing Benchmark", splits=("annotations/{}",),
    ),
    "cityscapes": DatasetLayout(
        module="label_sets", read="read_cityscapes", split="val",
        marks=(("gtFine", "leftImg8bit"), ("*/gtFine", "*/leftImg8bit")),
        about="Cityscapes, fine annotations", splits=("gtFine/{}", "*/gtFine/{}"),
    ),
    "voc": DatasetLayout(
        module="voc", read="read_voc", split="val",
        marks=(
            ("SegmentationObject", "JPEGImages"), ("VOC*/SegmentationObject",),
            ("VOCdevkit/VOC*/SegmentationObject",),
        ),
        about="PASCAL VOC, objects", report=True,
        splits=tuple(
            f"{top}ImageSets/Segmentation/{{}}.txt" for top in ("", "VOC*/", "VOCdevkit/VOC*/")
        ),
    ),
    "davis": DatasetLayout(
        module="video_sets", clips="read_davis_clips", split="val",
        marks=(("JPEGImages", "ImageSets"), ("DAVIS*/JPEGImages", "DAVIS*/ImageSets")),
        about="DAVIS 2016 and 2017 (videos)",
        splits=("ImageSets/2017/{}.txt", "ImageSets/480p/{}.txt",
                "DAVIS*/ImageSets/2017/{}.txt", "DAVIS*/ImageSets/480p/{}.txt"),
    ),
    "youtube-vos": DatasetLayout(
        module="video_sets", clips="read_youtube_vos_clips",
        split="valid", marks=(("meta.json", "JPEGImages"), ("*/meta.json", "*/JPEGImages")),
        about="YouTube-VOS (videos)", splits=("{}/meta.json",),
    ),
    "sav": DatasetLayout(
        module="video_sets", clips="read_sav_clips", split="val",
        marks=(("JPEGImages_24fps", "Annotations_6fps"), ("sav_*/JPEGImages_24fps",)),
        about="SA-V, val and test splits (videos)", splits=("sav_{}/JPEGImages_24fps",),
    ),
    "mose": DatasetLayout(
        module="video_sets", clips="read_mose_clips", split="valid",
        marks=(
            ("train/JPEGImages", "train/Annotations"), ("valid/JPEGImages", "valid/Annotations"),
        ),
        about="MOSE and LVOS (videos)", splits=("{}/JPEGImages",),
    ),
    "youtube-vis": DatasetLayout(
        module="video_sets", read="read_youtube_vis", split="train",
        marks=(("annotations_*.json",), ("*/instances.json", "*/JPEGImages")),
        about="YouTube-VIS and OVIS (frames of videos)",
        splits=("annotations_{}.json", "{}/instances.json"),
    ),
    "coco": DatasetLayout(
        module="coco_sets", read="read_coco", split="val", report=True,
        marks=(
            ("annotations/instances_*.json",), ("instances_*.json",), ("*/labels.json", "*/data"),
            ("annotations/*.json",),
        ),
        about="COCO, and any dataset with one COCO JSON per split next to its images",
        splits=("annotations/instances_{}.json", "instances_{}.json", "{}/labels.json",
                "annotations/{}.json"),
    ),
}  # fmt: skip


# Without the plug-in, these folders are answered with the command that installs it.
PLUGIN_MARKS: dict[str, Marks] = {
    "hqseg": (
        ("DIS5K", "thin_object_detection"), ("cascade_psp",),
        *((f"{top}DIS-*/im", f"{top}DIS-*/gt") for top in ("", "*/")),
        *((f"{top}ThinObject5K/images_*",) for top in ("", "*/")),
        *((f"{top}HRSOD/masks_max255",) for top in ("", "*/")),
        ("images_test", "masks_test"), ("images", "masks_max255"),
    ),
}  # fmt: skip


def installed_layouts() -> dict[str, DatasetLayout]:
    """Return the layouts of installed plug-ins by name."""
    names = [name for name in installed_plugins("layouts") if name not in LAYOUTS]
    return {name: load_plugin("layouts", name) for name in names}


def all_layouts() -> dict[str, DatasetLayout]:
    """Return the built-in layouts and those of installed plug-ins by name."""
    return LAYOUTS | installed_layouts()


def find_layout(name: str) -> DatasetLayout:
    """Return the layout of this name. Raises InputError if it is unknown, MissingPlugin."""
    if (layout := LAYOUTS.get(name) or layout_of_plugin(name)) is None:
        raise InputError(
            f"Unknown layout {name!r}. Choose from: auto, set, {', '.join(all_layouts())}"
        )
    return layout


def layout_of_plugin(name: str) -> DatasetLayout | None:
    """Return the layout of this name of a plug-in; None if unknown. Raises MissingPlugin."""
    layout = installed_layouts().get(name)
    return load_plugin("layouts", name) if layout is None else layout


def layout_marks(*, installed: bool = False) -> dict[str, Marks]:
    """Return the marks of the known layouts, or of all other installed ones, by name."""
    known = {name: layout.marks for name, layout in LAYOUTS.items()} | PLUGIN_MARKS
    if not installed:
        return known
    return {name: layout.marks for name, layout in installed_layouts().items() if name not in known}


def fitting(root: Path, layouts: dict[str, Marks]) -> str | None:
    """Return the first layout whose marks match a folder; None if there is none."""
    return next(
        (name for name, marks in layouts.items() if any(matches_all(root, mark) for mark in marks)),
        None,
    )


def fitting_layout(root: Path) -> str | None:
    """Return the first layout that matches a folder; None if there is none."""
    return fitting(root, layout_marks()) or fitting(root, layout_marks(installed=True))


def layout_splits(root: Path, name: str) -> dict[str, Path]:
    """Return the splits of a folder with a layout, with a file or folder of each."""
    for pattern in find_layout(name).splits:
        parts = pattern.split("/")
        index = next(n for n, part in enumerate(parts) if "{}" in part)
        before, after = parts[index].split("{}")
        if files := sorted(root.glob(pattern.replace("{}", "*"))):
            named = ((path.parts[index - len(parts)], path) for path in files)
            return {name.removeprefix(before).removesuffix(after): path for name, path in named}
    return {}


def marks_text(marks: Marks) -> str:
    """Describe the marks of a layout."""
    return " or ".join(" with ".join(globs) for globs in marks)


def recognize_layout(path: str | Path) -> str:
    """Detect the layout of a folder; "set" for a set of this project.

    Raises DataError that lists the expected files.
    """
    root = Path(path)
    if not root.exists():
        raise DataError(f"File or folder not found: {str(root)!r}. Check the path.")
    if is_set(root):
        return "set"
    if (name := fitting_layout(root)) is not None:
        return name
    names = ", ".join(layout_marks() | layout_marks(installed=True))
    raise DataError(
        f"{root}: Unknown layout. Expected the files of a set (masks.jsonl) or of one of these "
        f"layouts: {names}. If only the file names differ, pass the name of the layout. Otherwise "
        "convert the annotations: anymask convert IN OUT --to set"
    )


def load_dataset(
    path: str | Path,
    layout: str = "auto",
    split: str | None = None,
    report: LossReport | None = None,
) -> tuple[SetInfo, list[AnnotatedImage]]:
    """Read all masks of a dataset, without loading images.

    Args:
        path: Folder with the unpacked archives of the dataset.
        layout: Name of a layout, "set" for a set of this project, or "auto".
        split: Split to read. Defaults to that of the layout.
        report: Report for invalid records. None raises an error for the first one.

    Raises:
        DataError: A file or record is invalid, or the layout is unknown.
        InputError: The name of the layout is unknown.
        MissingExtra: A format requires a package, or the layout a plug-in.
    """
    root = Path(path)
    name = recognize_layout(root) if layout == "auto" else layout
    if name == "set" and split:
        raise InputError(
            f"split={split!r} is not supported: a set has no splits. Pass the folder of the set."
        )
    if name == "set":
        return load_set(root, report=report)
    info = SetInfo(name=root.resolve().name, folder=root, source=name)
    return info, list(iter_dataset(root, name, split, report))


def iter_dataset(
    path: str | Path,
    layout: str = "auto",
    split: str | None = None,
    report: LossReport | None = None,
) -> Iterator[AnnotatedImage]:
    """Read like `load_dataset`, image by image, for datasets that do not fit into memory.

    Names are relative to the dataset, or to the nearest parent folder that contains the image,
    without a leading folder `images`.

    Args:
        report: Report for invalid records. None raises an error for the first one.
    """
    root = Path(path)
    name = recognize_layout(root) if layout == "auto" else layout
    if name == "set":
        yield from load_dataset(root, name, split)[1]
        return
    chosen = find_layout(name)
    part = _part(chosen, split)
    others = [other for other in layout_splits(root, name) if role_of(other) != role_of(part)]
    if split is None and report is not None and others:
        report.note(f"Only the split {part} was read. Others, for --split: {', '.join(others)}")
    tops = [root, *root.parents] if root.is_dir() else list(root.parents)
    empty = True
    for image in chosen.images(root, part, report):
        empty = False
        source = Path(cast(Path, image.source))
        inside = (top for top in tops if source.is_relative_to(top))
        name = source.relative_to(next(inside, source.parent)).as_posix()
        yield replace(image, file_name=name.removeprefix(f"{IMAGE_FOLDER}/"))
    if empty:
        raise DataError(f"{root}: No image of the split {part!r} was found in {name}.")


def load_clips(path: str | Path, layout: str = "auto", split: str | None = None) -> list[Clip]:
    """Read a dataset of videos; frames and masks are loaded on demand.

    Raises:
        DataError: A file or record is invalid, or the layout is unknown.
        InputError: The layout has no videos.
    """
    root = Path(path)
    name = recognize_layout(root) if layout == "auto" else layout
    chosen = None if name == "set" else find_layout(name)
    if chosen is None or not chosen.clips:
        videos = ", ".join(name for name, layout in all_layouts().items() if layout.clips)
        raise InputError(f"The layout {name!r} has no videos. Layouts with videos: {videos}")
    clips: list[Clip] = chosen.load(chosen.clips)(root, _part(chosen, split))
    return clips


def _part(layout: DatasetLayout, split: str | None) -> str:
    """Return the split to read. Raises InputError for one that leads out of the dataset."""
    part = layout.split if split is None else split
    if part.startswith(("/", "\\")) or ".." in part or any(sign in part for sign in "*?[:"):
        raise InputError(f"Invalid split {part!r}. A split is a name such as val.")
    return part
