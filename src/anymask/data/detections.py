"""Records for the package supervision, which draws, counts and tracks detections."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from anymask.data.annotations import UNLABELLED
from anymask.primitives.errors import InputError
from anymask.primitives.records import MaskRecord
from anymask.primitives.rle import rle_to_mask


def to_supervision(records: Sequence[MaskRecord], image_hw: tuple[int, int] | None = None) -> Any:
    """A `supervision.Detections` of records of one picture.

    image_hw  (H, W) of the picture; needed for an empty list only

    Boxes are x0, y0, x1, y1 of the first and last pixel, as supervision's own `mask_to_xyxy` has
    them; the confidence is our quality; class ids count the labels in alphabetical order, and the
    names are in `data["class_name"]`. All masks are decoded: N * H * W bytes.

    Raises InputError where supervision is not installed, or sizes differ.
    """
    try:
        peer = importlib.import_module("supervision")
    except ImportError as error:
        raise InputError(
            "this needs the package 'supervision', which is not installed; "
            "run: pip install supervision"
        ) from error
    sizes = {record.rle.size for record in records} | ({image_hw} if image_hw else set())
    if len(sizes) != 1:
        raise InputError(
            f"wanted masks of one size, got {sorted(sizes) or 'no record'}; "
            "give the records of one picture, and image_hw for an empty list"
        )
    (hw,) = sizes
    names = [record.label or UNLABELLED for record in records]
    classes = sorted(set(names))
    masks = np.zeros((len(records), *hw), np.bool_)
    for mask, record in zip(masks, records, strict=True):
        mask[:] = rle_to_mask(record.rle)
    return peer.Detections(
        xyxy=np.array([record.box_xyxy for record in records], np.float64).reshape(-1, 4),
        mask=masks,
        confidence=np.array([record.quality for record in records], np.float64),
        class_id=np.array([classes.index(name) for name in names], np.int64),
        data={"class_name": np.array(names, np.str_)},
    )
