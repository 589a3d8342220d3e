"""COCO panoptic: a JSON file and a folder of PNGs in, annotated images out, and back.

A pixel belongs to segment R + 256 G + 65536 B; 0 is unlabeled. Layout: the format page of the COCO
data set. Masks must not overlap: they are painted as label pictures, and the report counts the
hidden pixels.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from anymask.base import DataError
from anymask.formats.annotations import (
    AnnotatedImage,
    LossReport,
    extras_of,
    report_unlabeled,
    report_unsupported_fields,
    with_extras,
)
from anymask.formats.coco import (
    OF_CATEGORY,
    OF_IMAGE,
    category_ids,
    category_names,
    crowds_count,
    document_facts,
    image_extra,
    read_facts,
    rows_by_id,
)
from anymask.formats.documents import (
    OutFile,
    checked_hw,
    file_target,
    find_files,
    located,
    output_paths,
    output_stem,
    read_json,
    to_json,
)
from anymask.formats.fields import (
    ExceptKeys,
    as_list,
    as_record,
    as_text,
    as_whole,
    held,
    other_keys,
)
from anymask.formats.label_images import image_bytes, paint_numbers
from anymask.formats.mask_numbers import colors_to_numbers, value_rles
from anymask.formats.metadata import CLASS_IDS, CLASSES, INFO, LICENSES, report_dataset_fields
from anymask.formats.outlines import Policy
from anymask.images import open_image
from anymask.masks import UNLABELED, Mask, Masks, rle_area, rle_box_xywh

OF_SEGMENT = ExceptKeys("id", "category_id", "area", "bbox", "iscrowd")  # else it holds any key


def read(source: Path, report: LossReport, image_root: Path | None = None) -> list[AnnotatedImage]:
    """Read the JSON file and the PNGs beside it. Raises DataError that names record and reason."""
    images = []
    for path in find_files(source, ".json"):
        with report.record(path):
            document = as_record(read_json(path), "the document")
            categories, records = _records(document, path, report)
            licences = read_facts(document, report)
            flags = [segment.crowd for record in records.values() for segment in record.segments]
            has_crowds = not crowds_count(flags, report)
            rows = rows_by_id(document["images"], "image", report)
            for number, record in records.items():
                with report.record(f"annotation {number}"):
                    if (row := rows.get(record.image_id)) is None:
                        raise DataError(
                            f"The image with the id {record.image_id} is missing from `images`."
                        )
                    masks = _masks(row, record, categories, report, crowds=has_crowds)
                    images.append(
                        AnnotatedImage(
                            file_name=str(row["file_name"]),
                            hw=masks.image_hw,
                            masks=masks,
                            extra=image_extra(row, licences),
                        )
                    )
    return images


@dataclass(frozen=True, kw_only=True)
class _Segment:
    """A segment: its id in the pixels, class id, crowd flag and other keys."""

    number: int
    category: int
    crowd: bool
    extra: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class _Record:
    """The segments of one image, and its PNG."""

    image_id: int
    path: Path
    segments: tuple[_Segment, ...]


def _records(
    document: Any, path: Path, report: LossReport
) -> tuple[dict[int, str], dict[int, _Record]]:
    """Return class names by id, and records by number."""
    names = category_names(document.get("categories"), report)
    report.list_classes({name: number for number, name in names.items()})
    records, seen = dict[int, _Record](), set[int]()
    for number, row in enumerate(as_list(document["annotations"], "annotations")):
        with report.record(f"annotation {number}"):
            image_id = as_whole(as_record(row, "annotation")["image_id"], "image_id")
            if image_id in seen:
                raise DataError(f"Image {image_id} has two records.")
            seen.add(image_id)
            records[number] = _Record(
                image_id=image_id,
                path=path.with_suffix("") / output_stem(as_text(row["file_name"], "file_name")),
                segments=tuple(
                    _Segment(
                        number=as_whole(as_record(segment, "segment")["id"], "id"),
                        category=as_whole(segment["category_id"], "category_id"),
                        crowd=bool(segment.get("iscrowd", 0)),
                        extra=other_keys(held(segment, OF_SEGMENT), ()),
                    )
                    for segment in as_list(row["segments_info"], "segments_info")
                ),
            )
    return names, records


def _masks(
    row: Any, record: _Record, categories: dict[int, str], report: LossReport, *, crowds: bool
) -> Masks:
    """Return the masks of an image.

    Raises DataError for a PNG that cannot be read or has another size than the image, for pixels
    without a record, and records without a pixel.
    """
    hw, known = checked_hw(row["height"], row["width"]), list[_Segment]()
    for index, segment in enumerate(record.segments):
        with report.record(f"segment {index} (id {segment.number})"):
            if segment.category not in categories:
                raise DataError(
                    f"The category with the id {segment.category} is missing from `categories`."
                )
            known.append(segment)
    with located(record.path):
        with open_image(record.path, record.path.name) as image:
            values = colors_to_numbers(np.asarray(image.convert("RGB"))[..., ::-1])
        if values.shape != hw:
            raise DataError(
                f"The panoptic PNG has the size {values.shape}, but the image has {hw}."
            )
        rles, listed = value_rles(values), {segment.number for segment in record.segments}
        if lost := sorted(listed - rles.keys()):
            raise DataError(f"The segments {lost[:3]} have no pixel in the panoptic PNG.")
        if bare := sorted(rles.keys() - listed - {0}):
            raise DataError(
                f"The panoptic PNG has pixels of the segments {bare[:3]}, which have no record."
            )
    masks = Masks(image_hw=hw)
    for segment in known:
        rle, label = rles[segment.number], categories[segment.category]
        masks.append(with_extras(Mask(rle, label, crowd=segment.crowd and crowds), segment.extra))
    return masks


# Writing.


def encode(
    images: list[AnnotatedImage], target: Path, report: LossReport, policy: Policy
) -> Iterator[OutFile]:
    """Yield the PNGs, then the JSON file."""
    folder = file_target(target).with_suffix("")
    ids = category_ids(images, policy)
    rows = []
    paths = output_paths(images, folder, ".png")
    for image_id, (image, path) in enumerate(zip(images, paths, strict=True), start=1):
        report_unsupported_fields(
            report, image, frozenset({"labels", "crowds", "annotator"}), OF_SEGMENT, OF_IMAGE
        )
        report_unlabeled(report, image)
        values = paint_numbers(image, range(1, len(image.masks) + 1), report)
        segments, rles = [], value_rles(values)
        for number, mask in enumerate(image.masks, start=1):
            if (rle := rles.get(number)) is not None:
                about = {"id": number, "category_id": ids[mask.label or UNLABELED]}
                box = {"area": rle_area(rle), "bbox": list(rle_box_xywh(rle))}
                about = extras_of(mask, OF_SEGMENT) | about
                segments.append(about | box | {"iscrowd": int(mask.crowd)})
        name = path.relative_to(folder).as_posix()
        rows.append({"image_id": image_id, "file_name": name, "segments_info": segments})
        rgb = np.dstack([(values >> 8 * channel).astype(np.uint8) for channel in range(3)])
        yield path, image_bytes(Image.fromarray(rgb))
    document = document_facts(images, ids, policy) | {"annotations": rows}
    document["categories"] = [
        {"supercategory": row["name"], "isthing": 1} | row for row in document["categories"]
    ]
    report_dataset_fields(report, images, policy, (CLASSES, CLASS_IDS, INFO, LICENSES), OF_CATEGORY)
    yield target, to_json(document)
