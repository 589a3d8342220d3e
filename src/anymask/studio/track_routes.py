"""Routes of a project's tracks: kept, looked at, corrected, rejected.

GET    /api/clips/{clip}/tracks         the tracks of a clip
POST   /api/clips/{clip}/tracks         keep an object's masks, as those of /api/videos tell them
GET    /api/tracks/next                 the track that should be looked at next
GET    /api/tracks/{track}/masks        its masks
POST   /api/tracks/{track}/verdict      accept, reject, or correct from a frame on
DELETE /api/tracks/{track}/verdict      undo the last verdict
PUT    /api/tracks/{track}/label        give it another name
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Annotated, Any, cast

from fastapi import APIRouter, Path, Query, Response
from pydantic import BaseModel, Field
from starlette.responses import JSONResponse

from anymask.base import Conflict
from anymask.masks import rle_area, rle_to_coco
from anymask.studio.answers import ClosedAnswer, RleAnswer, fields_of, words_of
from anymask.studio.bodies import provenance_of
from anymask.studio.checks import MOST_ID
from anymask.studio.label_routes import Who
from anymask.studio.project import Project
from anymask.studio.records import (
    TrackDraft,
    TrackEntry,
    TrackMask,
    TrackRenaming,
    TrackSaid,
    TrackSaying,
)
from anymask.studio.refusals import FailureBody, Refusal
from anymask.studio.video_masks import MOST_MASKS, VideoMaskBody

Number = Annotated[int, Path(ge=0, le=MOST_ID)]
Frame = Annotated[int, Query(ge=0, le=MOST_ID)]


class NewTrackBody(BaseModel):
    """An object's masks, one for each frame from the first to the last."""

    object: int = Field(ge=0, le=MOST_ID)
    masks: list[VideoMaskBody] = Field(max_length=MOST_MASKS)
    label: str | None = None
    seconds: float = 0.0
    provenance: dict[str, Any] = Field(default_factory=dict)


class TrackVerdictBody(BaseModel):
    """What a reviewer says of a track that they saw at `version`.

    masks  of the verdict "correct": those from the corrected frame on
    """

    verdict: TrackSaying
    version: int = Field(ge=1, le=MOST_ID)
    seconds: float = 0.0
    masks: list[VideoMaskBody] = Field(default_factory=list, max_length=MOST_MASKS)


class TrackLabelBody(BaseModel):
    """Another name for a track, and the name that it has as somebody saw it; null: none."""

    label: str | None = None
    was: str | None = None


class TrackAnswer(fields_of(TrackEntry, "provenance")):  # type: ignore[misc]  # made of the dataclass
    """A track; `doubtful` counts the frames that a person should look at."""


class TracksAnswer(ClosedAnswer):
    """The tracks of a clip."""

    tracks: list[TrackAnswer]


class TrackMaskAnswer(fields_of(TrackMask, "rle", "doubts")):  # type: ignore[misc]  # made of the dataclass
    """An object on one frame."""

    segmentation: RleAnswer
    area: int
    doubts: list[str]


class TrackMasksAnswer(ClosedAnswer):
    """The masks of a track at a version of it."""

    version: int
    masks: list[TrackMaskAnswer]


class TrackConflictBody(FailureBody):
    """A change that came too late; `current` is the track as it is now."""

    current: TrackAnswer


_CONFLICT: dict[int | str, dict[str, Any]] = {
    409: {"model": TrackConflictBody, "description": "The track is another one by now"}
}


def add_tracks(router: APIRouter, project: Project, user: str) -> None:
    """Add them to a project's router; `user` works where a request does not say."""
    _add_reading(router, project)
    _add_keeping(router, project, user)
    _add_verdicts(router, project, user)
    _add_naming(router, project, user)


def _add_reading(router: APIRouter, project: Project) -> None:
    tracks = project.tracks

    @router.get("/clips/{clip}/tracks", response_model=TracksAnswer)
    def of_clip(clip: Number) -> dict[str, Any]:
        """The tracks of a clip by their objects; rejected ones too."""
        return {"tracks": [track_to_json(track) for track in tracks.tracks(clip)]}

    @router.get(
        "/tracks/next",
        response_model=TrackAnswer,
        responses={204: {"description": "All have been looked at"}},
    )
    def following(
        clip: Annotated[int | None, Query(ge=0, le=MOST_ID)] = None,
        after: Annotated[int | None, Query(ge=0, le=MOST_ID)] = None,
    ) -> Response:
        """The track that should be looked at next, that with the most doubtful frames.

        clip: those of this clip come first; after: a track that is left for later.
        """
        asked = tracks.next_asked(clip, after)
        return Response(status_code=204) if asked is None else JSONResponse(track_to_json(asked))

    @router.get("/tracks/{track}/masks", response_model=TrackMasksAnswer)
    def masks(track: Number, first: Frame = 0, last: Frame = MOST_ID) -> dict[str, Any]:
        """A track's masks, from a frame to another one."""
        version = tracks.track(track).version
        found = tracks.masks(track, first, last)
        return {"version": version, "masks": [_mask_to_json(mask) for mask in found]}


def _add_keeping(router: APIRouter, project: Project, user: str) -> None:
    tracks = project.tracks

    @router.post(
        "/clips/{clip}/tracks", response_model=TrackAnswer, status_code=201, responses=_CONFLICT
    )
    def keep(clip: Number, body: NewTrackBody, user_name: Who = None) -> Response:
        """Keep an object's masks; 409 where the clip has an object of that number."""
        draft = TrackDraft(
            object=body.object, masks=[one.mask() for one in body.masks], label=body.label or None,
            seconds=body.seconds,
            provenance=provenance_of(body.provenance, project.stage),
        )  # fmt: skip
        return _or_current(lambda: tracks.add_track(clip, draft, user_name or user), 201)


def _add_verdicts(router: APIRouter, project: Project, user: str) -> None:
    tracks = project.tracks

    @router.post("/tracks/{track}/verdict", response_model=TrackAnswer, responses=_CONFLICT)
    def verdict(track: Number, body: TrackVerdictBody, user_name: Who = None) -> Response:
        """Accept, reject, or correct from a frame on; 409 where it is at another version."""
        said = TrackSaid(verdict=body.verdict, version=body.version, seconds=body.seconds)
        masks = [one.mask() for one in body.masks]
        return _or_current(lambda: tracks.give_verdict(track, said, user_name or user, masks))

    @router.delete("/tracks/{track}/verdict", response_model=TrackAnswer, responses=_CONFLICT)
    def take_back(track: Number, user_name: Who = None) -> Response:
        """Undo the last verdict; 409 where the track has changed since."""
        return _or_current(lambda: tracks.take_back_verdict(track, user_name or user))


def _add_naming(router: APIRouter, project: Project, user: str) -> None:
    @router.put("/tracks/{track}/label", response_model=TrackAnswer, responses=_CONFLICT)
    def rename(track: Number, body: TrackLabelBody, user_name: Who = None) -> Response:
        """Give a track another name; 409 where it has not the name `was`."""
        said = TrackRenaming(label=body.label or None, was=body.was or None)
        return _or_current(lambda: project.tracks.rename(track, said, user_name or user))


def track_to_json(track: TrackEntry) -> dict[str, Any]:
    """Without where it comes from, which the database keeps."""
    shown = [one.name for one in fields(track) if one.name != "provenance"]
    words = words_of(TrackEntry)
    return {words.get(name, name): getattr(track, name) for name in shown}


def _mask_to_json(mask: TrackMask) -> dict[str, Any]:
    row = {one.name: getattr(mask, one.name) for one in fields(mask)}
    rle = row.pop("rle")
    told = {"segmentation": rle_to_coco(rle), "area": rle_area(rle), "doubts": list(mask.doubts)}
    return row | told


def _or_current(work: Callable[[], TrackEntry], status: int = 200) -> Response:
    """The changed track; or 409 with the track as it is now."""
    try:
        return JSONResponse(track_to_json(work()), status)
    except Conflict as error:
        refusal = Refusal(
            409, "the track as it is now", str(error), "look at `current` and decide again"
        )
        now = cast(TrackEntry, error.current)  # `studio.tracks` raises no other one
        return JSONResponse({"error": refusal.error, "current": track_to_json(now)}, 409)
