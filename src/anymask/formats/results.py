"""Lists of predictions: COCO results and records of segment-anything's generator in.

COCO results: records with `image_id`, `category_id`, `segmentation` or `bbox` and `score`, as
detectors write them for pycocotools' `loadRes`. They contain no file names: an id is matched with
the images in the folder of images, such as 139 with 000000000139.jpg. Generators write one list per
image, `NAME.json`, whose records have no `image_id`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from anymask.base import DataError
from anymask.formats.annotations import AnnotatedImage, LossReport, with_extras
from anymask.formats.coco import category_names, label_of, record_extra, segmentation_to_rle
from anymask.formats.documents import find_files, image_beside, read_hw, read_json
from anymask.formats.fields import as_list, as_number, as_numbers, as_record, as_whole, shown
from anymask.formats.outlines import CornerCheck, with_area
from anymask.images import SUFFIXES
from anymask.masks import Mask, Masks

_GENERATOR_KEYS = ("predicted_iou", "stability_score", "point_coords", "crop_box")


def read(source: Path, report: LossReport, image_root: Path | None = None) -> list[AnnotatedImage]:
    """Read a list, or a folder of lists; records of a box alone are reported.

    Raises DataError that names file, record and reason.
    """
    images, corners = [], CornerCheck("x y width height")
    numbered = dict[Path, dict[int, list[Path]]]()  # images by number, by folder
    for path in find_files(source, ".json"):
        with report.record(path):
            for name, few in _by_image(read_json(path), path, report).items():
                with report.record(f"image {name}"):
                    folders = [image_root] if image_root else [path.parent, path.parent / "images"]
                    pixels = image_beside(path, f"{name}.jpg", image_root)
                    pixels = pixels or _numbered(name, folders, numbered)
                    images.append(_image(name, few, pixels, report, corners))
    corners.tell(report)
    if any((mask.label or "").isdecimal() for image in images for mask in image.masks):
        report.note("The results have no class names, so classes are named by their category ids.")
    return images


def _by_image(document: Any, path: Path, report: LossReport) -> dict[str, list[tuple[int, Any]]]:
    """Return the numbered records of a list, or of `annotations`, by `image_id` or file name."""
    wrapped = document if isinstance(document, dict) else {"annotations": document}
    names = category_names(wrapped.get("categories"), report)
    groups: dict[str, list[tuple[int, Any]]] = {}
    for number, row in enumerate(as_list(wrapped.get("annotations"), "annotations")):
        with report.record(f"record {number}"):
            image_id = as_record(row, "record").get("image_id", path.stem)
            if names:
                row = row | {"category_id": label_of(row, names)}
            if isinstance(image_id, (list, dict, bool)) or image_id in (None, ""):
                raise DataError(f"`image_id` is not a number or name. Given: {shown(image_id)}.")
            if isinstance(image_id, float) and image_id.is_integer():
                image_id = int(image_id)
            groups.setdefault(str(image_id), []).append((number, row))
    return groups


def _image(
    name: str,
    rows: list[tuple[int, Any]],
    image: Path | None,
    report: LossReport,
    corners: CornerCheck,
) -> AnnotatedImage:
    sizes = [hw for _, row in rows if (hw := _size_of(row)) is not None]
    if image is None and not sizes:
        raise DataError(
            "The size of the image is unknown. Pass the folder of the images with --images DIR."
        )
    hw = read_hw(image) if image is not None else sizes[0]
    masks = Masks()
    for number, row in rows:
        with report.record(f"record {number}"):
            if row.get("segmentation") in (None, []):
                numbers = as_numbers(row.get("bbox"), 4, "bbox")
                x, y, width, height = numbers
                corners.add((x, y, x + width, y + height), numbers, hw)
                report.skip(name, "a box alone")
                continue
            rle = with_area(segmentation_to_rle(row["segmentation"], hw), "it covers")
            about = {key: row[key] for key in _GENERATOR_KEYS if key in row}
            about["segmentation"] = {"size": rle.size, "counts": rle.counts}
            score = as_number(row.get("score", row.get("predicted_iou", 0.0)), "score")
            about["predicted_iou"] = score
            label = None if row.get("category_id") is None else str(row["category_id"])
            mask = replace(Mask.from_sa1b(about), label=label, score=score)
            masks.append(with_extras(mask, record_extra(row)))
    return AnnotatedImage(file_name=image.name if image is not None else name, hw=hw, masks=masks)


def _numbered(
    name: str, folders: list[Path], known: dict[Path, dict[int, list[Path]]]
) -> Path | None:
    """Return the image of an id: 000000000139.jpg or val_139.jpg for 139. Raises DataError.

    Args:
        known: Images of folders by the number at the end of their names, which it adds to.
    """
    for folder in folders if name.isdecimal() else ():
        if folder not in known:
            by_number = known[folder] = {}
            for image in sorted(folder.iterdir()) if folder.is_dir() else ():
                digits = re.search("[0-9]+$", image.stem)
                if digits is not None and image.suffix.lower() in SUFFIXES:
                    by_number.setdefault(int(digits[0]), []).append(image)
        images = known[folder].get(int(name), [])
        if len(images) > 1:
            raise DataError(f"Two images have this number: {images[0].name} and {images[1].name}.")
        if images:
            return images[0]
    return None


def _size_of(row: Mapping[str, Any]) -> tuple[int, int] | None:
    """Return the size (H, W) of a record's run-lengths; None for any other record."""
    held = row.get("segmentation")
    size = held.get("size") if isinstance(held, dict) else None
    if not isinstance(size, list) or len(size) != 2:
        return None
    return as_whole(size[0], "height"), as_whole(size[1], "width")
