"""Read detections of other programs: boxes by image from a COCO result file with class names.

The file is in the folder of the set:

    {"categories": [{"id": 1, "name": "cat", "frequency": "r"}],
     "annotations": [{"image": "a.jpg", "category_id": 1, "bbox": [x, y, w, h], "score": 0.9}]}

`image` is the file name of the image; `image_id`, its number in the dataset, is also supported.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from anymask.base import DataError, brief
from anymask.formats import AnnotatedImage, LossReport, category_names, fields, read_json
from anymask.masks import counted

DETECTIONS_FILE = "detections.json"


@brief
@dataclass(frozen=True)
class Detection:
    """One detected box: x0, y0, x1, y1 in pixels, its class and its confidence score."""

    box: tuple[float, float, float, float]
    label: str
    score: float


@dataclass(frozen=True)
class Detections:
    """Detections of a set."""

    images: tuple[tuple[Detection, ...], ...]  # Detections of each image, in the order of the set
    frequency: Mapping[str, str]  # "r", "c" or "f" by class, if declared


def read_detections(
    path: Path, samples: Sequence[AnnotatedImage], report: LossReport | None = None
) -> Detections:
    """Read the boxes of a detector for these images.

    Raises DataError that names file, record and reason.

    Args:
        report: Report to which skipped records are added. None raises an error instead.
    """
    report = LossReport() if report is None else report
    document: Any = read_json(path)
    if not isinstance(document, dict) or not {"categories", "annotations"} <= document.keys():
        raise DataError(f"{path} is not a COCO detection file. Add `categories` and `annotations`.")
    by_id = {sample.benchmark.image_id: n for n, sample in enumerate(samples)}
    places = by_id | {sample.name: n for n, sample in enumerate(samples)}
    images: list[list[Detection]] = [[] for _ in samples]
    read = other = 0
    with report.record(path):
        names = category_names(document["categories"], report)
        for number, row in enumerate(fields.as_list(document["annotations"], "annotations")):
            with report.record(f"annotation {number}"):
                image, detection = _detection(fields.as_record(row, "annotation"), names)
                read += 1
                if image in places:
                    images[places[image]].append(detection)
                else:
                    other += 1
    report.check_records(path, read)
    if other:
        report.note(f"skipped {counted(other, 'detection')} for images outside of this set")
    frequency = {
        row["name"]: str(row["frequency"])
        for row in document["categories"] or ()
        if isinstance(row, dict) and "frequency" in row and row.get("name") in names.values()
    }
    return Detections(tuple(tuple(pixels) for pixels in images), frequency)


def _detection(row: Mapping[str, Any], names: Mapping[int, str]) -> tuple[str | int, Detection]:
    """Return image (name or number) and box of a record. Raises DataError or KeyError."""
    image: str | int = (
        PurePosixPath(fields.as_text(row["image"], "image").replace("\\", "/")).name
        if "image" in row
        else fields.as_whole(row["image_id"], "image_id")
    )
    x, y, width, height = fields.as_numbers(row["bbox"], 4, "bbox")
    if min(width, height) <= 0:
        raise DataError(f"`bbox` has no area. Expected [x, y, width, height], not {row['bbox']}.")
    category = fields.as_whole(row["category_id"], "category_id")
    if category not in names:
        raise DataError(f"Unknown category id {category}. Use an id that `categories` lists.")
    box, score = (x, y, x + width, y + height), fields.as_number(row["score"], "score")
    return image, Detection(box, names[category], score)
