"""V7's Darwin JSON 2.0: a file per image in, annotated images out, and back.

Based on V7's documentation ("Darwin JSON Format", version 2.0). A polygon's `paths` are its
outlines and holes, filled by the even-odd rule: parts and holes are preserved. Masks of V7's brush
share one `raster_layer`, with alternating values and lengths along the rows. Masks are written as
polygons, which may overlap, unlike a raster layer. `item.path` and `item.name` are the image.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
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
    box_to_mask,
    class_names,
    even_odd_to_rle,
    fields,
    find_files,
    find_named,
    name_uuid,
    outline,
    output_paths,
    read_hw,
    read_json,
    report_dataset_fields,
    report_unlabeled,
    report_unsupported_fields,
    ring_to_rle,
    to_json,
    with_area,
)
from anymask.masks import (
    MAX_PIXELS,
    UNLABELED,
    Mask,
    Masks,
    Rle,
    crop_to_rle,
    ellipse_ring,
    rle_area,
    rle_box_xywh,
    rle_crop,
    runs_to_rle,
)

VERSION = "2.0"  # version of Darwin JSON
METADATA = ".v7/metadata.json"  # in an export's folder
_OF_CLASS = ("name", "type", "color", "properties", "sub_types", "id", "slug")
_OF_ITEM = ("name", "path", "slots")
_OF_ITEM_HELD = ("source_info", "team", "dataset", "tags")
_OF_DOCUMENT = ("version", "schema_ref", "item", "annotations")
_OF_ANNOTATION = (
    "id", "name", "polygon", "ellipse", "mask", "raster_layer", "bounding_box", "slot_names",
    "ranges", "instance_id", "inference", "attributes", "properties", "text",
)  # fmt: skip
_HELD = ("attributes", "description", "annotators", "reviewers", "created_at", "updated_at")
_RGBA = re.compile(r"rgba?\((\d+),\s*(\d+),\s*(\d+)")
_WITHOUT_AREA = (
    "tag", "line", "keypoint", "skeleton", "string", "graph", "link", "cuboid",
    "directional_vector", "simple_table", "eye", "frames",
)  # fmt: skip


def read(source: Path, report: LossReport, image_root: Path | None = None) -> list[AnnotatedImage]:
    """Read a file or a folder; annotations without an area and of videos are reported.

    Raises DataError that names file, annotation and reason.
    """
    images = []
    for path in find_files(source, ".json"):
        with report.record(path):
            document = fields.as_record(read_json(path), "the document")
            images.append(_image(document, report, image_root))
    return images


def _image(document: Any, report: LossReport, image_root: Path | None) -> AnnotatedImage:
    item = fields.as_record(document["item"], "item")
    folder = str(item.get("path") or "/").strip("/")
    name = f"{folder}/{item['name']}" if folder else str(item["name"])
    hw = _hw(item, name, image_root)
    annotations = fields.as_list(document["annotations"], "annotations")
    stamps = _stamps(annotations, hw, report)
    masks = []
    for number, annotation in enumerate(annotations):
        if isinstance(annotation, dict) and "raster_layer" in annotation:
            continue
        with report.record(f"annotation {number}"):
            label = fields.as_text(fields.as_record(annotation, "annotation")["name"], "name")
            if "mask" in annotation:
                rle = stamps.get(annotation.get("id"))
            else:
                rle = _rle(annotation, hw)
            if rle is None:
                report.skip(name, _reason(annotation))
                continue
            instance = annotation.get("instance_id")
            group = None if instance is None else fields.as_whole(instance["value"], "instance_id")
            inference = fields.as_record(annotation.get("inference") or {}, "inference")
            score = fields.as_number(inference.get("confidence") or 0, "confidence")
            masks.append(Mask(rle, label, id=group, score=score, extra=_extra(annotation)))
    extra = fields.other_keys(item, _OF_ITEM) | fields.other_keys(document, _OF_DOCUMENT)
    return AnnotatedImage(file_name=name, hw=hw, masks=Masks(masks), extra=extra)


def _extra(annotation: Any) -> dict[str, Any]:
    """Return the other keys of an annotation, with its attributes and properties as attributes."""
    listed = fields.as_list(annotation.get("attributes") or [], "attributes")
    attributes: dict[str, Any] = {fields.as_text(name, "attribute"): True for name in listed}
    for row in fields.as_list(annotation.get("properties") or [], "properties"):
        name = fields.as_text(fields.as_record(row, "property")["name"], "name")
        value = row.get("value")
        attributes[name] = f"{attributes[name]}, {value}" if name in attributes else value
    text = fields.as_record(annotation.get("text") or {}, "text").get("text")
    values = {"attributes": attributes, "description": text}
    return fields.other_keys(annotation, _OF_ANNOTATION) | fields.other_keys(values, ())


def _reason(annotation: Mapping[str, Any]) -> str:
    """Return the reason why an annotation has no mask."""
    if "mask" in annotation:
        return "the mask has no pixels in the raster layer"
    kind = next((key for key in _WITHOUT_AREA if key in annotation), None)
    return "the box is outside the image" if kind is None else f"shapes of type {kind} have no mask"


def _hw(item: Any, name: str, image_root: Path | None) -> tuple[int, int]:
    """Return the size (H, W) in the item's first slot, or that of the image."""
    slot = item["slots"][0] if item.get("slots") else {}
    if slot.get("height") and slot.get("width"):
        return fields.checked_hw(slot["height"], slot["width"])
    image = find_named(image_root, name)
    if image is None:
        raise DataError("The slot has no width and height. Pass the folder of the images.")
    return read_hw(image)


def _stamps(annotations: list[Any], hw: tuple[int, int], report: LossReport) -> dict[str, Rle]:
    """Return the masks of the raster layers by annotation id."""
    found: dict[str, Rle] = {}
    for number, annotation in enumerate(annotations):
        layer = annotation.get("raster_layer") if isinstance(annotation, dict) else None
        if layer is None:
            continue
        with report.record(f"annotation {number}"):
            values, lengths = np.asarray(layer["dense_rle"], np.int64).reshape(-1, 2).T
            pixels = math.prod(fields.checked_hw(*hw, MAX_PIXELS))
            if not ((lengths >= 0) & (lengths <= pixels)).all() or lengths.sum() != pixels:
                raise DataError(
                    f"`dense_rle` has {int(lengths.sum())} pixels, but the image has "
                    f"{hw[1]} x {hw[0]}."
                )
            ends = lengths.cumsum()
            for key, value in layer["mask_annotation_ids_mapping"].items():
                own = (values == int(value)) & (lengths > 0)
                rows = runs_to_rle(ends[own] - lengths[own], ends[own], hw[::-1])  # transposed
                inside, (y0, x0, *_) = rle_crop(rows)
                found[key] = crop_to_rle(inside.T, (x0, y0), hw)
    return found


def _rle(annotation: Any, hw: tuple[int, int]) -> Rle | None:
    """Return the pixels of an outline or a box; None for annotations without an area."""
    if "polygon" in annotation:
        about = annotation["polygon"]
        paths = about["paths"] if "paths" in about else [about["path"]]
        rings = [
            fields.as_corners(
                [(corner["x"], corner["y"]) for corner in fields.as_list(path, "path")]
            )
            for path in paths
        ]
        return with_area(even_odd_to_rle(rings, hw))
    if "ellipse" in annotation:
        about = annotation["ellipse"]
        center, radii = (
            [fields.as_number(about[key][axis], key) for axis in "xy"]
            for key in ("center", "radius")
        )
        angle = math.degrees(fields.as_number(about.get("angle", 0), "angle"))
        return ring_to_rle(ellipse_ring(center, radii, angle), hw)
    if "bounding_box" in annotation and not any(key in annotation for key in _WITHOUT_AREA):
        x, y, wide, high = (
            fields.as_number(annotation["bounding_box"][key], key) for key in "xywh"
        )
        mask = box_to_mask((x, y, x + wide, y + high), hw)
        return None if mask is None else mask.rle
    if not any(key in annotation for key in _WITHOUT_AREA):
        raise DataError(f"Unknown shape type. Given: the keys {sorted(annotation)}.")
    return None


# Writing.


def encode(
    images: list[AnnotatedImage], target: Path, report: LossReport, policy: Policy
) -> Iterator[OutFile]:
    """Yield a file per image, with polygons of several paths."""
    paths = output_paths(images, target, ".json")
    for image, path in zip(images, paths, strict=True):
        report_unsupported_fields(
            report, image, frozenset({"labels", "ids", "scores"}), _HELD, _OF_ITEM_HELD
        )
        report_unlabeled(report, image)
        name, (height, width) = PurePosixPath(image.file_name), image.hw
        slot = {"type": "image", "slot_name": "0", "width": width, "height": height}
        files = [{"file_name": name.name, "url": None}]
        item = fields.held(image.extra, _OF_ITEM_HELD) | {
            "name": name.name,
            "path": "/" + str(name.parent).strip("/.") if name.name else "/",
            "slots": [slot | {"source_files": files}],
        }
        records = []
        for number, mask in enumerate(image.masks):
            if rle_area(mask.rle):
                records.append(_annotation(image, number, report, policy))
            else:
                report.add(
                    "empty", image.file_name, number, "an empty mask has no path; it was omitted"
                )
        yield path, to_json({"version": VERSION, "item": item, "annotations": records})
    is_folder = target.suffix.lower() != ".json"
    report_dataset_fields(report, images, policy, (CLASSES,) if is_folder else (), ("color",))
    if is_folder:
        yield target / METADATA, to_json(_metadata(images, policy))


def _metadata(images: list[AnnotatedImage], policy: Policy) -> dict[str, Any]:
    """Return the list of classes in the layout of V7's exports."""
    classes = []
    for name in class_names(images, policy.classes):
        color = as_color(policy.facts.classes.get(name, {}).get("color"))
        rgb = bytes.fromhex(color[1:] if color else "ff0000")
        shown = "rgba({},{},{},1.0)".format(*rgb)
        classes.append({"name": name, "type": "polygon", "color": shown, "properties": []})
    return {"version": "1.0", "classes": classes}


def read_classes(source: Path, report: LossReport) -> None:
    """Keep the class list of an export's folder, if it has one."""
    path = (source if source.is_dir() else source.parent) / METADATA
    if not path.is_file():
        return
    with report.record(path):
        names = []
        document = fields.as_record(read_json(path), "the document")
        for row in fields.as_list(document.get("classes", []), "classes"):
            names.append(fields.as_text(fields.as_record(row, "class")["name"], "name"))
            found = _RGBA.match(str(row.get("color")))
            color = [int(number) for number in found.groups()] if found else None
            add_class(report, names[-1], {"color": color} | fields.other_keys(row, _OF_CLASS))
        report.list_classes(dict.fromkeys(names))


def _annotation(
    image: AnnotatedImage, number: int, report: LossReport, policy: Policy
) -> dict[str, Any]:
    mask = image.masks[number]
    rings = [
        ring
        for polygon in outline(image, number, report, policy)
        for ring in (polygon.exterior, *polygon.holes)
    ]
    paths = [[{"x": x, "y": y} for x, y in ring.tolist()] for ring in rings]
    box = dict(zip("xywh", map(float, rle_box_xywh(mask.rle)), strict=True))
    written = {
        "id": name_uuid(f"{image.file_name}#{number}"),
        "name": mask.label or UNLABELED,
        "polygon": {"paths": paths},
        "bounding_box": box,
        "slot_names": ["0"],
    }
    if mask.id is not None:
        written["instance_id"] = {"value": mask.id}
    if mask.score:
        written["inference"] = {"confidence": mask.score}
    return fields.held(mask.extra, _HELD[2:]) | written | _written_attributes(mask.extra)


def _written_attributes(extra: Mapping[str, Any]) -> dict[str, Any]:
    """Return V7's attributes (without values), properties (with values) and the description."""
    found = extra.get("attributes") or {}
    attributes = found if isinstance(found, Mapping) else {"attributes": found}
    properties = [
        {"frame_index": 0, "name": name, "value": value if isinstance(value, str) else str(value)}
        for name, value in attributes.items()
        if value is not True
    ]
    about = {
        "attributes": [name for name, value in attributes.items() if value is True],
        "properties": properties,
        "text": {"text": extra["description"]} if extra.get("description") else None,
    }
    return fields.other_keys(about, ())
