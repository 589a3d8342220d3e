"""Wire formats of the model's API: JSON prompts and settings in, embeddings as bytes out.

EMBEDDING: uint32 (little endian) the length of a JSON header, the header, then each of its `maps`
in order, little endian. Half precision; a map that half precision cannot hold travels as float32.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from anymask.base import FloatArray
from anymask.masks import Features, ModelSpec, Prompt, coco_to_rle, rle_to_mask
from anymask.models.rules import Multimask, Ranking
from anymask.segment import Granularity, RefineEdges, SegmentSettings, Zoom
from anymask.studio.limits import Limits
from anymask.studio.naming import NamesAsked, Unknown
from anymask.studio.refusals import Refusal
from anymask.studio.settings_schema import EVERYTHING, SEGMENT, settings_schema

_MOST_HALF = 65504.0
_LONGEST_NAME = 400  # characters
_LONGEST_SIZE = 40  # characters of "5%"
_MOST_LISTED = 10_000  # prompts or points of a body that are looked at at all; `Limits` has fewer


def at_most(count: int, what: str) -> BeforeValidator:
    """Refuses a longer list before anything is made of its items."""

    def check(value: object) -> object:
        if isinstance(value, list) and len(value) > count:
            raise ValueError(f"at most {count} {what}, got {len(value)}")
        return value

    return BeforeValidator(check)


_FEW_POINTS = at_most(_MOST_LISTED, "points and labels")


# Pixels or a share of the mask: the settings themselves say which numbers and words those are.
_Size = (
    Annotated[
        float,
        Field(strict=True, allow_inf_nan=False, json_schema_extra={"minimum": 0}),
    ]
    | Annotated[str, Field(max_length=_LONGEST_SIZE)]
)


class _WireBody(BaseModel):
    model_config = ConfigDict(extra="forbid")


class RleBody(_WireBody):
    """A mask: COCO's compressed string, or its runs."""

    size: tuple[int, int]
    counts: str | Annotated[list[int], Field(fail_fast=True)]


class PromptBody(_WireBody):
    """One object, in pixels of the photo."""

    points: Annotated[list[tuple[float, float]], Field(fail_fast=True), _FEW_POINTS] | None = None
    labels: Annotated[list[Literal[0, 1]], Field(fail_fast=True), _FEW_POINTS] | None = None
    box: tuple[float, float, float, float] | None = None
    mask: RleBody | None = None


class SegmentBody(PromptBody):
    """`image`: the hash that an earlier answer gave, or a picture as base64.

    One object: its `points`, `labels`, `box`, `mask` here, or in `prompt`. Several: `prompts`.
    """

    image: str
    prompt: PromptBody | None = None
    prompts: (
        Annotated[list[PromptBody], Field(fail_fast=True), at_most(_MOST_LISTED, "prompts")] | None
    ) = None
    multimask: Multimask = Field("auto", description=SEGMENT["multimask"])
    granularity: Granularity = Field("all", description=SEGMENT["granularity"])
    ranking: Ranking = Field("expected", description=SEGMENT["ranking"])
    max_hole_area: _Size = Field("auto", description=SEGMENT["max_hole_area"])
    min_island_area: _Size = Field("auto", description=SEGMENT["min_island_area"])
    refine_edges: RefineEdges = Field("auto", description=SEGMENT["refine_edges"])
    zoom: Zoom = Field("auto", description=SEGMENT["zoom"])
    mirror: bool = Field(False, description=SEGMENT["mirror"])

    def settings(self) -> SegmentSettings:
        """How the prompts are answered. Raises InputError."""
        return SegmentSettings(**{name: getattr(self, name) for name in SEGMENT})

    def asked(self) -> list[PromptBody]:
        """The prompts, however they came. Raises Refusal for none, or for two ways at once."""
        bare = {
            name: getattr(self, name)
            for name in PromptBody.model_fields
            if getattr(self, name) is not None
        }
        ways = {
            "prompts": self.prompts,
            "prompt": None if self.prompt is None else [self.prompt],
            " and ".join(bare): [PromptBody.model_construct(**bare)] if bare else None,
        }
        given = {name: way for name, way in ways.items() if way is not None}
        if len(given) != 1:
            raise Refusal(
                422,
                "one of points, labels, box and mask; or prompt; or a list of prompts",
                ", ".join(given) or "none of them",
                'send "points": [[x, y]], or "box": [x0, y0, x1, y1]',
            )
        (only,) = given.values()
        return only


class EverythingBody(_WireBody):
    """`settings`: those of `anymask everything`, by their Python names, and `tile`."""

    image: str
    settings: Annotated[dict[str, Any], WithJsonSchema(settings_schema(EVERYTHING))] = {}


class NamesBody(_WireBody):
    """Masks of one photo, and the names to choose from; all that were learned when left out.

    masks    of the photo's size, or of the size in which the server keeps it
    unknown  what becomes of names that the model does not know: refused, left out, or explained
             by a project's newest accepted masks of that name ("examples") and left out where it
             has none. Where no name is left, all that were learned are chosen from.
    top      names of each mask
    """

    image: str
    masks: Annotated[list[RleBody], Field(fail_fast=True), at_most(_MOST_LISTED, "masks")]
    names: (
        Annotated[
            list[Annotated[str, Field(max_length=_LONGEST_NAME)]],
            Field(fail_fast=True),
            at_most(_MOST_LISTED, "names"),
        ]
        | None
    ) = None
    unknown: Unknown = "refuse"
    top: int = Field(default=5, ge=1, le=100)

    def choice(self) -> NamesAsked:
        """What is to be chosen from."""
        return NamesAsked(self.names, self.unknown, self.top)


def embedding_to_bytes(embedding: Features, spec: ModelSpec) -> bytes:
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


def check_prompts(bodies: list[PromptBody], limits: Limits) -> None:
    """Count prompts, points and pixels before anything is made of them. Raises Refusal."""
    if not 0 < len(bodies) <= limits.prompts:
        raise Refusal(
            422,
            f"1 to {limits.prompts} prompts",
            f"{len(bodies)} prompts",
            "send the others in further requests" if bodies else "send at least one",
        )
    _check_points([len(body.points or ()) for body in bodies], limits)
    _check_masks((body.mask.size for body in bodies if body.mask is not None), limits)


def check_masks(masks: list[RleBody], limits: Limits) -> None:
    """Count masks to be named before anything is made of them. Raises Refusal."""
    if not 0 < len(masks) <= limits.prompts:
        raise Refusal(
            422,
            f"1 to {limits.prompts} masks",
            f"{len(masks)} masks",
            "send the others in further requests" if masks else "send at least one",
        )
    for mask in masks:
        _check_masks([mask.size], limits)  # never all pixels at once: see `close_up`


def _check_points(counts: list[int], limits: Limits) -> None:
    if max(counts) > limits.points:
        raise Refusal(
            422,
            f"at most {limits.points} points in a prompt",
            f"{max(counts)} points",
            "send fewer points, or a mask",
        )
    if sum(counts) > limits.points_together:
        raise Refusal(
            422,
            f"at most {limits.points_together} points in a request",
            f"{sum(counts)} points",
            "send some of the prompts in further requests",
        )


def _check_masks(sizes: Iterable[tuple[int, int]], limits: Limits) -> None:
    """Of 1 pixel at least, and together of no more than a photo may have."""
    pixels = 0
    for height, width in sizes:
        if height < 1 or width < 1 or height * width > limits.pixels:
            raise Refusal(
                413,
                f"a mask of 1 to {limits.pixels} pixels",
                f"{width} x {height}",
                "send the mask in the photo's size, or smaller",
            )
        pixels += height * width
    if pixels > limits.pixels:
        raise Refusal(
            413,
            f"masks of {limits.pixels} pixels together in a request",
            f"{pixels} pixels",
            "send smaller masks, or some of the prompts in further requests",
        )


def prompt_of(body: PromptBody) -> Prompt:
    """A prompt from JSON. Raises PromptError, DataError for what is wrong."""
    mask = None if body.mask is None else rle_to_mask(coco_to_rle(body.mask.model_dump()))
    return Prompt.of(points=body.points, labels=body.labels, box=body.box, mask=mask)
