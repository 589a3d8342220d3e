"""Video and scan sessions of clients, with limits of number, size and lifetime, and their files.

One thread processes all sessions frame by frame, so that several share it; model calls are queued
behind prompts. Another thread reads frames for display from a separate source, so that viewing does
not disturb tracking. Unused sessions are closed after a timeout, and their files are deleted.

Each server has a locked folder in the temporary folder of the system. An unlocked folder belongs to
a killed server, and the next server deletes it.
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
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import IO, Any, TypeVar

from starlette.concurrency import run_in_threadpool

from anymask.base import DataError, ImageError, UintImage, brief, lock_file
from anymask.segment import Model
from anymask.studio.errors import RequestError
from anymask.studio.inference import (
    Inference,
    QueueClosed,
    QueuedRuntime,
    RequestAbandoned,
    T,
    Urgency,
    lower_thread_priority,
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

TEMPORARY_PREFIX = "anymask-videos-"
LOCK = "lock"


class VideoFiles:
    """Temporary folder of one server with the folders of its sessions.

    Args:
        place: Parent folder. None: temporary folder of the system.
    """

    def __init__(self, place: Path | None = None) -> None:
        self.place = Path(tempfile.gettempdir()) if place is None else place
        self._lock: IO[bytes] | None = None
        self._folder: Path | None = None

    def open(self) -> None:
        """Delete folders of killed servers, and create the folder."""
        delete_abandoned(self.place)
        while self._lock is None:
            self._folder = Path(tempfile.mkdtemp(prefix=TEMPORARY_PREFIX, dir=self.place))
            lock = (self._folder / LOCK).open("a+b")
            lock_file(lock.fileno(), wait=False)
            if (self._folder / LOCK).exists():  # else another server has deleted it as abandoned
                self._lock = lock
            else:
                lock.close()

    def session_folder(self) -> tempfile.TemporaryDirectory[str]:
        """Create the folder of a session."""
        return tempfile.TemporaryDirectory(prefix="session-", dir=self._folder)

    def close(self) -> None:
        """Delete the folder and its content."""
        if self._lock is None or self._folder is None:
            return
        self._lock.close()
        shutil.rmtree(self._folder, ignore_errors=True)
        self._lock = self._folder = None


def delete_abandoned(place: Path) -> None:
    """Delete the folders of killed servers."""
    for folder in place.glob(f"{TEMPORARY_PREFIX}*"):
        with contextlib.suppress(OSError):  # it was just deleted, or has no lock
            ours = not hasattr(os, "getuid") or folder.lstat().st_uid == os.getuid()
            if folder.is_symlink() or not ours:
                continue
            with (folder / LOCK).open("r+b") as lock:
                abandoned = lock_file(lock.fileno(), wait=False) == "held"
            if abandoned:
                shutil.rmtree(folder, ignore_errors=True)


async def write_stream(stream: AsyncIterator[bytes], path: Path) -> int:
    """Write a request body to a file as it is received. Returns the number of bytes."""
    size, held = 0, bytearray()
    file = await run_in_threadpool(path.open, "wb")
    try:
        async for part in stream:
            held += part
            if len(held) >= 1_000_000:
                size += await run_in_threadpool(file.write, bytes(held))
                held.clear()
        return size + await run_in_threadpool(file.write, bytes(held))
    finally:
        await run_in_threadpool(file.close)


EVEN_S = 0.01  # tolerance of frame times for a constant frame rate, in seconds
LOG = logging.getLogger("anymask.studio.videos")


@dataclass(eq=False, kw_only=True)
class OpenSession:
    """Session of a client with a video, or with a scan."""

    name: str
    settings: dict[str, Any]  # Settings of the session
    opened: float  # Start time, by the clock of `VideoSessions`
    last_request: float  # Time of the last request, by the clock of `VideoSessions`
    # Folder with the uploaded file and exports, deleted with the session
    folder: tempfile.TemporaryDirectory[str] | None = None
    path: Path | None = None  # Video or scan; None: not set, or frames are sent one at a time
    frames: int = 0  # Number of frames of a video
    turn: int = 0  # Counter of mask requests; a newer request ends earlier ones
    exporting: bool = False
    written: int = 0  # Number of frames written by the latest export
    receiving: bool = False
    objects: set[int] = field(default_factory=set)

    def check_room(self, number: int, limits: Limits) -> None:
        """Raise Refusal (422) if a new object would exceed the limit."""
        most = limits.video_objects
        if number not in self.objects and len(self.objects) >= most:
            raise RequestError(
                422, f"The session has the maximum of {most} objects. Open another session."
            )

    def check_new(self) -> None:
        """Raise Refusal (409) if the session already has a file, frames or objects."""
        if self.objects or self.frames or self.path is not None:
            raise RequestError(
                409, "The session already has a file or objects. Open another session."
            )

    # Called in the session thread, except `close_viewer`.

    def begin(self, videos: VideoSessions) -> None:
        """Prepare a new session. Raises InputError, ModelError for its settings."""
        raise NotImplementedError

    def take(self, videos: VideoSessions, path: Path) -> None:
        """Use a video or scan. Raises Refusal, InputError."""
        raise NotImplementedError

    def state(self, videos: VideoSessions) -> dict[str, Any]:
        """State for the client."""
        raise NotImplementedError

    def remove(self, number: int) -> None:
        """Remove an object."""
        raise NotImplementedError

    def close(self) -> None:
        """Release the session."""

    def close_viewer(self) -> None:
        """Release the viewer. Called in the viewer thread."""


@brief
@dataclass(eq=False, kw_only=True)
class OpenVideo(OpenSession):
    """Session of a client with a video."""

    session: VideoSession = field(init=False)  # Used only in the session thread
    # Source of frames for display, used only in the viewer thread
    viewer: FrameSource | None = None
    hw: tuple[int, int] | None = None  # Size of the first frame
    # Presentation time of each frame in seconds; None for a constant frame rate
    times: list[float] | None = None

    def begin(self, videos: VideoSessions) -> None:
        self.session = open_session(videos.model, None, **self.settings)

    def take(self, videos: VideoSessions, path: Path) -> None:
        limits = videos.limits
        try:
            session = open_session(videos.model, path, **self.settings)
        except (DataError, ImageError) as error:
            raise _unreadable(str(error).replace(str(path), "the file")) from error
        try:
            frames, first = session.frames.length or 0, first_readable(session.frames)
            image = None if first is None else session.image(first)
            if image is None:
                raise _unreadable("No frame can be decoded")
            hw = (image.shape[0], image.shape[1])
            if frames > limits.video_frames or hw[0] * hw[1] > limits.pixels:
                raise RequestError(
                    413,
                    f"The video has {frames} frames of {hw[0] * hw[1]} pixels. At most "
                    f"{limits.video_frames} of {limits.pixels} pixels are allowed.",
                )
        except BaseException:
            session.close()
            raise
        self.session.close()
        self.session, self.frames, self.hw = session, frames, hw
        times = [round(session.frames.seconds(frame), 3) for frame in range(frames)]
        steps = (time - frame / session.frames.rate for frame, time in enumerate(times))
        self.times = None if all(abs(step) < EVEN_S for step in steps) else times

    def state(self, videos: VideoSessions) -> dict[str, Any]:
        objects, source = self.session.objects, self.session.frames
        return {
            "name": self.name,
            "model": videos.model.name,
            # The length decreases when damage is found
            "frames": self.frames if source.length is None else source.length,
            "rate": source.rate,
            "times": self.times,
            "size": self.hw,
            "objects": objects,
            "known": {str(number): self.session.frame_ranges(number) for number in objects},
            "doubtful": [
                [frame, n, list(why)] for frame, n, why in self.session.frames_to_review()
            ],
            "error": source.damage and source.damage.replace(str(self.path), "the video"),
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

    def image(self, frame: int) -> UintImage | None:
        """Read a frame (H, W, 3) for display, or None. Call in the viewer thread."""
        if self.path is None:
            return None
        if self.viewer is None:
            self.viewer = open_source(self.path)
        return self.viewer.read(frame)

    def is_damaged(self, frame: int) -> bool:
        """Whether a frame that was read is damaged. Call in the viewer thread."""
        return frame in getattr(self.viewer, "missing", ())


S = TypeVar("S", bound=OpenSession)


class VideoSessions:
    """Thread-safe manager of sessions. Call `start` first and `close` at the end.

    Args:
        clips: Videos and folders of frames on the server, by name.
        scans: Scans on the server, by name.
        clock: Monotonic clock in seconds, for lifetimes.
        place: Parent folder of session files. None: temporary folder of the system.
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
        self.clips, self.scans, self.files = dict(clips or {}), dict(scans or {}), VideoFiles(place)
        self._open: dict[str, OpenSession] = {}
        self._lock, self._stop = threading.Lock(), threading.Event()
        self._pool = ThreadPoolExecutor(1, "anymask-videos", lower_thread_priority)
        self._viewers = ThreadPoolExecutor(1, "anymask-viewers")
        self._readers = ThreadPoolExecutor(1, "anymask-readers")

    def start(self) -> None:
        """Start the check for expired sessions. Deletes files of killed servers."""
        self.files.open()
        wait = min(5.0, self.limits.video_idle_seconds / 2)

        def look() -> None:
            while not self._stop.wait(wait):
                self.end_old()

        threading.Thread(target=look, name="anymask-video-ends", daemon=True).start()

    def stop(self) -> None:
        """Cancel running reads. Call `close` afterwards."""
        self._stop.set()

    def close(self) -> None:
        """Close all sessions."""
        self.stop()
        for name in list(self._open):
            self.end(name)
        for pool in (self._readers, self._viewers, self._pool):
            pool.shutdown()
        self.files.close()

    def work(self, job: Callable[[], T]) -> Future[T]:
        """Run a job in the session thread."""
        return self._pool.submit(job)

    def view(self, job: Callable[[], T]) -> Future[T]:
        """Run a job in the viewer thread, which reads frames for display."""
        return self._viewers.submit(job)

    def read(self, job: Callable[[Callable[[], bool]], T], session: OpenSession) -> Future[T]:
        """Run a job in the reader thread, one at a time.

        Args:
            job: Receives a function that returns whether to stop, because the session was closed
                or the server stops.
        """

        def stopped() -> bool:
            self.touch(session)
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
        """Names of the open sessions."""
        return list(self._open)

    def begin(self, kind: type[S], settings: dict[str, Any], name: str | None = None) -> S:
        """Open a session. Call in the session thread.

        Raises Refusal (429) if too many are open, InputError and ModelError for settings.

        Args:
            name: Name from the client. An open session with this name is returned.
        """
        self.end_old()
        if name is not None and name in self._open:
            return self.find(name, kind)
        if len(self._open) >= self.limits.videos:
            raise RequestError(
                429,
                f"The server is busy: {len(self._open)} of {self.limits.videos} video and scan "
                "sessions are open. Close one with DELETE, or retry after the number of seconds "
                "in the Retry-After header.",
                self.limits.video_idle_seconds,
            )
        now, name = self._clock(), name or secrets.token_urlsafe(16)
        session = kind(name=name, settings=settings, opened=now, last_request=now)
        session.begin(self)
        with self._lock:
            self._open[name] = session
        LOG.info("session opened, %d open", len(self._open))
        return session

    async def receive(
        self,
        session: OpenSession,
        source: AsyncIterator[bytes] | Path,
        file: str = "",
        read: Callable[[Path, Path], Awaitable[None]] | None = None,
    ) -> None:
        """Use a request body, or a file or folder on the server, for a session.

        Raises Refusal if the session already has content, or the file is unreadable or too large;
        MissingExtra if a library is not installed.

        Args:
            file: Name of the uploaded file in the session's folder.
            read: Called first with the file and the session's folder.
        """
        session.check_new()
        if session.receiving:
            raise RequestError(
                409, "Another upload to this session is running. Wait until it ends."
            )
        session.receiving, folder = True, self.files.session_folder()
        path = source if isinstance(source, Path) else Path(folder.name) / file

        async def asking(stream: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
            async for part in stream:
                self.touch(session)
                yield part

        def take() -> None:
            session.check_new()
            if session.name not in self._open:  # it was closed during the upload
                raise _closed(session.name)
            session.take(self, path)
            session.folder, session.path = folder, path

        try:
            if not isinstance(source, Path) and not await write_stream(asking(source), path):
                raise RequestError(400, "The body is empty. Send the bytes of a file.")
            if read is not None:
                await read(path, Path(folder.name))
            await done(self.work(take))
        except BaseException:
            folder.cleanup()
            raise
        finally:
            session.receiving = False

    def find(self, name: str, kind: type[S]) -> S:
        """Open session, marked as used. Raises Refusal (404)."""
        self.end_old()
        session = self._open.get(name)
        if not isinstance(session, kind):
            raise _closed(name)
        self.touch(session)
        return session

    def touch(self, session: OpenSession) -> None:
        """Mark a session as used."""
        session.last_request = self._clock()

    def seconds_left(self, video: OpenSession) -> float:
        """Seconds until an unused session is closed."""
        now, limits = self._clock(), self.limits
        idle = video.last_request + limits.video_idle_seconds - now
        return max(0.0, min(idle, video.opened + limits.video_seconds - now))

    def end(self, name: str) -> bool:
        """Close a session. Returns whether it was open."""
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
        """Close expired sessions."""
        for name, video in list(self._open.items()):
            if not self.seconds_left(video):
                self.end(name)

    @cached_property
    def model(self) -> Model:
        """Tracking model (`tracking_model`), whose calls are queued behind prompts on images."""
        model = tracking_model(self.inference.ready())
        return Model(QueuedRuntime(model.runtime, self.inference.heavy, Urgency.IMAGE))


def own_file(own: Mapping[str, Path], name: str) -> Path:
    """Path of a file on the server. Raises Refusal (404)."""
    if name not in own:
        known = ", ".join(sorted(own)) or "none"
        raise RequestError(404, f"The server has no file {name[:80]!r}. Available: {known}.")
    return own[name]


def _closed(name: str) -> RequestError:
    return RequestError(
        404, f"The session {name[:40]!r} does not exist or was closed. Open a session."
    )


def _unreadable(what: str) -> RequestError:
    return RequestError(
        422, f"The video cannot be read: {what.rstrip('.')}. Save it as MP4 or WebM."
    )
