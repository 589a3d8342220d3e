"""Published datasets of label images: ADE20K and Cityscapes.

ADE20K, full (github.com/CSAILVision/ADE20K), in images/ADE/training and .../validation:
    SCENE/ADE_val_00000001.jpg, .json, _seg.png: red / 10 * 256 + green is the class, blue the
    object; `name_ndx` in the JSON names the class. Parts (_parts_1.png) are ignored
ADE20K, Places Challenge 2017 (github.com/CSAILVision/placeschallenge):
    images/validation/NAME.jpg, annotations_instance/validation/NAME.png: red is the class,
    green the object, 0 background
ADE20K, scene parsing (same repository): annotations/validation/NAME.png, a class per pixel, 0
    background; objectInfo150.txt names the classes. A mask consists of all pixels of a class
Cityscapes (github.com/mcordts/cityscapesScripts): leftImg8bit/val/CITY/*_leftImg8bit.png and
    gtFine/val/CITY/*_gtFine_instanceIds.png (or _polygons.json without those): class * 1000 +
    number is an object; a class of objects without a number is a group of ignored pixels, like
    the classes that the benchmark ignores
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from anymask.base import DataError
from anymask.formats.annotations import VOID_LABEL, AnnotatedImage, annotated_image
from anymask.formats.documents import checked_hw, find_place, located, read_json, read_text
from anymask.formats.mask_numbers import colors_to_numbers, label_colors, label_values, value_rles
from anymask.masks import MAX_PIXELS, Mask, Rle

# ADE20K


def read_ade20k(root: Path, split: str) -> Iterator[AnnotatedImage]:
    """Read the objects of the full ADE20K. Raises DataError that names the file."""
    places = [f"{top}{split}" for top in ("images/ADE/", "*/images/ADE/", "images/")]
    for path in sorted(find_place(root, places, f"images of ADE20K's {split}").rglob("*_seg.png")):
        stem = path.name.removesuffix("_seg.png")
        with located(path):
            layers = label_colors(path).copy()
            layers[..., 0] //= 10
            values = colors_to_numbers(layers)
            values[values < 256] = 0  # blue without a class is not an object
            about = path.with_name(f"{stem}.json")  # there was none before 2021
            with located(about):
                rows = read_json(about)["annotation"]["object"] if about.is_file() else ()
                names = {int(row["name_ndx"]): str(row["name"]).split(",")[0] for row in rows}
            rles = value_rles(values)
            labels = {value: names.get(value // 256) for value in rles}
            yield _sample(path.with_name(f"{stem}.jpg"), values, rles, labels)


def read_ade20k_instances(root: Path, split: str) -> Iterator[AnnotatedImage]:
    """Read the objects of the Places Challenge. Raises DataError that names the file."""

    def read_values(path: Path) -> NDArray[Any]:
        layers = label_colors(path)
        values = layers[..., 1].astype(np.int32) * 256 + layers[..., 0]
        values[values < 256] = 0  # red without a number is not an object
        return values

    yield from _read_challenge(root, split, "annotations_instance", 100, read_values)


def read_ade20k_scenes(root: Path, split: str) -> Iterator[AnnotatedImage]:
    """Read the classes of the scene parsing benchmark. Raises DataError that names the file."""
    yield from _read_challenge(root, split, "annotations", 150, label_values)


def _read_challenge(
    root: Path, split: str, folder: str, count: int, read_values: Callable[[Path], NDArray[Any]]
) -> Iterator[AnnotatedImage]:
    """Read label images whose values have the number of a class as their last 8 bits.

    Args:
        count: Count of classes, which their table is named by; without it they have numbers.
    """
    table = root / f"objectInfo{count}.txt"
    annotations = find_place(root, [f"{folder}/{split}"], f"annotations of {split}")
    rows = [line.split("\t") for line in read_text(table).splitlines()] if table.is_file() else []
    numbered = [row for row in rows if row[0].strip().isdecimal()]
    names = {int(row[0]): row[-1].split(",")[0].strip() for row in numbered}
    for path in sorted(annotations.glob("*.png")):
        with located(path):
            values = read_values(path)
            rles = value_rles(values)
            labels = {value: names.get(value % 256, str(value % 256)) for value in rles}
            yield _sample(root / "images" / split / f"{path.stem}.jpg", values, rles, labels)


# Cityscapes: labels.py of the scripts: id -> name, of objects and of ignored classes

CITYSCAPES_OBJECTS = {
    24: "person", 25: "rider", 26: "car", 27: "truck", 28: "bus", 29: "caravan", 30: "trailer",
    31: "train", 32: "motorcycle", 33: "bicycle",
}  # fmt: skip
_IGNORED = frozenset([0, 1, 2, 3, 4, 5, 6, 9, 10, 14, 15, 16, 18, 29, 30])


def read_cityscapes(root: Path, split: str) -> Iterator[AnnotatedImage]:
    """Read the objects of Cityscapes' fine annotations. Raises DataError that names the file."""
    folder = find_place(
        root, [f"gtFine/{split}", f"*/gtFine/{split}"], f"fine annotations of {split}"
    )
    image_root = folder.parent.parent / "leftImg8bit" / split
    for path in sorted(folder.glob("*/*_gtFine_polygons.json")) or sorted(
        folder.glob("*/*_gtFine_instanceIds.png")
    ):
        stem = path.name.split("_gtFine_")[0]
        ids = path.with_name(f"{stem}_gtFine_instanceIds.png")
        with located(path):
            values = label_values(ids) if ids.is_file() else _paint_polygons(path)
            image = image_root / path.parent.name / f"{stem}_leftImg8bit.png"
            rles = {v: rle for v, rle in value_rles(values).items() if v >= 1000}
            labels: dict[int, str | None] = {}
            for value in rles:
                if value // 1000 not in CITYSCAPES_OBJECTS:
                    raise DataError(f"The object class with the number {value // 1000} is unknown.")
                labels[value] = CITYSCAPES_OBJECTS[value // 1000]
            void = np.isin(values, [*_IGNORED, *CITYSCAPES_OBJECTS])
            yield _sample(image, values, rles, labels, void)


_CITYSCAPES_IDS = {name: number for number, name in CITYSCAPES_OBJECTS.items()} | {
    "unlabeled": 0, "ego vehicle": 1, "rectification border": 2, "out of roi": 3, "static": 4,
    "dynamic": 5, "ground": 6, "road": 7, "sidewalk": 8, "parking": 9, "rail track": 10,
    "building": 11, "wall": 12, "fence": 13, "guard rail": 14, "bridge": 15, "tunnel": 16,
    "pole": 17, "polegroup": 18, "traffic light": 19, "traffic sign": 20, "vegetation": 21,
    "terrain": 22, "sky": 23, "license plate": -1,
}  # fmt: skip


def _paint_polygons(path: Path) -> NDArray[np.int32]:  # (H, W)
    """Draw the numbers of polygons like json2instanceImg.py: with Pillow, later ones over earlier
    ones, without licence plates."""
    document = read_json(path)
    height, width = checked_hw(document["imgHeight"], document["imgWidth"], MAX_PIXELS)
    image, counts = Image.new("I", (width, height)), dict[int, int]()
    draw = ImageDraw.Draw(image)
    for index, row in enumerate(document["objects"]):
        with located(f"object {index}"):
            name = str(row["label"])
            group = name not in _CITYSCAPES_IDS and name.endswith("group")
            if (whole := name.removesuffix("group") if group else name) not in _CITYSCAPES_IDS:
                raise DataError(f"Unknown label {name!r}.")
            number = _CITYSCAPES_IDS[whole]
            if row.get("deleted") or number < 0:
                continue
            if number in CITYSCAPES_OBJECTS and not group:
                counts[number] = counts.get(number, -1) + 1
                number = number * 1000 + counts[number]
            draw.polygon([(int(x), int(y)) for x, y in row["polygon"]], fill=number)
    return np.asarray(image)


def _sample(
    image: Path,
    values: NDArray[Any],
    found: Mapping[int, Rle],
    labels: Mapping[int, str | None],
    void: NDArray[np.bool_] | None = None,
) -> AnnotatedImage:
    """Create an image with a mask for each value except 0."""
    masks = [Mask(rle, labels.get(value)) for value, rle in found.items() if value]
    if void is not None and void.any():
        masks.append(Mask(value_rles(void)[1], VOID_LABEL, crowd=True))
    return annotated_image(image, checked_hw(*values.shape), masks)
