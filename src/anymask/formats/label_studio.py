"""Label Studio's JSON: tasks with brushes or polygons.

A brush is a list of bytes (thi.ng/rle-pack). Its bits: 32 the number of values; 5 the bits of a
value minus 1; 4 times 4 the bits of a run length minus 1; then the runs. A run: 1 bit whether one
value repeats; 2 bits which of the four sizes its length has; the length minus 1; then the value, or
as many values as the length. The values are the image's RGBA bytes, row by row; a mask is 0 or 255
in all four.

The encoder writes the same bytes as label-studio-sdk (Apache-2.0, `converter/brush.py`); the
layout, not the code. It is unrelated to COCO's run-lengths.

The output contains predictions, which an import shows as pre-annotations, or finished annotations,
the only ones that Label Studio's own exports include. `from_name` and `to_name` are those of Label
Studio's templates (`tag` for brushes, `label` for polygons, `image`). Regions with names that are
not in the project's labeling interface are not shown, so a matching interface is written beside the
tasks as `NAME.label_config.xml`. The annotations of a task are read, or its predictions if there
are none. Coordinates are percentages of the image's sides; the `score` of a region is the quality.

`data.image` is often a URL on a server; the image name is its path, and the URL is kept and written
back. Uploaded files have eight characters and a dash before their names; images are searched
without this prefix as well.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

import numpy as np
from numpy.typing import NDArray

from anymask.base import DataError, Floats, InputError
from anymask.formats.annotations import (
    AnnotatedImage,
    LossReport,
    report_unlabeled,
    report_unsupported_fields,
)
from anymask.formats.documents import (
    OutFile,
    address_name,
    checked_hw,
    file_target,
    find_files,
    find_named,
    read_hw,
    read_json,
    read_xml,
    to_json,
    xml_text,
)
from anymask.formats.fields import (
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
from anymask.formats.label_studio_min import is_row, read_table, task_of
from anymask.formats.loss_report import as_color
from anymask.formats.metadata import CLASSES, add_class, report_dataset_fields
from anymask.formats.outlines import CornerCheck, Policy, box_ring, ring_to_rle, single_rings
from anymask.masks import (
    MAX_PIXELS,
    UNLABELED,
    Mask,
    Masks,
    Ring,
    Rle,
    ellipse_ring,
    mask_to_rle,
    rle_to_mask,
    turned_ring,
)

_SIZES = np.array([3, 4, 8, 16])  # bits of a run length
_HEADER = (5, 4, 4, 4, 4)  # bits
_MAX_RUN = 1 << 16
_CHANNELS = 4
_BRUSH_HALF = 127  # brushes have soft edges; pixels above one half are foreground


def mask_to_brush(mask: NDArray[Any]) -> list[int]:  # (H, W)
    """Encode a mask (H, W) of any number type as bytes; nonzero pixels are foreground.

    Raises:
        InputError: `mask` is not (H, W), or has no pixel.
    """
    if mask.ndim != 2 or not mask.size:
        raise InputError(f"A mask must have the shape (H, W), but this one has {mask.shape}.")
    flat = mask.ravel() != 0
    edges = np.concatenate([[0], np.flatnonzero(flat[1:] != flat[:-1]) + 1, [flat.size]])
    lengths = np.diff(edges) * _CHANNELS
    values = flat[edges[:-1]].astype(np.int64) * 255
    pieces = -(-lengths // _MAX_RUN)
    tails = lengths - (pieces - 1) * _MAX_RUN
    lengths = np.full(int(pieces.sum()), _MAX_RUN)
    lengths[np.cumsum(pieces) - 1] = tails
    values = np.repeat(values, pieces)
    which = np.searchsorted(1 << _SIZES, lengths)
    words = (((4 + which) << _SIZES[which]) + lengths - 1 << 8) + values
    words = np.concatenate([[flat.size * _CHANNELS, 7, *(_SIZES - 1)], words])
    widths = np.concatenate([[32, *_HEADER], 3 + _SIZES[which] + 8])
    ends = np.cumsum(widths)  # the lowest `widths` bits of each word, highest bit first
    shifts = np.repeat(ends, widths) - np.arange(int(ends[-1])) - 1
    bits = ((np.repeat(words, widths) >> shifts) & 1).astype(np.uint8)
    padded = np.concatenate([bits, np.zeros(8 - len(bits) % 8, np.uint8)])  # also for full bytes
    return np.packbits(padded).tolist()


def brush_to_rle(packed: Any, image_hw: tuple[int, int]) -> Rle:
    """Decode a list of bytes.

    Raises:
        DataError: It is truncated, contains other values than bytes, or has another size.
    """
    data = np.asarray(packed)
    if data.ndim != 1 or data.dtype.kind not in "iu" or (data.size and data.max() > 255):
        raise DataError("Brush run-lengths must be a list of bytes, 0 to 255.")
    if data.size < 8 or data.min() < 0:
        raise DataError(
            f"Brush run-lengths have a header of 7 bytes and runs, given: {data.size} bytes."
        )
    text = (np.unpackbits(data.astype(np.uint8)) + ord("0")).tobytes().decode("ascii")
    height, width = checked_hw(*image_hw, MAX_PIXELS)
    count = height * width * _CHANNELS
    if (total := int(text[:32], 2)) != count:
        raise DataError(
            f"The brush run-lengths have {total} values, but the image of {width} x {height} "
            f"pixels has {count}."
        )
    if (word := int(text[32:37], 2) + 1) != 8:
        raise DataError(f"Brush run-lengths must have values of 8 bits, but these have {word}.")
    sizes = [int(text[start : start + 4], 2) + 1 for start in range(37, 53, 4)]
    values = np.zeros(count, np.uint8)
    here, at = 0, 53
    try:
        while here < count:
            size = sizes[int(text[at + 1 : at + 3], 2)]
            length = int(text[at + 3 : at + 3 + size], 2) + 1
            repeats = text[at] == "1"
            at += 3 + size
            end = at + (8 if repeats else 8 * length)
            if here + length > count or end > len(text):
                raise DataError("The brush run-lengths describe more pixels than the image has.")
            values[here : here + length] = [
                int(text[start : start + 8], 2) for start in range(at, end, 8)
            ]
            here, at = here + length, end
    except (ValueError, IndexError):
        raise DataError(
            "The brush run-lengths describe fewer pixels than the image has. They may be truncated."
        ) from None
    return mask_to_rle(values.reshape(height, width, _CHANNELS)[..., 3] > _BRUSH_HALF)


CONFIG_SUFFIX = ".label_config.xml"  # suffix of the labeling interface beside the tasks
_SIZE = ("original_width", "original_height")
_OF_REGION = (
    "id", "type", "value", "score", "from_name", "to_name", "image_rotation", "readonly", *_SIZE,
)  # fmt: skip
_TASK_KEYS = (
    "id", "data", "annotations", "predictions", "drafts", "project", "inner_id", "file_upload",
    "total_annotations", "cancelled_annotations", "total_predictions", "created_at", "updated_at",
    "comment_count", "unresolved_comment_count",
)  # fmt: skip
_OF_ANNOTATION = (
    "id", "result", "was_cancelled", "task", "project", "unique_id", "result_count", "score",
    "created_at", "updated_at", "model_version", "draft_created_at", "import_id", "prediction",
)  # fmt: skip
_HELD = ("all_labels", "meta", "parentID", "origin", "hidden")
_REGION_SHAPES = ("brush", "polygon", "rectangle", "ellipse")
_REGION_TYPES = (*(f"{shape}labels" for shape in _REGION_SHAPES), *_REGION_SHAPES, "labels")
_MARKS = {"rle": "brush", "points": "polygon", "radiusX": "ellipse", "width": "rectangle"}
_UNSIZED = "No region contains the image size"
_BOX_KEYS = ("x", "y", "width", "height")
_GEOMETRY_KEYS = (*_BOX_KEYS, "rotation", "points", "radiusX", "radiusY", "rle")


def read(source: Path, report: LossReport, image_root: Path | None = None) -> list[AnnotatedImage]:
    """Read an export; regions without area are reported.

    Raises DataError that names file, task, region and reason.
    """
    images, unsized = list[AnnotatedImage](), list[str]()
    corners = CornerCheck("x y width height in percent")
    for path in find_files(source, ".json"):
        if (config := path.with_suffix(CONFIG_SUFFIX)).is_file():
            with report.record(config):
                labels = [label.attrib for label in read_xml(config).iter("Label")]
                for label in labels:
                    add_class(report, label["value"], {"color": label.get("background")})
                report.list_classes(dict.fromkeys(label["value"] for label in labels))
        with report.record(path):
            is_table = path.suffix.lower() in (".csv", ".tsv")
            tasks = read_table(path) if is_table else as_list(read_json(path), "the document")
            for number, task in enumerate(tasks):
                with report.record(f"task {number}"):
                    if (image := _image(task, report, corners, image_root)) is None:
                        unsized.append(f"{path}: task {number}")
                    else:
                        images.append(image)
    corners.tell(report)
    if unsized and not images and not report.skipped:
        raise DataError(f"{unsized[0]}: {_UNSIZED}. Pass the folder of the images.")
    return images


def _image(
    task: Any, report: LossReport, corners: CornerCheck, image_root: Path | None
) -> AnnotatedImage | None:
    """Read the image of a task; None if its size is unknown, which is reported."""
    task = task_of(task) if isinstance(task, dict) and is_row(task) else task
    if not isinstance(task, dict) or "data" not in task:
        raise DataError(f"Expected Label Studio tasks with `data`. Given: {shown(task)}.")
    data = as_record(task["data"], "data")
    key = next((key for key in ("image", "img", "photo", "url") if key in data), None)
    if key is None:
        raise DataError(f"`data` has no `image`. Its keys are {sorted(data)}.")
    address = as_text(data[key], key)
    name = address_name(address)
    rows = [as_record(row, "annotation") for row in task.get("annotations") or []]
    what, chosen = "annotations", [row for row in rows if not row.get("was_cancelled")]
    if not chosen:
        what, chosen = "predictions", task.get("predictions") or []
    if len(chosen) > 1:
        reason = f"the task has {len(chosen)} {what}; only the first one is read"
        report.add("shapes", name, None, reason)
    regions = as_list(chosen[0]["result"], "result") if chosen else []
    if (hw := _hw(regions, data, name, image_root)) is None:
        if any(_type_of(region) in _REGION_TYPES for region in regions):
            raise DataError(f"{_UNSIZED}. Pass the folder of the images.")
        report.add("images", name, None, f"{_UNSIZED}; the image was skipped")
        return None
    masks = []
    named = {_place(region) for region in regions if _type_of(region) == "labels"}
    for number, region in enumerate(regions):
        with report.record(f"region {number}"):
            kind = as_record(region, "region").get("type")
            if (shape := _shape(kind, as_record(region["value"], "value"))) is None:
                report.skip(name, f"regions of type {shown(kind)} have no mask")
                continue
            if kind == shape and _place(region) in named:
                continue  # <Rectangle> with <Labels>: the shape is in both regions
            listed = region["value"].get(str(kind)) or []
            first = None if kind == shape or not listed else listed[0]
            label = None if first is None else as_text(first, str(kind))
            if shape == "rectangle" and not region["value"].get("rotation"):
                numbers = [
                    as_number(region["value"][side], side) * hw[1 - index % 2] / 100
                    for index, side in enumerate(_BOX_KEYS)
                ]
                x, y, width, height = numbers
                corners.add((x, y, x + width, y + height), numbers, hw)
            quality = as_number(region.get("score") or 0.0, "score")
            values = {
                "all_labels": listed if len(listed) > 1 else None,
                "rotation": region["value"].get("rotation"),
            }
            extra = other_keys(region, _OF_REGION) | other_keys(values, ())
            masks.append(Mask(_rle(region, shape, hw), label, score=quality, extra=extra))
    annotation = other_keys(chosen[0], _OF_ANNOTATION) if chosen else {}
    more = {"data": other_keys(data, (key, *_SIZE)), "annotation": annotation}
    extra = other_keys(task, _TASK_KEYS) | other_keys(more, ())
    if address != name:
        extra["image"] = address
    return AnnotatedImage(file_name=name, hw=hw, masks=Masks(masks), extra=extra, layered=True)


def _type_of(region: Any) -> object:
    return region.get("type") if isinstance(region, Mapping) else None


def _shape(kind: object, value: Mapping[str, Any]) -> str | None:
    """Return the shape of a region, one of `_REGION_SHAPES`; None without a shape."""
    if kind == "labels":
        return next((shape for key, shape in _MARKS.items() if key in value), None)
    plain = str(kind).removesuffix("labels")
    return plain if plain in _REGION_SHAPES else None


def _place(region: Mapping[str, Any]) -> str:
    """Return a key for regions of the same shape: its id, or its numbers without ids."""
    value = region.get("value")
    if "id" in region or not isinstance(value, Mapping):
        return str(region.get("id"))
    return str(sorted((key, value[key]) for key in _GEOMETRY_KEYS if key in value))


def _hw(
    regions: list[Any], data: Mapping[str, Any], name: str, image_root: Path | None
) -> tuple[int, int] | None:
    """Return the image's (H, W), from a region, the data or the image; None if unknown."""
    wrong: DataError | None = None
    for row in (*regions, data):
        if isinstance(row, Mapping) and "original_height" in row:
            try:
                return checked_hw(row["original_height"], row.get("original_width"))
            except DataError as error:
                wrong = wrong or error
    if (path := find_named(image_root, name)) is not None:
        return read_hw(path)
    if wrong is not None:
        raise wrong
    return None


def _rle(region: Any, shape: str, hw: tuple[int, int]) -> Rle:
    value = as_record(region["value"], "value")
    turn = as_whole(region.get("image_rotation") or 0, "image_rotation") % 360
    if turn % 90 or (turn and shape == "brush"):
        raise DataError(
            "Brushes on rotated images are not supported, nor other angles than 90, 180 and 270. "
            "Set image_rotation to 0 in Label Studio."
        )
    if shape != "brush":
        frame = hw[::-1] if turn % 180 else hw  # the image as it was shown
        ring = _corners(value, shape, frame)
        for _ in range(turn // 90):  # a quarter turn back, counterclockwise
            ring, frame = np.column_stack([ring[:, 1], frame[1] - ring[:, 0]]), frame[::-1]
        return ring_to_rle(ring, hw)
    if "rle" not in value:
        raise DataError(f"The brush has no `rle`. Its keys are {sorted(value)}.")
    return brush_to_rle(value["rle"], hw)


def _corners(value: Mapping[str, Any], shape: str, hw: tuple[int, int]) -> Ring:
    """Convert percentages to pixels; rectangles rotate clockwise around their first corner."""
    scale = np.array([hw[1], hw[0]]) / 100
    if shape == "polygon":
        return as_corners(value["points"]) * scale

    def share(*keys: str) -> Floats:  # -> (2,) in pixels
        return np.array([as_number(value[key], key) for key in keys]) * scale

    angle, first = as_number(value.get("rotation") or 0, "rotation"), share("x", "y")
    if shape == "ellipse":
        return ellipse_ring(first, share("radiusX", "radiusY"), angle)
    wide, high = share("width", "height")
    return turned_ring(first + box_ring(0, 0, wide, high), first, angle)


# Writing.


def encode(
    images: list[AnnotatedImage],
    target: Path,
    report: LossReport,
    policy: Policy,
    polygons: bool = False,
) -> Iterator[OutFile]:
    """Write tasks with brushes, which keep every pixel, or rings; and the labeling interface."""
    tasks: list[dict[str, Any]] = []
    name, tag = ("label", "PolygonLabels") if polygons else ("tag", "BrushLabels")
    kind = tag.lower()
    is_final = policy.out_type == "annotations"
    image_keys = ("image", "data", "meta", *(("annotation",) if is_final else ()))
    for image in images:
        report_unsupported_fields(report, image, frozenset({"labels", "scores"}), _HELD, image_keys)
        report_unlabeled(report, image)
        height, width = image.hw
        size = {"original_width": width, "original_height": height}
        result: list[dict[str, Any]] = []
        for number, mask in enumerate(image.masks):
            if polygons:
                rings = single_rings(image, number, report, policy)
                # divided last, so that the far side is exactly 100
                points = [(100 * ring / (width, height)).tolist() for ring in rings]
                shapes = [{"points": ring, "closed": True} for ring in points]
            else:
                shapes = [{"format": "rle", "rle": mask_to_brush(rle_to_mask(mask.rle))}]
            label = mask.label or UNLABELED
            several = mask.extra.get("all_labels")  # kept if the first one is unchanged
            same = isinstance(several, list) and several[:1] == [label]
            labels = {kind: list(several or ()) if same else [label]}
            for shape in shapes:
                about: dict[str, Any] = {"from_name": name, "type": kind, "value": shape | labels}
                about |= held(mask.extra, _HELD[1:]) | {"id": f"{len(tasks)}-{len(result)}"}
                rest = {"image_rotation": 0, "score": mask.score, "readonly": False}
                result.append(about | {"to_name": "image"} | size | rest)
        data = dict(image.extra.get("data") or {})
        data |= {"image": image.extra.get("image", image.file_name)} | size
        task = held(image.extra, ("meta",)) | {"id": len(tasks) + 1, "data": data}
        if is_final:
            annotation = image.extra.get("annotation", {}) | {"result": result}
            task["annotations"] = [{"was_cancelled": False, "ground_truth": False} | annotation]
        else:
            score = float(np.mean([mask.score for mask in image.masks])) if image.masks else 0.0
            task["predictions"] = [{"model_version": "anymask", "score": score, "result": result}]
        tasks.append(task)
    report_dataset_fields(report, images, policy, (CLASSES,), ("color",))
    path = file_target(target)
    yield path, to_json(tasks)
    lines = [
        "<View>",
        '  <Image name="image" value="$image" zoom="true"/>',
        f'  <{tag} name="{name}" toName="image">',
    ]
    used = (mask.label or UNLABELED for image in images for mask in image.masks)
    for label in dict.fromkeys([*policy.classes, *used]) or [UNLABELED]:
        color = as_color(policy.facts.classes.get(label, {}).get("color"))
        more = f' background="{color}"' if color else ""
        lines.append(f"    <Label value={quoteattr(xml_text(label))}{more}/>")
    text = "\n".join([*lines, f"  </{tag}>", "</View>\n"])
    yield path.with_suffix(CONFIG_SUFFIX), text.encode()
