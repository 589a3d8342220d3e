"""Request and answer bodies of a project's API: JSON in, the engine's values out, and back.

Numbers of photos and masks travel as text. The page writes where a mask comes from in its own flat
words (`by`, `points`, `labels`, `box`, `lasso`, `drawn`); they become a `Provenance` and come back
beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Annotated, Any

from pydantic import BaseModel, Field

from anymask.masks import SMOOTH, coco_to_rle, rle_area, rle_box_xywh, rle_to_coco
from anymask.studio.answers import HIDDEN, OF_STORED, given_by, words_of
from anymask.studio.checks import MOST_PAGE
from anymask.studio.exports import ExportSettings, Only, read_split
from anymask.studio.labels import Fate
from anymask.studio.records import (
    Action,
    Draft,
    ImageEntry,
    MaskNotes,
    Provenance,
    Stage,
    StoredMask,
    Verdict,
)
from anymask.studio.wire import at_most

MOST_EVENTS = 1000
MOST_SAVED = 200
WHOLE = "accept"  # the event that tells a whole mask's seconds, whose steps were events before
PROMPT = ("points", "labels", "box", "lasso")
BY_HAND = ("brush", "polygon")  # the model's score was of another shape


_OF_DRAFT: Any = given_by(Draft, "rle", "client_id", "page", "provenance", "notes")


class RecordBody(_OF_DRAFT):  # type: ignore[misc]  # made of the dataclass
    """A mask; what the page sends beside it (box, area, id) is worked out anew.

    page  of the photo's file on which it lies; a mask that is there stays on its own
    """

    rle: dict[str, Any]
    page: int = Field(default=0, ge=0, le=MOST_PAGE)
    provenance: dict[str, Any] = Field(default_factory=dict)
    notes: dict[str, Any] = Field(default_factory=dict)

    def draft(self, stage: Stage, client_id: str | None = None) -> Draft:
        """`stage` holds where the body names none. Raises InputError, DataError."""
        origin = provenance_of(self.provenance, stage)
        words = {word: name for name, word in words_of(Draft).items()}
        held = {words.get(name, name): value for name, value in self.model_dump().items()}
        held |= {"rle": coco_to_rle(self.rle), "label": self.label or None}
        if origin.tool in BY_HAND:
            held |= {"score": None, "stability": None}
        held |= {"provenance": origin, "notes": MaskNotes.from_json(self.notes)}
        return Draft(**held, client_id=client_id)


class NewRecordBody(BaseModel):
    """A mask to be kept; sent twice with the same name, it is kept once."""

    record: RecordBody
    client_id: str | None = Field(default=None, max_length=400)


class SavedBody(NewRecordBody):
    """A mask to be kept; with `id` and `version`: in place of the one that is still at it."""

    id: int | None = None
    version: int | None = None


class SavedBodies(BaseModel):
    """Several masks of one photo."""

    records: Annotated[list[SavedBody], Field(fail_fast=True), at_most(MOST_SAVED, "masks")]


class EventBody(BaseModel):
    """Something that the annotator did; `record` is a mask's number or its client_id."""

    kind: str
    tool: str | None = None
    seconds: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    record: int | str | None = None
    detail: dict[str, Any] | None = None

    def action(self) -> Action:
        """Raises InputError."""
        text = "" if self.record is None else str(self.record)
        detail = {**(self.detail or {}), **({"key": text} if text else {})}
        whole = self.kind == WHOLE
        return Action(
            kind=self.kind,
            tool=self.tool,
            seconds=0.0 if whole else self.seconds,
            record_id=int(text) if text.isdecimal() and len(text) < 10 else None,
            detail=detail | ({"whole_seconds": self.seconds} if whole else {}),
        )


class EventsBody(BaseModel):
    """Several of them, in order."""

    events: Annotated[list[EventBody], Field(fail_fast=True), at_most(MOST_EVENTS, "events")]


class VerdictBody(BaseModel):
    """What a reviewer says."""

    verdict: Verdict
    rle: dict[str, Any] | None = None
    seconds: float = 0.0


class DoneBody(BaseModel):
    """A photo that is finished, and the seconds that it took beside its masks."""

    seconds: float = 0.0


class ProjectBody(BaseModel):
    """A way of working for everybody in the project; what is left out stays."""

    stage: Stage | None = None


class ExportBody(BaseModel):
    """A format of `anymask convert`, and what is to leave (see `ExportSettings`)."""

    format: str
    force: bool = False
    only: Only = "done"
    proposals: bool = False
    split: str | None = Field(default=None, max_length=40)
    images: bool = False
    tolerance: float = Field(default=SMOOTH, allow_inf_nan=False)

    def settings(self) -> ExportSettings:
        """Raises InputError."""
        given = self.model_dump(exclude={"format", "split"})
        return ExportSettings(**given, shares=read_split(self.split))


class LabelBody(BaseModel):
    """A name, and what is to change about it; what is left out stays.

    to      its new name; where that one is there, both become one
    colour  #rrggbb
    place   in the list, 0 being the first
    """

    name: str
    to: str | None = None
    colour: str | None = None
    place: int | None = Field(default=None, ge=0, le=100_000)


class LabelFateBody(BaseModel):
    """A name that goes; its masks become nameless, or go too."""

    name: str
    masks: Fate = "unname"


def provenance_of(raw: Mapping[str, Any], stage: Stage) -> Provenance:
    """The page's words, or our own, as a `Provenance`. Raises InputError."""
    ours = {key: raw[key] for key in Provenance.__dataclass_fields__ if key in raw}
    prompt = {key: raw[key] for key in PROMPT if raw.get(key)}
    if prompt:
        ours["prompts"] = [prompt]
    ours["kind"] = raw.get("by") or ours.get("kind") or "human"
    if "tool" not in ours and ours["kind"] == "human":
        ours["tool"] = "brush" if raw.get("drawn") else next(iter(prompt), "click")
    return Provenance.from_json({"stage": stage, **ours})


def mask_to_json(mask: Draft) -> dict[str, Any]:
    """A mask as the page reads it; one that nobody has stored without what it has not."""
    words = words_of(Draft)
    row = {words.get(one.name, one.name): getattr(mask, one.name) for one in fields(mask)}
    row |= {
        "rle": rle_to_coco(mask.rle),
        "box": list(rle_box_xywh(mask.rle)),
        "area": rle_area(mask.rle),
        "notes": mask.notes.to_json(),
    }
    prompts = [dict(prompt) for prompt in mask.provenance.prompts] or [{}]
    row["provenance"] = mask.provenance.to_json() | {"by": mask.provenance.kind, **prompts[-1]}
    if not isinstance(mask, StoredMask):
        return {name: value for name, value in row.items() if name not in OF_STORED}
    return {name: value for name, value in row.items() if name not in (*HIDDEN, "at")} | {
        "id": str(mask.id)
    }


def image_to_json(image: ImageEntry) -> dict[str, Any]:
    """A photo as the page reads it."""
    return image.to_json() | {"id": str(image.id)}
