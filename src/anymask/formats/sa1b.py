"""SA-1B: a JSON file per image in, annotated images out, and back; nothing is lost.

The layout is that of the Segment Anything data set (its README, "Dataset"). Keys that are not part
of it and that are added if needed: `label`, `group_id`, `iscrowd`, `parent`, `depth`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from anymask.base import DataError
from anymask.formats.annotations import (
    IN_RECORDS,
    AnnotatedImage,
    LossReport,
    extras_of,
    report_unsupported_fields,
    with_extras,
)
from anymask.formats.documents import (
    OutFile,
    checked_hw,
    output_paths,
    read_each,
    read_json,
    to_json,
)
from anymask.formats.fields import ExceptKeys, as_list, as_record, held, other_keys
from anymask.formats.metadata import origin_in, report_dataset_fields, with_origins
from anymask.formats.outlines import Policy
from anymask.masks import Mask, Masks, parents_to_ids, parents_to_places

OF_RECORD = ExceptKeys(  # beside these, a record holds any key
    "id", "segmentation", "area", "bbox", "predicted_iou", "point_coords", "stability_score",
    "crop_box", "objectness", "label", "label_probability", "runner_up", "parent", "depth",
    "group_id", "iscrowd", "origin",
)  # fmt: skip
OF_IMAGE = ExceptKeys("image_id", "width", "height", "file_name")


def read(source: Path, report: LossReport, image_root: Path | None = None) -> list[AnnotatedImage]:
    """Read a file or a folder of them. Raises DataError that names file, record and reason."""
    return read_each(
        source, ".json", report, lambda path: document_to_image(read_json(path), report)
    )


def document_to_image(document: Any, report: LossReport | None = None) -> AnnotatedImage:
    """Convert the JSON of a file to an image's masks. Raises KeyError, TypeError, DataError.

    Args:
        report: Report of skipped invalid records; None: they are errors.
    """
    document = as_record(document, "the document")
    if "image" not in document and "categories" in document:
        raise DataError("This COCO file has no list `images`.")
    about = as_record(document["image"], "image")
    masks, ids, report = list[Mask](), list[object](), LossReport() if report is None else report
    for number, annotation in enumerate(as_list(document["annotations"], "annotations")):
        with report.record(f"annotation {number}"):
            mask = replace(Mask.from_sa1b(annotation), origin=origin_in(document, annotation))
            masks.append(with_extras(mask, other_keys(held(annotation, OF_RECORD), ())))
            ids.append(annotation.get("id"))
    masks = parents_to_places(masks, ids)
    return AnnotatedImage(
        file_name=str(about["file_name"]),
        hw=checked_hw(about["height"], about["width"]),
        masks=Masks(masks),
        extra=other_keys(held(about, OF_IMAGE), ()),
    )


def encode(
    images: list[AnnotatedImage], target: Path, report: LossReport, policy: Policy
) -> Iterator[OutFile]:
    """Yield a JSON file per image; ids count from 1."""
    first = 1
    paths = output_paths(images, target, ".json")
    for number, (image, path) in enumerate(zip(images, paths, strict=True), start=1):
        report_unsupported_fields(report, image, IN_RECORDS | {"trees"}, OF_RECORD, OF_IMAGE)
        yield path, to_json(image_to_document(image, number, first))
        first += len(image.masks)
    report_dataset_fields(report, images, policy)


def image_to_document(image: AnnotatedImage, number: int = 1, first: int = 1) -> dict[str, Any]:
    """Convert an image to the JSON of its file; its masks are numbered from `first`."""
    about = {"image_id": number, "width": image.hw[1], "height": image.hw[0]}
    about = held(image.extra, OF_IMAGE) | about | {"file_name": image.file_name}
    records = []
    for mask_id, mask in enumerate(image.masks, start=first):
        written = mask.to_sa1b(mask_id)
        if not mask.score:  # no score was set
            written.pop("predicted_iou")
        records.append(extras_of(mask, OF_RECORD) | written)
    return with_origins({"image": about, "annotations": parents_to_ids(records)}, image.masks)


def read_sa1b(records: Sequence[Any]) -> list[Mask]:
    """Convert a list of SA-1B records to masks. Raises DataError as in `Mask.from_sa1b`."""
    ids = [record.get("id") for record in records]
    return parents_to_places([Mask.from_sa1b(record) for record in records], ids)
