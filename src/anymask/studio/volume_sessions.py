"""Sessions about scans: among those about videos, with their number, life times, threads, folders.

A scan's voxels are unpacked into a file of the session's folder, so that any slice is read from the
disk, whatever the format, and nothing of the scan has to stay in memory.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from anymask.base import BoolArray, DataError, InputError
from anymask.masks import Colour
from anymask.studio.errors import Refusal
from anymask.studio.limits import Limits
from anymask.studio.video_sessions import OpenSession, VideoSessions
from anymask.volumes import (
    Volume,
    VolumeSession,
    VolumeSettings,
    check_window,
    open_volume_session,
    read_volume,
    series_of,
)

PIECE = 128 << 20  # bytes of voxels that are unpacked at once
AXES = ("z", "y", "x")
ENDINGS = (".nii.gz", ".seg.nrrd", ".csv")  # of what any scan's objects are written as
OF_SERIES = (".dcm", ".rtstruct.dcm")  # and those of a DICOM series


@dataclass(eq=False, kw_only=True)
class OpenScan(OpenSession):
    """One client's session about a scan.

    session  worked on in the thread of `VideoSessions` alone; None: no scan was given yet
    scan     as it was read, to which labels refer
    labels   of all objects, until something changes; a byte or two for each voxel
    """

    session: VolumeSession | None = None
    scan: Volume | None = None
    labels: Volume | None = None

    @property
    def about(self) -> VolumeSession:
        """The session. Raises Refusal (409) before a scan was given."""
        if self.session is None:
            raise Refusal(409, "wanted a session with a scan, got none yet; send the scan first")
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
            raise InputError(f"wanted a voxel inside of the scan {shape}, got {tuple(at)}")
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
        """The labels with names and colours; in the thread of the sessions. Raises Refusal (422)
        where nobody spoke of an object."""
        if not self.about.objects:
            message = "wanted an object that was clicked on, got a scan without one; click first"
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

    def close(self) -> None:
        """See `OpenSession`."""
        if self.session is not None:
            self.session.close()


def begin_scan(videos: VideoSessions, settings: dict[str, Any], name: str | None) -> OpenScan:
    """Open a session about a scan to come; in the thread of the sessions. As `VideoSessions.begin`.

    settings  of `Model.volume`, checked before there is a scan
    """
    VolumeSettings(**settings)
    known = videos.opened(name, OpenScan)
    if known is not None:
        return known
    return videos.admit(OpenScan(settings=settings, **videos.begun(name)))


def take_scan(
    videos: VideoSessions, open_scan: OpenScan, path: Path, frame: int | None, detached: bool
) -> None:
    """Read a scan for its session; in the thread of the sessions.

    frame     which one of several times or channels
    detached  whether the voxels may lie in another file: not in what a client sent

    Raises Refusal (413, 422), InputError, MissingExtra.
    """
    assert open_scan.folder is not None  # made before a file is taken
    try:
        scan = read_volume(path, frame=frame, detached=detached)
        check_size(scan, videos.limits)
        unpacked = unpack(scan, Path(open_scan.folder.name) / "voxels")
    except DataError as error:
        got, remedy = str(error).replace(path.name, "it"), "save it as NIfTI or a zip of DICOM"
        raise Refusal(422, ("a scan that can be read", got, remedy)) from error
    open_scan.scan = scan
    open_scan.session = open_volume_session(videos.model, unpacked, **open_scan.settings)


def check_size(scan: Volume, limits: Limits) -> None:
    """Raises Refusal (413) for a scan beyond the limits."""
    size = math.prod(scan.shape) * scan.voxels.dtype.itemsize
    if size > limits.volume_bytes:
        raise Refusal(
            413,
            f"wanted a scan of at most {limits.volume_bytes} bytes of voxels, got {size}; start "
            "the server with a larger --volume-megabytes, or send a part of it",
        )


def unpack(scan: Volume, path: Path) -> Volume:
    """A scan whose voxels lie in a file, from which slices are read."""
    kind = scan.voxels.dtype.newbyteorder("=")
    voxels = np.memmap(path, kind, "w+", shape=scan.shape)
    rows, columns = scan.shape[1:]
    step = max(1, PIECE // (rows * columns * kind.itemsize))
    for first in range(0, scan.shape[0], step):
        key = (slice(first, first + step), slice(None), slice(None))
        voxels[key] = scan.voxels[key]
    return Volume(voxels, scan.affine, source=scan.source)


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
            "wanted a scan of which nothing was said yet, got one with objects; the model sees all "
            "of them by one window: remove them first",
        )
    settings = open_scan.settings | {"window": window}
    open_scan.session = open_volume_session(videos.model, session.volume, **settings)
    session.close()
    open_scan.settings = settings
