"""Routes of video sessions: open, hand over frames or a file, prompt, follow, close.

GET    /api/videos                        the server's own videos, and what a session may hold
POST   /api/videos                        settings -> the session's name
PUT    /api/videos/{name}/file            a video file, which the session is then about
PUT    /api/videos/{name}/clip            or one of the server's own
POST   /api/videos/{name}/frames          or the next frame, a picture -> its masks
POST   /api/videos/{name}/prompts         what is meant on a frame -> the object's mask
DELETE /api/videos/{name}/objects/{n}/prompts/{frame}  take back what was said there
PUT    /api/videos/{name}/objects/{n}/masks  take up an object whose masks are known
DELETE /api/videos/{name}/objects/{n}     forget an object
GET    /api/videos/{name}/masks           follow: a line of JSON a frame, as they are found
POST   /api/videos/{name}/pause           end that after the frame that is under way
GET    /api/videos/{name}                 objects, doubtful frames, seconds that are left
DELETE /api/videos/{name}                 close

What is known of a session is read by the routes of `video_results`.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field, WithJsonSchema
from starlette.responses import JSONResponse

from anymask.base import AnymaskError
from anymask.studio.answers import ClosedAnswer, RleAnswer
from anymask.studio.forms import PICTURE_BODY, FormRoute, picture_of
from anymask.studio.limits import Limits
from anymask.studio.model_api import done
from anymask.studio.photos import read_photo
from anymask.studio.refusals import ANYWHERE, FailureBody, Refusal, documented, refusal_of
from anymask.studio.settings_schema import TRACK, settings_schema
from anymask.studio.video_masks import KnownMasksBody, known_masks
from anymask.studio.video_sessions import OpenVideo, VideoSessions
from anymask.studio.wire import PromptBody, check_prompts, prompt_of
from anymask.track import Direction, TrackedFrame, frame_to_json, object_to_json

Pair = Annotated[list[int], Field(min_length=2, max_length=2)]
Stretches = list[Pair]


class VideoAnswerBody(ClosedAnswer):
    """An open session: its name, frames so far or in all, and how long it waits to be asked."""

    name: str
    frames: int
    rate: float = Field(description="frames a second on average")
    size: Pair | None = Field(description="height and width; null before a frame came")
    objects: list[int]
    known: dict[str, Stretches] = Field(description="object -> frames with its mask, first to last")
    doubtful: list[list[int | list[str]]] = Field(description="frame, object, doubts")
    fault: str | None = Field(description="why the frames end before the video does")
    seconds_left: float


def video_to_json(videos: VideoSessions, video: OpenVideo) -> dict[str, Any]:
    """As `VideoAnswerBody`; in the thread of the sessions."""
    objects = video.session.objects
    length = video.session.frames.length  # less, once a fault was met
    return {
        "name": video.name,
        "frames": video.frames if length is None else length,
        "rate": video.session.frames.rate,
        "size": video.hw,
        "objects": objects,
        "known": {str(number): video.session.known(number) for number in objects},
        "doubtful": [[frame, n, list(why)] for frame, n, why in video.session.doubtful()],
        "fault": video.fault,
        "seconds_left": videos.seconds_left(video),
    }


_LARGEST = 2**31 - 1
_SETTINGS = sorted(setting.name for setting in TRACK)
_ENDINGS = {"video/mp4": ".mp4", "video/webm": ".webm", "video/quicktime": ".mov",
            "video/x-matroska": ".mkv", "video/x-msvideo": ".avi", "image/gif": ".gif"}  # fmt: skip
Name = Annotated[str, Path(max_length=40)]
Frame = Annotated[int, Query(ge=0, le=_LARGEST)]
Number = Annotated[int, Path(ge=0, le=_LARGEST)]
PlaceOfFrame = Annotated[int, Path(ge=0, le=_LARGEST)]
FILE_BODY = {
    "requestBody": {
        "required": True,
        "content": {"video/*": {"schema": {"type": "string", "format": "binary"}}},
    }
}
LINES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "A line of JSON a frame; a last line with `error` where following failed",
        "content": {"application/x-ndjson": {"schema": {"type": "string"}}},
    }
}


class VideoBody(BaseModel):
    """`settings`: keyword arguments of `Model.track`, such as {"tracker": "points"}."""

    settings: Annotated[dict[str, Any], WithJsonSchema(settings_schema(TRACK))] = {}


class VideoPromptBody(PromptBody):
    """What is meant on a frame: as for /api/segment, with the frame and the object's number."""

    frame: int = Field(default=0, ge=0, le=_LARGEST)
    object: int = Field(default=1, ge=0, le=_LARGEST)
    anew: bool = Field(default=False, description="forget what was said on this frame before")


class ClipChoiceBody(BaseModel):
    """`clip`: the name of one of the server's own videos."""

    clip: str = Field(max_length=1000)


class OffersBody(ClosedAnswer):
    """What a session may be about, and how much it may hold."""

    clips: list[str] = Field(description="videos and folders of frames of the server's own")
    files: bool = Field(description="whether video files can be read (PyAV is installed)")
    upload_bytes: int
    most_frames: int
    most_objects: int


class ObjectBody(ClosedAnswer):
    """One object on a frame."""

    object: int
    segmentation: RleAnswer
    area: int
    score: float
    quality: float
    state: str
    doubts: list[str]
    prompted: bool


class PromptedBody(ObjectBody):
    """The object on the frame, and the frames on which its mask is known still."""

    known: Stretches


class FrameBody(ClosedAnswer):
    """The objects of one frame."""

    frame: int
    seconds: float
    objects: list[ObjectBody]


def video_router(videos: VideoSessions, limits: Limits) -> APIRouter:
    """The addresses above."""
    failures = documented(400, 404, 415, 422, 501, *ANYWHERE) | {
        409: {"model": FailureBody, "description": "A session of another kind."}
    }
    router = APIRouter(route_class=FormRoute, responses=failures)
    _add_offers(router, videos)
    _add_opening(router, videos)
    _add_frames(router, videos, limits)
    _add_prompts(router, videos, limits)
    _add_known(router, videos, limits)
    _add_removals(router, videos)
    _add_masks(router, videos)
    _add_closing(router, videos)
    return router


def _add_offers(router: APIRouter, videos: VideoSessions) -> None:
    @router.get("/api/videos", response_model=OffersBody)
    async def offers() -> Response:
        """The server's own videos, and how much a session may hold."""
        limits = videos.limits
        told = {
            "clips": sorted(videos.clips),
            "files": importlib.util.find_spec("av") is not None,
            "upload_bytes": limits.upload_bytes,
            "most_frames": limits.video_frames,
            "most_objects": limits.video_objects,
        }
        return JSONResponse(told)


def _add_opening(router: APIRouter, videos: VideoSessions) -> None:
    @router.post("/api/videos", response_model=VideoAnswerBody)
    async def begin(body: VideoBody) -> Response:
        """Open a session; frames are handed over one by one, or a file is sent."""
        strange = sorted(set(body.settings) - set(_SETTINGS))
        if strange:
            wanted, got = f"settings of {', '.join(_SETTINGS)}", ", ".join(strange)[:200]
            raise Refusal(422, wanted, got, "leave it out")
        video = await done(videos.work(lambda: videos.begin(body.settings)))
        return JSONResponse(await done(videos.work(lambda: video_to_json(videos, video))))

    @router.put("/api/videos/{name}/file", response_model=VideoAnswerBody, openapi_extra=FILE_BODY)
    async def take_file(name: Name, request: Request) -> Response:
        """The video that the session is about; before anything else is said."""
        video = videos.find(name)
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        await videos.receive(video, request.stream(), _ENDINGS.get(kind, ".video"))
        return JSONResponse(await done(videos.work(lambda: video_to_json(videos, video))))

    @router.put("/api/videos/{name}/clip", response_model=VideoAnswerBody)
    async def take_clip(name: Name, body: ClipChoiceBody) -> Response:
        """One of the server's own videos, which the session is then about."""
        video = videos.find(name)
        await done(videos.work(lambda: videos.take_clip(video, body.clip)))
        return JSONResponse(await done(videos.work(lambda: video_to_json(videos, video))))


def _add_frames(router: APIRouter, videos: VideoSessions, limits: Limits) -> None:
    @router.post("/api/videos/{name}/frames", response_model=FrameBody, openapi_extra=PICTURE_BODY)
    async def step(name: Name, request: Request) -> Response:
        """The next frame -> the objects on it that were followed to it."""
        video, content = videos.find(name), await picture_of(request)
        if video.path is not None:
            raise Refusal(409, "a session without a file", "one about a file", "GET its masks")
        if video.frames >= limits.video_frames:
            raise Refusal(
                422, f"at most {limits.video_frames} frames", "another", "open another session"
            )

        def follow() -> TrackedFrame:
            image = read_photo(content, limits)  # decoded in its turn: one frame at a time
            found = video.session.step(image)
            assert found is not None  # a frame that is handed over is there
            video.frames, video.hw = video.frames + 1, (image.shape[0], image.shape[1])
            return found

        return JSONResponse(frame_to_json(await done(videos.work(follow))))


def _add_prompts(router: APIRouter, videos: VideoSessions, limits: Limits) -> None:
    @router.post("/api/videos/{name}/prompts", response_model=PromptedBody)
    async def prompt(name: Name, body: VideoPromptBody) -> Response:
        """What is meant on a frame -> the object's mask there; a further prompt corrects it."""
        video = videos.find(name)
        check_prompts([body], limits)
        video.check_room(body.object, limits)

        def add() -> dict[str, Any]:
            said = prompt_of(body)  # unpacked in its turn: one mask at a time
            one = video.session.add(
                frame=body.frame, id=body.object, points=said.points, labels=said.labels,
                box=said.box, mask=said.mask, anew=body.anew,
            )  # fmt: skip
            video.objects.add(body.object)
            known = {"known": video.session.known(body.object)}
            return object_to_json(body.object, one) | known

        return JSONResponse(await done(videos.work(add)))


def _add_known(router: APIRouter, videos: VideoSessions, limits: Limits) -> None:
    @router.put("/api/videos/{name}/objects/{number}/masks", response_model=VideoAnswerBody)
    async def take_up(name: Name, number: Number, body: KnownMasksBody) -> Response:
        """Masks of an object that are known from elsewhere; corrections and following go on from
        them. What the session knew of the object is forgotten."""
        video = videos.find(name)
        video.check_room(number, limits)

        def take() -> dict[str, Any]:
            video.session.import_masks(number, known_masks(body.masks, video.hw, limits))
            video.objects.add(number)
            return video_to_json(videos, video)

        return JSONResponse(await done(videos.work(take)))


def _add_removals(router: APIRouter, videos: VideoSessions) -> None:
    @router.delete(
        "/api/videos/{name}/objects/{number}/prompts/{frame}", response_model=VideoAnswerBody
    )
    async def take_back(name: Name, number: Number, frame: PlaceOfFrame) -> Response:
        """Undo what was said of an object on a frame; without another prompt it is forgotten."""
        video = videos.find(name)

        def back() -> dict[str, Any]:
            video.session.take_back(number, frame)
            video.objects &= set(video.session.objects)
            return video_to_json(videos, video)

        return JSONResponse(await done(videos.work(back)))

    @router.delete("/api/videos/{name}/objects/{number}", response_model=VideoAnswerBody)
    async def remove(name: Name, number: Number) -> Response:
        """Forget an object; the others are left alone."""
        video = videos.find(name)
        await done(videos.work(lambda: video.session.remove(number)))
        video.objects.discard(number)
        return JSONResponse(await done(videos.work(lambda: video_to_json(videos, video))))


@dataclass(frozen=True)
class _Following:
    """A request for masks: the frames that come, and its place in the row of such requests."""

    frames: Iterator[TrackedFrame]
    turn: int


def _add_masks(router: APIRouter, videos: VideoSessions) -> None:
    @router.get("/api/videos/{name}/masks", response_class=StreamingResponse, responses=LINES)
    async def masks(
        name: Name,
        direction: Direction = "forward",
        start: Frame | None = None,
        stop: Frame | None = None,
    ) -> Response:
        """Follow the objects; a line a frame, sent as soon as it is found.

        Leave to pause, or POST .../pause; the next request goes on where work is left, and ends an
        earlier one.
        """
        video = videos.find(name)
        video.turn += 1
        asked = _Following(video.session.propagate(direction, start, stop), video.turn)
        # What cannot be followed is told as a refusal, not as a line.
        first = await done(videos.work(lambda: videos.follow(video, asked.frames, asked.turn)))
        lines = _lines(videos, video, asked, first)
        return StreamingResponse(lines, media_type="application/x-ndjson")

    @router.post("/api/videos/{name}/pause", status_code=204)
    async def pause(name: Name) -> Response:
        """End the request for masks after the frame that is under way, and wait for that."""
        video = videos.find(name)
        video.turn += 1
        await done(videos.work(lambda: None))
        return Response(status_code=204)


async def _lines(
    videos: VideoSessions, video: OpenVideo, asked: _Following, first: TrackedFrame | None
) -> AsyncIterator[bytes]:
    found = first
    try:
        while found is not None:
            yield json.dumps(frame_to_json(found)).encode() + b"\n"
            found = await done(videos.work(lambda: videos.follow(video, asked.frames, asked.turn)))
    except (AnymaskError, Refusal) as error:
        told = error if isinstance(error, Refusal) else refusal_of(error)
        yield json.dumps({"error": told.error}).encode() + b"\n"
    finally:
        with contextlib.suppress(RuntimeError):  # a server that goes down takes no more work
            videos.work(asked.frames.close)  # type: ignore[attr-defined]  # a generator's


def _add_closing(router: APIRouter, videos: VideoSessions) -> None:
    @router.get("/api/videos/{name}", response_model=VideoAnswerBody)
    async def look(name: Name) -> Response:
        """What is known of a session."""
        video = videos.find(name)
        return JSONResponse(await done(videos.work(lambda: video_to_json(videos, video))))

    @router.delete("/api/videos/{name}", status_code=204)
    async def end(name: Name) -> Response:
        """Close a session; its masks and its file are gone."""
        videos.find(name)
        videos.end(name)
        return Response(status_code=204)
