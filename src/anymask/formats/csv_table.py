"""A table of measurements: annotated images in, one CSV file with a row for each mask out.

Its columns are those of `masks.measure`. It cannot be read back: it has no outlines.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from anymask.formats.annotations import AnnotatedImage, LossReport
from anymask.formats.documents import OutFile
from anymask.formats.outlines import Policy
from anymask.masks import table_row, to_csv

NAME = "masks.csv"  # in a folder


def encode(
    images: list[AnnotatedImage], target: Path, report: LossReport, policy: Policy
) -> Iterator[OutFile]:
    """One file; crowds have no row."""
    rows = []
    for image in images:
        for number, mask in enumerate(image.objects, start=1):
            rows.append(table_row(image.file_name, number, mask.rle, mask))
        if crowds := len(image.masks) - len(image.objects):
            report.add("crowds", image.file_name, None, f"{crowds} left out")
        if image.objects:
            report.add("shapes", image.file_name, None, "a table has measurements, no outlines")
    path = target if target.suffix.lower() == ".csv" else target / NAME
    yield path, to_csv(rows).encode()
