"""What the addresses of a project answer, in types: the schema of /openapi.json, and its check.

What the engine has declared is not said again: `fields_of` makes a schema of its dataclass.
Only the named fields are sent; one without a value is left out where it has a default, else null.
"""

from __future__ import annotations

from dataclasses import MISSING, fields
from typing import Annotated, Any, Literal, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, create_model

from anymask.studio.figures import ClipShare, Pace, Share
from anymask.studio.labels import Label
from anymask.studio.records import (
    Draft,
    Kind,
    MaskNotes,
    Provenance,
    Stage,
    State,
    StoredMask,
    TrackEntry,
    TrackSaying,
    Verdict,
)
from anymask.studio.review import Agreement, BatchState

HIDDEN = ("image_id", "created")  # of a stored mask: the page does not ask for them
_TOLD = ("rle", "notes", "provenance")  # in words of the page's own
OF_STORED = ("stability", "seconds", "client_id")  # what nobody has made has none
_SURE = ("kind", "prompts")
Place = tuple[float, float]
Corners = tuple[float, float, float, float]
_ID = Annotated[str, Field(pattern="^[0-9]{1,10}$")]
_COLOUR = Annotated[str, Field(pattern="^#[0-9a-f]{6}$")]


class ClosedAnswer(BaseModel):
    """An object that has these fields and no other ones."""

    model_config = ConfigDict(extra="forbid")


def words_of(declared: type) -> dict[str, str]:
    """The page's words for fields of a mask or a track."""
    known = {"state": "status", "score": "quality", "author": "who", "created": "at"}
    return known if issubclass(declared, Draft | TrackEntry) else {}


def fields_of(
    declared: type, *without: str, optional: bool = False, base: type[BaseModel] = ClosedAnswer
) -> Any:
    """A model with the fields of a dataclass, all required.

    without   the names of fields that are left out, or that the class derived from it declares
    optional  no field has to be there
    base      of the model
    """
    hints = get_type_hints(declared)
    words = words_of(declared)
    given: dict[str, Any] = {
        words.get(one.name, one.name): (hints[one.name] | None, None)
        if optional
        else (hints[one.name], ...)
        for one in fields(declared)
        if one.name not in without
    }
    return create_model(f"{declared.__name__}Fields", __base__=base, **given)


def given_by(declared: type, *without: str) -> Any:
    """The same for what a request brings: a field may be left out as in the dataclass."""
    hints = get_type_hints(declared)
    words = words_of(declared)
    given: dict[str, Any] = {
        words.get(one.name, one.name): (
            hints[one.name],
            ... if one.default is MISSING else one.default,
        )
        for one in fields(declared)
        if one.name not in without
    }
    return create_model(f"Given{declared.__name__}", **given)


class RleAnswer(ClosedAnswer):
    """A mask: COCO's compressed run-lengths over a photo of `size` (height, width)."""

    size: tuple[int, int]
    counts: str


class NameAnswer(ClosedAnswer):
    """A name that a mask may have, and how likely it is."""

    label: str
    probability: float = Field(ge=0, le=1)


class NamesAnswer(ClosedAnswer):
    """For each mask its likeliest names, the likeliest first; none for an empty mask.

    among  whether they were chosen among the names that were given
    """

    suggestions: list[list[NameAnswer]]
    among: bool


class NothingAnswer(ClosedAnswer):
    """Done; there is nothing to tell."""


class LabelAnswer(fields_of(Label, "colour")):  # type: ignore[misc]  # made of the dataclass
    """A name of masks, and how many have it."""

    colour: _COLOUR


class LabelsAnswer(ClosedAnswer):
    """The names in their order."""

    labels: list[LabelAnswer]


class ProjectCountsAnswer(ClosedAnswer):
    """Photos, finished ones, masks that are not rejected."""

    images: int
    done: int
    records: int


class ProjectAnswer(ClosedAnswer):
    """What a page needs to begin."""

    name: str
    made: float
    labels: list[LabelAnswer]
    stage: Stage
    user: str
    hint_seconds: float
    counts: ProjectCountsAnswer


class ImageAnswer(ClosedAnswer):
    """A photo; `records` counts its masks that are not rejected."""

    id: _ID
    name: str
    width: int
    height: int
    status: Literal["new", "proposed", "done"]
    version: int
    records: int
    group: str | None


class ImagesAnswer(ClosedAnswer):
    """Photos, and what to ask with as `after` for more."""

    images: list[ImageAnswer]
    next: _ID | None


class FolderAnswer(ClosedAnswer):
    """Photos that were taken up, those whose files are gone, and what cannot be read, and why."""

    added: int
    gone: list[_ID]
    unreadable: dict[str, str]


class PageAnswer(ClosedAnswer):
    """A page that masks lie on, and where it is in the stack."""

    page: int
    name: str


class PixelSizeAnswer(ClosedAnswer):
    """The side of a pixel."""

    size: float
    unit: str


class PlanesAnswer(ClosedAnswer):
    """What of a photo can be looked at.

    first     the page that is shown without being asked for
    channels  names of looks at each page; `colours`: there is one without a channel, too
    pixel     as the file says; null where it does not
    deep      its numbers are not those of 8 bits, so that ranges of them can be looked at
    file      another text where the file's content is another one
    replaced  masks were drawn on a file of earlier, and nobody has finished the photo since
    """

    first: int
    pages: list[PageAnswer]
    channels: list[str]
    colours: bool
    pixel: PixelSizeAnswer | None
    deep: bool
    file: str
    replaced: bool


class ChannelValuesAnswer(ClosedAnswer):
    """The least and the most value of a channel, and what becomes black and white unasked."""

    name: str
    least: float
    most: float
    low: float
    high: float


class ValuesAnswer(ClosedAnswer):
    """The values of each channel of a page."""

    channels: list[ChannelValuesAnswer]


class PromptsAnswer(ClosedAnswer):
    """What a model was asked."""

    points: list[Place] | None = None
    labels: list[int] | None = None
    box: Corners | None = None
    lasso: list[Place] | None = None


class OriginAnswer(fields_of(Provenance, *_SURE, optional=True, base=PromptsAnswer)):  # type: ignore[misc]  # made of the dataclass
    """Where a mask comes from (`studio.entries.Provenance`), in the page's words beside ours."""

    by: Kind
    kind: Kind
    prompts: list[PromptsAnswer] | None = None


class NotesAnswer(fields_of(MaskNotes, optional=True)):  # type: ignore[misc]  # made of the dataclass
    """What people wrote on a mask."""


class FoundMaskAnswer(fields_of(Draft, *_TOLD, *OF_STORED)):  # type: ignore[misc]  # made of the dataclass
    """A mask that a model found and nobody has stored."""

    rle: RleAnswer
    box: Corners
    area: int
    notes: NotesAnswer
    provenance: OriginAnswer


class KeptMaskAnswer(fields_of(StoredMask, "id", *HIDDEN, *_TOLD)):  # type: ignore[misc]  # made of the dataclass
    """A mask of the project, at a version."""

    id: _ID
    rle: RleAnswer
    box: Corners
    area: int
    notes: NotesAnswer
    provenance: OriginAnswer


class KeptMasksAnswer(ClosedAnswer):
    """The masks of a photo; `version` is the photo's."""

    version: int
    records: list[KeptMaskAnswer]


class ProposalsAnswer(ClosedAnswer):
    """Proposals that are stored, and others below the model's thresholds."""

    records: list[KeptMaskAnswer]
    others: list[FoundMaskAnswer]


class AddedAnswer(ClosedAnswer):
    """How many events were written down."""

    added: int


class ReviewAnswer(ClosedAnswer):
    """A mask to look at, and why."""

    image: _ID
    page: int
    record: _ID
    why: str


class PaceAnswer(fields_of(Pace, "seconds_a_mask", "masks_an_hour")):  # type: ignore[misc]  # made of the dataclass
    """How quickly masks are made in one stage."""

    seconds_a_mask: float | None
    masks_an_hour: float | None


class BatchAnswer(fields_of(BatchState, "good")):  # type: ignore[misc]  # made of the dataclass
    """How a batch of proposals stands (`studio.review.BatchState`)."""

    good: float | None


class AgreementAnswer(fields_of(Agreement, "iou")):  # type: ignore[misc]  # made of the dataclass
    """Two annotators on the photos that both have labelled."""

    iou: float | None


class ShareAnswer(fields_of(Share, "pixels")):  # type: ignore[misc]  # made of the dataclass
    """How much of the project one label or group is."""

    pixels: float | None


class ClipShareAnswer(fields_of(ClipShare, "seconds_a_track")):  # type: ignore[misc]  # made of the dataclass
    """The tracks of one video (`studio.figures.ClipShare`)."""

    seconds_a_track: float | None


class ReportAnswer(ClosedAnswer):
    """The figures of a project (`studio.figures.Figures`); null: nothing was measured."""

    name: str
    images: dict[str, int]
    masks: dict[str, int]
    paces: list[PaceAnswer]
    verdicts: dict[Verdict, int]
    batches: list[BatchAnswer]
    agreements: list[AgreementAnswer]
    labels: list[ShareAnswer]
    groups: list[ShareAnswer]
    clips: list[ClipShareAnswer]
    tracks: dict[State, int]
    track_verdicts: dict[TrackSaying, int]
    looked_at: int


class StudioModelAnswer(ClosedAnswer):
    """Label Studio: the model by name and weights."""

    model_version: str


class StudioVersionsAnswer(ClosedAnswer):
    """Label Studio: the only version there is."""

    versions: list[str]
    message: str


class StudioBrushAnswer(ClosedAnswer):
    """Label Studio: a brush mask's bytes."""

    format: Literal["rle"]
    rle: list[int]
    brushlabels: list[str]


class StudioRegionAnswer(ClosedAnswer):
    """Label Studio: a mask as a brush region."""

    id: str
    from_name: str
    to_name: str
    type: Literal["brushlabels"]
    original_height: int
    original_width: int
    image_rotation: Literal[0]
    value: StudioBrushAnswer
    score: float
    readonly: bool


class StudioPredictionAnswer(ClosedAnswer):
    """Label Studio: the regions of one task."""

    model_version: str
    result: list[StudioRegionAnswer]
    score: float


class StudioPredictionsAnswer(ClosedAnswer):
    """Label Studio: a prediction for each task."""

    results: list[StudioPredictionAnswer]


class StudioJobAnswer(ClosedAnswer):
    """Label Studio: nothing is trained here."""

    job: None
    status: Literal["ok"]


class StudioToldAnswer(ClosedAnswer):
    """Label Studio: it was heard."""

    result: NothingAnswer
    status: Literal["ok"]
