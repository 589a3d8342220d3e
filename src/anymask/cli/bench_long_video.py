"""`anymask bench video --long N`: memory and time a frame of a tracker over a long video.

A made scene is followed: three objects of different looks that wander over a textured ground, meet
and hide each other, at 480p. It is written to an MP4 file once and played over and over, so that
decoding is part of the time, and so is drawing the masks on every frame.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import cv2
import numpy as np

from anymask.primitives.draw import overlay
from anymask.primitives.errors import InputError
from anymask.primitives.timing import Measurement
from anymask.primitives.types import BoolArray, UintImage

if TYPE_CHECKING:
    from anymask.video.session import VideoSession
    from anymask.video.sources import FrameSource

HW = (480, 854)
ROWS = 10  # that are told on the way
PERIOD = 240  # frames after which the scene begins anew, without a jump
RATE = 25.0  # frames a second of the file
_LOOKS = ((220, 70, 50), (60, 180, 75), (70, 110, 230))  # of the objects, RGB


@dataclass(frozen=True)
class LongRunRow:
    """How a session stands after some frames.

    memory   bytes of the process; None where the system does not tell
    held     arrays that the session refers to, and `nbytes` of them
    seconds  of the processor a frame, since the row before
    rate     frames a second by the clock, since then
    """

    frames: int
    memory: int | None
    held: int
    nbytes: int
    seconds: float
    rate: float


class MadeScene:
    """Three ellipses on a ground: frames by their number, the same again after PERIOD."""

    def __init__(self, hw: tuple[int, int] = HW) -> None:
        self.hw = hw
        noise = np.random.default_rng(0)
        height, width = hw
        grain = noise.integers(0, 90, (height // 8 + 1, width // 8 + 1, 3), np.uint8)
        self._ground = 70 + cv2.resize(grain, (width, height), interpolation=cv2.INTER_CUBIC)

    def picture(self, frame: int) -> UintImage:  # (H, W, 3)
        """One frame."""
        drawn = self._ground.copy()
        for number, look in enumerate(_LOOKS):
            cv2.ellipse(drawn, self._place(number, frame), look, -1)
        return np.asarray(drawn, np.uint8)

    def mask(self, number: int, frame: int = 0) -> BoolArray:  # (H, W)
        """The pixels of an object, as if nothing hid it."""
        drawn = np.zeros(self.hw, np.uint8)
        cv2.ellipse(drawn, self._place(number, frame), (1,), -1)
        return drawn > 0

    def pictures(self, frames: int) -> Iterator[UintImage]:
        """So many frames."""
        return (self.picture(frame) for frame in range(frames))

    def _place(
        self, number: int, frame: int
    ) -> tuple[tuple[float, float], tuple[float, float], float]:
        """The middle, the sides and the angle of an ellipse, as OpenCV takes them."""
        height, width = self.hw
        turn = 2 * np.pi * frame / PERIOD
        x = width * (0.5 + 0.36 * np.cos(turn + 2.1 * number))
        y = height * (0.5 + 0.3 * np.sin((1 + number) * turn + number))
        sides = (height * (0.2 + 0.04 * number), height * 0.26)
        return (float(x), float(y)), sides, 20 * number + 360 * frame / PERIOD


class LoopedFrames:
    """A source that is played over and over; see `FrameSource`."""

    fault: str | None = None

    def __init__(self, inside: FrameSource, length: int) -> None:
        self._inside, self.length, self.rate = inside, length, inside.rate

    def read(self, frame: int) -> UintImage | None:
        """See `FrameSource`."""
        inside = self._inside.length or 1
        return self._inside.read(frame % inside) if 0 <= frame < self.length else None

    def seconds(self, frame: int) -> float:
        """See `FrameSource`."""
        return frame / self.rate

    def close(self) -> None:
        """See `FrameSource`."""
        self._inside.close()


def long_figures(
    model: str, weights: str | None, tracker: str, frames: int
) -> tuple[list[Measurement], list[str]]:
    """Follow the scene; memory and time on the way are in the notes. Raises InputError."""
    from anymask import load
    from anymask.video.opening import open_session
    from anymask.video.sources import open_source

    if frames < ROWS:
        raise InputError(f"--long must be at least {ROWS}, got {frames}")
    scene, opened = MadeScene(), load(model, weights)
    with tempfile.TemporaryDirectory() as folder:
        path = write_scene(scene, Path(folder) / "scene.mp4", min(frames, PERIOD))
        source = LoopedFrames(open_source(path), frames)
        with open_session(opened, source, tracker=cast(Any, tracker)) as session:
            for number in range(len(_LOOKS)):
                session.add(frame=0, id=number + 1, mask=scene.mask(number))
            rows = list(long_rows(session, frames))
    notes = [
        f"after {row.frames} frames: {_mib(row.memory)} MiB in memory, {row.held} arrays held "
        f"({_mib(row.nbytes)} MiB), {row.seconds:.3f} s of the processor a frame, "
        f"{row.rate:.1f} frames/s"
        for row in rows
    ]
    later = rows[1:]
    figures = [
        Measurement(
            "processor time a frame", tracker, float(np.median([row.seconds for row in later])), "s"
        ),
        Measurement("frames a second", tracker, float(np.median([row.rate for row in later])), ""),
        Measurement("arrays held", tracker, float(rows[-1].held), ""),
        Measurement("grown since the first row", tracker, _growth(rows), "bytes"),
    ]
    return figures, notes


def write_scene(scene: MadeScene, path: Path, frames: int) -> Path:
    """The scene as a video file. Raises MissingExtra without PyAV."""
    from anymask.video.outputs import FilmWriter

    film = FilmWriter(path, RATE, "picture")
    for frame, picture in enumerate(scene.pictures(frames)):
        film.write(picture, frame / RATE)
    film.close()
    return path


def long_rows(session: VideoSession, frames: int) -> Iterator[LongRunRow]:
    """Follow to the end and draw every mask; a row after each tenth of the frames."""
    from anymask.video.holdings import held_by

    clocks, since = (time.process_time(), time.perf_counter()), 0
    for frame in session:
        picture = session.picture(frame.index)
        assert picture is not None
        overlay(picture, np.stack(list(frame.masks.values())))
        done = frame.index + 1
        if done * ROWS // frames > frame.index * ROWS // frames:
            held, count = held_by(session), done - since
            spent, passed = time.process_time() - clocks[0], time.perf_counter() - clocks[1]
            yield LongRunRow(
                done, resident_memory(), held.count, held.nbytes, spent / count, count / passed
            )
            clocks, since = (time.process_time(), time.perf_counter()), done


def resident_memory() -> int | None:
    """Bytes of this process that are in memory now; None where the system does not tell."""
    status = Path("/proc/self/status")
    if not status.is_file():
        return None
    line = next(row for row in status.read_text("ascii").splitlines() if row.startswith("VmRSS:"))
    return int(line.split()[1]) * 1024


def _mib(nbytes: int | None) -> str:
    return "?" if nbytes is None else f"{nbytes / 2**20:.1f}"


def _growth(rows: list[LongRunRow]) -> float | None:
    first, last = rows[0].memory, rows[-1].memory
    return None if first is None or last is None else float(last - first)
