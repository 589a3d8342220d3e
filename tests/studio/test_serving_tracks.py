"""The addresses of a project's clips: masks are kept, looked at, corrected, rejected."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from anymask.segment import Model
from anymask.studio import create_project
from anymask.studio.project import Project
from anymask.track import object_to_json, open_session
from tests.segment.fakes import ColorRuntime
from tests.studio.servers import error_of
from tests.track.clips import HW, moving_discs, write_video

FRAMES = 6
IMAGES, _ = moving_discs(FRAMES)


@pytest.fixture(scope="module")
def found() -> list[dict[str, Any]]:
    """The first disc on every frame, as a session's address tells it."""
    with open_session(Model(ColorRuntime()), IMAGES) as session:
        session.add(frame=0, points=[(30, 30)])
        rows = [object_to_json(1, frame.objects[1]) for frame in session]
    keys = ("segmentation", "score", "state", "doubts", "prompted")
    return [{"frame": n} | {key: row[key] for key in keys} for n, row in enumerate(rows)]


@pytest.fixture
def project(tmp_path: Path) -> Project:
    write_video(tmp_path / "drive.mkv", IMAGES)
    return create_project(tmp_path, name="clips")


@pytest.fixture
def track(ask: TestClient, found: list[dict[str, Any]]) -> dict[str, Any]:
    assert ask.post("/api/clips", json={"name": "drive.mkv"}).status_code == 201
    body = {"object": 1, "masks": found, "label": "disc", "seconds": 3}
    made = ask.post("/api/clips/1/tracks", json=body)
    assert made.status_code == 201, made.text
    return dict(made.json())


def test_a_video_of_the_folder_is_taken_up_once(ask: TestClient, project: Project) -> None:
    for _ in range(2):
        told = ask.post("/api/clips", json={"name": "drive.mkv"}).json()
    assert told == {
        "id": 1, "name": "drive.mkv", "height": HW[0], "width": HW[1], "frames": FRAMES,
        "rate": 25.0, "tracks": 0, "proposals": 0, "accepted": 0, "rejected": 0,
    }  # fmt: skip
    assert ask.get("/api/clips").json() == {"clips": [told], "found": []}
    content = (project.folder / "drive.mkv").read_bytes()
    assert ask.get("/api/clips/1/file").content == content
    assert ask.get("/api/clips/1/file", headers={"Range": "bytes=0-9"}).content == content[:10]


def test_a_track_is_kept_and_accepted(
    ask: TestClient, track: dict[str, Any], found: list[dict[str, Any]]
) -> None:
    assert (track["object"], track["first"], track["last"]) == (1, 0, FRAMES - 1)
    assert (track["state"], track["label"], track["author"]) == ("proposed", "disc", "ann")
    assert ask.get("/api/clips/1/tracks").json() == {"tracks": [track]}
    assert ask.get("/api/tracks/next").json() == track
    told = ask.get(f"/api/tracks/{track['id']}/masks?first=2&last=3").json()
    assert [one["segmentation"] for one in told["masks"]] == [
        one["segmentation"] for one in found[2:4]
    ]
    said = {"verdict": "accept", "version": told["version"], "seconds": 2}
    kept = ask.post(f"/api/tracks/{track['id']}/verdict?user=bob", json=said).json()
    assert (kept["state"], kept["version"], kept["seconds"]) == ("accepted", 2, 5)
    assert kept["author"] == "bob"
    for query in ("", "?clip=1", f"?clip=1&after={track['id']}"):
        assert ask.get(f"/api/tracks/next{query}").status_code == 204
    (told,) = ask.get("/api/clips").json()["clips"]
    assert (told["tracks"], told["proposals"], told["accepted"], told["rejected"]) == (1, 0, 1, 0)
    report = ask.get("/api/report").json()
    assert (report["tracks"], report["track_verdicts"]) == ({"accepted": 1}, {"accept": 1})
    assert report["clips"][0]["seconds_a_track"] == 5.0


@pytest.mark.parametrize(
    ("name", "status", "complaint"),
    [
        ("../elsewhere.mkv", 404, "is missing from the project's folder"),
        ("missing.mkv", 404, "is missing from the project's folder"),
        (".anymask/project.db", 422, "video"),
    ],
)
def test_what_is_no_video_of_the_folder_is_refused(
    ask: TestClient, name: str, status: int, complaint: str
) -> None:
    reply = ask.post("/api/clips", json={"name": name})
    assert reply.status_code == status, reply.text
    assert complaint in reply.json()["error"]["message"]
    assert ask.get("/api/clips").json() == {"clips": [], "found": ["drive.mkv"]}


def test_a_clip_is_opened_in_a_session_with_its_track_corrected_there_and_stored(
    ask: TestClient, track: dict[str, Any], found: list[dict[str, Any]]
) -> None:
    told = ask.post("/api/clips/1/session").json()
    assert (told["frames"], told["size"], told["objects"]) == (FRAMES, list(HW), [])
    video = f"/api/videos/{told['name']}"
    lost = [one | {"segmentation": found[0]["segmentation"]} for one in found[3:]]
    known = ask.put(f"{video}/objects/1/masks", json={"masks": found[:3] + lost}).json()
    assert (known["objects"], known["known"]) == ([1], {"1": [[0, FRAMES - 1]]})
    said = {"frame": 3, "object": 1, "points": [[36, 30]], "replace": True}
    assert ask.post(f"{video}/prompts", json=said).json()["known"] == [[0, 3]]
    lines = ask.get(f"{video}/masks?start=3").text.splitlines()
    rows = [json.loads(line) for line in lines]
    masks = [row["objects"][0] | {"frame": row["frame"]} for row in rows]
    verdict = {"verdict": "correct", "version": 1, "masks": masks}
    assert ask.post(f"/api/tracks/{track['id']}/verdict", json=verdict).status_code == 200
    kept = ask.get(f"/api/tracks/{track['id']}/masks").json()["masks"]
    assert [one["prompted"] for one in kept] == [True, False, False, True, False, False]
    assert kept[4]["segmentation"] == masks[1]["segmentation"]
    assert kept[4]["segmentation"] != found[0]["segmentation"]
    assert ask.post(f"/api/tracks/{track['id']}/verdict", json=verdict).status_code == 409
    assert ask.delete(f"/api/tracks/{track['id']}/verdict").json()["version"] == 3


def test_a_video_that_was_sent_becomes_a_clip_of_the_project(
    ask: TestClient, project: Project
) -> None:
    content = (project.folder / "drive.mkv").read_bytes()
    name = ask.post("/api/videos", json={}).json()["name"]
    early = ask.post("/api/clips", json={"name": "sent.mkv", "video": name})
    assert "has no video file" in error_of(early, 409)
    ask.put(f"/api/videos/{name}/file", content=content)
    for _ in range(2):
        told = ask.post("/api/clips", json={"name": "sent.mkv", "video": name}).json()
    assert (told["id"], told["name"], told["frames"]) == (1, "sent.mkv", FRAMES)
    assert (project.folder / "sent.mkv").read_bytes() == content
    bad = ask.post("/api/clips", json={"name": "../out.mkv", "video": name})
    assert "not a valid video file name" in error_of(bad)
    gone = ask.post("/api/clips", json={"name": "sent.mkv", "video": "nobody"})
    assert "does not exist or was closed" in error_of(gone, 404)


def test_another_video_of_the_same_size_does_not_get_the_tracks_of_a_clip(
    ask: TestClient, project: Project, found: list[dict[str, Any]]
) -> None:
    """Uncompressed frames have equal sizes. A clip of an earlier version has no hash at first."""
    file, plain = project.folder / "drive.mkv", {"codec": "rawvideo", "pix_fmt": "yuv420p"}
    size = write_video(file, IMAGES, **plain).stat().st_size
    project.tracks.add_clip("drive.mkv", HW, FRAMES, 25.0)
    assert ask.post("/api/clips/1/tracks", json={"object": 1, "masks": found}).status_code == 201
    assert ask.post("/api/clips/1/session").status_code == 200
    assert write_video(file, IMAGES[::-1], **plain).stat().st_size == size
    for reply in ("/api/clips/1/session", "/api/clips"):
        told = error_of(ask.post(reply, json={"name": "drive.mkv"}), 409)
        assert "was replaced: frame 0 differs. Restore it" in told
    write_video(file, IMAGES)  # the same frames, encoded in another way
    assert ask.post("/api/clips/1/session").status_code == 200
    write_video(file, IMAGES[:4])
    assert f"not {FRAMES} of" in error_of(ask.post("/api/clips/1/session"), 409)
    file.unlink()
    error_of(ask.post("/api/clips/1/session"), 404)
    error_of(ask.post("/api/clips/2/session"), 404)
    assert len(ask.app.state.videos.names) == 2  # type: ignore[attr-defined]  # those of above
