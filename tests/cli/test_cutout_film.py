"""`anymask cutout VIDEO`, and cut-outs like an example."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from anymask import edit
from anymask.cli.main import main
from anymask.masks import Mask, mask_to_rle
from anymask.segment import Model
from tests.cli.test_track import with_sound
from tests.segment.fakes import iou
from tests.track.clips import moving_discs

FRAMES = 3
IMAGES, TRUTH = moving_discs(FRAMES)
BOX = "16,16,44,44"  # around the first disc in frame 0


@pytest.fixture(autouse=True)
def clip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tests.cli.test_track.IMAGES", IMAGES)
    with_sound(tmp_path / "clip.mkv")

    def subject(model: Model, image: np.ndarray) -> Mask | None:
        marked = (np.abs(image.astype(int) - IMAGES[0][30, 30]) < 8).all(axis=2)
        return Mask(mask_to_rle(marked), score=0.9) if marked.any() else None

    monkeypatch.setattr("anymask.edit.subject.main_subject", subject)
    monkeypatch.setattr(edit, "main_subject", subject, raising=False)


def alphas(path: str) -> list[np.ndarray]:
    """The alpha of each picture of a film (ffmpeg's own decoder of VP9 drops it)."""
    decoder = av.CodecContext.create("libvpx-vp9", "r")
    with av.open(path) as video:
        assert [one.type for one in video.streams.audio] == ["audio"]
        packets = video.demux(video=0)
        images = [one for packet in packets for one in decoder.decode(packet)]  # type: ignore[attr-defined]
    return [one.to_ndarray(format="rgba")[..., 3] for one in images]


def test_the_main_subject_is_followed_and_cut_out_softly_with_sound() -> None:
    assert main(["cutout", "clip.mkv", "-o", "disc.webm", "-o", "frames/"]) == 0
    shown = alphas("disc.webm")
    assert len(shown) == FRAMES
    for number, (alpha, (disc, _)) in enumerate(zip(shown, TRUTH, strict=True)):
        assert iou(alpha > 127, disc) > 0.85
        with Image.open(f"frames/{number:05d}.png") as image:
            assert image.mode == "RGBA"
            exact = np.asarray(image)
        assert iou(exact[..., 3] > 127, disc) > 0.9
        assert not exact[exact[..., 3] == 0].any()  # nothing of the background is left
