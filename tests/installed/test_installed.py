"""What an installed wheel can do in any folder, without the checkout."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.evaluation.small_sets import Box, write_set

BOXES: list[list[Box]] = [
    [(2 + n, 4, 26 + n, 20 + n), (34, 24 + n, 60, 44)] for n in range(12)
]  # of photos of 64 x 48
FEW = ["--limit", "1", "--only", "--measure", "clicks"]
LEAST = ["--steps", "1", "--side", "64", "--images", "1", "--masks", "1"]
COMMANDS = {
    "evaluate": ["evaluate", "data", *FEW],
    "convert": ["convert", "data/coco_val", "masks.json", "--to", "coco"],
    "init": ["project", "init", "photos"],
    "import": ["project", "import", "photos", "masks.json"],
    "retrain": ["project", "retrain", "photos", *LEAST],
}

# Runs the commands one behind the other and writes what each printed. Exports are tested elsewhere
# and take long: the retrained model's is the wheel's own.
PROGRAM = """
import contextlib, io, json, shutil, sys
import anymask
from anymask.training import run_folder
from anymask.cli.main import main
from anymask.runtime import ASSETS

run_folder.write_bundle = lambda folder, target: shutil.copytree(ASSETS / "nano", target)

if __name__ == "__main__":
    told = {"package": anymask.__file__}
    for name, words in json.loads(sys.argv[1]).items():
        out = io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
            if main(words):
                sys.exit(f"{name} failed")
        told[name] = out.getvalue()
    print(json.dumps(told))
"""


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder far from the checkout, with a set of photos and masks."""
    folder = tmp_path_factory.mktemp("desk")
    write_set(folder / "data" / "coco_val", BOXES)
    shutil.copytree(folder / "data" / "coco_val" / "images", folder / "photos")
    return folder


@pytest.fixture(scope="module")
def told(site: Path, desk: Path) -> dict[str, str]:
    """What the commands of the installed package print, all in one process of their own."""
    (desk / "commands.py").write_text(PROGRAM, "utf-8")
    done = subprocess.run(
        [sys.executable, "commands.py", json.dumps(COMMANDS)],
        cwd=desk,
        env=os.environ | {"PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    printed: dict[str, str] = json.loads(done.stdout)
    return printed


def test_the_package_is_the_wheel_s(site: Path, told: dict[str, str]) -> None:
    assert Path(told["package"]).is_relative_to(site)


def test_a_folder_of_sets_is_measured(told: dict[str, str]) -> None:
    assert "| coco_val | 1 |" in told["evaluate"]


def test_a_project_is_retrained_from_the_weights_in_the_wheel(told: dict[str, str]) -> None:
    assert "24 new masks" in told["import"]
    assert "round 1: trained on " in told["retrain"]
