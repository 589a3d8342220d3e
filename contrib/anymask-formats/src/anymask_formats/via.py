"""VGG Image Annotator (VIA) 1, 2 and 3: projects and exports of annotations in.

VIA 2 and 1: JSON of `filename`, `size` and `regions` by image, alone or as `_via_img_metadata` of a
project, and CSV with a row per region. VIA 3: a project's `file`, `view`, `attribute` and
`metadata`, where a region is [shape, numbers ...], and CSV with a row per region. Layout: the code
documentation of both versions (BSD-2; the layout, no code). None of them stores the image size, so
the images must be beside the file, in images/, or in the given folder.

A region's class is the attribute of that name (label, class, category, ...), or the first one with
a value; the others become `attributes` of the mask, those of a file `file_attributes`. The options
of the class attribute are the class list.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from anymask.base import DataError, parse_json, parse_text, read_csv
from anymask.formats import (
    AnnotatedImage,
    CornerCheck,
    LossReport,
    add_info,
    address_name,
    box_ring,
    fields,
    find_files,
    find_named,
    names_in_dataset,
    read_hw,
    read_json,
    ring_to_rle,
)
from anymask.masks import Mask, Masks, Ring, ellipse_ring

_NAMES = ("label", "class", "category", "name", "type", "object", "classes", "labels")
_COLUMNS_3 = ("metadata_id", "file_list", "flags", "temporal", "spatial", "metadata")
_KINDS_3 = dict(
    enumerate(
        ("point", "rect", "circle", "ellipse", "line", "polyline", "polygon", "extreme_rect",
         "extreme_circle"), start=1,
    )
)  # fmt: skip
_PARTS = ("shape_attributes", "attributes")  # CSV columns of a region
_WITHOUT_AREA = ("point", "line", "polyline")


@dataclass
class _Region:
    """A region before rendering: a shape, its numbers in pixels, and its attributes."""

    kind: str
    numbers: list[float]
    attributes: dict[str, Any] = field(default_factory=dict)
    frames: bool = False


@dataclass
class _Image:
    """The attributes and regions of an image; each region is parsed and skipped separately."""

    regions: list[Callable[[], _Region]] = field(default_factory=list)
    attributes: dict[str, Any] = field(default_factory=dict)


_Images = defaultdict[str, _Image]  # by name


def read(source: Path, report: LossReport, image_root: Path | None = None) -> list[AnnotatedImage]:
    """Read a project or an export; points, lines and regions of videos are reported.

    Raises DataError that names file, image, region and reason.
    """
    images, corners = [], CornerCheck("x y width height")
    for path in find_files(source, ".json", ".csv"):
        with report.record(path):
            for name, found in _images(path, report).items():
                with report.record(name):
                    images.append((path, _image(path, name, found, report, corners, image_root)))
    corners.tell(report)
    return names_in_dataset(source, images)


def _image(
    path: Path,
    name: str,
    found: _Image,
    report: LossReport,
    corners: CornerCheck,
    image_root: Path | None,
) -> AnnotatedImage:
    folders = [path.parent, path.parent / "images"] if image_root is None else [image_root]
    image = next(filter(None, (find_named(folder, name) for folder in folders)), None)
    if image is None:
        raise DataError(
            "The size of the image is unknown, because the image is missing and the "
            "file does not contain its size. Pass the folder of the images with "
            "--images DIR."
        )
    hw, masks = read_hw(image), Masks()
    for number, row in enumerate(found.regions):
        with report.record(f"region {number}"):
            region = row()
            if region.frames or region.kind in _WITHOUT_AREA:
                kind = "of a video" if region.frames else f"of shape {fields.shown(region.kind)}"
                report.skip(name, f"regions {kind} have no mask")
                continue
            if region.kind == "rect" and len(region.numbers) == 4:
                x, y, width, height = region.numbers
                corners.add((x, y, x + width, y + height), region.numbers, hw)
            label, rest = _label_of(region.attributes)
            rle = ring_to_rle(_ring(region.kind, region.numbers), hw)
            masks.append(Mask(rle, label, extra={"attributes": rest} if rest else {}))
    about = {key: value for key, value in found.attributes.items() if _first(value)}
    extra = {"file_attributes": about} if about else {}
    return AnnotatedImage(file_name=name, hw=hw, masks=masks, extra=extra)


def _label_of(attributes: Mapping[str, Any]) -> tuple[str | None, dict[str, Any]]:
    """Return a region's class and its other attributes."""
    held = {name: value for name, value in attributes.items() if _first(value)}
    chosen = _class_attribute(held)
    if chosen is None:
        return None, {}
    several = isinstance(held[chosen], list) and len(held[chosen]) > 1
    extra = {name: value for name, value in held.items() if name != chosen or several}
    return _first(held[chosen]), extra


def _class_attribute(names: Iterable[str]) -> str | None:
    """Return the class attribute: one with a known name, or the first one."""
    known = {name.strip().lower(): name for name in reversed([*names])}
    return next((known[name] for name in _NAMES if name in known), next(iter(names), None))


def _take_classes(options: Mapping[str, Any], report: LossReport) -> None:
    """Keep the options of the class attribute; `options` are by attribute name."""
    about = options.get(_class_attribute(options) or "")
    listed = about.get("options") if isinstance(about, Mapping) else None
    if isinstance(listed, Mapping) and listed:
        report.list_classes(dict.fromkeys(_first(_value(one, about)) for one in listed))


def _first(value: Any) -> str:
    """Return an attribute's value as text; the first one of several selected options."""
    if isinstance(value, list):
        return str(value[0]) if value else ""
    return "" if value is None else str(value).strip()


def _ring(kind: str, numbers: Sequence[float]) -> Ring:
    """Return the outline of a shape. Raises DataError."""
    requested = {"rect": 4, "circle": 3, "ellipse": 5, "extreme_rect": 8, "extreme_circle": 6}
    if kind == "polygon" and len(numbers) % 2 == 0:
        return fields.as_corners(np.reshape(numbers, (-1, 2)))
    if kind not in requested:
        raise DataError(f"Unknown shape type. Given: {fields.shown(kind)}.")
    if len(numbers) != requested[kind]:
        raise DataError(
            f"A shape of type {kind} must have {requested[kind]} numbers, but this one has "
            f"{len(numbers)}."
        )
    if kind == "rect":
        x, y, width, height = numbers
        return box_ring(x, y, x + width, y + height)
    if kind == "extreme_rect":
        ends = np.reshape(numbers, (4, 2))
        return box_ring(*ends.min(0), *ends.max(0))
    if kind == "ellipse":
        x, y, wide, high, turn = numbers
        return ellipse_ring((x, y), (wide, high), math.degrees(turn))
    x, y, radius = numbers if kind == "circle" else _through(numbers)
    return ellipse_ring((x, y), (radius, radius))


def _through(numbers: Sequence[float]) -> tuple[float, float, float]:
    """Return center and radius of the circle through three points. Raises DataError."""
    points = np.reshape(numbers, (3, 2))
    sides = 2 * (points[1:] - points[0])
    if abs(np.linalg.det(sides)) < 1e-9:
        raise DataError("The circle has no area: its three points are on one line.")
    center = np.linalg.solve(sides, (points[1:] ** 2).sum(1) - (points[0] ** 2).sum())
    return float(center[0]), float(center[1]), float(np.hypot(*(points[0] - center)))


# Files.


def _images(path: Path, report: LossReport) -> _Images:
    """Return the regions of each image of a file by name. Raises DataError."""
    if path.suffix.lower() == ".csv":
        text = parse_text(path.read_bytes(), path)
        of_via_3 = text.startswith("#") and "spatial_coordinates" in text[:4096]
        table = _table_3 if of_via_3 else _table_2
        return table(text, path, report)
    document = fields.as_record(read_json(path), "the document")
    if document.keys() >= {"metadata", "view", "file"}:
        return _project_3(document, report)
    rows = fields.as_record(document.get("_via_img_metadata", document), "_via_img_metadata")
    described = fields.as_record(document.get("_via_attributes", {}), "_via_attributes")
    options, of_files = (
        fields.as_record(described.get(key) or {}, key) for key in ("region", "file")
    )
    _take_classes(options, report)
    settings = fields.as_record(document.get("_via_settings") or {}, "_via_settings")
    add_info(
        report, {"name": fields.as_record(settings.get("project") or {}, "project").get("name")}
    )
    found = _Images(_Image)
    for key, row in rows.items():
        with report.record(f"picture {key}"):
            regions = fields.as_record(row, key)["regions"]
            listed = (
                regions.values()
                if isinstance(regions, dict)
                else fields.as_list(regions, "regions")
            )
            name = address_name(fields.as_text(row["filename"], "filename"))
            given = fields.as_record(row.get("file_attributes") or {}, "file_attributes")
            found[name].regions.extend(partial(_region_2, one, options) for one in listed)
            found[name].attributes |= _values(given, of_files)
    return found


def _region_2(row: Any, options: Mapping[str, Any]) -> _Region:
    """Parse a region of VIA 1 and 2."""
    shape = fields.as_record(
        fields.as_record(row, "region")["shape_attributes"], "shape_attributes"
    )
    kind = fields.as_text(shape["name"], "name")
    keys = {
        "rect": ("x", "y", "width", "height"), "circle": ("cx", "cy", "r"),
        "ellipse": ("cx", "cy", "rx", "ry"), "point": ("cx", "cy"),
    }  # fmt: skip
    if kind in keys:
        numbers = [fields.as_number(shape[key], key) for key in keys[kind]]
        numbers += [fields.as_number(shape.get("theta", 0), "theta")] * (kind == "ellipse")
    elif kind in ("polygon", "polyline"):
        across, down = (
            fields.as_list(shape[f"all_points_{axis}"], f"all_points_{axis}") for axis in "xy"
        )
        if len(across) != len(down):
            raise DataError(f"Corners are incomplete. Given: {len(across)} x and {len(down)} y.")
        numbers = [
            fields.as_number(one, "corner")
            for pair in zip(across, down, strict=True)
            for one in pair
        ]
    else:
        numbers = []
    given = fields.as_record(row.get("region_attributes") or {}, "region_attributes")
    return _Region(kind, numbers, _values(given, options))


def _values(given: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _value(value, options.get(name)) for name, value in given.items()}


def _value(value: Any, about: Any) -> Any:
    """Return an attribute's value: checkboxes as a list, numbered options by description."""
    if isinstance(value, Mapping):
        return [_value(one, about) for one, ticked in value.items() if ticked]
    options = about.get("options") if isinstance(about, Mapping) else None
    option = options.get(value) if isinstance(options, Mapping) and isinstance(value, str) else None
    return option if option and str(value).isdecimal() else value


def _table_2(text: str, path: Path, report: LossReport) -> _Images:
    """Read a CSV export of VIA 1 and 2. Raises DataError."""
    names, *rows = read_csv(text, path)
    names = [name.lstrip("#") for name in names]
    found = _Images(_Image)
    for line, row in enumerate(rows, start=2):
        about = dict(zip(names, row, strict=False))
        if not about.get("filename"):
            continue
        image = found[address_name(about["filename"])]
        with report.record(f"line {line}"):
            given = parse_json(about.get("file_attributes") or "{}", f"line {line}")
            image.attributes |= fields.as_record(given, "file_attributes")
        cells = [about.get(f"region_{part}", "{}") or "{}" for part in _PARTS]
        if cells[0] != "{}":
            image.regions.append(partial(_region_of_cells, cells, f"line {line}"))
    return found


def _region_of_cells(cells: Sequence[str], where: str) -> _Region:
    shape, given = (parse_json(cell, where) for cell in cells)
    return _region_2({"shape_attributes": shape, "region_attributes": given}, {})


def _table_3(text: str, path: Path, report: LossReport) -> _Images:
    """Read a CSV export of VIA 3: comment lines, then a row per region."""
    plain = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    found = _Images(_Image)
    for line, row in enumerate(read_csv(plain, path), start=1):
        about = dict(zip(_COLUMNS_3, row, strict=False))
        files = parse_json(about.get("file_list", "[]"), f"row {line}")
        image_root = [
            found[address_name(fields.as_text(name, "file_list"))]
            for name in fields.as_list(files, "file_list")
        ]
        with report.record(f"row {line}"):
            cells = (about[key] for key in ("temporal", "spatial", "metadata"))
            parts = (parse_json(cell, f"row {line}") for cell in cells)
            _take_3(dict(zip(("z", "xy", "av"), parts, strict=True)), {}, image_root)
    return found


def _take_3(
    row: Mapping[str, Any], attributes: Mapping[str, Any], image_root: Sequence[_Image]
) -> None:
    """Add a row of VIA 3: a region, or attributes of the whole file."""
    for image in image_root:
        if row["xy"] or row.get("z"):
            image.regions.append(partial(_region_3, row, attributes))
        else:
            image.attributes |= _attributes_3(row, attributes)


def _project_3(document: Mapping[str, Any], report: LossReport) -> _Images:
    """Read a project of VIA 3. Raises DataError."""
    files, views = (fields.as_record(document[key], key) for key in ("file", "view"))
    attributes = fields.as_record(document.get("attribute", {}), "attribute")
    shown_in = {
        view: [
            address_name(
                fields.as_text(fields.as_record(files[str(number)], "file")["fname"], "fname")
            )
            for number in fields.as_list(fields.as_record(about, "view")["fid_list"], "fid_list")
        ]
        for view, about in views.items()
    }
    add_info(
        report, {"name": fields.as_record(document.get("project") or {}, "project").get("pname")}
    )
    of_regions = {
        _title(number, attributes): about
        for number, about in attributes.items()
        if not str(fields.as_record(about, "attribute").get("anchor_id", "")).endswith("XY0")
    }
    _take_classes(of_regions, report)
    found = _Images(_Image, {name: _Image() for names in shown_in.values() for name in names})
    for key, row in fields.as_record(document["metadata"], "metadata").items():
        with report.record(f"metadata {key}"):
            names = shown_in[str(fields.as_record(row, key)["vid"])]
            _take_3(row, attributes, [found[name] for name in names])
    return found


def _region_3(row: Mapping[str, Any], attributes: Mapping[str, Any]) -> _Region:
    """Parse a region of VIA 3."""
    given = _attributes_3(row, attributes)
    numbers = [fields.as_number(one, "xy") for one in fields.as_list(row["xy"], "xy")]
    if not numbers:
        return _Region("time", [], given, frames=True)
    kind = _KINDS_3.get(int(numbers[0]), str(numbers[0]))
    more = [0.0] * (kind == "ellipse")
    return _Region(kind, [*numbers[1:], *more], given, frames=bool(row.get("z")))


def _attributes_3(row: Mapping[str, Any], attributes: Mapping[str, Any]) -> dict[str, Any]:
    return {
        _title(number, attributes): _option(value, attributes.get(number))
        for number, value in fields.as_record(row.get("av") or {}, "av").items()
    }


def _title(number: str, attributes: Mapping[str, Any]) -> str:
    about = attributes.get(number)
    return str(about["aname"]) if isinstance(about, Mapping) and "aname" in about else number


def _option(value: Any, about: Any) -> Any:
    """Return the text of a numbered option; several are separated by commas."""
    options = about.get("options") if isinstance(about, Mapping) else None
    if not isinstance(options, Mapping) or not options:
        return value
    return [str(options.get(one, one)) for one in str(value).split(",") if one]
