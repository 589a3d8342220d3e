"""Scan sessions. They share limits, lifetimes, threads and folders with video sessions.

A scan is read in a separate process with limited memory and time. Its voxels are decompressed to a
file in the session's folder, so that slices of any format are read from disk, without keeping the
scan in memory.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
from fastapi import Request

from anymask.base import BoolArray, DataError, InputError, LimitError, brief
from anymask.masks import Color
from anymask.studio.errors import RequestError
from anymask.studio.model_routes import done, gives_up
from anymask.studio.video_sessions import OpenSession, VideoSessions
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
SCAN_EXPORT_SUFFIXES = (".nii.gz", ".seg.nrrd", ".csv")  # export suffixes of any scan
OF_SERIES = (".dcm", ".rtstruct.dcm")  # additional suffixes of a DICOM series


@brief
@dataclass(eq=False, kw_only=True)
class OpenScan(OpenSession):
    """Session of a client with a scan."""

    # Used only in the session thread; None before a scan was sent
    session: VolumeSession | None = None
    scan: Volume | None = None  # The scan as it was read, to which labels refer
    isolated: IsolatedScan = field(init=False)  # The scan that is read
    # Cached labels of all objects, one or two bytes per voxel; None after a change
    labels: Volume | None = None

    @property
    def about(self) -> VolumeSession:
        """Volume session. Raises Refusal (409) before a scan was sent."""
        if self.session is None:
            raise RequestError(409, "The session has no scan. Send the scan first.")
        return self.session

    def changed(self) -> VolumeSession:
        """Volume session, with the cached labels invalidated."""
        self.labels = None
        return self.about

    def planes(self, at: Sequence[int]) -> list[tuple[int, int, dict[int, BoolArray]]]:
        """Labels on the three slices through a voxel z, y, x: (axis, slice, masks by object).

        Call in the session thread. Raises InputError if the voxel is outside the scan.
        """
        shape = self.about.volume.shape
        if any(index >= side for index, side in zip(at, shape, strict=True)):
            raise InputError(
                f"The voxel {tuple(at)} is outside of the scan, which has the shape {shape}."
            )
        slices = []
        for axis, index in enumerate(at):
            here = np.take(self.labeled().array, index, axis=axis)
            values = [int(value) for value in np.unique(here) if value]
            slices.append((axis, index, {value: here == value for value in values}))
        return slices

    def labeled(self) -> Volume:
        """Labels of all objects. Call in the session thread."""
        if self.labels is None:
            self.labels = self.about.labels()
        return self.labels

    def named(self, names: Mapping[int, str], colors: Mapping[int, Color]) -> Volume:
        """Labels with names and colors. Call in the session thread.

        Raises Refusal (422) if there are no objects.
        """
        if not self.about.objects:
            raise RequestError(422, "The scan has no object. Click an object first.")
        known = self.labeled()
        return Volume(known.array, known.affine, names, colors)

    @property
    def endings(self) -> list[str]:
        """Supported export suffixes."""
        try:
            series_of(self.scan)  # type: ignore[arg-type]  # called only with a scan
        except (InputError, DataError):  # not DICOM, or without a frame of reference
            return [*SCAN_EXPORT_SUFFIXES]
        dicom = OF_SERIES if importlib.util.find_spec("highdicom") else OF_SERIES[1:]
        return [*SCAN_EXPORT_SUFFIXES, *dicom]

    def begin(self, videos: VideoSessions) -> None:
        VolumeSettings(**self.settings)  # validated before there is a scan

    async def read(
        self, videos: VideoSessions, request: Request, frame: int | None, detached: bool,
        path: Path, folder: Path,
    ) -> None:  # fmt: skip
        """Read a scan in a separate process, which ends if the client disconnects.

        Raises Refusal (413, 422, 499, 503), InputError, MissingExtra.

        Args:
            frame: Index of the volume in a 4-D file.
            detached: Whether the voxels may be in another file than the header.
        """
        limits, left = videos.limits, Event()
        self.isolated = IsolatedScan(
            path, folder, limits.volume_bytes, limits.volume_seconds, frame, detached
        )

        def read(stopped: Callable[[], bool]) -> None:
            try:
                self.isolated.read(lambda: left.is_set() or stopped())
            except LimitError as error:
                size = f"{error.size} bytes" if error.size else str(error)
                raise RequestError(
                    413,
                    f"The scan is too large ({size}): at most {limits.volume_bytes} bytes of "
                    f"voxels, read in {limits.volume_seconds:g} seconds, are allowed "
                    "(volume_megabytes, volume_seconds).",
                ) from error
            except DataError as error:
                why = str(error).replace(repr(path.name), "it").rstrip(".")
                raise RequestError(
                    422, f"The scan cannot be read: {why}. Save it as NIfTI or zipped DICOM."
                ) from error

        reading = videos.read(read, self)
        try:
            async with gives_up(request, reading, left):
                await done(reading)
        finally:
            left.set()  # the request may have been cancelled

    def take(self, videos: VideoSessions, path: Path) -> None:
        unpacked, self.scan = self.isolated.load()
        self.session = open_volume_session(videos.model, unpacked, **self.settings)

    def change_window(self, videos: VideoSessions, window: tuple[float, float]) -> None:
        """Change the intensity window before any prompt. Call in the session thread.

        Raises Refusal (409), InputError.
        """
        check_window(window)
        session = self.changed()
        if window == session.window:
            return
        if session.objects:
            raise RequestError(
                409, "The scan has objects. Remove them before you change the window."
            )
        settings = self.settings | {"window": window}
        self.session = open_volume_session(videos.model, session.volume, **settings)
        session.close()
        self.settings = settings

    def state(self, videos: VideoSessions) -> dict[str, Any]:
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
            "known": {str(number): self.about.slice_ranges(number) for number in objects},
            "seconds_left": videos.seconds_left(self),
        }

    def remove(self, number: int) -> None:
        self.changed().remove(number)

    def close(self) -> None:
        if self.session is not None:
            self.session.close()
