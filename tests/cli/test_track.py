"""`anymask track`: a video in, masks in every format out."""

from __future__ import annotations

import json
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from anymask.cli.main import main
from anymask.masks import coco_to_rle, rle_to_mask
from tests.segment.fakes import iou
from tests.track.clips import moving_discs, write_video

FRAMES = 6
IMAGES, TRUTH = moving_discs(FRAMES)
BOX = "16,16,44,44"  # around the first disc in frame 0


@pytest.fixture
def clip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return with_sound(tmp_path / "clip.mkv")


def with_sound(path: Path) -> Path:
    """The discs with a tone of as many seconds."""
    write_video(path.with_name("silent.mkv"), IMAGES)
    with av.open(str(path.with_name("silent.mkv"))) as silent, av.open(str(path), "w") as out:
        image = out.add_stream_from_template(silent.streams.video[0])
        tone = out.add_stream("aac", rate=16000, layout="mono")
        for packet in silent.demux(video=0):
            if packet.dts is not None:
                packet.stream = image
                out.mux(packet)
        wave = np.sin(np.arange(16000 * FRAMES // 25) / 10).astype(np.float32)[None]
        sound = av.AudioFrame.from_ndarray(wave, format="fltp", layout="mono")
        sound.rate = 16000
        out.mux(tone.encode(sound))
        out.mux(tone.encode())
    return path


def track(*words: object) -> int:
    return main(["track", *map(str, words)])


def test_every_output_holds_every_frame(clip: Path) -> None:
    outputs = ["masks.json", "masks.jsonl", "davis", "drawn.mkv"]
    said = [word for name in outputs for word in ("-o", name)]
    assert track(clip, "--box", BOX, *said) == 0
    lines = [json.loads(line) for line in Path("masks.jsonl").read_text("utf-8").splitlines()]
    assert [line["frame"] for line in lines] == list(range(FRAMES))
    assert [round(line["seconds"], 2) for line in lines] == [0.04 * n for n in range(FRAMES)]
    document = json.loads(Path("masks.json").read_text("utf-8"))
    assert (document["video_frame_count"], document["masklet_id"]) == (FRAMES, [1])
    for frame in range(FRAMES):
        mask = rle_to_mask(coco_to_rle(lines[frame]["objects"][0]["segmentation"]))
        assert iou(mask, TRUTH[frame][0]) > 0.5
        np.testing.assert_array_equal(mask, rle_to_mask(coco_to_rle(document["masklet"][frame][0])))
        davis = Image.open(f"davis/{frame:05d}.png")
        assert davis.mode == "P"
        np.testing.assert_array_equal(np.asarray(davis) == 1, mask)
    assert not list(Path().glob(".*"))  # neither drafts nor the session are left


def test_an_interrupted_run_goes_on(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert track(clip, "--box", BOX, "-o", "whole.jsonl") == 0
    from anymask.track import outputs

    write, seen = outputs.LineWriter.write, []

    def interrupt(self: object, frame: object, image: object) -> None:
        seen.append(frame)
        if len(seen) == 4:
            raise KeyboardInterrupt
        write(self, frame, image)

    monkeypatch.setattr(outputs.LineWriter, "write", interrupt)
    assert track(clip, "--box", BOX, "-o", "part.jsonl") == 130
    assert Path(".part.jsonl.session").exists()
    assert track(clip, "--box", BOX, "-o", "part.jsonl") == 0
    assert Path("part.jsonl").read_text("utf-8") == Path("whole.jsonl").read_text("utf-8")
    assert not Path(".part.jsonl.session").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["clip.mkv", "-o", "a.json"], "No prompt was passed"),
        (["clip.mkv", "--point", "5", "-o", "a.json"], "Invalid --point [PLACE]X,Y '5'"),
        (["clip.mkv", "--box", "90:1:1,1,5,5", "-o", "a.json"], "Frame 90 is out of range"),
        (["clip.mkv", "--point", "5,5", "-o", "a.xml"], "Use .json (SA-V), .jsonl"),
        (
            ["clip.mkv", "--point", "5,5", "--cutout", "-o", "a.mp4"],
            "Unsupported format for cut-outs",
        ),
        (["clip.mkv", "--point", "5,5", "--cutout", "-o", "a.json"], "requires a video output"),
        (
            ["clip.mkv", "--negative", "5,5", "-o", "a.json"],
            "--negative requires an object to subtract from",
        ),
        (
            ["clip.mkv", "--point", "5,5", "--negative", "0:2:9,9", "-o", "a.json"],
            "object 2 has no prompt",
        ),
        (["clip.mkv", "--box", "3:1,1,5,5", "-o", "a.json"], "Write 3:1:1,1,5,5 for object 1 on"),
        (["clip.mkv", "--from", "none.jsonl", "-o", "a.json"], "'none.jsonl' does not exist"),
        (
            ["clip.mkv", "--box", "1,1,5,5", "--box", "7,7,9,9", "-o", "a.json"],
            "Give the second object another number",
        ),
        (["clip.mkv", "--mask", "a.png", "--mask", "b.png", "-o", "a.json"], "Only one --mask"),
        (
            ["clip.mkv", "--point", "5,5", "-o", "-"],
            "anymask track does not write to standard output",
        ),
        (["https://a.b/c.mp4", "--point", "5,5", "-o", "a.json"], "not downloaded: 'https://a.b"),
        (["none.mkv", "--point", "5,5", "-o", "a.json"], "'none.mkv' does not exist"),
        (
            ["clip.mkv", "--point", "5,5", "-o", "a.json", "--every", "0"],
            "every must be a whole number",
        ),
        (["clip.mkv", "--point", "5,5", "-o", "a.json", "--least-quality", "7"], "from 0 to 1"),
    ],
)
def test_a_wrong_command_is_one_sentence(
    clip: Path, words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert track(*words) == 2
    told = capsys.readouterr().err
    assert message in told
    assert "Traceback" not in told
