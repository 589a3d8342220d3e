"""Frame selection: a source and a stride, rate or range in, a source of those frames out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from anymask.primitives.errors import InputError
from anymask.primitives.setting import Setting, check_settings, describe_settings
from anymask.primitives.types import UintImage
from anymask.video.sources import FrameSource


@describe_settings
@dataclass(frozen=True, kw_only=True)
class FramePicks:
    """The frames of a source that count. Raises InputError for values out of range."""

    every: Annotated[int, Setting("look at every n-th frame", least=1)] = 1
    fps: Annotated[
        float | None,
        Setting("look at so many frames a second of the video, by their times", above=0),
    ] = None
    start: Annotated[
        int, Setting("the first frame of the source, counted from 0", least=0, unit="frame")
    ] = 0
    end: Annotated[
        int | None,
        Setting("the frame of the source to stop before; None: to its end", least=1, unit="frame"),
    ] = None

    def __post_init__(self) -> None:
        check_settings(self)
        if self.fps is not None and self.every != 1:
            raise InputError(f"give every ({self.every}) or fps ({self.fps:g}), not both")
        if self.end is not None and self.end <= self.start:
            raise InputError(f"end ({self.end}) must be behind start ({self.start})")


class PickedFrames:
    """A source of which only some frames count, numbered anew from 0; itself a `FrameSource`."""

    def __init__(self, source: FrameSource, picks: FramePicks) -> None:
        self.source, self.picks = source, picks
        self._chosen: list[int] | None = None
        self._closed = False
        if picks.fps is not None:
            self._chosen = _by_time(source, picks, picks.fps)

    @property
    def length(self) -> int | None:
        """Frames that count."""
        if self._chosen is not None:
            return len(self._chosen)
        last = self.source.length
        if last is None:
            return None
        last = last if self.picks.end is None else min(last, self.picks.end)
        return max(0, -(-(last - self.picks.start) // self.picks.every))

    @property
    def rate(self) -> float:
        """Frames that count a second."""
        return self.picks.fps or self.source.rate / self.picks.every

    @property
    def fault(self) -> str | None:
        """See `FrameSource`."""
        return self.source.fault

    def source_frame(self, frame: int) -> int:
        """The number in the source."""
        if self._chosen:
            return self._chosen[min(max(frame, 0), len(self._chosen) - 1)]
        return self.picks.start + frame * self.picks.every

    def nearest(self, source_frame: int) -> int:
        """The frame that counts and is nearest to one of the source."""
        if self._chosen is not None:
            away = [abs(one - source_frame) for one in self._chosen]
            return away.index(min(away))
        return max(0, round((source_frame - self.picks.start) / self.picks.every))

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
        if self.picks.end is not None and wanted >= self.picks.end:
            return None
        return self.source.read(wanted)

    def seconds(self, frame: int) -> float:
        """See `FrameSource`."""
        return self.source.seconds(self.source_frame(frame))

    def seconds_of_end(self) -> float | None:
        """When the first frame is shown that is left out at the end; None: none is known."""
        end, length = self.picks.end, self.source.length
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


def _by_time(source: FrameSource, picks: FramePicks, fps: float) -> list[int]:
    """The frame that is shown at each time, no frame twice."""
    if source.length is None:
        raise InputError("fps needs a source whose frames have times; use every for a stream")
    stop = source.length if picks.end is None else min(source.length, picks.end)
    chosen, begin, step = [], source.seconds(picks.start), 1 / fps
    wanted = begin
    slack = 1e-6
    for frame in range(picks.start, stop):
        if source.seconds(frame) + slack >= wanted:
            chosen.append(frame)
            late = source.seconds(frame) - begin
            wanted = begin + (int((late + slack) / step) + 1) * step
    return chosen
