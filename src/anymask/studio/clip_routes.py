"""Routes of a project's clips: videos listed, taken up, and opened in a session.

GET    /api/clips                       the videos of the project, and those of its folder
POST   /api/clips                       take one up, by its name in the project's folder
GET    /api/clips/{clip}/file           its bytes
POST   /api/clips/{clip}/session        a session about it, as those of /api/videos
"""

from __future__ import annotations

from pathlib import Path as FilePath
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Request, Response
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool
from starlette.responses import FileResponse, JSONResponse

from anymask.studio.answers import ClosedAnswer
from anymask.studio.checks import MOST_ID
from anymask.studio.model_api import done
from anymask.studio.project import Project
from anymask.studio.records import ClipEntry
from anymask.studio.refusals import Refusal
from anymask.studio.results import file_answer
from anymask.studio.video_api import VideoAnswerBody, video_to_json
from anymask.studio.video_sessions import OpenVideo, VideoSessions
from anymask.track import read_facts

Number = Annotated[int, Path(ge=0, le=MOST_ID)]


class ClipBody(BaseModel):
    """A video of the project's folder.

    video  a session whose file is copied into the folder first, where it is not there
    """

    name: str = Field(min_length=1, max_length=400)
    video: str | None = Field(default=None, max_length=40)


class ClipAnswer(ClosedAnswer):
    """A video; `frames` is null where nobody knows how many it has. Of its tracks so many are
    `proposals`, `accepted` or `rejected`; `tracks` counts the first two."""

    id: int
    name: str
    width: int
    height: int
    frames: int | None
    rate: float
    tracks: int
    proposals: int
    accepted: int
    rejected: int


class ClipsAnswer(ClosedAnswer):
    """The videos of a project, and the names of those in its folder that were not taken up."""

    clips: list[ClipAnswer]
    found: list[str]


def sessions_of(request: Request) -> VideoSessions:
    """The sessions of the server that answers a request."""
    videos: VideoSessions = request.app.state.videos
    return videos


Sessions = Annotated[VideoSessions, Depends(sessions_of)]


def add_clips(router: APIRouter, project: Project) -> None:
    """Add them to a project's router."""
    _add_list(router, project)
    _add_session(router, project)


def _add_list(router: APIRouter, project: Project) -> None:
    tracks = project.tracks

    @router.get("/clips", response_model=ClipsAnswer)
    def clips() -> dict[str, Any]:
        """The videos of the project, and those of its folder that could be."""
        known = [clip.to_json() for clip in tracks.clips()]
        return {"clips": known, "found": project.new_videos()}

    @router.post("/clips", response_model=ClipAnswer, status_code=201)
    async def add(body: ClipBody, videos: Sessions) -> dict[str, Any]:
        """Take up a video of the project's folder; the one that is there comes back."""
        source = None if body.video is None else _file_of(videos.find(body.video))

        def take() -> dict[str, Any]:
            name = body.name if source is None else project.keep_video(source, body.name)
            facts = read_facts(project.file(name))
            return tracks.add_clip(name, facts.hw, facts.frames, facts.rate).to_json()

        return await run_in_threadpool(take)

    @router.get("/clips/{clip}/file", response_class=FileResponse, responses=file_answer("video/*"))
    def file(clip: Number) -> Response:
        """The bytes of a video, or a part of them (Range)."""
        return FileResponse(project.file(tracks.clip(clip).name))


def _file_of(video: OpenVideo) -> FilePath:
    if video.path is None or not video.path.is_file():
        raise Refusal(
            409, "a session about a video file", "one about frames", "put the video in the folder"
        )
    return video.path


def _add_session(router: APIRouter, project: Project) -> None:
    @router.post("/clips/{clip}/session", response_model=VideoAnswerBody)
    async def begin(clip: Number, videos: Sessions) -> Response:
        """Open a session about a clip; /api/videos/{name} of its name has all the rest."""
        entry = await run_in_threadpool(project.tracks.clip, clip)
        path = await run_in_threadpool(project.file, entry.name)
        video = await done(videos.work(lambda: videos.begin({})))
        try:
            await done(videos.work(lambda: videos.take_path(video, path)))
            _check_same(video, entry)
        except BaseException:
            videos.end(video.name)
            raise
        return JSONResponse(await done(videos.work(lambda: video_to_json(videos, video))))


def _check_same(video: OpenVideo, entry: ClipEntry) -> None:
    """Raises Refusal (409) where the file is not the one that was taken up."""
    if (video.hw, video.frames) != (entry.hw, entry.frames or video.frames):
        raise Refusal(
            409,
            f"the clip {entry.name!r} as it was taken up: {entry.frames} frames of {entry.hw}",
            f"{video.frames} frames of {video.hw}",
            "put the video back, or give the changed one another name",
        )
