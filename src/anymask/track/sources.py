"""Video frames by index: from a file, folder, list, generator or camera.

Video files, folders of images and lists support random access; generators and cameras can only be
read forward. Frames are (H, W, 3) uint8, upright, and read on demand. Sessions use `SampledFrames`,
a subset of the frames of a source.
"""

from __future__ import annotations

import bisect
import io
import itertools
import re
import shlex
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from anymask.base import (
    DamagedImageError,
    DataError,
    ImageError,
    InputError,
    UintImage,
    need_packages,
)
from anymask.images import (
    TIFF,
    ImageFile,
    ImageSource,
    check_size,
    find_images,
    is_georeferenced,
    load_image,
    read_pages,
    suggest_command,
    suggest_single_image,
)
from anymask.track.records import in_ranges
from anymask.track.settings import FrameSampling

FRAME_SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".avif", ".jp2", ".gif"}
)
MAX_CACHED_FRAMES = 16  # cached frames, so that reading backward decodes each frame at most twice
KEPT_BYTES = 512 << 20  # maximum cache size; reduces the number of large frames
DEFAULT_RATE = 25.0  # frames per second of sources without times
LATE = 3  # frames to buffer after a gap, because the decoder may return the missing one late
MIN_MISSING = 0.02  # minimum share of missing frames to report; headers are rounded
_MAX_GAPS = 10_000_000  # maximum number of frames after filling the gaps of a damaged video
_DURATION = re.compile(r"\d+:\d+:\d+(\.\d+)?")
_NO_FRAMES = (np.ndarray, bytes, bytearray, memoryview, Mapping, Set, io.IOBase)  # not frames


class FrameSource(Protocol):
    """Frames by index.

    A source may have the attribute `missing`: indices of damaged frames. `read` returns None for
    them, and later frames keep their indices and times. The attribute `files`, its paths,
    identifies the video of a stored session.

    Attributes:
        length: Number of frames, or None if unknown.
        rate: Mean frames per second.
        error: Reason why the frames end early, or None.
    """

    @property
    def length(self) -> int | None: ...

    @property
    def rate(self) -> float: ...

    @property
    def error(self) -> str | None: ...

    def read(self, frame: int) -> UintImage | None:
        """Read a frame (H, W, 3). None after the last one. Raises InputError if it is gone."""
        ...

    def seconds(self, frame: int) -> float:
        """Presentation time of a frame in seconds, relative to the first one."""
        ...

    def close(self) -> None:
        """Release files and devices."""
        ...


class ListedFrames:
    """Images with random access: paths, pages, arrays or PIL images.

    Attributes:
        files: Files of the images; empty if one is not a file.
        names: File names, if all images are files and their names without suffix are unique.
        missing: Indices of files that could not be decoded, among those read.
    """

    error: str | None = None
    rate = DEFAULT_RATE

    def __init__(self, images: Sequence[ImageSource | ImageFile]) -> None:
        self._images = images
        self.missing: set[int] = set()
        files = [image.path if isinstance(image, ImageFile) else image for image in images]
        paths = [Path(file) for file in files if isinstance(file, str | Path)]
        self.files = tuple(dict.fromkeys(paths)) if len(paths) == len(images) else ()
        unique = len({path.stem.lower() for path in paths}) == len(images)
        self.names = tuple(path.name for path in paths) if unique else ()

    @property
    def length(self) -> int:
        return len(self._images)

    def read(self, frame: int) -> UintImage | None:
        """Read a frame. Raises ImageError for a file that is not an image."""
        if frame in self.missing or not 0 <= frame < len(self._images):
            return None
        try:
            image = self._images[frame]
            return image.read() if isinstance(image, ImageFile) else load_image(image)
        except DamagedImageError:
            self.missing.add(frame)
            return None

    def seconds(self, frame: int) -> float:
        return frame / self.rate

    def close(self) -> None:
        """Do nothing: no file is open."""


class FrameStream:
    """Frames that can be read once, in order. The last one stays available."""

    length: int | None = None
    error: str | None = None
    rate = DEFAULT_RATE

    def __init__(self, images: Iterable[Any]) -> None:
        self._coming = iter(images)
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
            if (image := next(self._coming, None)) is None:
                return None
            self._frame, self._last = self._frame + 1, load_image(image)
        return self._last

    def seconds(self, frame: int) -> float:
        return frame / self.rate

    def close(self) -> None:
        if close := getattr(self._coming, "close", None):
            close()


class PushedFrames(FrameStream):
    """Frames passed one at a time by the caller."""

    def __init__(self) -> None:
        self._pushed: list[UintImage] = []
        # None while no frame was passed
        super().__init__(self._pushed.pop(0) if self._pushed else None for _ in itertools.count())

    def push(self, image: Any) -> None:
        """Add the next frame. Raises ImageError."""
        self._pushed.append(load_image(image))


class VideoFile:
    """Frames of one video file, decoded by PyAV, upright and with exact times. See `FrameSource`.

    The constructor reads the times of all frames from the packets, without decoding. Frames are
    decoded on demand: the next one directly, any other one from the previous key frame. Damaged
    packets are skipped. Frames that they contained are `missing`, among those read; all others
    keep their indices and times.

    Raises DataError if the file has no readable video, ImageError for frames of more than
    MAX_PIXELS, MissingExtra without PyAV.
    """

    def __init__(self, path: Path) -> None:
        self._av = import_av()
        self.path, self.files = path, (path,)
        self.error: str | None = None
        self.missing: set[int] = set()
        self._doubled: dict[int, int] = {}  # time stamp shared by two frames -> time of the second
        _refuse_playlist(path)
        try:
            self._container: Any = self._av.open(str(path), metadata_errors="replace")
            self._stream: Any = self._container.streams.video[0]
            hw = self._stream.height, self._stream.width  # from the header
        except (self._av.error.FFmpegError, IndexError, OSError) as error:
            raise _no_video(
                path, getattr(error, "strerror", None) or str(error) or type(error).__name__
            ) from error
        except AttributeError as error:  # PyAV has no stream attributes if FFmpeg lacks the decoder
            raise _no_video(path, "no decoder for the codec of the video") from error
        if max(hw):
            check_size(hw, str(path))
        self._most = max(1, min(MAX_CACHED_FRAMES, KEPT_BYTES // max(3 * hw[0] * hw[1], 1)))
        self._stream.thread_type = "AUTO"
        # AVI has no time stamps for frames stored out of presentation order.
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
        self._next = -1  # next frame of the decoder
        self._reached = -1  # last decoded frame since the last seek
        self._landed: int | None = None  # time stamp of the first packet after the last seek
        self._kept: OrderedDict[int, UintImage] = OrderedDict()

    @property
    def length(self) -> int:
        """Number of frames; decreases when damage is found."""
        return len(self._times)

    @property
    def rate(self) -> float:
        """Mean frames per second."""
        if self._stream.average_rate:
            return float(self._stream.average_rate)
        span = self.seconds(self.length - 1)
        return (self.length - 1) / span if span > 0 else DEFAULT_RATE

    def seconds(self, frame: int) -> float:
        """Presentation time of a frame in seconds, relative to the first one."""
        index = min(max(frame, 0), len(self._times) - 1)
        return float((self._times[index] - self._times[0]) * self._stream.time_base)

    def read(self, frame: int) -> UintImage | None:
        """Read a frame (H, W, 3). None after the last one, and for `missing` frames."""
        if frame in self.missing or not 0 <= frame < len(self._times):
            return None
        if frame not in self._kept:
            first, jumps = frame, frame < self._next or self._next < 0
            if jumps or frame > self._next + self._most:
                jumps, backwards = True, 0 <= frame < self._next
                first = max(0, frame - self._most + 1) if backwards else frame
                self._seek(first)
            self._decode_up_to(frame, first)
            if frame not in self._kept and self._reached < frame:  # end of the stream
                self._open_again()  # without frame threading, which loses frames at damaged ends
                self._seek(frame)
                self._decode_up_to(frame, first)
            if jumps and frame not in self._kept:
                landed, back = self._landed_on(), 1
                start = before = min(landed, first)
                while start > 0 and frame not in self._kept and landed >= before:
                    start, back = max(0, before - back), 2 * back
                    self._open_again()  # reset the decoder after a damaged key frame
                    self._seek(start)
                    self._decode_up_to(frame, first)
                    landed = self._landed_on()
            self._note_missing(frame)
        return self._kept.get(frame)

    def close(self) -> None:
        """Close the file."""
        self._coming = iter(())
        self._kept.clear()
        self._container.close()

    def _scan(self) -> list[int]:
        """Time stamps of all frames, in presentation order."""
        times, packets, end, is_corrupt = set[int](), 0, 0, False
        try:
            for packet in self._container.demux(self._stream):
                packets += packet.dts is not None  # the flush packet has no dts
                if packet.pts is not None and packet.size and not packet.is_discard:
                    shown = packet.pts
                    while shown in times:  # H.264 in AVI: the last two frames share a time stamp
                        shown += packet.duration or 1
                    if shown != packet.pts:
                        self._doubled[packet.pts] = shown
                    times.add(shown)
                    is_corrupt |= packet.is_corrupt
                    end = max(end, shown + (packet.duration or 0))
        except self._av.error.FFmpegError:
            self.error = f"{self.path} is damaged"
        promised = self._promised(packets, float(end * self._stream.time_base)) if times else None
        if promised is not None and self.error is None:
            self.error = (
                f"{self.path} is truncated: {len(times)} of about {promised} frames are readable"
            )
        return self._with_gaps(sorted(times)) if is_corrupt else sorted(times)

    def _with_gaps(self, times: list[int]) -> list[int]:
        """Fill gaps in the times of a video with a constant frame rate, and mark them as missing.

        A damaged transport stream lacks the packets of these frames.
        """
        steps = np.diff(times)
        step = int(np.median(steps)) if len(steps) else 0
        counts = np.rint(steps / max(step, 1)).astype(int)
        if not step or (np.abs(steps - counts * step) > step / 4).any() or counts.sum() > _MAX_GAPS:
            return times
        filled = times[:1]
        for time, count in zip(times[1:], counts.tolist(), strict=True):
            gone = [time - step * n for n in range(count - 1, 0, -1)]
            self.missing.update(range(len(filled), len(filled) + len(gone)))
            filled += [*gone, time]
        return filled

    def _promised(self, packets: int, seconds: float) -> int | None:
        """Number of frames stated in the header, if clearly fewer can be read.

        Matroska states the duration of a stream, MP4 the number of packets. The number in AVI files
        is unreliable: it may count ticks of a finer clock.

        Args:
            packets: Number of packets read.
            seconds: Time at which the last frame ends.
        """
        if "mp4" in self._container.format.name:
            stated = int(self._stream.frames)
            return stated if packets < stated else None
        duration = self._stream.metadata.get("DURATION", "")  # such as 00:00:04.000000000
        if not _DURATION.fullmatch(duration) or not self._stream.average_rate:
            return None
        hours, minutes, rest = (float(part) for part in duration.split(":"))
        length = hours * 3600 + minutes * 60 + rest
        rate = float(self._stream.average_rate)
        short = length - seconds > max(2 / rate, MIN_MISSING * length)
        return round(length * rate) if short else None

    def _seek(self, frame: int) -> None:
        try:
            if self._unordered or "mpegts" in self._container.format.name:
                # Seeking in a transport stream may end after the frame.
                raise self._av.error.FFmpegError(0, "no index")
            self._container.seek(self._times[frame], stream=self._stream)
        except self._av.error.FFmpegError:  # no seeking: read from the start
            self._open_again()
        self._kept.clear()
        self._coming = _in_order(self._decode_frames())
        self._next, self._reached, self._landed = frame, -1, None

    def _open_again(self) -> None:
        self._container.close()
        self._container = self._av.open(str(self.path), metadata_errors="replace")
        self._stream = self._container.streams.video[0]

    def _landed_on(self) -> int:
        return 0 if self._landed is None else bisect.bisect_left(self._times, self._landed)

    def _decode_up_to(self, frame: int, first: int) -> None:
        for index, image in self._coming:
            self._reached = index
            if index >= min(first, frame):
                self._kept[index] = image
                while len(self._kept) > self._most:
                    self._kept.popitem(last=False)
            if index >= frame:
                self._next = index + 1
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
                images = packet.decode()
            except (self._av.error.FFmpegError, EOFError):
                if packet.pts in fed:
                    fed.remove(packet.pts)
                continue  # frames are valid again from the next key frame on
            for image in images:
                shown = image.pts
                if self._unordered:
                    shown = fed.pop(0) if fed else None
                elif shown == last:
                    shown = self._doubled.get(shown, shown)
                last = image.pts
                if shown is None or image.is_corrupt:
                    continue
                index = bisect.bisect_left(self._times, shown)
                if index < len(self._times) and self._times[index] == shown:
                    yield index, _upright(image)

    def _packets(self) -> Iterator[Any]:
        try:
            for packet in self._container.demux(self._stream):
                self._landed = packet.pts if self._landed is None else self._landed
                yield packet
        except (self._av.error.FFmpegError, EOFError):
            self.error = f"{self.path} is damaged"

    def _note_missing(self, frame: int) -> None:
        """Mark a skipped frame as missing, or truncate the video if no later frame is readable."""
        if frame in self._kept:
            return
        if self._reached > frame:
            self.missing.update(range(frame, self._reached))
            return
        last = frame - 1 if self._reached < 0 else self._reached
        reason = self.error or f"{self.path} is truncated or damaged"
        self.error = f"{reason}: {last + 1} of {len(self._times)} frames are readable"
        del self._times[max(last + 1, 1) :]


def _in_order(frames: Iterator[tuple[int, UintImage]]) -> Iterator[tuple[int, UintImage]]:
    """Sort frames by index. The decoder may return missing frames late."""
    held: list[tuple[int, UintImage]] = []
    last: int | None = None
    for frame in frames:
        held.append(frame)
        held.sort(key=lambda one: one[0])
        while held and (last is None or held[0][0] <= last + 1 or len(held) > LATE):
            last = held[0][0]
            yield held.pop(0)
    yield from held


def _upright(image: Any) -> UintImage:
    """Convert to 8-bit RGB and apply the rotation of the file."""
    # PyAV before 18 uses the matrix of a frame only if a range is given, too.
    array = image.to_ndarray(format="rgb24", dst_color_range=2)
    turns = round(getattr(image, "rotation", 0) / 90) % 4
    return np.ascontiguousarray(np.rot90(array, turns), np.uint8)


def _no_video(path: Path, reason: str) -> DataError:
    if message := suggest_command(path, "video"):
        return DataError(message)
    return DataError(
        f"{path} is not a readable video ({reason}). Choose a video or a folder of "
        "images. An interrupted recording may lack its index."
    )


def _refuse_playlist(path: Path) -> None:
    """Raise DataError for playlists, whose files or URLs FFmpeg would open."""
    try:
        with path.open("rb") as file:
            head = file.read(1024)
    except OSError:
        return  # reported when the file is opened
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    starts = (b"ffconcat", b"#EXTM3U", b"v=0\r", b"v=0\n", b"[playlist]")
    if text.startswith(starts) or b"<MPD" in text:
        raise DataError(
            f"{path} is a playlist that refers to other files, not a video. Join them in one video "
            f"first: ffmpeg -i {shlex.quote(str(path))} -c copy video.mp4"
        )


def import_av() -> Any:
    """Import PyAV. Raises MissingExtra."""
    need_packages(("av",), "video", "Reading and writing videos")
    import av

    return av


def open_source(source: Any) -> FrameSource:
    """Open a source of frames.

    Args:
        source: Video file, multi-page TIFF, folder of images in natural order, list or generator
            of images, or camera number. None: frames are passed to `VideoSession.step`.

    Raises:
        DataError: The file is not a video, or the folder contains no images.
        InputError: The source has no frames.
        MissingExtra: A video file requires PyAV.
    """
    if source is None:
        return PushedFrames()
    if isinstance(source, int) and not isinstance(source, bool):
        return FrameStream(_camera(source))
    if isinstance(source, str | Path):
        path = Path(source).expanduser()
        if path.is_dir():
            return ListedFrames(frame_files(path))
        if not path.exists():
            raise DataError(
                f"{str(path)!r} does not exist. Pass a video file or a folder of images."
            )
        if path.suffix.lower() not in FRAME_SUFFIXES:
            return VideoFile(path)
        pages = read_pages(path).count
        if pages == 1:
            raise DataError(suggest_single_image(path, "video", is_map=is_georeferenced(path)))
        if path.suffix.lower() not in TIFF:
            raise DataError(
                f"{str(path)!r} is an animated image, not a video. Convert it to a video with "
                "ffmpeg."
            )
        return ListedFrames([ImageFile(path, page) for page in range(pages)])
    if all(hasattr(source, name) for name in ("read", "seconds", "length", "error")):
        return source  # a custom FrameSource
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


def frame_files(folder: Path) -> list[Path]:
    """Images in a folder, or in its only subfolder with images, in natural order."""
    folders: dict[Path, list[Path]] = {}
    for path in find_images(folder):
        folders.setdefault(path.parent, []).append(path)
    if not folders:
        raise DataError(
            suggest_command(folder, "image")
            or f"{folder} contains no images. Pass a folder of frames or a video file."
        )
    if folder not in folders and len(folders) > 1:
        some = ", ".join(map(str, sorted(folders)[:3])) + ", ..." * (len(folders) > 3)
        raise DataError(
            f"The images in {folder} are in {len(folders)} folders ({some}). Pass the folder with "
            "the frames of one video."
        )
    return sorted(folders.get(folder) or next(iter(folders.values())), key=natural_order)


def natural_order(path: Path) -> list[tuple[int, str]]:
    """Sort key that orders 2.png before 10.png."""
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
            arrived, image = camera.read()
            if not arrived:
                return
            yield np.asarray(image[..., ::-1], np.uint8)
    finally:
        camera.release()


# Frame sampling.


class SampledFrames:
    """Subset of the frames of a source, renumbered from 0. Implements `FrameSource`."""

    def __init__(self, source: FrameSource, sampling: FrameSampling) -> None:
        self.source, self.sampling = source, sampling
        self._closed = False
        self._chosen = None if sampling.fps is None else _by_time(source, sampling, sampling.fps)

    def __repr__(self) -> str:
        return f"<SampledFrames: {self.length or 'unknown number'} of {type(self.source).__name__}>"

    @property
    def length(self) -> int | None:
        """Number of sampled frames, or None if unknown."""
        if self._chosen is not None:
            return len(self._chosen)
        last = self.source.length
        if last is None:
            return None
        last = last if self.sampling.end is None else min(last, self.sampling.end)
        return max(0, -(-(last - self.sampling.start) // self.sampling.every))

    @property
    def rate(self) -> float:
        """Sampled frames per second."""
        return self.sampling.fps or self.source.rate / self.sampling.every

    @property
    def error(self) -> str | None:
        return self.source.error

    def is_missing(self, frame: int) -> bool:
        """Whether a frame is known to be damaged."""
        return self.source_frame(frame) in getattr(self.source, "missing", ())

    @property
    def damage(self) -> str | None:
        """Message about unreadable frames of the source so far, or None."""
        if not (missing := sorted(getattr(self.source, "missing", ()))):
            return self.error
        listed = in_ranges(missing)
        some = f"Frame {listed} is" if len(missing) == 1 else f"Frames {listed} are"
        length = self.source.length or 0
        count = f"{length - len(missing)} of {length} frames can be decoded"
        message = f"{some} damaged and skipped: {count}"
        return message if self.error is None else f"{self.error}. {message}"

    def source_frame(self, frame: int) -> int:
        """Frame index in the source."""
        if self._chosen:
            return self._chosen[min(max(frame, 0), len(self._chosen) - 1)]
        return self.sampling.start + frame * self.sampling.every

    def nearest(self, source_frame: int) -> int:
        """Sampled frame nearest to a source frame."""
        if self._chosen is not None:
            away = [abs(index - source_frame) for index in self._chosen]
            return away.index(min(away))
        return max(0, round((source_frame - self.sampling.start) / self.sampling.every))

    def name(self, frame: int) -> str:
        """Image file name of a frame, if the source has `names`; else empty."""
        names, index = getattr(self.source, "names", ()), self.source_frame(frame)
        return str(names[index]) if 0 <= index < len(names) else ""

    def read(self, frame: int) -> UintImage | None:
        """Read a frame. Raises InputError after `close`."""
        if self._closed:
            raise InputError("This video is closed. Use its session inside the `with` block.")
        if frame < 0 or (self._chosen is not None and frame >= len(self._chosen)):
            return None
        requested = self.source_frame(frame)
        if self.sampling.end is not None and requested >= self.sampling.end:
            return None
        return self.source.read(requested)

    def seconds(self, frame: int) -> float:
        return self.source.seconds(self.source_frame(frame))

    def seconds_of_end(self) -> float | None:
        """Presentation time of the first source frame after `end`; None without one."""
        end, length = self.sampling.end, self.source.length
        left_out = end is not None and length is not None and end < length
        return self.source.seconds(end) if end is not None and left_out else None

    def close(self) -> None:
        self._closed = True
        self.source.close()


def first_readable(frames: SampledFrames) -> int | None:
    """Index of the first frame that can be decoded, or None."""
    frame = 0
    while frames.read(frame) is None:
        if not frames.is_missing(frame):
            return None
        frame += 1
    return frame


def _by_time(source: FrameSource, sampling: FrameSampling, fps: float) -> list[int]:
    """Source frame shown at each sampling time, without duplicates."""
    if source.length is None:
        raise InputError(
            "Option fps requires a source with timestamps. Use option every for a stream."
        )
    stop = source.length if sampling.end is None else min(source.length, sampling.end)
    chosen, begin, step, slack = [], source.seconds(sampling.start), 1 / fps, 1e-6
    requested = begin
    for frame in range(sampling.start, stop):
        if source.seconds(frame) + slack >= requested:
            chosen.append(frame)
            late = source.seconds(frame) - begin
            requested = begin + (int((late + slack) / step) + 1) * step
    return chosen
