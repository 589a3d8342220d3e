"""Masks of an object on frames, as a request brings them: JSON in, checked values out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, Field

from anymask.base import InputError
from anymask.masks import coco_to_rle
from anymask.studio.answers import given_by
from anymask.studio.checks import MOST_ID
from anymask.studio.limits import Limits
from anymask.studio.records import TrackMask
from anymask.studio.refusals import Refusal
from anymask.track import ObjectMask

MOST_MASKS = 100_000  # of one request


class VideoMaskBody(given_by(TrackMask, "frame", "rle", "doubts")):  # type: ignore[misc]  # made of the dataclass
    """An object on one frame, as the addresses of videos and tracks tell it."""

    frame: int = Field(ge=0, le=MOST_ID)
    segmentation: dict[str, Any]
    doubts: list[str] = Field(default_factory=list, max_length=20)

    def mask(self) -> TrackMask:
        """Raises InputError, DataError."""
        held = self.model_dump(exclude={"segmentation"}) | {"doubts": tuple(self.doubts)}
        return TrackMask(rle=coco_to_rle(self.segmentation), **held)


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
        mask = body.mask()
        if mask.rle.size != hw:
            raise InputError(
                f"the masks must have the video's (H, W) = {hw}, got {mask.rle.size} on frame "
                f"{mask.frame}"
            )
        found[mask.frame] = ObjectMask(
            mask.rle, mask.score, mask.score, mask.state, mask.doubts, mask.prompted  # type: ignore[arg-type]  # one word each, as it was told
        )  # fmt: skip
    if sum(one.prompted for one in found.values()) > limits.prompts:
        raise Refusal(413, f"at most {limits.prompts} prompted masks", "more", "mark fewer")
    return found
