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
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import IO, Any, BinaryIO, Literal

import numpy as np
from PIL import Image

from anymask.base import BoolArray, InputError, UintImage, whole_file
from anymask.formats import voc_palette
from anymask.masks import (
    UNLABELLED,
    Colour,
    empty_rle,
    overlay,
    rle_box_xyxy,
    rle_to_coco,
    save_picture,
)
from anymask.track.records import ObjectMask, TrackedFrame
from anymask.track.sources import import_av

MOST_NUMBERS = 255  # objects of a palette PNG
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


class PaletteWriter(MaskWriter):
    """A folder of palette PNGs; where objects overlap, the surer one is on top."""

    def __init__(self, folder: Path, facts: VideoFacts) -> None:
        if max(facts.objects, default=0) > MOST_NUMBERS or min(facts.objects, default=1) < 1:
            raise InputError(
                f"Palette images support object numbers 1 to {MOST_NUMBERS}, but "
                f"{list(facts.objects)} were given. Change the object numbers, or "
                "write .jsonl."
            )
        self.folder, self._palette = folder, voc_palette().tobytes()
        folder.mkdir(parents=True, exist_ok=True)
        self._hw = facts.hw

    def write(self, frame: TrackedFrame, picture: Picture) -> None:
        found = sorted(frame.objects.items(), key=lambda pair: pair[1].score)
        values = np.zeros(found[0][1].rle.size if found else self._hw, np.uint8)
        for number, one in found:
            values[one.mask] = number
        drawn = Image.fromarray(values, "P")
        drawn.putpalette(self._palette)
        with whole_file(self.folder / f"{frame.stem}.png") as file:
            drawn.save(file, "PNG", compress_level=3)


class RowFile:
    """Rows of a JSON list, in a hidden file beside the one of which they become a part."""

    def __init__(self, path: Path, kind: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path.with_name(f".{path.name}.{kind}")
        self._file: IO[str] = self._path.open("w", encoding="utf-8")
        self.count = 0

    def add(self, row: object) -> None:
        """One row more."""
        self._file.write(("," if self.count else "") + json.dumps(row))
        self.count += 1

    def append_to(self, out: BinaryIO, key: str) -> None:
        """The key and the list in an object that is being written; the hidden file is gone then."""
        self._file.close()
        out.write(f', "{key}": ['.encode())
        with self._path.open("rb") as file:
            shutil.copyfileobj(file, out)
        out.write(b"]")
        self._path.unlink()

    def abandon(self) -> None:
        """Leave nothing behind."""
        self._file.close()
        self._path.unlink(missing_ok=True)


class SavWriter(MaskWriter):
    """SA-V's JSON."""

    def __init__(self, path: Path, facts: VideoFacts) -> None:
        self.path, self.facts = path, facts
        self._rows, self._seconds = RowFile(path, "rows"), 0.0
        self._areas = dict.fromkeys(facts.objects, 0)
        self._first: dict[int, int] = {}

    def write(self, frame: TrackedFrame, picture: Picture) -> None:
        nothing = [rle_to_coco(empty_rle(self.facts.hw)) for _ in self.facts.objects]
        while self._rows.count < frame.index:  # damaged frames: a row is a frame by its place
            self._rows.add(nothing)
        row = []
        for number in self.facts.objects:
            one = frame.objects.get(number)
            row.append(rle_to_coco(empty_rle(self.facts.hw) if one is None else one.rle))
            if one is not None and one.area:
                self._areas[number] += one.area
                self._first.setdefault(number, self._rows.count)
        self._rows.add(row)
        self._seconds = frame.seconds

    def close(self) -> None:
        (height, width), count = self.facts.hw, self._rows.count
        about = {
            "video_id": self.facts.name,
            "video_duration": self._seconds + 1 / self.facts.rate,
            "video_frame_count": count,
            "video_height": height,
            "video_width": width,
            "video_resolution": height * width,
            "video_environment": "",
            "video_split": "",
            "masklet_id": list(self.facts.objects),
            "masklet_num": len(self.facts.objects),
            "masklet_size_abs": [area / max(count, 1) for area in self._areas.values()],
            "masklet_first_appeared_frame": [self._first.get(n, -1) for n in self._areas],
            "masklet_frame_count": [count] * len(self._areas),
            "masklet_type": ["auto"] * len(self._areas),
        }
        with whole_file(self.path) as out:
            out.write(json.dumps(about)[:-1].encode())
            self._rows.append_to(out, "masklet")
            out.write(b"}\n")

    def abandon(self) -> None:
        self._rows.abandon()


class CocoWriter(MaskWriter):
    """.json: COCO's instances. An image of it is a frame (`00012.png`), an annotation an object on
    it: its `category_id` is the object's name, its `group_id` the object's number, as in
    `formats.coco`.

    Args:
        names: Object -> its class; objects without one are called as masks without a label are.
    """

    def __init__(self, path: Path, facts: VideoFacts, names: Mapping[int, str]) -> None:
        self.path, self.facts = path, facts
        self._names = {number: names.get(number) or UNLABELLED for number in facts.objects}
        classes = sorted(set(self._names.values()))
        self._ids = {name: place for place, name in enumerate(classes, start=1)}
        self._images, self._rows = RowFile(path, "images"), RowFile(path, "rows")

    def write(self, frame: TrackedFrame, picture: Picture) -> None:
        number = self._images.count + 1
        (height, width), name = self.facts.hw, frame.name or f"{frame.stem}.png"
        self._images.add({"id": number, "file_name": name, "height": height, "width": width})
        for thing, one in frame.objects.items():
            if not one.area:
                continue
            x0, y0, x1, y1 = rle_box_xyxy(one.rle)
            row = {
                "id": self._rows.count + 1,
                "image_id": number,
                "category_id": self._ids[self._names[thing]],
                "segmentation": rle_to_coco(one.rle),
                "bbox": [int(x0), int(y0), int(x1 - x0 + 1), int(y1 - y0 + 1)],
                "area": one.area,
                "iscrowd": 0,
                "group_id": thing,
                "score": round(one.score, 4),
            }
            self._rows.add(row)

    def close(self) -> None:
        classes = [{"id": number, "name": name} for name, number in self._ids.items()]
        about = {"info": {"description": "written by anymask"}, "categories": classes}
        with whole_file(self.path) as out:
            out.write(json.dumps(about)[:-1].encode())
            self._images.append_to(out, "images")
            self._rows.append_to(out, "annotations")
            out.write(b"}\n")

    def abandon(self) -> None:
        self._images.abandon()
        self._rows.abandon()


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
    """A folder of cut-outs: a PNG a frame, called as in `PaletteWriter`."""

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
