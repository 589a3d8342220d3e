"""The extras of pyproject.toml: which contain which, and which packages an extra brings."""

from __future__ import annotations

import functools
import importlib.metadata
import re
import shlex
import tomllib
from collections.abc import Iterable
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
PROMISES: dict[str, dict[str, list[str]]] = tomllib.loads(
    (Path(__file__).parent / "promises.toml").read_text("utf-8")
)
CORE = "core"  # an installation without extras
ALL = "all"
OUTPUTS = ("-o", "--json", "--html", "--bundle")  # options with an output
FOR_CHECKOUTS = frozenset({"demo", "docs", "dev"})  # of `make`, not of users


def normal_name(requirement: Requirement) -> str:
    """Return the name of its distribution, in the normal form."""
    return canonicalize_name(requirement.name)


@functools.cache
def declared() -> dict[str, list[Requirement]]:
    """Return what the core and each extra require directly."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    lines = {CORE: project["dependencies"], **project["optional-dependencies"]}
    return {name: [Requirement(line) for line in few] for name, few in lines.items()}


def extras() -> list[str]:
    """Return the extras that users install."""
    return [name for name in declared() if name not in {CORE} | FOR_CHECKOUTS]


def contained(extra: str) -> frozenset[str]:
    """Return an extra, or several (`a+b`), and those that they contain, without the core."""
    names = frozenset(extra.split("+")) - {CORE}
    inner = {
        found
        for name in names
        for one in declared()[name]
        if one.name == "anymask"
        for found in one.extras
    }
    return names.union(*map(contained, inner))


@functools.cache
def packages(extra: str) -> frozenset[str]:
    """Return the distributions of this environment that the core and an extra bring."""
    found: set[str] = set()
    names = (CORE, *contained(extra))
    _collect((one for name in names for one in declared()[name]), found)
    return frozenset(found)


def _collect(requirements: Iterable[Requirement], found: set[str]) -> None:
    for one in requirements:
        if one.name == "anymask" or (one.marker and not one.marker.evaluate({"extra": ""})):
            continue
        _add(normal_name(one), frozenset(one.extras), found)


def _add(name: str, expected: frozenset[str], found: set[str]) -> None:
    """Add a distribution, and what it requires with these of its extras."""
    key = f"{name}[{','.join(sorted(expected))}]"
    if key in found:
        return
    found |= {key, name}
    try:
        lines = importlib.metadata.requires(name) or []
    except importlib.metadata.PackageNotFoundError:
        return
    for one in map(Requirement, lines):
        if one.marker is None or any(
            one.marker.evaluate({"extra": extra}) for extra in ("", *expected)
        ):
            _add(normal_name(one), frozenset(one.extras), found)


def hidden_modules(extra: str) -> list[str]:
    """Return the top-level modules that are not there where only the core and an extra are."""
    brought = packages(extra) | {"anymask"}
    return sorted(
        module
        for module, distributions in importlib.metadata.packages_distributions().items()
        if not brought & {canonicalize_name(one) for one in distributions}
    )


def offered(text: str) -> frozenset[str]:
    """Return the extras that a message says to install."""
    named = re.findall(r"anymask\[([\w,-]+)\]", text)
    return frozenset(name for names in named for name in names.split(","))


def output_names(line: str) -> list[str]:
    """Return the files and folders that a command line writes."""
    words = shlex.split(line)
    return [words[n + 1] for n, word in enumerate(words) if word in OUTPUTS]


def names_missing(text: str, names: Iterable[str]) -> bool:
    """Whether a message names one of the files as missing, because its command was refused too."""
    return any(f"not found: {name!r}" in text for name in names)


def brought(extra: str) -> frozenset[str]:
    """Return the extras whose packages are all there where only the core and an extra are."""
    there = packages(extra)
    return contained(extra) | {
        name
        for name in extras()
        if name != ALL and {normal_name(one) for one in _direct(name)} <= there
    }


def remedies(section: str, extra: str) -> frozenset[str]:
    """Return the extras that bring what a section of the promises misses, or a part of it.

    Empty where nothing is missing.
    """
    there = brought(extra)
    missing = frozenset(section.split("+")) - there - {CORE}
    parts = frozenset[str]().union(*map(contained, missing)) - there
    return parts | {name for name in extras() if contained(name) & missing}


def may_work(section: str, extra: str) -> bool:
    """Whether an extra brings some of the packages that a section misses, by chance."""
    missing = frozenset(section.split("+")) - brought(extra) - {CORE}
    expected = {normal_name(one) for name in missing for one in _direct(name)}
    return bool(expected & packages(extra))


def _direct(extra: str) -> list[Requirement]:
    return [one for name in contained(extra) for one in declared()[name] if one.name != "anymask"]
