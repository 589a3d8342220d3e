"""`anymask.jobs` from Python: typed results, resumed after a kill, clear errors."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import anymask
from anymask import jobs
from anymask.base import ImageError, InputError
from anymask.cli.main import main
from anymask.formats import read_annotations
from anymask.jobs.engines import ImageResult
from anymask.masks import Features
from anymask.segment import Model
from tests.segment.fakes import ColorRuntime, discs

IMAGE, _ = discs((60, 90), [(30, 30, 20)])
SETTINGS: dict[str, Any] = {
    "mode": "exact", "grid": 6, "score": 0.3, "stability": 0.3,
}  # fmt: skip
WORDS = ["--mode", "exact", "--grid", "6", "--score", "0.3",
         "--stability", "0.3"]  # fmt: skip

SCRIPT = """
import os, signal, sys
import anymask

def watch(now):
    if now.tried == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)

def run():
    summary = anymask.jobs.run(
        "everything", "photos", "out", workers=int(sys.argv[1]), on_progress=watch,
        grid=2, score=0.0,
    )
    print(summary.images, summary.done + summary.skipped, summary.failed)

"""


@pytest.fixture
def images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with four photos."""
    monkeypatch.chdir(tmp_path)
    for index, name in enumerate(["a.png", "b.png", "sub/c.png", "sub/d.png"]):
        path = Path("photos", name)
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.roll(IMAGE, index, axis=1)).save(path)
    return Path("photos")


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every model is a fake."""
    monkeypatch.setattr(anymask, "load", lambda *_, **__: Model(ColorRuntime()))


def files(folder: str) -> dict[str, bytes]:
    found = (path for path in Path(folder).rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


# Results.


@pytest.mark.usefixtures("fake")
def test_python_makes_what_the_command_line_makes(images: Path) -> None:
    summary = jobs.run("everything", "photos", "out", **SETTINGS)
    assert main(["everything", "photos", "-o", "typed", *WORDS]) == 0
    assert files("out") == files("typed")
    masks = sum(
        len(json.loads(data)["annotations"])
        for name, data in files("out").items()
        if name.endswith(".json")
    )
    assert (summary.images, summary.done, summary.skipped, summary.failed) == (4, 4, 0, 0)
    assert summary.made == masks > 4
    assert summary.rate == pytest.approx(4 / summary.seconds)
    later = jobs.Summary(1)
    for _ in range(2):
        later.add(Path("a.png"), ImageResult(state="done", made=1, seconds=3.0))
    assert 3.0 <= later.seconds < 60  # of this machine, whatever its clock says
    assert summary.about["model"] == "fake"


@pytest.mark.usefixtures("fake")
def test_the_same_call_again_does_only_what_is_missing_or_of_other_settings(images: Path) -> None:
    jobs.run("everything", images, "out", **SETTINGS, overlay=False)
    Path("out/sub/c.json").unlink()
    again = jobs.run("everything", images, "out", **SETTINGS, overlay=False)
    assert (again.done, again.skipped) == (1, 3)
    other = jobs.run(
        "everything", images, "out", **SETTINGS, layout="tree", tile=None, overlay=False
    )
    assert (other.done, other.skipped) == (4, 0)


@pytest.mark.usefixtures("fake")
def test_each_page_of_a_stack_is_a_picture_of_its_own(images: Path) -> None:
    pages = [Image.fromarray(np.roll(IMAGE, shift, axis=1)) for shift in (0, 20)]
    pages[0].save("photos/sub/stack.tif", save_all=True, append_images=pages[1:])
    every = jobs.ImageSettings(page="all")
    jobs.run("everything", images, "out", **SETTINGS, overlay=False, image_settings=every)
    other_images, _ = read_annotations(Path("out"))
    ends = {image.file_name: image.masks for image in other_images}
    assert sorted(ends) == [
        "a.png", "b.png", "sub/c.png", "sub/d.png",
        "sub/stack.tif.page0.png", "sub/stack.tif.page1.png",
    ]  # fmt: skip
    assert ends["sub/stack.tif.page0.png"] != ends["sub/stack.tif.page1.png"]
    single = jobs.run("everything", "photos/sub/stack.tif", "one", **SETTINGS, overlay=False,
                             image_settings=jobs.ImageSettings(page=1))  # fmt: skip
    (image,) = read_annotations(Path("one"))[0]
    assert (single.done, image.file_name) == (1, "stack.tif.page1.png")


@pytest.mark.usefixtures("fake")
def test_records_that_are_there_take_the_name_that_their_photo_has_now(images: Path) -> None:
    jobs.run("everything", "photos/sub", "out/sub", **SETTINGS, overlay=False)
    before = json.loads(Path("out/sub/c.json").read_text())
    again = jobs.run("everything", images, "out", **SETTINGS, overlay=False)
    assert (again.done, again.skipped) == (2, 2)
    after = json.loads(Path("out/sub/c.json").read_text())
    assert (before["image"].pop("file_name"), after["image"].pop("file_name")) == (
        "c.png", "sub/c.png",
    )  # fmt: skip
    assert after == before


@pytest.mark.usefixtures("fake")
def test_progress_and_failures_are_values(images: Path) -> None:
    Path("photos/b.png").write_bytes(b"broken")
    told: list[jobs.Summary] = []
    summary = jobs.run("encode", images, "out", on_progress=told.append)
    assert [now.tried for now in told] == [1, 2, 3, 4]
    assert {now.images for now in told} == {4}
    (failure,) = summary.failures
    assert (summary.done, summary.failed) == (3, 1)
    assert (failure.image, failure.kind) == (Path("photos/b.png"), "DamagedImageError")
    assert "is not a supported image" in failure.reason
    assert [now.failure for now in told if now.failure] == [failure]
    (line,) = Path("out/errors.jsonl").read_text().splitlines()
    assert json.loads(line) == failure.to_json()


@pytest.mark.usefixtures("fake")
def test_one_photo_is_done_and_its_own_error_is_raised(images: Path) -> None:
    assert [jobs.run("encode", "photos/a.png", "out").done for _ in range(2)] == [1, 0]
    assert list(files("out")) == ["a.npz"]
    Path("photos/a.png").write_bytes(b"")
    with pytest.raises(ImageError, match="is empty"):
        jobs.run("encode", "photos/a.png", "out")


def test_bands_and_stretch_travel_with_the_job(
    images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(anymask, "load", lambda *_, **__: Model(ColorRuntime()))
    jobs.run("encode", images, "grey", image_settings=jobs.ImageSettings(bands=(2,)))
    gray = anymask.load_image("photos/a.png", bands=(2,))
    expected = Model(ColorRuntime()).encode(gray)
    assert Features.load("grey/a.npz").image_hash == expected.image_hash


# Errors.


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"points_per_sides": 4}, "'points_per_sides'. Did you mean 'poi"),
        ({"grid": 0}, "grid must be a whole number of at"),
        ({"layout": "heap"}, 'layout must be "flat", "partition" or "tree", got'),
        ({"tile": 3}, "Invalid tile"),
        ({"workers": -1}, "workers must be a whole number of at least 0, got -1"),
        ({"workers": "two"}, "workers must be a whole number of at least 0, got 'two'"),
        ({"engine": "slurm"}, 'engine must be "processes" or "ray", got .slurm.'),
        ({"shard": (3, 2)}, r"Invalid shard \(3, 2\). Expected \(I, N\)"),
        ({"shard": "1/2"}, r"Invalid shard '1/2'. Expected \(I, N\)"),
        ({"worker": 2}, "Unknown argument 'worker'"),
        ({"model": 7}, "model must be text, got 7"),
        ({"folder": "empty"}, "'empty' contains no images"),
        ({"folder": "a.jpg", "out": "a.jpg"}, "must be a folder, but 'a.jpg' is a file"),
        ({"out": "a.jpg/out"}, "Cannot create the output folder 'a.jpg/out'"),
        ({"out": "photos"}, "The output folder 'photos' contains the images"),
    ],
)
@pytest.mark.usefixtures("fake")
def test_what_makes_no_sense_is_told_before_any_work(
    images: Path, arguments: dict[str, Any], message: str
) -> None:
    Path("empty").mkdir()
    Image.new("RGB", (8, 8)).save("a.jpg")
    given = {"folder": "photos", "out": "out", **arguments}
    with pytest.raises(InputError, match=message):
        jobs.run("everything", **given)
    assert not any(files("out"))


# Processes.


def script(text: str, *words: object, repository: Path) -> subprocess.CompletedProcess[str]:
    Path("job.py").write_text(text)
    return subprocess.run(
        [sys.executable, "job.py", *map(str, words)],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "PYTHONPATH": str(repository / "src")},
    )


def test_a_script_that_starts_workers_unguarded_is_told_how(images: Path, repository: Path) -> None:
    done = script(SCRIPT + "run()\n", 2, -1, repository=repository)
    assert done.returncode == 1
    assert "put the calls under `if __name__ == '__main__':`" in done.stderr
