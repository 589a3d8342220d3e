"""Routes of a project's videos: clips, and the tracks of their objects.

If a track has changed since, the response to a change is 409 with the current track.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response
from fastapi import Path as InPath
from starlette.concurrency import run_in_threadpool
from starlette.responses import FileResponse

from anymask.studio.errors import RequestError
from anymask.studio.image_files import clip_of_file
from anymask.studio.model_routes import BodyRoute, done, file_answer
from anymask.studio.project_routes import ProjectDep, Who
from anymask.studio.project_schemas import provenance_of
from anymask.studio.records import MAX_ID, ClipEntry, TrackDraft, TrackEntry
from anymask.studio.session_routes import Frame, SessionsDep, state_of
from anymask.studio.video_schemas import (
    ClipBody,
    ClipsBody,
    NewTrackBody,
    TrackLabelBody,
    TrackMasksBody,
    TracksBody,
    TrackVerdictBody,
    VideoStateBody,
    framed_mask,
)
from anymask.studio.video_sessions import OpenVideo

ClipId = Annotated[int, InPath(ge=0, le=MAX_ID, examples=[1])]
TrackId = Annotated[int, InPath(ge=0, le=MAX_ID, examples=[1])]
MaybeId = Annotated[int | None, Query(ge=0, le=MAX_ID)]
router = APIRouter(prefix="/api", route_class=BodyRoute, tags=["tracks"])


@router.get("/clips", response_model=ClipsBody)
def clips(project: ProjectDep) -> dict[str, Any]:
    """List the videos of the project, and videos in its folder that can be added."""
    return {"clips": project.tracks.clips(), "found": project.new_videos()}


@router.post("/clips", response_model=ClipEntry, status_code=201)
async def add_clip(body: ClipBody, project: ProjectDep, videos: SessionsDep) -> ClipEntry:
    """Add a video of the project folder. Returns the existing clip if it was added before."""
    source: Path | None = None
    if body.video is not None:
        source = videos.find(body.video, OpenVideo).path
        if source is None or not source.is_file():
            raise RequestError(
                409, "This session has no video file. Open one with a video file first."
            )

    def take() -> ClipEntry:
        name = body.name if source is None else project.keep_video(source, body.name)
        return clip_of_file(project, name)

    return await run_in_threadpool(take)


@router.get("/clips/{clip}/file", response_class=FileResponse, responses=file_answer("video/*"))
def clip_file(clip: ClipId, project: ProjectDep) -> Response:
    """Return the bytes of a video, or the part in the header Range."""
    return FileResponse(project.file(project.tracks.clip(clip).name))


@router.post("/clips/{clip}/session", response_model=VideoStateBody)
async def begin(clip: ClipId, project: ProjectDep, videos: SessionsDep) -> Response:
    """Open a session for a clip. Use it with the endpoints under /api/videos/{name}."""
    entry = await run_in_threadpool(project.tracks.clip, clip)
    await run_in_threadpool(clip_of_file, project, entry.name)
    path = project.file(entry.name)
    video = await done(videos.work(lambda: videos.begin(OpenVideo, {})))
    try:
        await videos.receive(video, path)
    except BaseException:
        videos.end(video.name)
        raise
    return await state_of(videos, video)


# Tracks.


@router.get("/clips/{clip}/tracks", response_model=TracksBody)
def tracks(clip: ClipId, project: ProjectDep) -> dict[str, Any]:
    """List the tracks of a clip by object, including rejected ones."""
    return {"tracks": project.tracks.tracks(clip)}


@router.post("/clips/{clip}/tracks", response_model=TrackEntry, status_code=201)
def keep_track(clip: ClipId, body: NewTrackBody, project: ProjectDep, who: Who) -> TrackEntry:
    """Store the masks of an object as a track. Status 409 if the clip has this object number."""
    draft = TrackDraft(
        object=body.object, masks=[mask.mask() for mask in body.masks], label=body.label or None,
        seconds=body.seconds,
        provenance=provenance_of(body.provenance, project.stage),
    )  # fmt: skip
    return project.tracks.add_track(clip, draft, who)


@router.get(
    "/tracks/next",
    response_model=TrackEntry,
    responses={204: {"description": "All tracks are reviewed"}},
)
def next_track(
    project: ProjectDep, clip: MaybeId = None, after: MaybeId = None
) -> Response | TrackEntry:
    """Return the next track to review: the one with the most low-confidence frames.

    clip: tracks of this clip come first. after: ID of a track to skip for now.
    """
    track = project.tracks.next_asked(clip, after)
    return Response(status_code=204) if track is None else track


@router.get("/tracks/{track}/masks", response_model=TrackMasksBody)
def track_masks(
    track: TrackId, project: ProjectDep, first: Frame = 0, last: Frame = MAX_ID
) -> dict[str, Any]:
    """Return the masks of a track for a range of frames."""
    version = project.tracks.track(track).version
    masks = project.tracks.masks(track, first, last)
    return {"version": version, "masks": [framed_mask(mask) for mask in masks]}


@router.post("/tracks/{track}/verdict", response_model=TrackEntry)
def judge_track(
    track: TrackId, body: TrackVerdictBody, project: ProjectDep, who: Who
) -> TrackEntry:
    """Accept, reject or correct a track from a frame on. Status 409 if the version differs."""
    return project.tracks.give_verdict(
        track, body.verdict, body.version, who, [mask.mask() for mask in body.masks], body.seconds
    )


@router.delete("/tracks/{track}/verdict", response_model=TrackEntry)
def withdraw_track_verdict(track: TrackId, project: ProjectDep, who: Who) -> TrackEntry:
    """Undo the last verdict of a track. Status 409 if the track has changed since."""
    return project.tracks.withdraw_verdict(track, who)


@router.put("/tracks/{track}/label", response_model=TrackEntry)
def rename_track(track: TrackId, body: TrackLabelBody, project: ProjectDep, who: Who) -> TrackEntry:
    """Change the label of a track. Status 409 if the current label is not `was`."""
    return project.tracks.rename(track, body.label or None, body.was or None, who)
