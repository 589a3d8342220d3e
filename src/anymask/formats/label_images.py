"""Label images with a number or a color for each object: DAVIS, 16-bit PNGs, TIFFs.

In a color PNG each color is an object, and black is background. A pixel has one number, so masks
must not overlap: nearer masks are painted over farther ones if the source orders them, otherwise
smaller masks over larger ones, and covered pixels are reported. 0 is background. DAVIS and
YouTube-VOS (readme of the datasets) use 8 bits with PASCAL VOC's palette, object numbers are
constant through a video, and 255 is void: ignored pixels.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from anymask.base import DataError, UintImage
from anymask.formats.annotations import (
    VOID_LABEL,
    AnnotatedImage,
    LossReport,
    report_unsupported_fields,
)
from anymask.formats.class_lists import ClassList, find_classes
from anymask.formats.documents import OutFile, checked_hw, find_files, find_image, output_paths
from anymask.formats.label_folders import label_files, paired_image_name, places_of
from anymask.formats.mask_numbers import (
    ALL_SUFFIXES,
    is_binary,
    of_best_kind,
    read_numbers,
    value_rles,
)
from anymask.formats.metadata import report_dataset_fields
from anymask.formats.outlines import Policy
from anymask.images import strips
from anymask.masks import MAX_PIXELS, Mask, Masks, rle_area, rle_crop

VOID = 255
RESOLUTIONS = ("480p", "1080p", "Full-Resolution")  # folders of DAVIS
MAX_IN_TIFF = (1 << 31) - 1  # valid for signed and unsigned readers
_SAMPLE_FORMAT, _UNSIGNED = 339, 1  # tag of TIFF 6.0, and its value


def read(source: Path, report: LossReport, image_root: Path | None = None) -> list[AnnotatedImage]:
    """Read label images; the `id` of a mask is its value. Raises DataError that names the file.

    An image has the name found by `label_folders`, else that of the label. Several files of one
    image (a_0.png, a_1.png for a.jpg) are its masks, numbered from 1. A list of names beside the
    labels (`class_lists`) makes each value a class.
    """
    places = places_of(source, image_root)
    images: dict[str, AnnotatedImage] = {}
    above = places.labels.parents[2 if places.labels.is_file() else 1 :]
    for path in label_files(places):
        name = paired_image_name(path, places) or label_image_name(path, places.labels, None)
        with report.record(path):
            here = [folder for folder in path.parents if folder not in above]
            image = _image(path, name, report, None, find_classes(here))
            images[name] = _joined(images[name], image) if name in images else image
    return list(images.values())


def _joined(first: AnnotatedImage, second: AnnotatedImage) -> AnnotatedImage:
    """Merge the masks of two files of one image. Raises DataError if their sizes differ."""
    if first.hw != second.hw:
        raise DataError(
            f"The mask has {second.hw[1]} x {second.hw[0]} pixels, but another mask of "
            f"{first.file_name!r} has {first.hw[1]} x {first.hw[0]}."
        )
    masks = enumerate([*first.masks, *second.masks], start=1)
    return replace(first, masks=Masks(replace(mask, id=number) for number, mask in masks))


def read_davis(
    source: Path, report: LossReport, image_root: Path | None = None
) -> list[AnnotatedImage]:
    """Read a dataset folder, its Annotations/<resolution>, a video folder or one image.

    Void becomes a crowd mask with the label "void". Raises DataError.
    """
    top = source / "Annotations"
    if top.is_dir():
        inside = sorted(path for path in top.iterdir() if path.is_dir())
        deep = [path for path in inside if any(child.is_dir() for child in path.iterdir())]
        deep = deep or [path for path in inside if path.name in RESOLUTIONS]  # single images
        source = deep[0] if len(deep) == 1 else top
    images = []
    for path in of_best_kind(find_files(source, *ALL_SUFFIXES)):
        name = label_image_name(path, source, image_root, ".jpg")
        with report.record(path):
            images.append(_image(path, name, report, void=VOID))
    return images


def label_image_name(
    path: Path, source: Path, image_root: Path | None, suffix: str = ".png"
) -> str:
    """Return the image name: as found in `image_root`, else that of the label image."""
    inside = path.relative_to(source) if source.is_dir() else Path(path.name)
    stem = inside.with_suffix("").as_posix()
    image = find_image(image_root, stem)
    if image is None or image_root is None:
        return stem + suffix
    return image.relative_to(image_root).as_posix()


def _image(
    path: Path, name: str, report: LossReport, void: int | None, listed: ClassList | None = None
) -> AnnotatedImage:
    named = ClassList({}) if listed is None else listed
    usual = [voc_palette()] if void is not None or listed is not None else []
    image = read_numbers(path, report, [*named.palettes, *usual])
    classes = ClassList({}) if image.colored else named
    if classes.names:
        report.list_classes(dict.fromkeys(classes.names.values()))
        void = None if VOID in classes.names else VOID
    void = None if is_binary(image) else void
    masks = Masks(
        Mask(rle, VOID_LABEL, crowd=True)
        if value == void
        else Mask(rle, classes.names.get(value), id=value)
        for value, rle in value_rles(image.values).items()
        if value == void or value != classes.background
    )
    return AnnotatedImage(file_name=name, hw=checked_hw(*image.values.shape), masks=masks)


# Writing.


def encode(
    images: list[AnnotatedImage],
    target: Path,
    report: LossReport,
    policy: Policy,
    *,
    suffix: Literal[".png", ".tif"] = ".png",
) -> Iterator[OutFile]:
    """Write a 16-bit PNG for each image, or a TIFF, with 32 bits if required.

    The value is the group of the mask, or its position from 1.
    """
    most = 65535 if suffix == ".png" else MAX_IN_TIFF
    for image, path in zip(images, output_paths(images, target, suffix), strict=True):
        report_unsupported_fields(report, image, frozenset({"ids"}))
        values = paint_numbers(image, object_numbers(image, report, most), report)
        yield path, image_bytes(Image.fromarray(values)) if suffix == ".png" else _tiff(values)
    report_dataset_fields(report, images, policy)


encode_tif = partial(encode, suffix=".tif")


def encode_davis(
    images: list[AnnotatedImage], target: Path, report: LossReport, policy: Policy
) -> Iterator[OutFile]:
    """Write a palette PNG for each frame, to Annotations/480p of the target folder."""
    paths = output_paths(images, target / "Annotations" / "480p", ".png")
    for image, path in zip(images, paths, strict=True):
        void = [mask.crowd and mask.label == VOID_LABEL for mask in image.masks]
        visible = Masks(mask for mask, hidden in zip(image.masks, void, strict=True) if not hidden)
        report_unsupported_fields(report, replace(image, masks=visible), frozenset({"ids"}))
        numbers = object_numbers(image, report, VOID - 1, void)
        yield path, encode_palette(paint_numbers(image, numbers, report))
    report_dataset_fields(report, images, policy)


def object_numbers(
    image: AnnotatedImage, report: LossReport, most: int, void: Sequence[bool] = ()
) -> list[int]:
    """Return a number from 1 to `most` for each mask: the groups if valid, else the positions.

    Raises DataError if there are more masks than numbers.

    Args:
        void: Which masks are VOID instead.
    """
    voids = list(void) or [False] * len(image.masks)
    objects = [mask for mask, hidden in zip(image.masks, voids, strict=True) if not hidden]
    if len(objects) > most:
        raise DataError(
            f"{image.file_name}: The format supports at most {most} objects, given: {len(objects)}."
        )
    groups = [mask.id for mask in objects if mask.id is not None]
    fit = len(set(groups)) == len(objects) and all(1 <= group <= most for group in groups)
    if groups and not fit:
        reason = f"groups must be distinct numbers from 1 to {most}; the masks were renumbered"
        report.add("ids", image.file_name, None, reason)
    numbers = iter(groups if fit else range(1, len(objects) + 1))
    return [VOID if hidden else next(numbers) for hidden in voids]


def paint_numbers(
    image: AnnotatedImage, numbers: Sequence[int], report: LossReport
) -> NDArray[Any]:
    """Paint (H, W) numbers of 16 or 32 bits; report overlaps.

    Masks with a higher `z_order` are painted over others; of equal ones, later masks over earlier
    ones in a layered image, otherwise smaller masks over larger ones.

    To save memory, the array first holds the position of each pixel's mask, from 1, which is then
    replaced by the mask's number in place. Raises DataError for more than MAX_PIXELS.
    """
    checked_hw(*image.hw, MAX_PIXELS)
    most = max([len(image.masks), *numbers])
    values = np.zeros(image.hw, np.uint16 if most < 1 << 16 else np.uint32)

    def nearness(place: int) -> tuple[float, int]:
        mask = image.masks[place]
        depth = mask.extra.get("z_order")
        near = depth if isinstance(depth, int | float) else 0
        return near, place if image.layered else -rle_area(mask.rle)

    for index in sorted(range(len(image.masks)), key=nearness):
        crop, (x0, y0, x1, y1) = rle_crop(image.masks[index].rle)
        np.copyto(values[y0:y1, x0:x1], index + 1, where=crop)
    table = np.array([0, *numbers], values.dtype)
    left = np.zeros(len(table), np.int64)
    for rows in strips(image.hw):
        owners = values[rows]
        left += np.bincount(owners.reshape(-1), minlength=len(table))
        values[rows] = table[owners]
    for index, (mask, visible) in enumerate(zip(image.masks, left[1:].tolist(), strict=True)):
        if not (area := rle_area(mask.rle)):
            report.add("empty", image.file_name, index, "an empty mask has no pixel to label")
        elif visible < area:
            hidden = f"{area - visible} of the {area} pixels of the mask are covered by other masks"
            report.add("overlaps", image.file_name, index, hidden)
    return values


def encode_palette(values: NDArray[Any], level: int = 6) -> bytes:  # (H, W) 0..255
    """Encode an 8-bit PNG with VOC's palette, with zlib level 0 to 9."""
    image = Image.fromarray(values.astype(np.uint8))
    image.putpalette(voc_palette().tobytes())
    return image_bytes(image, "PNG", compress_level=level)


def image_bytes(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    """Encode an image in a format of Pillow."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def _tiff(values: NDArray[Any]) -> bytes:  # (H, W) of 16 or 32 bits
    wide = values.dtype == np.uint32  # Pillow writes signed numbers with the same bits
    image = Image.fromarray(values.view(np.int32) if wide else values)
    data = bytearray(image_bytes(image, "TIFF", compression="tiff_deflate"))
    if wide:
        (directory,) = struct.unpack_from("<I", data, 4)
        (count,) = struct.unpack_from("<H", data, directory)
        for entry in range(directory + 2, directory + 2 + 12 * count, 12):
            if struct.unpack_from("<H", data, entry) == (_SAMPLE_FORMAT,):
                struct.pack_into("<H", data, entry + 8, _UNSIGNED)
    return bytes(data)


def voc_palette() -> UintImage:  # (256, 3)
    """Return PASCAL VOC's colors: bits 0, 3, 6 of the number are the high bits of red, etc."""
    numbers = np.arange(256)
    colors = np.zeros((256, 3), np.uint8)
    for level in range(8):
        for channel in range(3):
            bit = (numbers >> (3 * level + channel)) & 1
            colors[:, channel] |= (bit << (7 - level)).astype(np.uint8)
    return colors
