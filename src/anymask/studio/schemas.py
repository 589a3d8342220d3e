"""JSON schemas of the model over HTTP, and types shared by all bodies.

Values of the database and other rooms are sent as declared there (`Label`, `TrackEntry`, ...);
`project_schemas` and `video_schemas` define the others. The types of the page are generated from
them (`web/scripts/schema.py`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from anymask.base import DeclaredSetting, Setting, list_settings
from anymask.find import MAX_CHARACTERS, MAX_PHRASES, SAME_OBJECT_IOU, Detector, FindSettings
from anymask.masks import (
    MAX_STEPS,
    MIN_SIDE,
    Multimask,
    Prompt,
    Ranking,
    Rle,
    coco_to_rle,
    rle_to_mask,
)
from anymask.segment import (
    DEFAULT_SETTINGS,
    Granularity,
    Grid,
    MaskFilter,
    Prediction,
    RefineEdges,
    SegmentSettings,
    Zoom,
    count_steps,
)
from anymask.studio.errors import RequestError
from anymask.studio.inference import KeptPredictions
from anymask.studio.limits import Limits
from anymask.studio.names import NamesAsked, Unknown
from anymask.studio.records import MAX_ID, MAX_PAGE
from anymask.track import GROUPS
from anymask.volumes import VolumeSettings

MAX_LISTED = 10_000  # hard limit of list items; those of `Limits` are lower
DISC = (  # small image for the examples in /docs
    "iVBORw0KGgoAAAANSUhEUgAAAEAAAAAwCAAAAACEICPDAAAAe0lEQVR42u2VSw7AIAhE0fQwnmMOztlcNhEsTkxsm+BK"
    "DfP4RKQ02VtVEpCALwAu507vLUJAaQ/yFUQN9OYcAVSEI9TYWgmAb6vLgJmlnnpIc0eazZSAPwHmnw9OpQA+gCEC0Pox"
    "BbB6UwOQeltEcHpnsGxPpmymBLwB6BGYD/9HrkDiAAAAAElFTkSuQmCC"
)
DISC_RLE = {
    "size": [48, 64],
    "counts": "Sa0;S14M2N2N2N2N2O0O2O00000000000000000001N101N2N2N2N2N3L_V1",
}


def at_most(count: int, what: str) -> BeforeValidator:
    """Validator that rejects longer lists before their items are parsed."""

    def check(value: object) -> object:
        if isinstance(value, list) and len(value) > count:
            raise ValueError(f"At most {count} {what} are allowed. Given: {len(value)}.")
        return value

    return BeforeValidator(check)


def example(**body: Any) -> ConfigDict:
    """Model configuration with an example body for /docs."""
    return ConfigDict(json_schema_extra={"examples": [body]})


Place = tuple[float, float]
Corners = tuple[float, float, float, float]
TextId = Annotated[str, Field(pattern="^[0-9]{1,10}$")]
Few = Field(fail_fast=True)
Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0, le=MAX_ID)]
# Pixels or a share of the mask; validated by the settings.
Size = (
    Annotated[float, Field(strict=True, allow_inf_nan=False, json_schema_extra={"minimum": 0})]
    | Annotated[str, Field(max_length=40)]
)


class Strict(BaseModel):
    """An object that has these fields and no other ones."""

    model_config = ConfigDict(extra="forbid")


# Settings available to clients, from their declarations.

_NOT_OVER_HTTP = {
    "memory_limit", "points_per_batch",  # memory and batches of the server
    "session", "tracker_weights", "start", "end", "every", "fps",  # controlled by the client
}  # fmt: skip


def _chosen(groups: Iterable[type]) -> tuple[DeclaredSetting, ...]:
    listed = (setting for group in groups for setting in list_settings(group))
    return tuple(setting for setting in listed if setting.name not in _NOT_OVER_HTTP)


EVERYTHING = (
    *_chosen((Grid, MaskFilter)),
    DeclaredSetting("tile", (int, "auto", NoneType), "auto", Setting(
        'search large images in tiles of this size, in pixels. "auto": only very '
        "large images; null: never", ge=MIN_SIDE,
    )),
)  # fmt: skip
TRACK = _chosen(GROUPS)
VOLUME = tuple(
    setting for setting in _chosen((VolumeSettings,)) if setting.name != "window"
)  # own endpoint
SEGMENT = {setting.name: setting.about.description for setting in _chosen((SegmentSettings,))}


def settings_schema(settings: Iterable[DeclaredSetting]) -> dict[str, Any]:
    """JSON schema of optional settings, without additional properties."""
    properties = {}
    plain = {str: "string", bool: "boolean"}
    for field in sorted(settings, key=lambda setting: setting.name):
        ways: list[dict[str, Any]] = []
        if field.words:
            ways.append({"type": "string", "enum": list(field.words)})
        ways += [{"type": kind} for member, kind in plain.items() if member in field.members]
        if field.number is not None:
            about, low = field.about, "minimum" if field.about.gt is None else "exclusiveMinimum"
            way: dict[str, Any] = {"type": "integer" if field.number is int else "number"}
            way[low] = about.ge if about.gt is None else about.gt
            bounds = {"maximum": about.le, "exclusiveMaximum": about.lt}
            way |= {key: most for key, most in bounds.items() if most not in (None, math.inf)}
            ways.append(way)
        ways += [{"type": "null"}] * (NoneType in field.members)
        shape = ways[0] if len(ways) == 1 else {"anyOf": ways}
        properties[field.name] = shape | {"description": field.about.description}
    return {"type": "object", "properties": properties, "additionalProperties": False}


def check_known(settings: Iterable[str], known: Iterable[DeclaredSetting]) -> None:
    """Raise Refusal (422) for settings that an endpoint does not support."""
    names = sorted(setting.name for setting in known)
    if strange := sorted({*settings} - {*names}):
        listed = ", ".join(strange)[:200]
        raise RequestError(422, f"Unknown settings: {listed}. Supported: {', '.join(names)}.")


# The model: prompts and masks.


class CocoRleBody(Strict):
    """A mask of `size` (height, width): a compressed COCO string, or uncompressed run lengths."""

    size: tuple[int, int]
    counts: str | Annotated[list[int], Few]

    def rle(self) -> Rle:
        """Convert to an RLE. Raises DataError, InputError."""
        return coco_to_rle({"size": list(self.size), "counts": self.counts})


_POINTS = at_most(MAX_LISTED, "points and labels")


class PromptBody(Strict):
    """The prompt for one object, in pixels of the image."""

    points: Annotated[list[Place], Few, _POINTS] | None = None
    labels: Annotated[list[Literal[0, 1]], Few, _POINTS] | None = None
    box: Corners | None = None
    mask: CocoRleBody | None = None
    scribble: Annotated[list[Place], Few, at_most(Prompt.MAX_CORNERS, "corners")] | None = Field(
        None, description="line along the object; six points on it are foreground points"
    )
    lasso: Annotated[list[Place], Few, at_most(Prompt.MAX_CORNERS, "corners")] | None = Field(
        None, description="line around the object, which need not be closed"
    )

    def as_prompt(self) -> Prompt:
        """Convert to a prompt. Raises PromptError, DataError if it is invalid."""
        return Prompt.from_json(self.model_dump(include={*PromptBody.model_fields}))

    @property
    def count(self) -> int:
        """Number of points, including those of a scribble."""
        return len(self.points or ()) + Prompt.SCRIBBLE_POINTS * (self.scribble is not None)


class CorrectingBody(PromptBody):
    """The prompt for one object, and the prediction that the new points correct."""

    previous: str | None = Field(
        None,
        pattern="^[0-9a-f]{32}$",
        description=(
            "`prediction_id` of an earlier response to the first of these points on this "
            "image; only the new points are decoded"
        ),
    )
    candidate: int = Field(
        0,
        ge=0,
        le=15,
        description="index of the candidate mask in `previous` to correct, counted from 0",
    )

    def earlier(self, kept: KeptPredictions, image: str) -> Prediction | None:
        """Prediction to correct. Raises Refusal (404, 422)."""
        return None if self.previous is None else kept.get(self.previous, image, self.candidate)


class SegmentBody(CorrectingBody):
    """`image`: the hash from an earlier response, or an image as base64.

    For one object, pass `points`, `labels`, `box`, `mask`, `scribble` and `lasso`, or `prompt`.
    For several objects, pass `prompts`, or `boxes` with one box per object.
    """

    model_config = example(image=DISC, points=[[24, 24]])

    image: str
    prompt: CorrectingBody | None = None
    prompts: Annotated[list[CorrectingBody], Few, at_most(MAX_LISTED, "prompts")] | None = None
    boxes: Annotated[list[Corners], Few, at_most(MAX_LISTED, "boxes")] | None = None
    multimask: Multimask = Field("auto", description=SEGMENT["multimask"])
    granularity: Granularity = Field("all", description=SEGMENT["granularity"])
    ranking: Ranking = Field("expected", description=SEGMENT["ranking"])
    max_hole_area: Size = Field("auto", description=SEGMENT["max_hole_area"])
    min_island_area: Size = Field("auto", description=SEGMENT["min_island_area"])
    refine_edges: RefineEdges = Field("auto", description=SEGMENT["refine_edges"])
    zoom: Zoom = Field("auto", description=SEGMENT["zoom"])
    mirror: bool = Field(False, description=SEGMENT["mirror"])

    def settings(self) -> SegmentSettings:
        """Convert to `SegmentSettings`. Raises InputError."""
        given = {name: getattr(self, name) for name in SEGMENT if name in self.model_fields_set}
        return SegmentSettings(**given) if given else DEFAULT_SETTINGS

    def prompt_bodies(self) -> list[CorrectingBody]:
        """Prompts of the request. Raises Refusal if there are none, or several kinds."""
        keys = [*PromptBody.model_fields, "previous"]
        names = [name for name in keys if getattr(self, name) is not None]
        bare = CorrectingBody.model_construct(
            **{name: getattr(self, name) for name in (*names, "candidate")}
        )
        boxes = [CorrectingBody.model_construct(box=box) for box in self.boxes or ()]
        ways = {
            "prompts": self.prompts,
            "prompt": None if self.prompt is None else [self.prompt],
            "boxes": None if self.boxes is None else boxes,
            " and ".join(names): [bare] if names else None,
        }
        given = {name: way for name, way in ways.items() if way is not None}
        if len(given) != 1:
            raise RequestError(
                422, f"Send one kind of prompt. Given: {', '.join(given) or 'none'}."
            )
        (only,) = given.values()
        return only


class CandidatesBody(Strict):
    """The candidate masks for one prompt, best first, as run lengths."""

    masks: list[CocoRleBody]
    score: list[float] = Field(description="score of each candidate mask, 0 to 1")
    violated_points: list[int] = Field(
        description="indices of the points that the first mask does not satisfy"
    )
    ambiguous: bool = Field(description="whether the first two masks are almost equally likely")
    prediction_id: str | None = Field(
        description=(
            "value of `previous` for the next request; null if the model does not support "
            "mask prompts"
        )
    )


class OutlineBody(Strict):
    """A polygon (x, y) in pixels; (0, 0) is the outer corner of the first pixel."""

    exterior: list[Place]
    holes: list[list[Place]]


class OutlinesBody(Strict):
    """The candidate masks for one prompt as polygons, with the regions of each mask."""

    polygons: list[list[OutlineBody]]
    score: list[float]
    violated_points: list[int]
    ambiguous: bool
    prediction_id: str | None


class SegmentAnswer(Strict):
    """One result per prompt, and the hash of the image for later requests."""

    answers: list[CandidatesBody] | list[OutlinesBody]
    image: str = Field(pattern="^[0-9a-f]{32}$")


class EverythingBody(Strict):
    """`settings`: settings of `anymask everything` by their Python names, and `tile`."""

    model_config = example(image=DISC, settings={"grid": 8})

    image: str
    settings: Annotated[dict[str, Any], WithJsonSchema(settings_schema(EVERYTHING))] = {}


class Sa1bBody(Strict):
    """A mask as an SA-1B record. With ?format=polygons, `polygons` replaces `segmentation`."""

    id: int
    segmentation: CocoRleBody | None = None
    polygons: list[OutlineBody] | None = None
    area: int
    bbox: Corners
    predicted_iou: float
    point_coords: list[Place]
    stability_score: float
    crop_box: Corners
    parent: int | None = None
    depth: int | None = None


class EverythingAnswer(Strict):
    """All masks, best first."""

    records: list[Sa1bBody]


class ExampleBody(Strict):
    """An exemplar: a mask of the project, or a `point`, `box` or `mask` on an image.

    `record`: ID of a mask in the project. `image_id`, `page`: an image of the project. `image`: the
    hash of an image, or base64. Without both, the searched image is used.
    """

    record: int | None = Field(default=None, ge=1, le=MAX_ID)
    image_id: int | None = Field(default=None, ge=1, le=MAX_ID)
    page: int | None = Field(default=None, ge=0, le=MAX_PAGE)
    image: str | None = None
    point: Place | None = None
    box: Corners | None = None
    mask: CocoRleBody | None = None

    def prompted(self) -> dict[str, Any]:
        """Keyword argument `point`, `box` or `mask` of an exemplar. Raises Refusal, DataError."""
        mask = None if self.mask is None else rle_to_mask(self.mask.rle())
        ways = {"point": self.point, "box": self.box, "mask": mask, "record": self.record}
        given = {name: way for name, way in ways.items() if way is not None}
        places = [name for name in ("image_id", "image") if getattr(self, name) is not None]
        if len(given) != 1 or len(places) > ("record" not in given):
            raise RequestError(
                422,
                "An exemplar must be a record, or a point, box or mask on an image. "
                f"Given: {', '.join([*given, *places]) or 'none'}.",
            )
        return given


_EXAMPLES = at_most(16, "examples")
Chance = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Word = Annotated[str, Field(max_length=MAX_CHARACTERS)]


class QuestionBody(Strict):
    """A text prompt (`words`) or exemplars (`like`), as for `Model.find`.

    Without a detector, only the known names of the model are supported (`GET /api/names`).
    """

    words: (
        Annotated[str, Field(max_length=10_000)]
        | Annotated[list[Word], Few, at_most(MAX_PHRASES, "phrases")]
        | dict[Word, Word]
        | None
    ) = Field(
        default=None,
        description="text prompts to search for; a mapping assigns a label to each prompt",
    )
    like: Annotated[list[ExampleBody], Few, _EXAMPLES] | None = None
    unlike: Annotated[list[ExampleBody], Few, _EXAMPLES] | None = None
    label: Annotated[str, Field(max_length=400)] | None = Field(
        default=None,
        description="label of objects that match an exemplar; default: the label of the exemplar",
    )
    score: Chance | None = Field(default=None, description="minimum confidence score")
    nms_iou: Chance = Field(
        default=SAME_OBJECT_IOU,
        description="minimum mask IoU at which two masks count as the same object",
    )
    top_k: Annotated[int, Field(ge=1, le=MAX_ID)] | None = None

    def settings(self, detector: str | Path | Detector | None) -> FindSettings:
        """Convert to `FindSettings`. Text prompts use the server's detector if it has one."""
        reader = None if self.like else detector
        return FindSettings(
            detector=reader, score=self.score, nms_iou=self.nms_iou, top_k=self.top_k
        )


class FindBody(QuestionBody):
    """`image`: as in `SegmentBody`. A hash is sufficient if the server has the whole image."""

    model_config = example(image=DISC, words="orange")

    image: str


class FoundBody(Sa1bBody):
    """A matching object: its name with the probability, and the second most likely phrase."""

    label: str | None = None
    label_probability: float | None = None
    runner_up: tuple[str, float] | None = None


class FindsAnswer(Strict):
    """The matching objects, best first. Empty if nothing matches."""

    records: list[FoundBody]


class KnownNamesBody(Strict):
    """The names that text prompts can use. With a detector, any text is supported."""

    names: list[str]
    detector: str | None = Field(
        description=(
            "detector for text prompts; null if only the known names of the model are supported"
        )
    )


class NamesBody(Strict):
    """Masks of one image, and the names to choose from. By default, all known names."""

    model_config = example(image=DISC, masks=[DISC_RLE], top=3)

    image: str
    # In the size of the image, or in the size of the copy on the server
    masks: Annotated[list[CocoRleBody], Few, at_most(MAX_LISTED, "masks")]
    names: (
        Annotated[
            list[Annotated[str, Field(max_length=400)]], Few, at_most(MAX_LISTED, "names")
        ]
        | None
    ) = None  # fmt: skip
    # How to treat unknown names: reject them ("refuse"), omit them ("leave out"), or learn them
    # from the newest accepted masks with this name in the project ("examples") and omit them if
    # there are none. If no name remains, all known names are used.
    unknown: Unknown = "refuse"
    top: int = Field(default=5, ge=1, le=100)  # Number of names per mask

    def choice(self) -> NamesAsked:
        """Convert to `NamesAsked`."""
        return NamesAsked(self.names, self.unknown, self.top)


class SuggestionBody(Strict):
    """A suggested name of a mask, and its probability."""

    label: str
    probability: float = Field(ge=0, le=1)


class NamesAnswer(Strict):
    """The most likely names of each mask, best first. Empty for an empty mask.

    `among`: whether the names were chosen from the names in the request.
    """

    suggestions: list[list[SuggestionBody]]
    among: bool


def check_prompts(bodies: Sequence[PromptBody], limits: Limits) -> None:
    """Check the numbers of prompts, points, decoder runs and pixels before decoding.

    Raises Refusal.
    """
    check_count(len(bodies), "prompts", limits)
    points = [body.count for body in bodies]
    if (decodings := sum(map(count_steps, points))) > limits.decodings:
        raise RequestError(
            422,
            f"The request requires up to {decodings} decoder runs, but at most {limits.decodings} "
            f"are allowed. Each prompt counts as at most {MAX_STEPS}. Send fewer prompts.",
        )
    for where, count, most in (
        ("prompt", max(points), limits.points),
        ("request", sum(points), limits.points_together),
    ):
        if count > most:
            raise RequestError(
                422, f"The {where} has {count} points, but at most {most} are allowed."
            )
    check_pixels((body.mask.size for body in bodies if body.mask is not None), limits)


def check_count(count: int, what: str, limits: Limits) -> None:
    """Check that a request has prompts or masks, but not too many. Raises Refusal (422)."""
    if not 0 < count <= limits.prompts:
        raise RequestError(
            422, f"A request must have 1 to {limits.prompts} {what}. Given: {count}."
        )


def check_pixels(sizes: Iterable[tuple[int, int]], limits: Limits) -> None:
    """Check that masks are not empty, and together not larger than an image. Raises Refusal."""
    pixels = 0
    for height, width in sizes:
        if height < 1 or width < 1 or height * width > limits.pixels:
            raise RequestError(
                413, f"Mask of {width} x {height}: 1 to {limits.pixels} pixels allowed."
            )
        pixels += height * width
    if pixels > limits.pixels:
        raise RequestError(
            413, f"The masks have {pixels} pixels, at most {limits.pixels} are allowed together."
        )
