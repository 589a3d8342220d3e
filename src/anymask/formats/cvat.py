"""CVAT for images 1.1: one XML file with masks as runs.

The runs of a mask go row by row inside its box and start with background. `mask_to_cvat` returns
the same as a list followed by the box, as CVAT's SDK, agents and server accept it (cvat-sdk,
`masks.py`; MIT; the layout, not the code). Polygons, boxes and ellipses are read as well, rotated
or not, and the tracks of "CVAT for video". Shapes with the same label and group are
one object, as in CVAT's own COCO export; group 0 is none. Masks are ordered by `z_order`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np

from anymask.base import DataError
from anymask.formats.annotations import (
    AnnotatedImage,
    LossReport,
    SequencePlace,
    add_part,
    attributes_of,
    class_names,
    distinct_groups,
    report_unlabeled,
    report_unsupported_fields,
)
from anymask.formats.documents import (
    OutFile,
    checked_hw,
    file_target,
    find_files,
    image_beside,
    names_in_dataset,
    read_hw,
    read_xml,
    xml_element,
)
from anymask.formats.fields import (
    as_corners,
    as_number,
    as_whole,
    checked_frames,
    held,
    other_keys,
    shown,
)
from anymask.formats.loss_report import as_color
from anymask.formats.metadata import CLASSES, add_class, add_info, report_dataset_fields
from anymask.formats.outlines import Policy, box_ring, ring_to_rle, with_area
from anymask.images import SUFFIXES
from anymask.masks import (
    UNLABELED,
    Mask,
    Masks,
    Rle,
    crop_to_rle,
    ellipse_ring,
    mask_to_rle,
    rle_area,
    rle_crop,
    rle_to_mask,
    turned_ring,
)

_OF_IMAGE = ("id", "name", "width", "height", "task_id")
_OF_SHAPE = (
    "label", "group_id", "points", "rle", "left", "top", "width", "height", "xtl", "ytl", "xbr",
    "ybr", "cx", "cy", "rx", "ry", "frame", "outside",
)  # fmt: skip
_UNKNOWN = "auto"  # source of masks of unknown origin
_DERIVED_KEYS = ("id", "size", "mode", "overlap", "start_frame", "stop_frame", "created", "updated")
_TASK_TAGS = ("name", "owner", "assignee", "subset", "bugtracker")
_OF_IMAGE_HELD = ("subset",)
_HELD = ("attributes", "occluded", "z_order", "source")
_WITHOUT_AREA = ("points", "polyline", "tag", "cuboid", "skeleton")
_NUMBER_KEYS = {  # keys of shapes that are numbers
    "occluded": as_whole, "z_order": as_whole, "keyframe": as_whole, "rotation": as_number,
}  # fmt: skip


def mask_to_cvat(rle: Rle) -> list[int]:
    """Encode a mask as runs inside its box, row by row, background first, followed by the box.

    Raises:
        DataError: The mask is empty and has no box.
    """
    if not rle_area(rle):
        raise DataError("CVAT does not support empty masks. Remove the mask.")
    inside, (x0, y0, x1, y1) = rle_crop(rle)  # transposed below: row by row
    return [*mask_to_rle(inside.T).counts.tolist(), x0, y0, x1 - 1, y1 - 1]


def cvat_to_rle(points: Sequence[float], image_hw: tuple[int, int]) -> Rle:
    """Decode the list of `mask_to_cvat`.

    Raises:
        DataError: The runs do not fill the box, or the box is outside the image.
    """
    if len(points) < 5:
        raise DataError(
            f"A CVAT mask consists of runs and 4 numbers of a box, given: {len(points)} numbers."
        )
    *runs, x0, y0, x1, y1 = (int(number) for number in points)
    high, wide = y1 - y0 + 1, x1 - x0 + 1
    if min(x0, y0) < 0 or x1 >= image_hw[1] or y1 >= image_hw[0]:
        raise DataError(
            f"The box of the mask, ({x0}, {y0}) to ({x1}, {y1}), is outside the image {image_hw}."
        )
    if min([high, wide, *runs]) < 0 or sum(runs) != high * wide:
        raise DataError(
            f"The runs of the mask sum to {sum(runs)} pixels, but its box has {wide} x {high}."
        )
    turned = Rle(np.array(runs, np.int64), (wide, high))
    return crop_to_rle(rle_to_mask(turned).T, (x0, y0), image_hw)


def read(source: Path, report: LossReport, image_root: Path | None = None) -> list[AnnotatedImage]:
    """Read an export "CVAT for images" or "CVAT for video"; shapes without area are reported.

    Raises DataError that names file, image, shape and reason.
    """
    images = list[tuple[Path, AnnotatedImage]]()
    for path in find_files(source, ".xml"):
        with report.record(path):
            root = read_xml(path)
            if root.tag != "annotations":
                raise DataError("The file is not an export of the type 'CVAT for images 1.1'.")
            names = []
            for label in root.iterfind("meta//labels/label"):
                names.append(name := label.findtext("name") or "")
                attributes = [
                    {part.tag: part.text for part in attribute if part.text}
                    for attribute in label.iterfind("attributes/attribute")
                ]
                add_class(
                    report, name, {"color": label.findtext("color"), "attributes": attributes}
                )
            if names:
                report.list_classes(dict.fromkeys(names))
            for task in (*root.iterfind("meta/task"), *root.iterfind("meta/job")):
                plain = (part for part in task if not len(part) and part.tag not in _DERIVED_KEYS)
                texts = {part.tag: part.text for part in plain if (part.text or "").strip()}
                add_info(report, texts)
            for number, element in enumerate(root.iter("image")):
                with report.record(f"image {number}"):
                    images.append((path, _image(element, report)))
            if root.find("track") is not None:
                images += [(path, image) for image in _read_tracks(root, path, report, image_root)]
    return names_in_dataset(source, images)


def _image(element: ET.Element, report: LossReport) -> AnnotatedImage:
    name = element.attrib["name"]
    hw = checked_hw(element.attrib["height"], element.attrib["width"])
    masks = dict[object, Mask]()
    for number, shape in enumerate(element):
        with report.record(f"shape {number} ({shape.tag[:40]})"):
            if (mask := _mask(shape, hw, report, name)) is not None:
                add_part(masks, (mask.label, mask.id) if mask.id else number, mask)
    return AnnotatedImage(
        file_name=name,
        hw=hw,
        masks=_nearest_last(masks.values()),
        extra=other_keys(element.attrib, _OF_IMAGE),
        layered=True,
    )


def _mask(
    shape: ET.Element, hw: tuple[int, int], report: LossReport, name: str = ""
) -> Mask | None:
    """Read the mask of a shape; None, with a line in the report, for shapes without area."""
    if (rle := _rle(shape, hw)) is None:
        report.skip(name, f"shapes of type {shown(shape.tag)} have no mask")
        return None
    group = as_whole(shape.get("group_id", 0), "group_id") or None
    extra: dict[str, Any] = other_keys(shape.attrib, _OF_SHAPE)
    extra |= {key: read(extra[key], key) for key, read in _NUMBER_KEYS.items() if key in extra}
    extra |= {key: bool(extra[key]) for key in ("occluded", "keyframe") if key in extra}
    if extra.get("source") == _UNKNOWN:
        del extra["source"]
    extra["attributes"] = {
        child.get("name", ""): child.text or "" for child in shape.iterfind("attribute")
    }
    return Mask(rle, shape.attrib["label"], id=group, extra=other_keys(extra, ()))


def _rle(shape: ET.Element, hw: tuple[int, int]) -> Rle | None:
    at = shape.attrib

    def numbers(*keys: str) -> list[float]:
        return [as_number(at[key], key) for key in keys]

    turn = as_number(at.get("rotation", 0), "rotation")
    if shape.tag == "mask":
        left, top, wide, high = (
            as_whole(at[key], key) for key in ("left", "top", "width", "height")
        )
        runs = [as_whole(run, "rle") for run in at["rle"].split(",")]
        box = (left, top, left + wide - 1, top + high - 1)
        return with_area(cvat_to_rle([*runs, *box], hw), "it covers")
    if shape.tag == "polygon":
        pairs = at["points"].split(";") if at["points"].strip() else []
        corners = as_corners([pair.split(",") for pair in pairs])
    elif shape.tag == "box":
        x0, y0, x1, y1 = numbers("xtl", "ytl", "xbr", "ybr")
        corners = turned_ring(box_ring(x0, y0, x1, y1), ((x0 + x1) / 2, (y0 + y1) / 2), turn)
    elif shape.tag == "ellipse":
        x, y, *radii = numbers("cx", "cy", "rx", "ry")
        corners = ellipse_ring((x, y), radii, turn)
    elif shape.tag in _WITHOUT_AREA:
        return None
    else:
        raise DataError(f"Unknown shape type. Given: {shown(shape.tag)}.")
    return ring_to_rle(corners, hw)


# Writing.


def encode(
    images: list[AnnotatedImage], target: Path, report: LossReport, policy: Policy
) -> Iterator[OutFile]:
    """Write one file with masks."""
    labels = [
        _label(name, policy.facts.classes.get(name, {}), images)
        for name in class_names(images, policy.classes)
    ]
    facts = [xml_element(key, value) for key, value in held(policy.facts.info, _TASK_TAGS).items()]
    task = xml_element("task", [xml_element("labels", labels), *facts])
    root = xml_element("annotations", [xml_element("version", "1.1"), xml_element("meta", [task])])
    report_dataset_fields(report, images, policy, (CLASSES,), ("color", "attributes"), _TASK_TAGS)
    for number, image in enumerate(images):
        report_unsupported_fields(
            report, image, frozenset({"labels", "ids"}), _HELD, _OF_IMAGE_HELD
        )
        report_unlabeled(report, image)
        height, width = image.hw
        about = {"id": number, "name": image.file_name, "width": width, "height": height}
        masks = list[ET.Element]()
        for index, group in enumerate(distinct_groups(image, report)):
            mask = image.masks[index]
            if not rle_area(mask.rle):
                reason = "an empty mask has no box; it was omitted"
                report.add("empty", image.file_name, index, reason)
                continue
            *runs, x0, y0, x1, y1 = mask_to_cvat(mask.rle)
            shape: dict[str, object] = {
                "label": mask.label or UNLABELED,
                "source": mask.extra.get("source", _UNKNOWN),
                "occluded": int(bool(mask.extra.get("occluded"))),
                "rle": ", ".join(map(str, runs)),
                "left": x0,
                "top": y0,
                "width": x1 - x0 + 1,
                "height": y1 - y0 + 1,
                "z_order": mask.extra.get("z_order", 0),
            }
            if group is not None:
                shape["group_id"] = group
            if group == 0:
                report.add("ids", image.file_name, index, "CVAT reads group 0 as no group")
            inside = [
                xml_element("attribute", value, {"name": name})
                for name, value in attributes_of(mask).items()
            ]
            masks.append(xml_element("mask", inside, shape))
        root.append(xml_element("image", masks, about | held(image.extra, _OF_IMAGE_HELD)))
    ET.indent(root)
    yield file_target(target, ".xml"), ET.tostring(root, "utf-8", xml_declaration=True) + b"\n"


def _label(name: str, about: Mapping[str, Any], images: Sequence[AnnotatedImage]) -> ET.Element:
    """Return a label with its color and the attributes of its class or its masks."""
    parts = [xml_element("name", name)]
    if color := as_color(about.get("color")):
        parts.append(xml_element("color", color))
    stated = about.get("attributes") or ()
    rows = {str(row.get("name")): row for row in stated if isinstance(row, Mapping)}
    for mask in (mask for image in images for mask in image.masks):
        if (mask.label or UNLABELED) == name:
            for key in attributes_of(mask):
                rows.setdefault(key, {"name": key, "mutable": "False", "input_type": "text"})
    if rows:
        listed = [
            xml_element("attribute", [xml_element(str(key), value) for key, value in row.items()])
            for row in rows.values()
        ]
        parts.append(xml_element("attributes", listed))
    return xml_element("label", parts)


# CVAT for video 1.1: tracks of an XML file, read as an annotated image for each frame.
#
# A track has elements for some frames; `outside` ends it until the next element. Frames between two
# elements are interpolated like in CVAT: boxes, ellipses and polygons with the same number of
# points linearly, masks and other polygons are repeated. The last element of a track is repeated
# until the end of its task. Frames are named frame_000012.png, as in CVAT's exports. Layout: "XML
# annotation format" of CVAT's documentation.

_MOVED = {
    "box": ("xtl", "ytl", "xbr", "ybr", "rotation"),
    "ellipse": ("cx", "cy", "rx", "ry", "rotation"),
}


@dataclass
class _Task:
    """Task: number of frames, their size, and masks by frame."""

    name: str
    frames: int
    hw: tuple[int, int] | None
    masks: defaultdict[int, dict[object, Mask]] = field(default_factory=lambda: defaultdict(dict))


def _nearest_last(masks: Iterable[Mask]) -> Masks:
    return Masks(sorted(masks, key=lambda mask: int(mask.extra.get("z_order", 0))))


def _read_tracks(
    root: ET.Element, path: Path, report: LossReport, image_root: Path | None
) -> list[AnnotatedImage]:
    """Read the frames of all tasks of a file."""
    tasks, numbers = dict[str, _Task](), dict[object, int]()
    for row in [*root.iterfind("meta//task"), *root.iterfind("meta//job")]:
        name = row.findtext("source") or row.findtext("name") or path.stem
        count = checked_frames(as_whole(row.findtext("size") or 0, "size"))
        tasks[row.findtext("id") or ""] = _Task(name, count, _size(root, row))
    tasks = tasks or {"": _Task(path.stem, 0, _size(root, root))}
    checked_frames(sum(task.frames for task in tasks.values()))
    for task in tasks.values():
        if task.hw is None:
            image = image_beside(path, frame_name(0), image_root)
            task.hw = read_hw(image) if image is not None else None
    for number, track in enumerate(root.iter("track"), start=1):
        with report.record(f"track {number - 1} ({track.get('label')})"):
            task = tasks.get(track.get("task_id", "")) or next(iter(tasks.values()))
            if task.hw is None:
                raise DataError(
                    "The size of the frames is unknown: `original_size` and the frames are "
                    "missing. Pass the folder of the frames with --images DIR."
                )
            group = as_whole(track.get("group_id", 0), "group_id")
            key = (id(task), track.get("label"), group) if group else number
            object_number = numbers.setdefault(key, number)
            named = {"source": track.get("source"), "track_group": track.get("group_id")}
            about = other_keys(named, ())
            about |= {"label": track.attrib["label"], "group_id": str(object_number)}
            last, mask = None, None
            for frame, element in _frames(track, task.frames, report):
                with report.record(f"frame {frame}"):
                    if element is not last:
                        last, mask = element, None
                        element.attrib.update(about)
                        mask = _mask(element, task.hw, report)
                    if mask is not None:
                        add_part(task.masks[frame], object_number, mask)
    return [image for task in tasks.values() for image in _images(task, path, image_root)]


def _size(root: ET.Element, about: ET.Element) -> tuple[int, int] | None:
    size = about.find("original_size")
    size = root.find("meta//original_size") if size is None else size
    return None if size is None else checked_hw(size.findtext("height"), size.findtext("width"))


def frame_name(frame: int) -> str:
    """Return the name of a frame in CVAT's exports."""
    return f"frame_{frame:06d}.png"


def _images(task: _Task, path: Path, image_root: Path | None) -> Iterator[AnnotatedImage]:
    if task.hw is None:
        return
    folders = [path.parent / "images", path.parent] if image_root is None else [image_root]
    beside = (file for folder in folders if folder.is_dir() for file in sorted(folder.iterdir()))
    images = {file.stem: file.name for file in beside if file.suffix.lower() in SUFFIXES}
    for frame in sorted({*range(task.frames), *task.masks}):
        name = frame_name(frame)
        yield AnnotatedImage(
            file_name=images.get(Path(name).stem, name),
            hw=task.hw,
            masks=_nearest_last(task.masks.get(frame, {}).values()),
            place=SequencePlace(task.name, frame),
            layered=True,
        )


def _frames(track: ET.Element, frames: int, report: LossReport) -> Iterator[tuple[int, ET.Element]]:
    """Yield the visible elements of a track, including interpolated ones."""
    elements = dict[int, ET.Element]()
    for number, element in enumerate(track):
        with report.record(f"element {number} ({element.tag})"):
            elements[checked_frames(as_whole(element.attrib["frame"], "frame"))] = element
    ordered = sorted(elements)
    ends = [*ordered[1:], max([frames, *(frame + 1 for frame in ordered)])]
    for frame, end in zip(ordered, ends, strict=True):
        element = elements[frame]
        if element.get("outside") == "1":
            continue
        yield frame, element
        after = elements.get(end)
        repeated = _between(element, None, 0, report)
        for between in range(frame + 1, end):
            with report.record(f"frame {between}"):
                share = (between - frame) / (end - frame)
                is_moved = after is not None and after.tag == element.tag
                yield between, _between(element, after, share, report) if is_moved else repeated


def _between(
    before: ET.Element, after: ET.Element | None, share: float, report: LossReport
) -> ET.Element:
    """Interpolate between two elements."""
    element = ET.Element(before.tag, before.attrib | {"keyframe": "0"})
    element.extend(before.iterfind("attribute"))
    if after is None:
        return element
    for key in _MOVED.get(before.tag, ()):
        if key in before.attrib or key in after.attrib:
            start, end = (as_number(shape.get(key, 0), key) for shape in (before, after))
            element.set(key, _mixed(start, end, share))
    if before.tag == "polygon":
        pairs = [_corners(shape) for shape in (before, after)]
        if len(pairs[0]) != len(pairs[1]):
            report.note(
                "Polygons with different numbers of points are not interpolated. The frames "
                "between two such polygons repeat the earlier polygon."
            )
            return element
        corners = (
            ",".join(_mixed(start, end, share) for start, end in zip(*both, strict=True))
            for both in zip(*pairs, strict=True)
        )
        element.set("points", ";".join(corners))
    return element


def _corners(element: ET.Element) -> list[list[float]]:
    pairs = [pair.split(",") for pair in element.attrib["points"].split(";")]
    return [[as_number(number, "points") for number in pair] for pair in pairs]


def _mixed(start: float, end: float, share: float) -> str:
    return repr(start + (end - start) * share)
