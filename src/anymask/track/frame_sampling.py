"""Frame sampling: a source and a stride, rate or range in, a source of those frames out.

Masks are kept by the number of their frame in what a session looks at. Of other frames, or of
another video, they would be drawn without a word where they do not belong, so that a session's file
notes both. A video is known by its size and by its first frame, small and grey: it may be moved,
encoded anew or become longer.
"""

from __future__ import annotations

import json

import cv2
import numpy as np

from anymask.base import InputError, UintImage, parse_json
from anymask.track.flow import reduce_frame
from anymask.track.settings import FrameSampling
from anymask.track.sources import FrameSource
from anymask.track.store import SessionStore

SIDE = 16  # cells of a look
APART = 8.0  # of 255: mean difference of two looks from which on they show different pictures
NUMBERING = ("every", "fps", "start")  # the sampling that say which frame a number means


class SampledFrames:
    """A source of which only some frames count, numbered anew from 0; itself a `FrameSource`."""

    def __init__(self, source: FrameSource, sampling: FrameSampling) -> None:
        self.source, self.sampling = source, sampling
        self._chosen: list[int] | None = None
        self._closed = False
        if sampling.fps is not None:
            self._chosen = _by_time(source, sampling, sampling.fps)

    @property
    def length(self) -> int | None:
        """Frames that count."""
        if self._chosen is not None:
            return len(self._chosen)
        last = self.source.length
        if last is None:
            return None
        last = last if self.sampling.end is None else min(last, self.sampling.end)
        return max(0, -(-(last - self.sampling.start) // self.sampling.every))

    @property
    def rate(self) -> float:
        """Frames that count a second."""
        return self.sampling.fps or self.source.rate / self.sampling.every

    @property
    def fault(self) -> str | None:
        """See `FrameSource`."""
        return self.source.fault

    def source_frame(self, frame: int) -> int:
        """The number in the source."""
        if self._chosen:
            return self._chosen[min(max(frame, 0), len(self._chosen) - 1)]
        return self.sampling.start + frame * self.sampling.every

    def nearest(self, source_frame: int) -> int:
        """The frame that counts and is nearest to one of the source."""
        if self._chosen is not None:
            away = [abs(one - source_frame) for one in self._chosen]
            return away.index(min(away))
        return max(0, round((source_frame - self.sampling.start) / self.sampling.every))

    def name(self, frame: int) -> str:
        """The file of a frame's picture, of sources that have `names`; else empty."""
        names, place = getattr(self.source, "names", ()), self.source_frame(frame)
        return str(names[place]) if 0 <= place < len(names) else ""

    def read(self, frame: int) -> UintImage | None:
        """See `FrameSource`. Raises InputError once it is closed."""
        if self._closed:
            raise InputError("this video is closed; use its session inside its `with`")
        if frame < 0 or (self._chosen is not None and frame >= len(self._chosen)):
            return None
        wanted = self.source_frame(frame)
        if self.sampling.end is not None and wanted >= self.sampling.end:
            return None
        return self.source.read(wanted)

    def seconds(self, frame: int) -> float:
        """See `FrameSource`."""
        return self.source.seconds(self.source_frame(frame))

    def seconds_of_end(self) -> float | None:
        """When the first frame is shown that is left out at the end; None: none is known."""
        end, length = self.sampling.end, self.source.length
        left_out = end is not None and length is not None and end < length
        return self.source.seconds(end) if end is not None and left_out else None

    def close(self) -> None:
        """See `FrameSource`."""
        self._closed = True
        self.source.close()


def no_such_frame(frame: int, length: int | None) -> InputError:
    """What is wrong with a frame that cannot be looked at."""
    known = "the source has not come so far" if length is None else f"there are {length}, from 0 on"
    return InputError(f"there is no frame {frame}; {known}")


def _by_time(source: FrameSource, sampling: FrameSampling, fps: float) -> list[int]:
    """The frame that is shown at each time, no frame twice."""
    if source.length is None:
        raise InputError("fps needs a source whose frames have times; use every for a stream")
    stop = source.length if sampling.end is None else min(source.length, sampling.end)
    chosen, begin, step = [], source.seconds(sampling.start), 1 / fps
    wanted = begin
    slack = 1e-6
    for frame in range(sampling.start, stop):
        if source.seconds(frame) + slack >= wanted:
            chosen.append(frame)
            late = source.seconds(frame) - begin
            wanted = begin + (int((late + slack) / step) + 1) * step
    return chosen


def check_same_video(store: SessionStore, frames: SampledFrames) -> None:
    """Note which frames a session looks at, or compare them with those that it was begun with.

    A source that is read once and forwards is not looked at. Raises InputError for other frames.
    """
    numbering = frame_numbering(frames.sampling)
    held = store.about("frames")
    if held is not None and held != numbering:
        raise InputError(
            f"{store.path} was begun with {held}, and its masks would lie on other frames with "
            f"{numbering}; choose the frames as before, or name another file for the session"
        )
    store.tell("frames", numbering)
    first = frames.read(0) if frames.length is not None else None
    if first is None:
        return
    look, seen = store.about("look"), small_look(first)
    if look is not None and _are_apart(parse_json(look, "a look"), seen):
        raise InputError(
            f"{store.path} was begun with another video, whose first frame is another one; give "
            "that video, or name another file for the session"
        )
    store.tell("look", look or json.dumps(seen))


def frame_numbering(sampling: FrameSampling) -> str:
    """What says which frame of the source a number means, in the user's words."""
    chosen = {name: getattr(sampling, name) for name in NUMBERING}
    return ", ".join(f"{k}={v}" if v is None else f"{k}={v:g}" for k, v in chosen.items())


def small_look(image: UintImage) -> list[int]:  # (H, W, 3) -> H, W and SIDE * SIDE values
    """A frame's size, and the frame in few cells of grey."""
    cells = cv2.resize(reduce_frame(image), (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    return [*image.shape[:2], *cells.ravel().tolist()]


def _are_apart(before: list[int], now: list[int]) -> bool:
    difference = np.abs(np.subtract(before[2:], now[2:])).mean()
    return before[:2] != now[:2] or bool(difference > APART)
