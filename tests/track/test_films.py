"""Films in the making: sound that stays with its pictures, and encoders that are not there."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from anymask.base import InputError
from anymask.track import TrackedFrame, VideoFacts, VideoWriter, check_film, open_source
from tests.track.clips import moving_discs

PICTURES, _ = moving_discs(4)
RATE, BEEP = 48_000, 0.06  # samples a second; seconds from the first frame to the tone


def clip_with_beep(path: Path, sound: str, late: float) -> Path:
    """A clip whose pictures begin late, behind its sound, with a tone a moment after."""
    wave = np.zeros((1, round(RATE * (late + 0.3))), np.float32)
    wave[0, round(RATE * (late + BEEP)) :] = np.sin(np.arange(round(RATE * (0.3 - BEEP))) / 3)
    with av.open(str(path), "w") as out:
        shown: Any = out.add_stream("libx264", rate=25)
        heard: Any = out.add_stream(sound, rate=RATE, layout="mono")
        shown.height, shown.width = PICTURES[0].shape[:2]
        shown.codec_context.time_base = Fraction(1, 1000)
        for place, picture in enumerate(PICTURES):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
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
    with av.open(str(path)) as film:
        first = next(film.decode(video=0)).time
    with av.open(str(path)) as film:
        for frame in film.decode(audio=0):
            loud = np.abs(frame.to_ndarray().ravel().astype(float))
            most = 1 << 15 if frame.format.name.startswith("s16") else 1
            if (loud > 0.3 * most).any():
                place = int((loud > 0.3 * most).argmax())
                codec = film.streams.audio[0].codec_context.name
                return codec, float(frame.time + place / frame.sample_rate - first)
    raise AssertionError("no tone")


def copied(clip: Path, path: Path) -> None:
    """Every picture as it is, in another film."""
    source = open_source(clip)
    facts = VideoFacts("clip", PICTURES[0].shape[:2], source.rate, (), clip)
    writer = VideoWriter(path, facts, lambda frame, image: image)
    for number in range(source.length or 0):
        frame = TrackedFrame(number, number, source.seconds(number), {})
        writer.write(frame, lambda number=number: source.read(number))
    writer.close()
    source.close()


@pytest.mark.parametrize(
    ("clip", "sound", "film", "wanted"),
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
    tmp_path: Path, clip: str, sound: str, film: str, wanted: str
) -> None:
    original = clip_with_beep(tmp_path / clip, sound, late=0.4)
    assert beep_of(original)[1] == pytest.approx(BEEP, abs=0.003)
    copied(original, tmp_path / film)
    codec, begins = beep_of(tmp_path / film)
    assert codec == wanted
    assert begins == pytest.approx(BEEP, abs=0.003)


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
    for film, look in (("a.mov", "cutout"), ("a.mp4", "picture")):
        with pytest.raises(InputError, match="no (prores_ks|libx264) encoder"):
            check_film(Path(film), look)  # type: ignore[arg-type]
    check_film(Path("a.webm"), "cutout")
    without("libopus")
    with pytest.raises(InputError, match="no libopus encoder, which .webm"):
        copied(clip, tmp_path / "film.webm")
    assert [one.name for one in tmp_path.iterdir()] == ["clip.mp4"]
