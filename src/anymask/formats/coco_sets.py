"""COCO and LVIS datasets: images with one COCO JSON per split.

    COCO 2017 (cocodataset.org, format page)     LVIS v1 (lvisdataset.org, data format)
    annotations/instances_val2017.json           annotations/lvis_v1_val.json, or beside the images
    val2017/000000000139.jpg                     train2017/, val2017/: photos of COCO

A split is the full or the short name: "val2017" and "val" are equivalent. The JSON itself can be
passed instead of its folder; otherwise it is the one with the split in its name. Images are
searched by their `file_name` in folders named like the split, `images`, `image`, `imgs` or `data`,
beside the JSON and one folder above. Crowds are ignored pixels. Polygons are filled like in
pycocotools. LVIS identifies an image by its `coco_url`, whose last two parts are its path, and
declares which classes were annotated (`neg_category_ids`, `not_exhaustive_category_ids`).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from anymask.base import DataError
from anymask.formats.annotations import AnnotatedImage, BenchmarkTruth, Federated, annotated_image
from anymask.formats.coco import category_names, read_document
from anymask.formats.documents import find_in_folders, find_place, located, read_json
from anymask.formats.loss_report import LossReport


def read_coco(root: Path, split: str, report: LossReport | None = None) -> Iterator[AnnotatedImage]:
    """Read the images of a COCO JSON. Raises DataError that names file, record and reason."""
    path = _json_of(root, split)
    names = [name for name in (path.stem.rsplit("_", 1)[-1], *_names(split)) if name]
    inside = (*names, *(f"images/{name}" for name in names), "images", "image", "imgs", "data", ".")
    folders = [top / name for top in (path.parent, path.parent.parent) for name in inside]
    report = LossReport() if report is None else report
    with located(path):
        for row, image in read_document(read_json(path), report, published=True):
            with located(f"image {row['id']}"):
                pixels = find_in_folders(str(row["file_name"]), folders)
            yield annotated_image(pixels, image.hw, image.masks, benchmark=_truth(row))


def read_lvis(root: Path, split: str, report: LossReport | None = None) -> Iterator[AnnotatedImage]:
    """Read the images of LVIS v1. Raises DataError that names file, record and reason."""
    patterns = [f"annotations/lvis_v1_{split}.json", f"lvis_v1_{split}.json"]
    path = root if root.is_file() else find_place(root, patterns, "LVIS annotations")
    top = path.parent
    report = LossReport() if report is None else report
    folders = [top.parent, top, top.parent / "coco", top.parent.parent / "coco"]
    with located(path):
        document = read_json(path)
        names = category_names(document.get("categories"), LossReport(settings=report.settings))
        for row, image in read_document(document, report, published=True):
            with located(f"image {row['id']}"):
                pixels = find_in_folders(
                    "/".join(PurePosixPath(str(row["coco_url"])).parts[-2:]), folders
                )
                absent, partial = (
                    frozenset(names[int(number)] for number in row[key])
                    for key in ("neg_category_ids", "not_exhaustive_category_ids")
                )
                truth = _truth(row, Federated(absent=absent, partial=partial))
            yield annotated_image(pixels, image.hw, image.masks, benchmark=truth)


def _truth(row: dict[str, Any], federated: Federated | None = None) -> BenchmarkTruth:
    return BenchmarkTruth(image_id=int(row["id"]), federated=federated)


def _json_of(root: Path, split: str) -> Path:
    """Find the annotations of a split. Raises DataError if there are none, or several."""
    if root.is_file():
        return root
    exact = [
        f"{top}instances_{name}.json" for top in ("annotations/", "") for name in _names(split)
    ]
    others = ("{}/labels.json", "annotations/*{}*.json", "*{}*.json", "{}/*.json")
    patterns = [*exact, *(pattern.format(split) for pattern in others)]
    path = find_place(root, patterns, f"COCO JSON of the split {split!r}")
    alike = next(paths for pattern in patterns if (paths := sorted(root.glob(pattern))))
    if len(alike) > 1:
        names = ", ".join(file.relative_to(root).as_posix() for file in alike)
        raise DataError(
            f"{root}: Several files match the split {split!r}: {names}. Pass one of them."
        )
    return path


def _names(split: str) -> list[str]:
    """Return the names of a split, with and without the years of COCO."""
    return [split, f"{split}2017", f"{split}2014"]
