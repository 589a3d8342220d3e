"""Shared parts of the routes of video and scan sessions: states, streams of lines, and files.

Both routers look up, describe, pause, close and export sessions in the same way.
"""

from __future__ import annotations

import contextlib
import json
import re
import secrets
import shutil
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Response
from fastapi import Path as InPath
from fastapi.responses import FileResponse, StreamingResponse
from starlette.background import BackgroundTask
from starlette.responses import JSONResponse

from anymask.base import AnymaskError, DeclaredSetting
from anymask.studio.errors import RequestError, refusal_of
from anymask.studio.inference import T
from anymask.studio.model_routes import done, of_state
from anymask.studio.records import MAX_ID
from anymask.studio.schemas import check_known
from anymask.studio.video_schemas import SessionBody
from anymask.studio.video_sessions import OpenSession, S, VideoSessions

Frame = Annotated[int, Query(ge=0, le=MAX_ID)]
Number = Annotated[int, InPath(ge=0, le=MAX_ID, examples=[1])]
JSON_LINES_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": (
            "One JSON object per line, one line per frame; the last line contains "
            "`error` if tracking failed"
        ),
        "content": {"application/x-ndjson": {"schema": {"type": "string"}}},
    }
}
SessionsDep = Annotated[VideoSessions, of_state("videos")]


def asked(kind: type[S], example: str) -> Any:
    """Dependency: the session in the URL, marked as used. Raises Refusal (404)."""

    in_path = InPath(max_length=40, examples=[example])

    async def find(videos: SessionsDep, name: str = in_path) -> OpenSession:
        return videos.find(name, kind)

    return Depends(find)


async def begin(
    videos: VideoSessions,
    kind: type[OpenSession],
    body: SessionBody,
    known: Iterable[DeclaredSetting],
) -> Response:
    """Open a session. Raises Refusal (422) for unknown settings."""
    check_known(body.settings, known)
    work = videos.work(lambda: videos.begin(kind, body.settings, body.name))
    return await state_of(videos, await done(work))


async def state_of(videos: VideoSessions, session: OpenSession) -> Response:
    """Response with the state of a session."""
    return JSONResponse(await done(videos.work(lambda: session.state(videos))))


def add_shared(
    router: APIRouter, dependency: Any, body: type[Any], about: Mapping[str, str]
) -> None:
    """Add the routes that return, close and pause a session, and remove an object.

    Args:
        dependency: Dependency that returns the session of a request.
        body: Schema of the state.
        about: Descriptions of "look", "remove" and "pause" for the schema.
    """

    @router.get("/{name}", response_model=body, description=about["look"])
    async def look(videos: SessionsDep, session: OpenSession = dependency) -> Response:
        return await state_of(videos, session)

    @router.delete("/{name}", status_code=204)
    async def end(videos: SessionsDep, session: OpenSession = dependency) -> Response:
        """Close a session and delete its masks and its file."""
        videos.end(session.name)
        return Response(status_code=204)

    @router.delete("/{name}/objects/{number}", response_model=body, description=about["remove"])
    async def remove(
        number: Number, videos: SessionsDep, session: OpenSession = dependency
    ) -> Response:
        await done(videos.work(lambda: session.remove(number)))
        session.objects.discard(number)
        return await state_of(videos, session)

    @router.post("/{name}/pause", status_code=204, description=about["pause"])
    async def pause(videos: SessionsDep, session: OpenSession = dependency) -> Response:
        session.turn += 1
        await done(videos.work(lambda: None))
        return Response(status_code=204)


async def lines_of(
    videos: VideoSessions,
    session: OpenSession,
    frames: Iterator[T],
    body: Callable[[T], dict[str, Any]],
) -> Response:
    """Stream one line of JSON per frame. If tracking fails, the last line contains `error`.

    The stream ends when a newer request starts, see `OpenSession`. Errors before the first frame
    are error responses.
    """
    turn = session.turn

    def follow() -> T | None:
        """Next frame, unless a newer request or a pause came first."""
        if session.turn != turn:
            return None
        videos.touch(session)
        return next(frames, None)

    first = await done(videos.work(follow))

    async def lines(found: T | None) -> AsyncIterator[bytes]:
        try:
            while found is not None:
                yield json.dumps(body(found)).encode() + b"\n"
                found = await done(videos.work(follow))
        except (AnymaskError, RequestError) as error:
            refusal = error if isinstance(error, RequestError) else refusal_of(error)
            yield json.dumps({"error": refusal.error}).encode() + b"\n"
        finally:
            with contextlib.suppress(RuntimeError):  # the server is shutting down
                videos.work(frames.close)  # type: ignore[attr-defined]  # it is a generator

    return StreamingResponse(lines(first), media_type="application/x-ndjson")


def export_path(session: OpenSession, title: str, default: str, ending: str) -> Path:
    """File to export to, in a new folder that is deleted with the session."""
    assert session.folder is not None  # created with the video or scan
    stem = (re.sub(r"[^\w.-]+", "-", title).strip(".-") or default)[:80]
    return Path(session.folder.name) / f"export-{secrets.token_hex(8)}" / (stem + ending)


def export_answer(path: Path, kind: str) -> Response:
    """Response with a file, whose folder is deleted afterwards."""
    delete = BackgroundTask(shutil.rmtree, path.parent, True)
    return FileResponse(path, media_type=kind, filename=path.name, background=delete)
