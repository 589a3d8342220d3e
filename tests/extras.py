"""What an installation with some extras looks like: programs that cannot import anything else."""

import os
import subprocess
import sys
import tomllib
from functools import cache
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
HIDE = """
import sys
from importlib.machinery import PathFinder
HIDDEN, find_spec = {hidden!r}, PathFinder.find_spec
PathFinder.find_spec = classmethod(  # as if they were not installed, also for find_spec()
    lambda cls, name, path=None, target=None:
        None if name.partition(".")[0] in HIDDEN else find_spec(name, path, target)
)
"""


def brings(*extras: str) -> set[str]:
    """The distributions that `pip install 'anymask[EXTRAS]'` brings, with their dependencies."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    options = project["optional-dependencies"]
    ahead = [(Requirement(line), "") for line in project["dependencies"]]
    ahead += [(Requirement(line), "") for extra in extras for line in options[extra]]
    found: set[tuple[str, frozenset[str]]] = set()
    while ahead:
        wanted, extra = ahead.pop()
        if wanted.marker and not wanted.marker.evaluate({"extra": extra}):
            continue
        key = canonicalize_name(wanted.name), frozenset(wanted.extras)
        if key in found:
            continue
        found.add(key)
        if key[0] == "anymask":
            lines = [line for one in wanted.extras for line in options[one]]
        else:
            lines = _requires(key[0])
        ahead += [(Requirement(line), one) for line in lines for one in (wanted.extras or {""})]
    return {name for name, _ in found}


@cache
def _requires(name: str) -> tuple[str, ...]:
    try:
        return tuple(requires(name) or ())
    except PackageNotFoundError:  # of another system
        return ()


@cache
def hidden(*extras: str) -> frozenset[str]:
    """The names of installed modules that an installation with these extras does not have."""
    there = brings(*extras) | {"anymask"}
    return frozenset(
        module
        for module, owners in packages_distributions().items()
        if not there & {canonicalize_name(owner) for owner in owners}
        and not (ROOT / module).is_dir()  # some distribution brings a package `docs`
    )


def run_with(
    extras: tuple[str, ...], program: str, *words: str, cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a program as in an installation with these extras and nothing else."""
    return subprocess.run(
        [sys.executable, "-c", HIDE.format(hidden=set(hidden(*extras))) + program, *words],
        cwd=cwd, env=os.environ | {"PYTHONPATH": str(ROOT / "src")},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
