"""Video reading by PyAV: a file in, upright RGB frames by number with exact times out.

The times of all frames are read first, from the packets, which decodes nothing. A frame is then
decoded when it is asked for: the next one at once, another one from the key frame before it.
"""

from __future__ import annotations

import bisect
import re
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from anymask.data.pixels import check_size
from anymask.primitives.errors import DataError, MissingExtra
from anymask.primitives.types import UintImage

KEPT = 16  # frames that are kept, so that reading backwards decodes each frame once or twice
KEPT_BYTES = 512 << 20  # of large frames fewer are kept
DEFAULT_RATE = 25.0
LEAST_MISSING = 0.02  # of a video's length, from which on it is told; headers are rounded
_DURATION = re.compile(r"\d+:\d+:\d+(\.\d+)?")


class VideoFile:
    """The frames of one video file; see `sources.FrameSource`.

    Raises DataError for a file without a video that can be read, ImageError for frames of more
    than MAX_PIXELS, MissingExtra without PyAV.
    """

    def __init__(self, path: Path) -> None:
        self._av = import_av()
        self.path = path
        self.fault: str | None = None
        try:
            self._container: Any = self._av.open(str(path))
            self._stream: Any = self._container.streams.video[0]
            hw = self._stream.height, self._stream.width  # before a frame is decoded
        except (self._av.error.FFmpegError, IndexError, OSError) as error:
            raise _no_video(path, _reason_of(error)) from error
        except AttributeError as error:  # PyAV, where FFmpeg knows the kind and has no decoder
            raise _no_video(path, "there is no decoder for it") from error
        if max(hw):
            check_size(hw, str(path))
        self._most = max(1, min(KEPT, KEPT_BYTES // max(3 * hw[0] * hw[1], 1)))
        self._stream.thread_type = "AUTO"
        self._times = self._scan()
        if not self._times:
            raise DataError(f"{path} holds no frame; it was cut off before the first one")
        self._coming: Iterator[tuple[int, UintImage]] = iter(())
        self._next = -1  # the frame that comes next
        self._kept: OrderedDict[int, UintImage] = OrderedDict()

    @property
    def length(self) -> int:
        """Frames in all; fewer once a fault was met."""
        return len(self._times)

    @property
    def rate(self) -> float:
        """Frames a second on average."""
        if self._stream.average_rate:
            return float(self._stream.average_rate)
        span = self.seconds(self.length - 1)
        return (self.length - 1) / span if span > 0 else DEFAULT_RATE

    def seconds(self, frame: int) -> float:
        """When a frame is shown, from the first one on."""
        place = min(max(frame, 0), len(self._times) - 1)
        return float((self._times[place] - self._times[0]) * self._stream.time_base)

    def read(self, frame: int) -> UintImage | None:
        """A frame (H, W, 3); None behind the last one, or behind a fault of the file."""
        if not 0 <= frame < len(self._times):
            return None
        if frame not in self._kept:
            first = frame
            if frame < self._next or self._next < 0 or frame > self._next + self._most:
                backwards = 0 <= frame < self._next
                first = max(0, frame - self._most + 1) if backwards else frame
                self._seek(first)
            self._decode_up_to(frame, first)
        return self._kept.get(frame)

    def close(self) -> None:
        """Close the file."""
        self._coming = iter(())
        self._kept.clear()
        self._container.close()

    def _scan(self) -> list[int]:
        """The time stamps of all frames, in the order in which they are shown."""
        times, packets, end = set(), 0, 0
        try:
            for packet in self._container.demux(self._stream):
                packets += packet.dts is not None  # the last one stands for the end
                if packet.pts is not None and packet.size and not packet.is_discard:
                    times.add(packet.pts)
                    end = max(end, packet.pts + (packet.duration or 0))
        except self._av.error.FFmpegError as error:
            self.fault = f"{self.path} is damaged ({_reason_of(error)})"
        promised = self._promised(packets, float(end * self._stream.time_base)) if times else None
        if promised is not None and self.fault is None:
            self.fault = (
                f"{self.path} is cut off: {len(times)} of about {promised} frames are there"
            )
        return sorted(times)

    def _promised(self, packets: int, seconds: float) -> int | None:
        """The frames that the container's header promises, where clearly fewer are there.

        packets, seconds  that were read, up to the end of the last frame

        Matroska states how long a stream is, MP4 how many packets it has. AVI's number is of no
        use: it may count ticks of a finer clock.
        """
        if "mp4" in self._container.format.name:
            stated = int(self._stream.frames)
            return stated if packets < stated else None
        length = _seconds_of(self._stream.metadata.get("DURATION", ""))
        if not length or not self._stream.average_rate:
            return None
        rate = float(self._stream.average_rate)
        short = length - seconds > max(2 / rate, LEAST_MISSING * length)
        return round(length * rate) if short else None

    def _seek(self, frame: int) -> None:
        try:
            self._container.seek(self._times[frame], stream=self._stream)
        except self._av.error.FFmpegError:  # a format without seeking: from the start
            self._container.close()
            self._container = self._av.open(str(self.path))
            self._stream = self._container.streams.video[0]
        self._kept.clear()
        self._coming = self._decode_frames()
        self._next = frame

    def _decode_up_to(self, frame: int, first: int) -> None:
        for place, image in self._coming:
            if place >= min(first, frame):
                self._kept[place] = image
                while len(self._kept) > self._most:
                    self._kept.popitem(last=False)
            if place >= frame:
                self._next = place + 1
                return
        self._end_at(frame)

    def _decode_frames(self) -> Iterator[tuple[int, UintImage]]:
        try:
            for picture in self._container.decode(self._stream):
                if picture.pts is None or picture.is_corrupt:
                    continue
                place = bisect.bisect_left(self._times, picture.pts)
                if place < len(self._times) and self._times[place] == picture.pts:
                    yield place, _upright(picture)
        except (self._av.error.FFmpegError, EOFError) as error:
            self.fault = f"{self.path} is damaged ({_reason_of(error)})"

    def _end_at(self, frame: int) -> None:
        """Remember that frames from this one on cannot be decoded."""
        last = max(self._kept, default=frame - 1)
        reason = self.fault or f"{self.path} is cut off or damaged"
        self.fault = f"{reason}: {last + 1} of {len(self._times)} frames can be read"
        del self._times[max(last + 1, 1) :]


def _upright(picture: Any) -> UintImage:
    """RGB of 8 bits, turned as the file says."""
    array = picture.to_ndarray(format="rgb24")
    turns = round(getattr(picture, "rotation", 0) / 90) % 4
    return np.ascontiguousarray(np.rot90(array, turns), np.uint8)


def _seconds_of(duration: str) -> float:
    """The seconds of "00:00:04.000000000", which Matroska has as a tag; 0 for other text."""
    if not _DURATION.fullmatch(duration):
        return 0.0
    hours, minutes, seconds = (float(part) for part in duration.split(":"))
    return hours * 3600 + minutes * 60 + seconds


def _no_video(path: Path, reason: str) -> DataError:
    return DataError(
        f"{path} holds no video that can be read ({reason}); name a video or a folder of "
        "pictures; a file whose recording was cut off may lack its index"
    )


def _reason_of(error: BaseException) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def import_av() -> Any:
    """PyAV. Raises MissingExtra."""
    try:
        import av
    except ImportError:
        raise MissingExtra("av", "video", "reading and writing video files") from None
    return av
