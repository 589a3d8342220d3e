"""Values of clips and tracks in a project's database, and their checks, without SQL.

Letters: H W a frame of the clip.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

from anymask.base import InputError
from anymask.masks import Rle
from anymask.studio.checks import MOST_ID, MOST_SECONDS, checked_number, checked_text
from anymask.studio.entries import Provenance, Status, one_of, row_with_size

TrackSaying = Literal["accept", "correct", "reject"]
MOST_RATE = 1e6  # frames a second


@dataclass(frozen=True, kw_only=True)
class ClipEntry:
    """A video of the project.

    name    its path in the project's folder
    frames  None where nobody knows how many
    rate    frames a second
    tracks  that are not rejected
    proposals, accepted, rejected  how many of its tracks are so
    """

    id: int
    name: str
    hw: tuple[int, int]
    frames: int | None
    rate: float
    tracks: int
    proposals: int = 0
    accepted: int = 0
    rejected: int = 0

    def to_json(self) -> dict[str, Any]:
        """As the server sends it."""
        return row_with_size(asdict(self))


@dataclass(frozen=True, kw_only=True)
class TrackMask:
    """A track's mask on one frame, as `track.records.ObjectMask` tells it.

    Declared here alone: rows of the database and HTTP schema take their fields from it.
    """

    frame: int
    rle: Rle
    score: float = 1.0
    state: str = "visible"
    doubts: tuple[str, ...] = ()
    prompted: bool = False

    def __post_init__(self) -> None:
        if type(self.frame) is not int or not 0 <= self.frame <= MOST_ID:
            raise InputError(f"frames are whole numbers, counted from 0, got {self.frame!r}")
        checked_number("score", self.score, 0, 1)
        for word in (self.state, *self.doubts):
            if not word.isidentifier() or len(word) > 20:
                raise InputError(f"states and doubts are single words, got {word[:40]!r}")


@dataclass(frozen=True, kw_only=True)
class TrackDraft:
    """An object's masks through a clip, to be kept.

    object   its number in the clip
    seconds  that somebody spent on it
    """

    object: int
    masks: Sequence[TrackMask]
    label: str | None = None
    seconds: float = 0.0
    provenance: Provenance = field(default_factory=Provenance)

    def __post_init__(self) -> None:
        if type(self.object) is not int or not 0 <= self.object <= MOST_ID:
            raise InputError(f"objects have whole numbers from 0 on, got {self.object!r}")
        checked_text("a label", self.label)
        checked_number("seconds", self.seconds, 0, MOST_SECONDS)


@dataclass(frozen=True, kw_only=True)
class TrackEntry:
    """A track in the database; `version` grows with every change but that of its name.

    first, last  the frames from which and up to which it has masks
    doubtful     frames that a person should look at
    """

    id: int
    clip_id: int
    object: int
    version: int
    who: str
    at: float
    label: str | None
    status: Status
    seconds: float
    first: int
    last: int
    doubtful: int
    provenance: Provenance


@dataclass(frozen=True, kw_only=True)
class TrackRenaming:
    """Another name for a track that had the name `was`, where somebody saw it; None: none."""

    label: str | None
    was: str | None

    def __post_init__(self) -> None:
        checked_text("a label", self.label)


@dataclass(frozen=True, kw_only=True)
class TrackSaid:
    """What somebody says of a track that they saw at `version`."""

    verdict: TrackSaying
    version: int
    seconds: float = 0.0

    def __post_init__(self) -> None:
        one_of("verdict", self.verdict, get_args(TrackSaying))
        checked_number("seconds", self.seconds, 0, MOST_SECONDS)


@dataclass(frozen=True, kw_only=True)
class TrackVerdict:
    """One verdict.

    frame   from which the track was corrected, else None
    agreed  mean IoU of the masks that were replaced with the better ones; 1 accepted, 0 rejected
    """

    track_id: int
    who: str
    verdict: TrackSaying
    frame: int | None
    agreed: float
    seconds: float


def check_run(masks: Sequence[TrackMask], clip: ClipEntry) -> None:
    """Masks of one frame after the other, which lie in a clip. Raises InputError."""
    frames = [mask.frame for mask in masks]
    if not frames or frames != list(range(frames[0], frames[0] + len(frames))):
        raise InputError(
            f"a track has one mask for each frame from its first to its last, got "
            f"{len(frames)} for {frames[:1]} to {frames[-1:]}; give empty masks where it is hidden"
        )
    if clip.frames is not None and frames[-1] >= clip.frames:
        raise InputError(f"the clip has frames 0 to {clip.frames - 1}, got frame {frames[-1]}")
    for mask in masks:
        if mask.rle.size != clip.hw:
            raise InputError(
                f"the masks must have the clip's (H, W) = {clip.hw}, got {mask.rle.size} on frame "
                f"{mask.frame}"
            )
