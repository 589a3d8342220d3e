"""Writers of tracked masks.

    .json     SA-V: run-length encoded masks of every object in every frame
    .jsonl    one line per frame, with COCO run-lengths, scores, states and doubts
    folder    DAVIS: one palette PNG per frame whose values are object numbers, named like the
              frame's image, or by frame number: 00012.png
    video     the video with the masks drawn on it, with its frame rate and sound; with `cutout`
              the objects only, with alpha; NAME.mask.mp4: a luma matte, the alpha white on black
    .csv, NAME_{n}.png  see `tables`

All formats are written frame by frame, and no frame is kept in memory. SA-V is the exception:
the file is written after the last frame.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np

from anymask.base import BoolArray, InputError, UintImage
from anymask.formats import streams
from anymask.masks import Color, Mask, overlay, rle_to_coco
from anymask.track.records import ObjectMask, TrackedFrame
from anymask.track.sources import import_av

LOG = logging.getLogger(__name__)
VIDEO_CLOCK = 90_000  # ticks per second
SOUND_RATE = 48_000  # samples per second of re-encoded sound
_SOUNDS = {"libopus": ("flt", 960), "aac": ("fltp", 1024)}  # encoder -> format, packet size
DEFAULT_COLOR: Color = (255, 255, 255)  # default color of objects without one
OUTPUT_VIDEO_SUFFIXES = frozenset({".mp4", ".mov", ".mkv", ".webm"})
_FAST_VP9 = {"deadline": "realtime", "cpu-used": "8", "crf": "30", "b": "0", "auto-alt-ref": "0"}
# Matrix of a video (ITU-T H.273) -> as FFmpeg converts it. Players and FFmpeg differ in what they
# assume for untagged videos (2), but the written one is like the one that was read.
_MATRICES = {1: 1, 2: 5, 4: 4, 5: 5, 6: 5, 7: 7, 9: 9}
_TAGS = ("colorspace", "color_range", "color_primaries", "color_trc")
_BT709: tuple[int, ...] = (1, 1, 1, 1)  # with limited range
VideoStyle = Literal["picture", "cutout", "matte"]
Drawing = Callable[[TrackedFrame, UintImage], UintImage]
ReadFrame = Callable[[], UintImage]  # reads the frame (H, W, 3) on demand


@dataclass(frozen=True)
class VideoFacts:
    """Video name, frame size (H, W), frames per second and objects, and the sound to copy."""

    name: str
    hw: tuple[int, int]
    rate: float
    objects: tuple[int, ...]
    sound: Path | None = None  # File whose sound is copied, or None
    begin: float = 0.0  # Time of the first frame in that file, in seconds
    # Time in that file at which the output ends, in seconds. None: at its end.
    end: float | None = None


class MaskWriter:
    """Base class of writers that receive frames in order.

    Attributes:
        shows_frames: Whether the writer requires the pixels of each frame.
    """

    shows_frames = False

    def write(self, frame: TrackedFrame, image: ReadFrame) -> None:
        """Write one frame."""
        raise NotImplementedError

    def close(self) -> None:
        """Finish the output after the last frame."""

    def abandon(self) -> None:
        """Stop after an error: close files and remove drafts."""
        self.close()


class LineWriter(MaskWriter):
    """Writer of .jsonl files, one line per frame."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file: IO[str] = path.open("w", encoding="utf-8")

    def write(self, frame: TrackedFrame, image: ReadFrame) -> None:
        self._file.write(json.dumps(frame_to_json(frame)) + "\n")
        self._file.flush()

    def close(self) -> None:
        self._file.close()


class EncoderWriter(MaskWriter):
    """Adapter for the streaming encoders of `formats`: SA-V, COCO and DAVIS."""

    def __init__(self, encoder: streams.FrameEncoder) -> None:
        self._encoder = encoder

    def write(self, frame: TrackedFrame, image: ReadFrame) -> None:
        masks = {n: Mask(mask.rle, score=mask.score) for n, mask in frame.objects.items()}
        self._encoder.add(
            streams.StreamedFrame(frame.index, frame.seconds, frame.stem, frame.name, masks)
        )

    def close(self) -> None:
        self._encoder.close()

    def abandon(self) -> None:
        self._encoder.abandon()


def sav_writer(path: Path, facts: VideoFacts) -> MaskWriter:
    """Create a writer of SA-V JSON."""
    return EncoderWriter(streams.SavStream(path, facts.name, facts.hw, facts.rate, facts.objects))


def coco_writer(path: Path, facts: VideoFacts, names: Mapping[int, str]) -> MaskWriter:
    """Create a writer of COCO instance annotations. `names` maps object numbers to classes."""
    return EncoderWriter(streams.CocoStream(path, facts.hw, facts.objects, names))


def palette_writer(folder: Path, facts: VideoFacts) -> MaskWriter:
    """Create a writer of DAVIS palette PNGs. Raises InputError for unsupported object numbers."""
    return EncoderWriter(streams.PaletteStream(folder, facts.hw, facts.objects))


def frame_to_json(frame: TrackedFrame) -> dict[str, Any]:
    """Convert a frame to JSON: COCO run-lengths, scores, states and doubts."""
    return {
        "frame": frame.source_frame,
        **({"file": frame.name} if frame.name else {}),
        "seconds": round(frame.seconds, 6),
        "objects": [object_to_json(number, mask) for number, mask in frame.objects.items()],
    }


def object_to_json(number: int, one: ObjectMask) -> dict[str, Any]:
    """Convert one object of a frame to JSON."""
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
    frame: TrackedFrame, image: UintImage, style: Mapping[str, Any] | None = None
) -> UintImage:  # (H, W, 3) -> (H, W, 4), or (H, W, 3) where the look has a background
    """Cut the objects out of a frame, with soft alpha edges.

    Args:
        style: Fields of `edit.CutoutSettings`.
    """
    from anymask.edit import cut_out

    shown: BoolArray = np.zeros(image.shape[:2], np.bool_)
    for mask in frame.masks.values():
        shown |= mask
    return cut_out(image, shown, empty=True, **(style or {}))


def draw_objects(frame: TrackedFrame, image: UintImage, palette: Mapping[int, Color]) -> UintImage:
    """Draw the masks on a frame (H, W, 3), one color per object."""
    if not frame.objects:
        return image
    colors = [palette.get(number, DEFAULT_COLOR) for number in frame.objects]
    return overlay(image, np.stack(list(frame.masks.values())), palette=colors)


def draw_masks(frame: TrackedFrame, image: UintImage, palette: Mapping[int, Color]) -> UintImage:
    """Draw the masks (H, W, 3) on black, one color per object, higher scores on top."""
    drawn = np.zeros_like(image)
    for number, mask in sorted(frame.objects.items(), key=lambda pair: pair[1].score):
        drawn[mask.mask] = palette.get(number, DEFAULT_COLOR)
    return drawn


def draw_matte(frame: TrackedFrame, image: UintImage) -> UintImage:
    """Draw the alpha of all objects of a frame (H, W, 3) in gray values, as `cut_objects` does."""
    return np.repeat(cut_objects(frame, image)[..., 3:], 3, axis=2)


class VideoWriter(MaskWriter):
    """Writer of video files by PyAV, with frame times, and the sound and colors of the original.

    Matrix, range, primaries and transfer are those of the original; without one, those of BT.709.

    The file has a hidden name until it is complete. Raises InputError as `check_video_output`, or
    if the encoder of the sound is missing.

    Args:
        path: .mp4, .mov, .mkv or .webm. Cut-outs with alpha: .webm (VP9) or .mov (ProRes).
        draw: Function that draws the image (H, W, 3) of a frame, or (H, W, 4) of a cut-out.
    """

    shows_frames = True

    def __init__(
        self, path: Path, facts: VideoFacts, draw: Drawing, style: VideoStyle = "picture"
    ) -> None:
        check_video_output(path, style)
        self._av, self._draw = import_av(), draw
        self._codec = encoder_of(path, style)
        self.path, self.look, self.begin, self.rate = path, style, facts.begin, facts.rate
        path.parent.mkdir(parents=True, exist_ok=True)
        self._draft = path.with_name(f".{path.stem}.part{path.suffix}")
        self._out: Any = self._av.open(str(self._draft), "w")
        self._stream: Any = None
        self._size = (0, 0)
        self._original: Any = None
        self._colors = _BT709
        self._sound: Iterator[tuple[float, Any]] = iter(())
        self._ahead: tuple[float, Any] | None = None
        self._last = float("inf") if facts.end is None else facts.end - facts.begin
        if facts.sound is not None:
            try:
                self._open_original(facts.sound)
            except BaseException:
                self.abandon()
                raise

    def write(self, frame: TrackedFrame, source_image: ReadFrame) -> None:
        image, seconds = self._draw(frame, source_image()), frame.seconds - self.begin
        if self._stream is None:
            height, width = self._size = image.shape[0], image.shape[1]
            alpha, webm = self.look == "cutout", self._codec == "libvpx-vp9"
            prores = self._codec == "prores_ks"
            options = _FAST_VP9 if webm else {} if prores else {"crf": "20", "preset": "veryfast"}
            rate = Fraction(self.rate).limit_denominator(1001)
            self._stream = self._out.add_stream(self._codec, rate=rate, options=options)
            self._stream.height, self._stream.width = height, width
            odd = (height % 2 or width % 2) and not webm
            plain = "yuv422p10le" if prores else "yuv444p" if odd else "yuv420p"
            self._stream.pix_fmt = ("yuva420p" if webm else "yuva444p10le") if alpha else plain
            self._stream.codec_context.time_base = Fraction(1, VIDEO_CLOCK)
            if prores:  # has no full range
                self._colors = (self._colors[0], _BT709[1], *self._colors[2:])
            for name, value in zip(_TAGS, self._colors, strict=True):
                setattr(self._stream.codec_context, name, value)
        form = "rgba" if image.shape[2] == 4 else "rgb24"
        matrix, span = self._colors[:2]
        whole = self._av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format=form)
        shown = whole.reformat(
            width=self._size[1], height=self._size[0],  # the resolution of the video may change
            format=self._stream.pix_fmt, dst_colorspace=_MATRICES[matrix],
            dst_color_range=span or _BT709[1],
        )  # fmt: skip
        for name, value in zip(_TAGS, self._colors, strict=True):
            with contextlib.suppress(AttributeError):  # PyAV 14 has no primaries of a frame
                setattr(shown, name, value)
        shown.pts, shown.time_base = round(seconds * VIDEO_CLOCK), Fraction(1, VIDEO_CLOCK)
        self._out.mux(self._stream.encode(shown))
        self._write_sound(seconds)

    def close(self) -> None:
        """Finish the file and rename it to its final name."""
        if self._stream is not None:
            self._out.mux(self._stream.encode())
            self._write_sound(self._last)
        self._out.close()
        if self._original is not None:
            self._original.close()
        self._draft.replace(self.path)

    def abandon(self) -> None:
        """Close the files and delete the draft."""
        with contextlib.suppress(self._av.error.FFmpegError):  # the header may be missing
            self._out.close()
        if self._original is not None:
            self._original.close()
        self._draft.unlink(missing_ok=True)

    def _open_original(self, like: Path) -> None:
        """Use the color space of the original, and copy the packets of its first audio track.

        If the container does not support its codec, encode as Opus in WebM, or as AAC elsewhere.
        """
        original = self._original = self._av.open(str(like), metadata_errors="replace")
        track = next(iter(original.streams.audio), None)
        shown = next(iter(original.streams.video), None)
        if shown is not None and (form := shown.codec_context.format) is not None:
            tags = tuple(int(getattr(shown.codec_context, name)) for name in _TAGS)
            if tags[0] in _MATRICES and not form.is_rgb:
                self._colors = tags
            if (bits := form.components[0].bits) > 8:
                LOG.warning(
                    "The original of %s has %d bits a channel. It is written with 8 bits, in the "
                    "same color space.", self.path, bits,
                )  # fmt: skip
        begin = self.begin  # file time; its first frame may start later than 0
        if track is None:
            return
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
        """Whether the container supports the codec of an audio track."""
        form = self._out.format.name
        if form == "mp4" and track.codec_context.name.startswith("pcm"):  # players lack it
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
        except self._av.error.FFmpegError:  # the original is truncated
            return

    def _encoded(
        self, original: Any, track: Any, held: Any, begin: float
    ) -> Iterator[tuple[float, Any]]:
        form, size = _SOUNDS[held.codec_context.name]
        resampler = self._av.AudioResampler(form, held.layout.name, SOUND_RATE, frame_size=size)
        position: int | None = None
        try:
            for frame in original.decode(track):
                if frame.time is None or frame.time < begin:
                    continue
                if position is None:
                    position = round((frame.time - begin) * SOUND_RATE)
                frame.pts = None
                for part in resampler.resample(frame):
                    part.pts, part.time_base = position, Fraction(1, SOUND_RATE)
                    position += part.samples
                    yield from self._timed(held.encode(part))
        except self._av.error.FFmpegError:  # the original is truncated
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


def encoder_of(path: Path, style: VideoStyle) -> str:
    """FFmpeg name of the video encoder for a path."""
    if path.suffix.lower() == ".webm":
        return "libvpx-vp9"
    is_prores = style == "cutout" or (style == "matte" and path.suffix.lower() == ".mov")
    return "prores_ks" if is_prores else "libx264"


def check_encoder(path: Path, codec: str) -> None:
    """Raises InputError if the installed PyAV lacks an encoder."""
    try:
        import_av().Codec(codec, "w")
    except ValueError:
        raise InputError(
            f"The installed PyAV has no {codec} encoder, which {path.suffix} files require. "
            "Install the version from PyPI: pip install --force-reinstall --only-binary av av"
        ) from None


def check_video_output(path: Path, style: VideoStyle) -> None:
    """Validate the path of a video output.

    Raises:
        InputError: The suffix does not support this content, or the encoder is missing.
    """
    ending = path.suffix.lower()
    allowed = {".webm", ".mov"} if style == "cutout" else OUTPUT_VIDEO_SUFFIXES
    if ending not in allowed:
        raise InputError(
            f"Unsupported format for {'cut-outs' if style == 'cutout' else 'overlays'}: "
            f"{str(path)!r}. Use one of: {', '.join(sorted(allowed))}."
        )
    check_encoder(path, encoder_of(path, style))


@dataclass(frozen=True)
class CutoutStyle:
    """Cut-out settings of a video.

    Raises:
        InputError: A setting is out of range, or `crop` is set.
    """

    # Fields of `edit.CutoutSettings`. With a background, images have no alpha.
    settings: Mapping[str, Any] = field(default_factory=dict)
    folders: bool = False  # Whether to write folders as cut-out PNGs instead of palette PNGs

    def __post_init__(self) -> None:
        from anymask.edit import CutoutSettings

        CutoutSettings(**self.settings)
        if self.settings.get("crop"):
            raise InputError(
                "Videos do not support crop, because all frames must have the same size. Omit crop."
            )

    @property
    def video(self) -> VideoStyle:
        """Kind of the video: "cutout" with alpha, or "picture" if a background is set."""
        return "cutout" if self.settings.get("background") is None else "picture"
