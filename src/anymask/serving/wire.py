"""What travels: embeddings as bytes, masks as COCO run lengths, prompts as JSON.

EMBEDDING: uint32 (little endian) the length of a JSON header, the header, then each of its `maps`
in order, little endian. Half precision; a map that half precision cannot hold travels as float32.
"""

from __future__ import annotations

import json
import struct
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from anymask.predictors.granularity import Granularity
from anymask.primitives.candidates import Candidates
from anymask.primitives.rle import coco_to_rle, rle_to_coco, rle_to_mask
from anymask.primitives.spec import ModelSpec
from anymask.primitives.types import BoolArray, Embedding, FloatArray, Prompt
from anymask.serving.limits import Limits
from anymask.serving.refusals import Refusal

_MOST_HALF = 65504.0


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class RleBody(_Body):
    """A mask: COCO's compressed string, or its runs."""

    size: tuple[int, int]
    counts: str | list[int]


class PromptBody(_Body):
    """One object, in pixels of the photo."""

    points: list[tuple[float, float]] | None = None
    labels: list[int] | None = None
    box: tuple[float, float, float, float] | None = None
    mask: RleBody | None = None


class SegmentBody(_Body):
    """`image`: the hash that an earlier answer gave, or a picture as base64."""

    image: str
    prompts: list[PromptBody]
    multimask: bool | Literal["auto"] = "auto"
    granularity: Granularity = "all"


class EverythingBody(_Body):
    """`settings`: those of `anymask everything`, by their Python names, and `tile`."""

    image: str
    settings: dict[str, Any] = {}


def embedding_to_bytes(embedding: Embedding, spec: ModelSpec) -> bytes:
    """An embedding as it travels."""
    packed = {one.name: _packed(one.values) for one in embedding.maps}
    header = {
        "image_hw": embedding.geometry.image_hw,
        "input_hw": embedding.geometry.input_hw,
        "side": embedding.geometry.side,
        "mask_side": spec.mask_side,
        "model": embedding.model,
        "model_hash": embedding.model_hash,
        "image_hash": embedding.image_hash,
        "maps": [
            {"name": name, "shape": array.shape, "dtype": array.dtype.name}
            for name, array in packed.items()
        ],
    }
    text = json.dumps(header).encode()
    return b"".join(
        [struct.pack("<I", len(text)), text, *(array.tobytes() for array in packed.values())]
    )


def _packed(array: FloatArray) -> Any:
    fits = np.abs(array).max(initial=0) <= _MOST_HALF
    return array.astype("<f2" if fits else "<f4")


def prompts_of(bodies: list[PromptBody], limits: Limits) -> list[Prompt]:
    """Prompts from JSON. Raises Refusal for too many of them, PromptError for what is wrong."""
    if not 0 < len(bodies) <= limits.prompts:
        raise Refusal(
            422,
            f"1 to {limits.prompts} prompts",
            f"{len(bodies)} prompts",
            "send the others in further requests",
        )
    return [_prompt(body, limits) for body in bodies]


def _prompt(body: PromptBody, limits: Limits) -> Prompt:
    if body.points is not None and len(body.points) > limits.points:
        raise Refusal(
            422,
            f"at most {limits.points} points in a prompt",
            f"{len(body.points)} points",
            "send fewer points, or a mask",
        )
    mask = None if body.mask is None else rle_of(body.mask, limits)
    return Prompt.of(points=body.points, labels=body.labels, box=body.box, mask=mask)


def rle_of(body: RleBody, limits: Limits) -> BoolArray:  # -> (H, W)
    """The pixels of a mask. Raises Refusal for too many, DataError for broken run lengths."""
    height, width = body.size
    if height < 1 or width < 1 or height * width > limits.pixels:
        raise Refusal(
            413,
            f"a mask of 1 to {limits.pixels} pixels",
            f"{width} x {height}",
            "send the mask in the photo's size, or smaller",
        )
    return rle_to_mask(coco_to_rle(body.model_dump()))


def answer_to_json(answer: Candidates) -> dict[str, Any]:
    """The candidates of one prompt, best first."""
    return {
        "masks": [rle_to_coco(rle) for rle in answer.rles()],
        "quality": [float(number) for number in answer.quality],
        "violated_points": list(answer.violated_points),
    }
