"""JSON schemas of videos over HTTP: sessions, objects on frames, clips and tracks."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, WithJsonSchema

from anymask.masks import Color, rle_area, rle_to_coco
from anymask.studio.errors import RequestError
from anymask.studio.limits import Limits
from anymask.studio.records import MAX_ID, ClipEntry, TrackEntry, TrackMask, TrackSaying
from anymask.studio.schemas import (
    DISC_RLE,
    TRACK,
    CocoRleBody,
    Count,
    PromptBody,
    Strict,
    at_most,
    example,
    settings_schema,
)
from anymask.track import ObjectMask, TrackedFrame, frame_to_json, object_to_json

MAX_MASKS = 100_000  # maximum number of masks per request
FRAMED_DISC = {"frame": 0, "segmentation": DISC_RLE}


class FramedMaskBody(BaseModel):
    """The mask of an object on one frame. `area` in a request is ignored."""

    frame: Count
    segmentation: CocoRleBody
    area: int = 0
    score: float = 1.0
    state: str = "visible"
    doubts: list[str] = Field(default_factory=list, max_length=20)
    prompted: bool = False

    def mask(self) -> TrackMask:
        """Convert to a `TrackMask`. Raises InputError, DataError."""
        return TrackMask(
            frame=self.frame, rle=self.segmentation.rle(), score=self.score, state=self.state,
            doubts=tuple(self.doubts), prompted=self.prompted,
        )  # fmt: skip


class KnownMasksBody(BaseModel):
    """The masks of an object on different frames. Masks with `prompted` count as prompts."""

    model_config = example(masks=[FRAMED_DISC])

    masks: list[FramedMaskBody] = Field(max_length=MAX_MASKS)

    def known(self, hw: tuple[int, int] | None, limits: Limits) -> dict[int, ObjectMask]:
        """Convert to masks by frame.

        Raises Refusal: 409 without frames, 413 for too many prompted masks, 422 for another size;
        InputError, DataError.
        """
        if hw is None:
            raise RequestError(409, "The session has no frames. Send the video first.")
        masks: dict[int, ObjectMask] = {}
        for mask in (body.mask() for body in self.masks):
            if (size := mask.rle.size) != hw:
                raise RequestError(
                    422, f"Frame {mask.frame}: masks must have the size {hw}, not {size}."
                )
            masks[mask.frame] = ObjectMask(
                mask.rle, mask.score, mask.score, mask.state, mask.doubts, mask.prompted  # type: ignore[arg-type]  # validated words
            )  # fmt: skip
        if sum(mask.prompted for mask in masks.values()) > limits.prompts:
            raise RequestError(413, f"At most {limits.prompts} mask prompts are allowed.")
        return masks


class NewTrackBody(BaseModel):
    """The masks of an object, one for each frame from the first to the last."""

    model_config = example(object=1, masks=[FRAMED_DISC], label="disc")

    object: Count
    masks: list[FramedMaskBody] = Field(max_length=MAX_MASKS)
    label: str | None = None
    seconds: float = 0.0
    provenance: dict[str, Any] = Field(default_factory=dict)


class TrackVerdictBody(BaseModel):
    """The verdict of a reviewer on a track at `version`.

    `masks`: for the verdict "correct", the masks from the corrected frame on.
    """

    model_config = example(verdict="accept", version=1)

    verdict: TrackSaying
    version: int = Field(ge=1, le=MAX_ID)
    seconds: float = 0.0
    masks: list[FramedMaskBody] = Field(default_factory=list, max_length=MAX_MASKS)


class TrackLabelBody(BaseModel):
    """The new label of a track, and the label that the client last read (`was`); null: no label."""

    model_config = example(label="disc", was="disc")

    label: str | None = None
    was: str | None = None


class TracksBody(Strict):
    """The tracks of a clip."""

    tracks: list[TrackEntry]


class TrackMasksBody(Strict):
    """The masks of a track, with its version."""

    version: int
    masks: list[FramedMaskBody]


def framed_mask(mask: TrackMask) -> dict[str, Any]:
    """Convert to the fields of `FramedMaskBody`."""
    row = {name: getattr(mask, name) for name in ("frame", "score", "state", "prompted")}
    shape = {"segmentation": rle_to_coco(mask.rle), "area": rle_area(mask.rle)}
    return row | shape | {"doubts": list(mask.doubts)}


class ClipBody(BaseModel):
    """A video of the project folder.

    `video`: a session whose video file is first copied to the folder if it is not there.
    """

    model_config = example(name="clip.mp4")

    name: str = Field(min_length=1, max_length=400)
    video: str | None = Field(default=None, max_length=40)


class ClipsBody(Strict):
    """The videos of a project, and names of videos in its folder that were not added."""

    clips: list[ClipEntry]
    found: list[str]


class SessionBody(BaseModel):
    """`name`: the name of the session. If this session is open, it is returned. By default, a
    random name.
    """

    name: str | None = Field(default=None, pattern="^[A-Za-z0-9_-]{1,40}$")
    settings: dict[str, Any] = {}


class VideoBody(SessionBody):
    """`settings`: keyword arguments of `Model.track`, such as {"tracker": "match"}.

    `name`: the name of the session. If this session is open, it is returned. By default, a random
    name.
    """

    model_config = example(name="example", settings={"tracker": "match"})

    settings: Annotated[dict[str, Any], WithJsonSchema(settings_schema(TRACK))] = {}


class ClipChoiceBody(BaseModel):
    """`clip`: the name of a video on the server."""

    model_config = example(clip="clip.mp4")

    clip: str = Field(max_length=1000)


class VideoPromptBody(PromptBody):
    """A prompt on a frame: as for /api/segment, with the frame and the object number."""

    model_config = example(frame=0, object=1, points=[[24, 24]])

    frame: Count = 0
    object: Count = 1
    replace: bool = Field(default=False, description="remove the earlier prompts of this frame")


Pair = Annotated[list[int], Field(min_length=2, max_length=2)]


class VideoStateBody(Strict):
    """An open session: its name, number of frames, objects, and remaining time."""

    name: str
    model: str = Field(description="name of the tracking model")
    frames: int
    rate: float = Field(description="average frames per second")
    times: list[float] | None = Field(
        description=(
            "display time of each frame in seconds, for videos with a variable frame "
            "rate; null: frame number / rate"
        )
    )
    size: Pair | None = Field(description="height and width; null before the first frame")
    objects: list[int]
    known: dict[str, list[Pair]] = Field(
        description="for each object number, the ranges of frames with masks as [first, last]"
    )
    doubtful: list[list[int | list[str]]] = Field(
        description="low-confidence masks as [frame, object, warnings]"
    )
    error: str | None = Field(description="reason if not all frames of the video can be read")
    seconds_left: float


class OffersBody(Strict):
    """The videos on the server, and the limits of a session."""

    clips: list[str] = Field(description="videos and folders of frames on the server")
    files: bool = Field(description="whether video files are supported (PyAV is installed)")
    upload_bytes: int
    most_frames: int
    most_objects: int


class ObjectBody(Strict):
    """One object on a frame."""

    object: int
    segmentation: CocoRleBody
    area: int
    score: float
    state: str
    doubts: list[str]
    prompted: bool


class PromptedBody(ObjectBody):
    """The object on the frame, and the frames on which its masks are still valid."""

    known: list[Pair]


class FrameBody(Strict):
    """The objects on one frame. `file` is the file name, for a folder of frames."""

    frame: int
    file: str | None = None
    seconds: float
    objects: list[ObjectBody]


def object_body(number: int, one: ObjectMask) -> dict[str, Any]:
    """Convert to the fields of `ObjectBody`."""
    row = object_to_json(number, one)
    return {name: row[name] for name in ObjectBody.model_fields}


def frame_body(frame: TrackedFrame) -> dict[str, Any]:
    """Convert to the fields of `FrameBody`."""
    objects = [object_body(number, mask) for number, mask in frame.objects.items()]
    return frame_to_json(frame) | {"objects": objects}


Hex = Annotated[str, Field(pattern="^#[0-9a-fA-F]{6}$")]


class NamedObjectBody(Strict):
    """The name of an object, and its color in an exported video."""

    object: Count
    name: str = Field(default="", max_length=200)
    color: Hex = "#1e90ff"

    @property
    def rgb(self) -> Color:
        """The color as red, green and blue."""
        red, green, blue = bytes.fromhex(self.color[1:])
        return red, green, blue


VideoStyle = Literal[
    "overlay", "masks", "blur", "color", "background-blur", "background-color", "cutout"
]


class VideoExportBody(Strict):
    """The format, the title of the video, and the names and colors of the objects."""

    model_config = example(format="sav", title="video")

    format: Literal["sav", "davis", "coco", "jsonl", "video"]
    # For videos, the rendering: masks on the frames, or only the masks on black; objects or
    # background blurred or in one color; or cut-outs with alpha (.webm)
    style: VideoStyle = "overlay"
    color: Hex = "#000000"  # Color for renderings that use one
    title: str = Field(default="video", max_length=200)
    objects: Annotated[list[NamedObjectBody], at_most(1000, "objects")] = Field(default=[])
