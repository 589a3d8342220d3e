"""`.ci/run` runs the gates, then every test, in groups; it says at once how far they came."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
GROUPS, PASSED = 7, "===== 3 passed in 1.00s ====="
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")

# Stands in for make: writes down what it is asked, and how many of it work at once.
MAKE = """#!{python}
import json, os, sys
from pathlib import Path

working = Path("{log}.working")
working.mkdir(exist_ok=True)
(working / str(os.getpid())).touch()
asked = sys.argv[1:]
with open("{log}", "a") as log:
    names = ("ANYMASK_THREADS", "PYTEST_ADDOPTS")
    about = {{name: os.environ.get(name) for name in names}}
    about |= {{"late": os.environ.get("ANYMASK_TEST_SLOW_PAGE_MS")}}
    about |= {{"asked": asked, "working": len(os.listdir(working))}}
    print(json.dumps(about), file=log)
if {saying!r} in " ".join(asked):
    print({says!r})
print({passed!r})
words = asked[1].removeprefix("TESTS=").split() if asked[1:] else []
(working / str(os.getpid())).unlink()
sys.exit({code} if {failing!r} in words else 0)
"""


def run(
    folder: Path, says: str = "", saying: str = "", code: int = 0, failing: str = "tests/cli"
) -> tuple[int, list[dict[str, Any]], str]:
    """The script's exit code, what it asked make for, and its output.

    says     what every make prints whose words hold `saying`
    failing  the folder whose tests end with `code`
    """
    log = folder / "log"
    make = folder / "make"
    make.write_text(
        MAKE.format(
            python=sys.executable,
            log=log,
            says=says,
            saying=saying,
            code=code,
            failing=failing,
            passed=PASSED,
        ),
        "utf-8",
    )
    make.chmod(0o755)
    path = f"{folder}{os.pathsep}{os.environ['PATH']}"
    plain = {name: value for name, value in os.environ.items() if name != "ANYMASK_THREADS"}
    done = subprocess.run(
        [ROOT / ".ci" / "run"], env={**plain, "PATH": path}, capture_output=True, text=True
    )
    rows = [json.loads(row) for row in log.read_text("utf-8").splitlines()]
    return done.returncode, rows, done.stdout + done.stderr


def test_each_group_of_tests_is_shown_while_it_runs(tmp_path: Path) -> None:
    code, (gates, *groups), said = run(tmp_path)
    assert code == 0, said
    assert gates["asked"] == ["lint"]
    assert len(groups) == GROUPS
    shown, _, summary = said.partition("== summary")
    for number in range(GROUPS):
        assert f"[{number}] {PASSED}" in shown.splitlines()
    assert summary.split("\n").count(PASSED) == GROUPS
    assert {row["late"] for row in groups} == {"50"}  # pages are late each time


def test_every_folder_of_tests_runs_once(tmp_path: Path) -> None:
    _, (_, *groups), _ = run(tmp_path)
    words = [word for row in groups for word in row["asked"][1].removeprefix("TESTS=").split()]
    in_browser = [word for word in words if word.startswith("tests/web/")]
    named = [word for word in words if not word.startswith("--") and word not in in_browser]
    left_out = [word.removeprefix("--ignore=") for word in words if word.startswith("--ignore=")]
    assert sorted(left_out) == sorted([*named, "tests/web", "tests/house"])
    assert all((ROOT / folder).is_dir() for folder in left_out)
    tests = [path.relative_to(ROOT).as_posix() for path in ROOT.glob("tests/web/**/test_*.py")]
    assert sorted(in_browser) == sorted(tests)


def test_groups_share_the_cores(tmp_path: Path) -> None:
    _, (_, *groups), _ = run(tmp_path)
    cores = len(os.sched_getaffinity(0))
    at_once = min(cores, GROUPS)
    part = str(-(-cores // at_once))
    assert {group["ANYMASK_THREADS"] for group in groups} == {part}
    assert max(group["working"] for group in groups) <= at_once


@pytest.mark.parametrize(
    "word",
    ["tests/cli", "tests/golden", "tests/docs", "--ignore=tests/cli", "tests/web/test_ways.py"],
)
def test_a_failure_in_any_group_is_a_failure(word: str, tmp_path: Path) -> None:
    code, rows, said = run(tmp_path, code=2, failing=word)
    assert code != 0
    assert len(rows) == 1 + GROUPS  # the others are heard, too
    failed = [line for line in said.splitlines() if "did not pass: " in line]
    assert len(failed) == 1
    assert word in failed[0]


@pytest.mark.parametrize(
    "where", ["lint", "tests/audit", "--ignore=tests/cli", "tests/web/test_ways"]
)
def test_a_skip_without_a_reason_on_the_list_is_a_failure(where: str, tmp_path: Path) -> None:
    good, bad = "tests/a.py:9: needs a Chromium", "tests/a.py:9: does not work yet"
    code, rows, said = run(tmp_path, f"SKIPPED [1] {good}", where)
    assert code == 0, said
    assert good in said.partition("== summary")[2]
    # In colours, the lines would not begin with that word.
    assert all("--color=no" in row["PYTEST_ADDOPTS"] for row in rows)
    code, _, said = run(tmp_path, f"SKIPPED [1] {bad}", where)
    assert code == 1
    assert "does not work yet" in said
