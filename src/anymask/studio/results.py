"""Answer bodies: masks in; run-lengths, PNG, SVG, polygons or GeoJSON, and their schema out."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image
from pydantic import Field
from starlette.responses import JSONResponse, Response

from anymask.formats import AnnotatedImage, LossReport, Policy, geojson, label_pictures, svg
from anymask.masks import Mask, Masks, Rle, rle_to_coco, rle_to_mask, rle_to_polygons
from anymask.segment import Prediction
from anymask.studio.answers import ClosedAnswer, RleAnswer
from anymask.studio.refusals import Refusal

MaskFormat = Literal["rle", "png", "svg", "polygons", "geojson"]
_BINARY = {"schema": {"type": "string", "format": "binary"}}
_COLLECTION = {
    "type": "object",
    "required": ["type", "features"],
    "properties": {"type": {"const": "FeatureCollection"}, "features": {"type": "array"}},
}
PICTURES: dict[int | str, dict[str, Any]] = {  # OpenAPI: what an answer may be beside JSON
    200: {
        "description": "The masks, in the format that was asked for",
        "content": {
            "image/png": _BINARY,
            "image/svg+xml": {"schema": {"type": "string"}},
            "application/geo+json": {"schema": _COLLECTION},
        },
    }
}
EMBEDDING: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The embedding: uint32, a JSON header of that length, the header's maps",
        "content": {"application/octet-stream": _BINARY},
        "headers": {
            "X-Image-Hash": {
                "description": "names the photo from now on",
                "schema": {"type": "string", "pattern": "^[0-9a-f]{32}$"},
                "required": True,
            }
        },
    }
}


def file_answer(*kinds: str) -> dict[int | str, dict[str, Any]]:
    """OpenAPI: an answer that is a file of one of some media types."""
    return {200: {"description": "The file", "content": dict.fromkeys(kinds, _BINARY)}}


class HealthAnswer(ClosedAnswer):
    """How the model is; `reason` says why it failed."""

    status: Literal["loading", "ready", "failed"]
    model: str
    weights_hash: str
    reason: str | None = None


class OutlineAnswer(ClosedAnswer):
    """A region: corners (x, y) in pixels; (0, 0) is the outer corner of the first pixel."""

    exterior: list[tuple[float, float]]
    holes: list[list[tuple[float, float]]]


class PromptAnswer(ClosedAnswer):
    """What one prompt brought: its candidates, best first."""

    quality: list[float]
    violated_points: list[int] = Field(description="indices of clicks that the first mask defies")
    ambiguous: bool = Field(description="whether the second mask is as likely meant as the first")


class MasksAnswer(PromptAnswer):
    """The candidates as run-lengths."""

    masks: list[RleAnswer]


class PolygonsAnswer(PromptAnswer):
    """The candidates as outlines: of each mask its regions."""

    polygons: list[list[OutlineAnswer]]


class SegmentAnswer(ClosedAnswer):
    """One answer for each prompt, and the photo's hash for the next question."""

    answers: list[MasksAnswer] | list[PolygonsAnswer]
    image: str = Field(pattern="^[0-9a-f]{32}$")


class RecordAnswer(ClosedAnswer):
    """A mask as an SA-1B record; `polygons` stands for `segmentation` with ?format=polygons."""

    id: int
    segmentation: RleAnswer | None = None
    polygons: list[OutlineAnswer] | None = None
    area: int
    bbox: tuple[float, float, float, float]
    predicted_iou: float
    point_coords: list[tuple[float, float]]
    stability_score: float
    crop_box: tuple[float, float, float, float]
    parent: int | None = None
    depth: int | None = None


class EverythingAnswer(ClosedAnswer):
    """Every mask that was found, best first."""

    records: list[RecordAnswer]


def answers_response(
    answers: list[Prediction], image_hash: str, kind: MaskFormat, tolerance: float
) -> Response:
    """The candidates of each prompt; PNG, SVG and GeoJSON have the first mask of each.

    Raises Refusal (422) for a PNG of several prompts.
    """
    if kind in ("rle", "polygons"):
        rows = [_candidates(answer, kind, tolerance) for answer in answers]
        return JSONResponse({"answers": rows, "image": image_hash})
    first = [(answer.rles()[0], float(answer.scores[0])) for answer in answers]
    if kind != "png":
        return _drawn(first, first[0][0].size, image_hash, kind, tolerance)
    if len(first) > 1:
        raise Refusal(
            422,
            "one prompt for format=png",
            f"{len(first)} prompts",
            "ask once for each, or for format=polygons",
        )
    pixels = rle_to_mask(first[0][0]).view(np.uint8) * np.uint8(255)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "png")
    return Response(file.getvalue(), media_type="image/png")


def _candidates(answer: Prediction, kind: MaskFormat, tolerance: float) -> dict[str, Any]:
    rles = answer.rles()
    masks: dict[str, Any] = (
        {"masks": [rle_to_coco(rle) for rle in rles]}
        if kind == "rle"
        else {"polygons": [_outlines(rle, tolerance) for rle in rles]}
    )
    return masks | {
        "quality": [float(number) for number in answer.scores],
        "violated_points": list(answer.violated_points),
        "ambiguous": answer.ambiguous,
    }


def records_response(
    found: list[Mask], hw: tuple[int, int], kind: MaskFormat, tolerance: float
) -> Response:
    """All masks of a photo; a PNG holds their numbers (16 bits), 0 where there is none."""
    if kind in ("rle", "polygons"):
        rows = [record.to_sa1b(number) for number, record in enumerate(found, 1)]
        if kind == "polygons":
            for row, record in zip(rows, found, strict=True):
                del row["segmentation"]
                row["polygons"] = _outlines(record.rle, tolerance)
        return JSONResponse({"records": rows})
    return _drawn([(one.rle, one.score) for one in found], hw, "photo", kind, tolerance)


def _outlines(rle: Rle, tolerance: float) -> list[dict[str, Any]]:
    return [
        {
            "exterior": polygon.exterior.tolist(),
            "holes": [hole.tolist() for hole in polygon.holes],
        }
        for polygon in rle_to_polygons(rle, tolerance)
    ]


def _drawn(
    masks: Sequence[tuple[Rle, float]],
    hw: tuple[int, int],
    name: str,
    kind: MaskFormat,
    tolerance: float,
) -> Response:
    """One document of several masks (with their quality), by the writers of `anymask convert`."""
    drawn = Masks(Mask(rle, score=quality) for rle, quality in masks)
    image = AnnotatedImage(file_name=name, hw=hw, masks=drawn)
    report, policy = LossReport(), Policy(tolerance=tolerance)
    if kind == "geojson":
        content = geojson.to_geojson(image, None, policy, report)
        return JSONResponse(content, media_type="application/geo+json")
    if kind == "svg":
        text = _only(svg.encode([image], Path("masks.svg"), report, policy))
        return Response(text, media_type="image/svg+xml")
    numbered = _only(label_pictures.encode([image], Path("masks.png"), report, policy))
    return Response(numbered, media_type="image/png")


def _only(files: Iterator[tuple[Path, bytes]]) -> bytes:
    return next(files)[1]
