"""Masks of an object on frames, as a request brings them: JSON in, checked values out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, Field

from anymask.primitives.errors import InputError
from anymask.primitives.rle import coco_to_rle
from anymask.serving.limits import Limits
from anymask.serving.refusals import Refusal
from anymask.video.records import ObjectMask

MOST_MASKS = 100_000  # of one request
_LARGEST = 2**31 - 1


class VideoMaskBody(BaseModel):
    """An object on one frame, as the addresses of videos and tracks tell it."""

    frame: int = Field(ge=0, le=_LARGEST)
    segmentation: dict[str, Any]
    score: float = 1.0
    state: str = "visible"
    doubts: list[str] = Field(default_factory=list, max_length=20)
    prompted: bool = False


class KnownMasksBody(BaseModel):
    """An object's masks, each on a frame of its own; `prompted` ones count as what was said."""

    masks: list[VideoMaskBody] = Field(max_length=MOST_MASKS)


def known_masks(
    bodies: Sequence[VideoMaskBody], hw: tuple[int, int] | None, limits: Limits
) -> dict[int, ObjectMask]:
    """By frame. Raises Refusal (409 before a frame came, 413 for too many prompted ones),
    InputError, DataError."""
    if hw is None:
        raise Refusal(409, "a session with frames", "one without", "send the video first")
    found: dict[int, ObjectMask] = {}
    for body in bodies:
        rle = coco_to_rle(body.segmentation)
        if rle.size != hw:
            raise InputError(
                f"the masks must have the video's (H, W) = {hw}, got {rle.size} on frame "
                f"{body.frame}"
            )
        for word in (body.state, *body.doubts):
            if not word.isidentifier() or len(word) > 20:
                raise InputError(f"states and doubts are single words, got {word[:40]!r}")
        found[body.frame] = ObjectMask(
            rle, body.score, body.score, body.state, tuple(body.doubts), body.prompted  # type: ignore[arg-type]  # one word each, as it was told
        )  # fmt: skip
    if sum(one.prompted for one in found.values()) > limits.prompts:
        raise Refusal(413, f"at most {limits.prompts} prompted masks", "more", "mark fewer")
    return found
