"""`anymask cutout VIDEO`, and cut-outs like an example."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar

import av
import numpy as np
import pytest
from PIL import Image

import anymask
from anymask import edit, jobs
from anymask.cli.main import main
from anymask.masks import Mask, Masks, mask_to_rle
from anymask.segment import Model
from tests.cli.test_track import with_sound
from tests.segment.fakes import ColourRuntime, iou
from tests.track.clips import moving_discs

FRAMES = 3
PICTURES, TRUTH = moving_discs(FRAMES)
BOX = "16,16,44,44"  # around the first disc in frame 0


@pytest.fixture(autouse=True)
def clip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tests.cli.test_track.PICTURES", PICTURES)
    with_sound(tmp_path / "clip.mkv")

    def subject(model: Model, photo: np.ndarray) -> Mask | None:
        marked = (np.abs(photo.astype(int) - PICTURES[0][30, 30]) < 8).all(axis=2)
        return Mask(mask_to_rle(marked), score=0.9) if marked.any() else None

    monkeypatch.setattr("anymask.edit.subject.main_subject", subject)
    monkeypatch.setattr(edit, "main_subject", subject, raising=False)


def alphas(path: str) -> list[np.ndarray]:
    """The alpha of each picture of a film (ffmpeg's own decoder of VP9 drops it)."""
    decoder = av.CodecContext.create("libvpx-vp9", "r")
    with av.open(path) as film:
        assert [one.type for one in film.streams.audio] == ["audio"]
        packets = film.demux(video=0)
        pictures = [one for packet in packets for one in decoder.decode(packet)]  # type: ignore[attr-defined]
    return [one.to_ndarray(format="rgba")[..., 3] for one in pictures]


def test_the_main_subject_is_followed_and_cut_out_softly_with_sound() -> None:
    assert main(["cutout", "clip.mkv", "-o", "disc.webm", "-o", "frames/"]) == 0
    shown = alphas("disc.webm")
    assert len(shown) == FRAMES
    for number, (alpha, (disc, _)) in enumerate(zip(shown, TRUTH, strict=True)):
        assert iou(alpha > 127, disc) > 0.85
        with Image.open(f"frames/{number:05d}.png") as picture:
            assert picture.mode == "RGBA"
            exact = np.asarray(picture)
        assert iou(exact[..., 3] > 127, disc) > 0.9
        assert not exact[exact[..., 3] == 0].any()  # nothing of the background is left


def test_a_finished_film_is_not_done_again_and_another_look_is(
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ["cutout", "clip.mkv", "--box", BOX, "-o", "disc.mp4", "--background", "white"]
    for told in ("wrote disc.mp4", "exists: disc.mp4"):
        assert main(words) == 0
        assert told in capsys.readouterr().err
    with av.open("disc.mp4") as film:
        first = next(film.decode(video=0)).to_ndarray(format="rgb24")
    assert first[70, 100].min() > 235  # the other disc lies under white
    assert main([*words[:-1], "black"]) == 0
    assert "wrote disc.mp4" in capsys.readouterr().err


def test_things_like_an_example_are_cut_out(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    class Finder:
        about: ClassVar[dict[str, Any]] = {"example": 1}

        def __init__(self, model: Model, like: Any, unlike: Any, settings: Any) -> None:
            asked.append((like, unlike))

        def __call__(self, photo: np.ndarray, _: Any) -> Masks:
            return self.find(photo)

        def find(self, photo: np.ndarray) -> Masks:
            return Masks([Mask(mask_to_rle(TRUTH[0][0])), Mask(mask_to_rle(TRUTH[0][1]))])

    monkeypatch.setattr("anymask.find.ExampleFinder", Finder, raising=False)
    monkeypatch.setattr(anymask, "load", lambda *_, **__: Model(ColourRuntime()))
    Path("photos").mkdir()
    Image.fromarray(PICTURES[0]).save("photos/a.png")
    example = ["--like", "photos/a.png@box:16,16,44,44", "--unlike", "photos/a.png@click:1,1"]
    assert main(["cutout", "photos", *example, "--soft", "no", "-o", "out"]) == 0
    assert asked == [(["photos/a.png@box:16,16,44,44"], ["photos/a.png@click:1,1"])]
    with Image.open("out/a.png") as picture:
        shown = np.asarray(picture)[..., 3] > 0
    np.testing.assert_array_equal(shown, TRUTH[0][0] | TRUTH[0][1])
    assert len(json.loads(Path("out/.masks/a.json").read_text())["annotations"]) == 2
    assert jobs.run("cutout", "photos", "o2", like="photos/a.png@click:30,30").done == 1
    picture = Model(ColourRuntime()).cutout(PICTURES[0], like="photos/a.png@click:30,30")
    assert picture.mode == "RGBA"
