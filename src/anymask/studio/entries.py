"""The values of a project: masks, photos, provenance and events, without SQL.

What a project knows of a mask is declared here alone: `Draft` is a mask on its way in,
`StoredMask` the same mask with a number and a version. The rows of the database (`rows`), the HTTP
schema (`studio.project_schemas`) and the exports take their fields from it. Letters: H W.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, get_args

from anymask.base import InputError
from anymask.masks import Rle
from anymask.studio.checks import (
    MOST_PAGE,
    MOST_PROMPTS,
    MOST_SECONDS,
    checked_json,
    checked_number,
    checked_prompt,
    checked_text,
)
from anymask.studio.notes import MaskNotes

Status = Literal["proposal", "accepted", "rejected"]
ImageStatus = Literal["new", "proposed", "done"]
Kind = Literal["human", "model", "import"]
Stage = Literal["assisted", "semi", "auto", "review"]
Arm = Literal["model", "control"]
Verdict = Literal["accept", "fix", "reject"]
Why = Literal["uncertain", "random"]


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """Where a mask comes from.

    kind        "human": drawn or corrected by hand; "model": as a model answered; "import": a file
    model       the model's name, where one took part
    model_hash  of its weights
    prompts     what it was asked, one JSON object a prompt ({"points", "labels", "box"})
    tool        the annotator's tool: click, box, brush, polygon, everything, ...
    stage       of the data engine in which the mask was made
    arm         "model", or "control": made without a model, to measure what the model saves
    source      the file that it was read from

    Raises InputError for words, texts or prompts that make no sense.
    """

    kind: Kind = "human"
    model: str | None = None
    model_hash: str | None = None
    prompts: tuple[Mapping[str, Any], ...] = ()
    tool: str | None = None
    stage: Stage | None = None
    arm: Arm = "model"
    source: str | None = None

    def __post_init__(self) -> None:
        one_of("kind", self.kind, get_args(Kind))
        one_of("arm", self.arm, get_args(Arm))
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
class Draft:
    """A mask to be kept.

    rle        of the photo's size
    quality    the model's number of this very shape; None where there is none, as of people's
    stability  the same
    seconds    that somebody spent on it
    client_id  a name that its maker gives it: sent twice, it is kept once
    page       of the photo's file on which it lies, counted from 0

    Raises InputError for texts and numbers that no database or format can hold.
    """

    rle: Rle
    label: str | None = None
    status: Status = "accepted"
    quality: float | None = None
    stability: float | None = None
    seconds: float = 0.0
    client_id: str | None = None
    page: int = 0
    provenance: Provenance = field(default_factory=Provenance)
    notes: MaskNotes = field(default_factory=MaskNotes)

    def __post_init__(self) -> None:
        one_of("status", self.status, get_args(Status))
        checked_text("a label", self.label)
        checked_text("client_id", self.client_id)
        checked_number("seconds", self.seconds, 0, MOST_SECONDS)
        if type(self.page) is not int or not 0 <= self.page <= MOST_PAGE:
            raise InputError(f"pages are whole numbers, counted from 0, got {str(self.page)[:40]}")
        if not (math.isfinite(self.quality or 0) and math.isfinite(self.stability or 0)):
            raise InputError(
                "quality and stability must be finite numbers, got "
                f"{self.quality!r} and {self.stability!r}"
            )


@dataclass(frozen=True, kw_only=True)
class StoredMask(Draft):
    """A mask that the database has numbered.

    id        of the mask
    image_id  of its photo
    version   grows with every change; a change names the version that it was made from
    who, at   who made this version, and when, in seconds since 1970, UTC
    """

    id: int
    image_id: int
    version: int
    who: str
    at: float

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


def one_of(name: str, value: object, known: tuple[object, ...]) -> None:
    """Raises InputError that lists the known words."""
    if value not in known:
        raise InputError(f"{name} must be one of {', '.join(map(str, known))}; got {value!r}")
