"""What is known of a video session over HTTP: frames to look at, masks, undo, pause, files."""

from __future__ import annotations

import io
import json
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from anymask.base import InputError
from anymask.formats import read_annotations
from anymask.masks import mask_to_rle
from anymask.studio.server_options import named_videos
from tests.patience import PATIENCE_S
from tests.segment.fakes import ColorRuntime
from tests.studio.servers import client, error_of, in_thread
from tests.studio.test_videos import IMAGES, START, lines, opened, prompt_both, rles
from tests.track.clips import write_video


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("clips") / "clip.mkv", IMAGES)


@pytest.fixture
def followed(clip: Path) -> Iterator[tuple[Any, str]]:
    """A session in which two objects were followed through the clip."""
    with client() as http:
        video = opened(http)
        http.put(f"{video}/file", content=clip.read_bytes())
        prompt_both(http, video)
        lines(http.get(f"{video}/masks"))
        yield http, video


def test_frames_are_looked_at_by_number_while_the_session_stays_where_it_is(
    followed: tuple[Any, str],
) -> None:
    http, video = followed
    for frame in (7, 0, 3):
        reply = http.get(f"{video}/frames/{frame}")
        assert reply.headers["content-type"] == "image/jpeg"
        shown = np.asarray(Image.open(io.BytesIO(reply.content)), np.int64)
        assert np.abs(shown - IMAGES[frame]).mean() < 3
    assert "cannot be decoded" in error_of(http.get(f"{video}/frames/8"), 404)
    live = opened(http)
    assert "has no video file" in error_of(http.get(f"{live}/frames/0"), 409)


def test_clicks_are_taken_back_one_by_one(followed: tuple[Any, str]) -> None:
    http, video = followed
    before = lines(http.get(f"{video}/results"))
    place = f"{video}/objects/1/prompts/4"
    first = {"frame": 4, "points": [[38, 30]]}
    once = http.post(f"{video}/prompts", json=first).json()
    http.post(f"{video}/prompts", json={"frame": 4, "points": [[60, 60]], "labels": [0]})
    again = http.post(f"{video}/prompts", json=first | {"replace": True}).json()
    assert again == once
    assert http.delete(place).json()["known"]["1"] == [[0, 0]]
    error_of(http.delete(place))
    assert lines(http.get(f"{video}/masks")) == before
    assert http.delete(f"{video}/objects/1/prompts/0").json()["objects"] == [2]


def test_a_pause_ends_the_stream_and_the_next_one_goes_on(
    clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held, go_on, see = threading.Event(), threading.Event(), ColorRuntime.encode_images
    looks: list[int] = []

    def slow(self: ColorRuntime, images: np.ndarray) -> Any:
        looks.append(len(looks))
        if len(looks) == 5:  # while frame 2 or 3 is under way
            held.set()
            assert go_on.wait(PATIENCE_S)
        return see(self, images)

    monkeypatch.setattr(ColorRuntime, "encode_images", slow)
    with client() as http:
        video = opened(http)
        http.put(f"{video}/file", content=clip.read_bytes())
        http.post(f"{video}/prompts", json={"points": START})
        looks.clear()
        stream = in_thread(lambda: lines(http.get(f"{video}/masks")))
        assert held.wait(PATIENCE_S)
        pausing = in_thread(lambda: http.post(f"{video}/pause").status_code)
        go_on.set()
        assert pausing.result(PATIENCE_S) == 204
        part = stream.result(PATIENCE_S)
        assert 0 < len(part) <= 8
        assert [line["frame"] for line in part] == list(range(len(part)))
        rest = lines(http.get(f"{video}/masks?start={len(part)}"))
        assert [line["frame"] for line in rest] == list(range(len(part), 8))


NAMED = [{"object": 1, "name": "cup", "color": "#ff0000"}, {"object": 2, "name": "dish"}]


def exported(http: Any, video: str, form: str) -> bytes:
    body = {"format": form, "title": "my clip.mkv", "objects": NAMED}
    reply = http.post(f"{video}/export", json=body)
    assert reply.status_code == 200, reply.text
    assert "my-clip.mkv." in reply.headers["content-disposition"]
    return bytes(reply.content)


@pytest.mark.parametrize("form", ["sav", "coco"])
def test_json_that_is_exported_is_read_by_our_own_readers(
    followed: tuple[Any, str], tmp_path: Path, form: str
) -> None:
    http, video = followed
    (tmp_path / "masks.json").write_bytes(exported(http, video, form))
    frames, _ = read_annotations(tmp_path / "masks.json", form)
    expected = [rles(line) for line in lines(http.get(f"{video}/results"))]
    assert [{m.id: m.rle for m in frame.masks} for frame in frames] == expected
    if form == "coco":
        assert {m.id: m.label for m in frames[0].masks} == {1: "cup", 2: "dish"}


def test_a_folder_of_davis_and_lines_are_exported(
    followed: tuple[Any, str], tmp_path: Path
) -> None:
    http, video = followed
    known = lines(http.get(f"{video}/results"))
    told = [json.loads(line) for line in exported(http, video, "jsonl").splitlines()]
    for one in (one for frame in told for one in frame["objects"]):
        del one["quality"]  # the model's own number, which files alone hold
    assert told == known
    with zipfile.ZipFile(io.BytesIO(exported(http, video, "davis"))) as archive:
        archive.extractall(tmp_path)
    images = sorted((tmp_path / "my-clip.mkv").iterdir())
    assert [path.name for path in images] == [f"{n:05d}.png" for n in range(8)]
    for path, line in zip(images, known, strict=True):
        values = np.asarray(Image.open(path))
        assert mask_to_rle(values == 1) == rles(line)[1]


def test_the_servers_own_videos_are_offered_and_opened(clip: Path, tmp_path: Path) -> None:
    folder = tmp_path / "frames"
    folder.mkdir()
    for number, image in enumerate(IMAGES):
        Image.fromarray(image).save(folder / f"{number}.png")
    with client(clips={"clip.mkv": clip, "frames": folder}) as http:
        told = http.get("/api/videos").json()
        assert (told["clips"], told["files"]) == (["clip.mkv", "frames"], True)
        assert (told["most_frames"], told["upload_bytes"]) == (20_000, 64_000_000)
        for name in told["clips"]:
            video = opened(http)
            assert http.put(f"{video}/clip", json={"clip": name}).json()["frames"] == 8
            assert http.delete(video).status_code == 204
        video = opened(http)
        assert "Available: clip.mkv, frames" in error_of(
            http.put(f"{video}/clip", json={"clip": "../etc"}), 404
        )
    assert len(list(folder.iterdir())) == 8
    assert clip.exists()


def test_a_file_that_cannot_be_read_is_told_without_the_servers_paths(clip: Path) -> None:
    with client() as http:
        video = opened(http)
        reply = http.put(f"{video}/file", content=b"no video at all" * 50)
        assert "cannot be read" in error_of(reply)
        assert "not a readable video" in reply.json()["error"]["message"]
        assert "/" not in reply.json()["error"]["message"].replace("/Output", "")
        assert http.put(f"{video}/file", content=clip.read_bytes()).json()["frames"] == 8


def test_videos_of_the_command_line_are_named_once(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder / "clip").mkdir(parents=True)
    assert named_videos([tmp_path / "a" / "clip"]) == {"clip": tmp_path / "a" / "clip"}
    with pytest.raises(InputError, match="does not exist"):
        named_videos([tmp_path / "none.mp4"])
    with pytest.raises(InputError, match="have the same name"):
        named_videos([tmp_path / "a" / "clip", tmp_path / "b" / "clip"])
