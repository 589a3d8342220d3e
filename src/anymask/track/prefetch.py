"""Frame prefetching: frame numbers in, frames decoded and encoded ahead of time out.

While a frame's objects are found, the next frame is decoded and encoded in a thread of its own; the
numbers are those of looking at one frame after the other. A source is read by one thread at a time.
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from threading import Lock
from typing import Any

from anymask.base import InputError, UintImage
from anymask.track.flow import is_cut, reduce_frame
from anymask.track.frame_sampling import SampledFrames
from anymask.track.tracker import Tracker


@dataclass(frozen=True, eq=False)
class PrefetchedFrame:
    """One frame: its pixels (H, W, 3), as the tracker sees it, and small in grey."""

    frame: int
    image: UintImage
    seen: Any
    grey: UintImage


class FramePrefetcher:
    """Looks at the frames of one source for one tracker. One thread at a time asks."""

    def __init__(self, tracker: Tracker, frames: SampledFrames) -> None:
        self._tracker, self._frames, self._reading = tracker, frames, Lock()
        self._ahead: tuple[int, Future[PrefetchedFrame | None]] | None = None
        self._pool: ThreadPoolExecutor | None = None
        self.last: PrefetchedFrame | None = None

    def look(self, frame: int) -> PrefetchedFrame | None:
        """A frame, read and seen unless it was the last one; None behind the video's end."""
        if self.last is None or self.last.frame != frame:
            found = self._expected(frame)
            if found is None:
                return None
            self.last = found
        return self.last

    def expect(self, frame: int) -> None:
        """Begin to look at the frame that comes next, where the source can be read in any order."""
        length = self._frames.length
        if length is None or not 0 <= frame < length or self._ahead is not None:
            return
        if self._pool is None:
            self._pool = ThreadPoolExecutor(1, "anymask-prefetch")
        self._ahead = (frame, self._pool.submit(self._see, frame))

    def read(self, frame: int) -> UintImage | None:
        """A frame's pixels. Raises InputError where a stream has passed it."""
        if self.last is not None and self.last.frame == frame:
            return self.last.image
        with self._reading:
            return self._frames.read(frame)

    def is_cut(self, look: PrefetchedFrame, frame: int, earlier: PrefetchedFrame | None) -> bool:
        """Whether a frame and the one that time brings before it are of two shots.

        earlier  the look that was the last one before this
        """
        if earlier is not None and earlier.frame == frame:
            return is_cut(look.grey, earlier.grey)
        try:  # after a pause
            image = self.read(frame)
        except InputError:  # a stream does not go back
            return False
        return image is not None and is_cut(look.grey, reduce_frame(image))

    def close(self) -> None:
        """Let go of all frames; the source is closed by its owner."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
        self.last = self._ahead = self._pool = None

    def _expected(self, frame: int) -> PrefetchedFrame | None:
        ahead, self._ahead = self._ahead, None
        if ahead is None or ahead[0] != frame:
            return self._see(frame)
        return ahead[1].result()

    def _see(self, frame: int) -> PrefetchedFrame | None:
        with self._reading:
            image = self._frames.read(frame)
        if image is None:
            return None
        grey = reduce_frame(image)
        return PrefetchedFrame(frame, image, self._tracker.see(image, grey), grey)
