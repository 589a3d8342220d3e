"""A video redacted by tracks: every frame hidden, short gaps bridged, what is not is told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from anymask.base import DataError, InputError
from anymask.cli.main import main
from anymask.masks import mask_to_rle, rle_to_coco
from anymask.track import redact_video
from tests.cli.test_track import with_sound
from tests.track.clips import moving_discs, write_video

FRAMES = 6
IMAGES, TRUTH = moving_discs(FRAMES)


@pytest.fixture
def clip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return with_sound(tmp_path / "clip.mkv")


def tracks(path: str, frames: Any = range(FRAMES), size: slice = slice(None)) -> str:
    """A .jsonl with the first disc on some frames."""
    lines = []
    for frame in frames:
        rle = rle_to_coco(mask_to_rle(TRUTH[frame][0][size]))
        one = {"object": 1, "segmentation": rle, "score": 0.9, "state": "visible"}
        lines.append(json.dumps({"frame": frame, "seconds": frame / 25, "objects": [one]}))
    Path(path).write_text("\n".join(lines))
    return path


def images(path: str) -> list[np.ndarray]:
    with av.open(path) as video:
        return [frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)]


def test_the_object_is_hidden_on_every_frame_and_sound_stays(clip: Path) -> None:
    assert redact_video(clip, tracks("t.jsonl"), "out.mkv", color="white") == []
    for shown, before, (disc, other) in zip(images("out.mkv"), IMAGES, TRUTH, strict=True):
        assert shown[disc].min() > 235
        assert np.abs(shown[other].astype(int) - before[other]).mean() < 30
    with av.open("out.mkv") as video, av.open(str(clip)) as original:
        assert [one.type for one in video.streams.audio] == ["audio"]
        assert len([*video.decode(audio=0)]) >= len([*original.decode(audio=0)]) - 1
    assert not list(Path().glob(".*.part*"))


def test_a_short_gap_is_bridged_and_told_with_frames_that_show_all(clip: Path) -> None:
    gaps = redact_video(clip, tracks("t.jsonl", (1, 3, 4)), "out.mkv", color="white")
    told = {gap.frame: gap.reason for gap in gaps}
    assert told == {
        0: "nothing is hidden",
        2: "object 1 has no mask; its previous and next position are hidden instead",
        5: "nothing is hidden",
    }
    between = images("out.mkv")[2]
    assert between[TRUTH[1][0] | TRUTH[3][0]].min() > 235


def test_a_long_gap_is_told_and_not_bridged(tmp_path: Path) -> None:
    many, truth = moving_discs(32)
    write_video(tmp_path / "long.mkv", many)
    rows = []
    for frame in (0, 31):
        one = {"object": 7, "segmentation": rle_to_coco(mask_to_rle(truth[frame][0]))}
        rows.append(json.dumps({"frame": frame, "objects": [one]}))
    (tmp_path / "t.jsonl").write_text("\n".join(rows))
    gaps = redact_video(tmp_path / "long.mkv", tmp_path / "t.jsonl", tmp_path / "out.mkv")
    assert [gap.frame for gap in gaps] == list(range(1, 31))
    assert (
        gaps[0].reason
        == "object 7 has no mask between two detections and is not hidden; nothing is hidden"
    )


def test_what_does_not_fit_is_refused_and_nothing_is_overwritten(clip: Path) -> None:
    known = tracks("t.jsonl")
    Path("mine.mp4").write_bytes(b"mine")
    for out, error in (
        (clip, "is no result of redact"),
        ("mine.mp4", "is no result of redact"),
        ("out.txt", "Unsupported format"),
    ):
        with pytest.raises(InputError, match=error):
            redact_video(clip, known, out)
    assert Path("mine.mp4").read_bytes() == b"mine"
    with pytest.raises(DataError, match="tracks of this video"):
        redact_video(clip, tracks("small.jsonl", size=slice(0, 50)), "out.mkv")
    write_video(Path("short.mkv"), IMAGES[:2])
    with pytest.raises(InputError, match="the video has 2 frames"):
        redact_video("short.mkv", known, "out.mkv")
    assert not Path("out.mkv").exists()


def test_the_command_is_done_once_and_lists_frames(
    clip: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["redact", "clip.mkv", "-o", "out.mkv", "--labels", tracks("t.jsonl", (0, 1, 2))]
    assert main(words) == 0
    assert (
        "objects are not fully redacted on 3 frames, listed in out-without.csv"
        in capsys.readouterr().err
    )
    assert Path("out-without.csv").read_text().splitlines()[1] == "3,0.120,nothing is hidden"
    before = Path("out.mkv").stat().st_mtime_ns
    for same in (Path("clip.mkv"), Path("t.jsonl")):  # touched, or brought from elsewhere
        same.write_bytes(same.read_bytes())
    assert main(words) == 0
    assert Path("out.mkv").stat().st_mtime_ns == before
    assert main([*words, "--how", "blur"]) == 0
    assert "can be partly reversed" in capsys.readouterr().err
    assert Path("out.mkv").stat().st_mtime_ns > before


def test_words_in_a_video_are_looked_at_first(
    clip: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from anymask import track

    def find(load: Any, video: Path, words: str, review: Path, *_: Any, **__: Any) -> Path:
        review.mkdir()
        return Path(tracks(str(review / "clip.jsonl")))

    monkeypatch.setattr(track, "find_for_review", find, raising=False)
    monkeypatch.setattr("anymask.track.redaction.find_for_review", find)
    assert main(["redact", "clip.mkv", "--words", "disc", "-o", "out.mkv"]) == 0
    assert not Path("out.mkv").exists()
    assert "--labels out-review/clip.jsonl" in capsys.readouterr().err
    assert main(["redact", "clip.mkv", "--words", "disc", "-o", "o2.mkv", "--force"]) == 0
    assert len(images("o2.mkv")) == FRAMES
