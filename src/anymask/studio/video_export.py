"""Files of what is known of a video session: SA-V, DAVIS, COCO, run-lengths, or a film.

Frames are written one by one: what is known of a frame is read in the thread of the sessions, the
frame itself in the viewing thread, so that others take their turns and nothing is held.
"""

from __future__ import annotations

import asyncio
import secrets
import shutil
import zipfile
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np

from anymask.base import UintImage
from anymask.masks import Colour, overlay
from anymask.studio.errors import Refusal
from anymask.studio.model_routes import done
from anymask.studio.video_schemas import VideoExportBody
from anymask.studio.video_sessions import OpenVideo, VideoSessions
from anymask.track import (
    CocoWriter,
    FilmWriter,
    LineWriter,
    MaskWriter,
    PaletteWriter,
    SavWriter,
    TrackedFrame,
    VideoFacts,
)

FILES: dict[str, tuple[str, str]] = {  # format -> the ending of its file, its media type
    "sav": (".json", "application/json"),
    "davis": (".zip", "application/zip"),
    "coco": (".json", "application/json"),
    "jsonl": (".jsonl", "application/x-ndjson"),
    "film": (".mp4", "video/mp4"),
}


def draw_frame(frame: TrackedFrame, image: UintImage, colours: Mapping[int, Colour]) -> UintImage:
    """A frame with the masks in the colours that the page shows them in."""
    seen = {number: one for number, one in frame.objects.items() if one.area}
    if not seen:
        return image
    palette = [colours.get(number, (30, 144, 255)) for number in seen]
    return overlay(image, np.stack([one.mask for one in seen.values()]), palette=palette)


async def write_export(
    videos: VideoSessions, video: OpenVideo, body: VideoExportBody, title: str
) -> Path:
    """Write all that is known; the file lies in the session's folder. Raises Refusal (409, 422)."""
    if video.folder is None or video.hw is None:
        message = "wanted a session about a file, got one without; keep the lines of its masks"
        raise Refusal(409, message)
    if video.exporting:
        raise Refusal(409, "wanted one export at a time, got another; wait for the first one")
    video.exporting = True
    folder = Path(video.folder.name) / f"export-{secrets.token_hex(8)}"
    try:
        known = await done(videos.work(lambda: video.session.objects))
        if not known:
            message = "wanted an object that was clicked on, got a video without one; click first"
            raise Refusal(422, message)
        folder.mkdir(parents=True)
        target, path = folder / title, folder / (title + FILES[body.format][0])
        sound = video.path if video.path is not None and video.path.is_file() else None
        facts = VideoFacts(title, video.hw, video.session.frames.rate, tuple(known), sound)
        place = target if body.format == "davis" else path
        await _write(videos, video, await done(videos.view(lambda: _open(body, place, facts))))
        if body.format == "davis":
            await done(videos.view(lambda: _zip(target, path)))
        return path
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    finally:
        video.exporting = False


async def _write(videos: VideoSessions, video: OpenVideo, writer: MaskWriter) -> None:
    """Write every frame, each in its turn."""

    def picture(frame: int) -> UintImage:
        image = videos.picture(video, frame)
        if image is None:
            raise Refusal(
                422,
                f"wanted a video whose frame {frame} can be read, got a damaged one; export the "
                "masks alone, as SA-V or COCO",
            )
        return image

    try:
        for frame in range(video.session.frames.length or 0):
            found = await done(videos.work(partial(video.session.result, frame)))
            await done(videos.view(partial(writer.write, found, partial(picture, frame))))
        await done(videos.view(writer.close))
    except (Exception, asyncio.CancelledError):
        videos.view(writer.abandon)
        raise


def _open(body: VideoExportBody, path: Path, facts: VideoFacts) -> MaskWriter:
    match body.format:
        case "sav":
            return SavWriter(path, facts)
        case "davis":
            return PaletteWriter(path, facts)
        case "coco":
            return CocoWriter(path, facts, {one.object: one.name for one in body.objects})
        case "jsonl":
            return LineWriter(path)
        case "film":
            colours = {one.object: _rgb(one.colour) for one in body.objects}
            return FilmWriter(path, facts, partial(draw_frame, colours=colours))


def _rgb(colour: str) -> Colour:
    red, green, blue = bytes.fromhex(colour[1:])
    return red, green, blue


def _zip(folder: Path, path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:  # PNGs are small already
        for one in sorted(folder.iterdir()):
            archive.write(one, f"{folder.name}/{one.name}")
