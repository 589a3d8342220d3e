"""Supervisely's JSON: a project folder or its files in, annotated images out, and back.

Based on Supervisely's documentation of its annotation format ("Objects", "Image Annotation",
"Project Structure", 2024). A project has `meta.json` with the classes, and a folder per data set
with `ann/IMAGE.json` beside `img/IMAGE`. A bitmap is a PNG, compressed by zlib, in base64, at the
pixel `origin`. Masks are written as bitmaps, which keep every pixel. The corners of a rectangle are
inclusive pixels, those of a polygon lie on pixel borders. Images without a folder are in set `ds0`.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import zlib
from collections.abc import Container, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from PIL import Image

from anymask.base import BoolArray, DataError
from anymask.formats import (
    CLASSES,
    AnnotatedImage,
    LossReport,
    OutFile,
    Policy,
    add_class,
    add_info,
    as_color,
    box_ring,
    class_names,
    fields,
    find_files,
    output_stems,
    read_json,
    report_dataset_fields,
    report_unlabeled,
    report_unsupported_fields,
    ring_to_rle,
    to_json,
    with_area,
)
from anymask.images import open_image
from anymask.masks import MAX_PIXELS, UNLABELED, Mask, Masks, Rle, crop_to_rle, rle_area, rle_crop

_META = "meta.json"
_OF_META = fields.ExceptKeys("classes", "tags", "projectType")
_OF_CLASS = ("title", "shape", "id")
_OF_OBJECT = ("id", "classId", "classTitle", "geometryType", "points", "bitmap", "tags")
_OF_DOCUMENT = ("size", "objects", "tags")
_HELD = ("attributes", "description", "labelerLogin", "createdAt", "updatedAt")
_PLAIN = "ds0"  # the data set of images without a folder
_NESTED = "datasets"  # the folder for nested data sets
_WITHOUT_AREA = ("point", "line", "graph", "cuboid", "cuboid_2d", "any")
_HALF = 128  # least alpha of an object pixel


def read(source: Path, report: LossReport, image_root: Path | None = None) -> list[AnnotatedImage]:
    """Read a project, a data set's folder or a file; shapes without an area are reported.

    Raises DataError that names file, object and reason.
    """
    images = []
    if source.is_dir() and (source / _META).is_file():
        with report.record(source / _META):
            document = fields.as_record(read_json(source / _META), "the document")
            names = []
            for row in fields.as_list(document["classes"], "classes"):
                names.append(fields.as_text(fields.as_record(row, "class")["title"], "title"))
                add_class(report, names[-1], fields.other_keys(row, _OF_CLASS))
            report.list_classes(dict.fromkeys(names))
            add_info(report, fields.held(document, _OF_META))
    for path in find_files(source, ".json"):
        in_project = source.is_dir() and (source / _META).is_file()
        if in_project and path.parent.name != "ann":
            continue  # meta.json, and files of other tools
        with report.record(path):
            document = fields.as_record(read_json(path), "the document")
            images.append(_image(document, _image_name(source, path), report))
    return images


def _image_name(source: Path, path: Path) -> str:
    """Return the image path of an annotation file, relative to the source folder."""
    image = path.name[: -len(path.suffix)]
    if source.is_file():
        return image
    folders = list(path.relative_to(source).parts[:-1])
    if folders[-1:] == ["ann"]:
        folders.pop()
        if (path.parent.parent / "img" / image).is_file():
            return "/".join([*folders, "img", image])
    if folders == [_PLAIN]:
        return image
    return "/".join([*(part for part in folders if part != _NESTED), image])


def _image(document: Any, name: str, report: LossReport) -> AnnotatedImage:
    size = fields.as_record(document["size"], "size")
    hw = fields.checked_hw(size["height"], size["width"])
    masks = []
    for number, one in enumerate(fields.as_list(document["objects"], "objects")):
        with report.record(f"object {number}"):
            rle = _rle(fields.as_record(one, "object"), hw)
            label = fields.as_text(one["classTitle"], "classTitle")
            if rle is None:
                report.skip(
                    name, f"objects of type {fields.shown(one['geometryType'])} have no mask"
                )
                continue
            masks.append(Mask(rle, label, extra=_extra(one, _OF_OBJECT)))
    extra = _extra(document, _OF_DOCUMENT)
    return AnnotatedImage(file_name=name, hw=hw, masks=Masks(masks), extra=extra, layered=True)


def _extra(record: Mapping[str, Any], known: Container[str]) -> dict[str, Any]:
    """Return the other keys of a record, with its tags as attributes."""
    tags = fields.as_list(record.get("tags") or [], "tags")
    attributes = {
        fields.as_text(fields.as_record(tag, "tag")["name"], "name"): True
        if (v := tag.get("value")) is None
        else v
        for tag in tags
    }
    return fields.other_keys(record, known) | ({"attributes": attributes} if attributes else {})


def _rle(one: Any, hw: tuple[int, int]) -> Rle | None:
    """Return the pixels of an object; None for one without an area."""
    kind = one["geometryType"]
    if kind in ("bitmap", "alpha_mask"):
        stamp = _stamp_to_mask(one["bitmap"]["data"], soft=kind == "alpha_mask")
        corner = fields.as_numbers(one["bitmap"]["origin"], 2, "origin")
        return with_area(crop_to_rle(stamp, corner, hw), "its bitmap covers")
    if kind in _WITHOUT_AREA:
        return None
    if kind not in ("polygon", "rectangle"):
        raise DataError(f"Unknown shape type. Given: {fields.shown(kind)}.")
    points = fields.as_record(one["points"], "points")
    ring = fields.as_corners(points["exterior"], "exterior", 2 if kind == "rectangle" else 3)
    if kind == "rectangle":
        (x0, y0), (x1, y1) = np.sort(ring[:2], axis=0) + np.array([[0], [1]])
        ring = box_ring(x0, y0, x1, y1)
    holes = [fields.as_corners(hole, "interior") for hole in points.get("interior") or ()]
    return ring_to_rle(ring, hw, holes)


def _stamp_to_mask(text: Any, *, soft: bool) -> BoolArray:  # -> (h, w)
    """Decode a packed PNG: its visible pixels, or those above half of a soft mask."""
    try:
        packed = base64.b64decode(text, validate=True)
        data = zlib.decompressobj().decompress(packed, MAX_PIXELS)
    except (zlib.error, TypeError, ValueError):
        raise DataError(f"`data` is not a compressed PNG. Given: {fields.shown(text)}.") from None
    with open_image(data, "`data`") as image:
        seen = not soft and ("transparency" in image.info or image.mode in ("RGBA", "LA"))
        layer = image.convert("RGBA").getchannel("A") if seen else image.convert("L")
        mask: BoolArray = np.asarray(layer) >= (_HALF if soft else 1)
        return mask


# Writing.


def encode(
    images: list[AnnotatedImage], target: Path, report: LossReport, policy: Policy
) -> Iterator[OutFile]:
    """Yield the project's meta.json, and a file per image with bitmaps."""
    known = policy.facts.classes
    classes = [
        {"title": name, "shape": "bitmap", "color": as_color(about.get("color")) or _color(name)}
        for name in class_names(images, policy.classes)
        for about in [known.get(name, {})]
    ]
    report_dataset_fields(report, images, policy, (CLASSES,), ("color",))
    about = {"classes": classes, "tags": _tag_kinds(images), "projectType": "images"}
    yield target / _META, to_json(about)
    written: set[Path] = set()
    names = output_stems([image.file_name for image in images])
    for image, name in zip(images, names, strict=True):
        path = _path(name, target)
        if path in written:
            raise DataError(f"Two images have the name {image.file_name!r}. Rename one of them.")
        written.add(path)
        report_unsupported_fields(report, image, frozenset({"labels"}), _HELD, _HELD[:2])
        report_unlabeled(report, image)
        objects = []
        for number, mask in enumerate(image.masks):
            if rle_area(mask.rle):
                objects.append(_object(mask))
            else:
                report.add(
                    "empty", image.file_name, number, "an empty mask has no box; it was omitted"
                )
        height, width = image.hw
        size = {"height": height, "width": width}
        about = {"description": "", "tags": _tags(image.extra)} | fields.held(
            image.extra, _HELD[1:2]
        )
        yield path, to_json(about | {"size": size, "objects": objects})


def _path(name: PurePosixPath, target: Path) -> Path:
    """Return PROJECT/DATA SET/ann/IMAGE.json; nested folders are nested data sets."""
    folder = f"/{_NESTED}/".join(name.parent.parts) or _PLAIN
    return target / folder / "ann" / f"{name.name}.json"


def _object(mask: Mask) -> dict[str, Any]:
    crop, (x0, y0, *_) = rle_crop(mask.rle)
    stamp = Image.fromarray(crop.astype(np.uint8), "P")
    stamp.putpalette([0, 0, 0, 255, 255, 255])
    buffer = io.BytesIO()
    stamp.save(buffer, "PNG", transparency=0)
    data = base64.b64encode(zlib.compress(buffer.getvalue())).decode("ascii")
    return (
        {"description": "", "geometryType": "bitmap", "tags": _tags(mask.extra)}
        | fields.held(mask.extra, _HELD[1:])
        | {
            "classTitle": mask.label or UNLABELED,
            "bitmap": {"data": data, "origin": [int(x0), int(y0)]},
        }
    )


def _tags(extra: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return attributes as tags: with a value, or without one if the value is true."""
    found = extra.get("attributes") or {}
    attributes = found if isinstance(found, Mapping) else {"attributes": found}
    return [
        {"name": str(name), "value": None if value is True else _tag_value(value)}
        for name, value in attributes.items()
    ]


def _tag_value(value: Any) -> str | float:
    plain = isinstance(value, str | int | float) and not isinstance(value, bool)
    return value if plain else json.dumps(value)


def _tag_kinds(images: Sequence[AnnotatedImage]) -> list[dict[str, Any]]:
    """Return the tags of a project, each with the type of its values."""
    values: dict[str, list[Any]] = {}
    for one in (one for image in images for one in (image, *image.masks)):
        for tag in _tags(one.extra):
            values.setdefault(tag["name"], []).append(tag["value"])
    kinds = []
    for name, few in values.items():
        present = [value for value in few if value is not None]
        number = all(isinstance(value, int | float) for value in present)
        kind = "any_number" if number else "any_string"
        kinds.append(
            {"name": name, "value_type": kind if present else "none", "color": _color(name)}
        )
    return kinds


def _color(name: str) -> str:
    """Return a color that is constant for each class."""
    return "#" + hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:6].upper()
