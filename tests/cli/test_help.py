"""Help texts: short by default, whole when asked."""

import re

import pytest

from anymask.cli.command import LONG_HELP
from anymask.cli.command_table import commands
from anymask.cli.main import load
from tests.conftest import CommandLine


@pytest.mark.parametrize("command", sorted(commands()))
def test_help_fits_on_a_screen_and_shows_what_is_required(command: str, cli: CommandLine) -> None:
    short = cli.out([command, "--help"])
    assert short.count("\n") <= LONG_HELP
    parser = load(commands()[command]).parser(command)
    groups = [group for group in parser._mutually_exclusive_groups if group.required]
    required = [one for one in parser._actions if one.option_strings and one.required]
    for action in [*required, *(one for group in groups for one in group._group_actions)]:
        assert re.search(rf"^  {action.option_strings[0]}\b.*(\n +)?\w", short, re.M)
        assert action.option_strings[0] in short.partition("\n\n")[0]


@pytest.mark.parametrize(
    "command", [*map(str.split, sorted(commands())), ["project", "run"], ["project", "export"]],
    ids=" ".join,
)  # fmt: skip
def test_the_short_help_describes_every_option(command: list[str], cli: CommandLine) -> None:
    short = cli.out([*command, "--help"])
    bare = re.findall(r"^  (-(?:(?!  )[^\n])*)(?:\n {10,}|  +)\(default", short, re.M)
    assert bare == []
    assert "(default: True)" not in short
    assert "(default: False)" not in short
