"""Sessions about videos over HTTP: the masks are those of a session in Python; all is bounded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from anymask.masks import coco_to_rle
from anymask.segment import Model
from anymask.studio.errors import RequestError
from anymask.studio.limits import Limits
from anymask.studio.video_sessions import OpenVideo, VideoSessions
from anymask.track import open_session
from tests.segment.fakes import ColorRuntime
from tests.studio.servers import client, error_of, inference, png
from tests.track.clips import moving_discs, write_video

IMAGES, _ = moving_discs(8)
START, OTHER = [[30, 30]], [[100, 70]]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("clips") / "clip.mkv", IMAGES)


@pytest.fixture(scope="module")
def expected() -> list[dict[int, Any]]:
    """The run-lengths of two objects on every frame, by the library."""
    with open_session(Model(ColorRuntime()), IMAGES) as session:
        session.add(frame=0, id=1, points=START)
        session.add(frame=0, id=2, points=OTHER)
        return [{n: one.rle for n, one in frame.objects.items()} for frame in session]


def opened(http: Any, **settings: Any) -> str:
    reply = http.post("/api/videos", json={"settings": settings})
    assert reply.status_code == 200, reply.text
    return f"/api/videos/{reply.json()['name']}"


def rles(frame: dict[str, Any]) -> dict[int, Any]:
    return {one["object"]: coco_to_rle(one["segmentation"]) for one in frame["objects"]}


def lines(reply: Any) -> list[dict[str, Any]]:
    assert reply.status_code == 200, reply.text
    assert reply.headers["content-type"] == "application/x-ndjson"
    return [json.loads(line) for line in reply.text.splitlines()]


def prompt_both(http: Any, video: str) -> None:
    for number, points in ((1, START), (2, OTHER)):
        reply = http.post(f"{video}/prompts", json={"object": number, "points": points})
        assert reply.status_code == 200, reply.text
        assert (reply.json()["object"], reply.json()["prompted"]) == (number, True)


def test_frames_that_are_handed_over_one_by_one_are_followed(
    expected: list[dict[int, Any]],
) -> None:
    with client() as http:
        video = opened(http)
        first = http.post(f"{video}/frames", content=png(IMAGES[0]))
        assert (first.json()["frame"], first.json()["objects"]) == (0, [])
        prompt_both(http, video)
        found = [http.post(f"{video}/frames", content=png(one)).json() for one in IMAGES[1:]]
        assert [rles(frame) for frame in found] == expected[1:]
        known = http.get(video).json()
        assert (known["frames"], known["objects"], known["doubtful"]) == (8, [1, 2], [])
        assert 0 < known["seconds_left"] <= 600


def test_a_file_is_followed_line_by_line_and_corrected(
    clip: Path, expected: list[dict[int, Any]]
) -> None:
    with client() as http:
        video = opened(http, area_jump=3)
        sent = http.put(
            f"{video}/file", content=clip.read_bytes(), headers={"Content-Type": "video/x-matroska"}
        )
        assert sent.json()["frames"] == 8
        prompt_both(http, video)
        assert [rles(frame) for frame in lines(http.get(f"{video}/masks"))] == expected
        part = lines(http.get(f"{video}/masks?start=2&stop=4"))
        assert [frame["frame"] for frame in part] == [2, 3, 4]
        assert http.delete(f"{video}/objects/1").json()["objects"] == [2]
        assert [set(rles(frame)) for frame in lines(http.get(f"{video}/masks"))] == [{2}] * 8
        assert http.delete(video).status_code == 204
        assert "does not exist or was closed" in error_of(http.get(video), 404)


def test_a_session_may_be_named_by_its_client_and_is_opened_once() -> None:
    with client(limits=Limits(videos=1)) as http:
        first, again = (http.post("/api/videos", json={"name": "mine"}).json() for _ in range(2))
        assert first["name"] == again["name"] == "mine"
        assert http.get("/api/videos/mine").status_code == 200
        for name in ("", "../x", "a" * 41):
            error_of(http.post("/api/videos", json={"name": name}))


def test_sessions_frames_and_objects_are_bounded(clip: Path) -> None:
    limits = Limits(videos=2, video_frames=3, video_objects=1)
    with client(limits=limits) as http:
        video, _ = opened(http), opened(http)
        reply = http.post("/api/videos", json={})
        assert "of 2 video and scan sessions" in error_of(reply, 429)
        assert int(reply.headers["retry-after"]) == 600
        assert "At most 3 of" in error_of(http.put(f"{video}/file", content=clip.read_bytes()), 413)
        for image in IMAGES[:3]:
            assert http.post(f"{video}/frames", content=png(image)).status_code == 200
        assert "maximum of 3 frames" in error_of(
            http.post(f"{video}/frames", content=png(IMAGES[3]))
        )
        assert http.post(f"{video}/prompts", json={"frame": 2, "points": START}).status_code == 200
        more = {"frame": 2, "object": 2, "points": OTHER}
        assert "maximum of 1 objects" in error_of(http.post(f"{video}/prompts", json=more))


def test_a_session_that_nobody_asks_ends_and_so_does_one_that_is_old() -> None:
    now = [0.0]
    limits = Limits(video_idle_seconds=100, video_seconds=250)
    behind = inference()
    behind.start()
    videos = VideoSessions(behind, limits, lambda: now[0])
    videos.start()
    try:
        left, asked = (videos.work(lambda: videos.begin(OpenVideo, {})).result() for _ in range(2))
        for now[0] in (90.0, 180.0):
            videos.find(asked.name, OpenVideo)
        assert videos.names == [asked.name]
        with pytest.raises(RequestError, match="does not exist or was closed"):
            videos.find(left.name, OpenVideo)
        now[0] = 249.0
        assert videos.seconds_left(videos.find(asked.name, OpenVideo)) == 1
        now[0] = 251.0
        videos.end_old()
        assert videos.names == []
    finally:
        behind.close()
        videos.close()


def test_a_failure_on_the_way_is_the_last_line(monkeypatch: pytest.MonkeyPatch, clip: Path) -> None:
    def broken(self: ColorRuntime, images: np.ndarray) -> Any:
        from anymask.base import ModelError

        looks.append(len(looks))
        if len(looks) == 5:
            raise ModelError("wanted a working model, got a broken one; mend it")
        return features(self, images)

    features, looks = ColorRuntime.encode_images, list[int]()
    monkeypatch.setattr(ColorRuntime, "encode_images", broken)
    with client() as http:
        video = opened(http)
        http.put(f"{video}/file", content=clip.read_bytes())
        http.post(f"{video}/prompts", json={"points": START})
        found = lines(http.get(f"{video}/masks"))
        assert [line.get("frame") for line in found[:-1]] == [0, 1, 2, 3]
        assert found[-1]["error"]["message"]
        assert len(lines(http.get(f"{video}/masks"))) == 8
