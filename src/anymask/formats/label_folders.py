"""Find label images and the images that they belong to, in common folder layouts.

Both are often PNGs or TIFFs of the same name in sibling folders: `images/a.png` and `masks/a.png`,
as in StarDist; or in one folder, `a.tif` and `a_cp_masks.tif`, as in Cellpose. Names of folders are
case-insensitive.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from anymask.formats.documents import find_files, find_image
from anymask.formats.mask_numbers import ALL_SUFFIXES, of_best_kind
from anymask.images import SUFFIXES

MASK_FORM = "label-png"

LABEL_FOLDER_NAMES = frozenset(
    [
        "annotation", "annotations", "ground_truth", "groundtruth", "gt", "instances", "label",
        "labels", "mask", "masks", "segmentation", "segmentationclass", "segmentationclasspng",
        "segmentations", "targets",
    ]
)  # fmt: skip

IMAGE_FOLDER_NAMES = frozenset(
    ["image", "images", "img", "imgs", "inputs", "jpegimages", "photo", "photos", "pictures", "raw"]
)

MASK_NAME_ENDINGS = (
    "_cp_masks", "_mask", "_masks", "_label", "_labels", "_seg", "_gt", "-mask", "-label",
)  # fmt: skip

LABEL_ENDING = "annot"  # end of a folder of labels beside that of the images: val/, valannot/

_OBJECT_MASK_NAME = re.compile(
    r"(?P<stem>.+?)[ _.-]*(?:mask|obj|object|inst|instance|label)?[ _.-]*\(?\d+\)?", re.IGNORECASE
)


@dataclass(frozen=True)
class LabelPlaces:
    """Folder or file of label images, and the folder of their images if known."""

    labels: Path
    images: Path | None
    inside: Path | None = None  # Folder of images inside the folder of labels


def places_of(source: Path, image_root: Path | None = None) -> LabelPlaces:
    """Find the label images of a source, and their images.

    Args:
        source: Folder with a folder of images and one of labels, or labels only.
        image_root: Folder of the images. Defaults to one beside the labels.
    """
    if not source.is_dir():
        return LabelPlaces(source, image_root)
    labels, images = (_only(source, names) for names in (LABEL_FOLDER_NAMES, IMAGE_FOLDER_NAMES))
    if labels is not None and (images is not None or image_root is not None):
        return LabelPlaces(labels, image_root or images)
    if labels is None and images is not None and _are_labels_of(source, images):
        return LabelPlaces(source, image_root or images, images)
    if image_root is None and source.absolute().name.lower() in LABEL_FOLDER_NAMES:
        image_root = _only(source.absolute().parent, IMAGE_FOLDER_NAMES)
    return LabelPlaces(source, image_root)


def has_both(source: Path) -> bool:
    """Return whether a folder has folders of label images and of images, or is the former."""
    if any(
        path.with_name(path.name.removesuffix(LABEL_ENDING)).is_dir()
        for path in source.glob(f"*?{LABEL_ENDING}")
    ):
        return True
    places = places_of(source)
    files = places.labels.rglob("*.*") if places.images and places.labels.is_dir() else ()
    return any(
        path.suffix.lower() in ALL_SUFFIXES and not path.with_suffix(".json").is_file()  # a preview
        for path in files
    )


def label_files(places: LabelPlaces) -> list[Path]:
    """Return the label images: PNGs if there are any, else TIFFs, else other formats.

    If images are mixed with them, and some names have endings of labels, only these are returned.
    Raises DataError if there are none.
    """
    files = find_files(places.labels, *ALL_SUFFIXES)
    images, labels = places.images, places.labels
    for folder in (images, places.inside):
        if folder is not None and folder != labels and folder.is_relative_to(labels):
            files = [path for path in files if not path.is_relative_to(folder)]
    files = [path for path in files if not Path(f"{path.absolute().parent}{LABEL_ENDING}").is_dir()]
    if places.images is None or images == labels:
        files = [path for path in files if len(list(_stems(Path(path.name)))) > 1] or files
    return of_best_kind(files)


def paired_image_name(label: Path, places: LabelPlaces) -> str | None:
    """Return the image name of a label image, relative to the image folder; without such a folder,
    that of a file beside the label with another name or suffix. None if there is none."""
    here = places.labels if places.labels.is_dir() else places.labels.parent
    inside = label.relative_to(here)
    folder, beside = places.images or here, places.images is None
    for stem in [*_stems(inside), *(() if beside else _stems_of_object(inside))]:
        own = beside and stem == inside.with_suffix("").as_posix()
        other = SUFFIXES - {label.suffix.lower(), ".png"} if own else SUFFIXES
        if (image := find_image(folder, stem, other)) is not None:
            return image.relative_to(folder).as_posix()
    return None


def _are_labels_of(folder: Path, images: Path) -> bool:
    """Whether all images of a folder have the names of images in a subfolder, as in a project
    export: `a.png` and `images/a.png`, or `train/a.png` and `images/train/a.png`."""
    labels = [
        path.relative_to(folder)
        for path in sorted(folder.rglob("*.*"))
        if path.suffix.lower() in ALL_SUFFIXES and not path.is_relative_to(images)
    ]
    return bool(labels) and all(
        find_image(images, path.with_suffix("").as_posix()) for path in labels
    )


def _only(folder: Path, names: frozenset[str]) -> Path | None:
    """Return the subfolder with one of these names; None if there is none, or several."""
    folders = [path for path in folder.iterdir() if path.name.lower() in names and path.is_dir()]
    return folders[0] if len(folders) == 1 else None


def _stems(inside: Path) -> Iterator[str]:
    """Yield possible image names of a label image, without suffix."""
    stem = inside.with_suffix("").as_posix()
    yield stem
    if inside.parent.name.endswith(LABEL_ENDING):  # CamVid
        yield stem.replace(f"{LABEL_ENDING}/", "/")
    for ending in MASK_NAME_ENDINGS:
        if stem.lower().endswith(ending) and Path(stem).name.lower() != ending:
            yield stem[: -len(ending)]


def _stems_of_object(inside: Path) -> Iterator[str]:
    """Yield possible image names for a file of one object, without suffix: a for a_0, a-mask-1 or
    a (2); and a for a/0."""
    for stem in _stems(inside):
        if (match := _OBJECT_MASK_NAME.fullmatch(PurePosixPath(stem).name)) is not None:
            yield from _stems(Path(stem).with_name(f"{match['stem']}.png"))
    if inside.parent.name:
        yield inside.parent.as_posix()
