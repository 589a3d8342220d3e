"""`--engine ray`: the same work, the same outputs, the same failures."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from tests.conftest import CommandLine
from tests.segment.fakes import discs

IMAGE, _ = discs((40, 50), [(20, 20, 10)])


def test_without_ray_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cli: CommandLine
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "ray", None)
    for name in ("RAY_USAGE_STATS_ENABLED", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"):
        monkeypatch.setenv(name, "0")  # put back at the end
    monkeypatch.setenv("RAY_BACKEND_LOG_LEVEL", "fatal")
    Path("photos").mkdir()
    Image.fromarray(IMAGE).save("photos/a.png")
    assert "(package 'ray')" in (
        err := cli.refused(["encode", "photos", "-o", "out", "--engine", "ray"])
    )
    assert "pip install 'anymask[ray]'" in err


def test_a_pool_of_actors_does_what_processes_do(tmp_path: Path, repository: Path) -> None:
    pytest.importorskip("ray", reason="needs the extra [ray]")
    for name in ("photos/sub", "marks"):
        (tmp_path / name).mkdir(parents=True)
    odd = os.fsdecode(b"latin \xe9.jpg")
    for name in ("a.jpg", "bad.jpg", "deadly once.jpg", "deadly.jpg", "sub/ü b.jpg", odd):
        (tmp_path / "photos" / name).touch()
    words = ["encode", "photos", "-o", "out", "--engine", "ray", "--workers", "2"]
    done = subprocess.run(
        [sys.executable, "-m", "tests.jobs.toys", tmp_path / "marks", "0", *words],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=500,
        env={**os.environ, "PYTHONPATH": f"{repository}{os.pathsep}{repository / 'src'}"},
    )
    if "timed out during startup" in done.stderr:
        pytest.skip("needs Ray to start within its own 30 seconds, which this busy machine denied")
    assert done.returncode == 2, done.stderr
    assert "4 done, 0 skipped (done before), 2 failed" in done.stderr, done.stderr
    made = {path.relative_to(tmp_path / "out").as_posix() for path in tmp_path.glob("out/**/*.txt")}
    assert made == {"a.txt", "deadly once.txt", "sub/ü b.txt", odd.replace("jpg", "txt")}
    log = (tmp_path / "out" / "errors.jsonl").read_text().splitlines()
    told = {Path(line["file"]).name: line for line in map(json.loads, log)}
    assert {name: line["kind"] for name, line in told.items()} == {
        "bad.jpg": "ImageError", "deadly.jpg": "WorkerDied",
    }  # fmt: skip
    assert "Traceback" not in done.stderr
