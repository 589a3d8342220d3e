"""Results of tracking: the mask, score, state and doubts of each object on a frame."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Literal

from anymask.base import BoolArray
from anymask.masks import Rle, rle_area, rle_to_mask

ObjectState = Literal["visible", "occluded", "lost", "back"]
Doubt = Literal["score", "area", "jump", "gone", "back", "cut"]
Direction = Literal["forward", "backward", "both"]


@dataclass(frozen=True)
class ObjectMask:
    """One object on one frame.

    rle       its pixels; empty where it is not seen
    score     how sure the tracker is that this is the object, 0..1
    quality   the model's own estimate of the mask's IoU, raw
    state     "visible"; "occluded": not seen for a short while; "lost": for long; "back": seen
              again on this frame
    doubts    why a person should look here: "score" low, "area" changed at once, "jump" to another
              place, "gone", "back", "cut" to another shot
    prompted  whether a person spoke about the object on this frame
    """

    rle: Rle
    score: float
    quality: float
    state: ObjectState
    doubts: tuple[Doubt, ...] = ()
    prompted: bool = False

    @property
    def mask(self) -> BoolArray:  # (H, W)
        """The pixels, made each time."""
        return rle_to_mask(self.rle)

    @property
    def area(self) -> int:
        """Pixels of the object."""
        return rle_area(self.rle)


@dataclass(frozen=True)
class TrackedFrame:
    """The objects of one frame, by their number.

    index         the frame, counted from 0 in what the session looks at
    source_frame  its number in the source, which is another with `every`, `fps` or `start`
    seconds       when it is shown
    name          the file of its picture, such as 00005.jpg, where the source is a folder or a list
                  of files; else empty
    """

    index: int
    source_frame: int
    seconds: float
    objects: Mapping[int, ObjectMask] = field(default_factory=dict)
    name: str = ""

    @property
    def stem(self) -> str:
        """What a file about the frame is called, without its ending: as its picture, or 00012."""
        return PurePath(self.name).stem if self.name else f"{self.source_frame:05d}"

    @property
    def masks(self) -> dict[int, BoolArray]:
        """The objects' pixels (H, W), made each time."""
        return {number: one.mask for number, one in self.objects.items()}
