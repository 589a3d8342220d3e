"""What an installed wheel can do in any folder, without the checkout."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.evaluation.small_sets import Box, write_set

ROOT = Path(__file__).resolve().parents[2]
BOXES: list[list[Box]] = [
    [(2 + n, 4, 26 + n, 20 + n), (34, 24 + n, 60, 44)] for n in range(12)
]  # of photos of 64 x 48


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The unpacked wheel, which is all that `pip install` does."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
    (built,) = folder.glob("*.whl")
    with zipfile.ZipFile(built) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder far from the checkout, with a set of photos and masks."""
    write_set(tmp_path / "data" / "coco_val", BOXES)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def anymask(installed: Path, *words: str) -> str:
    """A command of the installed package; what it prints."""
    done = subprocess.run(
        [sys.executable, "-m", "anymask", *words],
        env=os.environ | {"PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.usefixtures("desk")
def test_the_package_is_the_wheel_s(installed: Path) -> None:
    told = subprocess.run(
        [sys.executable, "-c", "import anymask; print(anymask.__file__)"],
        env=os.environ | {"PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert Path(told.strip()).is_relative_to(installed)


def test_suites_are_measured_by_name(installed: Path, desk: Path) -> None:
    for suite in ("zero-shot", "natural"):
        words = ["--data", "data", "--sets", "coco_val", "--limit", "1", "--only"]
        told = anymask(installed, "eval", suite, *words, "--measure", "clicks")
        assert "| coco_val | 1 |" in told


def test_recipes_are_trained_by_name(installed: Path, desk: Path) -> None:
    told = anymask(installed, "train", "nano", "--data", "data", "--pack", "sets.tar")
    assert "12 of 12 photos" in told
    assert (desk / "sets.tar").is_file()


def test_a_project_is_retrained_from_the_weights_in_the_wheel(installed: Path, desk: Path) -> None:
    (desk / "data" / "coco_val" / "images").rename(desk / "photos")
    (desk / "data" / "coco_val" / "images").symlink_to(desk / "photos")
    anymask(installed, "convert", "data/coco_val", "masks.json", "--to", "coco")
    anymask(installed, "engine", "init", "photos")
    assert "24 new masks" in anymask(installed, "engine", "import", "photos", "masks.json")
    least = ["--steps", "1", "--side", "64", "--images", "1", "--masks", "1"]
    told = anymask(installed, "engine", "retrain", "photos", *least)
    assert "round 1: learned from " in told
