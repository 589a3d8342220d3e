"""Frames of animated images (GIF, PNG, WebP, AVIF), skipping corrupted frames.

Pillow composes each frame on the previous one, so frames are decoded in order and seeking back
restarts. libwebp stops at the first corrupted frame: its chunk is removed, and decoding continues
after it (WebP container specification, chunks ANMF).
"""

from __future__ import annotations

import io
import itertools
import struct
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from anymask.base import DamagedImageError, ImageError, UintImage
from anymask.images.decoding import AS_IT_IS, decoding, open_header, unidentified
from anymask.images.load import open_path, read_view

_RIFF, _CHUNK, _DURATION = 12, 8, 12  # bytes of both headers; offset of the duration in ANMF


class Animation:
    """Random access to the frames of an animated image, counted from 0.

    Args:
        path: Image file.

    Attributes:
        damaged: Corrupted frames found so far.

    Raises:
        ImageError: The file is not an image.
    """

    def __init__(self, path: Path) -> None:
        with open_path(path) as file:
            self._data, self._name = file.read(), repr(str(path))
        self.damaged: set[int] = set()
        self._picture = self._open(self._data)
        self.length = int(getattr(self._picture, "n_frames", 1))
        self._at = -1

    def read(self, frame: int) -> UintImage | None:
        """Return a frame (H, W, 3); None if it is corrupted or does not exist."""
        if not 0 <= frame < self.length or frame in self.damaged:
            return None
        if frame < self._at:
            self._picture, self._at = self._open(self._data), -1
        while self._at < frame:
            self._step(self._at + 1)
        return None if frame in self.damaged else read_view(self._picture, AS_IT_IS)

    def times(self) -> list[float] | None:
        """Return the start time of each frame in seconds; None if the file does not declare it."""
        if self._picture.format == "WEBP":
            durations = [_webp_duration(self._data, start) for start, _ in _webp_frames(self._data)]
        else:
            durations = []
            for frame in range(self.length):
                self.read(frame)
                durations.append(float(self._picture.info.get("duration") or 0))
        times = [0.0, *itertools.accumulate(one / 1000 for one in durations[:-1])]
        return times if all(one < other for one, other in itertools.pairwise(times)) else None

    def _open(self, data: bytes) -> Image.Image:
        file = io.BytesIO(data)
        try:
            return open_header(file)
        except UnidentifiedImageError:
            raise unidentified(file, self._name) from None

    def _step(self, frame: int) -> None:
        """Decode the next frame, or record that it is corrupted."""
        self._at, webp = frame, self._picture.format == "WEBP"
        place = frame - (sum(one < frame for one in self.damaged) if webp else 0)
        if webp and frame in self.damaged:
            return
        try:
            with decoding(self._name):
                self._picture.seek(place)
                self._picture.load()
        except DamagedImageError:
            self.damaged.add(frame)
            if webp:
                rest = _without_webp_frame(self._data, place)
                try:
                    self._picture, self._data = self._open(rest), rest
                except ImageError:  # no later frame can be reached
                    self.damaged |= {*range(frame, self.length)}


def _webp_frames(data: bytes) -> list[tuple[int, int]]:
    """Return start and end of the chunk of each frame."""
    frames, place = [], _RIFF
    while place + _CHUNK <= len(data):
        (size,) = struct.unpack_from("<I", data, place + 4)
        end = place + _CHUNK + size + size % 2
        if data[place : place + 4] == b"ANMF":
            frames.append((place, end))
        place = end
    return frames


def _webp_duration(data: bytes, start: int) -> float:
    """Return the duration of a frame in milliseconds."""
    place = start + _CHUNK + _DURATION
    return float(int.from_bytes(data[place : place + 3], "little"))


def _without_webp_frame(data: bytes, frame: int) -> bytes:
    """Remove the chunk of a frame. Raises ImageError if no frame is left."""
    frames = _webp_frames(data)
    if frame >= len(frames) or len(frames) == 1:
        raise ImageError("No frame of this animation can be decoded. Copy or download it again.")
    start, end = frames[frame]
    rest = data[_RIFF:start] + data[end:]
    return data[:4] + struct.pack("<I", len(rest) + 4) + data[8:_RIFF] + rest
