"""What a project stores: masks, photos, clips, tracks and events as values, without SQL.

What is known of a mask is declared here alone: `Draft` is a mask on its way in, `StoredMask` the
same mask with its id and version, `TrackMask` a track's mask on one frame. The columns of the
tables, the journal of versions (`tables`), the bodies of HTTP and the page's types have these
fields under these names. Letters: H W.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, get_args

from anymask.base import BoolArray, InputError
from anymask.masks import Mask, Rle, rle_area, rle_to_mask
from anymask.studio.checks import (
    MOST_ID,
    MOST_PAGE,
    MOST_PROMPTS,
    MOST_SECONDS,
    checked_json,
    checked_number,
    checked_prompt,
    checked_text,
)

State = Literal["proposed", "accepted", "rejected"]
ImageStatus = Literal["new", "proposed", "done"]
Kind = Literal["human", "model", "import"]
Stage = Literal["assisted", "semi", "auto", "review"]
Verdict = Literal["accept", "fix", "reject"]
TrackSaying = Literal["accept", "correct", "reject"]
Why = Literal["uncertain", "random"]
MOST_TAGS = 100
MOST_COMMENT = 10_000  # characters
MOST_LEVEL = 1_000_000
MOST_RATE = 1e6  # frames a second


def one_of(name: str, value: object, known: tuple[object, ...]) -> None:
    """Raises InputError that lists the known words."""
    if value not in known:
        raise InputError(f"{name} must be one of {', '.join(map(str, known))}; got {value!r}")


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """Where a mask comes from.

    kind        "human": drawn or corrected by hand; "model": as a model answered; "import": a file
    model       the model's name, where one took part
    model_hash  of its weights
    prompts     what it was asked, one JSON object a prompt ({"points", "labels", "box"})
    tool        the annotator's tool: click, box, brush, polygon, everything, ...
    stage       of the data engine in which the mask was made
    source      the file that it was read from

    Raises InputError for words, texts or prompts that make no sense.
    """

    kind: Kind = "human"
    model: str | None = None
    model_hash: str | None = None
    prompts: tuple[Mapping[str, Any], ...] = ()
    tool: str | None = None
    stage: Stage | None = None
    source: str | None = None

    def __post_init__(self) -> None:
        one_of("kind", self.kind, get_args(Kind))
        if self.stage is not None:
            one_of("stage", self.stage, get_args(Stage))
        for name in ("model", "model_hash", "tool", "source"):
            checked_text(name, getattr(self, name))
        if len(self.prompts) > MOST_PROMPTS:
            raise InputError(f"a mask has at most {MOST_PROMPTS} prompts, got {len(self.prompts)}")
        for prompt in self.prompts:
            checked_prompt(prompt)

    def to_json(self) -> dict[str, Any]:
        """Without what nobody knows."""
        row = asdict(self) | {"prompts": [dict(prompt) for prompt in self.prompts]}
        return {key: value for key, value in row.items() if value not in (None, [])}

    @classmethod
    def from_json(cls, row: object) -> Provenance:
        """Raises InputError for other keys or values."""
        if not isinstance(row, Mapping):
            raise InputError(f"provenance must be an object, got {str(row)[:60]!r}")
        known = {key: row[key] for key in cls.__dataclass_fields__ if key in row}
        if strange := sorted(set(row) - set(known)):
            raise InputError(
                f"provenance has no {strange[0]!r}; it has {', '.join(cls.__dataclass_fields__)}"
            )
        prompts = known.get("prompts") or ()
        if not isinstance(prompts, list | tuple):
            raise InputError(f"prompts must be a list of objects, got {str(prompts)[:60]!r}")
        return cls(**known | {"prompts": tuple(prompts)})


@dataclass(frozen=True, kw_only=True)
class MaskNotes:
    """What is written on one mask.

    tags        words such as "occluded"
    attributes  values by their names, such as {"colour": "red"}
    comment     for the next person
    locked      tools leave it alone
    hidden      it is not drawn
    level       masks of a higher level lie above those of a lower one
    label_probability
                of the mask's label, where it is a model's guess that nobody has confirmed; else 0
    objectness  how likely a proposal is an object, as its model judged; 0 where none did

    Raises InputError for what no database can hold.
    """

    tags: tuple[str, ...] = ()
    attributes: Mapping[str, str] = field(default_factory=dict)
    comment: str = ""
    locked: bool = False
    hidden: bool = False
    level: int = 0
    label_probability: float = 0.0
    objectness: float = 0.0

    def __post_init__(self) -> None:
        if len(self.tags) > MOST_TAGS or len(self.attributes) > MOST_TAGS:
            raise InputError(f"a mask has at most {MOST_TAGS} tags and attributes, got more")
        for text in (*self.tags, *self.attributes, *self.attributes.values()):
            checked_text("a tag or an attribute", text)
        for start in range(0, min(len(self.comment), MOST_COMMENT), 400):
            checked_text("a comment", self.comment[start : start + 400])
        if len(self.comment) > MOST_COMMENT:
            raise InputError(f"a comment has at most {MOST_COMMENT} characters, got more")
        if abs(self.level) > MOST_LEVEL:
            raise InputError(f"a level is from -{MOST_LEVEL} to {MOST_LEVEL}, got {self.level}")
        for name in ("label_probability", "objectness"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"{name} is from 0 to 1, got {getattr(self, name)}")

    def to_json(self) -> dict[str, Any]:
        """Without what is as it always is."""
        row = {one.name: getattr(self, one.name) for one in fields(self)}
        row |= {"tags": list(self.tags), "attributes": dict(self.attributes)}
        return {name: value for name, value in row.items() if value}

    @classmethod
    def from_json(cls, row: object) -> MaskNotes:
        """Raises InputError for other keys or kinds of values."""
        if not isinstance(row, Mapping):
            raise InputError(f"notes must be an object, got {str(row)[:60]!r}")
        kinds = {"tags": list, "attributes": Mapping, "comment": str, "locked": bool,
                 "hidden": bool, "level": int, "label_probability": int | float,
                 "objectness": int | float}  # fmt: skip
        for name, value in row.items():
            if name not in kinds or not isinstance(value, kinds[name]):
                raise InputError(
                    f"notes have {', '.join(kinds)}, got {str(name)[:40]!r}: {str(value)[:40]!r}"
                )
        return cls(**dict(row) | {"tags": tuple(row.get("tags", ()))})


@dataclass(frozen=True, kw_only=True)
class Draft:
    """A mask to be kept.

    rle        of the photo's size
    state      "proposed": somebody has to look at it before it counts
    score      the model's number of this very shape; None where there is none, as of people's
    stability  the same
    seconds    that somebody spent on it
    client_id  a name that its maker gives it: sent twice, it is kept once
    page       of the photo's file on which it lies, counted from 0

    Raises InputError for texts and numbers that no database or format can hold.
    """

    rle: Rle
    label: str | None = None
    state: State = "accepted"
    score: float | None = None
    stability: float | None = None
    seconds: float = 0.0
    client_id: str | None = None
    page: int = 0
    provenance: Provenance = field(default_factory=Provenance)
    notes: MaskNotes = field(default_factory=MaskNotes)

    def __post_init__(self) -> None:
        one_of("state", self.state, get_args(State))
        checked_text("a label", self.label)
        checked_text("client_id", self.client_id)
        checked_number("seconds", self.seconds, 0, MOST_SECONDS)
        if type(self.page) is not int or not 0 <= self.page <= MOST_PAGE:
            raise InputError(f"pages are whole numbers, counted from 0, got {str(self.page)[:40]}")
        if not (math.isfinite(self.score or 0) and math.isfinite(self.stability or 0)):
            raise InputError(
                "score and stability must be finite numbers, got "
                f"{self.score!r} and {self.stability!r}"
            )

    @property
    def area(self) -> int:
        """Pixels of the mask."""
        return rle_area(self.rle)

    @property
    def mask(self) -> BoolArray:
        """(H, W) bool, decoded each time."""
        return rle_to_mask(self.rle)

    def to_mask(self) -> Mask:
        """As formats write it: score and clicks only where a model gave the shape its score."""
        if self.score is None:
            return Mask(self.rle, self.label)
        clicks = list[tuple[float, float]]()
        for prompt in self.provenance.prompts:
            points = prompt.get("points") or ()
            labels = prompt.get("labels") or [1] * len(points)  # 0: a click beside the object
            pairs = zip(points, labels, strict=False)
            clicks += [(float(x), float(y)) for (x, y), label in pairs if label]
        return Mask(
            self.rle, self.label, score=self.score, stability=self.stability, points=tuple(clicks)
        )


@dataclass(frozen=True, kw_only=True)
class StoredMask(Draft):
    """A mask that the database has numbered.

    id        of the mask
    image_id  of its photo
    version   grows with every change; a change names the version that it was made from
    author    who made this version
    created   when, in seconds since 1970, UTC
    """

    id: int
    image_id: int
    version: int
    author: str
    created: float

    def draft(self, **changes: Any) -> Draft:
        """The mask as a draft, to change it; its seconds start at 0."""
        held = {one.name: getattr(self, one.name) for one in fields(Draft)}
        return Draft(**held | {"seconds": 0.0} | changes)


@dataclass(frozen=True, kw_only=True)
class ImageEntry:
    """A photo of the project; `records` counts masks that are not rejected."""

    id: int
    name: str
    hw: tuple[int, int]
    status: ImageStatus
    version: int
    records: int
    group: str | None = None

    def to_json(self) -> dict[str, Any]:
        """As the server sends it."""
        return row_with_size(asdict(self))


def row_with_size(row: dict[str, Any]) -> dict[str, Any]:
    """A row whose "hw" is told as "width" and "height"."""
    height, width = row["hw"]
    return {key: value for key, value in row.items() if key != "hw"} | {
        "width": width,
        "height": height,
    }


@dataclass(frozen=True, kw_only=True)
class Action:
    """One event before it is written: what was done, with what, for how long."""

    kind: str
    tool: str | None = None
    seconds: float = 0.0
    record_id: int | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.kind:
            raise InputError("an event has a kind, a word or two; got none")
        checked_text("an event's kind", self.kind)
        checked_text("an event's tool", self.tool)
        checked_number("seconds", self.seconds, 0, MOST_SECONDS)
        checked_json("an event's detail", self.detail)


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
    author: str
    created: float
    label: str | None
    state: State
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
