"""COCO and LVIS data sets: photos and a COCO JSON a split in, annotated images out.

    COCO 2017 (cocodataset.org, format page)     LVIS v1 (lvisdataset.org, data format)
    annotations/instances_val2017.json           annotations/lvis_v1_val.json, or beside the photos
    val2017/000000000139.jpg                     train2017/, val2017/: photos of COCO

A split is the year's name or the short one: "val2017" and "val" are the same. The JSON may be named
itself instead of its folder; else it is the one that has the split in its name. Photos are looked
for under their `file_name` in folders called like the split, `images`, `image`, `imgs` or `data`,
beside the JSON and one folder above. Records of a crowd are pixels that do not count. Polygons are
filled as pycocotools does it. LVIS names a photo by its `coco_url`, whose last two parts are
its place, and says which classes were looked for (`neg_category_ids`,
`not_exhaustive_category_ids`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from anymask.base import DataError
from anymask.formats.annotations import AnnotatedImage, BenchmarkTruth, Federated, annotated_photo
from anymask.formats.coco import category_names, rows_by_id, segmentation_to_rle
from anymask.formats.documents import checked_hw, find_photo, find_place, located, read_json
from anymask.masks import Mask
from anymask.masks.mask import Box

_PICTURES = ("images", "image", "imgs", "data")


@dataclass(frozen=True)
class _Document:
    """A COCO file with its records sorted: annotations by photo, names by category."""

    path: Path
    images: dict[int, dict[str, Any]]
    annotations: dict[int, list[tuple[int, dict[str, Any]]]]
    names: dict[int, str]


def read_coco(root: Path, split: str) -> Iterator[AnnotatedImage]:
    """The photos of a COCO JSON. Raises DataError that names file, record and reason."""
    document = _read(_json_of(root, split))
    folders = _folders(document.path, split)
    for image_id, row in document.images.items():
        with located(f"{document.path}, image {image_id}"):
            path = find_photo(str(row["file_name"]), folders)
        yield _sample(document, image_id, path)


def read_lvis(root: Path, split: str) -> Iterator[AnnotatedImage]:
    """The photos of LVIS v1. Raises DataError that names file, record and reason."""
    patterns = [f"annotations/lvis_v1_{split}.json", f"lvis_v1_{split}.json"]
    document = _read(root if root.is_file() else find_place(root, patterns, "LVIS annotations"))
    top = document.path.parent
    folders = [top.parent, top, top.parent / "coco", top.parent.parent / "coco"]
    for image_id, row in document.images.items():
        with located(f"{document.path}, image {image_id}"):
            name = "/".join(PurePosixPath(str(row["coco_url"])).parts[-2:])
            path = find_photo(name, folders)
            federated = Federated(
                absent=_labels(document, row["neg_category_ids"]),
                partial=_labels(document, row["not_exhaustive_category_ids"]),
            )
        yield _sample(document, image_id, path, federated)


def _labels(document: _Document, ids: Sequence[Any]) -> frozenset[str]:
    return frozenset(document.names[int(number)] for number in ids)


def _json_of(root: Path, split: str) -> Path:
    """The annotations of a split. Raises DataError where there are none, or several."""
    if root.is_file():
        return root
    exact = [
        f"{place}instances_{name}.json" for place in ("annotations/", "") for name in _names(split)
    ]
    patterns = [*exact, f"{split}/labels.json", f"annotations/*{split}*.json", f"*{split}*.json"]
    patterns.append(f"{split}/*.json")
    path = find_place(root, patterns, f"COCO JSON of the split {split!r}")
    alike = next(found for pattern in patterns if (found := sorted(root.glob(pattern))))
    if len(alike) > 1:
        names = ", ".join(one.relative_to(root).as_posix() for one in alike)
        raise DataError(f"{root}: several files fit the split {split!r}: {names}; name one of them")
    return path


def _names(split: str) -> list[str]:
    """A split and its name with the years of COCO."""
    return [split, f"{split}2017", f"{split}2014"]


def _folders(path: Path, split: str) -> list[Path]:
    """Where the photos of a JSON may lie, likely places first."""
    tops = [path.parent, path.parent.parent]
    named = [name for name in (path.stem.rsplit("_", 1)[-1], *_names(split)) if name]
    inside = [*named, *(f"images/{name}" for name in named), *_PICTURES, "."]
    return [top / name for top in tops for name in inside]


def _read(path: Path) -> _Document:
    raw = read_json(path)
    with located(path):
        names = category_names(raw.get("categories", []))
        images = rows_by_id(raw["images"], "image")
        annotations: dict[int, list[tuple[int, dict[str, Any]]]] = {key: [] for key in images}
        for number, row in enumerate(raw["annotations"]):
            if int(row["image_id"]) not in images:
                raise DataError(f"annotation {number}: there is no image {row['image_id']}")
            annotations[int(row["image_id"])].append((number, row))
    return _Document(path, images, annotations, names)


def _sample(
    document: _Document, image_id: int, path: Path, federated: Federated | None = None
) -> AnnotatedImage:
    with located(f"{document.path}, image {image_id}"):
        row = document.images[image_id]
        hw = checked_hw(row["height"], row["width"])
    found = []
    for number, annotation in document.annotations[image_id]:
        with located(f"{document.path}, annotation {number} (id {annotation.get('id')})"):
            label = _label(document, annotation)
            rle = segmentation_to_rle(annotation.get("segmentation"), hw)
            if rle.size != hw:
                raise DataError(f"the mask is {rle.size} (height, width), the photo {hw}")
            box, crowd = _box(annotation), bool(annotation.get("iscrowd"))
            found.append(Mask(rle, label, drawn_box=box, crowd=crowd))
    benchmark = BenchmarkTruth(image_id=image_id, federated=federated)
    return annotated_photo(path, hw, found, benchmark=benchmark)


def _label(document: _Document, annotation: dict[str, Any]) -> str | None:
    if not document.names and annotation.get("category_id") is None:
        return None
    number = int(annotation["category_id"])
    if number not in document.names:
        raise DataError(f"there is no category with the id {number}")
    return document.names[number]


def _box(annotation: dict[str, Any]) -> Box | None:
    """The drawn box as x0, y0, x1, y1; None without one."""
    if "bbox" not in annotation:
        return None
    x, y, width, height = (float(side) for side in annotation["bbox"][:4])
    return (x, y, x + width, y + height)
