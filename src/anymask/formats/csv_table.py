"""Table of measurements: a CSV file with a row for each mask.

Its columns are those of `masks.measure`. If the image is known, they include the brightness of each
mask in each channel (c0_mean, ...), and lengths in the unit of the image file (diameter_scaled,
...) if it has one. It has no outlines, so it cannot be read back.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from anymask.base import to_utf8
from anymask.formats.annotations import AnnotatedImage, LossReport, report_unsupported_fields
from anymask.formats.documents import OutFile
from anymask.formats.metadata import report_dataset_fields
from anymask.formats.outlines import Policy
from anymask.images import StoredValues, stored_values
from anymask.masks import Mask, Masks, measure

DEFAULT_TABLE_NAME = "masks.csv"  # default name in a folder
SCALED = {"area": 2, "perimeter": 1, "diameter": 1, "length": 1, "width": 1}  # -> power of the unit

Columns = dict[str, float | str]


def encode(
    images: list[AnnotatedImage], target: Path, report: LossReport, policy: Policy
) -> Iterator[OutFile]:
    """Write one file; crowds are omitted."""
    rows, more = [], list[Columns]()
    for image in images:
        report_unsupported_fields(report, image, frozenset({"labels", "scores", "crowds"}))
        source_image = image.masks.source_image or image.source
        for number, mask in enumerate(image.objects, start=1):
            rows.append(measure.table_row(image.file_name, number, mask.rle, mask))
        more += columns_of(image.objects, stored_values(source_image, image.hw))
        if crowds := len(image.masks) - len(image.objects):
            report.add("crowds", image.file_name, None, f"{crowds} omitted")
    path = target if target.suffix.lower() == ".csv" else target / DEFAULT_TABLE_NAME
    names = sorted({name: None for row in more for name in row}, key=_order)
    cells = [[measure.table_cell(row.get(name, "")) for name in names] for row in more]
    table = ([*row, *last] for row, last in zip(rows, cells, strict=True))
    report_dataset_fields(report, images, policy)
    yield path, to_utf8(measure.to_csv(table, (*measure.TABLE_HEADER, *names)))


def _order(name: str) -> tuple[int, str]:
    """Sort key: lengths in the unit of the file first, then channels."""
    channel = name.partition("_")[0].removeprefix("c")
    return (int(channel), "") if channel.isdecimal() else (-1, "")


def image_columns(masks: Masks) -> list[Columns]:
    """Return the image-dependent columns of each mask, from the image that the masks refer to."""
    return columns_of(masks, stored_values(masks.source_image, masks.image_hw) if masks else None)


def columns_of(masks: Sequence[Mask], numbers: StoredValues | None) -> list[Columns]:
    """Return the columns of each mask from an image's values and scale; empty without an image.

    c0_mean, c0_sum, ...     `BRIGHTNESS` of channel 0, and so on; channels count from 0, as in z1c0
    unit, pixel_size         of the file; area_scaled is in square units, the lengths in units
    """
    table: list[Columns] = [{} for _ in masks]
    if numbers is None:
        return table
    if pixel := numbers.pixel:
        for columns, mask in zip(table, masks, strict=True):
            shape = measure.measure_mask(mask.rle)
            columns |= {"unit": pixel.unit, "pixel_size": pixel.size}
            for name, power in SCALED.items():
                columns[f"{name}_scaled"] = float(getattr(shape, name) * pixel.size**power)
    bright = measure.measure_brightness([mask.rle for mask in masks], numbers.values)
    for columns, channels in zip(table, bright, strict=True):
        for channel, row in enumerate(channels):
            columns |= {
                f"c{channel}_{name}": float(x)
                for name, x in zip(measure.BRIGHTNESS, row, strict=True)
            }
    return table
