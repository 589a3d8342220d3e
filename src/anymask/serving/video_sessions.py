"""Video sessions of clients: bounded in number, size and life time.

One thread works on all of them, a frame at a time, so that several take turns; the model's own
calls wait in its queue behind clicks. A session that nobody asks for a while is closed, and its
files go with it.
"""

from __future__ import annotations

import secrets
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from anymask.predictors.image import Model
from anymask.serving.inference import Inference
from anymask.serving.limits import Limits
from anymask.serving.priority import step_back
from anymask.serving.queued import queue_calls
from anymask.serving.refusals import Refusal
from anymask.serving.turns import Urgency
from anymask.video.opening import open_session
from anymask.video.records import TrackedFrame
from anymask.video.session import VideoSession

T = TypeVar("T")
LOOK_EVERY = 5.0  # seconds, at most, between two looks for sessions that are over


@dataclass(eq=False)
class OpenVideo:
    """One client's session.

    session    worked on in the thread of `VideoSessions` alone
    settings   of `Model.track`
    folder     holds the video that was sent, and goes with the session
    opened, asked  when, by the clock of `VideoSessions`
    following  whether masks are being sent
    """

    name: str
    session: VideoSession
    settings: dict[str, Any]
    opened: float
    asked: float
    folder: tempfile.TemporaryDirectory[str] | None = None
    following: bool = False
    frames: int = 0
    objects: set[int] = field(default_factory=set)


class VideoSessions:
    """Make it, `start` it, ask it from any thread, `close` it.

    clock  seconds, for life times
    """

    def __init__(
        self, inference: Inference, limits: Limits, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.inference, self.limits, self._clock = inference, limits, clock
        self._open: dict[str, OpenVideo] = {}
        self._lock, self._stop = threading.Lock(), threading.Event()
        self._pool: ThreadPoolExecutor | None = None

    def start(self) -> None:
        """Begin to take work, and to look for sessions that are over."""
        self._pool = ThreadPoolExecutor(1, "anymask-videos", step_back)
        threading.Thread(target=self._look, name="anymask-video-ends", daemon=True).start()

    def close(self) -> None:
        """Close every session."""
        self._stop.set()
        for name in list(self._open):
            self.end(name)
        if self._pool is not None:
            self._pool.shutdown()

    def work(self, job: Callable[[], T]) -> Future[T]:
        """Have something done in the thread of the sessions."""
        assert self._pool is not None
        return self._pool.submit(job)

    @property
    def names(self) -> list[str]:
        """Of the sessions that are open."""
        return list(self._open)

    def begin(self, settings: dict[str, Any]) -> OpenVideo:
        """Open a session to which frames are handed; in the thread of the sessions.

        Raises Refusal (429) where too many are open, InputError and ModelError for settings.
        """
        self.end_old()
        if len(self._open) >= self.limits.videos:
            raise Refusal(
                429,
                f"at most {self.limits.videos} sessions about videos at a time",
                f"{len(self._open)} open",
                "close one with DELETE, or come again after the seconds of Retry-After",
                retry_after=self.limits.video_idle_seconds,
            )
        now = self._clock()
        session = open_session(self._model(), None, **settings)
        video = OpenVideo(secrets.token_urlsafe(16), session, settings, now, now)
        with self._lock:
            self._open[video.name] = video
        return video

    def take_file(self, video: OpenVideo, content: bytes, ending: str) -> None:
        """Make a session one about a video file; in the thread of the sessions.

        Raises Refusal where something was said or handed over before, or the frames are too large
        or too many; DataError for what is no video, MissingExtra without PyAV.
        """
        if video.frames or video.objects or video.folder is not None:
            raise Refusal(409, "a session about nothing yet", "one with frames", "open another one")
        folder = tempfile.TemporaryDirectory(prefix="anymask-video-")
        path = Path(folder.name) / f"video{ending}"
        path.write_bytes(content)
        try:
            session = open_session(self._model(), path, **video.settings)
            _check_size(session, self.limits)
        except BaseException:
            folder.cleanup()
            raise
        video.session.close()
        video.session, video.folder = session, folder
        video.frames = session.frames.length or 0

    def find(self, name: str) -> OpenVideo:
        """An open session, which counts as asked. Raises Refusal (404)."""
        self.end_old()
        video = self._open.get(name)
        if video is None:
            raise Refusal(
                404, "a session that is open", f"{name[:40]!r}", "open one with POST /api/videos"
            )
        video.asked = self._clock()
        return video

    def seconds_left(self, video: OpenVideo) -> float:
        """Until the session is closed where nobody asks it any more."""
        now, limits = self._clock(), self.limits
        idle = video.asked + limits.video_idle_seconds - now
        return max(0.0, min(idle, video.opened + limits.video_seconds - now))

    def follow(self, video: OpenVideo, frames: Iterator[TrackedFrame]) -> TrackedFrame | None:
        """One more frame; the session counts as asked."""
        video.asked = self._clock()
        return next(frames, None)

    def end(self, name: str) -> bool:
        """Close a session; whether it was open."""
        with self._lock:
            video = self._open.pop(name, None)
        if video is None:
            return False
        self.work(lambda: _close(video))
        return True

    def end_old(self) -> None:
        """Close the sessions whose time is over."""
        for name, video in list(self._open.items()):
            if not self.seconds_left(video):
                self.end(name)

    def _look(self) -> None:
        wait = min(LOOK_EVERY, self.limits.video_idle_seconds / 2)
        while not self._stop.wait(wait):
            self.end_old()

    def _model(self) -> Model:
        model = self.inference.ready()
        return Model(queue_calls(model.runtime, self.inference.heavy, Urgency.PHOTO))


def _close(video: OpenVideo) -> None:
    video.session.close()
    if video.folder is not None:
        video.folder.cleanup()


def _check_size(session: VideoSession, limits: Limits) -> None:
    """Raises Refusal; the session is closed then."""
    frames, image = session.frames.length or 0, session.picture(0)
    pixels = 0 if image is None else image.shape[0] * image.shape[1]
    if frames <= limits.video_frames and pixels <= limits.pixels:
        return
    session.close()
    raise Refusal(
        413,
        f"a video of at most {limits.video_frames} frames of {limits.pixels} pixels",
        f"{frames} frames of {pixels}",
        "send a part of it, or a smaller one",
    )
