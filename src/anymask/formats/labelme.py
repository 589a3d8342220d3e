"""labelme: a JSON file for each image.

Based on files written by labelme 5 (the program is GPL-3; only the format is used, no code).
`imagePath` is relative to the file's folder; names in this package are relative to the folder that
is read. Shapes with the same label and group_id are one object, as in labelme's own converters, so
the parts of a polygon stay together. Unknown keys are kept and written back. The embedded image
(`imageData`) is not read; if the image file is missing as well, it is reported.
"""

from __future__ import annotations

import base64
import posixpath
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from PIL import Image

from anymask.base import DataError
from anymask.formats.annotations import (
    AnnotatedImage,
    LossReport,
    add_part,
    distinct_groups,
    extras_of,
    report_unlabeled,
    report_unsupported_fields,
    with_extras,
)
from anymask.formats.documents import (
    OutFile,
    checked_hw,
    hw_of_image,
    image_beside,
    output_paths,
    read_each,
    read_json,
    to_json,
)
from anymask.formats.fields import (
    ExceptKeys,
    as_corners,
    as_list,
    as_number,
    as_record,
    as_text,
    as_whole,
    held,
    other_keys,
    shown,
)
from anymask.formats.label_images import image_bytes
from anymask.formats.metadata import report_dataset_fields
from anymask.formats.outlines import Policy, box_ring, plain_rings, ring_to_rle, with_area
from anymask.images import open_image
from anymask.masks import UNLABELED, Mask, Masks, Rle, crop_to_rle, ellipse_ring, rle_area, rle_crop

VERSION = "5.5.0"  # version of labelme with this layout
OF_DOCUMENT = ExceptKeys("version", "shapes", "imagePath", "imageData", "imageHeight", "imageWidth")
OF_SHAPE = ExceptKeys("label", "points", "group_id", "shape_type", "mask", "score")
_WITHOUT_AREA = ("point", "points", "line", "linestrip", "cuboid")
_MIN_POINTS = dict.fromkeys(_WITHOUT_AREA, 0) | {  # minimum points of each shape_type
    "polygon": 3, "rectangle": 2, "oriented_rectangle": 3, "circle": 2, "mask": 2,
    "rotation": 4, "quadrilateral": 4,  # of X-AnyLabeling
}  # fmt: skip


def read(source: Path, report: LossReport, image_root: Path | None = None) -> list[AnnotatedImage]:
    """Read a file or a folder of files; shapes without area are reported.

    Raises DataError that names file, shape and reason.
    """

    def read_file(path: Path) -> AnnotatedImage:
        document = as_record(read_json(path), "the document")
        image = _image(document, report, image_root)
        if document.get("imageData") and not image_beside(path, image.file_name, image_root):
            reason = "`imageData` (the embedded image) is not extracted"
            report.add("extras", image.file_name, None, reason, "imageData")
        return name_in_dataset(image, source, path)

    return read_each(source, ".json", report, read_file)


def name_in_dataset(image: AnnotatedImage, source: Path, path: Path) -> AnnotatedImage:
    """Make the image name of a file relative to the dataset folder.

    A name that starts with the file's own subfolder is considered relative already. In a name that
    leads out of the dataset (`../photos/a.jpg`), leading `..` are removed.
    """
    below = path.parent.relative_to(source).as_posix() if source.is_dir() else "."
    name = image.file_name
    if name.startswith((f"{below}/", "/")) or ":" in name[:2]:
        return image
    relative = posixpath.normpath(f"{below}/{name}")
    while relative.startswith("../"):
        relative = relative.removeprefix("../")
    return replace(image, file_name=relative)


def _image(document: Any, report: LossReport, image_root: Path | None) -> AnnotatedImage:
    name = as_text(document["imagePath"], "imagePath").replace("\\", "/")
    if document.get("imageHeight") and document.get("imageWidth"):
        hw = checked_hw(document["imageHeight"], document["imageWidth"])
    else:
        hw = hw_of_image(name, image_root, "imageHeight and imageWidth are missing")
    masks: dict[object, Mask] = {}
    for number, shape in enumerate(as_list(document["shapes"], "shapes")):
        with report.record(f"shape {number}"):
            rle, label = _rle(as_record(shape, "shape"), hw), as_text(shape["label"], "label")
            if rle is None:
                report.skip(name, f"shapes of type {shown(shape['shape_type'])} have no mask")
                continue
            group = shape.get("group_id")
            group = None if group is None else as_whole(group, "group_id")
            mask = Mask(rle, label, id=group, score=as_number(shape.get("score") or 0, "score"))
            mask = with_extras(mask, other_keys(held(shape, OF_SHAPE), ()))
            add_part(masks, number if group is None else (label, group), mask)
    return AnnotatedImage(
        file_name=name,
        hw=hw,
        masks=Masks(masks.values()),
        extra=other_keys(held(document, OF_DOCUMENT), ()),
        layered=True,
    )


def _rle(shape: Any, hw: tuple[int, int]) -> Rle | None:
    """Return the pixels of a shape; None for points and lines."""
    kind = shape.get("shape_type") or "polygon"
    if kind not in _MIN_POINTS:
        raise DataError(f"Unknown shape type. Given: {shown(kind)}.")
    points = as_corners(shape["points"], least=_MIN_POINTS[kind])
    if kind in _WITHOUT_AREA:
        return None
    if kind == "mask":  # a PNG of the pixels in its box, which is the first and last pixel
        try:
            data = base64.b64decode(shape["mask"], validate=True)
        except (TypeError, ValueError):
            given = shown(shape["mask"])
            raise DataError(f"`mask` is not a PNG in base64. Given: {given}.") from None
        with open_image(data, "`mask`") as image:
            stamp = np.asarray(image.convert("L")) != 0
        (x0, y0), (x1, y1) = np.rint(points[:2]).astype(int).tolist()
        if stamp.shape != (y1 - y0 + 1, x1 - x0 + 1):
            raise DataError(
                f"The mask has {stamp.shape[1]} x {stamp.shape[0]} pixels, but its box has "
                f"{x1 - x0 + 1} x {y1 - y0 + 1} pixels."
            )
        return with_area(crop_to_rle(stamp, (x0, y0), hw), "it covers")
    if kind == "rectangle" and len(points) != 4:  # X-AnyLabeling writes four corners
        (x0, y0), (x1, y1) = points[:2]
        points = box_ring(x0, y0, x1, y1)
    elif kind == "circle":
        center, rim = points[:2]
        radius = float(np.hypot(*(rim - center)))
        points = ellipse_ring(center, (radius, radius))
    return ring_to_rle(points, hw)


# Writing.


def encode(
    images: list[AnnotatedImage],
    target: Path,
    report: LossReport,
    policy: Policy,
    polygons: bool = False,
) -> Iterator[OutFile]:
    """Write a file for each image: exact masks, or polygons whose parts share a group_id."""
    for image, path in zip(images, output_paths(images, target, ".json"), strict=True):
        report_unsupported_fields(
            report,
            image,
            frozenset({"labels", "ids", "scores", "annotator"}),
            OF_SHAPE,
            OF_DOCUMENT,
        )
        report_unlabeled(report, image)
        groups = distinct_groups(image, report)
        shapes: list[dict[str, Any]] = []
        for number, mask in enumerate(image.masks):
            if polygons:
                parts = [
                    {"points": ring.tolist(), "shape_type": "polygon", "mask": None}
                    for ring in plain_rings(image, number, report, policy)
                ]
            elif rle_area(mask.rle):
                crop, (x0, y0, x1, y1) = rle_crop(mask.rle)
                stamp = base64.b64encode(image_bytes(Image.fromarray(crop.astype(np.uint8))))
                points = [[float(x0), float(y0)], [float(x1 - 1), float(y1 - 1)]]
                parts = [{"points": points, "shape_type": "mask", "mask": stamp.decode("ascii")}]
            else:
                reason = "an empty mask has no box; it was omitted"
                report.add("empty", image.file_name, number, reason)
                parts = []
            if len(parts) > 1 and groups[number] is None:
                groups[number] = 1 + max(
                    (group for group in groups if group is not None), default=0
                )
            about = {"label": mask.label or UNLABELED, "group_id": groups[number]}
            rest = {"description": "", "flags": {}} | extras_of(mask, OF_SHAPE)
            if mask.score:
                rest["score"] = mask.score
            shapes += [about | shape | rest for shape in parts]
        document: dict[str, Any] = {"version": VERSION, "flags": {}, "shapes": shapes}
        document |= held(image.extra, OF_DOCUMENT)
        name = PurePosixPath(image.file_name)
        below = path != target and path.parent == target / name.parent
        document |= {
            "imagePath": name.name if below else image.file_name,
            "imageData": None,
            "imageHeight": image.hw[0],
            "imageWidth": image.hw[1],
        }
        yield path, to_json(document)
    report_dataset_fields(report, images, policy)
