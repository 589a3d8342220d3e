"""PASCAL VOC's XML files with polygons, one file per image: annotated images out.

    <set>/Annotations/<stem>.xml, <set>/JPEGImages/<stem>.jpg     as supervision writes them
    <set>/train/<stem>.xml, <set>/train/<stem>.jpg                as Roboflow writes them
    <object><name>cat</name><polygon><x1>3</x1><y1>4</y1><x2>...  for each object

VOC counts pixels from 1: a polygon of integers lists pixels that belong to the object, filled as in
supervision (`cv2.fillPoly`; MIT; facts, no code). One with fractions is an outline. Objects of a
box alone are reported.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import cv2
import numpy as np

from anymask.base import DataError, Floats
from anymask.formats.annotations import AnnotatedImage, LossReport, with_extras
from anymask.formats.documents import (
    checked_hw,
    find_image,
    read_each,
    read_hw,
    read_xml,
    refuse_boxes,
)
from anymask.formats.fields import as_corners, as_number, other_keys
from anymask.formats.outlines import box_to_mask, ring_to_rle, with_area
from anymask.masks import MAX_PIXELS, UNLABELED, Box, Mask, Masks, Rle, mask_to_rle

ROOT, VOC_IMAGE_FOLDER = "annotation", "JPEGImages"
_OBJECT_KEYS = ("name", "polygon", "bndbox", "attributes")
_UNSAID = ("Unspecified", "Unknown", "roboflow.com", "roboflow.ai", "")  # placeholders


def read(
    source: Path, report: LossReport, image_root: Path | None = None, *, boxes: bool = False
) -> list[AnnotatedImage]:
    """Read a file, or every XML file in a folder and below.

    Raises DataError that names file, object and reason; also if all objects are boxes.

    Args:
        boxes: Whether to return objects of a box alone as rectangles.
    """

    def read_file(path: Path) -> AnnotatedImage:
        root = read_xml(path)
        if root.tag != ROOT:
            raise DataError(f"The root element must be <annotation>, but it is <{root.tag}>.")
        return _image(root, *_image_file(root, path, source, image_root), report, boxes=boxes)

    images = read_each(source, ".xml", report, read_file)
    if not boxes:
        refuse_boxes(source, images, report, "polygon")
    return images


def _image(
    root: ET.Element, name: str, image: Path | None, report: LossReport, *, boxes: bool
) -> AnnotatedImage:
    high, wide = (
        int(as_number(root.findtext(f"size/{key}") or 0, key)) for key in ("height", "width")
    )
    if high and wide:
        hw = checked_hw(high, wide)
    elif image is not None:
        hw = read_hw(image)
    else:
        raise DataError("The image size is missing. Pass the folder of the images.")
    masks = []
    for number, element in enumerate(root.iter("object")):
        with report.record(f"object {number}"):
            corners, mask = _corners(element), None
            label = (element.findtext("name") or "").strip() or UNLABELED
            if corners is not None:
                mask = Mask(_rle(corners, hw), label, extra=_extra(element))
            elif element.find("bndbox") is None:
                raise DataError("The object has neither a polygon nor a box.")
            elif boxes and (mask := box_to_mask(_box(element), hw, label)) is not None:
                mask = with_extras(mask, _extra(element))
            if mask is not None:
                masks.append(mask)
            else:
                report.skip(name, "the box is outside the image" if boxes else "a box alone")
    extra = other_keys({key: _texts(root, key) for key in ("source", "owner")}, ())
    return AnnotatedImage(file_name=name, hw=hw, masks=Masks(masks), extra=extra)


def _extra(element: ET.Element) -> dict[str, Any]:
    """Return an object's data beside its outline: pose, flags, and attributes as in CVAT."""
    values: dict[str, Any] = {
        child.tag: child.text.strip()
        for child in element
        if child.tag not in _OBJECT_KEYS and not len(child) and child.text and child.text.strip()
    }
    flags = values.keys() & {"truncated", "difficult", "occluded"}
    values |= {key: values[key] not in ("0", "false") for key in flags}
    attributes = {
        attribute.findtext("name") or "": attribute.findtext("value") or ""
        for attribute in element.iterfind("attributes/attribute")
    }
    return other_keys(
        {k: v for k, v in values.items() if v not in _UNSAID} | {"attributes": attributes}, ()
    )


def _texts(root: ET.Element, tag: str) -> dict[str, str]:
    return {
        child.tag: child.text
        for child in root.iterfind(f"{tag}/*")
        if child.text and child.text not in _UNSAID
    }


def _image_file(
    root: ET.Element, path: Path, source: Path, image_root: Path | None
) -> tuple[str, Path | None]:
    """Return the image name, and its file if it lies in one of the usual folders."""
    name = (root.findtext("filename") or "").replace("\\", "/").rpartition("/")[2].strip()
    here = path.parent
    for folder in (image_root, here, here.parent / VOC_IMAGE_FOLDER):
        for stem in (Path(name).stem, path.stem):
            if (image := find_image(folder, stem) if stem else None) is not None:
                inside = here.relative_to(source) if source.is_dir() and folder == here else Path()
                return (inside / image.name).as_posix(), image
    return name or f"{path.stem}.jpg", None


def _corners(element: ET.Element) -> Floats | None:  # -> (N, 2)
    """Return x1, y1, x2, y2, ... of the polygon or None. Raises KeyError, ValueError."""
    polygon = element.find("polygon")
    if polygon is None or not len(polygon):
        return None
    values = {point.tag: as_number(point.text, point.tag) for point in polygon}
    names = [(f"x{n}", f"y{n}") for n in range(1, (len(values) + 1) // 2 + 1)]
    return as_corners([[values[x], values[y]] for x, y in names], "polygon")


def _box(element: ET.Element) -> Box:
    """Convert first and last pixel, counted from 1, to pixel borders. Raises DataError."""
    texts = [element.findtext(f"bndbox/{key}") for key in ("xmin", "ymin", "xmax", "ymax")]
    if None in texts:
        raise DataError("Expected a <bndbox> with xmin, ymin, xmax and ymax.")
    x0, y0, x1, y1 = (as_number(text, "bndbox") for text in texts)
    return x0 - 1, y0 - 1, x1, y1


def _rle(corners: Floats, hw: tuple[int, int]) -> Rle:
    if (corners != corners.round()).any() or max(hw) > 2**15 or hw[0] * hw[1] > MAX_PIXELS:
        return ring_to_rle(corners, hw)
    drawn = np.zeros(hw, np.uint8)
    cv2.fillPoly(drawn, [np.clip(corners - 1, -(2**15), 2**15).astype(np.int32)], 1)
    return with_area(mask_to_rle(drawn))
