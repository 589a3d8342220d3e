"""Folders at scale: processes that die, runs that are killed, machines that share the work."""

import contextlib
import fcntl
import json
import os
import signal
import struct
import subprocess
import sys
import zlib
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from anymask.base import AnymaskError
from anymask.cli.folders import run_folder
from anymask.cli.main import main
from anymask.jobs import FIRST_FAILURES, FolderJob
from tests.conftest import CommandLine
from tests.jobs.toys import ToyTask
from tests.segment.fakes import discs

IMAGE, _ = discs((40, 50), [(20, 20, 10)])


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with an empty folder of photos and one for the toy's marks."""
    monkeypatch.chdir(tmp_path)
    for name in ("photos", "marks"):
        Path(name).mkdir()
    os.mkfifo("marks/fifo")
    return tmp_path


def put(*names: str) -> None:
    for name in names:
        path = Path("photos", name)
        path.parent.mkdir(exist_ok=True, parents=True)
        path.touch()


def made(folder: str = "out") -> list[str]:
    found = (path for path in Path(folder).rglob("*") if path.is_file())
    return sorted(path.relative_to(folder).as_posix() for path in found)


def begun() -> Counter[str]:
    """How often each photo was begun, over all runs."""
    lines = Path("marks/calls").read_text().splitlines()
    return Counter(line.split(" ", 1)[1].rsplit(" ", 1)[0].strip("'\"") for line in lines)


def run(
    module: str, *words: object, repository: Path, group: bool = False
) -> subprocess.CompletedProcess[str]:
    """A Python process of its own, and all that it started, to their ends."""
    return subprocess.run(
        [sys.executable, "-m", module, *map(str, words)],
        capture_output=True,
        text=True,
        timeout=300,
        start_new_session=group,
        env=paths(repository),
    )


def paths(repository: Path) -> dict[str, str]:
    """The environment of a process that finds the package and its tests."""
    places = [str(repository), str(repository / "src")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(places)}


def toy(
    words: str, repository: Path, die_after: int = 0, group: bool = False
) -> tuple[int, str, str]:
    done = run(
        "tests.jobs.toys", "marks", die_after, "encode", "photos", "-o", "out", *words.split(),
        repository=repository, group=group,
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


def run_toy(task: ToyTask, **changes: Any) -> None:
    job = FolderJob(source=Path("photos"), output=Path("out"), **changes)
    run_folder(job, task, None)


# Failures.


@pytest.mark.parametrize("workers", [0, 2])
def test_what_fails_is_listed_and_the_rest_is_done(
    desk: Path, workers: int, capsys: pytest.CaptureFixture[str]
) -> None:
    put("a.jpg", "bad.jpg", "defect.jpg", "large.jpg", "sub/b c.jpg", "sub/ü.jpg")
    with pytest.raises(AnymaskError, match="3 of 6 images failed, see .*errors.jsonl. Fix or"):
        run_toy(ToyTask(Path("marks").absolute()), workers=workers)
    assert made() == ["a.txt", "errors.jsonl", "sub/b c.txt", "sub/ü.txt"]
    lines = [json.loads(line) for line in Path("out/errors.jsonl").read_text().splitlines()]
    told = {Path(line["file"]).name: line for line in lines}
    assert told["bad.jpg"] == {
        "file": str(Path("photos/bad.jpg")), "reason": "bad is no picture", "kind": "ImageError",
    }  # fmt: skip
    assert told["defect.jpg"]["reason"] == "ZeroDivisionError: nobody thought of this"
    assert "in misbehave" in told["defect.jpg"]["traceback"]
    assert "The system is out of memory. Resize" in told["large.jpg"]["reason"]
    captured = capsys.readouterr()
    assert "3 done, 0 skipped (done before), 3 failed; " in captured.err
    assert captured.err.count("bad is no picture") == 1


def test_many_failures_are_not_all_printed(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put(*(f"bad{n}.jpg" for n in range(30)))
    with pytest.raises(AnymaskError, match="30 of 30 images failed"):
        run_toy(ToyTask(Path("marks")))
    err = capsys.readouterr().err
    assert err.count("is no picture") == FIRST_FAILURES
    assert err.count("all other failures are listed in") == 1
    assert len(Path("out/errors.jsonl").read_text().splitlines()) == 30


def test_a_full_disk_ends_the_run_at_once(desk: Path) -> None:
    put("a.jpg", "full.jpg", "z.jpg")
    with pytest.raises(
        AnymaskError, match="No space left on device: '.*out.*'. Free some space and run the same"
    ):
        run_toy(ToyTask(Path("marks")))
    assert begun() == Counter({"a.jpg": 1, "full.jpg": 1})


@pytest.mark.parametrize("workers", [0, 2])
def test_what_is_not_the_photo_s_fault_is_told_once(desk: Path, workers: int) -> None:
    put("a.jpg", "no clicks.jpg", "z1.jpg", "z2.jpg", "z3.jpg")
    with pytest.raises(AnymaskError, match="^this model takes no clicks$"):
        run_toy(ToyTask(Path("marks").absolute()), workers=workers)
    assert not Path("out/errors.jsonl").exists()
    if not workers:
        assert made() == ["a.txt"]


def test_an_unreadable_folder_is_a_failure(
    desk: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    put("a.jpg", "locked/b.jpg")
    listing = os.scandir

    def refuse(path: str) -> object:
        if str(path).endswith("locked"):
            raise PermissionError(13, "Permission denied", str(path))
        return listing(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(AnymaskError, match="1 of 2 images failed"):
        run_toy(ToyTask(Path("marks")))
    assert (
        f"{Path('photos/locked')}: the folder cannot be listed (Permission"
        in capsys.readouterr().err
    )


def promise(path: Path, width: int, height: int) -> None:
    """A small PNG file whose header says that it is huge."""
    data = path.with_name("good.png").read_bytes()
    body = b"IHDR" + struct.pack(">II", width, height) + data[24:29]
    path.write_bytes(data[:12] + body + struct.pack(">I", zlib.crc32(body)) + data[33:])


BAD_FILES = {
    "empty.jpg": lambda path: path.write_bytes(b""),
    "cut.png": lambda path: path.write_bytes(path.with_name("good.png").read_bytes()[:-60]),
    "text.jpg": lambda path: path.write_text("no picture at all"),
    "huge.png": lambda path: promise(path, 30_000, 30_000),
    "gone.jpg": lambda path: path.symlink_to("nowhere.jpg"),
    "loop.jpg": lambda path: path.symlink_to("loop.jpg"),
}
GOOD_FILES = {
    "good.png": lambda path: Image.fromarray(IMAGE).save(path),
    "good.jpg": lambda path: Image.fromarray(IMAGE).convert("CMYK").save(path),
    "deep.tif": lambda path: Image.fromarray(IMAGE[..., 0].astype(np.uint16) * 200).save(path),
    "dot.png": lambda path: Image.new("RGB", (1, 1)).save(path),
    "line.webp": lambda path: Image.new("RGB", (300, 1)).save(path),
    os.fsdecode(b"latin \xe9.png"): lambda path: Image.fromarray(IMAGE).save(path),
    "sub dir/späße 😀.GIF": lambda path: Image.fromarray(IMAGE).save(path),
}


def test_photos_of_every_kind_go_through_two_real_workers(
    desk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("photos/sub dir").mkdir()
    for name, write in {**GOOD_FILES, **BAD_FILES}.items():
        write(Path("photos", name))
    Path("photos/sub dir/up").symlink_to(Path("photos").absolute(), target_is_directory=True)
    words = ["everything", "photos", "--grid", "2", "--score", "0"]
    assert main([*words, "-o", "out", "--workers", "2", "--json", "told.json"]) == 2
    capsys.readouterr()
    assert main([*words, "-o", "alone", "--json", "alone.json"]) == 2
    log = [json.loads(line) for line in Path("out/errors.jsonl").read_text().splitlines()]
    assert {Path(line["file"]).name for line in log} == set(BAD_FILES)
    assert all(
        line["kind"] in ("ImageError", "DamagedImageError") and len(line["reason"]) > 20
        for line in log
    )
    told, alone = (json.loads(Path(name).read_text()) for name in ("told.json", "alone.json"))
    assert (told["images"], told["done"], told["failed"]) == (13, 7, 6)
    assert told["about"] == alone["about"]
    assert made() == made("alone")
    for name in made():
        if name.endswith(".json"):  # the last digits of quality differ with the threads
            one, two = (json.loads(Path(folder, name).read_text()) for folder in ("out", "alone"))
            assert one["anymask"] == two["anymask"]
            assert len(one["annotations"]) == len(two["annotations"])


# Workers that die.


def test_a_photo_whose_worker_died_is_tried_once_more(desk: Path) -> None:
    put("a.jpg", "b.jpg", "deadly once.jpg", "deadly.jpg", "z.jpg")
    with pytest.raises(AnymaskError, match="1 of 5 images failed"):
        run_toy(ToyTask(Path("marks").absolute()), workers=2)
    assert made() == ["a.txt", "b.txt", "deadly once.txt", "errors.jsonl", "z.txt"]
    (line,) = [json.loads(line) for line in Path("out/errors.jsonl").read_text().splitlines()]
    assert line["kind"] == "WorkerDied"
    assert "its worker was killed (SIGKILL), and a second worker failed" in line["reason"]
    assert 1 <= begun()["deadly.jpg"] <= 2  # it may have been waiting behind the other deadly one


def test_an_error_log_that_is_a_link_leaves_the_linked_file_alone(desk: Path) -> None:
    Path("mine.txt").write_text("keep me")
    Path("out").mkdir()
    put("a.jpg")
    for name in ("a.jpg", "bad.jpg"):
        Path("photos/a.jpg").rename(f"photos/{name}")
        Path("out/errors.jsonl").symlink_to(Path("mine.txt").absolute())
        with contextlib.suppress(AnymaskError):
            run_toy(ToyTask(Path("marks")))
        assert Path("mine.txt").read_text() == "keep me"
        assert not Path("out/errors.jsonl").is_symlink()
    assert "is no picture" in Path("out/errors.jsonl").read_text()


@pytest.mark.parametrize(
    ("way", "told"),
    [("refuses", "^there is no such model; take another one$"),
     ("dies", r"Worker processes exit before .*the last one was killed \(SIGKILL\)")],
)  # fmt: skip
def test_workers_that_cannot_open_the_task_or_never_start_end_the_run(
    way: str, told: str, desk: Path
) -> None:
    put("a.jpg", "b.jpg")
    with pytest.raises(AnymaskError, match=told):
        run_toy(ToyTask(Path("marks"), way), workers=2)


def test_workers_share_the_cores_and_no_more_are_started_than_photos(
    desk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ANYMASK_THREADS", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    put("a.jpg", "b.jpg")
    run_toy(ToyTask(Path("marks").absolute()), workers=5)
    assert made() == ["a.txt", "b.txt"]
    lines = [line.split() for line in Path("marks/calls").read_text().splitlines()]
    assert [threads for *_, threads in lines] == ["4", "4"]


# Runs that are killed.


@pytest.mark.parametrize("workers", [0, 2])
def test_killed_after_some_photos_the_rest_is_done_by_the_next_run(
    desk: Path, repository: Path, workers: int
) -> None:
    put(*(f"{n}.jpg" for n in range(9)))
    words = f"--workers {workers}"
    for kill in (2, 3):
        code, _, err = toy(words, repository, die_after=kill)
        assert code == -signal.SIGKILL, err
    code, _, err = toy(words, repository)
    assert code == 0, err
    assert f"{9 - 3} done, 3 skipped (done before)" in err or workers
    assert made() == [f"{n}.txt" for n in range(9)]
    # A killed run may lose what its workers were in the middle of, and no more.
    assert sum(begun().values()) <= 9 + 2 * workers
    if not workers:
        assert set(begun().values()) == {1}


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_a_signal_ends_the_workers_and_leaves_no_half_file(
    desk: Path, repository: Path, name: str
) -> None:
    put("a.jpg", f"{name}.jpg", "waits.jpg", "z.jpg")
    code, _, err = toy("--workers 2", repository, group=True)
    assert code == 130, err
    assert "anymask: interrupted. Finished results are kept. Run the same" in err
    assert "Traceback" not in err
    assert made() == ["a.txt"]


# Several machines.


def test_two_runs_of_the_same_part_do_not_work_at_once(desk: Path) -> None:
    put("a.jpg", "b.jpg")
    Path("out").mkdir()
    with Path("out/errors.jsonl").open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(AnymaskError, match="Another run is writing to 'out'. .* --shard 1/2"):
            run_toy(ToyTask(Path("marks")))
        run_toy(ToyTask(Path("marks")), shard=(1, 2))


def test_machines_share_a_folder_and_each_has_its_own_log(desk: Path) -> None:
    put(*(f"{n}.jpg" for n in range(20)), *(f"bad{n}.jpg" for n in range(20)))
    for part in (1, 2):
        with pytest.raises(AnymaskError, match=f"images failed, see .*errors-{part}-of-2.jsonl"):
            run_toy(ToyTask(Path("marks")), shard=(part, 2), output_shards=4)
    assert set(begun().values()) == {1}
    assert len(begun()) == 40
    logs = [Path(f"out/errors-{part}-of-2.jsonl").read_text().splitlines() for part in (1, 2)]
    assert sum(map(len, logs)) == 20
    assert {name.split("/")[0] for name in made() if name.endswith(".txt")} == {
        f"sa_{n:06d}" for n in range(4)
    }


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--workers", "-1"], "workers must be a whole number of at least 0, got -1"),
        (["--output-shards", "-1"], "--output-shards must be a whole number of at least 0, got -1"),
        (["--shard", "3/2"], "--shard: Invalid part"),
        (["-o", "photos"], "The output folder 'photos' contains the images"),
        (["-o", "file"], "Cannot create the output folder 'file'"),
        (["-o", "file/out"], "is a file. Choose another output"),
    ],
)
def test_options_that_make_no_sense_are_told(
    desk: Path, words: list[str], message: str, cli: CommandLine
) -> None:
    put("a.jpg")
    Path("file").touch()
    out = [] if "-o" in words else ["-o", "out"]
    assert message in cli.refused(["encode", "photos", *out, *words])
