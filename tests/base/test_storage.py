"""Files that are whole or not there: by errors, kills, links, and two writers at once."""

import fcntl
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from anymask.base import InputError, storage, whole_file, write_json, write_whole
from tests.patience import PATIENCE_S

DIES = """
import os, signal, sys
from pathlib import Path
from anymask.base import whole_file
with whole_file(Path(sys.argv[1])) as file:
    file.write(b"half")
    file.flush()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_bytes_text_and_json_are_written_and_folders_are_made(tmp_path: Path) -> None:
    write_whole(tmp_path / "a/b/bytes", b"\x00\xff")
    write_whole(tmp_path / "a/b/text", "ä")
    write_json(tmp_path / "a/b/json", {"a": [1]})
    assert files(tmp_path / "a/b") == {
        "bytes": b"\x00\xff", "text": "ä".encode(), "json": b'{"a": [1]}\n',
    }  # fmt: skip


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError, ValueError])
def test_an_interrupted_file_leaves_the_old_one(tmp_path: Path, error: type) -> None:
    path = tmp_path / "m.npy"
    path.write_bytes(b"old")

    def stop_half_way() -> None:
        with whole_file(path) as file:
            file.write(b"half")
            raise error

    with pytest.raises(error):
        stop_half_way()
    assert files(tmp_path) == {"m.npy": b"old"}


def test_a_failed_move_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "record.json"
    write_whole(path, "old")

    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        write_whole(path, "new")
    assert files(tmp_path) == {"record.json": b"old"}


def test_a_file_in_the_place_of_a_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "out").touch()
    for path in ("out/m.npy", "out/sub/m.npy"):
        with pytest.raises(
            InputError, match="part of the path .* is a file. Choose another output"
        ):
            write_whole(tmp_path / path, b"")


def test_the_next_write_removes_the_draft_of_a_killed_process(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    done = subprocess.run([sys.executable, "-c", DIES, str(path)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert files(tmp_path) == {".a.json.part": b"half"}
    write_whole(tmp_path / "b.json", b"b")  # another name is none of its business
    assert files(tmp_path) == {".a.json.part": b"half", "b.json": b"b"}
    write_whole(path, b"a")
    assert files(tmp_path) == {"a.json": b"a", "b.json": b"b"}


@pytest.mark.parametrize("link", [os.symlink, os.link])
def test_nothing_is_written_through_a_planted_link(tmp_path: Path, link: object) -> None:
    folder, secret = tmp_path / "out", tmp_path / "secret"
    folder.mkdir()
    secret.write_bytes(b"mine")
    link(secret, folder / ".a.part")  # type: ignore[operator]
    write_whole(folder / "a", b"new")
    assert files(folder) == {"a": b"new"}
    assert secret.read_bytes() == b"mine"


def test_without_locks_a_draft_may_belong_to_somebody_and_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError("no locks on this file system")

    monkeypatch.setattr(fcntl, "flock", refuse)
    (tmp_path / ".a.part").write_bytes(b"of another machine")
    write_whole(tmp_path / "a", b"new")
    assert files(tmp_path) == {".a.part": b"of another machine", "a": b"new"}


def test_the_second_of_two_writers_waits_for_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, met = tmp_path / "a", threading.Event()
    second = threading.Thread(target=write_whole, args=(path, b"second"))
    remove = storage._remove_leftover

    def tell(draft: Path) -> bool:
        met.set()
        return remove(draft)

    monkeypatch.setattr(storage, "_remove_leftover", tell)
    with whole_file(path) as file:
        second.start()
        assert met.wait(PATIENCE_S)
        file.write(b"first")
        assert second.is_alive()
    second.join(PATIENCE_S)
    assert files(tmp_path) == {"a": b"second"}
