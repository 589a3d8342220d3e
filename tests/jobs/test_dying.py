"""A folder's run that is killed at each dangerous moment in turn, and goes on."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.segment.fakes import discs

IMAGE, _ = discs((40, 50), [(20, 20, 10)])


def made(folder: str = "out") -> list[str]:
    """The files of a folder that have their names."""
    found = (path for path in Path(folder).rglob("*") if path.is_file())
    return sorted(path.relative_to(folder).as_posix() for path in found)


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with photos."""
    monkeypatch.chdir(tmp_path)
    for index, name in enumerate(["a.png", "b.png", "sub/c.png"]):
        path = Path("photos", name)
        path.parent.mkdir(exist_ok=True, parents=True)
        Image.fromarray(np.roll(IMAGE, index, axis=1)).save(path)
    return tmp_path


@pytest.fixture
def dying(desk: Path, repository: Path) -> Iterator[Callable[..., int]]:
    """Runs `anymask WORDS...` in a process that dies at a moment; its exit code, or -signal."""
    places = [str(repository), str(repository / "src")]
    with subprocess.Popen(
        [sys.executable, "-m", "tests.jobs.dying"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(places)},
    ) as server:
        asked, told = server.stdin, server.stdout
        assert asked is not None
        assert told is not None

        def die(moment: int, *words: str) -> int:
            print(json.dumps([moment, words]), file=asked, flush=True)
            return int(told.readline())

        yield die
        asked.close()
        assert server.wait() == 0


def test_killed_at_any_moment_a_folder_is_completed_by_the_next_run(
    desk: Path, dying: Callable[..., int]
) -> None:
    words = ["everything", "photos", "--grid", "3", "--score", "0", "-o"]
    assert dying(0, *words, "whole") == 0
    finished: dict[str, int] = {}
    for moment in range(1, 30):
        code = dying(moment, *words, "out")
        for name, number in finished.items():
            assert Path("out", name).stat().st_ino == number  # nothing is made twice
        visible = [name for name in made() if not Path(name).name.startswith(".")]
        for name in visible:
            if name != "errors.jsonl":  # nothing is half written
                assert Path("out", name).read_bytes() == Path("whole", name).read_bytes()
        finished = {
            name: Path("out", name).stat().st_ino for name in visible if name.endswith(".json")
        }
        if code == 0:
            break
        assert code == -signal.SIGKILL
    assert moment > 6  # it was killed at each of the moments of a photo
    assert made() == made("whole")
