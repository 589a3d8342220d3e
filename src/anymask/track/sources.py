"""Frames of a video by their number: from a file, a folder, a list, a generator or a camera.

A video file, a folder of pictures and a list can be read in any order; a generator and a camera
only forwards. Frames are (H, W, 3) uint8, upright; nothing is read before it is asked for. A
session looks at `SampledFrames`, a source of which only some frames count.
"""

from __future__ import annotations

import bisect
import io
import re
import shlex
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from anymask.base import (
    DamagedImageError,
    DataError,
    ImageError,
    InputError,
    MissingExtra,
    UintImage,
)
from anymask.images import (
    TIFF,
    Animation,
    ImageSource,
    check_size,
    find_images,
    is_geotiff,
    load_image,
    one_image_instead,
    read_pages,
    use_instead,
)
from anymask.track.records import in_ranges
from anymask.track.settings import FrameSampling

PICTURES = frozenset(
    {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".avif", ".jp2", ".gif"}
)
LIST_RATE = 25.0  # frames a second, where nobody says it
KEPT = 16  # frames that are kept, so that reading backwards decodes each frame once or twice
KEPT_BYTES = 512 << 20  # of large frames fewer are kept
DEFAULT_RATE = 25.0
_PLAYLISTS = (b"ffconcat", b"#EXTM3U", b"v=0\r", b"v=0\n", b"[playlist]")
LATE = 3  # frames behind a gap that are waited for
MIN_MISSING = 0.02  # of a video's length, from which on it is told; headers are rounded
_MAX_GAPS = 10_000_000  # frames of a damaged video
_DURATION = re.compile(r"\d+:\d+:\d+(\.\d+)?")
_NO_FRAMES = (np.ndarray, bytes, bytearray, memoryview, Mapping, Set, io.IOBase)  # to go through


class FrameSource(Protocol):
    """Frames by their number.

    A source may also have `missing`: the numbers of frames that turned out to be damaged. `read`
    returns None for them, and the frames behind keep their numbers and times.

    Attributes:
        length: Frames in all, or None while nobody knows.
        rate: Frames a second on average.
        fault: Why the frames end before the source does; None: they do not.
    """

    @property
    def length(self) -> int | None: ...

    @property
    def rate(self) -> float: ...

    @property
    def fault(self) -> str | None: ...

    def read(self, frame: int) -> UintImage | None:
        """A frame (H, W, 3); None behind the last one. Raises InputError where it is gone."""
        ...

    def seconds(self, frame: int) -> float:
        """When a frame is shown, from the first one on."""
        ...

    def close(self) -> None:
        """Let go of files and devices."""
        ...


class ListedFrames:
    """Pictures that can be opened in any order: paths, arrays, Pillow images.

    Attributes:
        names: Of the files, where all are files with names of their own, whatever their
            endings.
        missing: Frames whose files cannot be decoded, as far as they were read.
    """

    fault: str | None = None

    def __init__(self, pictures: Sequence[ImageSource], rate: float = LIST_RATE) -> None:
        self._pictures, self.rate = pictures, rate
        self.missing: set[int] = set()
        paths = [Path(one) for one in pictures if isinstance(one, str | Path)]
        own = len({path.stem.lower() for path in paths}) == len(pictures)
        self.names = tuple(path.name for path in paths) if own else ()

    @property
    def length(self) -> int:
        return len(self._pictures)

    def read(self, frame: int) -> UintImage | None:
        """See `FrameSource`. Raises ImageError for a picture that is no file of an image."""
        if frame in self.missing or not 0 <= frame < len(self._pictures):
            return None
        try:
            return load_image(self._pictures[frame])
        except DamagedImageError:
            self.missing.add(frame)
            return None

    def seconds(self, frame: int) -> float:
        return frame / self.rate

    def close(self) -> None:
        """Do nothing: no file is open."""


class PagedFrames:
    """The pages of one picture: the frames of an animation, the planes of a stack.

    Attributes:
        missing: Pages that cannot be decoded, as far as they were read.
    """

    fault: str | None = None

    def __init__(self, path: Path, count: int) -> None:
        self._path, self.length = path, count
        self.missing: set[int] = set()
        self._animation = None if path.suffix.lower() in TIFF else Animation(path)
        timed = path.suffix.lower() in (".png", ".webp") and count > 1
        times = self._animation.times() if self._animation is not None and timed else None
        self._times = times or [page / LIST_RATE for page in range(count)]
        self.rate = (count - 1) / self._times[-1] if count > 1 else LIST_RATE

    def read(self, frame: int) -> UintImage | None:
        if frame in self.missing or not 0 <= frame < self.length:
            return None
        try:
            if self._animation is None:
                return load_image(self._path, page=frame)
            found = self._animation.read(frame)
        except DamagedImageError:
            found = None
        if found is None:
            self.missing.add(frame)
        return found

    def seconds(self, frame: int) -> float:
        return self._times[min(max(frame, 0), self.length - 1)]

    def close(self) -> None:
        """Do nothing: no file is open."""


class FrameStream:
    """Frames that come once, one after the other; the last one stays at hand."""

    length: int | None = None
    fault: str | None = None

    def __init__(self, pictures: Iterable[Any], rate: float = LIST_RATE) -> None:
        self._coming, self.rate = iter(pictures), rate
        self._frame, self._last = -1, np.zeros((0, 0, 3), np.uint8)

    def read(self, frame: int) -> UintImage | None:
        if frame == self._frame:
            return self._last
        if frame < self._frame:
            raise InputError(
                f"Frame {frame} is no longer available: this source can be read only once, and is "
                f"at frame {self._frame}. Use a file, a folder or a list to go back."
            )
        while self._frame < frame:
            picture = next(self._coming, None)
            if picture is None:
                return None
            self._frame, self._last = self._frame + 1, load_image(picture)
        return self._last

    def seconds(self, frame: int) -> float:
        return frame / self.rate

    def close(self) -> None:
        close = getattr(self._coming, "close", None)
        if close is not None:
            close()


class PushedFrames(FrameStream):
    """Frames that somebody hands over, one after the other."""

    def __init__(self, rate: float = LIST_RATE) -> None:
        self._pushed: list[UintImage] = []
        super().__init__(self._handed_over(), rate)

    def push(self, image: Any) -> None:
        """The next frame. Raises ImageError."""
        self._pushed.append(load_image(image))

    def _handed_over(self) -> Iterator[UintImage | None]:
        while True:
            yield self._pushed.pop(0) if self._pushed else None


class VideoFile:
    """The frames of one video file, by PyAV, upright and with exact times; see `FrameSource`.

    The times of all frames are read first, from the packets, which decodes nothing. A frame is then
    decoded when it is asked for: the next one at once, another one from the key frame before it.
    Damaged packets are passed over; frames that they leave out are `missing`, as far as they were
    read, and all others keep their numbers and times.

    Raises DataError for a file without a video that can be read, ImageError for frames of more
    than MAX_PIXELS, MissingExtra without PyAV.
    """

    def __init__(self, path: Path) -> None:
        self._av = import_av()
        self.path = path
        self.fault: str | None = None
        self.missing: set[int] = set()
        self._doubled: dict[int, int] = {}  # time stamp of two frames -> when the second is shown
        _refuse_playlist(path)
        try:
            self._container: Any = self._av.open(str(path), metadata_errors="replace")
            self._stream: Any = self._container.streams.video[0]
            hw = self._stream.height, self._stream.width  # before a frame is decoded
        except (self._av.error.FFmpegError, IndexError, OSError) as error:
            raise _no_video(path, _reason_of(error)) from error
        except AttributeError as error:  # PyAV, where FFmpeg knows the kind and has no decoder
            raise _no_video(path, "no decoder for the codec of the video") from error
        if max(hw):
            check_size(hw, str(path))
        self._most = max(1, min(KEPT, KEPT_BYTES // max(3 * hw[0] * hw[1], 1)))
        self._stream.thread_type = "AUTO"
        # AVI has no time stamps for a picture that is stored before one that is shown earlier.
        self._unordered = "avi" in self._container.format.name and bool(
            self._stream.codec_context.has_b_frames
        )
        self._times = self._scan()
        if not self._times:
            raise DataError(
                f"{path} contains no frames: the file is truncated before the first "
                "one. Choose another video."
            )
        self._coming: Iterator[tuple[int, UintImage]] = iter(())
        self._next = -1  # the frame that comes next
        self._reached = -1  # the last frame that was decoded since the last seek
        self._landed: int | None = None  # time stamp of the packet that the last seek led to
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
        """A frame (H, W, 3); None behind the last one, and for one that is `missing`."""
        if frame in self.missing or not 0 <= frame < len(self._times):
            return None
        if frame not in self._kept:
            first, jumps = frame, frame < self._next or self._next < 0
            if jumps or frame > self._next + self._most:
                jumps, backwards = True, 0 <= frame < self._next
                first = max(0, frame - self._most + 1) if backwards else frame
                self._seek(first)
            self._decode_up_to(frame, first)
            if frame not in self._kept and self._reached < frame:  # the end
                self._open_again()  # without threads by frame, which lose frames at damaged ends
                self._seek(frame)
                self._decode_up_to(frame, first)
            if jumps and frame not in self._kept:
                self._decode_from_earlier(frame, first)
            self._note_missing(frame)
        return self._kept.get(frame)

    def close(self) -> None:
        """Close the file."""
        self._coming = iter(())
        self._kept.clear()
        self._container.close()

    def _scan(self) -> list[int]:
        """The time stamps of all frames, in the order in which they are shown."""
        times, packets, end, is_corrupt = set[int](), 0, 0, False
        try:
            for packet in self._container.demux(self._stream):
                packets += packet.dts is not None  # the last one stands for the end
                if packet.pts is not None and packet.size and not packet.is_discard:
                    shown = packet.pts
                    while shown in times:  # H.264 in AVI: the last two frames
                        shown += packet.duration or 1
                    if shown != packet.pts:
                        self._doubled[packet.pts] = shown
                    times.add(shown)
                    is_corrupt |= packet.is_corrupt
                    end = max(end, shown + (packet.duration or 0))
        except self._av.error.FFmpegError:
            self.fault = f"{self.path} is damaged"
        promised = self._promised(packets, float(end * self._stream.time_base)) if times else None
        if promised is not None and self.fault is None:
            self.fault = (
                f"{self.path} is truncated: {len(times)} of about {promised} frames are readable"
            )
        return self._with_gaps(sorted(times)) if is_corrupt else sorted(times)

    def _with_gaps(self, times: list[int]) -> list[int]:
        """The times with those of frames whose packets are gone, in a video of one frame rate:
        where a transport stream is damaged, its packets do not arrive at all."""
        steps = np.diff(times)
        step = int(np.median(steps)) if len(steps) else 0
        counts = np.rint(steps / max(step, 1)).astype(int)
        if not step or (np.abs(steps - counts * step) > step / 4).any() or counts.sum() > _MAX_GAPS:
            return times
        found = times[:1]
        for time, count in zip(times[1:], counts.tolist(), strict=True):
            gone = [time - step * place for place in range(count - 1, 0, -1)]
            self.missing.update(range(len(found), len(found) + len(gone)))
            found += [*gone, time]
        return found

    def _promised(self, packets: int, seconds: float) -> int | None:
        """The frames that the container's header promises, where clearly fewer are there.

        Matroska states how long a stream is, MP4 how many packets it has. AVI's number is of no
        use: it may count ticks of a finer clock.

        Args:
            packets: That were read, up to the end of the last frame.
            seconds: That were read, up to the end of the last frame.
        """
        if "mp4" in self._container.format.name:
            stated = int(self._stream.frames)
            return stated if packets < stated else None
        length = _seconds_of(self._stream.metadata.get("DURATION", ""))
        if not length or not self._stream.average_rate:
            return None
        rate = float(self._stream.average_rate)
        short = length - seconds > max(2 / rate, MIN_MISSING * length)
        return round(length * rate) if short else None

    def _seek(self, frame: int) -> None:
        try:
            if self._unordered or "mpegts" in self._container.format.name:
                # A transport stream is searched, and may be begun too late.
                raise self._av.error.FFmpegError(0, "no index")
            self._container.seek(self._times[frame], stream=self._stream)
        except self._av.error.FFmpegError:  # a format without seeking: from the start
            self._open_again()
        self._kept.clear()
        self._coming = _in_order(self._decode_frames())
        self._next, self._reached, self._landed = frame, -1, None

    def _open_again(self) -> None:
        self._container.close()
        self._container = self._av.open(str(self.path), metadata_errors="replace")
        self._stream = self._container.streams.video[0]

    def _decode_from_earlier(self, frame: int, first: int) -> None:
        """Decode a frame from the key frame before the one that the last seek led to: that one may
        be damaged, or come behind the frame (open groups of pictures)."""
        landed, back = self._landed_on(), 1
        start = before = min(landed, first)
        while start > 0 and frame not in self._kept and landed >= before:
            start, back = max(0, before - back), 2 * back
            self._open_again()  # no trace of a damaged key frame is kept
            self._seek(start)
            self._decode_up_to(frame, first)
            landed = self._landed_on()

    def _landed_on(self) -> int:
        return 0 if self._landed is None else bisect.bisect_left(self._times, self._landed)

    def _decode_up_to(self, frame: int, first: int) -> None:
        for place, image in self._coming:
            self._reached = place
            if place >= min(first, frame):
                self._kept[place] = image
                while len(self._kept) > self._most:
                    self._kept.popitem(last=False)
            if place >= frame:
                self._next = place + 1
                return

    def _decode_frames(self) -> Iterator[tuple[int, UintImage]]:
        fed, known, last = list[int](), set[int](), None
        for packet in self._packets():
            if self._unordered and packet.pts is not None and packet.size:
                again = packet.pts in known
                known.add(packet.pts)
                bisect.insort(
                    fed, self._doubled.get(packet.pts, packet.pts) if again else packet.pts
                )
            try:
                pictures = packet.decode()
            except (self._av.error.FFmpegError, EOFError):
                if packet.pts in fed:
                    fed.remove(packet.pts)
                continue  # the next key frame mends what rests on this packet
            for picture in pictures:
                shown = picture.pts
                if self._unordered:
                    shown = fed.pop(0) if fed else None
                elif shown == last:
                    shown = self._doubled.get(shown, shown)
                last = picture.pts
                if shown is None or picture.is_corrupt:
                    continue
                place = bisect.bisect_left(self._times, shown)
                if place < len(self._times) and self._times[place] == shown:
                    yield place, _upright(picture)

    def _packets(self) -> Iterator[Any]:
        try:
            for packet in self._container.demux(self._stream):
                self._landed = packet.pts if self._landed is None else self._landed
                yield packet
        except (self._av.error.FFmpegError, EOFError):
            self.fault = f"{self.path} is damaged"

    def _note_missing(self, frame: int) -> None:
        """Remember that a frame was passed over, or that no frame comes from it on."""
        if frame in self._kept:
            return
        if self._reached > frame:
            self.missing.update(range(frame, self._reached))
            return
        last = frame - 1 if self._reached < 0 else self._reached
        reason = self.fault or f"{self.path} is truncated or damaged"
        self.fault = f"{reason}: {last + 1} of {len(self._times)} frames are readable"
        del self._times[max(last + 1, 1) :]


def _in_order(frames: Iterator[tuple[int, UintImage]]) -> Iterator[tuple[int, UintImage]]:
    """Frames by their number; where one lacks, the decoder may give it late."""
    held: list[tuple[int, UintImage]] = []
    last: int | None = None
    for frame in frames:
        held.append(frame)
        held.sort(key=lambda one: one[0])
        while held and (last is None or held[0][0] <= last + 1 or len(held) > LATE):
            last = held[0][0]
            yield held.pop(0)
    yield from held


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
    if told := use_instead(path, "video"):
        return DataError(told)
    return DataError(
        f"{path} is not a readable video ({reason}). Choose a video or a folder of "
        "images. An interrupted recording may lack its index."
    )


def _refuse_playlist(path: Path) -> None:
    """Raise DataError for a text that names other files or addresses, which FFmpeg would open."""
    try:
        with path.open("rb") as file:
            head = file.read(1024)
    except OSError:
        return  # reported by what reads it
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    if text.startswith(_PLAYLISTS) or b"<MPD" in text:
        raise DataError(
            f"{path} is a playlist that refers to other files, not a video. Join them in one video "
            f"first: ffmpeg -i {shlex.quote(str(path))} -c copy video.mp4"
        )


def _reason_of(error: BaseException) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def import_av() -> Any:
    """PyAV. Raises MissingExtra."""
    try:
        import av
    except ImportError:
        raise MissingExtra("av", "video", "Reading and writing videos") from None
    return av


def open_source(source: Any) -> FrameSource:
    """Frames by their number.

    Raises DataError for a file that is no video or a folder without pictures, InputError for
    anything else that has no frames, MissingExtra for a video file without PyAV.

    Args:
        source: A video file, a picture of several pages, a folder of pictures in natural order,
            a list or a generator of pictures, a camera (its number); None: frames are handed to
            `VideoSession.step`.
    """
    if source is None:
        return PushedFrames()
    if isinstance(source, int) and not isinstance(source, bool):
        return FrameStream(_camera(source))
    if isinstance(source, str | Path):
        return _open_path(Path(source).expanduser())
    if all(hasattr(source, name) for name in ("read", "seconds", "length", "fault")):
        return source  # type: ignore[no-any-return]  # a FrameSource of the user's
    if isinstance(source, np.ndarray) and source.ndim == 4:
        return ListedFrames(list(source))
    if isinstance(source, Sequence) and not isinstance(source, _NO_FRAMES):
        return ListedFrames(source)
    if isinstance(source, Iterable) and not isinstance(source, _NO_FRAMES):
        return FrameStream(source)
    raise InputError(
        f"Invalid video source of type {type(source).__name__}. Expected a video file, a folder, "
        "a list, a generator or a camera number."
    )


def _open_path(path: Path) -> FrameSource:
    if path.is_dir():
        return ListedFrames(frame_files(path))
    if not path.exists():
        raise DataError(f"{str(path)!r} does not exist. Pass a video file or a folder of images.")
    if path.suffix.lower() not in PICTURES:
        return VideoFile(path)
    pages = read_pages(path).count
    if pages == 1:
        raise DataError(one_image_instead(path, "video", is_map=is_geotiff(path)))
    if path.suffix.lower() == ".gif" and pages > 1:
        film = VideoFile(path)  # decodes each frame once, and knows the times
        if film.length == pages:
            return film
        film.close()  # frames without times, which FFmpeg takes for one
    return PagedFrames(path, pages)


def frame_files(folder: Path) -> list[Path]:
    """The pictures that lie in a folder, or in the only folder in it that has some."""
    found: dict[Path, list[Path]] = {}
    for path in find_images(folder):
        found.setdefault(path.parent, []).append(path)
    if not found:
        if told := use_instead(folder, "image"):
            raise DataError(told)
        raise DataError(f"{folder} contains no images. Pass a folder of frames or a video file.")
    if folder not in found and len(found) > 1:
        some = ", ".join(map(str, sorted(found)[:3])) + ", ..." * (len(found) > 3)
        raise DataError(
            f"The images in {folder} are in {len(found)} folders ({some}). Pass the folder with "
            "the frames of one video."
        )
    return sorted(found.get(folder) or next(iter(found.values())), key=natural_order)


@dataclass(frozen=True)
class ClipFacts:
    """What is told of a video file: (H, W) of its frames, how many or None, how many a second."""

    hw: tuple[int, int]
    frames: int | None
    rate: float


def read_facts(path: Path) -> ClipFacts:
    """Of a video file, by its first frame. Raises DataError for what is none, MissingExtra."""
    if not path.is_file():
        raise DataError(f"{str(path)!r} is not a file. Pass a video.")
    source = SampledFrames(open_source(path), FrameSampling())
    try:
        first = first_readable(source)
        image = None if first is None else source.read(first)
        if image is None:
            raise DataError(f"{str(path)!r} contains no frames. Choose another video.")
        return ClipFacts((image.shape[0], image.shape[1]), source.length, source.rate)
    finally:
        source.close()


def natural_order(path: Path) -> list[tuple[int, str]]:
    """Sorts 2.png before 10.png."""
    parts = re.findall(r"\d+|\D+", path.as_posix())
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]


def _camera(number: int) -> Iterator[UintImage]:
    import cv2

    camera = cv2.VideoCapture(number)
    if not camera.isOpened():
        raise ImageError(
            f"Cannot open camera {number}. Check its number, and that no other program uses it."
        )
    try:
        while True:
            arrived, picture = camera.read()
            if not arrived:
                return
            yield np.asarray(picture[..., ::-1], np.uint8)
    finally:
        camera.release()


# Which frames count.


class SampledFrames:
    """A source of which only some frames count, numbered anew from 0; itself a `FrameSource`."""

    def __init__(self, source: FrameSource, sampling: FrameSampling) -> None:
        self.source, self.sampling = source, sampling
        self._chosen: list[int] | None = None
        self._closed = False
        if sampling.fps is not None:
            self._chosen = _by_time(source, sampling, sampling.fps)

    def __repr__(self) -> str:
        return f"<SampledFrames: {self.length or 'unknown number'} of {type(self.source).__name__}>"

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
        return self.source.fault

    def is_missing(self, frame: int) -> bool:
        """Whether a frame turned out to be damaged, so that it is left out."""
        return self.source_frame(frame) in getattr(self.source, "missing", ())

    @property
    def damage(self) -> str | None:
        """What of the source could not be read so far, in words; None: everything could be."""
        missing = sorted(getattr(self.source, "missing", ()))
        if not missing:
            return self.fault
        listed = in_ranges(missing)
        some = f"Frame {listed} is" if len(missing) == 1 else f"Frames {listed} are"
        length = self.source.length or 0
        count = f"{length - len(missing)} of {length} frames can be decoded"
        told = f"{some} damaged and skipped: {count}"
        return told if self.fault is None else f"{self.fault}. {told}"

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
            raise InputError("This video is closed. Use its session inside the `with` block.")
        if frame < 0 or (self._chosen is not None and frame >= len(self._chosen)):
            return None
        wanted = self.source_frame(frame)
        if self.sampling.end is not None and wanted >= self.sampling.end:
            return None
        return self.source.read(wanted)

    def seconds(self, frame: int) -> float:
        return self.source.seconds(self.source_frame(frame))

    def seconds_of_end(self) -> float | None:
        """When the first frame is shown that is left out at the end; None: none is known."""
        end, length = self.sampling.end, self.source.length
        left_out = end is not None and length is not None and end < length
        return self.source.seconds(end) if end is not None and left_out else None

    def close(self) -> None:
        self._closed = True
        self.source.close()


def first_readable(frames: SampledFrames) -> int | None:
    """The first frame that can be decoded; None where there is none."""
    frame = 0
    while frames.read(frame) is None:
        if not frames.is_missing(frame):
            return None
        frame += 1
    return frame


def _by_time(source: FrameSource, sampling: FrameSampling, fps: float) -> list[int]:
    """The frame that is shown at each time, no frame twice."""
    if source.length is None:
        raise InputError(
            "Option fps requires a source with timestamps. Use option every for a stream."
        )
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
