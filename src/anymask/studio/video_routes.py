"""Routes of video sessions: open, send frames or a file, prompt, track, export and close."""

from __future__ import annotations

import asyncio
import importlib.util
import io
import json
import shutil
import zipfile
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Request, Response
from fastapi import Path as InPath
from fastapi.responses import FileResponse, StreamingResponse
from PIL import Image
from starlette.responses import JSONResponse

from anymask.base import UintImage
from anymask.studio.errors import RequestError
from anymask.studio.model_routes import (
    BINARY,
    IMAGE_BODY,
    BodyRoute,
    LimitsDep,
    done,
    file_answer,
    gives_up,
    image_of,
    read_image,
)
from anymask.studio.project_schemas import ProgressBody
from anymask.studio.records import MAX_ID
from anymask.studio.schemas import TRACK, check_prompts
from anymask.studio.session_routes import (
    JSON_LINES_RESPONSES,
    Frame,
    Number,
    SessionsDep,
    add_shared,
    asked,
    begin,
    export_answer,
    export_path,
    lines_of,
    state_of,
)
from anymask.studio.video_schemas import (
    ClipChoiceBody,
    FrameBody,
    KnownMasksBody,
    OffersBody,
    PromptedBody,
    VideoBody,
    VideoExportBody,
    VideoPromptBody,
    VideoStateBody,
    VideoStyle,
    frame_body,
    object_body,
)
from anymask.studio.video_sessions import OpenVideo, VideoSessions, own_file
from anymask.track import (
    Direction,
    LineWriter,
    MaskWriter,
    TrackedFrame,
    VideoFacts,
    VideoWriter,
    coco_writer,
    cut_objects,
    draw_masks,
    draw_objects,
    hide_objects,
    palette_writer,
    sav_writer,
)

_ENDINGS = {"video/mp4": ".mp4", "video/webm": ".webm", "video/quicktime": ".mov",
            "video/x-matroska": ".mkv", "video/x-msvideo": ".avi",
            "image/gif": ".gif"}  # fmt: skip  # refused when it is opened
FrameNumber = Annotated[int, InPath(ge=0, le=MAX_ID, examples=[0])]
VIDEO_BODY = {"requestBody": {"required": True, "content": {"video/*": BINARY}}}
VIDEO_EXPORTS: dict[str, tuple[str, str]] = {  # format -> file suffix, media type
    "sav": (".json", "application/json"),
    "davis": (".zip", "application/zip"),
    "coco": (".json", "application/json"),
    "jsonl": (".jsonl", "application/x-ndjson"),
    "video": (".mp4", "video/mp4"),
    "cutout": (".webm", "video/webm"),  # video with alpha
}
_OPEN_VIDEO_BODY = asked(OpenVideo, "example")
Asked = Annotated[OpenVideo, _OPEN_VIDEO_BODY]
router = APIRouter(prefix="/api/videos", route_class=BodyRoute, tags=["videos"])
_ACTION_SUMMARIES = {
    "look": "Return the objects, the low-confidence frames and the remaining time of a session.",
    "remove": "Remove an object. Other objects are not changed.",
    "pause": "Pause tracking after the current frame, and wait until this frame is finished.",
}
add_shared(router, _OPEN_VIDEO_BODY, VideoStateBody, _ACTION_SUMMARIES)


# Sessions.


@router.get("", response_model=OffersBody)
async def offers(videos: SessionsDep, limits: LimitsDep) -> dict[str, Any]:
    """List the videos on the server and the limits of a session."""
    return {
        "clips": sorted(videos.clips),
        "files": importlib.util.find_spec("av") is not None,
        "upload_bytes": limits.upload_bytes,
        "most_frames": limits.video_frames,
        "most_objects": limits.video_objects,
    }


@router.post("", response_model=VideoStateBody)
async def begin_video(body: VideoBody, videos: SessionsDep) -> Response:
    """Open a video session. Then send frames one by one, or send or choose a video file."""
    return await begin(videos, OpenVideo, body, TRACK)


@router.put("/{name}/file", response_model=VideoStateBody, openapi_extra=VIDEO_BODY)
async def take_file(video: Asked, videos: SessionsDep, request: Request) -> Response:
    """Upload the video file of a session, before any prompt."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    await videos.receive(video, request.stream(), f"video{_ENDINGS.get(kind, '.video')}")
    return await state_of(videos, video)


@router.put("/{name}/clip", response_model=VideoStateBody)
async def take_clip(video: Asked, body: ClipChoiceBody, videos: SessionsDep) -> Response:
    """Choose a video on the server for a session, before any prompt."""
    await videos.receive(video, own_file(videos.clips, body.clip))
    return await state_of(videos, video)


# Prompts.


@router.post("/{name}/frames", response_model=FrameBody, openapi_extra=IMAGE_BODY)
async def step(video: Asked, videos: SessionsDep, limits: LimitsDep, request: Request) -> Response:
    """Send the next frame. Returns the objects that were tracked to this frame."""
    content = await image_of(request)
    if video.path is not None:
        raise RequestError(
            409, "This session has a video file, and accepts no frames. Read its masks."
        )
    if video.frames >= limits.video_frames:
        raise RequestError(
            422,
            f"The session has the maximum of {limits.video_frames} frames. Open another session.",
        )

    def follow() -> TrackedFrame:
        image = read_image(content, limits)  # decode one frame at a time
        frame = video.session.step(image)
        assert frame is not None  # the frame was just pushed
        video.frames, video.hw = video.frames + 1, (image.shape[0], image.shape[1])
        return frame

    return JSONResponse(frame_body(await done(videos.work(follow))))


@router.post("/{name}/prompts", response_model=PromptedBody)
async def prompt(
    video: Asked, body: VideoPromptBody, videos: SessionsDep, limits: LimitsDep
) -> Response:
    """Add a prompt to an object on a frame. Returns the mask of the object on this frame.

    Another prompt on the same frame corrects the mask.
    """
    check_prompts([body], limits)
    video.check_room(body.object, limits)

    def add() -> dict[str, Any]:
        prompt = body.as_prompt()  # decode one mask at a time
        mask = video.session.add(
            frame=body.frame, id=body.object, points=prompt.points, labels=prompt.labels,
            box=prompt.box, mask=prompt.mask, lasso=prompt.lasso, replace=body.replace,
        )  # fmt: skip
        video.objects.add(body.object)
        return object_body(body.object, mask) | {"known": video.session.frame_ranges(body.object)}

    return JSONResponse(await done(videos.work(add)))


@router.put("/{name}/objects/{number}/masks", response_model=VideoStateBody)
async def take_up(
    video: Asked, number: Number, body: KnownMasksBody, videos: SessionsDep, limits: LimitsDep
) -> Response:
    """Set the masks of an object that were created elsewhere, for corrections and tracking.

    These masks replace all earlier masks and prompts of the object in this session.
    """
    video.check_room(number, limits)

    def take() -> None:
        video.session.import_masks(number, body.known(video.hw, limits))
        video.objects.add(number)

    await done(videos.work(take))
    return await state_of(videos, video)


@router.delete("/{name}/objects/{number}/prompts/{frame}", response_model=VideoStateBody)
async def remove_prompts(
    video: Asked, number: Number, frame: FrameNumber, videos: SessionsDep
) -> Response:
    """Remove the prompts of an object on a frame. Removes the object if it has no other prompt."""

    def back() -> None:
        video.session.remove_prompts(number, frame)
        video.objects &= set(video.session.objects)

    await done(videos.work(back))
    return await state_of(videos, video)


# Results.


@router.get("/{name}/masks", response_class=StreamingResponse, responses=JSON_LINES_RESPONSES)
async def masks(
    video: Asked,
    videos: SessionsDep,
    direction: Direction = "forward",
    start: Frame | None = None,
    stop: Frame | None = None,
) -> Response:
    """Track the objects. Streams one line per frame as soon as the frame is tracked.

    To pause, disconnect or send POST .../pause. The next request continues with the remaining
    frames and ends an earlier request.
    """
    video.turn += 1
    return await lines_of(
        videos, video, video.session.propagate(direction, start, stop), frame_body
    )


@router.get("/{name}/results", response_class=StreamingResponse, responses=JSON_LINES_RESPONSES)
async def results(
    video: Asked, videos: SessionsDep, start: Frame = 0, stop: Frame = MAX_ID
) -> Response:
    """Return the masks of the frames from `start` to `stop`, without tracking."""

    def known() -> list[int]:
        spans = [span for n in video.session.objects for span in video.session.frame_ranges(n)]
        return sorted({frame for first, last in spans for frame in range(first, last + 1)})

    async def lines() -> AsyncIterator[bytes]:
        for frame in frames:
            if start <= frame <= stop:
                result = await done(videos.work(partial(video.session.result, frame)))
                yield json.dumps(frame_body(result)).encode() + b"\n"

    frames = await done(videos.work(known))
    return StreamingResponse(lines(), media_type="application/x-ndjson")


@router.get("/{name}/frames/{frame}", response_class=Response, responses=file_answer("image/jpeg"))
async def picture(video: Asked, frame: FrameNumber, videos: SessionsDep) -> Response:
    """Return a frame of the video as JPEG. For a damaged frame, returns the frame before it."""
    if video.path is None:
        raise RequestError(409, "This session has no video file, from which frames could be read.")

    def jpeg() -> bytes | None:
        image, before, file = video.image(frame), frame, io.BytesIO()
        while image is None and before > 0 and video.is_damaged(before):  # as players do
            before -= 1
            image = video.image(before)
        if image is None:
            return None
        Image.fromarray(image).save(file, "JPEG", quality=90, subsampling=0)
        return file.getvalue()

    content = await done(videos.view(jpeg))
    if content is None:
        raise RequestError(404, f"Frame {frame} cannot be decoded. Request an earlier frame.")
    headers = {"Cache-Control": "private, max-age=3600, immutable"}
    return Response(content, media_type="image/jpeg", headers=headers)


@router.post(
    "/{name}/export",
    response_class=FileResponse,
    responses=file_answer(*sorted({kind for _, kind in VIDEO_EXPORTS.values()})),
)
async def export(
    video: Asked, body: VideoExportBody, videos: SessionsDep, request: Request
) -> Response:
    """Export the masks of all objects as a file. Frames that are not tracked have no masks in it.

    The request is cancelled if the client disconnects.
    """
    writing = asyncio.create_task(write_export(videos, video, body))
    async with gives_up(request, writing):
        path = await done(writing)
    return export_answer(path, _file_of(body)[1])


@router.get("/{name}/export", response_model=ProgressBody)
async def export_progress(video: Asked) -> dict[str, int]:
    """Return how many frames of the running export are written."""
    total = video.session.frames.length or 0
    return {"done": video.written, "total": total if video.exporting else 0}


# Exports are written frame by frame: masks are read in the session thread, frames in the viewer
# thread, so that other sessions are not blocked and memory use is constant.


def _file_of(body: VideoExportBody) -> tuple[str, str]:
    cut = body.format == "video" and body.style == "cutout"
    return VIDEO_EXPORTS["cutout" if cut else body.format]


async def write_export(videos: VideoSessions, video: OpenVideo, body: VideoExportBody) -> Path:
    """Write all masks to a file in the session's folder. Raises Refusal (409, 422)."""
    if video.folder is None or video.hw is None:
        raise RequestError(409, "This session has no video file to export. Save the tracked masks.")
    if video.exporting:
        raise RequestError(409, "Another export of this session is running. Wait until it ends.")

    def source_image(frame: int) -> UintImage:
        image = video.image(frame)
        if image is None:
            raise RequestError(422, f"Frame {frame} cannot be decoded. Export only the masks.")
        return image

    def zipped() -> None:
        with zipfile.ZipFile(path, "w") as archive:  # PNGs are already compressed
            for file in sorted(folder.iterdir()):
                archive.write(file, f"{folder.name}/{file.name}")

    def is_damaged(frame: int) -> bool:
        return video.image(frame) is None and video.is_damaged(frame)

    video.exporting, video.written, session = True, 0, video.session
    path = export_path(video, body.title, "video", _file_of(body)[0])
    folder, writer = path.parent / path.name.removesuffix(_file_of(body)[0]), None
    try:
        known = await done(videos.work(lambda: session.objects))
        if not known:
            raise RequestError(422, "The video has no object. Click an object first.")
        path.parent.mkdir(parents=True)
        sound = video.path if video.path is not None and video.path.is_file() else None
        facts = VideoFacts(folder.name, video.hw, session.frames.rate, tuple(known), sound)
        target = folder if body.format == "davis" else path
        writer = await done(videos.view(lambda: _open(body, target, facts)))
        for frame in range(session.frames.length or 0):
            if await done(videos.work(partial(session.is_missing, frame))):
                continue
            if writer.shows_frames and await done(videos.view(partial(is_damaged, frame))):
                continue
            result = await done(videos.work(partial(session.result, frame)))
            await done(videos.view(partial(writer.write, result, partial(source_image, frame))))
            video.written = frame + 1
        await done(videos.view(writer.close))
        if body.format == "davis":
            await done(videos.view(zipped))
        return path
    except BaseException:
        if writer is not None:
            videos.view(writer.abandon)
        shutil.rmtree(path.parent, ignore_errors=True)
        raise
    finally:
        video.exporting = False


def _open(body: VideoExportBody, path: Path, facts: VideoFacts) -> MaskWriter:
    match body.format:
        case "sav":
            return sav_writer(path, facts)
        case "davis":
            return palette_writer(path, facts)
        case "coco":
            return coco_writer(path, facts, {entry.object: entry.name for entry in body.objects})
        case "jsonl":
            return LineWriter(path)
        case "video":
            palette = {entry.object: entry.rgb for entry in body.objects}
            drawings: dict[VideoStyle, Callable[[TrackedFrame, UintImage], UintImage]] = {
                "overlay": partial(draw_objects, palette=palette),
                "masks": partial(draw_masks, palette=palette),
                "blur": partial(hide_objects, how="blur"),
                "color": partial(hide_objects, how="solid", color=body.color),
                "background-blur": partial(cut_objects, style={"background": "blur"}),
                "background-color": partial(cut_objects, style={"background": body.color}),
                "cutout": cut_objects,
            }
            draw = drawings[body.style]
            return VideoWriter(path, facts, draw, "cutout" if body.style == "cutout" else "picture")
