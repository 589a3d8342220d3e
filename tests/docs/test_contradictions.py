"""Defaults and names are the same in the help, the documents and the code."""

import argparse
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from anymask.base.plugins import PLUGINS
from anymask.cli import main as door
from anymask.formats.registry import BUILT_IN
from anymask.masks import ModelSpec
from anymask.models.rules import BUNDLED_MODELS, FIELD_MODELS, open_family, shipped_tables
from anymask.segment.settings import grid_of

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text("utf-8")
PAGES = [ROOT / "README.md", *ROOT.glob("docs/[gce]*/*.md")]
OTHERS = r"python|docker|uv|cellpose|--build-arg"  # programs whose options a page may name


def parser_of(command: str) -> argparse.ArgumentParser:
    return door.load(door.commands()[command]).parser(command)


def options(parser: argparse.ArgumentParser) -> Iterator[str]:
    """The options of a command and of its subcommands."""
    for action in parser._actions:
        yield from action.option_strings
        if isinstance(action, argparse._SubParsersAction):
            for chosen in action.choices.values():
                yield from options(chosen)


@pytest.mark.parametrize("name", ["score", "stability"])
def test_the_help_states_the_thresholds_that_each_model_uses(name: str) -> None:
    """Those of `tables.json`; `test_settings_tables.py` compares the documents."""

    def used(family: str, **grid: str) -> float:
        spec = ModelSpec(name="x", image_side=64, mask_side=5, family=family)
        weights = shipped_tables(family).get("objectness", {}).get("weights")
        return getattr(grid_of(open_family(spec, None, weights), cast(Any, grid)), name)

    expected = (
        f"(default: small {used('small'):g}, nano {used('nano'):g}, both in exact mode "
        f"{used('nano', mode='exact'):g}, SAM {used('sam'):g})"
    )
    assert used("small", mode="exact") == used("nano", mode="exact")
    for command in ("everything", "change"):
        assert expected in " ".join(parser_of(command).format_whole_help().split())


def test_every_option_and_command_that_a_page_names_exists() -> None:
    known = {option for command in door.commands() for option in options(parser_of(command))}
    commands = {*door.commands(), *(name for one in PLUGINS.values() for name in one.commands)}
    for page in PAGES:
        text = re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.S)  # run elsewhere
        for code in re.findall(r"`([^`\n]+)`", text):
            if not re.match(OTHERS, code):
                named = set(re.findall(r"(?<![\w-])--[a-z][\w-]+", code))
                assert named <= known, f"{page}: {code}"
                command = re.match(r"anymask ([a-z][a-z-]*)", code)
                assert command is None or command[1] in commands, f"{page}: {code}"


def test_the_readme_counts_and_lists_what_there_is() -> None:
    rows = re.findall(r"^\| `([\w-]+)`", README, re.M)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"].keys() - {"demo", "docs", "test", "dev"}
    assert sorted(rows) == sorted([*BUNDLED_MODELS, *FIELD_MODELS, *extras])
    assert f"{len(BUILT_IN)} dataset formats" in README


def test_the_figures_of_the_readme_are_those_of_the_results() -> None:
    results = "".join(path.read_text("utf-8") for path in ROOT.glob("docs/reference/results*.md"))
    figures = set(re.findall(r"\b0\.\d{3}\b", README))
    assert figures <= set(re.findall(r"\b0\.\d{3}\b", results))
    assert figures
