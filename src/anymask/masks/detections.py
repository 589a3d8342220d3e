"""Records for other packages: supervision (drawing, counting, tracking) and pandas (tables)."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from anymask.base import InputError
from anymask.masks.mask import UNLABELLED, Mask
from anymask.masks.measure import MEASURED, measure_mask
from anymask.masks.rle import rle_to_mask

_UNKNOWN = "Int64"  # pandas' integers that may be absent
TABLE_TYPES = {
    "label": "object", "quality": "float64", "stability": "float64", "area": "int64",
    "coverage": "float64", "x0": "float64", "y0": "float64", "x1": "float64", "y1": "float64",
    "parent": _UNKNOWN, "depth": _UNKNOWN,
}  # fmt: skip
_SHAPES = [name for name in MEASURED if name not in TABLE_TYPES]
_COUNTS = ("parts", "holes")
TABLE_TYPES |= {name: "int64" if name in _COUNTS else "float64" for name in _SHAPES}


def to_supervision(records: Sequence[Mask], image_hw: tuple[int, int] | None = None) -> Any:
    """A `supervision.Detections` of records of one picture.

    image_hw  (H, W) of the picture; needed for an empty list only

    Boxes are x0, y0, x1, y1 of the first and last pixel, as supervision's own `mask_to_xyxy` has
    them; the confidence is our quality; class ids count the labels in alphabetical order, and the
    names are in `data["class_name"]`. All masks are decoded: N * H * W bytes.

    Raises InputError where supervision is not installed, or sizes differ.
    """
    peer = _import_peer("supervision")
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
        xyxy=np.array([record.box for record in records], np.float64).reshape(-1, 4),
        mask=masks,
        confidence=np.array([record.score for record in records], np.float64),
        class_id=np.array([classes.index(name) for name in names], np.int64),
        data={"class_name": np.array(names, np.str_)},
    )


def to_dataframe(records: Sequence[Mask]) -> Any:
    """A `pandas.DataFrame` with a row a record, without the pixels.

    The columns: label, quality, stability, area, coverage (of the photo, 0..1), x0, y0, x1, y1
    (first and last pixel), parent and depth, and the other measurements of a mask
    (`masks.measure.Measurements`): its centre, perimeter, axes and so on. Their types
    (TABLE_TYPES) are the same for any list, an empty one too, so that tables of photos can be
    joined: what is not known is None in label, NaN in stability, NA in parent and depth.

    Raises InputError where pandas is not installed.
    """
    peer = _import_peer("pandas")
    rows = [
        {
            "label": record.label,
            "quality": record.score,
            "stability": record.stability,
            "area": record.area,
            "coverage": record.coverage,
            **dict(zip(("x0", "y0", "x1", "y1"), record.box, strict=True)),
            "parent": record.parent,
            "depth": record.depth,
            **_shape_of(record),
        }
        for record in records
    ]
    columns = {
        name: peer.Series([row[name] for row in rows], dtype=kind)
        for name, kind in TABLE_TYPES.items()
    }
    return peer.DataFrame(columns)


def _shape_of(record: Mask) -> dict[str, float]:
    found = measure_mask(record.rle)
    return {name: getattr(found, name) for name in _SHAPES}


def _import_peer(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise InputError(
            f"this needs the package {name!r}, which is not installed; run: pip install {name}"
        ) from error
