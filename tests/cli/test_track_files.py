"""`anymask track`: what it reads stays, frames keep their names, a mistake leaves nothing."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

from tests.cli.test_track import BOX, track
from tests.track.clips import moving_discs, write_video

IMAGES, TRUTH = moving_discs(4)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A clip, and the same as a folder of frames of which every fifth was kept."""
    monkeypatch.chdir(tmp_path)
    write_video(Path("clip.mkv"), IMAGES)
    Path("frames").mkdir()
    for number, image in enumerate(IMAGES):
        Image.fromarray(image).save(f"frames/{5 * number:05d}.png")
    return tmp_path


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.mark.parametrize(
    "words",
    [
        ["clip.mkv", "-o", "a.json", "-o", "frames/../clip.mkv"],
        ["frames/", "-o", "./frames/"],
        ["frames", "-o", "frames/{n}.png"],
        ["clip.mkv", "--mask", "0:2:masks/00000.png", "-o", "masks/{n}.png"],
        ["clip.mkv", "--mask", "0:2:masks/00000.png", "-o", "masks/"],
        ["clip.mkv", "-o", "a.json", "-o", "./a.json"],
        ["clip.mkv", "-o", "a.json", "--session", "a.json"],
    ],
)
def test_nothing_is_written_over_what_is_read(
    here: Path, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    Path("masks").mkdir()
    Image.fromarray(TRUTH[0][1]).save("masks/00000.png")
    before = contents(here)
    assert track(*words, "--box", BOX) == 2
    assert "is also an input" in capsys.readouterr().err
    assert contents(here) == before


def test_a_folder_called_by_a_number_is_no_camera(here: Path) -> None:
    Path("frames").rename("2024")
    assert track("2024", "--box", BOX, "-o", "a.jsonl") == 0
    assert len(Path("a.jsonl").read_text("utf-8").splitlines()) == len(IMAGES)


def test_frames_and_their_masks_are_not_one_video(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree("frames", "set/images")
    assert track("set", "--box", BOX, "-o", "a.jsonl") == 0  # the only folder that has some
    shutil.copytree("frames", "set/masks")
    assert track("set", "--box", BOX, "-o", "b.jsonl") == 2
    told = capsys.readouterr().err
    assert "The images in set are in 2 folders" in told
    shutil.copytree("frames", "frames/masks")  # beside the frames: they are the frames
    assert track("frames", "--box", BOX, "-o", "c.jsonl") == 0
    assert Path("c.jsonl").read_text("utf-8") == Path("a.jsonl").read_text("utf-8")


def masks_by_frame(path: str) -> dict[int, list[dict]]:
    lines = [json.loads(line) for line in Path(path).read_text("utf-8").splitlines()]
    return {line["frame"]: [one["segmentation"] for one in line["objects"]] for line in lines}


def objects_by_frame(path: str) -> dict[int, list[int]]:
    lines = [json.loads(line) for line in Path(path).read_text("utf-8").splitlines()]
    return {line["frame"]: [one["object"] for one in line["objects"]] for line in lines}


def test_a_prompt_counts_where_it_was_given_or_says_where(
    here: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    assert track("clip.mkv", "--box", BOX, "--start", 2, "-o", "a.jsonl") == 0  # no frame is named
    assert objects_by_frame("a.jsonl") == {2: [1], 3: [1]}
    assert track("clip.mkv", "--box", f"0:1:{BOX}", "--start", 2, "-o", "b.jsonl") == 2
    assert "Frame 0 is out of range: frames 2 to 3" in capsys.readouterr().err
    assert track("clip.mkv", "--box", f"3:1:{BOX}", "--every", 2, "-o", "c.jsonl") == 2
    assert "Frame 3 is out of range: frames 0 to 2" in capsys.readouterr().err
    assert track("clip.mkv", "--box", f"1:1:{BOX}", "--every", 2, "-o", "d.jsonl") == 0
    assert "used on frame 0" in caplog.text
    assert track("clip.mkv", "--box", BOX, "--start", 90, "-o", "e.jsonl") == 2
    assert "start 90 is after the end of the video" in capsys.readouterr().err
    assert not list(here.glob(".*"))  # a command that was wrong leaves no session


def test_a_session_with_a_name_is_never_thrown_away(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["clip.mkv", "--session", "my.session", "-o", "a.jsonl"]
    assert track(*words, "--box", BOX, "--end", 2) == 0
    kept = Path("my.session").read_bytes()
    assert track(*words, "--box", "1,1,9,9") == 2
    assert "was created with different prompts" in capsys.readouterr().err
    assert Path("my.session").read_bytes() == kept
    assert track(*words, "--box", BOX) == 0  # the same objects, more frames
    assert list(objects_by_frame("a.jsonl")) == [0, 1, 2, 3]
    told, doubtful = capsys.readouterr().out, '"doubts": ["' in Path("a.jsonl").read_text("utf-8")
    assert ("No frame has low confidence" in told) != doubtful
    more = ["--box", BOX, "--point", "30,30"]
    assert track(*words, *more) == 0
    more += ["--negative", "30,40", "--point", "1:1:34,30"]  # more points on the same frame
    assert track(*words, *more) == 0
    assert track("clip.mkv", *more, "-o", "b.jsonl") == 0
    assert masks_by_frame("a.jsonl") == masks_by_frame("b.jsonl")


def test_known_tracks_are_taken_up_corrected_and_written_in_another_form(here: Path) -> None:
    assert track("clip.mkv", "--box", BOX, "-o", "a.jsonl", "-o", "sav.json") == 0
    first = masks_by_frame("a.jsonl")
    assert track("clip.mkv", "--from", "a.jsonl", "-o", "cut.webm", "--cutout") == 0
    assert Path("cut.webm").stat().st_size > 0
    assert track("clip.mkv", "--from", "a.jsonl", "-o", "same.jsonl") == 0
    assert masks_by_frame("same.jsonl") == first
    assert track("clip.mkv", "--from", "sav.json", "--box", "2:1:1,1,9,9", "-o", "new.jsonl") == 0
    corrected = masks_by_frame("new.jsonl")  # before what was corrected all is as it was
    assert [corrected[n] == first[n] for n in (0, 1, 2)] == [True, True, False]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{}", "Unsupported JSON"),
        ('{"masklet_id": [1], "masklet": [[{"size": [2, 2], "counts": [0, 4]}]]}', "the video has"),
        ('{"masklet_id": [1, 2], "masklet": [[7]]}', "Invalid COCO run-length record"),
        ('{"videos": [{}, {}], "annotations": []}', "a file with one video"),
        ('{"masklet_id": [], "masklet": []}', "non-empty mask"),
    ],
)
def test_files_that_are_no_tracks_of_the_video_are_refused(
    here: Path, text: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("known.json").write_text(text)
    assert track("clip.mkv", "--from", "known.json", "-o", "a.jsonl") == 2
    assert message in capsys.readouterr().err
    assert not Path("a.jsonl").exists()


def test_a_finished_run_is_not_done_anew(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANYMASK_HOME", str(here / "home"))
    words = ["clip.mkv", "--box", BOX, "-o", "a.jsonl", "-o", "davis"]
    assert track(*words) == 0
    before = Path("a.jsonl").stat().st_mtime_ns
    assert track(*words) == 0
    assert "exists: a.jsonl" in capsys.readouterr().err
    assert Path("a.jsonl").stat().st_mtime_ns == before
    assert track(*words, "--point", "30,30") == 0  # other prompts
    assert Path("a.jsonl").stat().st_mtime_ns != before
    assert track(*words) == 0
    Path("davis/00001.png").unlink()  # a part is missing
    assert track(*words) == 0
    assert Path("davis/00001.png").is_file()
