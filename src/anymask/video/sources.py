"""Frame sources: a video file, folder, list, generator or camera in, frames by number out.

A video file, a folder of pictures and a list can be read in any order; a generator and a camera
only forwards. Frames are (H, W, 3) uint8, upright; nothing is read before it is asked for.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from anymask.data.images import ImageSource, find_images, load_image
from anymask.data.pages import count_pages, page_times
from anymask.primitives.errors import DataError, ImageError, InputError
from anymask.primitives.types import UintImage
from anymask.video.video_file import VideoFile

PICTURES = frozenset(
    {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".avif", ".jp2", ".gif"}
)
LIST_RATE = 25.0  # frames a second, where nobody says it
_NO_FRAMES = (np.ndarray, bytes, bytearray, memoryview, Mapping, Set, io.IOBase)  # to go through


class FrameSource(Protocol):
    """Frames by their number.

    length  frames in all, or None while nobody knows
    rate    frames a second on average
    fault   why the frames end before the source does; None: they do not
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

    names  of the files, where all are files with names of their own, whatever their endings
    """

    fault: str | None = None

    def __init__(self, pictures: Sequence[ImageSource], rate: float = LIST_RATE) -> None:
        self._pictures, self.rate = pictures, rate
        paths = [Path(one) for one in pictures if isinstance(one, str | Path)]
        own = len({path.stem.lower() for path in paths}) == len(pictures)
        self.names = tuple(path.name for path in paths) if own else ()

    @property
    def length(self) -> int:
        """See `FrameSource`."""
        return len(self._pictures)

    def read(self, frame: int) -> UintImage | None:
        """See `FrameSource`. Raises ImageError for a picture that cannot be opened."""
        return load_image(self._pictures[frame]) if 0 <= frame < len(self._pictures) else None

    def seconds(self, frame: int) -> float:
        """See `FrameSource`."""
        return frame / self.rate

    def close(self) -> None:
        """See `FrameSource`."""


class PagedFrames:
    """The pages of one picture: the frames of an animation, the planes of a stack.

    times  when each is shown, in seconds; None: LIST_RATE a second
    """

    fault: str | None = None

    def __init__(self, path: Path, count: int, times: Sequence[float] | None = None) -> None:
        self._path, self.length = path, count
        self._times = times or [page / LIST_RATE for page in range(count)]
        self.rate = (count - 1) / self._times[-1] if count > 1 else LIST_RATE

    def read(self, frame: int) -> UintImage | None:
        """See `FrameSource`. Raises ImageError for a page that cannot be decoded."""
        return load_image(self._path, page=frame) if 0 <= frame < self.length else None

    def seconds(self, frame: int) -> float:
        """See `FrameSource`."""
        return self._times[min(max(frame, 0), self.length - 1)]

    def close(self) -> None:
        """See `FrameSource`."""


class FrameStream:
    """Frames that come once, one after the other; the last one stays at hand."""

    length: int | None = None
    fault: str | None = None

    def __init__(self, pictures: Iterable[Any], rate: float = LIST_RATE) -> None:
        self._coming, self.rate = iter(pictures), rate
        self._frame, self._last = -1, np.zeros((0, 0, 3), np.uint8)

    def read(self, frame: int) -> UintImage | None:
        """See `FrameSource`."""
        if frame == self._frame:
            return self._last
        if frame < self._frame:
            raise InputError(
                f"frame {frame} is gone: this source is read once and forwards, and stands at "
                f"frame {self._frame}; give a file, a folder or a list to go back"
            )
        while self._frame < frame:
            picture = next(self._coming, None)
            if picture is None:
                return None
            self._frame, self._last = self._frame + 1, load_image(picture)
        return self._last

    def seconds(self, frame: int) -> float:
        """See `FrameSource`."""
        return frame / self.rate

    def close(self) -> None:
        """See `FrameSource`."""
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


def open_source(source: Any) -> FrameSource:
    """Frames by their number.

    source  a video file, a picture of several pages, a folder of pictures in natural order, a list
            or a generator of pictures, a camera (its number); None: frames are handed to
            `VideoSession.step`

    Raises DataError for a file that is no video or a folder without pictures, InputError for
    anything else that has no frames, MissingExtra for a video file without PyAV.
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
        "wanted a video file, a folder, a list, a generator or a camera's number, got "
        f"{type(source).__name__}"
    )


def _open_path(path: Path) -> FrameSource:
    if path.is_dir():
        return ListedFrames(_pictures_of_one(path))
    if not path.exists():
        raise DataError(f"no file {str(path)!r}; name a video file or a folder of pictures")
    if path.suffix.lower() not in PICTURES:
        return VideoFile(path)
    pages = count_pages(path)
    if path.suffix.lower() == ".gif" and pages > 1:
        film = VideoFile(path)  # decodes each frame once, and knows the times
        if film.length == pages:
            return film
        film.close()  # frames without times, which FFmpeg takes for one
    timed = pages > 1 and path.suffix.lower() in (".png", ".webp")
    return PagedFrames(path, pages, page_times(path) if timed else None)


def _pictures_of_one(folder: Path) -> list[Path]:
    """The pictures that lie in a folder, or in the only folder in it that has some."""
    found: dict[Path, list[Path]] = {}
    for path in find_images(folder):
        found.setdefault(path.parent, []).append(path)
    if not found:
        raise DataError(f"{folder} holds no pictures; name a folder of frames or a video file")
    if folder not in found and len(found) > 1:
        some = ", ".join(map(str, sorted(found)[:3])) + ", ..." * (len(found) > 3)
        raise DataError(
            f"the pictures in {folder} lie in {len(found)} folders ({some}); "
            "name the one that holds the frames of one video"
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
        raise DataError(f"{str(path)!r} is no file; name a video")
    source = open_source(path)
    try:
        image = source.read(0)
        if image is None:
            raise DataError(f"{str(path)!r} holds no frame; name another video")
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
        raise ImageError(f"camera {number} cannot be opened; check its number and who else uses it")
    try:
        while True:
            arrived, picture = camera.read()
            if not arrived:
                return
            yield np.asarray(picture[..., ::-1], np.uint8)
    finally:
        camera.release()
