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
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import IO, Any, TypedDict, TypeVar

from starlette.concurrency import run_in_threadpool

from anymask.base import DataError, ImageError, UintImage, brief, lock_file
from anymask.segment import Model
from anymask.studio.errors import Refusal
from anymask.studio.inference import (
    Inference,
    QueueClosed,
    RequestAbandoned,
    Urgency,
    lower_thread_priority,
    queue_calls,
)
from anymask.studio.limits import Limits
from anymask.studio.model_routes import done
from anymask.track import (
    FrameSource,
    VideoSession,
    first_readable,
    open_session,
    open_source,
    tracking_model,
)

PREFIX = "anymask-videos-"
LOCK = "lock"
_PIECE = 1_000_000  # bytes that are written at once


class VideoFiles:
    """The folder of one server: `open` it, ask for folders of sessions, `close` it.

    Args:
        place: Where it lies; None: where the system has temporary files.
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


@dataclass(eq=False, kw_only=True)
class OpenSession:
    """One client's session, about a video or a scan.

    Attributes:
        settings: That it was begun with.
        folder: Holds the file that was sent and what is exported, and goes with the session.
        opened: When, by the clock of `VideoSessions`.
        asked: When, by the clock of `VideoSessions`.
        path: What it is about; None: nothing yet, or frames are handed over.
        written: Frames of the newest export that are in its file.
        turn: Counts the requests for masks: only the newest one is answered further.
    """

    name: str
    settings: dict[str, Any]
    opened: float
    asked: float
    folder: tempfile.TemporaryDirectory[str] | None = None
    path: Path | None = None
    turn: int = 0
    exporting: bool = False
    written: int = 0
    receiving: bool = False
    objects: set[int] = field(default_factory=set)

    def check_room(self, number: int, limits: Limits) -> None:
        """Whether an object may be another one. Raises Refusal (422)."""
        if number not in self.objects and len(self.objects) >= limits.video_objects:
            most = limits.video_objects
            raise Refusal(
                422, f"The session has the maximum of {most} objects. Open another session."
            )

    def check_new(self) -> None:
        """Raises Refusal (409) for a session that is about something already."""
        if self.objects or self.path is not None:
            message = "The session already contains a video or objects. Open a new session."
            raise Refusal(409, message)

    def state(self, videos: VideoSessions) -> dict[str, Any]:
        """What a client is told of it; in the thread of the sessions."""
        raise NotImplementedError

    def remove(self, number: int) -> None:
        """Forget an object; in the thread of the sessions."""
        raise NotImplementedError

    def close(self) -> None:
        """Let go of what is known; in the thread of the sessions."""

    def close_viewer(self) -> None:
        """Let go of what is looked at; in the viewing thread."""


@brief
@dataclass(eq=False, kw_only=True)
class OpenVideo(OpenSession):
    """One client's session about a video.

    Attributes:
        session: Worked on in the thread of `VideoSessions` alone; `settings` are of
            `Model.track`.
        viewer: Reads its frames to be looked at; used in the viewing thread alone.
        hw: Of its first frame.
        times: When each frame is shown, see `uneven_times`.
    """

    session: VideoSession
    viewer: FrameSource | None = None
    frames: int = 0
    hw: tuple[int, int] | None = None
    times: list[float] | None = None

    def check_new(self) -> None:
        """See `OpenSession`; a frame that was handed over counts, too."""
        super().check_new()
        if self.frames:
            message = "The session already has frames. Open another session."
            raise Refusal(409, message)

    def state(self, videos: VideoSessions) -> dict[str, Any]:
        """As `VideoStateBody`."""
        objects = self.session.objects
        length = self.session.frames.length  # less, once a fault was met
        return {
            "name": self.name,
            "model": videos.model.name,
            "frames": self.frames if length is None else length,
            "rate": self.session.frames.rate,
            "times": self.times,
            "size": self.hw,
            "objects": objects,
            "known": {str(number): self.session.known(number) for number in objects},
            "doubtful": [[frame, n, list(why)] for frame, n, why in self.session.doubtful()],
            "fault": self.fault,
            "seconds_left": videos.seconds_left(self),
        }

    def remove(self, number: int) -> None:
        self.session.remove(number)

    def close(self) -> None:
        self.session.close()

    def close_viewer(self) -> None:
        self.path = None
        if self.viewer is not None:
            self.viewer.close()

    @property
    def fault(self) -> str | None:
        """Which frames cannot be read, or why they end before the file does."""
        told = self.session.frames.damage
        return told if told is None else told.replace(str(self.path), "the video")


S = TypeVar("S", bound=OpenSession)


class SessionStart(TypedDict):
    """Of a new session: see `OpenSession`."""

    name: str
    opened: float
    asked: float


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

    Args:
        clips: Videos and folders of frames of the server's own, by name.
        scans: Of the server's own, by name.
        clock: Seconds, for life times.
        place: Of the files of sessions; None: where the system has temporary ones.
    """

    def __init__(
        self,
        inference: Inference,
        limits: Limits,
        clock: Callable[[], float] = time.monotonic,
        clips: Mapping[str, Path] | None = None,
        place: Path | None = None,
        scans: Mapping[str, Path] | None = None,
    ) -> None:
        self.inference, self.limits, self._clock = inference, limits, clock
        self.clips, self.files = dict(clips or {}), VideoFiles(place)
        self.scans = dict(scans or {})
        self._open: dict[str, OpenSession] = {}
        self._lock, self._stop = threading.Lock(), threading.Event()
        self._pool: ThreadPoolExecutor | None = None
        self._viewers: ThreadPoolExecutor | None = None
        self._readers: ThreadPoolExecutor | None = None

    def start(self) -> None:
        """Begin to take work, and to look for sessions that are over; files that a killed server
        left are deleted."""
        self.files.open()
        self._pool = ThreadPoolExecutor(1, "anymask-videos", lower_thread_priority)
        self._viewers = ThreadPoolExecutor(1, "anymask-viewers")
        self._readers = ThreadPoolExecutor(1, "anymask-readers")
        wait = min(LOOK_EVERY, self.limits.video_idle_seconds / 2)

        def look() -> None:
            while not self._stop.wait(wait):
                self.end_old()

        threading.Thread(target=look, name="anymask-video-ends", daemon=True).start()

    def stop(self) -> None:
        """Give up what is being read; `close` follows."""
        self._stop.set()

    def close(self) -> None:
        """Close every session."""
        self.stop()
        for name in list(self._open):
            self.end(name)
        for pool in (self._readers, self._viewers, self._pool):
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

    def read(self, job: Callable[[Callable[[], bool]], T], session: OpenSession) -> Future[T]:
        """Have something read in a thread of its own, one thing at a time.

        Args:
            job: Is given what to ask whether it is to stop: the session was closed, or the
                server ends.
        """
        assert self._readers is not None

        def stopped() -> bool:
            session.asked = self._clock()
            return self._stop.is_set() or session.name not in self._open

        def run() -> T:
            try:
                return job(stopped)
            except InterruptedError:
                if self._stop.is_set():
                    raise QueueClosed from None
                if session.name not in self._open:
                    raise _closed(session.name) from None
                raise RequestAbandoned from None

        return self._readers.submit(run)

    @property
    def names(self) -> list[str]:
        """Of the sessions that are open."""
        return list(self._open)

    def begin(self, settings: dict[str, Any], name: str | None = None) -> OpenVideo:
        """Open a session to which frames are handed; in the thread of the sessions.

        Raises Refusal (429) where too many are open, InputError and ModelError for settings.

        Args:
            name: That its client gives it: asked for twice, it is opened once.
        """
        if (known := self.opened(name, OpenVideo)) is not None:
            return known
        session = open_session(self.model, None, **settings)
        return self.admit(OpenVideo(session=session, settings=settings, **self.begun(name)))

    def opened(self, name: str | None, kind: type[S]) -> S | None:
        """The session of a name that is open. Raises Refusal (429) where too many are."""
        self.end_old()
        if name is not None and name in self._open:
            return self.find(name, kind)
        if len(self._open) >= self.limits.videos:
            raise Refusal(
                429,
                (
                    f"The server is busy: {len(self._open)} of {self.limits.videos} "
                    "video and scan sessions are open. Close one with DELETE, or "
                    "retry after the number of seconds in the Retry-After header."
                ),
                self.limits.video_idle_seconds,
            )
        return None

    def begun(self, name: str | None) -> SessionStart:
        """What a new session is begun with."""
        now = self._clock()
        return {"name": name or secrets.token_urlsafe(16), "opened": now, "asked": now}

    def admit(self, session: S) -> S:
        """Take a session among those that are open."""
        with self._lock:
            self._open[session.name] = session
        LOG.info("session opened, %d open", len(self._open))
        return session

    async def receive(
        self,
        session: S,
        stream: AsyncIterator[bytes],
        file: str,
        take: Callable[[S, Path], None],
        before: Callable[[Path, Path], Awaitable[None]] | None = None,
    ) -> None:
        """Make a session one about the file of a body, which is written as it comes in.

        Raises Refusal where something was said or handed over before, for what cannot be read, or
        where it is too large; MissingExtra for a library that is not installed.

        Args:
            file: Its name in the session's folder.
            take: Opens it; in the thread of the sessions.
            before: What is done with the file in its folder before.
        """
        session.check_new()
        if session.receiving:
            message = "Another upload to this session is running. Wait until it ends."
            raise Refusal(409, message)
        session.receiving, folder = True, self.files.session_folder()
        path = Path(folder.name) / file
        try:
            if not await write_stream(self._asking(session, stream), path):
                message = "The body is empty. Send the bytes of a file."
                raise Refusal(400, message)
            if before is not None:
                await before(path, Path(folder.name))
            await done(self.work(lambda: self.take_path(session, path, take, folder)))
        except BaseException:
            folder.cleanup()
            raise
        finally:
            session.receiving = False

    async def _asking(
        self, session: OpenSession, stream: AsyncIterator[bytes]
    ) -> AsyncIterator[bytes]:
        """A body; the session counts as asked while it comes in."""
        async for part in stream:
            session.asked = self._clock()
            yield part

    def take_own(
        self, session: S, own: Mapping[str, Path], name: str, take: Callable[[S, Path], None]
    ) -> None:
        """Make a session one about a file of the server's own; in the thread of the sessions. As
        `receive`."""
        self.take_path(session, own_file(own, name), take)

    def take_path(
        self,
        session: S,
        path: Path,
        take: Callable[[S, Path], None],
        folder: tempfile.TemporaryDirectory[str] | None = None,
    ) -> None:
        """Make a session one about a file or a folder; in the thread of the sessions. As `receive`.

        Args:
            folder: Of the session, which is made here otherwise.
        """
        folder = folder or self.files.session_folder()
        session.check_new()
        if session.name not in self._open:  # it was closed while its file came in
            folder.cleanup()
            raise _closed(session.name)
        session.folder = folder
        try:
            take(session, path)
        except BaseException:
            session.folder = None
            folder.cleanup()
            raise
        session.path = path

    def take_video(self, video: OpenVideo, path: Path) -> None:
        """Open a video or a folder of frames for its session. As `receive`."""
        try:
            session = open_session(self.model, path, **video.settings)
        except (DataError, ImageError) as error:
            raise _unreadable(str(error).replace(str(path), "the file")) from error
        hw = _checked_hw(session, self.limits)
        video.session.close()
        video.session = session
        video.times = uneven_times(session.frames)
        video.frames, video.hw = session.frames.length or 0, hw

    def picture(self, video: OpenVideo, frame: int) -> UintImage | None:
        """A frame (H, W, 3) to be looked at; in the viewing thread. None where there is none."""
        if video.path is None:
            return None
        if video.viewer is None:
            video.viewer = open_source(video.path)
        return video.viewer.read(frame)

    def shown_picture(self, video: OpenVideo, frame: int) -> UintImage | None:
        """As `picture`; for a damaged frame the last one before it, as players show it."""
        image = self.picture(video, frame)
        while image is None and frame > 0 and self.is_damaged(video, frame):
            frame -= 1
            image = self.picture(video, frame)
        return image

    def is_damaged(self, video: OpenVideo, frame: int) -> bool:
        """Whether a frame that was asked for cannot be decoded; in the viewing thread."""
        return frame in getattr(video.viewer, "missing", ())

    def find(self, name: str, kind: type[S]) -> S:
        """An open session, which counts as asked. Raises Refusal (404)."""
        self.end_old()
        session = self._open.get(name)
        if not isinstance(session, kind):
            raise _closed(name)
        session.asked = self._clock()
        return session

    def seconds_left(self, video: OpenSession) -> float:
        """Until the session is closed where nobody asks it any more."""
        now, limits = self._clock(), self.limits
        idle = video.asked + limits.video_idle_seconds - now
        return max(0.0, min(idle, video.opened + limits.video_seconds - now))

    def follow(self, video: OpenSession, frames: Iterator[T], turn: int) -> T | None:
        """One more frame, unless a newer request or a pause came; the session counts as asked."""
        if video.turn != turn:
            return None
        video.asked = self._clock()
        return next(frames, None)

    def end(self, name: str) -> bool:
        """Close a session; whether it was open."""
        with self._lock:
            session = self._open.pop(name, None)
        if session is None:
            return False
        LOG.info("session closed, %d open", len(self._open))
        session.turn += 1

        def close() -> None:
            session.close()
            if session.folder is not None:
                session.folder.cleanup()

        self.view(session.close_viewer)
        self.work(close)
        return True

    def end_old(self) -> None:
        """Close the sessions whose time is over."""
        for name, video in list(self._open.items()):
            if not self.seconds_left(video):
                self.end(name)

    @cached_property
    def model(self) -> Model:
        """What follows (`tracking_model`), whose calls wait behind clicks on photos."""
        model = tracking_model(self.inference.ready())
        return Model(queue_calls(model.runtime, self.inference.heavy, Urgency.PHOTO))


def own_file(own: Mapping[str, Path], name: str) -> Path:
    """One of the server's own files. Raises Refusal (404)."""
    if name not in own:
        known = ", ".join(sorted(own)) or "none"
        raise Refusal(404, f"The server has no file {name[:80]!r}. Available: {known}.")
    return own[name]


def _closed(name: str) -> Refusal:
    message = (
        f"The session {name[:40]!r} does not exist or was closed. Open a session with POST "
        "/api/videos or /api/volumes."
    )
    return Refusal(404, message)


def _unreadable(what: str) -> Refusal:
    message = f"The video cannot be read: {what.rstrip('.')}. Save it as MP4 or WebM."
    return Refusal(422, message)


def _checked_hw(session: VideoSession, limits: Limits) -> tuple[int, int]:
    """The size of the first frame. Raises Refusal; the session is closed then."""
    try:
        frames, first = session.frames.length or 0, first_readable(session.frames)
        image = None if first is None else session.picture(first)
        if image is None:
            raise _unreadable("No frame can be decoded")
        hw = (image.shape[0], image.shape[1])
        if frames > limits.video_frames or hw[0] * hw[1] > limits.pixels:
            raise Refusal(
                413,
                (
                    f"The video has {frames} frames of {hw[0] * hw[1]} pixels, but at "
                    f"most {limits.video_frames} frames of {limits.pixels} pixels are "
                    "allowed. Send a shorter or smaller video."
                ),
            )
    except BaseException:
        session.close()
        raise
    return hw
