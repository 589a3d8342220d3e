"""The addresses of a project's clips: masks are kept, looked at, corrected, rejected."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from anymask.engine.project import Project, create_project
from anymask.predictors.image import Model
from anymask.serving.limits import Limits
from anymask.serving.project import project_router
from anymask.video.opening import open_session
from anymask.video.outputs import object_to_json
from tests.predictors.fakes import ColourRuntime
from tests.serving.servers import client, inference
from tests.video.clips import HW, moving_discs, write_video

FRAMES = 6
PICTURES, _ = moving_discs(FRAMES)


@pytest.fixture(scope="module")
def found() -> list[dict[str, Any]]:
    """The first disc on every frame, as a session's address tells it."""
    with open_session(Model(ColourRuntime()), PICTURES) as session:
        session.add(frame=0, points=[(30, 30)])
        rows = [object_to_json(1, frame.objects[1]) for frame in session]
    keys = ("segmentation", "score", "state", "doubts", "prompted")
    return [{"frame": n} | {key: row[key] for key in keys} for n, row in enumerate(rows)]


@pytest.fixture
def project(tmp_path: Path) -> Project:
    write_video(tmp_path / "drive.mkv", PICTURES)
    return create_project(tmp_path, name="clips")


@pytest.fixture
def ask(project: Project) -> Iterator[TestClient]:
    behind = inference()
    with client(behind, routers=[project_router(project, behind, Limits(), "ann")]) as started:
        yield started


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
        "rate": 25.0, "tracks": 0,
    }  # fmt: skip
    assert ask.get("/api/clips").json() == {"clips": [told]}
    content = (project.folder / "drive.mkv").read_bytes()
    assert ask.get("/api/clips/1/file").content == content
    assert ask.get("/api/clips/1/file", headers={"Range": "bytes=0-9"}).content == content[:10]


def test_a_track_is_kept_and_accepted(
    ask: TestClient, track: dict[str, Any], found: list[dict[str, Any]]
) -> None:
    assert (track["object"], track["first"], track["last"]) == (1, 0, FRAMES - 1)
    assert (track["status"], track["label"], track["who"]) == ("proposal", "disc", "ann")
    assert ask.get("/api/clips/1/tracks").json() == {"tracks": [track]}
    assert ask.get("/api/tracks/next").json() == track
    told = ask.get(f"/api/tracks/{track['id']}/masks?first=2&last=3").json()
    assert [one["segmentation"] for one in told["masks"]] == [
        one["segmentation"] for one in found[2:4]
    ]
    said = {"verdict": "accept", "version": told["version"], "seconds": 2}
    kept = ask.post(f"/api/tracks/{track['id']}/verdict?user=bob", json=said).json()
    assert (kept["status"], kept["version"], kept["seconds"]) == ("accepted", 2, 5)
    assert kept["who"] == "bob"
    assert ask.get("/api/tracks/next").status_code == 204


def test_a_track_is_corrected_from_a_frame_on_and_taken_back(
    ask: TestClient, track: dict[str, Any], found: list[dict[str, Any]]
) -> None:
    place = f"/api/tracks/{track['id']}"
    better = [one | {"segmentation": found[0]["segmentation"]} for one in found[3:]]
    said = {"verdict": "correct", "version": 1, "masks": better}
    assert ask.post(f"{place}/verdict", json=said).json()["status"] == "proposal"
    masks = ask.get(f"{place}/masks").json()["masks"]
    areas = [one["area"] for one in masks]
    assert areas[3:] == [areas[0]] * 3
    assert masks[2]["segmentation"] == found[2]["segmentation"]
    late = ask.post(f"{place}/verdict", json={"verdict": "reject", "version": 1})
    assert late.status_code == 409
    assert late.json()["current"]["version"] == 2
    assert ask.delete(f"{place}/verdict").json()["version"] == 3
    again = ask.get(f"{place}/masks").json()["masks"]
    assert [one["segmentation"] for one in again] == [one["segmentation"] for one in found]


@pytest.mark.parametrize(
    ("name", "status", "complaint"),
    [
        ("../elsewhere.mkv", 404, "is not in the project's folder"),
        ("missing.mkv", 404, "is not in the project's folder"),
        (".anymask/project.db", 422, "no video"),
    ],
)
def test_what_is_no_video_of_the_folder_is_refused(
    ask: TestClient, name: str, status: int, complaint: str
) -> None:
    reply = ask.post("/api/clips", json={"name": name})
    assert reply.status_code == status, reply.text
    assert complaint in reply.json()["error"]["got"]
    assert ask.get("/api/clips").json() == {"clips": []}


def test_an_object_is_kept_once(
    ask: TestClient, track: dict[str, Any], found: list[dict[str, Any]]
) -> None:
    reply = ask.post("/api/clips/1/tracks", json={"object": 1, "masks": found})
    assert reply.status_code == 409
    assert reply.json()["current"] == track
