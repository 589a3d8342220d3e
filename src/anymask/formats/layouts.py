"""Registry of published datasets: layouts, detection and reading.

A layout is a module with a function `read(root, split)` that yields an `AnnotatedImage` for each
image; pixels are loaded on demand. The module documents the layout and its source. Videos can also
be read as `Clip`s. Other packages can add layouts to `LAYOUTS`.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from anymask.base import DataError, InputError
from anymask.formats.annotations import AnnotatedImage
from anymask.formats.losses import LossReport
from anymask.formats.sets import PICTURES, SetInfo, is_set, load_set
from anymask.formats.video_sets import Clip


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Folder layout of a dataset.

    Attributes:
        module: Module of the reader.
        read: Name of the reader function.
        split: Default split; "" if there are no splits.
        marks: Globs that identify the layout: all of one tuple must match.
        about: Description.
        clips: Name of the reader of videos, whose annotated frames are the images; "" for images.
        report: Whether the reader accepts a report for invalid records.
        package: Package of the module.
    """

    module: str
    read: str = "read"
    split: str
    marks: tuple[tuple[str, ...], ...]
    about: str
    clips: str = ""
    report: bool = False
    package: str = __name__.rpartition(".")[0]

    def load(self, function: str) -> Callable[..., Any]:
        """Import the module and return one of its functions."""
        loaded: Callable[..., Any] = getattr(
            importlib.import_module(f"{self.package}.{self.module}"), function
        )
        return loaded

    def images(
        self, root: Path, split: str, report: LossReport | None = None
    ) -> Iterator[AnnotatedImage]:
        """Read the images, or the annotated frames of videos. Raises DataError."""
        if self.report:
            return iter(self.load(self.read)(root, split, report))
        if not self.clips:
            return iter(self.load(self.read)(root, split))
        clips: list[Clip] = self.load(self.clips)(root, split)
        return (clip.frame(index) for clip in clips for index in clip.annotations)

    def fits(self, root: Path) -> bool:
        """Return whether a folder matches the layout."""
        return any(all(any(root.glob(mark)) for mark in marks) for marks in self.marks)


LAYOUTS: dict[str, Layout] = {
    "lvis": Layout(
        module="coco_sets", read="read_lvis", split="val", report=True,
        marks=(("lvis_v1_*.json",), ("annotations/lvis_v1_*.json",)),
        about="LVIS v1: JSON with polygons, images of COCO 2017",
    ),
    "ade20k": Layout(
        module="label_sets", read="read_ade20k", split="validation",
        marks=(("images/ADE",), ("*/images/ADE",)),
        about="ADE20K, full: _seg.png and JSON next to each image",
    ),
    "ade20k-instances": Layout(
        module="label_sets", read="read_ade20k_instances", split="validation",
        marks=(("annotations_instance", "images"),),
        about="ADE20K, objects of the Places Challenge",
    ),
    "ade20k-scenes": Layout(
        module="label_sets", read="read_ade20k_scenes", split="validation",
        marks=(("annotations/validation", "images/validation"), ("objectInfo150.txt",)),
        about="ADE20K, classes of the Scene Parsing Benchmark",
    ),
    "cityscapes": Layout(
        module="label_sets", read="read_cityscapes", split="val",
        marks=(("gtFine", "leftImg8bit"), ("*/gtFine", "*/leftImg8bit")),
        about="Cityscapes, fine annotations",
    ),
    "voc": Layout(
        module="voc", read="read_voc", split="val",
        marks=(
            ("SegmentationObject", "JPEGImages"), ("VOC*/SegmentationObject",),
            ("VOCdevkit/VOC*/SegmentationObject",),
        ),
        about="PASCAL VOC, objects",
    ),
    "davis": Layout(
        module="video_sets", clips="read_davis_clips", split="val",
        marks=(("JPEGImages", "ImageSets"), ("DAVIS*/JPEGImages", "DAVIS*/ImageSets")),
        about="DAVIS 2016 and 2017 (videos)",
    ),
    "youtube-vos": Layout(
        module="video_sets", clips="read_youtube_vos_clips",
        split="valid", marks=(("meta.json", "JPEGImages"), ("*/meta.json", "*/JPEGImages")),
        about="YouTube-VOS (videos)",
    ),
    "sav": Layout(
        module="video_sets", clips="read_sav_clips", split="val",
        marks=(("JPEGImages_24fps", "Annotations_6fps"), ("sav_*/JPEGImages_24fps",)),
        about="SA-V, val and test splits (videos)",
    ),
    "mose": Layout(
        module="video_sets", clips="read_mose_clips", split="valid",
        marks=(
            ("train/JPEGImages", "train/Annotations"), ("valid/JPEGImages", "valid/Annotations"),
        ),
        about="MOSE and LVOS (videos)",
    ),
    "youtube-vis": Layout(
        module="video_sets", read="read_youtube_vis", split="train",
        marks=(("annotations_*.json",), ("*/instances.json", "*/JPEGImages")),
        about="YouTube-VIS and OVIS (frames of videos)",
    ),
    "hqseg": Layout(
        module="hqseg", read="read_hqseg", split="val", report=True,
        marks=(
            ("DIS5K", "thin_object_detection"), ("cascade_psp",),
            *((f"{top}DIS-*/im", f"{top}DIS-*/gt") for top in ("", "*/")),
            *((f"{top}ThinObject5K/images_*",) for top in ("", "*/")),
            *((f"{top}HRSOD/masks_max255",) for top in ("", "*/")),
            ("images_test", "masks_test"), ("images", "masks_max255"),
        ),
        about="HQSeg-44K: DIS5K, ThinObject5K, COIFT, HRSOD, FSS, DUTS, ECSSD, MSRA10K, DUT-OMRON",
    ),
    "coco": Layout(
        module="coco_sets", read="read_coco", split="val", report=True,
        marks=(
            ("annotations/instances_*.json",), ("instances_*.json",), ("*/labels.json", "*/data"),
            ("annotations/*.json",),
        ),
        about="COCO, and any dataset with one COCO JSON per split next to its images",
    ),
}  # fmt: skip


def find_layout(name: str) -> Layout:
    """Return the layout of this name. Raises InputError that lists all."""
    if name not in LAYOUTS:
        raise InputError(f"Unknown layout {name!r}. Choose from: auto, set, {', '.join(LAYOUTS)}")
    return LAYOUTS[name]


def recognise_layout(path: str | Path) -> str:
    """Detect the layout of a folder; "set" for a set of this project.

    Raises DataError that lists the expected files.
    """
    root = Path(path)
    if not root.exists():
        raise DataError(f"File or folder not found: {str(root)!r}. Check the path.")
    if is_set(root):
        return "set"
    if (known := fitting_layout(root)) is not None:
        return known
    looked = "; ".join(
        f"{name}: {' or '.join(' with '.join(marks) for marks in layout.marks)}"
        for name, layout in LAYOUTS.items()
    )
    raise DataError(
        f"{root}: Unknown layout. Expected the files of a set (masks.jsonl) or of one "
        f"of these layouts: {looked}. If only the file names differ, pass the name of "
        "the layout. Otherwise convert the annotations: anymask convert IN OUT --to "
        "set"
    )


def fitting_layout(root: Path) -> str | None:
    """Return the first layout that matches a folder; None if there is none."""
    fitting = (name for name, layout in LAYOUTS.items() if root.is_dir() and layout.fits(root))
    return next(fitting, None)


def load_dataset(
    path: str | Path,
    layout: str = "auto",
    split: str | None = None,
    report: LossReport | None = None,
) -> tuple[SetInfo, list[AnnotatedImage]]:
    """Read all masks of a dataset, without loading images.

    Args:
        path: Folder with the unpacked archives of the dataset.
        layout: A name of LAYOUTS, "set" for a set of this project, or "auto".
        split: Split to read. Defaults to that of the layout.
        report: Report for invalid records. None raises an error for the first one.

    Raises:
        DataError: A file or record is invalid, or the layout is unknown.
        InputError: The name of the layout is unknown.
        MissingExtra: A format requires a package.
    """
    root = Path(path)
    name = recognise_layout(root) if layout == "auto" else layout
    if name == "set":
        _refuse_split(split)
        return load_set(root, report=report)
    samples = list(iter_dataset(root, name, split, report))
    return SetInfo(name=root.resolve().name, folder=root, source=name), samples


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
    name = recognise_layout(root) if layout == "auto" else layout
    if name == "set":
        _refuse_split(split)
        yield from load_set(root)[1]
        return
    chosen = find_layout(name)
    part = _part(chosen, split)
    tops = [root, *root.parents] if root.is_dir() else list(root.parents)
    empty = True
    for image in chosen.images(root, part, report):
        empty = False
        source = Path(cast(Path, image.source))
        inside = (top for top in tops if source.is_relative_to(top))
        name = source.relative_to(next(inside, source.parent)).as_posix()
        yield replace(image, file_name=name.removeprefix(f"{PICTURES}/"))
    if empty:
        raise DataError(f"{root}: No image of the split {part!r} was found in {name}.")


def load_clips(path: str | Path, layout: str = "auto", split: str | None = None) -> list[Clip]:
    """Read a dataset of videos; frames and masks are loaded on demand.

    Raises:
        DataError: A file or record is invalid, or the layout is unknown.
        InputError: The layout has no videos.
    """
    root = Path(path)
    name = recognise_layout(root) if layout == "auto" else layout
    chosen = LAYOUTS.get(name)
    if chosen is None or not chosen.clips:
        videos = ", ".join(name for name, layout in LAYOUTS.items() if layout.clips)
        raise InputError(f"The layout {name!r} has no videos. Layouts with videos: {videos}")
    clips: list[Clip] = chosen.load(chosen.clips)(root, _part(chosen, split))
    return clips


def _part(layout: Layout, split: str | None) -> str:
    """Return the split to read. Raises InputError for one that leads out of the dataset."""
    part = layout.split if split is None else split
    if part.startswith(("/", "\\")) or ".." in part or any(sign in part for sign in "*?[:"):
        raise InputError(f"Invalid split {part!r}. A split is a name such as val.")
    return part


def _refuse_split(split: str | None) -> None:
    if split:
        raise InputError(
            f"split={split!r} is not supported, because a set of anymask has no "
            "splits. Pass the folder of the set."
        )
