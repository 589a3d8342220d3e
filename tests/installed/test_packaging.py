"""What is built and declared is what users get."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest

from anymask import __version__
from tests.house import gates

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "src" / "anymask"
NANO_FILES = {"encoder.onnx", "decoder.onnx", "manifest.json"}
NANO_BYTES = 14_500_000  # its numbers lie in the graphs, once


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


def test_the_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    inside = set(zipfile.ZipFile(wheel).namelist())
    ours = {
        path.relative_to(PACKAGE.parent).as_posix()
        for path in PACKAGE.rglob("*")
        if path.is_file() and gates.not_generated(path, PACKAGE)
    }
    assert {name for name in inside if ".dist-info/" not in name} == ours
    assert wheel.stat().st_size < 75_000_000


def test_the_wheel_carries_its_licence_its_notices_and_its_model(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    names = {Path(name).name for name in archive.namelist() if ".dist-info/licenses/" in name}
    assert names == {"LICENSE", "NOTICE"}
    nano = {
        Path(entry.filename).name: entry.file_size
        for entry in archive.infolist()
        if entry.filename.startswith("anymask/assets/nano/")
    }
    assert nano.keys() >= {*NANO_FILES, "weights.json"}
    assert sum(nano.values()) <= NANO_BYTES
    files = {entry.filename: entry.file_size for entry in archive.infolist()}
    small = {name: size for name, size in files.items() if name.startswith("anymask/assets/small/")}
    assert {Path(name).name for name in small} >= {*NANO_FILES, "weights.safetensors"}
    assert sum(nano.values()) + sum(small.values()) <= 60_000_000
    recipes = {Path(n).name for n in archive.namelist() if n.startswith("anymask/assets/recipes/")}
    assert recipes >= {"nano.toml", "sam.toml"}


def test_the_core_is_five_packages(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    (name,) = (name for name in archive.namelist() if name.endswith("/METADATA"))
    required = [
        line.removeprefix("Requires-Dist: ")
        for line in archive.read(name).decode().splitlines()
        if line.startswith("Requires-Dist: ") and "extra ==" not in line
    ]
    assert sorted(re.split(r"[<>=]", line)[0].lower() for line in required) == [
        "numpy",
        "onnxruntime",
        "opencv-python-headless",
        "pillow",
        "pyyaml",
    ]


def test_every_extra_that_the_code_names_exists(project: dict[str, Any]) -> None:
    declared = set(project["optional-dependencies"])
    pattern = re.compile(r"anymask\[(\w+)\]|MissingExtra\(\s*\"[^\"]+\",\s*\"(\w+)\"")
    named = {
        first or second
        for path in gates.python_files(PACKAGE)
        for first, second in pattern.findall(path.read_text("utf-8"))
    }
    assert named <= declared


def test_every_package_of_the_project_is_pinned(project: dict[str, Any]) -> None:
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    pinned = {line.partition("==")[0].lower() for line in lines if "==" in line}
    expected = list(project["dependencies"])
    for extra in project["optional-dependencies"].values():
        expected += extra
    names = {re.split(r"[<>=\[]", line)[0].lower() for line in expected} - {"anymask"}
    assert names <= pinned


def test_the_version_is_the_wheel_s_and_the_changelog_s(wheel: Path) -> None:
    assert wheel.name.startswith(f"anymask-{__version__}-py3-none-any")
    assert f"## [{__version__}]" in (ROOT / "CHANGELOG.md").read_text("utf-8")


# A user's type checkers.

# What torch and others say of their own types is their affair, and takes most of the time.
MYPY = """
[mypy]
strict = True
cache_dir = /dev/null
[mypy-torch.*,onnx.*,onnxscript.*,sqlalchemy.*,fastapi.*,starlette.*,uvicorn.*,av.*]
follow_imports = skip
"""
WRONG = """
import anymask

wrong: int = anymask.load().segment("a.jpg", points=[(1, 2)])
"""


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A program that says the type of every public thing that it uses, and one that is wrong."""
    folder = tmp_path_factory.mktemp("programs")
    program = (ROOT / "tests" / "installed" / "user_program.py").read_text("utf-8")
    (folder / "program.py").write_text(program, "utf-8")
    (folder / "wrong.py").write_text(WRONG, "utf-8")
    (folder / "mypy.ini").write_text(MYPY, "utf-8")
    return folder


def checked(words: list[str], programs: Path, site: Path) -> str:
    """What a type checker says of both, where it finds the wheel's files and not this checkout."""
    assert (site / "anymask" / "py.typed").is_file()
    bundled = {"PYRIGHT_PYTHON_USE_BUNDLED_PYRIGHT": "1", "PYRIGHT_PYTHON_IGNORE_WARNINGS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", *words, "program.py", "wrong.py"],
        cwd=programs,
        env=os.environ | bundled | {"PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout + done.stderr


def test_mypy_knows_the_types_of_an_installed_wheel(site: Path, programs: Path) -> None:
    told = checked(["mypy"], programs, site)
    first, last = told.splitlines()
    assert first.startswith("wrong.py:4: error: ")
    assert 'expression has type "Prediction", variable has type "int"' in first
    assert last == "Found 1 error in 1 file (checked 2 source files)"


def test_pyright_knows_the_types_of_an_installed_wheel(site: Path, programs: Path) -> None:
    if shutil.which("node") is None:
        pytest.skip("needs node")
    told = checked(["pyright", "--pythonpath", sys.executable], programs, site)
    assert "program.py" not in told
    assert '"Prediction" is not assignable to "int"' in told
    assert told.endswith("\n1 error, 0 warnings, 0 informations\n")
