"""The JSON Schema of mask records: SA-1B's layout with the keys that anymask adds.

For other programs that read or write files of anymask (`everything`, `segment`, and the format
`sa1b`). One rule is beyond a schema and is checked in reading: run-lengths sum to H * W.
"""

from __future__ import annotations

from typing import Any

_NUMBER = {"type": "number"}
_COUNT = {"type": "integer", "minimum": 0}
_SIDE = {"type": "integer", "minimum": 1}


def record_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of one image's file; a new dict each time."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "anymask: the mask records of one image",
        "type": "object",
        "required": ["image", "annotations"],
        "properties": {
            "image": {
                "type": "object",
                "required": ["width", "height", "file_name"],
                "properties": {
                    "image_id": {"type": "integer"},
                    "width": dict(_SIDE),
                    "height": dict(_SIDE),
                    "file_name": {"type": "string"},
                },
            },
            "annotations": {"type": "array", "items": _record()},
        },
    }


def _record() -> dict[str, Any]:
    box = {
        "type": "array",
        "items": dict(_NUMBER),
        "minItems": 4,
        "maxItems": 4,
        "description": "x, y of the first pixel, then last minus first pixel along x and y",
    }
    point = {"type": "array", "items": dict(_NUMBER), "minItems": 2, "maxItems": 2}
    about = {
        "id": {"type": "integer"},
        "segmentation": _run_lengths(),
        "area": _COUNT | {"description": "object pixels"},
        "bbox": box,
        "predicted_iou": _NUMBER | {"description": "quality: the score as predicted by the model"},
        "stability_score": _NUMBER | {"minimum": 0, "maximum": 1},
        "point_coords": {"type": "array", "items": point, "description": "clicks, x and y"},
        "crop_box": box
        | {"description": "x, y, width, height of the crop that the model processed"},
        "label": {"type": "string"},
        "parent": _COUNT | {"description": "id of the annotation that contains this one"},
        "depth": _COUNT | {"description": "number of annotations that contain this one"},
        "group_id": {"type": "integer", "description": "one object of an image or a video"},
        "iscrowd": {"enum": [0, 1]},
    }
    return {"type": "object", "required": ["segmentation"], "properties": about}


def _run_lengths() -> dict[str, Any]:
    plain = {"type": "array", "items": dict(_COUNT)}
    return {
        "type": "object",
        "required": ["size", "counts"],
        "properties": {
            "size": {
                "type": "array",
                "items": dict(_SIDE),
                "minItems": 2,
                "maxItems": 2,
                "description": "H, W",
            },
            "counts": {
                "anyOf": [{"type": "string"}, plain],
                "description": "COCO run-lengths, column by column, compressed or uncompressed",
            },
        },
    }
