"""Answers about video sessions: an open session in, what is known of it as JSON out."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from anymask.serving.answers import ClosedAnswer
from anymask.serving.video_sessions import OpenVideo, VideoSessions

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
