"""Files of video sessions: written as they come in, gone with the session, the server or a kill."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from starlette.requests import ClientDisconnect, Request

from anymask.studio.errors import RequestError
from anymask.studio.limits import Limits
from anymask.studio.video_sessions import (
    LOCK,
    TEMPORARY_PREFIX,
    OpenVideo,
    VideoFiles,
    VideoSessions,
    delete_abandoned,
)
from tests.studio.servers import client, inference
from tests.studio.test_videos import IMAGES, opened
from tests.track.clips import write_video

PIECE = bytes(300_000)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary files lie."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture
def sessions(tmp_path: Path) -> Iterator[VideoSessions]:
    behind = inference()
    behind.start()
    videos = VideoSessions(behind, Limits(), place=tmp_path)
    videos.start()
    yield videos
    behind.close()
    videos.close()


def files_in(place: Path) -> list[Path]:
    return [path for path in place.rglob("*") if path.is_file() and path.name != LOCK]


def test_a_video_that_is_sent_is_never_held_as_a_whole(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def whole(_: Request) -> bytes:
        raise AssertionError("the whole body was asked for")

    content = write_video(tmp_path / "clip.mkv", IMAGES).read_bytes()
    with client() as http:
        video = opened(http)
        with monkeypatch.context() as patched:
            patched.setattr(Request, "body", whole)
            assert http.put(f"{video}/file", content=content).status_code == 200
        assert [path.read_bytes() for path in files_in(place)] == [content]
        (session,) = place.glob(f"{TEMPORARY_PREFIX}*/session-*")
        assert http.delete(video).status_code == 204
        opened(http)  # comes behind the closing
        assert not session.exists()
    assert list(place.iterdir()) == []


def test_a_client_that_leaves_leaves_no_file(sessions: VideoSessions, tmp_path: Path) -> None:
    video, sizes = sessions.work(lambda: sessions.begin(OpenVideo, {})).result(), list[int]()

    async def half() -> AsyncIterator[bytes]:
        yield PIECE * 4
        sizes.extend(path.stat().st_size for path in files_in(tmp_path))
        raise ClientDisconnect

    with pytest.raises(ClientDisconnect):
        asyncio.run(sessions.receive(video, half(), "clip.mkv"))
    assert sizes == [4 * len(PIECE)]
    assert files_in(tmp_path) == []
    assert (video.receiving, video.frames, sessions.names) == (False, 0, [video.name])


def test_a_session_takes_one_file_at_a_time_and_none_once_it_is_closed(
    sessions: VideoSessions, tmp_path: Path
) -> None:
    video = sessions.work(lambda: sessions.begin(OpenVideo, {})).result()
    got = list[RequestError]()

    async def nothing() -> AsyncIterator[bytes]:
        return
        yield b""

    async def body() -> AsyncIterator[bytes]:
        yield PIECE
        with pytest.raises(RequestError, match="Another upload") as second:
            await sessions.receive(video, nothing(), "clip.mkv")
        got.append(second.value)
        sessions.end(video.name)

    with pytest.raises(RequestError, match="does not exist or was closed"):
        asyncio.run(sessions.receive(video, body(), "clip.mkv"))
    assert [one.status_code for one in got] == [409]
    assert files_in(tmp_path) == []


def test_a_session_stays_open_while_its_file_comes_in(tmp_path: Path) -> None:
    now, behind = [0.0], inference()
    behind.start()
    videos = VideoSessions(behind, Limits(video_idle_seconds=100), lambda: now[0], place=tmp_path)
    videos.start()
    content = write_video(tmp_path / "clip.mkv", IMAGES).read_bytes()

    async def slow() -> AsyncIterator[bytes]:
        for place in range(0, len(content), 5000):
            now[0] += 90
            yield content[place : place + 5000]

    try:
        video = videos.work(lambda: videos.begin(OpenVideo, {})).result()
        asyncio.run(videos.receive(video, slow(), "clip.mkv"))
        assert now[0] > 100
        videos.end_old()
        assert (videos.names, video.frames) == ([video.name], len(IMAGES))
    finally:
        behind.close()
        videos.close()


KILLED = """
import sys, time
from pathlib import Path
from anymask.studio.video_sessions import VideoFiles
files = VideoFiles(Path(sys.argv[1]))
files.open()
folder = files.session_folder()
Path(folder.name, "video.mp4").write_bytes(b"frames")
print("ready", flush=True)
sys.stdin.read()
"""


def test_what_a_killed_server_left_goes_when_the_next_one_starts(tmp_path: Path) -> None:
    alive = VideoFiles(tmp_path)
    alive.open()
    mine = alive.session_folder()
    words = [sys.executable, "-c", KILLED, str(tmp_path)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        delete_abandoned(tmp_path)
        assert len(files_in(tmp_path)) == 1, "the server lives still"
        os.kill(process.pid, signal.SIGKILL)
    assert len(files_in(tmp_path)) == 1
    following = VideoFiles(tmp_path)
    following.open()
    assert files_in(tmp_path) == []
    assert Path(mine.name).is_dir()
    mine.cleanup()
    following.close()
    alive.close()
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_servers_folder_stays(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / LOCK).touch()
    (tmp_path / f"{TEMPORARY_PREFIX}link").symlink_to(elsewhere)
    (tmp_path / f"{TEMPORARY_PREFIX}new").mkdir()  # just made, without its lock so far
    (tmp_path / f"{TEMPORARY_PREFIX}file").write_text("notes")
    delete_abandoned(tmp_path)
    assert (elsewhere / LOCK).is_file()
    assert len(list(tmp_path.iterdir())) == 4
