"""Finds label pictures and the photos that they belong to, in folders of any layout.

A label picture is no photo, and both are often PNGs or TIFFs of one name in folders beside each
other: `images/a.png` and `masks/a.png`, as StarDist has them; or in one folder, `a.tif` and
`a_cp_masks.tif`, as Cellpose writes them. Names of folders are compared without case.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from anymask.formats.documents import find_files, find_picture
from anymask.formats.mask_numbers import EVERY_KIND, of_best_kind
from anymask.images import SUFFIXES

FORM = "label-png"

LABELS = frozenset(
    [
        "annotation", "annotations", "ground_truth", "groundtruth", "gt", "instances", "label",
        "labels", "mask", "masks", "segmentation", "segmentations", "targets",
    ]
)  # fmt: skip

PHOTOS = frozenset(
    ["image", "images", "img", "imgs", "inputs", "jpegimages", "photo", "photos", "pictures", "raw"]
)

ENDINGS = (
    "_cp_masks", "_mask", "_masks", "_label", "_labels", "_seg", "_gt", "-mask", "-label",
)  # fmt: skip

_OF_OBJECT = re.compile(
    r"(?P<stem>.+?)[ _.-]*(?:mask|obj|object|inst|instance|label)?[ _.-]*\(?\d+\)?", re.IGNORECASE
)


@dataclass(frozen=True)
class LabelPlaces:
    """Where label pictures lie, a folder or one file, and their photos, if that can be told.

    Attributes:
        inside: The folder of photos that lies in that of the labels.
    """

    labels: Path
    photos: Path | None
    inside: Path | None = None


def places_of(source: Path, pictures: Path | None = None) -> LabelPlaces:
    """Where the label pictures of a source lie, and their photos.

    Args:
        source: A folder of both, in a folder of photos and one of labels; or labels alone.
        pictures: The folder of the photos; where nobody says, one beside the labels.
    """
    if not source.is_dir():
        return LabelPlaces(source, pictures)
    labels, photos = (_only(source, names) for names in (LABELS, PHOTOS))
    if labels is not None and (photos is not None or pictures is not None):
        return LabelPlaces(labels, pictures or photos)
    if labels is None and photos is not None and _are_labels_of(source, photos):
        return LabelPlaces(source, pictures or photos, photos)
    if pictures is None and source.absolute().name.lower() in LABELS:
        pictures = _only(source.absolute().parent, PHOTOS)
    return LabelPlaces(source, pictures)


def has_both(source: Path) -> bool:
    """Whether a folder holds one folder of label pictures and one of photos, or is the first."""
    places = places_of(source)
    if places.photos is None or not places.labels.is_dir():
        return False
    return any(path.suffix.lower() in EVERY_KIND for path in places.labels.rglob("*.*"))


def label_files(places: LabelPlaces) -> list[Path]:
    """The label pictures: PNGs where there are any, else TIFFs, else images of other formats.

    Where photos lie among them, and some names end as those of labels do, only these. Raises
    DataError where there is none.
    """
    found = find_files(places.labels, *EVERY_KIND)
    photos, labels = places.photos, places.labels
    for folder in (photos, places.inside):
        if folder is not None and folder != labels and folder.is_relative_to(labels):
            found = [path for path in found if not path.is_relative_to(folder)]
    if places.photos is None or photos == labels:
        found = [path for path in found if len(list(_stems(Path(path.name)))) > 1] or found
    return of_best_kind(found)


def photo_name(label: Path, places: LabelPlaces) -> str | None:
    """The photo of a label picture, as it is called in the folder of photos; or, where there is no
    such folder, beside the label, with another name or suffix. None where there is none."""
    here = places.labels if places.labels.is_dir() else places.labels.parent
    inside = label.relative_to(here)
    stems = [*_stems(inside), *(_stems_of_object(inside) if places.photos is not None else ())]
    for stem in stems:
        if places.photos is not None:
            found = find_picture(places.photos, stem)
            if found is not None:
                return found.relative_to(places.photos).as_posix()
        else:
            own = stem == inside.with_suffix("").as_posix()
            other = SUFFIXES - {label.suffix.lower(), ".png"} if own else SUFFIXES
            found = find_picture(here, stem, other)
            if found is not None:
                return found.relative_to(here).as_posix()
    return None


def _are_labels_of(folder: Path, photos: Path) -> bool:
    """Whether all pictures of a folder are called as photos of another one below it, as in an
    export of a project: `a.png` and `images/a.png`, or `train/a.png` and `images/train/a.png`."""
    found = [
        path.relative_to(folder)
        for path in sorted(folder.rglob("*.*"))
        if path.suffix.lower() in EVERY_KIND and not path.is_relative_to(photos)
    ]
    names = (path.with_suffix("").as_posix() for path in found)
    return bool(found) and all(find_picture(photos, name) for name in names)


def _only(folder: Path, names: frozenset[str]) -> Path | None:
    """The folder inside that has one of these names; None where there is none, or several."""
    found = [path for path in folder.iterdir() if path.name.lower() in names and path.is_dir()]
    return found[0] if len(found) == 1 else None


def _stems(inside: Path) -> Iterator[str]:
    """The names without suffix that the photo of a label picture may have."""
    stem = inside.with_suffix("").as_posix()
    yield stem
    for ending in ENDINGS:
        if stem.lower().endswith(ending) and Path(stem).name.lower() != ending:
            yield stem[: -len(ending)]


def _stems_of_object(inside: Path) -> Iterator[str]:
    """The names without suffix of the photo of a file of one object: a_0, a-mask-1 or a (2) of a;
    and a/0 of a."""
    for stem in _stems(inside):
        found = _OF_OBJECT.fullmatch(PurePosixPath(stem).name)
        if found is not None:
            yield from _stems(Path(stem).with_name(f"{found['stem']}.png"))
    if inside.parent.name:
        yield inside.parent.as_posix()
