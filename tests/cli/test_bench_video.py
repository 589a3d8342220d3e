"""`anymask bench video`: trackers beside baselines on videos whose true masks are known."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import anymask
from anymask.cli.bench_long_video import PERIOD, MadeScene
from anymask.cli.main import main
from anymask.evaluation.video_tracking import copy_first, read_masked_videos, score_method
from anymask.predictors.image import Model
from anymask.primitives.errors import DataError
from tests.predictors.fakes import ColourRuntime
from tests.video.clips import moving_discs

FRAMES = 8
PICTURES, TRUTH = moving_discs(FRAMES)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for part in ("images", "masks"):
        (tmp_path / "discs" / part).mkdir(parents=True)
    for number, (picture, (mask, _)) in enumerate(zip(PICTURES, TRUTH, strict=True)):
        Image.fromarray(picture).save(tmp_path / "discs" / "images" / f"{number}.png")
        Image.fromarray(mask.astype(np.uint8) * 255).save(
            tmp_path / "discs" / "masks" / f"{number}.png"
        )
    return tmp_path


def test_the_tracker_beats_what_it_must_beat(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(anymask, "load", lambda *_: Model(ColourRuntime()))
    assert main(["bench", "video", str(folder), "--json", str(tmp_path / "a.json")]) == 0
    figures = json.loads((tmp_path / "a.json").read_text("utf-8"))["figures"]
    means = {one["runtime"]: one["value"] for one in figures if one["what"] == "mean J & F"}
    assert set(means) == {
        "fake, auto", "fake, match", "copy the first mask", "DIS flow", "OpenCV MIL, box to fake",
    }  # fmt: skip
    assert means["fake, auto"] > means["copy the first mask"] + 0.1


def test_one_tracker_may_be_asked_for_alone(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(anymask, "load", lambda *_: Model(ColourRuntime()))
    out = tmp_path / "a.json"
    assert main(["bench", "video", str(folder), "--tracker", "match", "--json", str(out)]) == 0
    figures = json.loads(out.read_text("utf-8"))["figures"]
    assert {one["runtime"] for one in figures} == {"fake, match"}


def test_an_object_that_never_moves_is_copied_rightly(folder: Path) -> None:
    (video,) = read_masked_videos(folder)
    assert len(video.frames) == FRAMES
    still = type(video)(video.name, video.frames[:1] * 4, video.masks[:1] * 4)
    assert score_method(copy_first, "copy", still, 4).scores.j_and_f == 1


def test_a_folder_of_another_layout_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no videos; wanted VIDEO/images and VIDEO/masks"):
        read_masked_videos(tmp_path / "discs")
    (folder / "discs" / "masks" / "7.png").unlink()
    with pytest.raises(DataError, match="got 8 images and 7 masks"):
        read_masked_videos(folder)


def test_a_long_scene_is_followed_and_nothing_grows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(anymask, "load", lambda *_: Model(ColourRuntime()))
    monkeypatch.setattr("anymask.cli.bench_long_video.PERIOD", 8)
    monkeypatch.setattr(MadeScene.__init__, "__defaults__", ((48, 64),))
    out = tmp_path / "a.json"
    assert main(["bench", "video", "--long", "40", "--json", str(out)]) == 0
    told = re.findall(r"after (\d+) frames: [\d.?]+ MiB", capsys.readouterr().out)
    assert told == [str(n) for n in range(4, 41, 4)]
    figures = {one["what"]: one["value"] for one in json.loads(out.read_text("utf-8"))["figures"]}
    assert figures["arrays held"] > 10
    assert main(["bench", "video", "--long", "3"]) == 2
    assert "--long must be at least 10, got 3" in capsys.readouterr().err


def test_the_scene_begins_anew_without_a_jump() -> None:
    scene = MadeScene((48, 64))
    assert (scene.picture(0) == scene.picture(PERIOD)).all()
    assert (scene.mask(0) != scene.mask(0, 40)).any()
    assert (scene.picture(0)[scene.mask(2)] == scene.picture(PERIOD)[scene.mask(2)]).all()


def test_a_folder_must_be_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "video"]) == 2
    assert "name a folder of videos with masks" in capsys.readouterr().err
