"""COCO instances: one JSON with run-lengths or polygons in, annotated images out, and back.

Layout: the format page of the COCO data set; LVIS names its pictures otherwise. Run-lengths keep
every pixel, also of objects that are no crowd. Polygons keep parts, and holes as the policy says;
they are filled as pycocotools does it, pixel for pixel. Beside COCO's own keys we write those of
SA-1B (`predicted_iou`, ...) and `group_id`. Ids are given anew, from 1 on.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from anymask.base import DataError
from anymask.formats.annotations import (
    IN_RECORDS,
    AnnotatedImage,
    LossReport,
    class_names,
    note_traits,
    note_unlabelled,
)
from anymask.formats.documents import (
    Fit,
    OutFile,
    Sniffed,
    checked_hw,
    find_files,
    located,
    read_json,
    refuse_boxes,
    to_json,
)
from anymask.formats.origins import origin_in, with_origins
from anymask.formats.outlines import Policy, box_to_mask, note_changed, plain_rings
from anymask.masks import UNLABELLED, Box, Mask, Masks, Rle, coco_polygons_to_rle, coco_to_rle

KEPT = ("stability_score", "point_coords", "crop_box", "group_id", "iscrowd")  # of SA-1B


def sniff(found: Sniffed) -> Fit:
    """JSON of images and annotations. Raises DataError for JSON of videos."""
    if "videos" in found.keys and "images" not in found.keys:
        raise DataError(
            f"{found.path}: JSON of videos, as YouTube-VIS has it, is read with its frames; call "
            "it annotations_train.json, beside train/VIDEO/00000.jpg, and give the folder with "
            "--split train"
        )
    return Fit.sure({"images", "annotations"} <= found.keys and not has_segments(found))


def has_segments(found: Sniffed) -> bool:
    """Whether the first annotation of a JSON is a panoptic one."""
    rows = found.document["annotations"]
    first = rows[0] if isinstance(rows, list) and rows else None
    return isinstance(first, dict) and "segments_info" in first


def read(
    source: Path, report: LossReport, pictures: Path | None = None, *, boxes: bool = False
) -> list[AnnotatedImage]:
    """Read one file or a folder of them. Raises DataError that names file, record and reason.

    boxes  whether records of a box alone come as rectangles
    """
    images = []
    for path in find_files(source, ".json"):
        document = read_json(path)
        with located(path):
            images += [image for _, image in read_document(document, report, boxes=boxes)]
    if not boxes:
        refuse_boxes(source, images, report, "mask")
    return images


def read_document(
    document: Any, report: LossReport | None, *, boxes: bool = False
) -> Iterator[tuple[dict[str, Any], AnnotatedImage]]:
    """The rows of a document's images, each with its masks, which are decoded one by one.

    report  is told of records without a mask; None: they are errors, and `bbox` is the drawn box
    boxes   whether records of a box alone come as rectangles

    Raises DataError that names the record.
    """
    names = category_names(document.get("categories", []))
    rows = rows_by_id(document["images"], "image")
    annotations: dict[int, list[tuple[str, Any]]] = {number: [] for number in rows}
    for number, row in enumerate(document["annotations"]):
        with located(f"annotation {number}"):
            where = f"annotation {number} (id {row.get('id')})"
        with located(where):
            if int(row["image_id"]) not in rows:
                raise DataError(f"there is no image with the id {row['image_id']}")
            annotations[int(row["image_id"])].append((where, row))
    for number, (image_id, about) in enumerate(rows.items()):
        with located(f"image {number}"):
            image = AnnotatedImage(
                file_name=file_name(about), hw=checked_hw(about["height"], about["width"])
            )
        masks = Masks()
        for where, row in annotations[image_id]:
            with located(where):
                if report is None:
                    masks.append(replace(_mask(row, image.hw, names), drawn_box=_box(row)))
                    continue
                if row.get("segmentation", []) not in ([], None):
                    mask = _mask(row, image.hw, names)
                    masks.append(replace(mask, origin=origin_in(document, row)))
                    continue
                alone = not boxes or row.get("iscrowd")
                box = None if alone else _box(row)
                found = None if box is None else box_to_mask(box, image.hw, _label_of(row, names))
                if found is not None:
                    masks.append(found)
                    continue
                reason = "is a box alone" if alone else "is a box off the picture"
                report.add("shapes", image.file_name, None, f"{where} {reason}")
        yield about, replace(image, masks=masks)


def rows_by_id(rows: Iterable[Any], kind: str) -> dict[int, dict[str, Any]]:
    """COCO's rows by their ids. Raises DataError for two that differ, as in files put together."""
    found: dict[int, dict[str, Any]] = {}
    for number, row in enumerate(rows):
        with located(f"{kind} {number}"):
            if found.setdefault(int(row["id"]), row) != row:
                raise DataError(
                    f"has the id {row['id']} of another {kind}; number those of one file anew, and "
                    "their annotations with them"
                )
    return found


def category_names(rows: Iterable[Any]) -> dict[int, str]:
    """COCO's names of classes by their ids. Raises DataError for one id of two names."""
    rows = [{"id": row["id"], "name": str(row["name"])} for row in rows]
    return {number: row["name"] for number, row in rows_by_id(rows, "category").items()}


def file_name(row: dict[str, Any]) -> str:
    """A picture's name; LVIS has the folder and name at the end of `coco_url` instead."""
    if "file_name" not in row and "coco_url" in row:
        return "/".join(str(row["coco_url"]).split("/")[-2:])
    return str(row["file_name"]).replace("\\", "/")  # some tools write those of Windows


def _label_of(row: dict[str, Any], names: dict[int, str]) -> str | None:
    if not names and row.get("category_id") is None:
        return None
    if (category := int(row["category_id"])) not in names:
        raise DataError(f"there is no category with the id {category}")
    return names[category]


def _box(row: dict[str, Any]) -> Box | None:
    """A record's box, as x0, y0, x1, y1; None where it has none."""
    if "bbox" not in row:
        return None
    x, y, wide, high = (float(number) for number in row["bbox"][:4])
    return (x, y, x + wide, y + high)


def _mask(row: dict[str, Any], hw: tuple[int, int], names: dict[int, str]) -> Mask:
    label = _label_of(row, names)
    rle = segmentation_to_rle(row.get("segmentation"), hw)
    if rle.size != hw:
        raise DataError(f"the mask is {rle.size} (height, width), the picture {hw}")
    told = {key: row[key] for key in KEPT if key in row}
    quality = row.get("predicted_iou", row.get("score", 0.0))
    about = {"segmentation": {"size": rle.size, "counts": rle.counts}, "predicted_iou": quality}
    return replace(Mask.from_sa1b(about | told), label=label)


def segmentation_to_rle(segmentation: Any, hw: tuple[int, int]) -> Rle:
    """A record's run-lengths or polygons. Raises DataError."""
    if isinstance(segmentation, dict):
        return coco_to_rle(segmentation)
    if not isinstance(segmentation, list) or not segmentation:
        raise DataError(
            "wanted a `segmentation` of run-lengths or polygons; a record of a box alone has no "
            "mask, remove it"
        )
    return coco_polygons_to_rle(segmentation, hw)


# Writing.


def encode(
    images: list[AnnotatedImage],
    target: Path,
    report: LossReport,
    policy: Policy,
    polygons: bool = False,
) -> Iterator[OutFile]:
    """One file with compressed run-lengths, or polygons; a crowd's masks are always run-lengths."""
    ids = category_ids(images, policy)
    rows, kept = list[dict[str, Any]](), list[Mask]()
    for image_id, image in enumerate(images, start=1):
        note_traits(report, image, IN_RECORDS)
        note_unlabelled(report, image)
        for number, mask in enumerate(image.masks):
            row = _annotation(mask, image_id, ids) | {"id": len(rows) + 1}
            if polygons and not mask.crowd:
                before = len(report.losses)
                rings = plain_rings(image, number, report, policy)
                if not rings:
                    continue
                row["segmentation"] = [ring.ravel().tolist() for ring in rings]
                # COCO's tools lose pixels of exact outlines where corners touch.
                if not any(loss.kind == "pixels" for loss in report.losses[before:]):
                    again = coco_polygons_to_rle(row["segmentation"], image.hw)
                    note_changed(image, number, report, again)
            rows.append(row)
            kept.append(mask)
    document = {
        "info": {"description": "written by anymask"},
        "images": [image_row(number, image) for number, image in enumerate(images, start=1)],
        "annotations": rows,
        "categories": [{"id": number, "name": name} for name, number in ids.items()],
    }
    yield json_target(target), to_json(with_origins(document, kept))


def image_row(image_id: int, image: AnnotatedImage) -> dict[str, Any]:
    """COCO's record of a picture."""
    height, width = image.hw
    return {"id": image_id, "file_name": image.file_name, "height": height, "width": width}


def json_target(target: Path) -> Path:
    """The file itself. Raises DataError when it does not end in .json."""
    if target.suffix.lower() != ".json":
        raise DataError(f"{target}: this format is one file; end its name in .json")
    return target


def _annotation(mask: Mask, image_id: int, ids: dict[str, int]) -> dict[str, Any]:
    written = mask.to_coco(0, image_id, ids[mask.label or UNLABELLED])
    if not mask.score:  # nobody gave it one
        for key in ("predicted_iou", "score"):
            written.pop(key)
    return written


def category_ids(images: list[AnnotatedImage], policy: Policy) -> dict[str, int]:
    """Class names and their ids, from 1 on."""
    names = class_names(images, policy.classes)
    return {name: number for number, name in enumerate(names, start=1)}
