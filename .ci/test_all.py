"""Runs all tests in named parts, and prints a table of them.

    .venv/bin/python .ci/test_all.py [PART ...]             default: all parts
    .venv/bin/python .ci/test_all.py --touched REVISION     parts whose folders changed since then

A part is obligatory for a change of its folders, all of them before an issue is closed.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RUN = (sys.executable, "-m", "pytest", "-q", "--color=no", "-n", "2", "--dist", "worksteal")
# Part -> folders of its tests, and folders whose changes it checks besides.
PARTS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "masks": (("tests/base", "tests/masks", "tests/images"), ()),
    "formats": (("tests/formats", "tests/fuzz"), ("src/anymask/base", "src/anymask/images")),
    "models": (("tests/models", "tests/runtime", "tests/golden"), ()),
    "segment": (("tests/segment", "tests/find", "tests/edit", "tests/jobs", "tests/maps"), ()),
    "videos": (("tests/track", "tests/volumes"), ()),
    "training": (("tests/training", "tests/evaluation"), ("src/anymask/models",)),
    "studio": (("tests/studio",), ()),
    "browser": (("tests/web",), ("web", "src/anymask/assets/web", "src/anymask/studio")),
    "cli": (("tests/cli",), ()),
    "docs": (
        ("tests/docs", "tests/demo", "tests/contrib", "tests/installed"),
        ("docs", "README.md", "examples", "contrib"),
    ),
    "research": (("research/tests",), ("research",)),
    "plugins": (
        tuple(str(one.relative_to(ROOT)) for one in sorted(ROOT.glob("contrib/anymask-*/tests"))),
        ("contrib",),
    ),
    "installs": ((), ("pyproject.toml", "constraints.txt", ".ci/installed.py")),
}
REST = "rest"  # tests of no other part


def command(part: str) -> list[str]:
    """Return the command line of a part."""
    if part == "installs":
        return [sys.executable, ".ci/installed.py", "core", "studio", "torch", "maps"]
    if part != REST:
        return [*RUN, *PARTS[part][0]]
    named = [folder for folders, _ in PARTS.values() for folder in folders]
    return [*RUN, "tests", *(f"--ignore={folder}" for folder in named)]


def touched(revision: str) -> list[str]:
    """Return the parts whose tests or sources have changed since a revision."""
    words = ["git", "diff", "--name-only", revision]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
    changed = done.stdout.split()
    sources = {
        part: (*tests, *more, *(one.replace("tests/", "src/anymask/", 1) for one in tests))
        for part, (tests, more) in PARTS.items()
    }
    return [
        part for part, folders in sources.items()
        if any(name == one or name.startswith(f"{one}/") for name in changed for one in folders)
    ]  # fmt: skip


def main() -> int:
    """Run the parts; the exit code is 1 if one failed."""
    parser = argparse.ArgumentParser(description="run all tests, in parts")
    parser.add_argument("parts", metavar="PART", nargs="*", help=f"{', '.join(PARTS)} or {REST}")
    parser.add_argument("--touched", metavar="REVISION", help="parts that changed since then")
    options = parser.parse_args()
    parts = options.parts or (touched(options.touched) if options.touched else [*PARTS, REST])
    if unknown := set(parts) - {*PARTS, REST}:
        parser.error(f"unknown part {', '.join(sorted(unknown))}")
    failed, rows = [], []
    for part in parts:
        print(f"== {part}", flush=True)
        start = time.monotonic()
        done = subprocess.Popen(
            command(part), cwd=ROOT, stdout=subprocess.PIPE, text=True,
            env={"ANYMASK_TEST_EXAMPLES": "50", **os.environ},
        )  # fmt: skip
        last = ""
        for line in done.stdout or ():
            print(line, end="", flush=True)
            last = line.strip("= \n") if re.search(r"passed|failed|failures", line) else last
        if done.wait():
            failed.append(part)
        rows.append(f"{part:<10} {time.monotonic() - start:>6.0f} s  {last}")
    print("\n".join(["", *rows]))
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
