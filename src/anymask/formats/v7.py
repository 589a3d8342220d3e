"""V7's Darwin JSON 2.0: a file a picture in, annotated images out, and back.

Learned from V7's documentation ("Darwin JSON Format", version 2.0). A polygon's `paths` are its
outlines, holes among them, and are filled by the even-odd rule: parts and holes come back. Masks of
V7's brush are all in one `raster_layer`, value and length in turn along the rows. We write
polygons: they may overlap, which a raster layer cannot. `item.path` and `item.name` are the photo.
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from anymask.base import DataError
from anymask.formats.annotations import AnnotatedImage, LossReport, note_traits, note_unlabelled
from anymask.formats.documents import (
    Fit,
    OutFile,
    Sniffed,
    checked_hw,
    find_files,
    hw_of_photo,
    output_paths,
    read_json,
    to_json,
)
from anymask.formats.fields import as_corners, as_list, as_number, as_record, as_text, as_whole
from anymask.formats.outlines import Policy, box_to_mask, filled, outline
from anymask.masks import (
    UNLABELLED,
    Mask,
    Masks,
    Polygon,
    Rle,
    ellipse_ring,
    mask_to_rle,
    polygons_to_mask,
    rle_area,
    rle_box_xywh,
)

VERSION = "2.0"  # of Darwin JSON
_WITHOUT_AREA = (
    "tag", "line", "keypoint", "skeleton", "string", "graph", "link", "cuboid",
    "directional_vector", "simple_table", "eye", "frames",
)  # fmt: skip


def sniff(found: Sniffed) -> Fit:
    """JSON with an item and annotations."""
    return Fit.sure({"item", "annotations"} <= found.keys)


def read(source: Path, report: LossReport, pictures: Path | None = None) -> list[AnnotatedImage]:
    """Read a file or a folder of them; annotations without an area and of videos are reported.

    Raises DataError that names file, annotation and reason.
    """
    images = []
    for path in find_files(source, ".json"):
        with report.record(path):
            document = as_record(read_json(path), "the document")
            images.append(_image(document, report, pictures))
    return images


def _image(document: Any, report: LossReport, pictures: Path | None) -> AnnotatedImage:
    item = as_record(document["item"], "item")
    folder = str(item.get("path") or "/").strip("/")
    name = f"{folder}/{item['name']}" if folder else str(item["name"])
    hw = _hw(item, name, pictures)
    annotations = as_list(document["annotations"], "annotations")
    stamps = _stamps(annotations, hw, report)
    masks = []
    for number, annotation in enumerate(annotations):
        if isinstance(annotation, dict) and "raster_layer" in annotation:
            continue
        with report.record(f"annotation {number}"):
            label = as_text(as_record(annotation, "annotation")["name"], "name")
            if "mask" in annotation:
                rle = stamps.get(annotation.get("id"))
            else:
                rle = _rle(annotation, hw)
            if rle is None:
                report.skip(name, _reason(annotation))
                continue
            instance = annotation.get("instance_id")
            group = None if instance is None else as_whole(instance["value"], "instance_id")
            masks.append(Mask(rle, label, id=group))
    return AnnotatedImage(file_name=name, hw=hw, masks=Masks(masks))


def _reason(annotation: Mapping[str, Any]) -> str:
    """Why an annotation has no mask."""
    if "mask" in annotation:
        return "a mask without pixels in the raster layer"
    kind = next((key for key in _WITHOUT_AREA if key in annotation), None)
    return "a box off the picture" if kind is None else f"a {kind} has no mask"


def _hw(item: Any, name: str, pictures: Path | None) -> tuple[int, int]:
    """The size that the item's first slot tells, or that of the photo."""
    slot = item["slots"][0] if item.get("slots") else {}
    if slot.get("height") and slot.get("width"):
        return checked_hw(slot["height"], slot["width"])
    return hw_of_photo(name, pictures, "the slot has no width and height")


def _stamps(annotations: list[Any], hw: tuple[int, int], report: LossReport) -> dict[str, Rle]:
    """The masks of the raster layers by the ids of their annotations."""
    found: dict[str, Rle] = {}
    for number, annotation in enumerate(annotations):
        layer = annotation.get("raster_layer") if isinstance(annotation, dict) else None
        if layer is None:
            continue
        with report.record(f"annotation {number}"):
            values, lengths = np.asarray(layer["dense_rle"], np.int64).reshape(-1, 2).T
            if (lengths < 0).any() or (lengths > hw[0] * hw[1]).any():
                raise DataError("`dense_rle` has a run that no picture of its size has")
            if int(lengths.sum()) != hw[0] * hw[1]:
                raise DataError(
                    f"`dense_rle` has {int(lengths.sum())} pixels, the picture {hw[1]} x {hw[0]}"
                )
            drawn = np.repeat(values.astype(np.int32), lengths).reshape(hw)
            for key, value in layer["mask_annotation_ids_mapping"].items():
                found[key] = mask_to_rle(drawn == int(value))
    return found


def _rle(annotation: Any, hw: tuple[int, int]) -> Rle | None:
    """The pixels of an outline or a box; None for what has no area."""
    if "polygon" in annotation:
        about = annotation["polygon"]
        paths = about["paths"] if "paths" in about else [about["path"]]
        inside = np.zeros(hw, np.bool_)
        for path in paths:
            ring = as_corners([(corner["x"], corner["y"]) for corner in as_list(path, "path")])
            inside ^= polygons_to_mask([Polygon(ring)], hw)
        if not inside.any():
            raise DataError("No area. The outline covers no pixel of the image.")
        return mask_to_rle(inside)
    if "ellipse" in annotation:
        about = annotation["ellipse"]
        centre, radii = (
            [as_number(about[key][axis], key) for axis in "xy"] for key in ("center", "radius")
        )
        angle = math.degrees(as_number(about.get("angle", 0), "angle"))
        return filled([Polygon(ellipse_ring(centre, radii, angle))], hw)
    if "bounding_box" in annotation and not any(key in annotation for key in _WITHOUT_AREA):
        x, y, wide, high = (as_number(annotation["bounding_box"][key], key) for key in "xywh")
        mask = box_to_mask((x, y, x + wide, y + high), hw)
        return None if mask is None else mask.rle
    if not any(key in annotation for key in _WITHOUT_AREA):
        raise DataError(f"Unknown shape type. Given: the keys {sorted(annotation)}.")
    return None


# Writing.


def encode(
    images: list[AnnotatedImage], target: Path, report: LossReport, policy: Policy
) -> Iterator[OutFile]:
    """A file a picture, with polygons of several paths."""
    paths = output_paths(images, target, ".json")
    for image, path in zip(images, paths, strict=True):
        note_traits(report, image, frozenset({"labels", "ids"}))
        note_unlabelled(report, image)
        name, (height, width) = PurePosixPath(image.file_name), image.hw
        slot = {"type": "image", "slot_name": "0", "width": width, "height": height}
        files = [{"file_name": name.name, "url": None}]
        item = {
            "name": name.name,
            "path": "/" + str(name.parent).strip("/.") if name.name else "/",
            "slots": [slot | {"source_files": files}],
        }
        records = []
        for number, mask in enumerate(image.masks):
            if rle_area(mask.rle):
                records.append(_annotation(image, number, report, policy))
            else:
                report.add("empty", image.file_name, number, "an empty mask has no path; left out")
        yield path, to_json({"version": VERSION, "item": item, "annotations": records})


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
        "id": str(uuid.uuid5(uuid.NAMESPACE_URL, f"{image.file_name}#{number}")),
        "name": mask.label or UNLABELLED,
        "polygon": {"paths": paths},
        "bounding_box": box,
        "slot_names": ["0"],
    }
    return written if mask.id is None else written | {"instance_id": {"value": mask.id}}
