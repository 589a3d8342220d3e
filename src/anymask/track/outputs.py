"""Files of tracked masks: lines of run-lengths, SA-V or COCO JSON, palette PNGs, films.

    .json     SA-V: the run-lengths of every object in every frame
    .jsonl    a line a frame, with COCO run-lengths, scores, states and doubts
    a folder  DAVIS: a palette PNG a frame, whose values are the objects' numbers; it is called
              as the frame's picture is, or by the frame's number: 00012.png
    a film    the video with the masks drawn on it, with its frame rate and sound; with `cutout`
              the objects alone, with alpha; NAME.mask.mp4 the masks white on black, a luma matte
    .csv, NAME_{n}.png  see `tables`

All are written as the frames come, but SA-V's file, which wants the last frame first; no frame is
held.
"""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np

from anymask.base import BoolArray, InputError, UintImage, whole_file
from anymask.formats import streams
from anymask.masks import (
    Colour,
    Mask,
    overlay,
    rle_to_coco,
    save_picture,
)
from anymask.track.records import ObjectMask, TrackedFrame
from anymask.track.sources import import_av

CLOCK = 90_000  # ticks a second
SOUND_RATE = 48_000  # samples a second, of sound that is encoded anew
_SOUNDS = {"libopus": ("flt", 960), "aac": ("fltp", 1024)}  # encoder -> samples, and in a packet
WHITE: Colour = (255, 255, 255)  # of an object that nobody gave a color
FILMS = frozenset({".mp4", ".mov", ".mkv", ".webm"})
_FAST_VP9 = {"deadline": "realtime", "cpu-used": "8", "crf": "30", "b": "0", "auto-alt-ref": "0"}
Look = Literal["picture", "cutout"]
Drawing = Callable[[TrackedFrame, UintImage], UintImage]
Picture = Callable[[], UintImage]  # reads the frame (H, W, 3) where a writer needs it


@dataclass(frozen=True)
class VideoFacts:
    """What writers have to know of a video: name, size, frames a second, objects, and its file.

    Attributes:
        sound: The file whose sound goes along, or None.
        begin: Seconds of that file at which the first frame is shown.
        end: And at which the first frame is that is left out at its end; None: there is none.
    """

    name: str
    hw: tuple[int, int]
    rate: float
    objects: tuple[int, ...]
    sound: Path | None = None
    begin: float = 0.0
    end: float | None = None


class MaskWriter:
    """Something that frames are written to, in order.

    Attributes:
        shows_frames: Whether it needs the pixels of each frame.
    """

    shows_frames = False

    def write(self, frame: TrackedFrame, picture: Picture) -> None:
        """One frame."""
        raise NotImplementedError

    def close(self) -> None:
        """All frames are written."""

    def abandon(self) -> None:
        """No more frames come: let go of files, without drafts left behind."""
        self.close()


class LineWriter(MaskWriter):
    """.jsonl: a line a frame."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file: IO[str] = path.open("w", encoding="utf-8")

    def write(self, frame: TrackedFrame, picture: Picture) -> None:
        self._file.write(json.dumps(frame_to_json(frame)) + "\n")
        self._file.flush()

    def close(self) -> None:
        self._file.close()


class EncoderWriter(MaskWriter):
    """SA-V, COCO and DAVIS: a streaming encoder of `formats`."""

    def __init__(self, encoder: streams.FrameEncoder) -> None:
        self._encoder = encoder

    def write(self, frame: TrackedFrame, picture: Picture) -> None:
        masks = {n: Mask(one.rle, score=one.score) for n, one in frame.objects.items()}
        self._encoder.add(
            streams.StreamedFrame(frame.index, frame.seconds, frame.stem, frame.name, masks)
        )

    def close(self) -> None:
        self._encoder.close()

    def abandon(self) -> None:
        self._encoder.abandon()


def sav_writer(path: Path, facts: VideoFacts) -> MaskWriter:
    """A writer of SA-V's JSON."""
    return EncoderWriter(streams.SavStream(path, facts.name, facts.hw, facts.rate, facts.objects))


def coco_writer(path: Path, facts: VideoFacts, names: Mapping[int, str]) -> MaskWriter:
    """A writer of COCO's instances; names: object -> its class."""
    return EncoderWriter(streams.CocoStream(path, facts.hw, facts.objects, names))


def palette_writer(folder: Path, facts: VideoFacts) -> MaskWriter:
    """A writer of DAVIS' palette PNGs. Raises InputError for numbers that a palette lacks."""
    return EncoderWriter(streams.PaletteStream(folder, facts.hw, facts.objects))


def frame_to_json(frame: TrackedFrame) -> dict[str, Any]:
    """A frame's masks as COCO run-lengths, with scores, states and doubts."""
    objects = [object_to_json(number, one) for number, one in frame.objects.items()]
    named = {"file": frame.name} if frame.name else {}
    about = {"frame": frame.source_frame, **named, "seconds": round(frame.seconds, 6)}
    return {**about, "objects": objects}


def object_to_json(number: int, one: ObjectMask) -> dict[str, Any]:
    """One object of a frame."""
    return {
        "object": number,
        "segmentation": rle_to_coco(one.rle),
        "area": one.area,
        "score": round(one.score, 4),
        "quality": round(one.quality, 4),
        "state": one.state,
        "doubts": list(one.doubts),
        "prompted": one.prompted,
    }


def cut_objects(
    frame: TrackedFrame, image: UintImage, look: Mapping[str, Any] | None = None
) -> UintImage:  # (H, W, 3) -> (H, W, 4), or (H, W, 3) where the look has a background
    """The objects of a frame with soft alpha around them.

    Args:
        look: Settings of `edit.CutoutSettings`.
    """
    from anymask.edit import cut_out

    shown: BoolArray = np.zeros(image.shape[:2], np.bool_)
    for mask in frame.masks.values():
        shown |= mask
    return cut_out(image, shown, empty=True, **(look or {}))


class CutoutWriter(MaskWriter):
    """A folder of cut-outs: a PNG a frame, called as in `PaletteStream`."""

    shows_frames = True

    def __init__(self, folder: Path, look: Mapping[str, Any]) -> None:
        self.folder, self.look = folder, look
        folder.mkdir(parents=True, exist_ok=True)

    def write(self, frame: TrackedFrame, picture: Picture) -> None:
        with whole_file(self.folder / f"{frame.stem}.png") as file:
            save_picture(file, cut_objects(frame, picture(), self.look))

    def close(self) -> None:
        """Do nothing: every file is complete."""


def draw_objects(frame: TrackedFrame, image: UintImage, palette: Mapping[int, Colour]) -> UintImage:
    """A frame (H, W, 3) with the masks on it, each object in its own color."""
    if not frame.objects:
        return image
    chosen = [palette.get(number, WHITE) for number in frame.objects]
    return overlay(image, np.stack(list(frame.masks.values())), palette=chosen)


def draw_masks(frame: TrackedFrame, image: UintImage, palette: Mapping[int, Colour]) -> UintImage:
    """The masks alone (H, W, 3), each in its object's color on black; the surer one is on top."""
    drawn = np.zeros_like(image)
    for number, one in sorted(frame.objects.items(), key=lambda pair: pair[1].score):
        drawn[one.mask] = palette.get(number, WHITE)
    return drawn


def draw_matte(frame: TrackedFrame, image: UintImage) -> UintImage:
    """All masks of a frame (H, W, 3), white on black."""
    drawn = np.zeros_like(image)
    for mask in frame.masks.values():
        drawn[mask] = 255
    return drawn


class FilmWriter(MaskWriter):
    """A video file in the making, by PyAV: pictures with their times, and the original sound. It is
    written under a hidden name, and appears under its own when it is complete.

    Raises InputError for what `check_film` refuses, and for sound that wants an encoder that is not
    there.

    Args:
        path: .mp4, .mov, .mkv or .webm; a cut-out, which has alpha, .webm (VP9) or .mov
            (ProRes).
        draw: Makes the picture (H, W, 3) of a frame, or (H, W, 4) of a cut-out.
    """

    shows_frames = True

    def __init__(
        self, path: Path, facts: VideoFacts, draw: Drawing, look: Look = "picture"
    ) -> None:
        check_film(path, look)
        self._av, self._draw = import_av(), draw
        self._codec = encoder_of(path, look)
        self.path, self.look, self.begin, self.rate = path, look, facts.begin, facts.rate
        path.parent.mkdir(parents=True, exist_ok=True)
        self._draft = path.with_name(f".{path.stem}.part{path.suffix}")
        self._out: Any = self._av.open(str(self._draft), "w")
        self._stream: Any = None
        self._size = (0, 0)
        self._original: Any = None
        self._sound: Iterator[tuple[float, Any]] = iter(())
        self._ahead: tuple[float, Any] | None = None
        self._last = float("inf") if facts.end is None else facts.end - facts.begin
        if facts.sound is not None:
            try:
                self._take_sound(facts.sound)
            except BaseException:
                self.abandon()
                raise

    def write(self, frame: TrackedFrame, picture: Picture) -> None:
        image, seconds = self._draw(frame, picture()), frame.seconds - self.begin
        if self._stream is None:
            self._open_stream(image.shape[0], image.shape[1])
        form = "rgba" if image.shape[2] == 4 else "rgb24"
        shown = self._av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format=form)
        if image.shape[:2] != self._size:  # a video whose resolution changes
            shown = shown.reformat(width=self._size[1], height=self._size[0])
        shown.pts, shown.time_base = round(seconds * CLOCK), Fraction(1, CLOCK)
        self._out.mux(self._stream.encode(shown))
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
        with contextlib.suppress(self._av.error.FFmpegError):  # of a file that was not begun well
            self._out.close()
        if self._original is not None:
            self._original.close()
        self._draft.unlink(missing_ok=True)

    def _open_stream(self, height: int, width: int) -> None:
        self._size = (height, width)
        alpha, webm = self.look == "cutout", self._codec == "libvpx-vp9"
        options = _FAST_VP9 if webm else {} if alpha else {"crf": "20", "preset": "veryfast"}
        rate = Fraction(self.rate).limit_denominator(1001)
        self._stream = self._out.add_stream(self._codec, rate=rate, options=options)
        self._stream.height, self._stream.width = height, width
        even = height % 2 == 0 and width % 2 == 0
        plain = "yuv420p" if even or webm else "yuv444p"
        self._stream.pix_fmt = ("yuva420p" if webm else "yuva444p10le") if alpha else plain
        self._stream.codec_context.time_base = Fraction(1, CLOCK)

    def _take_sound(self, like: Path) -> None:
        """Copy the packets of the first sound track, or where the file's format does not hold
        them, encode it as Opus in WebM, as AAC elsewhere."""
        original = self._original = self._av.open(str(like), metadata_errors="replace")
        track = next(iter(original.streams.audio), None)
        if track is None:
            return
        shown = next(iter(original.streams.video), None)
        begin = self.begin  # on the clock of the file, whose first frame may come late
        if shown is not None and shown.start_time is not None:
            begin += float(shown.start_time * shown.time_base)
        if self._holds(track):
            held = self._out.add_stream_from_template(track)
            self._sound = self._packets(original, track, held, begin)
            return
        codec = "libopus" if self._codec == "libvpx-vp9" else "aac"
        check_encoder(self.path, codec)
        held = self._out.add_stream(codec, rate=SOUND_RATE)
        held.layout = "mono" if track.codec_context.channels == 1 else "stereo"
        self._sound = self._encoded(original, track, held, begin)

    def _holds(self, track: Any) -> bool:
        """Whether a file of this format can begin with the packets of a sound track."""
        form = self._out.format.name
        if form == "mp4" and track.codec_context.name.startswith("pcm"):  # players know none there
            return False
        try:
            with self._av.open(io.BytesIO(), "w", format=form) as trial:
                trial.add_stream_from_template(track)
                trial.start_encoding()
        except (ValueError, self._av.error.FFmpegError):
            return False
        return True

    def _packets(
        self, original: Any, track: Any, held: Any, begin: float
    ) -> Iterator[tuple[float, Any]]:
        try:
            for packet in original.demux(track):
                if packet.pts is None or packet.dts is None:
                    continue
                seconds = float(packet.pts * packet.time_base) - begin
                if seconds < 0:
                    continue
                shift = round(begin / float(packet.time_base))
                packet.pts, packet.dts, packet.stream = packet.pts - shift, packet.dts - shift, held
                yield seconds, packet
        except self._av.error.FFmpegError:  # a truncated original: its sound ends with it
            return

    def _encoded(
        self, original: Any, track: Any, held: Any, begin: float
    ) -> Iterator[tuple[float, Any]]:
        form, size = _SOUNDS[held.codec_context.name]
        resampler = self._av.AudioResampler(form, held.layout.name, SOUND_RATE, frame_size=size)
        place: int | None = None
        try:
            for frame in original.decode(track):
                if frame.time is None or frame.time < begin:
                    continue
                if place is None:
                    place = round((frame.time - begin) * SOUND_RATE)
                frame.pts = None
                for part in resampler.resample(frame):
                    part.pts, part.time_base = place, Fraction(1, SOUND_RATE)
                    place += part.samples
                    yield from self._timed(held.encode(part))
        except self._av.error.FFmpegError:  # a truncated original: its sound ends with it
            pass
        yield from self._timed(held.encode(None))

    def _timed(self, packets: Sequence[Any]) -> Iterator[tuple[float, Any]]:
        for packet in packets:
            yield float(packet.pts * packet.time_base), packet

    def _write_sound(self, seconds: float) -> None:
        if self._ahead is None:
            self._ahead = next(self._sound, None)
        until = min(seconds, self._last)
        while self._ahead is not None and self._ahead[0] <= until:
            self._out.mux(self._ahead[1])
            self._ahead = next(self._sound, None)


def encoder_of(path: Path, look: Look) -> str:
    """FFmpeg's name of what makes the pictures of a film."""
    if path.suffix.lower() == ".webm":
        return "libvpx-vp9"
    return "prores_ks" if look == "cutout" else "libx264"


def check_encoder(path: Path, codec: str) -> None:
    """Raises InputError where PyAV was built without an encoder that a film wants."""
    try:
        import_av().Codec(codec, "w")
    except ValueError:
        raise InputError(
            f"The installed PyAV has no {codec} encoder, which {path.suffix} files require. "
            "Install the version from PyPI: pip install --force-reinstall --only-binary av av"
        ) from None


def check_film(path: Path, look: Look) -> None:
    """Raises InputError for an ending that cannot hold a picture, or a cut-out, and where the
    encoder for it is not there."""
    ending = path.suffix.lower()
    allowed = {".webm", ".mov"} if look == "cutout" else FILMS
    if ending not in allowed:
        raise InputError(
            f"Unsupported format for {'cut-outs' if look == 'cutout' else 'overlays'}: "
            f"{str(path)!r}. Use one of: {', '.join(sorted(allowed))}."
        )
    check_encoder(path, encoder_of(path, look))


@dataclass(frozen=True)
class CutoutLook:
    """How cut-outs of a video look.

    Raises InputError for settings out of range and for `crop`.

    Attributes:
        settings: Of `edit.CutoutSettings`; a background makes plain pictures.
        folders: Whether folders hold them, too, a PNG a frame, instead of palette pictures.
    """

    settings: Mapping[str, Any] = field(default_factory=dict)
    folders: bool = False

    def __post_init__(self) -> None:
        from anymask.edit import CutoutSettings

        CutoutSettings(**self.settings)
        if self.settings.get("crop"):
            raise InputError(
                "Videos do not support crop, because all frames must have the same size. Omit crop."
            )

    @property
    def film(self) -> Look:
        """What a film of them is: a picture where something lies behind the objects."""
        return "cutout" if self.settings.get("background") is None else "picture"
