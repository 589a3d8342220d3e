"""Files of what is known of a video session: SA-V, DAVIS, COCO, run-lengths, or a film.

Frames are written one by one: what is known of a frame is read in the thread of the sessions, the
frame itself in the viewing thread, so that others take their turns and nothing is held.
"""

from __future__ import annotations

import asyncio
import secrets
import shutil
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, Field

from anymask.base import UintImage
from anymask.masks import Colour, overlay
from anymask.studio.model_api import done
from anymask.studio.refusals import Refusal
from anymask.studio.video_sessions import OpenVideo, VideoSessions
from anymask.studio.wire import at_most
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

VideoFormat = Literal["sav", "davis", "coco", "jsonl", "film"]
FILES: dict[str, tuple[str, str]] = {  # format -> the ending of its file, its media type
    "sav": (".json", "application/json"),
    "davis": (".zip", "application/zip"),
    "coco": (".json", "application/json"),
    "jsonl": (".jsonl", "application/x-ndjson"),
    "film": (".mp4", "video/mp4"),
}


class NamedObjectBody(BaseModel):
    """What an object is called, and its colour on a film."""

    object: int = Field(ge=0, le=2**31 - 1)
    name: str = Field(default="", max_length=200)
    colour: str = Field(default="#1e90ff", pattern="^#[0-9a-fA-F]{6}$")


class VideoExportBody(BaseModel):
    """The format, what the video is called, and the objects' names and colours."""

    format: VideoFormat
    title: str = Field(default="video", max_length=200)
    objects: Annotated[list[NamedObjectBody], at_most(1000, "objects")] = []


@dataclass(frozen=True)
class ObjectLooks:
    """What objects are called, and how they are drawn: object -> name, colour."""

    names: Mapping[int, str]
    colours: Mapping[int, Colour]

    def draw(self, frame: TrackedFrame, image: UintImage) -> UintImage:
        """A frame with the masks in the colours that the page shows them in."""
        seen = {number: one for number, one in frame.objects.items() if one.area}
        if not seen:
            return image
        palette = [self.colours.get(number, (30, 144, 255)) for number in seen]
        return overlay(image, np.stack([one.mask for one in seen.values()]), palette=palette)


async def write_export(
    videos: VideoSessions, video: OpenVideo, body: VideoExportBody, title: str
) -> Path:
    """Write all that is known; the file lies in the session's folder. Raises Refusal (409)."""
    if video.folder is None or video.hw is None:
        raise Refusal(409, "a session about a file", "one without", "keep the lines of its masks")
    if video.exporting:
        raise Refusal(409, "one export at a time", "another one", "wait for the first one")
    video.exporting = True
    folder = Path(video.folder.name) / f"export-{secrets.token_hex(8)}"
    try:
        return await _write(videos, video, body, folder / title)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    finally:
        video.exporting = False


async def _write(
    videos: VideoSessions, video: OpenVideo, body: VideoExportBody, target: Path
) -> Path:
    known = await done(videos.work(lambda: video.session.objects))
    if not known:
        raise Refusal(422, "an object that was clicked on", "a video without one", "click first")
    target.parent.mkdir(parents=True)
    path = target.with_name(target.name + FILES[body.format][0])
    facts = _facts(video, target.name, known)
    writer = await done(
        videos.view(lambda: _open(body, target if body.format == "davis" else path, facts))
    )
    try:
        for frame in range(video.session.frames.length or 0):
            await _write_frame(videos, video, writer, frame)
        await done(videos.view(writer.close))
    except (Exception, asyncio.CancelledError):
        videos.view(writer.abandon)
        raise
    if body.format == "davis":
        await done(videos.view(lambda: _zip(target, path)))
    return path


async def _write_frame(
    videos: VideoSessions, video: OpenVideo, writer: MaskWriter, frame: int
) -> None:
    found = await done(videos.work(lambda: video.session.result(frame)))

    def picture() -> UintImage:
        image = videos.picture(video, frame)
        if image is None:
            raise Refusal(
                422, f"a video whose frame {frame} can be read", "a damaged one",
                "export the masks alone, as SA-V or COCO",
            )  # fmt: skip
        return image

    await done(videos.view(lambda: writer.write(found, picture)))


def _facts(video: OpenVideo, name: str, objects: Sequence[int]) -> VideoFacts:
    assert video.hw is not None
    sound = video.path if video.path is not None and video.path.is_file() else None
    return VideoFacts(name, video.hw, video.session.frames.rate, tuple(objects), sound)


def _open(body: VideoExportBody, path: Path, facts: VideoFacts) -> MaskWriter:
    looks = ObjectLooks(
        {one.object: one.name for one in body.objects},
        {one.object: _rgb(one.colour) for one in body.objects},
    )
    match body.format:
        case "sav":
            return SavWriter(path, facts)
        case "davis":
            return PaletteWriter(path, facts)
        case "coco":
            return CocoWriter(path, facts, looks.names)
        case "jsonl":
            return LineWriter(path)
        case "film":
            return FilmWriter(path, facts, looks.draw)


def _rgb(colour: str) -> Colour:
    red, green, blue = bytes.fromhex(colour[1:])
    return red, green, blue


def _zip(folder: Path, path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:  # PNGs are small already
        for one in sorted(folder.iterdir()):
            archive.write(one, f"{folder.name}/{one.name}")
