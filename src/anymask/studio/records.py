"""Values that a project stores: masks, images, clips, tracks and events, without SQL.

This module defines the fields of a mask: `Draft` is a new mask, `StoredMask` the same with ID and
version, `TrackMask` the mask of a track on one frame. Table columns, the version history
(`tables`), HTTP bodies and the types of the page use the same field names. Letters: H W.

All values are validated for storage: text is Unicode without NUL and lone surrogates, numbers are
finite, lists and objects have limited sizes. Stored values are therefore safe for reports and
exports.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import partial
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationError,
)

from anymask.base import BoolArray, InputError, brief
from anymask.masks import Mask, Origin, Rle, rle_area, rle_to_mask
from anymask.runtime import stated_origin
from anymask.studio.options import Stage, State

Kind = Literal["human", "model", "import"]
Verdict = Literal["accept", "fix", "reject"]
TrackSaying = Literal["accept", "correct", "reject"]
Why = Literal["uncertain", "random"]
MAX_TEXT = 400  # maximum length of names and labels
MAX_PLACES = 100_000  # maximum number of points per prompt
MAX_PROMPTS = 1000  # maximum number of prompts per mask
MAX_SECONDS = 1e9  # about thirty years
MAX_PAGE = 10_000_000  # maximum page number
MAX_ID = 2**31 - 1  # maximum ID; the limit of integer columns
MAX_DETAIL_DEPTH = 8  # maximum nesting of the detail of an event
MAX_JSON = 100_000  # maximum characters of the detail of an event
MAX_TAGS = 100
MAX_COMMENT = 10_000  # characters
MAX_LEVEL = 1_000_000
MAX_RATE = 1e6  # maximum frames per second


# Checks.


def one_of(name: str, value: object, known: tuple[object, ...]) -> None:
    """Raise InputError with the allowed values if `value` is not one of them."""
    if value not in known:
        raise InputError(f"{name} must be one of {', '.join(map(str, known))}. Given: {value!r}.")


def is_id(number: int) -> bool:
    """Whether a number is a valid ID of an image or mask."""
    return 0 < number <= MAX_ID


def checked_text(what: str, text: object) -> None:
    """Check that a value is None or text of at most MAX_TEXT characters. Raises InputError."""
    if text is None:
        return
    if not isinstance(text, str):
        raise InputError(f"{what} must be text. Given: {_short(text)}.")
    if len(text) > MAX_TEXT:
        raise InputError(f"{what} has {len(text)} characters, at most {MAX_TEXT} are allowed.")
    _check_encodable(what, text)


def _check_encodable(what: str, text: str) -> str:
    if "\0" in text or any("\ud800" <= letter <= "\udfff" for letter in text):
        raise InputError(f"{what} must be valid UTF-8 without NUL. Given: {_short(text)}.")
    return text


def checked_number(what: str, number: object, least: float, most: float) -> None:
    """Check that a value is a finite number in a range. Raises InputError."""
    plain = isinstance(number, int | float) and not isinstance(number, bool)
    if not plain or not least <= number <= most:  # type: ignore[operator]  # compared only if it is a number
        raise InputError(
            f"{what} must be a number from {least:g} to {most:g}. Given: {_short(number)}."
        )


def checked_json(what: str, value: object) -> None:
    """Check that a value is JSON of at most MAX_DETAIL_DEPTH levels and MAX_JSON characters.

    Raises InputError.
    """

    def depth(one: object) -> int:
        below = [*one.values()] if isinstance(one, Mapping) else one
        return 1 + max(map(depth, below), default=0) if isinstance(below, list | tuple) else 0

    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
        text.encode()
        plain = len(text) <= MAX_JSON and "\\u0000" not in text and depth(value) <= MAX_DETAIL_DEPTH
    except (TypeError, ValueError, RecursionError):
        plain = False
    if not plain:
        raise InputError(
            f"{what} must be JSON with at most {MAX_DETAIL_DEPTH} nested levels and {MAX_JSON} "
            "characters, finite numbers, and valid UTF-8 without NUL."
        )


def _short(value: object) -> str:
    """Start of a value in ASCII, for messages."""
    if isinstance(value, list | tuple | Mapping):
        return f"{type(value).__name__} of {len(value)}"
    if isinstance(value, int) and value.bit_length() > 64:
        return f"an integer of {value.bit_length()} bits"
    return ascii(value)[:60]


# Masks.


_ENCODABLE = AfterValidator(partial(_check_encodable, "it"))
Text = Annotated[str, Field(max_length=MAX_TEXT), _ENCODABLE]
Finite = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Places = Annotated[list[tuple[Finite, Finite]], Field(max_length=MAX_PLACES, fail_fast=True)]
Share = Annotated[float, Field(ge=0, le=1)]


class JsonColumn(BaseModel):
    """Part of a mask that the database stores as one JSON object.

    Raises InputError for other keys or values.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(map(str, first["loc"]))
            raise InputError(
                f"{key} is not valid for {type(self).__name__}: {first['msg']}. Given: "
                f"{_short(first['input'])}."
            ) from None

    def to_json(self) -> dict[str, Any]:
        """Convert to JSON, without default values."""
        return self.model_dump(mode="json", exclude_defaults=True)


class _Prompt(JsonColumn):
    """Prompt of a model: points with labels 1 or 0, a box x0, y0, x1, y1, or a lasso line."""

    points: Places | None = None
    labels: Annotated[list[Literal[0, 1]], Field(max_length=MAX_PLACES, fail_fast=True)] | None = (
        None
    )
    box: tuple[Finite, Finite, Finite, Finite] | None = None
    lasso: Places | None = None


Prompted = Annotated[
    dict[str, list[Any]], BeforeValidator(lambda one: _Prompt.model_validate(one).to_json())
]


class Provenance(JsonColumn):
    """The origin of a mask."""

    # "human": drawn or corrected by a person; "model": predicted; "import": from a file
    kind: Kind = "human"
    model: Text | None = None  # Name of the model that was used
    model_hash: Text | None = None  # Hash of the weights
    # Licence of the weights; by default, the licence in the catalog for this hash
    licence: Text | None = None
    # Training data of the weights and its terms; by default, as in the catalog
    data: Text | None = None
    # Prompts of the mask
    prompts: Annotated[tuple[Prompted, ...], Field(max_length=MAX_PROMPTS)] = ()
    tool: Text | None = None  # Tool of the annotator: click, box, brush, polygon, everything, ...
    stage: Stage | None = None  # Stage of the data engine in which the mask was created
    source: Text | None = None  # File that the mask was imported from

    def to_json(self) -> dict[str, Any]:
        return {"kind": self.kind} | super().to_json()

    @classmethod
    def of(cls, origin: Origin | None, **more: Any) -> Provenance:
        """Create a provenance with the model of a mask, if it is known."""
        if origin is None:
            return cls(**more)
        known: dict[str, Any] = {"model": origin.model, "model_hash": origin.weights or None}
        terms = {"licence": origin.licence[:MAX_TEXT], "data": origin.data[:MAX_TEXT]}
        return cls(**known | {key: text for key, text in terms.items() if text} | more)

    def origin(self) -> Origin | None:
        """Model of the mask with its terms, or None."""
        if self.model is None:
            return None
        known = stated_origin(self.model, self.model_hash or "")
        return Origin(
            self.model, known.weights, self.licence or known.licence, self.data or known.data
        )


class MaskNotes(JsonColumn):
    """Tags, attributes, comment and display properties of a mask."""

    tags: Annotated[tuple[Text, ...], Field(max_length=MAX_TAGS)] = ()
    attributes: Annotated[dict[Text, Text], Field(max_length=MAX_TAGS)] = Field(
        default_factory=dict
    )
    comment: Annotated[str, Field(max_length=MAX_COMMENT), _ENCODABLE] = ""
    locked: bool = Field(
        default=False, description="if true, the mask cannot be edited", strict=True
    )
    hidden: bool = Field(default=False, description="if true, the mask is not drawn", strict=True)
    level: int = Field(
        default=0, description="drawing order: higher values are drawn on top", strict=True,
        ge=-MAX_LEVEL, le=MAX_LEVEL,
    )  # fmt: skip
    label_probability: Share = Field(
        default=0.0, description="probability of the label, if the model suggested it"
    )
    objectness: Share = Field(
        default=0.0,
        description="probability that a proposal is an object, if the model predicts it",
    )


@dataclass(frozen=True, kw_only=True)
class Draft:
    """A mask to store. Raises InputError if texts or numbers cannot be stored or exported."""

    rle: Rle  # Mask in the size of the image
    label: str | None = None
    state: State = "accepted"  # "proposed": needs a review before it counts
    # Score of the model for this exact mask; None without one, as for drawn masks
    score: float | None = None
    stability: float | None = None  # Stability of the model for this exact mask, likewise
    seconds: float = 0.0  # Time that people spent on it
    # ID from the client. A repeated request stores the mask only once.
    client_id: str | None = None
    page: int = 0  # Page of the image file, from 0
    provenance: Provenance = field(default_factory=Provenance)
    notes: MaskNotes = field(default_factory=MaskNotes)

    def __post_init__(self) -> None:
        one_of("state", self.state, get_args(State))
        checked_text("a label", self.label)
        checked_text("client_id", self.client_id)
        checked_number("seconds", self.seconds, 0, MAX_SECONDS)
        if type(self.page) is not int or not 0 <= self.page <= MAX_PAGE:
            raise InputError(f"The page must be a number from 0. Given: {str(self.page)[:40]}.")
        if not (math.isfinite(self.score or 0) and math.isfinite(self.stability or 0)):
            raise InputError("`score` and `stability` must be finite numbers.")

    @property
    def area(self) -> int:
        """Mask area in pixels."""
        return rle_area(self.rle)

    @property
    def mask(self) -> BoolArray:
        """Mask (H, W) bool, decoded on each access."""
        return rle_to_mask(self.rle)

    def to_mask(self) -> Mask:
        """Convert to an export mask. Score and points are set only for unmodified model masks."""
        origin, level = self.provenance.origin(), self.notes.level
        extra = {"z_order": level} if level else {}
        if self.score is None:
            return Mask(self.rle, self.label, origin=origin, extra=extra)
        clicks = list[tuple[float, float]]()
        for prompt in self.provenance.prompts:
            points = prompt.get("points") or ()
            labels = prompt.get("labels") or [1] * len(points)  # 0 is a background point
            pairs = zip(points, labels, strict=False)
            clicks += [(float(x), float(y)) for (x, y), label in pairs if label]
        return Mask(
            self.rle, self.label, score=self.score, stability=self.stability, points=tuple(clicks),
            origin=origin, extra=extra,
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class StoredMask(Draft):
    """A mask in the database."""

    id: int  # ID of the mask
    image_id: int  # ID of the image
    version: int  # Increases with every change. A change must name the version that it is based on.
    author: str  # Author of this version
    created: float  # Time of this version, in seconds since 1970, UTC

    def draft(self, **changes: Any) -> Draft:
        """Copy as a draft with changes. Its time starts at 0."""
        held = {field.name: getattr(self, field.name) for field in fields(Draft)}
        return Draft(**held | {"seconds": 0.0} | changes)


IdAsText = Annotated[int, PlainSerializer(str, return_type=str)]  # text in JSON


@dataclass(frozen=True, kw_only=True)
class ImageEntry:
    """An image of the project. `records` is the number of masks that are not rejected."""

    id: IdAsText
    name: str
    width: int
    height: int
    status: Literal["new", "proposed", "done"]
    version: int
    records: int
    group: str | None

    @property
    def hw(self) -> tuple[int, int]:
        """Size (H, W) in pixels."""
        return self.height, self.width


@brief
@dataclass(frozen=True, kw_only=True)
class Action:
    """An event to store: kind, tool, duration and details."""

    kind: str
    tool: str | None = None
    seconds: float = 0.0
    record_id: int | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.kind:
            raise InputError("The event has no kind. Pass a kind of one or two words.")
        checked_text("the kind of an event", self.kind)
        checked_text("the tool of an event", self.tool)
        checked_number("seconds", self.seconds, 0, MAX_SECONDS)
        checked_json("the detail of an event", self.detail)


@dataclass(frozen=True, kw_only=True)
class ClipEntry:
    """A video of the project. `frames` is null if the number of frames is unknown.

    `tracks` is the number of proposed and accepted tracks, without rejected ones.
    """

    id: int
    name: str  # Path in the project folder
    width: int
    height: int
    frames: int | None
    rate: float  # Frames per second
    tracks: int
    proposals: int
    accepted: int
    rejected: int

    @property
    def hw(self) -> tuple[int, int]:
        """Frame size (H, W) in pixels."""
        return self.height, self.width


@dataclass(frozen=True, kw_only=True)
class TrackMask:
    """Mask of a track on one frame, like `track.records.ObjectMask`.

    Database rows and the HTTP schema take their fields from it.
    """

    frame: int
    rle: Rle
    score: float = 1.0
    state: str = "visible"
    doubts: tuple[str, ...] = ()
    prompted: bool = False

    def __post_init__(self) -> None:
        if type(self.frame) is not int or not 0 <= self.frame <= MAX_ID:
            raise InputError(f"The frame must be an integer of at least 0. Given: {self.frame!r}.")
        checked_number("score", self.score, 0, 1)
        for word in (self.state, *self.doubts):
            if not word.isidentifier() or len(word) > 20:
                raise InputError(f"States and doubts must be single words. Given: {word[:40]!r}.")


@brief
@dataclass(frozen=True, kw_only=True)
class TrackDraft:
    """Masks of an object in a clip, to store."""

    object: int  # Number of the object in the clip
    masks: Sequence[TrackMask]
    label: str | None = None
    seconds: float = 0.0  # Time that people spent on it
    provenance: Provenance = field(default_factory=Provenance)

    def __post_init__(self) -> None:
        if type(self.object) is not int or not 0 <= self.object <= MAX_ID:
            raise InputError(f"The object must be a number from 0. Given: {self.object!r}.")
        checked_text("a label", self.label)
        checked_number("seconds", self.seconds, 0, MAX_SECONDS)


@dataclass(frozen=True, kw_only=True)
class TrackEntry:
    """A stored track. `version` increases with every change except of the label."""

    id: int
    clip_id: int
    object: int
    version: int
    author: str
    created: float
    label: str | None
    state: State
    seconds: float
    first: int  # First frame with a mask
    last: int  # Last frame with a mask
    doubtful: int  # Number of low-confidence frames, which a person should check
    provenance: Provenance
