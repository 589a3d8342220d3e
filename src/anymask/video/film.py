"""Video writing by PyAV: pictures with their times in, a video file with the original sound out.

A file is written under a hidden name, and appears under its own when it is complete.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import numpy as np

from anymask.primitives.errors import InputError
from anymask.primitives.types import UintImage
from anymask.video.video_file import import_av

CLOCK = 90_000  # ticks a second
FILMS = frozenset({".mp4", ".mov", ".mkv", ".webm"})
_FAST_VP9 = {"deadline": "realtime", "cpu-used": "8", "crf": "30", "b": "0", "auto-alt-ref": "0"}
Look = Literal["picture", "cutout"]


class FilmWriter:
    """A video file in the making.

    path   .mp4, .mov, .mkv or .webm; a cut-out, which has alpha, .webm (VP9) or .mov (ProRes)
    like   the video whose sound goes along, or None
    rate   frames a second, about: each frame has its own time
    begin  seconds of `like` at which the first frame is shown
    end    seconds of `like` at which its sound ends; None: with `like`

    `silence` says why a sound track is left out. Raises InputError for an ending that cannot be
    written.
    """

    def __init__(
        self,
        path: Path,
        rate: float,
        look: Look,
        like: Path | None = None,
        begin: float = 0.0,
        end: float | None = None,
    ) -> None:
        check_film(path, look)
        self._av = import_av()
        self.path, self.look, self.begin, self.rate = path, look, begin, rate
        path.parent.mkdir(parents=True, exist_ok=True)
        self._draft = path.with_name(f".{path.stem}.part{path.suffix}")
        self._out: Any = self._av.open(str(self._draft), "w")
        self._stream: Any = None
        self._size = (0, 0)
        self._original: Any = None
        self._sound: Iterator[tuple[float, Any]] = iter(())
        self._ahead: tuple[float, Any] | None = None
        self._last = float("inf") if end is None else end - begin
        self.silence: str | None = None
        if like is not None:
            self._take_sound(like)

    def write(self, image: UintImage, seconds: float) -> None:
        """One picture (H, W, 3), or (H, W, 4) of a cut-out, that is shown from `seconds` on."""
        if self._stream is None:
            self._open_stream(image.shape[0], image.shape[1])
        form = "rgba" if image.shape[2] == 4 else "rgb24"
        frame = self._av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format=form)
        if image.shape[:2] != self._size:  # a video whose resolution changes
            frame = frame.reformat(width=self._size[1], height=self._size[0])
        frame.pts, frame.time_base = round(seconds * CLOCK), Fraction(1, CLOCK)
        self._out.mux(self._stream.encode(frame))
        self._write_sound(seconds)

    def close(self) -> None:
        """Finish the file, which then appears under its name."""
        if self._stream is not None:
            self._out.mux(self._stream.encode())
            self._write_sound(self._last)
        self._out.close()
        if self._original is not None:
            self._original.close()
        self._draft.replace(self.path)

    def abandon(self) -> None:
        """Leave nothing behind."""
        self._out.close()
        self._draft.unlink(missing_ok=True)

    def _open_stream(self, height: int, width: int) -> None:
        self._size = (height, width)
        alpha, webm = self.look == "cutout", self.path.suffix.lower() == ".webm"
        codec = "libvpx-vp9" if webm else "prores_ks" if alpha else "libx264"
        options = _FAST_VP9 if webm else {} if alpha else {"crf": "20", "preset": "veryfast"}
        rate = Fraction(self.rate).limit_denominator(1001)
        self._stream = self._out.add_stream(codec, rate=rate, options=options)
        self._stream.height, self._stream.width = height, width
        even = height % 2 == 0 and width % 2 == 0
        plain = "yuv420p" if even or webm else "yuv444p"
        self._stream.pix_fmt = ("yuva420p" if webm else "yuva444p10le") if alpha else plain
        self._stream.codec_context.time_base = Fraction(1, CLOCK)

    def _take_sound(self, like: Path) -> None:
        """Copy the packets of the first sound track, where the file's format can hold it."""
        original = self._av.open(str(like))
        track = next(iter(original.streams.audio), None)
        try:
            held = None if track is None else self._out.add_stream_from_template(track)
        except (ValueError, self._av.error.FFmpegError):  # as AAC in WebM
            held = None
        if held is None:
            if track is not None:
                name = self.path.suffix.removeprefix(".").lower()
                self.silence = f"without sound: {name} does not hold {track.codec_context.name}"
            original.close()
            return
        self._original = original
        self._sound = self._packets(original, track, held)

    def _packets(self, original: Any, track: Any, held: Any) -> Iterator[tuple[float, Any]]:
        try:
            for packet in original.demux(track):
                if packet.pts is None or packet.dts is None:
                    continue
                seconds = float(packet.pts * packet.time_base) - self.begin
                if seconds < 0:
                    continue
                shift = round(self.begin / float(packet.time_base))
                packet.pts, packet.dts, packet.stream = packet.pts - shift, packet.dts - shift, held
                yield seconds, packet
        except self._av.error.FFmpegError:  # a truncated original: its sound ends with it
            return

    def _write_sound(self, seconds: float) -> None:
        if self._ahead is None:
            self._ahead = next(self._sound, None)
        until = min(seconds, self._last)
        while self._ahead is not None and self._ahead[0] <= until:
            self._out.mux(self._ahead[1])
            self._ahead = next(self._sound, None)


def check_film(path: Path, look: Look) -> None:
    """Raises InputError for an ending that cannot hold a picture, or a cut-out."""
    ending = path.suffix.lower()
    allowed = {".webm", ".mov"} if look == "cutout" else FILMS
    if ending not in allowed:
        raise InputError(
            f"a video of {'cut-outs' if look == 'cutout' else 'overlays'} is written as "
            f"{', '.join(sorted(allowed))}; got {str(path)!r}"
        )
