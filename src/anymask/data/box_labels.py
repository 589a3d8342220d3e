"""Boxes alone, as labels for detection have them: a box in, the rectangle that it covers out.

Readers of COCO, YOLO and PASCAL VOC tell of such boxes and leave them out, as they are no masks;
with `boxes=True` they give them as rectangles. Tools that draw masks (CVAT, labelme, Label
Studio) know rectangles beside outlines: those come as rectangles from any reader.
"""

from __future__ import annotations

import math

import numpy as np

from anymask.data.annotations import AnnotatedMask
from anymask.primitives.errors import DataError
from anymask.primitives.records import Box
from anymask.primitives.rle import rle_area, rle_box_xywh, runs_to_rle


def box_to_mask(
    box: Box, image_hw: tuple[int, int], label: str | None = None
) -> AnnotatedMask | None:
    """All pixels that a box touches; the box itself, cut at the picture's border, is `drawn_box`.

    box  x0, y0, x1, y1 in pixel-border coordinates, the first two included

    None for a box that lies off the picture. Raises DataError for one without an inside.
    """
    height, width = image_hw
    x0, y0, x1, y1 = box
    if not all(map(math.isfinite, box)) or x1 <= x0 or y1 <= y0:
        raise DataError(f"a box needs a width and a height above 0, got {[*map(float, box)]}")
    cut = (max(0.0, x0), max(0.0, y0), min(float(width), x1), min(float(height), y1))
    if cut[2] <= cut[0] or cut[3] <= cut[1]:
        return None
    columns = np.arange(math.floor(cut[0]), math.ceil(cut[2]), dtype=np.int64)
    starts = columns * height + math.floor(cut[1])
    rle = runs_to_rle(starts, starts + math.ceil(cut[3]) - math.floor(cut[1]), image_hw)
    return AnnotatedMask(rle, label, drawn_box=cut)


def box_of(mask: AnnotatedMask) -> Box | None:
    """The box, where a mask is nothing but one: its pixels fill it. None for any other mask.

    In pixel-border coordinates: as it was drawn, or around the pixels.
    """
    x, y, width, height = rle_box_xywh(mask.rle)
    if not width or rle_area(mask.rle) != width * height:
        return None
    return mask.drawn_box or (float(x), float(y), float(x + width), float(y + height))
