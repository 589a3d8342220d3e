"""SVG: a file per image, a path per mask in, annotated images out, and back.

Labels and numbers are `data-` attributes, the image name is the title. Paths of straight lines and
polygons of other programs are read too, with the even-odd rule.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np

from anymask.base import DataError
from anymask.formats.annotations import (
    AnnotatedImage,
    LossReport,
    report_unsupported_fields,
    with_extras,
)
from anymask.formats.documents import (
    OutFile,
    checked_hw,
    output_paths,
    read_each,
    read_xml,
    xml_element,
)
from anymask.formats.fields import as_number, as_whole, other_keys, shown
from anymask.formats.metadata import report_dataset_fields
from anymask.formats.outlines import Policy, even_odd_to_rle, outline, with_area
from anymask.masks import Mask, Masks, Ring, colors, polygons_to_svg_path

_NAMESPACE = "http://www.w3.org/2000/svg"
_SVG_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_TOKEN = re.compile(rf"\s*,?\s*(?:([A-Za-z])|({_SVG_NUMBER}))")
_LENGTH = re.compile(rf"\s*({_SVG_NUMBER})\s*(?:px)?\s*")
_OUTLINES = ("path", "polygon")
_UNSUPPORTED_SHAPES = ("rect", "circle", "ellipse", "line", "polyline", "image", "text", "use")


def read(source: Path, report: LossReport, image_root: Path | None = None) -> list[AnnotatedImage]:
    """Read a file or a folder; shapes other than paths and polygons are reported.

    Raises DataError that names file, path and reason: curves and transforms are not supported.
    """
    return read_each(source, ".svg", report, lambda path: _image(read_xml(path), path.stem, report))


def _image(root: ET.Element, stem: str, report: LossReport) -> AnnotatedImage:
    if root.tag.rpartition("}")[2] != "svg":
        raise DataError(f"The root element must be <svg>, but it is <{root.tag}>.")
    title = root.findtext(f"{{{_NAMESPACE}}}title") or root.findtext("title")
    name, hw = title or stem, _hw(root)
    masks = []
    moved = {below for node in root.iter() if "transform" in node.attrib for below in node.iter()}
    for number, element in enumerate(root.iter()):
        kind = str(element.tag).rpartition("}")[2]
        with report.record(f"element {number} ({kind})"):
            if element in moved and (kind in _OUTLINES or not len(element)):
                raise DataError(
                    "Transforms are not supported. Apply them to the shapes before export."
                )
            if kind in _UNSUPPORTED_SHAPES:
                report.skip(name, f"elements of type {shown(kind)} are not outlines")
            elif kind in _OUTLINES:
                masks.append(_mask(element, kind, hw))
    return AnnotatedImage(file_name=name, hw=hw, masks=Masks(masks), layered=True)


def _hw(root: ET.Element) -> tuple[int, int]:
    sides = [_LENGTH.fullmatch(root.get(key, "")) for key in ("height", "width")]
    box = (root.get("viewBox") or "").replace(",", " ").split()
    if len(box) == 4:
        if [*map(float, box[:2])] != [0, 0]:
            raise DataError("The viewBox must start at 0 0.")
        return checked_hw(float(box[3]), float(box[2]))
    if sides[0] is None or sides[1] is None:
        raise DataError(
            "The image size is missing. Expected a width and a height in pixels, or a viewBox."
        )
    return checked_hw(float(sides[0][1]), float(sides[1][1]))


def _mask(element: ET.Element, kind: str, hw: tuple[int, int]) -> Mask:
    text = element.get("d", "") if kind == "path" else f"M{element.get('points', '')}Z"
    group = element.get("data-group")
    rle = even_odd_to_rle(path_to_rings(text if text != "MZ" else ""), hw)
    if element.get("d") != "":  # anymask writes an empty path for an empty mask
        with_area(rle)
    mask = Mask(
        rle,
        element.get("data-label"),
        score=as_number(element.get("data-quality", "0"), "data-quality"),
        id=None if group is None else as_whole(group, "data-group"),
        crowd=element.get("data-crowd") == "true",
    )
    data = {key[5:]: value for key, value in element.items() if key.startswith("data-")}
    return with_extras(mask, other_keys(data, ("label", "quality", "group", "crowd")))


def path_to_rings(text: str) -> list[Ring]:
    """Parse the rings of a path of straight lines (M L H V Z, upper or lower case).

    Raises DataError for curves and invalid text.
    """
    tokens, text, index = list[str | float](), text.strip(), 0
    while index < len(text):
        if (match := _TOKEN.match(text, index)) is None:
            raise DataError(f"The path is invalid at {text[index : index + 20]!r}.")
        tokens.append(match[1] or float(match[2]))
        index = match.end()
    rings = list[list[list[float]]]()
    here, command, index = [0.0, 0.0], "", 0
    while index < len(tokens):
        if isinstance(tokens[index], str):
            command = str(tokens[index])
            index += 1
            if command in "Zz":
                here = list(rings[-1][0]) if rings else here
                continue
        kind = command.upper()
        if kind not in ("M", "L", "H", "V") or (kind != "M" and not rings):
            raise DataError(
                f"The path command {command!r} is not supported. Only straight lines are supported."
            )
        count = 2 if kind in "ML" else 1
        numbers = tokens[index : index + count]
        if len(numbers) < count or any(isinstance(number, str) for number in numbers):
            raise DataError(f"The path command {command!r} is missing a number.")
        x, y = here if command.islower() else (0.0, 0.0)
        if kind == "H":
            here = [x + float(numbers[0]), here[1]]
        elif kind == "V":
            here = [here[0], y + float(numbers[0])]
        else:
            here = [x + float(numbers[0]), y + float(numbers[1])]
        index += count
        if kind == "M":
            rings.append([])
            command = "l" if command == "m" else "L"
        rings[-1].append(here)
    return [np.array(ring, np.float64) for ring in rings if len(ring) > 2]


# Writing.


def encode(
    images: list[AnnotatedImage], target: Path, report: LossReport, policy: Policy
) -> Iterator[OutFile]:
    """Yield a file per image; masks are semi-transparent, in the colors of anymask overlays."""
    for image, path in zip(images, output_paths(images, target, ".svg"), strict=True):
        report_unsupported_fields(report, image, frozenset({"labels", "scores", "ids", "crowds"}))
        height, width = image.hw
        size = {"width": str(width), "height": str(height), "viewBox": f"0 0 {width} {height}"}
        root = xml_element(
            "svg", [xml_element("title", image.file_name)], {"xmlns": _NAMESPACE} | size
        )
        shown = zip(image.masks, colors(len(image.masks)), strict=True)
        for number, (mask, color) in enumerate(shown):
            data = {
                "data-label": mask.label,
                "data-quality": mask.score or None,
                "data-group": mask.id,
                "data-crowd": "true" if mask.crowd else None,
            }
            about: dict[str, object] = {
                "d": polygons_to_svg_path(outline(image, number, report, policy)),
                "fill": "#{:02x}{:02x}{:02x}".format(*color),
                "fill-opacity": "0.5",
                "fill-rule": "evenodd",
            }
            about |= {key: value for key, value in data.items() if value is not None}
            root.append(xml_element("path", None, about))
        ET.indent(root)
        yield path, ET.tostring(root, "utf-8", xml_declaration=True) + b"\n"
    report_dataset_fields(report, images, policy)
