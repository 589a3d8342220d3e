"""Films in the making: sound that stays with its pictures, and encoders that are not there."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from anymask.base import InputError
from anymask.track import TrackedFrame, VideoFacts, VideoWriter, check_video_output, open_source
from tests.track.clips import moving_discs

IMAGES, _ = moving_discs(4)
RATE, BEEP = 48_000, 0.06  # samples a second; seconds from the first frame to the tone


def clip_with_beep(path: Path, sound: str, late: float) -> Path:
    """A clip whose pictures begin late, behind its sound, with a tone a moment after."""
    wave = np.zeros((1, round(RATE * (late + 0.3))), np.float32)
    wave[0, round(RATE * (late + BEEP)) :] = np.sin(np.arange(round(RATE * (0.3 - BEEP))) / 3)
    with av.open(str(path), "w") as out:
        shown: Any = out.add_stream("libx264", rate=25)
        heard: Any = out.add_stream(sound, rate=RATE, layout="mono")
        shown.height, shown.width = IMAGES[0].shape[:2]
        shown.codec_context.time_base = Fraction(1, 1000)
        for place, image in enumerate(IMAGES):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = round(1000 * late) + 40 * place, Fraction(1, 1000)
            out.mux(shown.encode(frame))
        out.mux(shown.encode())
        tone = av.AudioFrame.from_ndarray(wave, format="fltp", layout="mono")
        tone.rate, tone.pts, tone.time_base = RATE, 0, Fraction(1, RATE)
        form = heard.codec_context.format.name
        for part in av.AudioResampler(form, "mono", RATE, frame_size=1024).resample(tone):
            out.mux(heard.encode(part))
        out.mux(heard.encode())
    return path


def beep_of(path: Path) -> tuple[str, float]:
    """The codec of the sound, and when the tone begins after the first picture."""
    with av.open(str(path)) as video:
        first = next(video.decode(video=0)).time
    with av.open(str(path)) as video:
        for frame in video.decode(audio=0):
            loud = np.abs(frame.to_ndarray().ravel().astype(float))
            most = 1 << 15 if frame.format.name.startswith("s16") else 1
            if (loud > 0.3 * most).any():
                place = int((loud > 0.3 * most).argmax())
                codec = video.streams.audio[0].codec_context.name
                return codec, float(frame.time + place / frame.sample_rate - first)
    raise AssertionError("no tone")


def copied(clip: Path, path: Path, look: Any = "picture") -> None:
    """Every picture as it is, in another film."""
    source = open_source(clip)
    facts = VideoFacts("clip", IMAGES[0].shape[:2], source.rate, (), clip)
    opaque = ((0, 0), (0, 0), (0, 1 if look == "cutout" else 0))

    def draw(frame: TrackedFrame, image: np.ndarray) -> np.ndarray:
        return np.pad(image, opaque, constant_values=255)

    writer = VideoWriter(path, facts, draw, look)
    for number in range(source.length or 0):
        frame = TrackedFrame(number, number, source.seconds(number), {})
        writer.write(frame, lambda number=number: source.read(number))
    writer.close()
    source.close()


@pytest.mark.parametrize(
    ("clip", "sound", "video", "expected"),
    [
        ("late.mkv", "aac", "film.mp4", "aac"),
        ("late.mkv", "aac", "film.webm", "opus"),
        ("late.ts", "aac", "film.mov", "aac"),
        ("late.mkv", "pcm_s16le", "film.mp4", "aac"),
        ("late.mkv", "libopus", "film.mov", "aac"),
        ("late.mkv", "libopus", "film.mkv", "opus"),
    ],
)
def test_sound_stays_with_its_pictures_in_every_format(
    tmp_path: Path, clip: str, sound: str, video: str, expected: str
) -> None:
    original = clip_with_beep(tmp_path / clip, sound, late=0.4)
    assert beep_of(original)[1] == pytest.approx(BEEP, abs=0.003)
    copied(original, tmp_path / video)
    codec, begins = beep_of(tmp_path / video)
    assert codec == expected
    assert begins == pytest.approx(BEEP, abs=0.003)


PATCHES = ((218, 59, 29), (39, 139, 89), (20, 20, 200), (250, 240, 30))
WEIGHTS = {1: (0.2126, 0.0722), 5: (0.299, 0.114), 9: (0.2627, 0.0593)}  # of red and blue (H.273)


def coded(color: tuple[int, ...], matrix: int, full: bool) -> list[int]:
    """Y, Cb and Cr of a color by the formulas of H.273."""
    kr, kb = WEIGHTS[matrix]
    red, green, blue = (value / 255 for value in color)
    luma = kr * red + (1 - kr - kb) * green + kb * blue
    chroma = ((blue - luma) / (2 - 2 * kb), (red - luma) / (2 - 2 * kr))
    low, high, wide = (0, 255, 255) if full else (16, 219, 224)
    return [round(low + high * luma), *(round(128 + wide * part) for part in chroma)]


def patches(path: Path, tags: tuple[int, ...], form: str = "yuv420p") -> Path:
    """A clip of four patches, coded by hand, with its tags."""
    with av.open(str(path), "w") as out:
        shown: Any = out.add_stream("libx264", rate=25, options={"crf": "1"})
        shown.width, shown.height, shown.pix_fmt = 256, 64, form
        frame = av.VideoFrame(256, 64, "yuv420p")
        for number, plane in enumerate(frame.planes):
            row = np.zeros(plane.line_size, np.uint8)
            wide = 64 if number == 0 else 32
            for place, color in enumerate(PATCHES):
                matrix = tags[0] if tags[0] in WEIGHTS else 5
                value = coded(color, matrix, tags[1] == 2)[number]
                row[place * wide : (place + 1) * wide] = value
            plane.update(np.tile(row, (plane.height, 1)).tobytes())
        frame.colorspace, frame.color_range = tags[:2]
        for name, value in zip(TAGS, tags, strict=True):
            setattr(shown.codec_context, name, value)
        frame.pts, frame.time_base = 0, Fraction(1, 25)
        out.mux(shown.encode(frame))
        out.mux(shown.encode())
    return path


TAGS = ("colorspace", "color_range", "color_primaries", "color_trc")


@pytest.mark.parametrize(
    ("tags", "video", "look"),
    [
        ((1, 1, 1, 1), "film.mp4", "picture"),
        ((1, 1, 1, 1), "film.webm", "cutout"),
        ((1, 2, 1, 1), "film.mp4", "picture"),
        ((1, 2, 1, 1), "film.mov", "cutout"),
        ((5, 1, 5, 6), "film.mkv", "picture"),
        ((9, 1, 9, 16), "film.mp4", "picture"),
        ((2, 0, 2, 2), "film.mp4", "picture"),
    ],
)
def test_a_film_has_the_colours_and_tags_of_its_original(
    tmp_path: Path, tags: tuple[int, ...], video: str, look: Any
) -> None:
    clip, path = patches(tmp_path / "clip.mp4", tags), tmp_path / video
    copied(clip, path, look)
    with av.open(str(path)) as out:
        frame = next(out.decode(video=0))
        kept = [int(getattr(out.streams.video[0].codec_context, name)) for name in TAGS]
    limited = path.suffix == ".mov"  # ProRes has no full range
    assert kept == [tags[0], 1 if limited else tags[1], *tags[2:]]
    shown = frame.to_ndarray(format="rgb24", dst_color_range=2)[32, 32::64].astype(int)
    with av.open(str(clip)) as original:
        seen = (
            next(original.decode(video=0))
            .to_ndarray(format="rgb24", dst_color_range=2)[32, 32::64]
            .astype(int)
        )
    assert np.abs(seen - PATCHES).max() <= 3
    assert np.abs(shown - seen).max() <= 3


def test_a_film_of_pictures_is_tagged_and_ten_bits_are_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "film.mp4"
    writer = VideoWriter(path, VideoFacts("a", (64, 64), 25.0, ()), lambda frame, image: image)
    source_image = np.full((64, 64, 3), PATCHES[0], np.uint8)
    writer.write(TrackedFrame(0, 0, 0.0, {}), lambda: source_image)
    writer.close()
    with av.open(str(path)) as out:
        frame = next(out.decode(video=0))
    assert (int(frame.colorspace), int(frame.color_range)) == (1, 1)
    assert (
        np.abs(
            frame.to_ndarray(format="rgb24", dst_color_range=2)[32, 32].astype(int) - PATCHES[0]
        ).max()
        <= 3
    )
    deep = patches(tmp_path / "deep.mp4", (9, 1, 9, 16), "yuv420p10le")
    copied(deep, tmp_path / "eight.mp4")
    assert "10 bits" in caplog.text


def test_an_encoder_that_lacks_is_one_sentence_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = clip_with_beep(tmp_path / "clip.mp4", "aac", late=0)
    codec = av.Codec

    def without(*names: str) -> None:
        def find(name: str, mode: str) -> Any:
            return codec("none" if name in names else name, mode)  # type: ignore[arg-type]

        monkeypatch.setattr(av, "Codec", find)

    without("prores_ks", "libx264")
    for video, look in (("a.mov", "cutout"), ("a.mp4", "picture")):
        with pytest.raises(InputError, match="no (prores_ks|libx264) encoder"):
            check_video_output(Path(video), look)  # type: ignore[arg-type]
    check_video_output(Path("a.webm"), "cutout")
    without("libopus")
    with pytest.raises(InputError, match="no libopus encoder, which .webm"):
        copied(clip, tmp_path / "film.webm")
    assert [one.name for one in tmp_path.iterdir()] == ["clip.mp4"]
