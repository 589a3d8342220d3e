"""One run works in a folder: a second one is refused, and what a killed one left is taken over."""

import fcntl
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from anymask.base import InputError, claimed, storage

OWNER = """
import sys
from pathlib import Path
from anymask.base import claimed
with claimed(Path(sys.argv[1])):
    print("claimed", flush=True)
    sys.stdin.read()
"""
GONE = 2**22 + 1  # above the largest process number of Linux


def test_a_second_run_is_told_of_the_first_and_takes_over_when_it_is_killed(tmp_path: Path) -> None:
    run = tmp_path / "runs" / "k"
    words = [sys.executable, "-c", OWNER, str(run)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as owner:
        assert owner.stdout.readline() == b"claimed\n"
        told = rf"in use by another run \(process {owner.pid} on {socket.gethostname()}\)\. Wait"
        with pytest.raises(InputError, match=told), claimed(run):
            pytest.fail("two runs in one folder")
        assert (run / storage.LOCK).is_file()
        owner.send_signal(signal.SIGKILL)
    assert (run / storage.LOCK).is_file()
    with claimed(run):
        assert str(os.getpid()) in (run / storage.LOCK).read_text()
    assert list(run.iterdir()) == []


def test_a_thread_is_another_run_and_each_folder_has_its_lock(tmp_path: Path) -> None:
    errors: list[InputError] = []

    def second() -> None:
        try:
            with claimed(tmp_path):
                pass
        except InputError as error:
            errors.append(error)

    with claimed(tmp_path), claimed(tmp_path / "other"):  # of which nothing is left
        thread = threading.Thread(target=second)
        thread.start()
        thread.join()
    assert len(errors) == 1
    second()
    assert len(errors) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_file_for_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for place in (tmp_path / "file", tmp_path / "file" / "inside"):
        with pytest.raises(InputError, match="not a folder"), claimed(place):
            pytest.fail("locked a file")


@pytest.mark.parametrize(
    ("owner", "is_stale"),
    [
        (f"\n{GONE} {socket.gethostname()}\n", True),
        ("", True),
        ("\nno number\n", True),
        (f"\n{os.getppid()} {socket.gethostname()}\n", False),
        (f"\n{GONE} another-host\n", False),
    ],
)
def test_without_locks_of_the_system_process_and_host_decide(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, owner: str, is_stale: bool
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(fcntl, "flock", refuse)
    lock = tmp_path / storage.LOCK
    lock.write_text(owner)
    if is_stale:
        with claimed(tmp_path):
            assert lock.read_text().split() == [str(os.getpid()), socket.gethostname()]
        assert not lock.exists()
        return
    told = rf"If that run has ended, delete '{lock}'"
    with pytest.raises(InputError, match=told), claimed(tmp_path):
        pytest.fail("took over a lock that may be held")
    assert lock.read_text() == owner
