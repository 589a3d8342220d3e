"""Video sessions of clients: bounded in number, size and life time, with their files.

One thread works on all of them, a frame at a time, so that several take turns; the model's own
calls wait in its queue behind clicks. Another one reads the frames that somebody looks at, by a
source of its own, so that looking about does not disturb the following. A session that nobody asks
for a while is closed, and its files go with it.

Each server has one folder among the machine's temporary ones, and holds a lock in it. A folder
whose lock is free belongs to a server that was killed: the next one to start deletes it.
"""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import shutil
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, TypeVar

from starlette.concurrency import run_in_threadpool

from anymask.base import DataError, ImageError, UintImage, lock_file
from anymask.segment import Model
from anymask.studio.errors import Refusal
from anymask.studio.inference import Inference, Urgency, queue_calls, step_back
from anymask.studio.limits import Limits
from anymask.studio.model_routes import done
from anymask.track import FrameSource, TrackedFrame, VideoSession, open_session, open_source

PREFIX = "anymask-videos-"
LOCK = "lock"
_PIECE = 1_000_000  # bytes that are written at once


class VideoFiles:
    """The folder of one server: `open` it, ask for folders of sessions, `close` it.

    place  where it lies; None: where the system has temporary files
    """

    def __init__(self, place: Path | None = None) -> None:
        self.place = Path(tempfile.gettempdir()) if place is None else place
        self._lock: IO[bytes] | None = None
        self._folder: Path | None = None

    def open(self) -> None:
        """Delete what killed servers have left, and make the folder."""
        delete_abandoned(self.place)
        while self._lock is None:
            self._folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=self.place))
            lock = (self._folder / LOCK).open("a+b")
            lock_file(lock.fileno(), wait=False)
            if (self._folder / LOCK).exists():  # else another server took it for abandoned
                self._lock = lock
            else:
                lock.close()

    def session_folder(self) -> tempfile.TemporaryDirectory[str]:
        """A folder of one session, which goes with it."""
        return tempfile.TemporaryDirectory(prefix="session-", dir=self._folder)

    def close(self) -> None:
        """Delete the folder and all that is in it."""
        if self._lock is None or self._folder is None:
            return
        self._lock.close()
        shutil.rmtree(self._folder, ignore_errors=True)
        self._lock = self._folder = None


def delete_abandoned(place: Path) -> None:
    """Delete the folders of servers that do not live any more; those of others stay."""
    for folder in place.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):  # it goes away just now, or has no lock
            ours = not hasattr(os, "getuid") or folder.lstat().st_uid == os.getuid()
            if folder.is_symlink() or not ours:
                continue
            with (folder / LOCK).open("r+b") as lock:
                abandoned = lock_file(lock.fileno(), wait=False) == "held"
            if abandoned:
                shutil.rmtree(folder, ignore_errors=True)


async def write_stream(stream: AsyncIterator[bytes], path: Path) -> int:
    """Write a body to a file as it comes in, and count its bytes; a piece of it is held."""
    size, held = 0, bytearray()
    file = await run_in_threadpool(path.open, "wb")
    try:
        async for part in stream:
            held += part
            if len(held) >= _PIECE:
                size += await run_in_threadpool(file.write, bytes(held))
                held.clear()
        return size + await run_in_threadpool(file.write, bytes(held))
    finally:
        await run_in_threadpool(file.close)


T = TypeVar("T")
EVEN_S = 0.01  # a frame that is shown so much earlier or later than the rate says is on time
LOOK_EVERY = 5.0  # seconds, at most, between two looks for sessions that are over
LOG = logging.getLogger("anymask.studio.videos")


@dataclass(eq=False)
class OpenVideo:
    """One client's session.

    session    worked on in the thread of `VideoSessions` alone
    settings   of `Model.track`
    folder     holds the video that was sent and what is exported, and goes with the session
    opened, asked  when, by the clock of `VideoSessions`
    path       the video; None: frames are handed over
    viewer     reads its frames to be looked at; used in the viewing thread alone
    written    frames of the newest export that are in its file
    turn       counts the requests for masks: only the newest one is answered further
    hw         of its first frame
    times      when each frame is shown, see `uneven_times`
    """

    name: str
    session: VideoSession
    settings: dict[str, Any]
    opened: float
    asked: float
    folder: tempfile.TemporaryDirectory[str] | None = None
    path: Path | None = None
    viewer: FrameSource | None = None
    turn: int = 0
    exporting: bool = False
    written: int = 0
    receiving: bool = False
    frames: int = 0
    hw: tuple[int, int] | None = None
    times: list[float] | None = None
    objects: set[int] = field(default_factory=set)

    def check_room(self, number: int, limits: Limits) -> None:
        """Whether an object may be another one. Raises Refusal (422)."""
        if number not in self.objects and len(self.objects) >= limits.video_objects:
            most = limits.video_objects
            raise Refusal(422, f"wanted at most {most} objects, got another; open another session")

    @property
    def fault(self) -> str | None:
        """Why the frames end before the file does."""
        told = self.session.frames.fault
        return told if told is None else told.replace(str(self.path), "the video")


def uneven_times(frames: FrameSource) -> list[float] | None:
    """When each frame is shown, in seconds from the first one; None where the rate says it.

    The rate says it where no frame is more than `EVEN_S` off its place, and where nobody knows how
    many frames will come.
    """
    times = [round(frames.seconds(frame), 3) for frame in range(frames.length or 0)]
    even = all(abs(time - frame / frames.rate) < EVEN_S for frame, time in enumerate(times))
    return None if even else times


class VideoSessions:
    """Make it, `start` it, ask it from any thread, `close` it.

    clips  videos and folders of frames of the server's own, by name
    clock  seconds, for life times
    place  of the files of sessions; None: where the system has temporary ones
    """

    def __init__(
        self,
        inference: Inference,
        limits: Limits,
        clock: Callable[[], float] = time.monotonic,
        clips: Mapping[str, Path] | None = None,
        place: Path | None = None,
    ) -> None:
        self.inference, self.limits, self._clock = inference, limits, clock
        self.clips, self.files = dict(clips or {}), VideoFiles(place)
        self._open: dict[str, OpenVideo] = {}
        self._lock, self._stop = threading.Lock(), threading.Event()
        self._pool: ThreadPoolExecutor | None = None
        self._viewers: ThreadPoolExecutor | None = None

    def start(self) -> None:
        """Begin to take work, and to look for sessions that are over; files that a killed server
        left are deleted."""
        self.files.open()
        self._pool = ThreadPoolExecutor(1, "anymask-videos", step_back)
        self._viewers = ThreadPoolExecutor(1, "anymask-viewers")
        wait = min(LOOK_EVERY, self.limits.video_idle_seconds / 2)

        def look() -> None:
            while not self._stop.wait(wait):
                self.end_old()

        threading.Thread(target=look, name="anymask-video-ends", daemon=True).start()

    def close(self) -> None:
        """Close every session."""
        self._stop.set()
        for name in list(self._open):
            self.end(name)
        for pool in (self._viewers, self._pool):
            if pool is not None:
                pool.shutdown()
        self.files.close()

    def work(self, job: Callable[[], T]) -> Future[T]:
        """Have something done in the thread of the sessions."""
        assert self._pool is not None
        return self._pool.submit(job)

    def view(self, job: Callable[[], T]) -> Future[T]:
        """Have something done in the thread that reads frames to be looked at."""
        assert self._viewers is not None
        return self._viewers.submit(job)

    @property
    def names(self) -> list[str]:
        """Of the sessions that are open."""
        return list(self._open)

    def begin(self, settings: dict[str, Any], name: str | None = None) -> OpenVideo:
        """Open a session to which frames are handed; in the thread of the sessions.

        name  that its client gives it: asked for twice, it is opened once

        Raises Refusal (429) where too many are open, InputError and ModelError for settings.
        """
        self.end_old()
        if name in self._open:
            return self.find(name)
        if len(self._open) >= self.limits.videos:
            raise Refusal(
                429,
                f"wanted at most {self.limits.videos} sessions about videos at a time, got "
                f"{len(self._open)} open; close one with DELETE, or come again after the seconds "
                "of Retry-After",
                self.limits.video_idle_seconds,
            )
        now = self._clock()
        session = open_session(self._model(), None, **settings)
        video = OpenVideo(name or secrets.token_urlsafe(16), session, settings, now, now)
        with self._lock:
            self._open[video.name] = video
        LOG.info("a session about a video begins, %d open", len(self._open))
        return video

    async def receive(self, video: OpenVideo, stream: AsyncIterator[bytes], ending: str) -> None:
        """Make a session one about the video file of a body, which is written as it comes in.

        Raises Refusal where something was said or handed over before, for what is no video, or
        where the frames are too large or too many; MissingExtra without PyAV.
        """
        _check_new(video)
        if video.receiving:
            message = "wanted one file at a time, got another one; wait for the first one"
            raise Refusal(409, message)
        video.receiving, folder = True, self.files.session_folder()
        path = Path(folder.name) / f"video{ending}"
        try:
            if not await write_stream(self._asking(video, stream), path):
                message = "wanted the bytes of a video, got an empty body; send the file's content"
                raise Refusal(400, message)
            await done(self.work(lambda: self._take(video, path, folder)))
        except BaseException:
            folder.cleanup()
            raise
        finally:
            video.receiving = False

    async def _asking(self, video: OpenVideo, stream: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """A body; the session counts as asked while it comes in."""
        async for part in stream:
            video.asked = self._clock()
            yield part

    def take_clip(self, video: OpenVideo, name: str) -> None:
        """Make a session one about a video of the server's own; in the thread of the sessions. As
        `receive`."""
        if name not in self.clips:
            known = ", ".join(sorted(self.clips)) or "none"
            wanted = f"a video of this server's own ({known})"
            raise Refusal(404, (wanted, repr(name[:80]), "send the file"))
        self.take_path(video, self.clips[name])

    def take_path(self, video: OpenVideo, path: Path) -> None:
        """Make a session one about a video or a folder of frames; in the thread of the sessions. As
        `receive`."""
        folder = self.files.session_folder()
        try:
            self._take(video, path, folder)
        except BaseException:
            folder.cleanup()
            raise

    def _take(self, video: OpenVideo, path: Path, folder: tempfile.TemporaryDirectory[str]) -> None:
        _check_new(video)
        if video.name not in self._open:  # it was closed while its file came in
            raise _closed(video.name)
        try:
            session = open_session(self._model(), path, **video.settings)
        except (DataError, ImageError) as error:
            raise _unreadable(str(error).replace(str(path), "a file that")) from error
        hw = _checked_hw(session, self.limits)
        video.session.close()
        video.session, video.folder, video.path = session, folder, path
        video.times = uneven_times(session.frames)
        video.frames, video.hw = session.frames.length or 0, hw

    def picture(self, video: OpenVideo, frame: int) -> UintImage | None:
        """A frame (H, W, 3) to be looked at; in the viewing thread. None where there is none."""
        if video.path is None:
            return None
        if video.viewer is None:
            video.viewer = open_source(video.path)
        return video.viewer.read(frame)

    def find(self, name: str) -> OpenVideo:
        """An open session, which counts as asked. Raises Refusal (404)."""
        self.end_old()
        video = self._open.get(name)
        if video is None:
            raise _closed(name)
        video.asked = self._clock()
        return video

    def seconds_left(self, video: OpenVideo) -> float:
        """Until the session is closed where nobody asks it any more."""
        now, limits = self._clock(), self.limits
        idle = video.asked + limits.video_idle_seconds - now
        return max(0.0, min(idle, video.opened + limits.video_seconds - now))

    def follow(
        self, video: OpenVideo, frames: Iterator[TrackedFrame], turn: int
    ) -> TrackedFrame | None:
        """One more frame, unless a newer request or a pause came; the session counts as asked."""
        if video.turn != turn:
            return None
        video.asked = self._clock()
        return next(frames, None)

    def end(self, name: str) -> bool:
        """Close a session; whether it was open."""
        with self._lock:
            video = self._open.pop(name, None)
        if video is None:
            return False
        LOG.info("a session about a video ends, %d open", len(self._open))
        video.turn += 1

        def close() -> None:
            video.session.close()
            if video.folder is not None:
                video.folder.cleanup()

        def close_viewer() -> None:
            video.path = None
            if video.viewer is not None:
                video.viewer.close()

        self.view(close_viewer)
        self.work(close)
        return True

    def end_old(self) -> None:
        """Close the sessions whose time is over."""
        for name, video in list(self._open.items()):
            if not self.seconds_left(video):
                self.end(name)

    def _model(self) -> Model:
        model = self.inference.ready()
        return Model(queue_calls(model.runtime, self.inference.heavy, Urgency.PHOTO))


def _closed(name: str) -> Refusal:
    remedy = "open one with POST /api/videos"
    return Refusal(404, ("a session that is open", repr(name[:40]), remedy))


def _check_new(video: OpenVideo) -> None:
    if video.frames or video.objects or video.path is not None:
        message = "wanted a session about nothing yet, got one with frames; open another one"
        raise Refusal(409, message)


def _unreadable(what: str) -> Refusal:
    got = what.partition(";")[0]
    remedy = "save it as MP4 or WebM; a recording that was cut off may lack its index"
    return Refusal(422, ("a video that can be read", got, remedy))


def _checked_hw(session: VideoSession, limits: Limits) -> tuple[int, int]:
    """The size of the first frame. Raises Refusal; the session is closed then."""
    try:
        frames, image = session.frames.length or 0, session.picture(0)
        if image is None:
            raise _unreadable("one whose first frame is damaged")
        hw = (image.shape[0], image.shape[1])
        if frames > limits.video_frames or hw[0] * hw[1] > limits.pixels:
            raise Refusal(
                413,
                f"wanted a video of at most {limits.video_frames} frames of {limits.pixels} pixels,"
                f" got {frames} frames of {hw[0] * hw[1]}; send a part of it, or a smaller one",
            )
    except BaseException:
        session.close()
        raise
    return hw
