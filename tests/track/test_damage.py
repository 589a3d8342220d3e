"""Damaged videos: every frame that can be decoded is read, with its own number and time.

The oracle is PyAV, going on after each error.
"""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from anymask.base import InputError
from anymask.cli.main import main
from anymask.evaluation.video_protocols import follow_given
from anymask.formats import Clip
from anymask.segment import Model
from anymask.track import FrameSampling, open_session, open_source, redact_video
from anymask.track.sources import SampledFrames
from tests.segment.fakes import ColorRuntime, iou
from tests.track.clips import damage_packet, decodable, moving_discs, write_video
from tests.track.test_redaction import tracks

IMAGES, TRUTH = moving_discs(30)
START = (30, 30)  # on the first disc in frame 0
H264 = {"codec": "libx264", "pix_fmt": "yuv420p", "g": 10}
KINDS = {
    "p.mp4": {**H264, "bf": 0},
    "b.mp4": {**H264, "bf": 2},
    "m.avi": {"codec": "mpeg4", "pix_fmt": "yuv420p", "g": 10},
    "v.webm": {"codec": "libvpx-vp9", "pix_fmt": "yuv420p", "g": 10},
    "f.mkv": {"codec": "ffv1", "g": 10},
    "j.mov": {"codec": "mjpeg", "pix_fmt": "yuvj420p"},
}


def broken_clip(path: Path) -> Path:
    """Of frame 5 nothing is left; a key frame comes every ten frames."""
    return damage_packet(write_video(path, IMAGES, **H264, bf=0), 5)


def readable(path: Path) -> tuple[list[int], SampledFrames]:
    frames = SampledFrames(open_source(path), FrameSampling())
    read = [frame for frame in range(len(IMAGES)) if frames.read(frame) is not None]
    return read, frames


@pytest.mark.parametrize("number", [5, 10, 29])
@pytest.mark.parametrize("kind", KINDS)
def test_what_pyav_decodes_is_read_with_its_time(tmp_path: Path, kind: str, number: int) -> None:
    path = write_video(tmp_path / kind, IMAGES, **KINDS[kind])
    damage_packet(path, number, seed=number)
    read, frames = readable(path)
    times = decodable(path)
    shown = {round((frames.seconds(frame) + times[0]) * 25) for frame in read}
    assert shown >= {round(time * 25) for time in times}  # several threads may save one more
    assert len(read) == 30 or f"{len(read)} of 30 frames" in (frames.damage or "")


def test_frames_behind_the_damage_are_those_that_were_written(tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.mkv", IMAGES, g=1)
    damage_packet(path, 12, seed=1)
    read, frames = readable(path)
    assert read == [*range(12), *range(13, 30)]
    assert frames.damage == "Frame 12 is damaged and skipped: 29 of 30 frames can be decoded"
    for frame in (11, 20, 29):
        np.testing.assert_array_equal(frames.read(frame), IMAGES[frame])


@pytest.mark.parametrize("codec", ["x264", "x265"])
def test_a_whole_video_lacks_no_frame_in_any_order(tmp_path: Path, codec: str) -> None:
    open_groups = {f"{codec}-params": "open-gop=1:keyint=10:min-keyint=10:log-level=none"}
    path = tmp_path / "clip.mp4"
    try:
        write_video(path, IMAGES, codec=f"lib{codec}", pix_fmt="yuv420p", **open_groups)
    except av.error.FFmpegError:
        pytest.skip("needs an encoder of HEVC")
    source = open_source(path)
    for frame in np.random.default_rng(0).permutation(30):
        assert source.read(int(frame)) is not None, frame
    assert not source.missing


def test_packets_that_never_arrive_are_missing_frames(tmp_path: Path) -> None:
    """In a damaged transport stream packets are gone: a gap in the times tells how many."""
    path = write_video(tmp_path / "a.ts", IMAGES, **H264, bf=0)
    whole = bytearray(path.read_bytes())
    whole[len(whole) // 2 : len(whole) // 2 + 600] = bytes(600)
    path.write_bytes(whole)
    read, frames = readable(path)
    times = decodable(path)
    gone = sorted({round(0.04 * n, 3) for n in range(30)} - set(times))
    assert gone
    assert frames.length == 30
    assert [round(frames.seconds(n), 3) for n in read] == times
    assert [round(0.04 * n, 3) for n in range(30) if n not in read] == gone
    assert frames.damage is not None
    assert f"{len(times)} of 30 frames can be decoded" in frames.damage


@pytest.mark.parametrize("bf", [0, 2])
def test_two_frames_of_one_time_stamp_are_two_frames(tmp_path: Path, bf: int) -> None:
    """FFmpeg gives the last two frames of H.264 in AVI the same time."""
    path = write_video(tmp_path / "a.avi", IMAGES, **H264, bf=bf)
    assert len(decodable(path)) == 30
    read, frames = readable(path)
    assert read == list(range(30))
    assert frames.damage is None
    with av.open(str(path)) as video:
        shown = [one.to_ndarray(format="rgb24") for one in video.decode(video=0)]
    for number in (29, 28, 3, 29):
        image = frames.read(number)
        assert image is not None
        np.testing.assert_array_equal(image, shown[number])


def test_several_gaps_are_told_as_ranges(tmp_path: Path) -> None:
    for number, image in enumerate(IMAGES):
        Image.fromarray(image).save(tmp_path / f"{number:03d}.jpg")
    for number in (0, 3, 4, 5, 9):
        path = tmp_path / f"{number:03d}.jpg"
        path.write_bytes(path.read_bytes()[:200])
    (tmp_path / "012.jpg").write_bytes(b"")
    read, frames = readable(tmp_path)
    assert read == [n for n in range(30) if n not in (0, 3, 4, 5, 9, 12)]
    assert frames.damage == (
        "Frames 0, 3-5, 9, 12 are damaged and skipped: 24 of 30 frames can be decoded"
    )


# Those who read videos.


def test_objects_are_followed_over_a_gap_and_back(tmp_path: Path) -> None:
    model, kept = Model(ColorRuntime()), tmp_path / "clip.session"
    path = broken_clip(tmp_path / "clip.mp4")
    seen = [frame for frame in range(30) if frame != 5]
    with open_session(model, path, session=kept) as session:
        session.add(frame=0, id=1, points=[START])
        with pytest.raises(InputError, match="Frame 5 of the video is damaged"):
            session.add(frame=5, id=1, points=[START])
        frames = list(itertools.islice(session, 12))
    with open_session(model, path, session=kept) as session:  # a later run knows of the gap
        frames = [session.result(one.index) for one in frames] + list(session.propagate(start=13))
        assert [frame.index for frame in session.propagate()] == seen
        assert [frame.index for frame in session.propagate("backward", start=20)] == [
            frame for frame in reversed(range(21)) if frame != 5
        ]
    assert [frame.index for frame in frames] == seen
    for frame in frames:
        assert iou(frame.masks[1], TRUTH[frame.index][0]) > 0.7


def test_track_writes_every_other_frame_at_its_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    broken_clip(Path("clip.mp4"))
    outputs = ["-o", "m.jsonl", "-o", "m.json", "-o", "m.mp4", "-o", "davis"]
    assert main(["track", "clip.mp4", "--box", "10:1:36,16,64,44", *outputs]) == 0
    assert "Frame 5 is damaged and skipped: 29 of 30 frames" in capsys.readouterr().out
    seen = [frame for frame in range(30) if frame != 5]
    lines = [json.loads(line) for line in Path("m.jsonl").read_text("utf-8").splitlines()]
    assert [line["frame"] for line in lines] == seen
    assert len(json.loads(Path("m.json").read_text("utf-8"))["masklet"]) == 30
    assert sorted(int(path.stem) for path in Path("davis").iterdir()) == seen
    assert decodable(Path("m.mp4")) == pytest.approx([0.04 * frame for frame in seen], abs=0.002)


def test_a_redacted_copy_leaves_the_frame_out_and_tells_it(tmp_path: Path) -> None:
    path = broken_clip(tmp_path / "clip.mp4")
    told = tracks(str(tmp_path / "t.jsonl"), [frame for frame in range(6) if frame != 5])
    gaps = redact_video(path, told, tmp_path / "out.mp4")
    assert [gap.reason for gap in gaps if gap.frame == 5] == ["damaged frame, not in the copy"]
    assert len(decodable(tmp_path / "out.mp4")) == 29


def test_an_evaluation_leaves_damaged_frames_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    frames, masks = [], {}
    for number in range(8):
        frames.append(tmp_path / f"{number}.png")
        Image.fromarray(IMAGES[number]).save(frames[-1])
        masks[number] = tmp_path / f"mask{number}.png"
        Image.fromarray(TRUTH[number][0].astype(np.uint8)).save(masks[number])
    frames[4].write_bytes(frames[4].read_bytes()[:300])
    clip = Clip(name="discs", frames=tuple(frames), annotations=masks)
    model = Model(ColorRuntime())
    (scores,) = follow_given(clip, lambda one: open_session(model, list(one.frames)))
    assert len(scores.j) == 5  # of 8: without the first, the last and the damaged one
    assert scores.j.min() > 0.7
    assert "Frame 4 is damaged and skipped: 7 of 8 frames" in caplog.text
