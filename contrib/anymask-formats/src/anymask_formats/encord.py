"""Encord: one JSON file of label rows for all images.

Based on Encord's documentation of the JSON export and of its SDK 0.1 (objects, bitmasks). A label
row has data units, one for each image; coordinates are fractions of the image's width and height. A
bitmask is COCO's run-length string, but row by row, in a window of the image. Bitmasks are written,
because they keep every pixel. Hashes are newly generated; the project's ontology must contain the
labels.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from anymask.base import DataError
from anymask.formats import (
    CLASSES,
    AnnotatedImage,
    LossReport,
    OutFile,
    Policy,
    add_class,
    as_color,
    box_ring,
    class_names,
    fields,
    find_files,
    name_uuid,
    polygons_to_rle,
    read_json,
    report_dataset_fields,
    report_unlabeled,
    report_unsupported_fields,
    ring_to_rle,
    to_json,
)
from anymask.masks import (
    UNLABELED,
    Mask,
    Masks,
    Polygon,
    Rle,
    crop_to_rle,
    mask_to_rle,
    rle_area,
    rle_to_mask,
    rle_to_string,
    string_to_rle,
    turned_ring,
)

ONTOLOGY = ".ontology.json"  # suffix of the class file beside the labels
_OF_CLASS = ("id", "name", "shape", "featureNodeHash")
_OF_UNIT = (
    "data_hash", "data_title", "data_type", "data_sequence", "width", "height", "labels",
    "data_link",
)  # fmt: skip
_OF_ROW = (
    "label_hash", "data_hash", "data_title", "data_type", "data_units", "object_answers",
    "object_actions", "label_status",
)  # fmt: skip
_OF_ROW_HELD = ("dataset_hash", "dataset_title", "created_at", "last_edited_at")
_OF_OBJECT = (
    "name", "value", "color", "shape", "bitmask", "polygon", "polygons", "boundingBox",
    "rotatableBoundingBox", "objectHash", "featureHash", "confidence", "manualAnnotation",
)  # fmt: skip
_HELD = ("attributes", "createdAt", "createdBy", "lastEditedAt", "lastEditedBy")
_WITHOUT_AREA = ("point", "polyline", "skeleton", "cuboid", "audio", "text")


def read(source: Path, report: LossReport, image_root: Path | None = None) -> list[AnnotatedImage]:
    """Read a file or a folder of files; shapes without area and video frames are reported.

    Raises DataError that names file, label row, image, object and reason.
    """
    images = []
    for path in find_files(source, ".json"):
        if path.name.endswith(ONTOLOGY) and path != source:
            continue
        with report.record(path):
            document = read_json(path)
            rows = document if isinstance(document, list) else [document]
            for number, row in enumerate(rows):
                with report.record(f"label row {number}"):
                    units = fields.as_record(
                        fields.as_record(row, "label row")["data_units"], "data_units"
                    )
                    for key, unit in units.items():
                        name = unit.get("data_title", key) if isinstance(unit, dict) else key
                        with report.record(name):
                            images.append(_image(fields.as_record(unit, "data unit"), row, report))
        _take_ontology(path.with_suffix(ONTOLOGY), report)
    return images


def _take_ontology(path: Path, report: LossReport) -> None:
    """Store the classes of the ontology beside a file, if there is one."""
    if not path.is_file():
        return
    with report.record(path):
        names = []
        document = fields.as_record(read_json(path), "the document")
        for row in fields.as_list(document["objects"], "objects"):
            names.append(fields.as_text(fields.as_record(row, "object")["name"], "name"))
            add_class(report, names[-1], fields.other_keys(row, _OF_CLASS))
        report.list_classes(dict.fromkeys(names))


def _image(unit: Any, row: Any, report: LossReport) -> AnnotatedImage:
    name = fields.as_text(unit["data_title"], "data_title")
    labels = fields.as_record(unit.get("labels") or {}, "labels")
    hw = fields.checked_hw(unit["height"], unit["width"])
    if "objects" not in labels and labels:
        report.add(
            "frames", name, None, f"the {len(labels)} labeled frames of a video are not read"
        )
    masks = []
    for number, one in enumerate(fields.as_list(labels.get("objects", []), "objects")):
        with report.record(f"object {number}"):
            rle = _rle(fields.as_record(one, "object"), hw)
            label = fields.as_text(one["name"], "name")
            if rle is None:
                report.skip(name, f"objects of shape {fields.shown(one['shape'])} have no mask")
                continue
            by_hand = one.get("manualAnnotation", True)
            score = 0.0 if by_hand else fields.as_number(one.get("confidence", 0), "confidence")
            masks.append(Mask(rle, label, score=score, extra=_extra(one, row)))
    extra = fields.other_keys(unit, _OF_UNIT) | fields.other_keys(row, _OF_ROW)
    if labels.get("classifications"):
        extra["classifications"] = labels["classifications"]
    return AnnotatedImage(file_name=name, hw=hw, masks=Masks(masks), extra=extra)


def _extra(one: Any, row: Any) -> dict[str, Any]:
    """Return the other keys of an object, and its answers as attributes."""
    answers = fields.as_record(row.get("object_answers") or {}, "object_answers")
    record = fields.as_record(answers.get(one.get("objectHash")) or {}, "object answers")
    listed = fields.as_list(record.get("classifications") or [], "classifications")
    attributes = {
        fields.as_text(fields.as_record(answer, "answer")["name"], "name"): _answer(
            answer.get("answers")
        )
        for answer in listed
    }
    return fields.other_keys(one, _OF_OBJECT) | ({"attributes": attributes} if attributes else {})


def _answer(value: Any) -> Any:
    """Return a text, or the name of the selected option; several options are unchanged."""
    is_one = isinstance(value, list) and len(value) == 1 and isinstance(value[0], dict)
    return value[0].get("name", value) if is_one else value


def _rle(one: Any, hw: tuple[int, int]) -> Rle | None:
    """Return the pixels of an object; None if it has no area."""
    shape, scale = one["shape"], np.array(hw[::-1], np.float64)
    if shape == "bitmask":
        about = one["bitmask"]
        size = fields.checked_hw(about["height"], about["width"])
        rows = string_to_rle(about["rleString"], size[::-1])  # row by row: transposed
        corner = [fields.as_whole(about[key], key) for key in ("left", "top")]
        return crop_to_rle(rle_to_mask(rows).T, corner, hw)
    if shape == "polygon":
        polygons = [_rings(part, scale) for part in one.get("polygons") or ()]
        if not polygons:
            corners = one["polygon"]
            listed = corners.values() if isinstance(corners, dict) else corners
            ring = fields.as_corners([(corner["x"], corner["y"]) for corner in listed], "polygon")
            polygons = [Polygon(ring * scale)]
        return polygons_to_rle(polygons, hw)
    if shape in ("bounding_box", "rotatable_bounding_box"):
        box = one["boundingBox" if shape == "bounding_box" else "rotatableBoundingBox"]
        x, y, wide, high = (fields.as_number(box[key], key) for key in "xywh")
        ends = box_ring(x, y, x + wide, y + high) * scale
        ring = turned_ring(ends, ends.mean(axis=0), fields.as_number(box.get("theta", 0), "theta"))
        return ring_to_rle(ring, hw)
    if shape in _WITHOUT_AREA:
        return None
    raise DataError(f"Unknown shape type. Given: {fields.shown(shape)}.")


def _rings(part: Any, scale: Any) -> Polygon:
    """Read one part of a polygon: flat lists of x and y, the outline first, then its holes."""
    rings = []
    for flat in fields.as_list(part, "polygons"):
        if len(numbers := fields.as_list(flat, "polygons")) % 2:
            raise DataError(f"Odd count of numbers: {len(numbers)}. Expected pairs of x and y.")
        rings.append(fields.as_corners([*zip(numbers[::2], numbers[1::2], strict=True)]) * scale)
    if not rings:
        raise DataError("The polygon has too few points: it has no ring.")
    return Polygon(rings[0], tuple(rings[1:]))


# Writing.


def encode(
    images: list[AnnotatedImage], target: Path, report: LossReport, policy: Policy
) -> Iterator[OutFile]:
    """Write one file with bitmasks, a label row for each image."""
    rows = []
    for image in images:
        report_unsupported_fields(
            report, image, frozenset({"labels", "scores"}), _HELD, _OF_ROW_HELD
        )
        report_unlabeled(report, image)
        objects = []
        for number, mask in enumerate(image.masks):
            if rle_area(mask.rle):
                objects.append(_object(image, number))
            else:
                report.add("empty", image.file_name, number, "an empty mask was omitted")
        rows.append(_row(image, objects))
    report_dataset_fields(report, images, policy, (CLASSES,), ("color",))
    if target.suffix.lower() != ".json":
        raise DataError(f"{target}: This format is a single file. Use a name ending in .json.")
    yield target, to_json(rows)
    yield target.with_suffix(ONTOLOGY), to_json(_ontology(images, policy))


def _ontology(images: list[AnnotatedImage], policy: Policy) -> dict[str, Any]:
    """Return the classes as an ontology of Encord."""
    objects = [
        {
            "id": str(number),
            "name": name,
            "color": as_color(policy.facts.classes.get(name, {}).get("color"))
            or f"#{_short_hash(name)[:6]}",
            "shape": "bitmask",
            "featureNodeHash": _short_hash(name),
        }
        for number, name in enumerate(class_names(images, policy.classes), start=1)
    ]
    return {"objects": objects, "classifications": []}


def _row(image: AnnotatedImage, objects: list[dict[str, Any]]) -> dict[str, Any]:
    height, width = image.hw
    data = name_uuid(image.file_name)
    unit = {
        "data_hash": data,
        "data_title": image.file_name,
        "data_type": "image/png" if image.name.lower().endswith(".png") else "image/jpeg",
        "data_sequence": 0,
        "width": width,
        "height": height,
        "labels": {"objects": objects, "classifications": []},
    }
    answers = {
        one["objectHash"]: {
            "objectHash": one["objectHash"],
            "classifications": one.pop("classifications"),
        }
        for one in objects
    }
    return fields.held(image.extra, _OF_ROW_HELD) | {
        "label_hash": name_uuid(f"{image.file_name}#labels"),
        "data_hash": data,
        "data_title": image.file_name,
        "data_type": "image",
        "data_units": {data: unit},
        "object_answers": answers,
        "classification_answers": {},
        "object_actions": {},
        "label_status": "LABELLED",
    }


def _object(image: AnnotatedImage, number: int) -> dict[str, Any]:
    mask = image.masks[number]
    label, (height, width) = mask.label or UNLABELED, image.hw
    along_rows = mask_to_rle(rle_to_mask(mask.rle).T)
    window = {"top": 0, "left": 0, "width": width, "height": height}
    return fields.held(mask.extra, _HELD[1:]) | {
        "classifications": _answers(mask.extra),
        "name": label,
        "value": label.lower().replace(" ", "_"),
        "color": f"#{_short_hash(label)[:6]}",  # derived from the class name
        "shape": "bitmask",
        "bitmask": window | {"rleString": rle_to_string(along_rows)},
        "objectHash": _short_hash(f"{image.file_name}#{number}"),
        "featureHash": _short_hash(label),
        "confidence": mask.score or 1,
        "manualAnnotation": not mask.score,
    }


def _answers(extra: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Convert attributes to answers of the ontology."""
    found = extra.get("attributes") or {}
    attributes = found if isinstance(found, Mapping) else {"attributes": found}
    return [
        {
            "name": name,
            "value": str(name).lower().replace(" ", "_"),
            "answers": value if isinstance(value, str) else json.dumps(value),
            "featureHash": _short_hash(str(name)),
            "manualAnnotation": True,
        }
        for name, value in attributes.items()
    ]


def _short_hash(text: str) -> str:
    """Return a stable hash of eight characters, like Encord's own hashes."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]
