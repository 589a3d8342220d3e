"""COCO instances: one JSON file with run-lengths or polygons.

Layout: the format page of the COCO dataset; LVIS names its images differently. Run-lengths keep
every pixel, also for objects that are not crowds. Polygons keep parts, and holes according to the
policy; they are filled like in pycocotools, pixel for pixel. Besides COCO's keys, those of SA-1B
(`predicted_iou`, ...) and `group_id` are written. Ids are renumbered from 1.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from anymask.base import DataError
from anymask.formats.annotations import (
    IN_RECORDS,
    AnnotatedImage,
    LossReport,
    class_names,
    extras_of,
    report_unlabeled,
    report_unsupported_fields,
    with_extras,
)
from anymask.formats.documents import (
    OutFile,
    checked_hw,
    file_target,
    find_files,
    hw_of_image,
    names_in_dataset,
    read_json,
    refuse_boxes,
    to_json,
)
from anymask.formats.fields import (
    ExceptKeys,
    as_list,
    as_numbers,
    as_record,
    as_whole,
    held,
    other_keys,
    shown,
)
from anymask.formats.loss_report import as_color
from anymask.formats.metadata import (
    CLASS_IDS,
    CLASSES,
    INFO,
    LICENSES,
    add_class,
    add_info,
    add_licenses,
    only_license,
    origin_in,
    report_dataset_fields,
    with_origins,
)
from anymask.formats.outlines import (
    CornerCheck,
    Policy,
    box_to_mask,
    note_changed,
    plain_rings,
    with_area,
)
from anymask.masks import UNLABELED, Box, Mask, Masks, Rle, coco_polygons_to_rle, coco_to_rle

ANYMASK_DESCRIPTION = "written by anymask"
SA1B_KEYS = (  # keys of SA-1B
    "stability_score", "point_coords", "crop_box", "group_id", "iscrowd", "objectness",
    "label_probability", "runner_up",
)  # fmt: skip
OF_RECORD = ExceptKeys(  # besides these, a record supports any key
    "id", "image_id", "category_id", "segmentation", "area", "bbox", "score", "predicted_iou",
    "label", "parent", "depth", "origin", *SA1B_KEYS,
)  # fmt: skip
OF_IMAGE = ExceptKeys("id", "file_name", "height", "width")
OF_CATEGORY = ExceptKeys("id", "name")
OF_DOCUMENT = ExceptKeys(
    "info", "licenses", "images", "annotations", "categories", "origins", "anymask", "videos"
)
IN_ATTRIBUTES = ("occluded", "rotation")  # stored in attributes by CVAT


def read(
    source: Path, report: LossReport, image_root: Path | None = None, *, boxes: bool = False
) -> list[AnnotatedImage]:
    """Read a file or a folder of files. Raises DataError that names file, record and reason.

    Args:
        boxes: Whether to read boxes without masks as rectangular masks.
    """
    pairs = list[tuple[Path, AnnotatedImage]]()
    for path in find_files(source, ".json"):
        with report.record(path):
            rows = read_document(read_json(path), report, image_root, boxes=boxes)
            pairs += [(path, image) for _, image in rows]
    images = names_in_dataset(source, pairs)
    if not boxes:
        refuse_boxes(source, images, report, "mask")
    return images


def read_document(
    document: Any,
    report: LossReport,
    image_root: Path | None = None,
    *,
    boxes: bool = False,
    published: bool = False,
) -> Iterator[tuple[dict[str, Any], AnnotatedImage]]:
    """Yield the rows of a document's images with their masks, which are decoded one at a time.

    Raises DataError that names the record.

    Args:
        report: Report for records without a mask and invalid records.
        image_root: Folder of the images, for the size of images without one in their record.
        boxes: Whether to read boxes without masks as rectangular masks.
        published: Whether every record has a mask, and `bbox` is the annotated box.
    """
    names = category_names(as_record(document, "the document").get("categories", []), report)
    report.list_classes({name: number for number, name in names.items()})
    licences = read_facts(document, report)
    rows = rows_by_id(document["images"], "image", report)
    annotations = _by_image(document["annotations"], rows, report)
    flags = [bool(row.get("iscrowd")) for few in annotations.values() for _, row in few]
    reader = _Records(document, names, report, boxes, published, not crowds_count(flags, report))
    for number, (image_id, about) in enumerate(rows.items()):
        image = None
        with report.record(f"image {number}"):
            if about.keys() >= {"height", "width"}:
                hw = checked_hw(about["height"], about["width"])
            else:
                absent = "The record of the image has no `height` and `width`"
                hw = hw_of_image(file_name(about), image_root, absent)
            image = AnnotatedImage(
                file_name=file_name(about), hw=hw, extra=image_extra(about, licences)
            )
        masks = Masks()
        for where, row in annotations[image_id]:
            with report.record(where):
                if image is None:
                    raise DataError("The record of the image is invalid.")
                if (mask := reader.mask(row, image)) is not None:
                    masks.append(mask)
        if image is not None:
            yield about, replace(image, masks=masks)
    reader.corners.tell(report)


def crowds_count(flags: Sequence[bool], report: LossReport) -> bool:
    """Return whether crowds are objects, by the settings and the `iscrowd` flags of a file."""
    if report.settings is None or not any(flags):
        return False
    if report.settings.crowd == "auto" and all(flags):
        report.note(
            f"All {len(flags)} masks are marked as crowds (iscrowd: 1). CVAT exports brush masks "
            "in this way, so they are read as objects. To ignore them, pass --crowd ignore."
        )
        return True
    return report.settings.crowd == "keep"


def _by_image(
    rows: Any, images: Container[int], report: LossReport
) -> defaultdict[int, list[tuple[str, Any]]]:
    """Group annotations by image, each with a description of its position."""
    groups: defaultdict[int, list[tuple[str, Any]]] = defaultdict(list)
    for number, row in enumerate(as_list(rows, "annotations")):
        suffix = f" (id {row['id']})" if type(row) is dict and "id" in row else ""
        where = f"annotation {number}{suffix}"
        with report.record(where):
            image_id = as_whole(as_record(row, "annotation")["image_id"], "image_id")
            if image_id not in images:
                raise DataError(
                    f"The image with the id {row['image_id']} is missing from `images`."
                )
            groups[image_id].append((where, row))
    return groups


@dataclass(frozen=True)
class _Records:
    """Reader of a document's annotations, as in `read_document`."""

    document: Any
    names: dict[int, str]
    report: LossReport
    boxes: bool
    published: bool
    crowds: bool
    corners: CornerCheck = field(default_factory=lambda: CornerCheck("x y width height"))

    def mask(self, row: Any, image: AnnotatedImage) -> Mask | None:
        """Read the mask of a record; None for a box without a mask, which is reported."""
        parts = row.get("segmentation")
        listed = parts if isinstance(parts, list) else []
        good = [part for part in listed if isinstance(part, list) and len(part) >= 6]
        if 0 < len(good) < len(listed):
            row = row | {"segmentation": good}
            self.report.add("parts", image.file_name, None, "a part of fewer than 3 points is lost")
        if self.published or parts not in ([], None):
            label = label_of(row, self.names)
            rle = segmentation_to_rle(row.get("segmentation"), image.hw)
            about = {key: row[key] for key in SA1B_KEYS if key in row}
            about["segmentation"] = {"size": rle.size, "counts": rle.counts}
            about["predicted_iou"] = row.get("predicted_iou", row.get("score", 0.0))
            mask = Mask.from_sa1b(about)
            mask = replace(mask, label=label, crowd=mask.crowd and self.crowds)
            mask = with_extras(mask, record_extra(row))
            if self.published:
                return replace(mask, drawn_box=_box(row))
            origin = origin_in(self.document, row)
            return mask if origin is None else replace(mask, origin=origin)
        if (box := _box(row)) is None:
            raise DataError("The annotation has neither `segmentation` nor `bbox`.")
        x0, y0, x1, y1 = box
        self.corners.add(box, (x0, y0, x1 - x0, y1 - y0), image.hw)
        if not self.boxes or (self.crowds and row.get("iscrowd")):
            self.report.skip(image.file_name, "a box alone")
            return None
        if (rectangle := box_to_mask(box, image.hw, label_of(row, self.names))) is None:
            self.report.skip(image.file_name, "the box is outside the image")
            return None
        return with_extras(rectangle, record_extra(row))


def rows_by_id(rows: Any, kind: str, report: LossReport) -> dict[int, dict[str, Any]]:
    """Index COCO's rows by id.

    Different rows with the same id, as in merged files, are all invalid, because references to them
    are ambiguous.
    """
    by_id: dict[int, dict[str, Any]] = {}
    doubtful = set[int]()
    for number, row in enumerate(as_list(rows, f"{kind}s")):
        with report.record(f"{kind} {number}"):
            row_id = as_whole(as_record(row, kind)["id"], "id")
            if by_id.setdefault(row_id, row) != row:
                doubtful.add(row_id)
                raise DataError(
                    f"Duplicate id {row['id']} of another {kind}. Renumber the annotations."
                )
    return {row_id: row for row_id, row in by_id.items() if row_id not in doubtful}


def category_names(rows: Any, report: LossReport) -> dict[int, str]:
    """Return COCO's class names by id; an id with two names is invalid."""
    named = []
    for number, row in enumerate(as_list([] if rows is None else rows, "categories")):
        with report.record(f"category {number}"):
            about = as_record(row, "category")
            named.append({"id": as_whole(about["id"], "id"), "name": str(about["name"])})
    return {number: row["name"] for number, row in rows_by_id(named, "category", report).items()}


def read_facts(document: Mapping[str, Any], report: LossReport) -> dict[int, int]:
    """Store info, licences and category keys in the report; return new licence ids by old ones."""
    info = document.get("info")
    metadata = dict(info) if isinstance(info, dict) else {"description": info} if info else {}
    if metadata.get("description") == ANYMASK_DESCRIPTION:
        del metadata["description"]
    add_info(report, metadata | held(document, OF_DOCUMENT))
    for row in document.get("categories") or ():
        if isinstance(row, dict) and "name" in row:
            about = held(row, OF_CATEGORY)
            if about.get("supercategory") in ("none", row["name"]):
                del about["supercategory"]
            add_class(report, str(row["name"]), about)
    rows = document.get("licenses")
    return add_licenses(report, rows if isinstance(rows, list) else [])


def image_extra(row: Mapping[str, Any], licences: Mapping[int, int]) -> dict[str, Any]:
    """Return the other keys of an image, with its licence id as renumbered in the report."""
    extra = other_keys(held(row, OF_IMAGE), ())
    if type(number := extra.get("license")) is int and number in licences:
        extra["license"] = licences[number]
    return extra


def record_extra(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the other keys of a record, with CVAT's keys moved out of its attributes."""
    if not row.keys() - OF_RECORD.own:
        return {}
    extra = other_keys(held(row, OF_RECORD), ())
    if type(extra.get("attributes")) is dict:
        extra |= {key: extra["attributes"].get(key) for key in IN_ATTRIBUTES}
        extra["attributes"] = {
            key: value for key, value in extra["attributes"].items() if key not in IN_ATTRIBUTES
        }
        extra = other_keys(extra, ())
    return extra


def file_name(row: dict[str, Any]) -> str:
    """Return an image name; LVIS has folder and name at the end of `coco_url` instead."""
    if "file_name" not in row and "coco_url" in row:
        return "/".join(str(row["coco_url"]).split("/")[-2:])
    return str(row["file_name"]).replace("\\", "/")  # some tools write Windows paths


def label_of(row: Mapping[str, Any], names: Mapping[int, str]) -> str | None:
    """Return the class name of a record; None if a file has none. Raises DataError."""
    if not names and row.get("category_id") is None:
        return None
    if (category := as_whole(row["category_id"], "category_id")) not in names:
        raise DataError(f"The category with the id {category} is missing from `categories`.")
    return names[category]


def _box(row: dict[str, Any]) -> Box | None:
    """Return the box of a record as x0, y0, x1, y1; None without a box."""
    if row.get("bbox") is None:
        return None
    x, y, wide, high = as_numbers(row["bbox"], 4, "bbox")
    return (x, y, x + wide, y + high)


def segmentation_to_rle(segmentation: Any, hw: tuple[int, int]) -> Rle:
    """Decode run-lengths or polygons of a record; a flat list of numbers is one polygon.

    Raises:
        DataError: The value is invalid, run-lengths have another size, or polygons cover no pixel.
    """
    if isinstance(segmentation, dict):
        rle = coco_to_rle(segmentation)
        if rle.size != hw:
            raise DataError(f"The mask has the size (H, W) = {rle.size}, but the image has {hw}.")
        return rle
    if not isinstance(segmentation, list) or not segmentation:
        raise DataError(
            "`segmentation` is neither run-lengths nor polygons. Expected an object with `counts` "
            f"and `size`, or [[x, y, ...], ...], given: {shown(segmentation)}."
        )
    flat = all(type(number) in (int, float) for number in segmentation)
    rle = coco_polygons_to_rle([segmentation] if flat else segmentation, hw)
    return with_area(rle, "its polygons cover")


# Writing.


def encode(
    images: list[AnnotatedImage],
    target: Path,
    report: LossReport,
    policy: Policy,
    polygons: bool = False,
) -> Iterator[OutFile]:
    """Write one file with compressed run-lengths or polygons; crowds always have run-lengths."""
    ids = category_ids(images, policy)
    rows, masks = list[dict[str, Any]](), list[Mask]()
    for image_id, image in enumerate(images, start=1):
        report_unsupported_fields(report, image, IN_RECORDS, OF_RECORD, OF_IMAGE)
        report_unlabeled(report, image)
        for number, mask in enumerate(image.masks):
            row = annotation_row(mask, image_id, ids[mask.label or UNLABELED])
            row = written_extra(mask) | row | {"id": len(rows) + 1}
            if polygons and not mask.crowd:
                before = len(report.losses)
                if not (rings := plain_rings(image, number, report, policy)):
                    continue
                row["segmentation"] = [ring.ravel().tolist() for ring in rings]
                # COCO's tools lose pixels of exact outlines that touch at corners.
                if not any(loss.kind == "pixels" for loss in report.losses[before:]):
                    note_changed(
                        image, number, report, coco_polygons_to_rle(row["segmentation"], image.hw)
                    )
            rows.append(row)
            masks.append(mask)
    document = document_facts(images, ids, policy) | {"annotations": rows}
    report_dataset_fields(report, images, policy, (CLASSES, CLASS_IDS, INFO, LICENSES), OF_CATEGORY)
    yield file_target(target), to_json(with_origins(document, masks))


def document_facts(
    images: list[AnnotatedImage], ids: Mapping[str, int], policy: Policy
) -> dict[str, Any]:
    """Return info, licences, images and categories of a document."""
    facts = policy.facts
    categories = []
    for name, number in ids.items():
        category = facts.classes.get(name, {}) | {"id": number, "name": name}
        if (color := as_color(category.get("color"))) is not None:
            category["color"] = [*bytes.fromhex(color[1:])]
        categories.append(category)
    licence = only_license(policy)
    rows = [licence | image_row(number, image) for number, image in enumerate(images, start=1)]
    terms = {"licenses": facts.licences} if facts.licences else {}
    info = {"description": ANYMASK_DESCRIPTION} | facts.info
    return {"info": info} | terms | {"images": rows, "categories": categories}


def written_extra(mask: Mask) -> dict[str, Any]:
    """Return the keys of a record besides those of COCO and SA-1B; some move to attributes."""
    extra = extras_of(mask, OF_RECORD)
    inside, attributes = held(extra, IN_ATTRIBUTES), extra.get("attributes") or {}
    if not inside or not isinstance(attributes, dict):
        return extra
    return held(extra, ExceptKeys(*IN_ATTRIBUTES)) | {"attributes": {**attributes, **inside}}


def image_row(image_id: int, image: AnnotatedImage) -> dict[str, Any]:
    """Return COCO's record of an image."""
    row = {"id": image_id, "file_name": image.file_name, "height": image.hw[0]}
    return row | {"width": image.hw[1]} | held(image.extra, OF_IMAGE)


def annotation_row(mask: Mask, image_id: int, category: int) -> dict[str, Any]:
    """Return COCO's record of a mask without the keys of `Mask.extra`."""
    written = mask.to_coco(0, image_id, category)
    return written if mask.score else held(written, ExceptKeys("predicted_iou", "score"))


def category_ids(images: list[AnnotatedImage], policy: Policy) -> dict[str, int]:
    """Return ids of class names: those of the source, else consecutive ones from 1."""
    names = class_names(images, policy.classes)
    ids = dict(zip(policy.classes, policy.class_ids, strict=False))
    free = itertools.count(max(ids.values(), default=0) + 1)
    return {name: ids[name] if name in ids else next(free) for name in names}
