"""Routes of what is known of a video session: frames to look at, masks, files of them.

GET  /api/videos/{name}/frames/{frame}   the frame as a JPEG
GET  /api/videos/{name}/results          a line of JSON for each frame that has masks
POST /api/videos/{name}/export           a file: SA-V, DAVIS, COCO, run-lengths, or a film
"""

from __future__ import annotations

import io
import json
import re
import shutil
from collections.abc import AsyncIterator
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Response
from fastapi.responses import FileResponse, StreamingResponse
from PIL import Image
from starlette.background import BackgroundTask

from anymask.base import UintImage
from anymask.studio.model_api import done
from anymask.studio.refusals import ANYWHERE, FailureBody, Refusal, documented
from anymask.studio.results import file_answer
from anymask.studio.video_export import FILES, VideoExportBody, write_export
from anymask.studio.video_sessions import OpenVideo, VideoSessions
from anymask.track import frame_to_json

_LARGEST = 2**31 - 1
_QUALITY = 90  # of a JPEG
Name = Annotated[str, Path(max_length=40)]
LINES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "A line of JSON a frame",
        "content": {"application/x-ndjson": {"schema": {"type": "string"}}},
    }
}


def video_results_router(videos: VideoSessions) -> APIRouter:
    """The addresses above."""
    failures = documented(400, 404, 415, 422, 501, 507, *ANYWHERE) | {
        409: {"model": FailureBody, "description": "A session of another kind, or at work."}
    }
    router = APIRouter(responses=failures)
    _add_frame(router, videos)
    _add_results(router, videos)
    _add_export(router, videos)
    return router


def _add_frame(router: APIRouter, videos: VideoSessions) -> None:
    @router.get(
        "/api/videos/{name}/frames/{frame}",
        response_class=Response,
        responses=file_answer("image/jpeg"),
    )
    async def picture(name: Name, frame: Annotated[int, Path(ge=0, le=_LARGEST)]) -> Response:
        """A frame of the video, to look at."""
        video = videos.find(name)
        if video.path is None:
            raise Refusal(409, "a session about a file", "one without", "show the frames you sent")
        content = await done(videos.view(lambda: _jpeg(videos.picture(video, frame))))
        if content is None:
            raise Refusal(
                404, "a frame that can be read", f"frame {frame}: {video.fault or 'none is there'}",
                "ask for an earlier one",
            )  # fmt: skip
        kept = {"Cache-Control": "private, max-age=3600, immutable"}
        return Response(content, media_type="image/jpeg", headers=kept)


def _jpeg(image: UintImage | None) -> bytes | None:
    if image is None:
        return None
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=_QUALITY, subsampling=0)
    return file.getvalue()


def _add_results(router: APIRouter, videos: VideoSessions) -> None:
    @router.get("/api/videos/{name}/results", response_class=StreamingResponse, responses=LINES)
    async def results(
        name: Name,
        start: Annotated[int, Query(ge=0, le=_LARGEST)] = 0,
        stop: Annotated[int, Query(ge=0, le=_LARGEST)] = _LARGEST,
    ) -> Response:
        """What is known of the frames from `start` to `stop`; nothing is computed."""
        video = videos.find(name)
        frames = await done(videos.work(lambda: _known(video)))
        wanted = [frame for frame in frames if start <= frame <= stop]
        return StreamingResponse(_lines(videos, video, wanted), media_type="application/x-ndjson")


def _known(video: OpenVideo) -> list[int]:
    known = [video.session.known(number) for number in video.session.objects]
    return sorted({frame for one in known for a, b in one for frame in range(a, b + 1)})


async def _lines(
    videos: VideoSessions, video: OpenVideo, frames: list[int]
) -> AsyncIterator[bytes]:
    for frame in frames:
        found = await done(videos.work(partial(video.session.result, frame)))
        yield json.dumps(frame_to_json(found)).encode() + b"\n"


def _add_export(router: APIRouter, videos: VideoSessions) -> None:
    kinds = sorted({kind for _, kind in FILES.values()})

    @router.post(
        "/api/videos/{name}/export", response_class=FileResponse, responses=file_answer(*kinds)
    )
    async def export(name: Name, body: VideoExportBody) -> Response:
        """All that is known of the objects, as a file; frames without masks have none in it."""
        video = videos.find(name)
        title = re.sub(r"[^\w.-]+", "-", body.title).strip(".-") or "video"
        path = await write_export(videos, video, body, title[:80])
        return FileResponse(
            path,
            media_type=FILES[body.format][1],
            filename=path.name,
            background=BackgroundTask(shutil.rmtree, path.parent, True),
        )
