"""JSON schemas of a project over HTTP: images, masks with provenance, and review.

IDs of images and masks are sent as text. The page describes the origin of a mask with flat fields
(`by`, `points`, `labels`, `box`, `lasso`, `drawn`), which are converted to a `Provenance`;
responses contain both.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from anymask.images import ChannelRange, PixelSize
from anymask.masks import TOLERANCE, rle_area, rle_box_xywh, rle_to_coco
from anymask.studio.concepts import Answer, Concept
from anymask.studio.errors import Failure
from anymask.studio.labels import Fate, Label
from anymask.studio.options import ExportSettings, Only, Stage, State, read_split
from anymask.studio.records import (
    MAX_PAGE,
    Action,
    Draft,
    ImageEntry,
    Kind,
    MaskNotes,
    Provenance,
    StoredMask,
    Verdict,
)
from anymask.studio.schemas import (
    DISC_RLE,
    CocoRleBody,
    Corners,
    Few,
    Place,
    QuestionBody,
    Seconds,
    Strict,
    TextId,
    at_most,
    example,
)

PROMPT = ("points", "labels", "box", "lasso")
BY_HAND = ("brush", "polygon")  # tools that invalidate the model's score


class RecordBody(BaseModel):
    """A mask. The fields box, area and id of the body are ignored and computed again."""

    model_config = example(rle=DISC_RLE, label="disc", provenance={"by": "human"})

    rle: CocoRleBody
    label: str | None = None
    state: State = "accepted"
    # Score of the model for this exact mask; null for masks that a person drew
    score: float | None = None
    stability: float | None = None
    seconds: float = 0.0
    # Page of the image file; an existing mask stays on its page
    page: int = Field(default=0, ge=0, le=MAX_PAGE)
    provenance: dict[str, Any] = Field(default_factory=dict)
    notes: dict[str, Any] = Field(default_factory=dict)

    def draft(self, stage: Stage, client_id: str | None = None) -> Draft:
        """Convert to a draft. `stage` is the default stage. Raises InputError, DataError."""
        origin = provenance_of(self.provenance, stage)
        by_model = origin.tool not in BY_HAND
        return Draft(
            rle=self.rle.rle(), label=self.label or None, state=self.state,
            score=self.score if by_model else None,
            stability=self.stability if by_model else None,
            seconds=self.seconds, page=self.page, client_id=client_id, provenance=origin,
            notes=MaskNotes(**self.notes),
        )  # fmt: skip


class NewRecordBody(BaseModel):
    """A new mask. A repeated request with the same client_id stores the mask only once."""

    model_config = example(record=RecordBody.model_config["json_schema_extra"]["examples"][0])  # type: ignore[index]  # made above

    record: RecordBody
    client_id: str | None = Field(default=None, max_length=400)


class SavedBody(NewRecordBody):
    """A mask to store. With `id` and `version`, it replaces the mask that has this version."""

    id: int | None = None
    version: int | None = None


class SavedBodies(BaseModel):
    """Several masks of one image."""

    model_config = example(records=[{"record": {"rle": DISC_RLE, "label": "disc"}}])

    records: Annotated[list[SavedBody], Few, at_most(200, "masks")]


class OriginBody(Provenance):
    """The origin of a mask (`Provenance`), with the additional field names that the page uses."""

    by: Kind
    points: list[Place] | None = None
    labels: list[int] | None = None
    box: Corners | None = None
    lasso: list[Place] | None = None


class FoundMaskBody(Strict):
    """A predicted mask that is not stored. box: x, y, width, height."""

    rle: CocoRleBody
    box: Corners
    area: int
    label: str | None
    state: State
    score: float | None
    page: int
    notes: MaskNotes
    provenance: OriginBody


class KeptMaskBody(FoundMaskBody):
    """A stored mask of the project, with its version."""

    id: TextId
    version: int
    author: str
    stability: float | None
    seconds: float
    client_id: str | None


def found_mask(mask: Draft) -> dict[str, Any]:
    """Convert to the fields of `FoundMaskBody`."""
    prompts = [dict(prompt) for prompt in mask.provenance.prompts] or [{}]
    return {
        "rle": rle_to_coco(mask.rle),
        "box": list(rle_box_xywh(mask.rle)),
        "area": rle_area(mask.rle),
        "label": mask.label,
        "state": mask.state,
        "score": mask.score,
        "page": mask.page,
        "notes": mask.notes.to_json(),
        "provenance": mask.provenance.to_json() | {"by": mask.provenance.kind, **prompts[-1]},
    }


def kept_mask(mask: StoredMask) -> dict[str, Any]:
    """Convert to the fields of `KeptMaskBody`."""
    fields = ("version", "author", "stability", "seconds", "client_id")
    return found_mask(mask) | {"id": str(mask.id)} | {name: getattr(mask, name) for name in fields}


def provenance_of(raw: Mapping[str, Any], stage: Stage) -> Provenance:
    """Convert the fields of the page, or of `Provenance`. Raises InputError."""
    ours = {key: raw[key] for key in Provenance.model_fields if key in raw}
    prompt = {key: raw[key] for key in PROMPT if raw.get(key)}
    if prompt:
        ours["prompts"] = [prompt]
    ours["kind"] = raw.get("by") or ours.get("kind") or "human"
    if "tool" not in ours and ours["kind"] == "human":
        ours["tool"] = "brush" if raw.get("drawn") else next(iter(prompt), "click")
    return Provenance(**{"stage": stage, **ours})


class KeptMasksBody(Strict):
    """The masks of an image. `version` is the version of the image."""

    version: int
    records: list[KeptMaskBody]


class ProposalsBody(Strict):
    """Stored proposals, and other masks below the thresholds of the model."""

    records: list[KeptMaskBody]
    others: list[FoundMaskBody]


class SearchBody(QuestionBody):
    """A search with text or exemplar prompts in images of the project."""

    model_config = example(words="orange")


class FindsBody(Strict):
    """New proposals and proposals that received a class, and the number of known objects."""

    records: list[KeptMaskBody]
    existing: int
    untrained: list[str] = Field(
        default=[], description="names without training images: their scores are less accurate"
    )


class SearchState(Strict):
    """Progress of the search of all images: images searched and proposals created.

    The same request resumes a stopped search with the remaining images.
    """

    state: Literal["none", "running", "stopped", "done", "failed"]
    question: SearchBody | None = None
    done: int = 0
    total: int = 0
    found: int = 0
    why: str = Field(default="", description="error message, or which images were skipped")


class SavedAnswer(Strict):
    """The current mask, or null if it was deleted. `error` is set if the change was rejected."""

    record: KeptMaskBody | None
    error: Failure | None


class SavedAnswers(Strict):
    """The result for each mask, in the order of the request."""

    results: list[SavedAnswer]


class EventBody(BaseModel):
    """An action of the annotator. `record` is the ID of a mask or its client_id."""

    kind: str
    tool: str | None = None
    seconds: Seconds = 0.0
    record: int | str | None = None
    detail: dict[str, Any] | None = None

    def action(self) -> Action:
        """Convert to an `Action`. Raises InputError."""
        text = "" if self.record is None else str(self.record)
        detail = {**(self.detail or {}), **({"key": text} if text else {})}
        whole = self.kind == "accept"  # total time of a mask, whose steps were separate events
        return Action(
            kind=self.kind,
            tool=self.tool,
            seconds=0.0 if whole else self.seconds,
            record_id=int(text) if text.isdecimal() and len(text) < 10 else None,
            detail=detail | ({"whole_seconds": self.seconds} if whole else {}),
        )


class EventsBody(BaseModel):
    """Several events, in order."""

    model_config = example(events=[{"kind": "click", "seconds": 1.5}])

    events: Annotated[list[EventBody], Few, at_most(1000, "events")]


class AddedBody(Strict):
    """The number of events that were stored."""

    added: int


class VerdictBody(BaseModel):
    """The verdict of a reviewer. `rle` is the corrected mask for the verdict "fix"."""

    model_config = example(verdict="accept", seconds=2.0)

    verdict: Verdict
    rle: CocoRleBody | None = None
    seconds: float = 0.0


class ReviewBody(Strict):
    """A mask to review, with the reason."""

    image: TextId
    page: int
    record: TextId
    why: str


class ConceptBody(Strict):
    """A phrase of an image; `masks` is 0 for a phrase that may be absent."""

    image: TextId
    phrase: str
    masks: int
    answer: Answer | None

    @classmethod
    def of(cls, one: Concept) -> ConceptBody:
        """Convert a concept."""
        return cls(image=str(one.image_id), phrase=one.phrase, masks=one.masks, answer=one.answer)


class ConceptAnswerBody(BaseModel):
    """The answer for a phrase: `complete` (all objects have masks), `incomplete` or `absent`."""

    model_config = example(image="1", phrase="cup", answer="incomplete", seconds=2.0)

    image: TextId
    phrase: str
    answer: Answer
    seconds: float = 0.0


class DoneBody(BaseModel):
    """Marks an image as done, with the seconds spent on it in addition to its masks."""

    model_config = example(seconds=0.0)

    seconds: float = 0.0


class ProjectBody(BaseModel):
    """Settings for all annotators of the project. Omitted fields do not change."""

    model_config = example(stage="assisted")

    stage: Stage | None = None


class CountsBody(Strict):
    """The numbers of images, of images marked as done, and of masks that are not rejected."""

    images: int
    done: int
    records: int


class ProjectAnswer(Strict):
    """The project. `made` distinguishes it from another project with the same name."""

    name: str
    made: float
    labels: list[Label]
    stage: Stage
    user: str
    hint_seconds: float
    counts: CountsBody


class ImagesBody(Strict):
    """A page of images. Pass `next` as `after` for the next page; null on the last page."""

    images: list[ImageEntry]
    next: TextId | None


class PageBody(Strict):
    """A page of an image file, and its position in the stack."""

    page: int
    name: str


class PlanesBody(Strict):
    """The pages and channels of an image file."""

    first: int = Field(description="the page that is shown by default")
    pages: list[PageBody]
    channels: list[str] = Field(description="names of the channels of each page")
    colors: bool = Field(description="the image can also be shown without selecting a channel")
    pixel: PixelSize | None = Field(description="pixel size as stored in the file; null if missing")
    deep: bool = Field(
        description=(
            "whether the image has more than 8 bits per channel, so that value ranges can be "
            "selected"
        )
    )
    file: str = Field(description="version of the file; changes with its content")
    replaced: bool = Field(
        description=(
            "whether the masks were drawn on an earlier version of the file, and the "
            "image was not marked as done since"
        )
    )


class ValuesBody(Strict):
    """The value range of each channel of a page."""

    channels: list[ChannelRange]


class ChangesBody(Strict):
    """The state of an image and its masks, for polling."""

    changes: int = Field(description="how often the masks of the image were changed")
    status: str
    versions: dict[str, int] | None = Field(
        description="version of each mask by ID; null if `changes` has not changed"
    )
    file: str | None = Field(
        description="version of the file, as in `planes`; null if the file cannot be read"
    )


class ProgressBody(Strict):
    """Finished steps and total steps of automatic mask generation; 0 of 0 if it is not running."""

    done: int
    total: int


class LabelsBody(Strict):
    """The classes in their order."""

    labels: list[Label]


class LabelBody(Strict):
    """A class and the fields to change. Omitted fields do not change."""

    model_config = example(name="disc", color="#1e90ff")

    name: str
    to: str | None = None  # New name; if a class with this name exists, both are merged
    color: str | None = None  # #rrggbb
    # Position in the list, counted from 0
    place: int | None = Field(default=None, ge=0, le=100_000)


class LabelFateBody(BaseModel):
    """A class to delete. Its masks are kept without a class, or deleted."""

    model_config = example(name="disc")

    name: str
    masks: Fate = "unname"


class ImportedBody(Strict):
    """The result of an import."""

    new: int  # Number of masks that were added
    same: int  # Number of masks that the images already had
    strange: int  # Number of images in the file that are not in the project
    unread: list[str]  # What could not be read, one line each


class ExportBody(BaseModel):
    """A format of `anymask convert`, and the settings of the export."""

    model_config = example(format="coco", only="labeled")

    format: str
    force: bool = False
    only: Only = "done"
    proposals: bool = False
    split: str | None = Field(default=None, max_length=40)
    images: bool = False
    tolerance: float = Field(default=TOLERANCE, allow_inf_nan=False)
    unlabeled: Literal["object", "skip", "ask"] = Field(
        default="object",
        description=(
            'how to export masks without a class; "ask": respond with status 428 and the '
            "number of these masks"
        ),
    )

    def settings(self) -> ExportSettings:
        """Convert to `ExportSettings`. Raises InputError."""
        given = self.model_dump(exclude={"format", "split"})
        if self.unlabeled == "ask":
            given["unlabeled"] = "object"
        return ExportSettings(**given, shares=read_split(self.split))
