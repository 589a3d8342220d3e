"""Sessions about scans: among those about videos, with their number, life times, threads, folders.

A scan is read in a process of its own, whose memory and time are bounded. Its voxels are unpacked
into a file of the session's folder, so that any slice is read from the disk, whatever the format,
and nothing of the scan has to stay in memory.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
from fastapi import Request

from anymask.base import BoolArray, DataError, InputError, LimitError, brief
from anymask.masks import Colour
from anymask.studio.errors import Refusal
from anymask.studio.limits import Limits
from anymask.studio.model_routes import done, gives_up
from anymask.studio.video_sessions import OpenSession, VideoSessions, own_file
from anymask.volumes import (
    IsolatedScan,
    Volume,
    VolumeSession,
    VolumeSettings,
    check_window,
    open_volume_session,
    series_of,
)

AXES = ("z", "y", "x")
ENDINGS = (".nii.gz", ".seg.nrrd", ".csv")  # of what any scan's objects are written as
OF_SERIES = (".dcm", ".rtstruct.dcm")  # and those of a DICOM series


@brief
@dataclass(eq=False, kw_only=True)
class OpenScan(OpenSession):
    """One client's session about a scan.

    Attributes:
        session: Worked on in the thread of `VideoSessions` alone; None: no scan was given yet.
        scan: As it was read, to which labels refer.
        labels: Of all objects, until something changes; a byte or two for each voxel.
    """

    session: VolumeSession | None = None
    scan: Volume | None = None
    labels: Volume | None = None

    @property
    def about(self) -> VolumeSession:
        """The session. Raises Refusal (409) before a scan was given."""
        if self.session is None:
            raise Refusal(409, "The session has no scan. Send the scan first.")
        return self.session

    def changed(self) -> VolumeSession:
        """The session, of which more, or something else, will be known."""
        self.labels = None
        return self.about

    def planes(self, at: Sequence[int]) -> list[tuple[int, int, dict[int, BoolArray]]]:
        """(axis, slice, masks by object) of the three slices through a voxel z, y, x, as the labels
        have them; in the thread of the sessions. Raises InputError for one outside of the scan."""
        shape = self.about.volume.shape
        if any(index >= side for index, side in zip(at, shape, strict=True)):
            raise InputError(
                f"The voxel {tuple(at)} is outside of the scan, which has the shape {shape}."
            )
        found = []
        for axis, index in enumerate(at):
            here = np.take(self.labelled().array, index, axis=axis)
            values = [int(value) for value in np.unique(here) if value]
            found.append((axis, index, {value: here == value for value in values}))
        return found

    def labelled(self) -> Volume:
        """The labels of what is known; in the thread of the sessions."""
        if self.labels is None:
            self.labels = self.about.labels()
        return self.labels

    def named(self, names: Mapping[int, str], colours: Mapping[int, Colour]) -> Volume:
        """The labels with names and colors; in the thread of the sessions. Raises Refusal (422)
        where nobody spoke of an object."""
        if not self.about.objects:
            message = "The scan has no object. Click an object first."
            raise Refusal(422, message)
        known = self.labelled()
        return Volume(known.array, known.affine, names, colours)

    @property
    def endings(self) -> list[str]:
        """What its objects can be written as."""
        try:
            series_of(self.scan)  # type: ignore[arg-type]  # asked once there is one
        except (InputError, DataError):  # no DICOM, or one that labels cannot refer to
            return [*ENDINGS]
        dicom = OF_SERIES if importlib.util.find_spec("highdicom") else OF_SERIES[1:]
        return [*ENDINGS, *dicom]

    def state(self, videos: VideoSessions) -> dict[str, Any]:
        """As `VolumeStateBody`."""
        session = self.session
        volume = None if session is None else session.volume
        objects = [] if session is None else session.objects
        return {
            "name": self.name,
            "model": videos.model.name,
            "shape": volume and volume.shape,
            "spacing": volume and volume.spacing,
            "orientation": volume and volume.orientation,
            "window": session and session.window,
            "endings": self.endings if volume else [],
            "objects": objects,
            "known": {str(number): self.about.known(number) for number in objects},
            "seconds_left": videos.seconds_left(self),
        }

    def remove(self, number: int) -> None:
        self.changed().remove(number)

    def close(self) -> None:
        if self.session is not None:
            self.session.close()


def begin_scan(videos: VideoSessions, settings: dict[str, Any], name: str | None) -> OpenScan:
    """Open a session about a scan to come; in the thread of the sessions. As `VideoSessions.begin`.

    Args:
        settings: Of `Model.volume`, checked before there is a scan.
    """
    VolumeSettings(**settings)
    known = videos.opened(name, OpenScan)
    if known is not None:
        return known
    return videos.admit(OpenScan(settings=settings, **videos.begun(name)))


async def read_scan(
    videos: VideoSessions, open_scan: OpenScan, request: Request, asked: IsolatedScan
) -> None:
    """Read a scan in a process of its own, which ends where the client goes away.

    Raises Refusal (413, 422, 499, 503), InputError, MissingExtra.
    """
    left = Event()

    def read(stopped: Callable[[], bool]) -> None:
        try:
            asked.read(lambda: left.is_set() or stopped())
        except LimitError as error:
            raise _too_large(error, videos.limits) from error
        except DataError as error:
            why = str(error).replace(repr(asked.path.name), "it").rstrip(".")
            message = f"The scan cannot be read: {why}. Save it as NIfTI or zipped DICOM."
            raise Refusal(422, message) from error

    reading = videos.read(read, open_scan)
    try:
        async with gives_up(request, reading, left):
            await done(reading)
    finally:
        left.set()  # this request may have been cancelled


def _too_large(error: LimitError, limits: Limits) -> Refusal:
    size = f"{error.size} bytes" if error.size else str(error)
    message = (
        f"The scan is too large ({size}): at most {limits.volume_bytes} bytes of voxels, read in "
        f"{limits.volume_seconds:g} seconds, are allowed. Send a part of it, or raise the limits "
        "volume_megabytes and volume_seconds of the server."
    )
    return Refusal(413, message)


def take_scan(videos: VideoSessions, open_scan: OpenScan, asked: IsolatedScan) -> None:
    """Open a session about a scan that was read; in the thread of the sessions.

    Raises InputError.
    """
    unpacked, open_scan.scan = asked.load()
    open_scan.session = open_volume_session(videos.model, unpacked, **open_scan.settings)


async def take_own_scan(
    videos: VideoSessions, open_scan: OpenScan, request: Request, name: str, frame: int | None
) -> None:
    """Make a session one about a scan of the server's own. Raises as `read_scan`, Refusal (404)."""
    path = own_file(videos.scans, name)
    open_scan.check_new()
    folder = videos.files.session_folder()
    try:
        asked = isolated(videos.limits, path, Path(folder.name), frame, detached=True)
        await read_scan(videos, open_scan, request, asked)

        def take(session: OpenScan, _: Path) -> None:
            take_scan(videos, session, asked)

        await done(videos.work(lambda: videos.take_path(open_scan, path, take, folder)))
    except BaseException:
        folder.cleanup()
        raise


def isolated(
    limits: Limits, path: Path, folder: Path, frame: int | None, detached: bool
) -> IsolatedScan:
    """A scan to read within the limits."""
    return IsolatedScan(path, folder, limits.volume_bytes, limits.volume_seconds, frame, detached)


def take_window(videos: VideoSessions, open_scan: OpenScan, window: tuple[float, float]) -> None:
    """Have the model see the scan by another window, before anything is said of it; in the thread
    of the sessions. Raises Refusal (409), InputError."""
    check_window(window)
    session = open_scan.changed()
    if window == session.window:
        return
    if session.objects:
        raise Refusal(
            409,
            "The window cannot be changed because the scan has objects. Remove the objects first.",
        )
    settings = open_scan.settings | {"window": window}
    open_scan.session = open_volume_session(videos.model, session.volume, **settings)
    session.close()
    open_scan.settings = settings
