"""Open Images: photos, a CSV of masks and their PNGs in, annotated images out.

    storage.googleapis.com/openimages, "Segmentations"; the archives unpacked side by side:
    validation-annotations-object-segmentation.csv   MaskPath, ImageID, LabelName, BoxID,
                                                     BoxXMin ... in 0..1, PredictedIoU, Clicks
    validation-masks-0/ ... or masks/                the PNGs of the archives
    validation/ID.jpg, or images/                    the photos
    oidv7-class-descriptions-boxable.csv             /m/..., name; class-descriptions-*.csv before

The CSV and the names may lie in `annotations/`. A PNG has a size of its own; it is brought to the
photo's size by the nearest pixel. Only photos with masks are read.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from anymask.formats import AnnotatedImage, find_place, label_values, located, read_hw
from anymask.formats.annotations import annotated_image
from anymask.formats.documents import find_in_folders, read_rows, read_table
from anymask.masks import Box, Mask, Rle, mask_to_rle

_COLUMNS = ("MaskPath", "ImageID", "LabelName", "BoxXMin", "BoxXMax", "BoxYMin", "BoxYMax")


def read(root: Path, split: str) -> Iterator[AnnotatedImage]:
    """The photos of a split that have masks. Raises DataError that names file, line and reason."""
    name = f"{split}-annotations-object-segmentation.csv"
    path = find_place(root, [name, f"annotations/{name}"], f"masks of {split}")
    names = _names(path.parent)
    rows: dict[str, list[tuple[int, dict[str, str]]]] = {}
    for line, row in enumerate(read_table(path, _COLUMNS), start=2):
        rows.setdefault(row["ImageID"], []).append((line, row))
    for image_id, records in rows.items():
        with located(f"{path}, image {image_id}"):
            images = [root / split, root / "images" / split, root / "images"]
            image = find_in_folders(f"{image_id}.jpg", images)
            hw = read_hw(image)
        found = []
        for line, row in records:
            with located(f"{path}, line {line}"):
                rle = _mask(root, split, row["MaskPath"], hw)
                label = names.get(row["LabelName"], row["LabelName"])
                found.append(Mask(rle, label, drawn_box=_box(row, hw)))
        yield annotated_image(image, hw, found)


def _names(folder: Path) -> dict[str, str]:
    """Class -> its name in words; none where the table is absent."""
    for pattern in ("oidv7-class-descriptions-boxable.csv", "*class-descriptions*.csv"):
        for path in sorted(folder.glob(pattern)):
            return {row[0]: row[1] for row in read_rows(path) if len(row) > 1}
    return {}


def _mask(root: Path, split: str, name: str, hw: tuple[int, int]) -> Rle:
    letter = name[:1]
    places = [f"{split}-masks-{letter}", f"{split}-masks", "masks", f"masks/{split}"]
    path = find_in_folders(name, [root / place for place in places])
    with located(path):
        values = (label_values(path) > 0).astype(np.uint8)
    height, width = hw
    return mask_to_rle(cv2.resize(values, (width, height), interpolation=cv2.INTER_NEAREST_EXACT))


def _box(row: dict[str, str], hw: tuple[int, int]) -> Box:
    height, width = hw
    x0, x1, y0, y1 = (float(row[f"Box{side}"]) for side in ("XMin", "XMax", "YMin", "YMax"))
    return (x0 * width, y0 * height, x1 * width, y1 * height)
