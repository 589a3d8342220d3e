"""PASCAL VOC: images of class and object numbers in, annotated images out, and back.

    <set>/SegmentationClass/<stem>.png        class of each pixel, 0 background, 255 void
    <set>/SegmentationObject/<stem>.png       object of each pixel, the same
    <set>/ImageSets/Segmentation/val.txt      the stems; train.txt and test.txt for other splits
    <set>/labelmap.txt                        name:r,g,b:: for each class, background first
    <set>/JPEGImages/<stem>.jpg               the images, which the user adds
    <set>/Annotations/<stem>.xml              <filename> of an image with another name

The class numbers are those of the VOC challenge if all labels are its classes, else those of
labelmap.txt, as CVAT writes it. Both PNGs have 8 bits and VOC's palette. Layout: the VOC2012
development kit (facts, no code). labelme's converter writes class_names.txt, no lists, and may name
the folders SegmentationClassPNG and SegmentationObjectPNG. Sets without these PNGs have polygons in
their XML (`voc_xml`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath
from xml.etree import ElementTree as ET

import numpy as np
from numpy.typing import NDArray

from anymask.base import DataError, UintImage, to_utf8
from anymask.formats import voc_xml
from anymask.formats.annotations import (
    VOID_LABEL,
    AnnotatedImage,
    LossReport,
    annotated_image,
    class_names,
    report_unlabeled,
    report_unsupported_fields,
)
from anymask.formats.class_lists import LABEL_MAP, class_lines, find_classes
from anymask.formats.documents import (
    OutFile,
    checked_hw,
    find_files,
    find_image,
    find_place,
    located,
    output_paths,
    parts_of,
    read_text,
    read_xml,
    xml_element,
)
from anymask.formats.label_images import (
    VOID,
    encode_palette,
    label_image_name,
    object_numbers,
    paint_numbers,
    voc_palette,
)
from anymask.formats.layouts import iter_dataset
from anymask.formats.loss_report import as_color
from anymask.formats.mask_numbers import (
    ALL_SUFFIXES,
    is_binary,
    of_best_kind,
    read_numbers,
    value_rles,
)
from anymask.formats.metadata import CLASSES as LISTED
from anymask.formats.metadata import add_class, report_dataset_fields
from anymask.formats.outlines import Policy
from anymask.masks import UNLABELED, Mask, Masks

CLASSES, OBJECTS = "SegmentationClass", "SegmentationObject"
ANNOTATION_FOLDER, SPLIT_LISTS = "Annotations", "ImageSets/Segmentation"
GLOBS = [f"{top}{OBJECTS}{end}" for top in ("", "VOC*/", "VOCdevkit/VOC*/") for end in ("", "PNG")]

VOC_CLASSES = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair",
    "cow", "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa",
    "train", "tvmonitor",
)  # fmt: skip
_CLASS_NAMES = {number: name for number, name in enumerate(VOC_CLASSES) if number}


def read(
    source: Path, report: LossReport, image_root: Path | None = None, *, boxes: bool = False
) -> list[AnnotatedImage]:
    """Read a set's folder: the challenge's val split, or all object PNGs of another set.

    Raises DataError that names the file.

    Args:
        boxes: Whether to read the XML instead, with boxes without masks as rectangles.
    """
    if boxes or not source.is_dir() or not any(any(source.glob(pattern)) for pattern in GLOBS):
        return voc_xml.read(source, report, image_root, boxes=boxes)
    objects = find_place(source, GLOBS, "objects of PASCAL VOC")
    top, image_files = objects.parent, objects.parent / "JPEGImages"
    names, palettes = _stated(top, report)
    if names is None and image_files.is_dir() and (top / SPLIT_LISTS).is_dir():
        return list(iter_dataset(source, "voc", None))
    beside = image_files if image_root is None and image_files.is_dir() else image_root
    images = []
    for path in of_best_kind(find_files(objects, *ALL_SUFFIXES)):
        with report.record(path):
            name = _image_name(path, objects, beside)
            images.append(_image(path, objects, name, names or _CLASS_NAMES, report, palettes))
    return images


def _stated(top: Path, report: LossReport) -> tuple[dict[int, str] | None, list[UintImage]]:
    """Return the class names of a set, None for those of the challenge, and its palettes."""
    classes = find_classes([top])
    # Keep parts, actions, and other colors than VOC's.
    for line, usual in zip(class_lines(top / LABEL_MAP), voc_palette().tolist(), strict=False):
        name, *fields = line.rsplit(":", 3)
        if len(fields) == 3:
            color = as_color(fields[0].split(","))
            other = None if color == as_color(usual) else color
            add_class(report, name, {"color": other, "parts": fields[1], "actions": fields[2]})
    if classes is None:
        return None, [voc_palette()]
    report.list_classes(dict.fromkeys(classes.names.values()))
    return classes.names, [*classes.palettes, voc_palette()]


def read_voc(root: Path, split: str, report: LossReport | None = None) -> Iterator[AnnotatedImage]:
    """Yield the images of a split of the published set. Raises DataError that names the file."""
    objects = find_place(root, GLOBS, "objects of PASCAL VOC")
    top = objects.parent
    report = LossReport() if report is None else report
    names, palettes = _stated(top, report)
    listed = find_place(top, [f"{SPLIT_LISTS}/{split}.txt"], f"list of {split}")
    for name in filter(None, map(str.strip, read_text(listed).splitlines())):
        path = objects / f"{name}.png"
        image = _image(path, objects, name, names or _CLASS_NAMES, report, palettes)
        with located(path):
            images = top / "JPEGImages"
            yield annotated_image(
                find_image(images, name) or images / f"{name}.jpg", image.hw, image.masks
            )


def _image_name(path: Path, objects: Path, image_root: Path | None) -> str:
    """Return the image name: as in `image_root`, else as in its XML, else <stem>.jpg."""
    inside = path.relative_to(objects)
    details = (objects.parent / ANNOTATION_FOLDER / inside).with_suffix(".xml")
    if find_image(image_root, inside.with_suffix("").as_posix()) is None and details.is_file():
        name = PurePosixPath(read_xml(details).findtext("filename") or "").name
        if name:
            return (PurePosixPath(inside.as_posix()).parent / name).as_posix()
    return label_image_name(path, objects, image_root, ".jpg")


def _image(
    path: Path,
    objects: Path,
    name: str,
    names: Mapping[int, str],
    report: LossReport,
    palettes: list[UintImage],
) -> AnnotatedImage:
    folder = objects.with_name(objects.name.replace(OBJECTS, CLASSES))
    with located(path):
        image = read_numbers(path, report, [voc_palette()])
        values, void = image.values, None if is_binary(image) else VOID
        hw = checked_hw(*values.shape)
        classes = _classes(folder / path.relative_to(objects), values, report, palettes)
    masks = [
        Mask(rle, VOID_LABEL, crowd=True)
        if value == void
        else Mask(rle, names.get(classes.get(value, 0)))
        for value, rle in value_rles(values).items()
        if value
    ]
    return AnnotatedImage(file_name=name, hw=hw, masks=Masks(masks))


def _classes(
    path: Path, values: NDArray[np.generic], report: LossReport, palettes: list[UintImage]
) -> dict[int, int]:
    """Return the class number of each object, which is that of its first pixel."""
    if not path.is_file():
        return {}
    with located(path):
        numbers = read_numbers(path, report, palettes).values
        if numbers.shape != values.shape:
            raise DataError(
                f"The class image has the size {numbers.shape}, but the object image {values.shape}"
            )
    objects, first = np.unique(values, return_index=True)
    return dict(zip(objects.tolist(), numbers.reshape(-1)[first].tolist(), strict=True))


def encode(
    images: list[AnnotatedImage], target: Path, report: LossReport, policy: Policy
) -> Iterator[OutFile]:
    """Yield both PNGs of each image, the lists of names, and the class names.

    Images in train/, val/ or test/ are listed in these splits, others in val.
    """
    bare = [replace(image, masks=Masks(m for m in image.masks if not _void(m))) for image in images]
    names = _names(bare, report, policy)
    report_dataset_fields(report, images, policy, (LISTED,), ("parts", "actions"))
    paths = output_paths(images, target / OBJECTS, ".png")
    stem_of = {
        image.file_name: path.relative_to(target / OBJECTS).as_posix().removesuffix(".png")
        for image, path in zip(images, paths, strict=True)
    }
    for image, plain, path in zip(images, bare, paths, strict=True):
        report_unsupported_fields(report, plain, frozenset({"labels"}))
        report_unlabeled(report, plain)
        void = [_void(mask) for mask in image.masks]
        numbers = object_numbers(image, report, VOID - 1, void)
        yield path, encode_palette(paint_numbers(image, numbers, report))
        classes = [
            VOID if hidden else names.index(_one_line(mask.label or UNLABELED))
            for mask, hidden in zip(image.masks, void, strict=True)
        ]
        stem = stem_of[image.file_name]
        file = target / CLASSES / f"{stem}.png"
        yield file, encode_palette(paint_numbers(image, classes, LossReport()))
        if image.file_name != f"{stem}.jpg":
            sides = zip(("height", "width", "depth"), (*image.hw, 3), strict=True)
            size = xml_element("size", [xml_element(name, side) for name, side in sides])
            parts = [xml_element("filename", image.name), size, xml_element("segmented", 1)]
            details = ET.tostring(xml_element("annotation", parts), "utf-8") + b"\n"
            yield target / ANNOTATION_FOLDER / f"{stem}.xml", details
    for split, few in (parts_of(images) or {"val": images}).items():
        lines = "".join(f"{stem_of[image.file_name]}\n" for image in few)
        yield target / SPLIT_LISTS / f"{split}.txt", to_utf8(lines)
    colors = voc_palette().tolist()
    about = [policy.facts.classes.get(name, {}) for name in names]
    rows = [
        f"{name}:{r},{g},{b}:{facts.get('parts', '')}:{facts.get('actions', '')}\n"
        for name, (r, g, b), facts in zip(names, colors[: len(names)], about, strict=True)
    ]
    yield target / LABEL_MAP, to_utf8("".join(["# label:color_rgb:parts:actions\n", *rows]))


def _void(mask: Mask) -> bool:
    return mask.crowd and mask.label == VOID_LABEL


def _one_line(label: str) -> str:
    return " ".join(label.lstrip("#").splitlines()) or UNLABELED


def _names(images: list[AnnotatedImage], report: LossReport, policy: Policy) -> list[str]:
    """Return the classes by number, background first. Raises DataError for more than 254."""
    first = [name for name in policy.classes if name not in (VOID_LABEL, VOC_CLASSES[0])]
    labels = class_names(images, first)
    if VOC_CLASSES[0] in policy.classes and VOC_CLASSES[0] not in labels:
        reason = (
            f"{VOC_CLASSES[0]!r} is the VOC name of the background; it was omitted from "
            "the class list"
        )
        report.add("classes", LABEL_MAP, None, reason)
    if not first and set(labels) <= set(VOC_CLASSES[1:]):
        return list(VOC_CLASSES)
    for label in labels:
        if _one_line(label) == VOC_CLASSES[0]:
            reason = f"{label!r} is the VOC name of the background; the mask has no class"
            report.add("labels", LABEL_MAP, None, reason)
        elif _one_line(label) != label:
            report.add("labels", LABEL_MAP, None, f"{label!r} became {_one_line(label)!r}")
    names = [VOC_CLASSES[0], *dict.fromkeys(map(_one_line, labels))]
    if len(names) >= VOID:
        raise DataError(f"PASCAL VOC supports at most {VOID - 1} classes, given: {len(names) - 1}.")
    return names
