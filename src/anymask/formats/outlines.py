"""Outlines and boxes of masks for formats, and the losses if a format cannot hold a mask.

Formats of single rings write holes and parts according to the `Policy`. Readers of COCO, YOLO and
PASCAL VOC report boxes without masks and skip them; with `boxes=True` they return them as
rectangles. In formats of annotation tools (CVAT, labelme, Label Studio) rectangles are masks beside
outlines: every reader returns them as rectangles.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import numpy as np

from anymask.base import DataError, Floats, InputError, Setting, describe_settings
from anymask.formats.annotations import AnnotatedImage, LossReport
from anymask.formats.documents import read_text
from anymask.formats.fields import checked_corners, checked_hw
from anymask.formats.loss_report import SetFacts
from anymask.masks import (
    MAX_PIXELS,
    TOLERANCE,
    Box,
    Mask,
    Polygon,
    Ring,
    Rle,
    counted,
    crop_to_rle,
    empty_rle,
    joined,
    polygon_to_ring,
    polygons_to_mask,
    rle_area,
    rle_box_xywh,
    rle_iou,
    rle_to_polygons,
    runs_to_rle,
)

# Convert shapes in files to masks: rings, boxes, stamps and run-lengths along rows.
#
# Readers parse keys and numbers; this module renders the masks. A shape that covers no pixel is an
# error of its record.

_MAX_LINE_AREA = 1e-6  # square pixels that rounding may give to a line


def with_area(rle: Rle, covering: str = "its outline covers") -> Rle:
    """Return the mask unchanged. Raises DataError if it has no pixel.

    Args:
        covering: Subject and verb for the message, such as "its outline covers".
    """
    if not rle_area(rle):
        raise DataError(f"The mask has no area: {covering} no pixel of the image.")
    return rle


def polygons_to_rle(polygons: Sequence[Polygon], image_hw: tuple[int, int]) -> Rle:
    """Return the pixels inside the polygons of a record. Raises DataError if there is none."""
    for polygon in polygons:
        for ring in (polygon.exterior, *polygon.holes):
            checked_corners(ring)
    is_flat = all(map(_is_line, polygons))
    return with_area(rasterized([] if is_flat else polygons, image_hw))


def rasterized(polygons: Sequence[Polygon], image_hw: tuple[int, int]) -> Rle:
    """Return the pixels inside polygons, drawn in their box. Raises DataError for a huge box."""
    if not polygons:
        return empty_rle(image_hw)
    x0, y0, x1, y1 = _box(np.concatenate([polygon.exterior for polygon in polygons]), image_hw)
    moved = [
        Polygon(polygon.exterior - (x0, y0), tuple(hole - (x0, y0) for hole in polygon.holes))
        for polygon in polygons
    ]
    return crop_to_rle(polygons_to_mask(moved, (y1 - y0, x1 - x0)), (x0, y0), image_hw)


def _box(corners: Floats, image_hw: tuple[int, int]) -> tuple[int, int, int, int]:
    """Return the box of corners in the image. Raises DataError above MAX_PIXELS."""
    ends = np.floor(corners.min(axis=0)), np.ceil(corners.max(axis=0))
    x0, y0, x1, y1 = np.clip(ends, 0, image_hw[::-1]).astype(int).reshape(-1).tolist()
    checked_hw(max(y1 - y0, 1), max(x1 - x0, 1), MAX_PIXELS)
    return x0, y0, x1, y1


def ring_to_rle(ring: Floats, image_hw: tuple[int, int], holes: Sequence[Floats] = ()) -> Rle:
    """Return the pixels inside a ring (N, 2), x and y, without its holes. Raises DataError."""
    return polygons_to_rle([Polygon(ring, tuple(holes))], image_hw)


def even_odd_to_rle(rings: Sequence[Ring], image_hw: tuple[int, int]) -> Rle:
    """Return the pixels that an odd number of rings covers; there may be none."""
    if not rings:
        return empty_rle(image_hw)
    x0, y0, x1, y1 = _box(np.concatenate(rings), image_hw)
    inside = Polygon(box_ring(x0, y0, x1, y1) - (x0, y0), tuple(ring - (x0, y0) for ring in rings))
    # A ring around the whole window inverts every pixel once.
    return crop_to_rle(~polygons_to_mask([inside], (y1 - y0, x1 - x0)), (x0, y0), image_hw)


def box_ring(x0: float, y0: float, x1: float, y1: float) -> Ring:
    """Return the corners of a box (4, 2), clockwise from the first."""
    return np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]], np.float64)


def _is_line(polygon: Polygon) -> bool:
    """Return whether all corners lie on one line; rounding may give such an outline a pixel."""
    ring = polygon.exterior
    ways = ring - ring[0]
    x, y = ways[np.abs(ways).sum(axis=1).argmax()]
    return bool((np.abs(ways[:, 0] * y - ways[:, 1] * x) < _MAX_LINE_AREA).all())


def box_to_mask(box: Box, image_hw: tuple[int, int], label: str | None = None) -> Mask | None:
    """Return all pixels that a box touches; `drawn_box` is the box clipped to the image.

    None for a box outside the image. Raises DataError for one without an inside.

    Args:
        box: x0, y0, x1, y1 in pixel-border coordinates; x0 and y0 are inclusive.
    """
    height, width = image_hw
    x0, y0, x1, y1 = box
    if not all(map(math.isfinite, box)) or x1 <= x0 or y1 <= y0:
        raise DataError(
            "The box has no area. Its width and height must be above 0. Given as x0, y0, x1, y1: "
            f"{[*map(float, box)]}."
        )
    cut = (max(0.0, x0), max(0.0, y0), min(float(width), x1), min(float(height), y1))
    if cut[2] <= cut[0] or cut[3] <= cut[1]:
        return None
    columns = np.arange(math.floor(cut[0]), math.ceil(cut[2]), dtype=np.int64)
    starts = columns * height + math.floor(cut[1])
    rle = runs_to_rle(starts, starts + math.ceil(cut[3]) - math.floor(cut[1]), image_hw)
    return Mask(rle, label, drawn_box=cut)


def read_class_list(path: object) -> tuple[str, ...]:
    """Read class names, one per line.

    Raises:
        DataError: The file cannot be read.
        InputError: There is no name, or a repeated one.
    """
    names = tuple(filter(None, map(str.strip, read_text(Path(str(path))).splitlines())))
    if not names or len(set(names)) < len(names):
        raise InputError(f"{path}: Expected one class name per line, each once.")
    return names


@describe_settings
@dataclass(frozen=True, kw_only=True)
class Policy:
    """How to write masks to formats of single rings, or to formats with several variants.

    Raises InputError for any other value.

    Attributes:
        class_ids: Ids of `classes`, for formats that store them.
        facts: Metadata of the source beside its images.
    """

    holes: Annotated[
        Literal["bridge", "drop", "error"],
        Setting(
            "how to write holes in formats without holes: cut the outline open to the "
            "hole, fill the hole, or raise an error for the mask"
        ),
    ] = "bridge"
    parts: Annotated[
        Literal["merge", "split"],
        Setting(
            "how to write masks of several parts in formats with one ring per object: "
            "join the parts by bridges, or write one object per part"
        ),
    ] = "merge"
    tolerance: Annotated[
        float,
        Setting(
            (("maximum distance in pixels by which simplified outlines may differ from "
                "the exact ones; 0: exact outlines along the pixel borders")),
            le=100_000, unit="pixels",
        ),
    ] = TOLERANCE  # fmt: skip
    classes: Annotated[
        tuple[str, ...],
        Setting(
            "text file with one class name per line, in the order of the class numbers; names "
            "that are not in the file follow alphabetically",
            default="the class list of IN", metavar="FILE",
            parse=read_class_list, check=lambda value: value,
        ),
    ] = ()  # fmt: skip
    class_ids: tuple[int, ...] = ()
    facts: SetFacts = field(default_factory=SetFacts, compare=False)
    out_type: Annotated[
        Literal["predictions", "annotations"],
        Setting(
            "for Label Studio: write masks as predictions (for review) or as annotations (final)"
        ),
    ] = "predictions"


def outline(
    image: AnnotatedImage, number: int, report: LossReport, policy: Policy
) -> list[Polygon]:
    """Return the polygons of one mask with holes; changes by simplification are reported."""
    polygons = rle_to_polygons(image.masks[number].rle, policy.tolerance)
    if policy.tolerance:
        note_changed(image, number, report, rasterized(polygons, image.hw))
    return polygons


def plain_rings(
    image: AnnotatedImage, number: int, report: LossReport, policy: Policy
) -> list[Ring]:
    """Return one ring per part of the mask, with holes by the policy; none for an empty mask.

    Raises DataError for a hole if the policy is "error".
    """
    if not (polygons := rle_to_polygons(image.masks[number].rle, policy.tolerance)):
        report.add("empty", image.file_name, number, "omitted an empty mask, which has no outline")
        return []
    if count := sum(len(polygon.holes) for polygon in polygons):
        holes = counted(count, "hole")
        if policy.holes == "error":
            raise DataError(
                f"{image.file_name}, mask {number}: The mask has {holes}, which the "
                "format does not support. Bridge or drop the holes."
            )
        done = "bridged" if policy.holes == "bridge" else "filled"
        report.add("holes", image.file_name, number, f"{holes} {done}")
    if policy.holes == "drop":
        polygons = [Polygon(polygon.exterior) for polygon in polygons]
    rings = [polygon_to_ring(polygon) for polygon in polygons]
    if policy.tolerance or (count and policy.holes == "drop"):
        again = rasterized([Polygon(ring) for ring in rings], image.hw)
        note_changed(image, number, report, again)
    return rings


def single_rings(
    image: AnnotatedImage, number: int, report: LossReport, policy: Policy
) -> list[Ring]:
    """Return `plain_rings`, with several parts joined or split by the policy."""
    rings = plain_rings(image, number, report, policy)
    if len(rings) < 2:
        return rings
    is_split = policy.parts == "split"
    done = "became separate objects" if is_split else "were joined by bridges"
    report.add("parts", image.file_name, number, f"its {len(rings)} parts {done}")
    return rings if is_split else [joined(rings)]


def note_changed(image: AnnotatedImage, number: int, report: LossReport, again: Rle) -> None:
    """Report the overlap of a mask with its rendering by a reader, if they differ."""
    rle = image.masks[number].rle
    if again != rle:
        areas = f"{rle_area(again)} pixels instead of {rle_area(rle)}"
        reason = f"the outline covers {areas}, IoU {rle_iou([rle], [again])[0, 0]:.4f}"
        report.add("pixels", image.file_name, number, reason)


@dataclass
class CornerCheck:
    """Detects boxes given as corners in formats that expect position and size."""

    expected: str  # Description of the numbers of a box
    leaving: int = 0  # Number of boxes that exceed their image by more than a pixel
    corners: bool = True  # Whether all boxes lie in their images if read as x0, y0, x1, y1

    def add(self, box: Box, numbers: Sequence[float], image_hw: tuple[int, int]) -> None:
        """Check a box (x0, y0, x1, y1 as the format means it) and its numbers in pixels."""
        height, width = image_hw
        self.leaving += min(box[:2]) < -1 or box[2] > width + 1 or box[3] > height + 1
        x0, y0, x1, y1 = numbers
        self.corners &= 0 <= x0 < x1 <= width + 1 and 0 <= y0 < y1 <= height + 1

    def tell(self, report: LossReport) -> None:
        """Report such boxes."""
        if self.leaving and self.corners:
            boxes = (
                "1 box extends beyond its"
                if self.leaving == 1
                else f"{self.leaving} boxes extend beyond their"
            )
            report.note(
                f"{boxes} image. The numbers may be x0 y0 x1 y1, but the format requires "
                f"{self.expected}."
            )


def box_of(mask: Mask) -> Box | None:
    """Return the box of a mask whose pixels fill it; None for any other mask.

    The box is in pixel-border coordinates: as drawn, or around the pixels.
    """
    x, y, width, height = rle_box_xywh(mask.rle)
    if not width or rle_area(mask.rle) != width * height:
        return None
    return mask.drawn_box or (float(x), float(y), float(x + width), float(y + height))
